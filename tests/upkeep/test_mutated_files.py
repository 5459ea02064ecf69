"""Files of an event and of a run, changed in every way: each command ends well or names what is damaged."""

import json
import shutil
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from app.state.event_view import assessment, current_labels, label_counts, view_at
from app.state.shown_models import runs_of, shown_models
from damage_ssl import workflow
from damage_ssl.errors import DamageSSLError
from damage_ssl.events.event import Event
from damage_ssl.runs.run import Run
from damage_ssl.upkeep.doctor import diagnose
from tests.campaigns import campaign
from tests.cli.conftest import write_labels
from tests.upkeep.worked import worked_event

KINDS = (".json", ".jsonl", ".parquet", ".npy", ".npz", ".safetensors")
ODD: list[Any] = [None, -1, 5, 1e308, float("nan"), "x", "", [], {}, True, [[1]], 10**400, "\ud800"]


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Event:
    return worked_event(tmp_path_factory)


def mutated(path: Path, rng: np.random.Generator) -> None:
    """Change a file; in half of the cases as if an older version had written it, without a checksum."""
    content = path.read_bytes()
    kind = rng.choice(["emptied", "cut", "flipped", "noise", "values", "values", "values"])
    if kind == "emptied":
        path.write_bytes(b"")
    elif kind == "cut":
        path.write_bytes(content[: int(rng.integers(0, len(content)))])
    elif kind == "flipped":
        changed = bytearray(content)
        for at in rng.integers(0, len(content), 3):
            changed[at] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(changed)
    elif kind == "noise":
        path.write_bytes(rng.bytes(max(1, len(content))))
    elif path.suffix == ".json":
        path.write_text(json.dumps(other_json(json.loads(content), rng)), encoding="utf-8")
    elif path.suffix == ".parquet":
        other_table(path, rng)
    if rng.random() < 0.5:
        path.with_name(f".{path.name}.sha256").unlink(missing_ok=True)


def other_json(value: Any, rng: np.random.Generator) -> Any:
    """The value with one of its parts, at any depth, gone or replaced."""
    odd = ODD[int(rng.integers(len(ODD)))]
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return odd
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[int(rng.integers(len(keys)))]
    if rng.random() < 0.25:
        del value[key]
    else:
        value[key] = other_json(value[key], rng)
    return value


def other_table(path: Path, rng: np.random.Generator) -> None:
    try:
        table = pd.read_parquet(path)
    except Exception:  # an older change of it
        return
    column = table.columns[int(rng.integers(len(table.columns)))]
    change = rng.choice(["drop", "none", "text", "number", "twice", "half", "empty"])
    if change == "drop":
        table = table.drop(columns=column)
    elif change in ("none", "text", "number"):
        table[column] = {"none": None, "text": "x", "number": -7.5}[str(change)]
    else:
        table = {"twice": pd.concat([table, table]), "half": table[: len(table) // 2], "empty": table[:0]}[str(change)]
    table.to_parquet(path)


def look_at(workspace: Path, name: str, truth: Path, out: Path) -> dict[str, Callable[[], object]]:
    def chosen() -> tuple[Event, Run]:
        event = Event.open(workspace, name)
        return event, workflow.chosen_run(event, None)

    def app() -> None:
        event = Event.open(workspace, name)
        view = view_at.__wrapped__(event, "now") if hasattr(view_at, "__wrapped__") else view_at(event, "now")
        runs_of(event), label_counts(view), current_labels(event)
        for model in [None, *shown_models(view)]:
            assessment(view, model)

    def again() -> None:
        event = Event.open(workspace, name)
        run = Run(event.runs_path / "one")
        workflow.plan_of(run), workflow.run_summary(run)
        workflow.predict_event(event, run)

    return {
        "status": lambda: workflow.event_status(Event.open(workspace, name)),
        "evaluate": lambda: workflow.evaluate_event(chosen()[0], truth, chosen()[1]),
        "export": lambda: workflow.export_event(Event.open(workspace, name), out),
        "app": app,
        "doctor": lambda: diagnose(Event.open(workspace, name)),
        "predict": again,
    }


@campaign(6, 2000, minutes=300)
def test_no_changed_file_ends_a_command_with_a_traceback(rounds: int, worked: Event, tmp_path: Path) -> None:
    truth = write_labels(tmp_path / "truth.csv", dict.fromkeys(worked.footprints()["building_id"], "destroyed"))
    rng, faults, ends = np.random.default_rng(rounds), [], Counter[str]()
    names = sorted(
        path.relative_to(worked.path)
        for path in worked.path.rglob("*")
        if path.suffix in (".json", ".parquet", ".npz", ".safetensors", ".jsonl", ".npy")
        and "pairs.zarr" not in path.parts
    )
    for number in range(rounds):
        workspace = tmp_path / "w"
        shutil.rmtree(workspace, ignore_errors=True)
        shutil.copytree(worked.path, workspace / "town")
        name = names[number % len(names)]
        mutated(workspace / "town" / name, rng)
        for what, look in look_at(workspace, "town", truth, tmp_path / "map.geojson").items():
            try:
                look()
                ends["well"] += 1
            except DamageSSLError:
                ends["named"] += 1
            except Exception:
                ends["traceback"] += 1
                faults.append(f"{name} {what}: {traceback.format_exc()[-700:]}")
    print(ends)
    assert not faults, f"{len(faults)} of {sum(ends.values())}\n" + "\n".join(
        sorted(faults)[:: max(1, len(faults) // 12)]
    )
    assert ends["named"] > rounds / 4
