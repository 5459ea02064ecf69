"""A first map without labels, from pairs to export, on a town of which some houses were speckled."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from damage_ssl import workflow
from damage_ssl.damage_scale import DamageGrade, LabelValue
from damage_ssl.errors import SettingsError, WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.labels.label_csv import read_label_csv
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.runs.change_score import CHANGE_SCORE
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.prior import NO_PRIOR
from damage_ssl.runs.run import Run
from damage_ssl.settings import SplitSettings
from tests.conftest import SIDE_PX, Town, square, texture, write_polygons, write_tiff

CENTRES = [(column, row) for row in range(24, 220, 48) for column in range(24, 220, 48)]
DESTROYED = {3, 7, 11, 12, 20, 21, 24}


def with_houses(ground: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = ground.copy()
    for number, (column, row) in enumerate(CENTRES):
        roof = np.random.default_rng(number).integers(90, 210, 3).astype(np.uint8)
        image[:, row - 10 : row + 10, column - 10 : column + 10] = roof[:, None, None]
        image[:, row : row + 10, column - 10 : column + 10] = (roof * 0.7).astype(np.uint8)[:, None, None]
    return image


@pytest.fixture
def event(tmp_path: Path) -> Event:
    pre = with_houses(texture(1))
    post = np.clip(pre * 0.85 + 10, 0, 255).astype(np.uint8)
    for number in DESTROYED:
        column, row = CENTRES[number]
        speckle = np.random.default_rng(100 + number).integers(30, 230, (1, 24, 24)).astype(np.uint8)
        post[:, row - 12 : row + 12, column - 12 : column + 12] = speckle
    assert pre.shape == (3, SIDE_PX, SIDE_PX)
    town = Town(
        pre=write_tiff(tmp_path / "in" / "pre.tif", pre),
        post=write_tiff(tmp_path / "in" / "post.tif", post),
        footprints=write_polygons(
            tmp_path / "in" / "footprints.geojson",
            [square(*centre) for centre in CENTRES],
            building_id=[f"b{number:02d}" for number in range(len(CENTRES))],
        ),
        workspace=tmp_path / "workspace",
    )
    made = town.create()
    workflow.cut_patches(made)
    return made


def compared(event: Event) -> Run:
    planned = workflow.start_zero_label(event, prior_model=NO_PRIOR)
    workflow.predict_event(event, planned.run)
    return planned.run


def called_damaged(table: pd.DataFrame, threshold: float) -> set[str]:
    return set(table.loc[table["p_damaged"] >= threshold, "building_id"])


def names(numbers: set[int]) -> set[str]:
    return {f"b{number:02d}" for number in numbers}


def test_the_destroyed_are_named_without_any_label(event: Event) -> None:
    run = compared(event)
    table = pd.read_parquet(run.predictions_path)
    assert len(table) == len(CENTRES)
    assert table["p_damaged"].between(0, 1).all()
    assert called_damaged(table, workflow.run_summary(run).threshold) == names(DESTROYED)
    assert run.finished and run.status().steps == len(CENTRES)
    assert not FinishedRun(run).kind.is_probability


def test_the_same_pixels_are_not_compared_twice(event: Event) -> None:
    run = compared(event)
    again = workflow.start_zero_label(event, prior_model=NO_PRIOR)
    assert again.done and again.run == run


def test_comparing_again_gives_the_same_numbers(event: Event) -> None:
    run = compared(event)
    first = run.predictions_path.read_bytes()
    workflow.predict_event(event, run)
    assert run.predictions_path.read_bytes() == first


def test_export_and_card_say_that_it_is_a_change_score(event: Event, tmp_path: Path) -> None:
    run = compared(event)
    summary = workflow.export_event(event, tmp_path / "map.geojson")
    assert summary.run_id == run.run_id and summary.damaged == len(DESTROYED)
    assert "changed enough" in summary.sentence
    content = json.loads((tmp_path / "map.geojson").read_text())
    assert content["damage_ssl"]["statement"] == CHANGE_SCORE.statement
    assert {feature["properties"]["method"] for feature in content["features"]} == {CHANGE_SCORE.method}
    card = (run.path / "card.md").read_text()
    assert "# First map without labels: town" in card
    assert str(CHANGE_SCORE.statement) in card
    assert "not a probability: do not add it up" in card
    assert "half of the way from the event's usual change" in card
    assert "Only 0 buildings" not in card


def test_labels_of_both_kinds_choose_the_threshold_and_leave_the_ranking(event: Event) -> None:
    unlabelled = pd.read_parquet(compared(event).predictions_path).set_index("building_id")["p_damaged"]
    store = workflow.open_labels(event)
    for number in range(len(CENTRES)):
        value = LabelValue.DESTROYED if number in DESTROYED else LabelValue.NO_DAMAGE
        store.add(f"b{number:02d}", value, labeller="a", drawn="map", inclusion_probability=None)
    run = compared(event)
    summary = workflow.run_summary(run)
    assert summary.validated_on == len(CENTRES) and "validation buildings" in summary.threshold_method
    table = pd.read_parquet(run.predictions_path).set_index("building_id")["p_damaged"]
    assert (table.rank() == unlabelled.rank()).all()
    assert set(table.index[table >= summary.threshold]) == names(DESTROYED)


def test_few_labels_do_not_choose_the_threshold(event: Event) -> None:
    workflow.open_labels(event).add("b00", LabelValue.DESTROYED, labeller="a", drawn="map", inclusion_probability=None)
    assert workflow.run_summary(compared(event)).validated_on == 0


def test_the_queue_asks_first_about_the_buildings_nearest_to_the_threshold(event: Event) -> None:
    table = pd.read_parquet(compared(event).predictions_path).set_index("building_id")["uncertainty"]
    drawn = workflow.next_to_label(event, 4, np.random.default_rng(0))
    asked = drawn.loc[drawn["drawn"] == "uncertain", "building_id"]
    assert len(asked) == 3
    assert table[asked].min() >= table.median()


def test_training_under_this_name_points_to_the_command(event: Event) -> None:
    with pytest.raises(SettingsError, match="zero-label town"):
        workflow.start_run(event, TrainSettings(algorithm=CHANGE_SCORE.name), SplitSettings())


def test_too_few_buildings_leave_a_failed_run_with_the_reason(event: Event, tmp_path: Path) -> None:
    few = write_polygons(tmp_path / "few.geojson", [square(*centre) for centre in CENTRES[:5]])
    inputs = {role: [tmp_path / "in" / f"{role}.tif"] for role in ("pre", "post")}
    small = Event.create(tmp_path / "workspace", "small", footprints=few, **inputs)
    workflow.cut_patches(small)
    planned = workflow.start_zero_label(small)
    with pytest.raises(WorkspaceError, match="only 5 buildings"):
        workflow.predict_event(small, planned.run)
    assert planned.run.status().state == "failed"
    assert "only 5 buildings" in planned.run.status().message


@pytest.mark.real_data
def test_an_earthquake_that_spared_nearly_all_is_not_drawn_as_a_catastrophe(
    real_event: Callable[[str], Path], tmp_path: Path
) -> None:
    source = real_event("mexico-earthquake")
    inputs = {role: [source / role] for role in ("pre", "post")}
    event = Event.create(tmp_path, "mexico", footprints=source / "footprints.geojson", **inputs)
    workflow.cut_patches(event)
    run = compared(event)
    table = pd.read_parquet(run.predictions_path).set_index("building_id")
    assert (table["p_damaged"] >= workflow.run_summary(run).threshold).mean() < 0.15
    grades = {row.building_id: row.value.grade for row in read_label_csv(source / "labels.csv", labeller="t").rows}
    worst = [name for name, grade in grades.items() if grade is not None and grade >= DamageGrade.MAJOR_DAMAGE]
    assert (table["change"].rank(pct=True)[worst] > 0.9).all()
