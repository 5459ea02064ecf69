"""Which run is taken where none is named: the best validated one, never a worse one because it is newer."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from damage_ssl import workflow
from damage_ssl.errors import WorkspaceError
from damage_ssl.events.definition import state_scheme
from damage_ssl.events.event import Event
from damage_ssl.patches.store import PatchStore
from damage_ssl.runs.best import best_model, best_run, chosen_run
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.validation import validation_of
from damage_ssl.settings import PatchSettings
from tests.conftest import Town, square, texture, write_polygons, write_tiff
from tests.runs.finished_runs import finished_run

IDS = [f"b{number:02d}" for number in range(36)]
DAMAGED = IDS[::3]
"""Twelve of thirty-six."""
HELD_OUT = {name: int(name in DAMAGED) for name in IDS}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Event:
    """A town of 36 small buildings whose pairs are cut."""
    folder = tmp_path_factory.mktemp("best")
    centres = [(30 + 35 * (number % 6), 30 + 35 * (number // 6)) for number in range(len(IDS))]
    inputs = Town(
        pre=write_tiff(folder / "in" / "pre.tif", texture(1)),
        post=write_tiff(folder / "in" / "post.tif", texture(2)),
        footprints=write_polygons(folder / "in" / "f.geojson", [square(*at, 14) for at in centres], building_id=IDS),
        workspace=folder / "workspace",
    )
    event = inputs.create()
    workflow.cut_patches(event, PatchSettings(size_px=16, align="off"))
    return event


@pytest.fixture
def event(prepared: Event, tmp_path: Path) -> Event:
    """The same event without runs, of a test's own."""
    shutil.copytree(prepared.path, tmp_path / "workspace" / "town")
    return Event.open(tmp_path / "workspace", "town")


def saying(wrong: int) -> dict[str, list[float]]:
    """Probabilities that rank all buildings right but for so many damaged ones, which are thought the surest intact."""
    p = {name: 0.9 if name in DAMAGED else 0.2 for name in IDS} | dict.fromkeys(DAMAGED[:wrong], 0.05)
    return {name: [1 - each, each] for name, each in p.items()}


def test_without_runs_there_is_none_and_it_is_said(event: Event) -> None:
    run, why = best_run(event)
    assert run is None and "no finished run yet" in why
    with pytest.raises(WorkspaceError, match=r"no finished run yet.*damage-ssl train town"):
        chosen_run(event, None)


def test_without_a_validated_run_the_newest_that_labels_taught_is_taken(event: Event) -> None:
    finished_run(event, "change", {}, algorithm="perceptual-change", begun=1)
    assert best_run(event)[0].run_id == "change"
    few = dict.fromkeys(IDS[:8], 0) | dict.fromkeys(DAMAGED[:4], 1)
    for name, begun in (("old", 2), ("new", 3)):
        finished_run(event, name, saying(0), held_out=few, begun=begun)
    finished_run(event, "newest-change", {}, algorithm="perceptual-change", begun=4)
    run, why = best_run(event)
    assert run.run_id == "new"
    assert why == "run new: the newest of 2 finished ones, not validated (that takes 20 unseen labels, 5 a class)"


def test_a_newer_run_replaces_an_older_only_if_it_is_not_worse(event: Event) -> None:
    finished_run(event, "good", saying(1), held_out=HELD_OUT, begun=1)
    finished_run(event, "worse", saying(6), held_out=HELD_OUT, begun=2)
    finished_run(event, "unknown", saying(0), begun=3)
    run, why = best_run(event)
    assert run.run_id == "good"
    assert why.startswith("run good: the best of 2 validated ones, AUROC 0.9")
    assert "newer and not better: worse with AUROC 0.5" in why and "newer and not validated: unknown" in why
    finished_run(event, "equal", saying(1), held_out=HELD_OUT, begun=4)
    assert best_run(event)[0].run_id == "equal"
    assert chosen_run(event, "worse").run_id == "worse"


def test_runs_that_held_out_others_are_compared_by_the_lower_end_of_their_intervals(event: Event) -> None:
    few = {name: HELD_OUT[name] for name in IDS[:24]}
    finished_run(event, "lucky", saying(0), held_out=few, begun=1)
    other = finished_run(event, "firm", saying(0), held_out=HELD_OUT, begun=2)
    plan = json.loads(other.settings_path.read_text())
    plan["train_id"] = list(few)  # nothing is left that both held out
    plan["train_class"] = list(few.values())
    other.settings_path.write_text(json.dumps(plan))
    os.utime(other.settings_path, (2, 2))
    low = [lowest_auroc(event, name) for name in ("lucky", "firm")]
    assert best_run(event)[0].run_id == ("firm" if low[1] >= low[0] else "lucky")


def lowest_auroc(event: Event, name: str) -> float:
    found = validation_of(event, FinishedRun.of_event(event, chosen_run(event, name)))
    assert found is not None
    return found.auroc.low or 0.0


def test_an_ensemble_without_a_gain_is_not_taken_because_it_is_the_newest(event: Event) -> None:
    finished_run(event, "member", saying(1), held_out=HELD_OUT, begun=1)
    ensemble = finished_run(event, "mean", saying(1), held_out=HELD_OUT, algorithm="ensemble", begun=2)
    gain = {"n": 36, "n_damaged": 12, "n_blocks": 4, "best": "member", "members": {}, "ensemble": {}}

    def gained(value: float | None) -> None:
        gains = {} if value is None else {"auroc": {"value": value, "low": None, "high": None}}
        (ensemble.path / "ensemble.json").write_text(json.dumps({"members": [], "common": gain | {"gains": gains}}))

    for value in (None, 0.0):
        gained(value)
        run, why = best_run(event)
        assert run.run_id == "member" and "no gain over its best member: mean" in why
    gained(0.02)
    assert best_run(event)[0].run_id == "member"  # it is no better here than what it would replace
    better = finished_run(event, "mean-2", saying(0), held_out=HELD_OUT, algorithm="ensemble", begun=3)
    (better.path / "ensemble.json").write_text((ensemble.path / "ensemble.json").read_text())
    assert best_run(event)[0].run_id == "mean-2"


def test_a_run_of_other_buildings_or_an_unreadable_one_is_left_out(event: Event) -> None:
    finished_run(event, "good", saying(3), held_out=HELD_OUT, begun=1)
    cut = finished_run(event, "cut-again-since", saying(0), held_out=HELD_OUT, begun=2)
    table = workflow.chosen_run(event, "cut-again-since").predictions_path
    pd.read_parquet(table).iloc[1:].to_parquet(table)
    broken = finished_run(event, "broken", saying(0), begun=3)
    broken.settings_path.write_text("{}")
    assert cut.finished and broken.finished
    run, why = best_run(event)
    assert run.run_id == "good" and "cannot be read: broken" in why


GRADED = {name: [0.1, 0.5, 0.2, 0.2] if name in DAMAGED else [0.9, 0.1, 0.0, 0.0] for name in IDS}


def test_a_run_that_answers_another_question_is_left_out_and_said(event: Event) -> None:
    finished_run(event, "major", saying(0), held_out=HELD_OUT, begun=1)
    state_scheme(event, "binary-minor")
    run, why = best_run(event)
    assert run is None
    assert "no run answers it" in why and "do not answer the event's definition (binary-minor): major" in why
    finished_run(event, "minor", saying(6), scheme="binary-minor", begun=2)
    assert best_run(event)[0].run_id == "minor"
    state_scheme(event, "binary-major")
    assert best_run(event)[0].run_id == "major"


def test_a_run_of_grades_answers_every_question(event: Event) -> None:
    finished_run(event, "graded", GRADED, held_out={name: int(name in DAMAGED) for name in IDS}, scheme="grades")
    for scheme, p in (("grades", 0.4), ("binary-major", 0.4), ("binary-minor", 0.9)):
        state_scheme(event, scheme)
        model = best_model(event).model
        assert model is not None and model.scheme.name == scheme
        assert model.predictions.set_index("building_id")["p_damaged"].loc[DAMAGED[0]] == pytest.approx(p)
        np.testing.assert_allclose(model.prediction.p_damaged, model.predictions["p_damaged"])
        assert len(model.prediction.probabilities[0]) == len(model.scheme)
    assert (
        model.calibration.threshold != 0.5
        and "chosen anew on 36 buildings that it had not learned" in model.calibration.method
    )
    assert model.held_out == {name: int(name in DAMAGED) for name in IDS}
    state_scheme(event, "binary-major")
    again = best_model(event).model
    assert again is not None and again.threshold == 0.5 and again.stamp != model.stamp
    assert set(again.held_out.values()) == {0}  # minor damage does not count there


def test_where_grades_are_asked_for_a_binary_run_answers_until_there_is_one_of_grades(event: Event) -> None:
    finished_run(event, "major", saying(0), begun=1)
    finished_run(event, "minor", saying(0), scheme="binary-minor", begun=2)
    state_scheme(event, "grades")
    model = best_model(event).model
    assert model is not None and (model.model_id, model.scheme.name) == ("major", "binary-major")
    finished_run(event, "graded", GRADED, scheme="grades", begun=3)
    run, why = best_run(event)
    assert run.run_id == "graded" and "do not answer the event's definition (grades): major, minor" in why


def test_an_event_of_an_older_version_shows_the_runs_that_it_has(event: Event, tmp_path: Path) -> None:
    assert not (event.path / "damage_definition.json").exists()
    finished_run(event, "minor", saying(0), scheme="binary-minor", begun=1)
    finished_run(event, "change", saying(0), algorithm="perceptual-change", begun=2)
    summary = workflow.export_event(event, tmp_path / "map.geojson")
    assert summary.run_id == "minor" and "minor-damage or worse" in summary.scheme
    assert summary.remark is not None and "another question" in summary.remark


def test_a_first_map_without_labels_answers_whatever_is_asked(event: Event) -> None:
    finished_run(event, "change", saying(0), algorithm="perceptual-change")
    for scheme, read in (
        ("binary-minor", "binary-minor"),
        ("grades", "binary-major"),
        ("binary-major", "binary-major"),
    ):
        state_scheme(event, scheme)
        model = best_model(event).model
        assert model is not None and model.scheme.name == read


def test_the_queue_follows_the_same_run(event: Event) -> None:
    finished_run(event, "good", saying(1), held_out=HELD_OUT, begun=1)
    unsure = {name: [0.5, 0.5] for name in IDS[1:3]}
    finished_run(event, "worse", saying(6) | unsure, held_out=HELD_OUT, begun=2)
    drawn = workflow.next_to_label(event, 10, np.random.default_rng(0))
    assert len(drawn) == 10
    assert len(PatchStore.open(event.patches_path).index()) == len(IDS)


@pytest.mark.parametrize("name", ["settings.json", "calibration.json", "cross_fitted.parquet", "predictions.parquet"])
def test_a_damaged_file_of_a_run_leaves_it_out_and_is_named_where_the_run_is(event: Event, name: str) -> None:
    finished_run(event, "whole", saying(0), begun=1)
    broken = finished_run(event, "broken", saying(0), begun=2)
    (broken.path / name).write_bytes(b"")
    run, why = best_run(event)
    assert run is not None and run.run_id == "whole" and "left out, since they cannot be read: broken" in why
    model = FinishedRun.of_event(event, broken)
    with pytest.raises(WorkspaceError, match=rf"{name}: is damaged \(it was cut off or changed\); .*damage-ssl"):
        _ = model.calibration, model.unseen, model.predictions
    assert workflow.event_status(event).runs[-1].state == "finished"


def test_a_run_whose_state_cannot_be_read_failed_and_says_what_to_do(event: Event) -> None:
    run = finished_run(event, "broken", saying(0))
    run.status_path.write_text('{"state": "fini')
    state = workflow.event_status(event).runs[0]
    assert state.state == "failed" and "status.json: is damaged" in state.message
    assert "damage-ssl train --resume broken" in state.message.replace(" town", "")
    assert best_run(event)[0] is None
