"""One small simulated event, drawn once a test session, and a way to run a command in this process."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from damage_ssl import workflow
from damage_ssl.cli.root import cli, spread_path_lists
from damage_ssl.events.event import Event
from damage_ssl.simulation.event import SimulatedEvent
from tests.drawn_towns import drawn_town


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code, its two streams."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """`run("init", "town", ...)` runs `damage-ssl init town ...`."""

    def command(*arguments: object) -> Outcome:
        capsys.readouterr()
        try:
            cli(args=spread_path_lists([str(a) for a in arguments]), prog_name="damage-ssl", standalone_mode=True)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        else:
            code = 0
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return command


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> SimulatedEvent:
    """Ninety buildings after an earthquake."""
    return drawn_town(tmp_path_factory, buildings=90, seed=3)


@pytest.fixture(scope="session")
def cut_once(simulated: SimulatedEvent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with those buildings as the event `town`, its pairs cut; only to be copied."""
    workspace = tmp_path_factory.mktemp("cut") / "w"
    inputs = {"pre": [simulated.pre], "post": [simulated.post], "footprints": simulated.footprints}
    workflow.cut_patches(Event.create(workspace, "town", **inputs))
    return workspace


@pytest.fixture
def cut(cut_once: Path, tmp_path: Path) -> Path:
    """A copy of that workspace, `w` in the test's own folder."""
    shutil.copytree(cut_once, tmp_path / "w")
    return tmp_path / "w"


def grades_of(truth: Path) -> dict[str, str]:
    with truth.open(encoding="utf-8", newline="") as file:
        return {row["building_id"]: row["grade"] for row in csv.DictReader(file)}


def write_labels(path: Path, rows: dict[str, str]) -> Path:
    path.write_text("building_id,grade\n" + "".join(f"{b},{grade}\n" for b, grade in rows.items()), encoding="utf-8")
    return path


def inputs_of(event: SimulatedEvent) -> list[object]:
    return ["--pre", event.pre, "--post", event.post, "--footprints", event.footprints]


def every_file(folder: Path) -> dict[str, tuple[int, int]]:
    """Name, size and time of all files below a folder, to see that nothing was touched."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
