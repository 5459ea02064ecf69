"""What changed between two runs, building by building, also of pictures that were cut again in between."""

import json
import time
from pathlib import Path
from xml.etree import ElementTree

import geopandas as gpd
import pandas as pd
import pytest

from damage_ssl.checksums import checked_path
from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import WorkspaceError
from damage_ssl.events.definition import state_scheme
from damage_ssl.events.event import Event, open_labels
from damage_ssl.events.new_scenes import add_scenes
from damage_ssl.labels.label_log import withdrawal
from damage_ssl.products.difference import (
    CHANGES,
    diff_runs,
    difference_of,
    model_of_run,
    write_changes,
    write_difference,
)
from damage_ssl.products.qgis_style import CHANGES_STYLE_PATH
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.settings import PatchSettings
from damage_ssl.workflow import cut_patches
from tests.conftest import Town, texture, write_tiff
from tests.runs.updates import answer, finished_run

SMALL = PatchSettings(size_px=32, align="off")


@pytest.fixture
def event(town: Town) -> Event:
    """The town with the eastern half of its post image missing: eight buildings are assessed."""
    event = town.create(
        post=[write_tiff(town.post.with_name("day1_20171011.tif"), texture(2)[:, :, :115])],
        pre_datetime="2017-06-01",
    )
    cut_patches(event, SMALL)
    return event


def next_day(event: Event, town: Town) -> None:
    add_scenes(event, post=[write_tiff(town.post.with_name("day2_20171013.tif"), texture(3))])
    cut_patches(event)


def changes(event: Event, *runs: str, **options: str) -> dict[str, str]:
    table = diff_runs(event, *runs, **options).table  # type: ignore[arg-type]
    return dict(zip(table["building_id"], table["change"], strict=True))


def test_every_way_to_change_is_told_across_a_new_cut(event: Event, town: Town) -> None:
    # West of the gap: b00 b01 b04 b05 b08 b09 b12 b13; east of it, seen from the second day on: the others.
    answer(event, "b13", LabelValue.UNCLEAR)
    finished_run(event, {"b00": 0.9, "b01": 0.2, "b04": 0.8, "b13": 0.9}, run_id="first")
    next_day(event, town)
    answer(event, "b12", LabelValue.BAD_IMAGERY)
    finished_run(event, {"b00": 0.3, "b01": 0.7, "b04": 0.6, "b02": 0.95}, run_id="second")
    found = diff_runs(event, "first", "second")
    rows = found.table.set_index("building_id")
    assert rows["change"].to_dict() == {
        "b00": "no-longer-damaged",
        "b01": "newly-damaged",
        "b04": "unchanged",
        "b05": "unchanged",
        "b08": "unchanged",
        "b09": "unchanged",
        "b12": "no-longer-assessed",
        "b13": "not-assessed",
        **dict.fromkeys(("b02", "b03", "b06", "b07", "b10", "b11", "b14", "b15"), "newly-assessed"),
    }
    assert found.counts == {
        "newly-damaged": 1,
        "no-longer-damaged": 1,
        "other-grade": 0,
        "newly-assessed": 8,
        "newly-assessed-damaged": 1,
        "no-longer-assessed": 1,
        "unchanged": 4,
        "not-assessed": 1,
    }
    assert found.sentence == (
        "since run first: 1 newly damaged, 1 no longer damaged, 8 newly assessed (of them 1 damaged), 1 no longer "
        "assessed, 4 unchanged, 1 assessed by neither"
    )
    assert rows.loc["b01", ["p_before", "p_after", "p_change"]].tolist() == pytest.approx([0.2, 0.7, 0.5])
    assert rows.loc["b01", ["class_before", "class_after"]].tolist() == ["intact", "damaged"]
    assert rows.loc["b02", ["p_before", "p_change"]].isna().all() and rows.loc["b02", "p_after"] == 0.95
    assert rows.loc["b02", "damaged_before"] is pd.NA and rows.loc["b02", "damaged_after"]
    assert rows.loc[["b12", "b13"], "not_assessed_reason"].tolist() == ["bad_imagery", "unclear"]
    assert set(found.changed["building_id"]) == set(rows.index) - {"b04", "b05", "b08", "b09", "b13"}


def test_answers_count_on_the_earlier_side_from_when_they_were_given(event: Event) -> None:
    answer(event, "b00", LabelValue.DESTROYED)
    finished_run(event, {}, run_id="first")
    time.sleep(0.01)
    answer(event, "b01", LabelValue.MAJOR_DAMAGE)  # the model had said intact
    answer(event, "b02", LabelValue.DAMAGED)  # a building without a picture
    finished_run(event, {}, run_id="second")
    since = changes(event, "first", "second")
    assert (since["b00"], since["b01"], since["b02"]) == ("unchanged", "newly-damaged", "newly-assessed")
    rows = diff_runs(event, "first", "second").table.set_index("building_id")
    assert rows.loc["b01", ["source_before", "source_after"]].tolist() == ["model", "analyst"]
    assert set(changes(event, "first", "second", answers="now").values()) == {"unchanged", "not-assessed"}
    assert changes(event, "first", "first")["b01"] == "newly-damaged", "a run with itself: what people said since"
    time.sleep(0.01)
    open_labels(event).add_many([withdrawal("b00", "ann")])
    assert changes(event, "first", "second")["b00"] == "no-longer-damaged"


def test_minor_damage_is_damaged_where_the_event_says_so(event: Event) -> None:
    state_scheme(event, "binary-minor")
    finished_run(event, {}, run_id="first", scheme="binary-minor")
    time.sleep(0.01)
    answer(event, "b00", LabelValue.MINOR_DAMAGE)
    finished_run(event, {}, run_id="second", scheme="binary-minor")
    assert changes(event, "first", "second")["b00"] == "newly-damaged"


def test_run_that_answers_another_question_is_refused(event: Event) -> None:
    finished_run(event, {}, run_id="first", scheme="binary-minor")
    finished_run(event, {}, run_id="second")
    with pytest.raises(WorkspaceError, match=r"run 'first': answers another question .* minor-damage or worse"):
        diff_runs(event, "first", "second")


def test_grades_are_compared_where_both_runs_have_them(event: Event) -> None:
    state_scheme(event, "grades")
    finished_run(event, {"b00": (0, 1, 0, 0), "b01": (0, 0, 1, 0)}, run_id="first", scheme="grades")
    finished_run(event, {"b00": (1, 0, 0, 0), "b01": (0, 0, 0, 1), "b04": (0, 0, 0, 1)}, run_id="s", scheme="grades")
    finished_run(event, {"b00": 0.9}, run_id="binary")
    since = changes(event, "first", "s")
    assert (since["b00"], since["b01"], since["b04"]) == ("other-grade", "other-grade", "newly-damaged")
    mixed = changes(event, "first", "binary")
    assert (mixed["b00"], mixed["b01"]) == ("newly-damaged", "no-longer-damaged")
    assert "other-grade" not in mixed.values(), "a binary run knows no grade"


@pytest.mark.parametrize(("one", "other"), [("first", "nobody"), ("nobody", "first"), ("first", "begun")])
def test_run_that_is_not_there_or_has_not_finished_is_named(event: Event, one: str, other: str) -> None:
    finished_run(event, {}, run_id="first")
    begun = finished_run(event, {}, run_id="begun")
    begun.predictions_path.unlink()
    with pytest.raises(WorkspaceError, match=r"nobody|begun"):
        diff_runs(event, one, other)


def test_buildings_that_are_no_longer_the_events_are_counted(event: Event, town: Town) -> None:
    finished_run(event, {}, run_id="first")
    finished_run(event, {}, run_id="second")
    kept = event.footprints().iloc[1:]
    with checked_path(event.footprints_path) as temporary:
        kept.to_parquet(temporary)
    found = diff_runs(event, "first", "second")
    assert (len(found.table), found.gone) == (15, 1)
    assert found.sentence.endswith("; 1 are no longer among the footprints")


def test_what_must_be_said_is_said(event: Event) -> None:
    finished_run(event, {}, run_id="later", algorithm="perceptual-change")
    time.sleep(0.01)
    finished_run(event, {}, run_id="earlier")
    assert [note.partition(",")[0] for note in diff_runs(event, "earlier", "later").notes] == [
        "later: its numbers compare pre and post",
        "later is older than earlier: name the earlier run first",
    ]


def test_layer_and_table_hold_the_same_rows(event: Event, tmp_path: Path) -> None:
    finished_run(event, {"b00": 0.9}, run_id="first")
    second = finished_run(event, {"b01": 0.9}, run_id="second")
    written = difference_of(event, model_of_run(event, "first"), FinishedRun(second))
    write_changes(tmp_path / "extra", written)
    layer = gpd.read_file(tmp_path / "extra" / "changes.geojson")
    table = pd.read_csv(tmp_path / "extra" / "changes.csv")
    for read in (layer, table[table["change"].isin(CHANGES)]):
        assert read["change"].tolist() == written.table["change"].tolist()
    facts = json.loads((tmp_path / "extra" / "changes.geojson").read_text(encoding="utf-8"))["damage_ssl"]
    assert (facts["run_before"], facts["newly_damaged"], facts["sentence"]) == ("first", 1, written.sentence)
    assert (tmp_path / "extra" / "changes.qml").read_bytes() == CHANGES_STYLE_PATH.read_bytes()
    write_difference(written, tmp_path / "few.geojson", changed_only=True)
    assert gpd.read_file(tmp_path / "few.geojson")["building_id"].tolist() == ["b00", "b01"]


def test_style_has_a_category_and_the_colour_of_every_change() -> None:
    root = ElementTree.fromstring(CHANGES_STYLE_PATH.read_text(encoding="utf-8").partition("\n")[2])
    symbols = {symbol.get("name"): symbol for symbol in root.iter("symbol")}
    drawn = {}
    for category in root.iter("category"):
        values = {each.get("name"): each.get("value") for each in symbols[category.get("symbol")].iter("Option")}
        drawn[category.get("value")] = (category.get("label"), values)
    assert set(drawn) == {*CHANGES, "newly-assessed-damaged"}
    for name, entry in CHANGES.items():
        title, values = drawn[name]
        rgb = ",".join(str(int(entry.colour[at : at + 2], 16)) for at in (1, 3, 5))
        assert title == entry.title
        assert str(values["color" if values["style"] == "solid" else "outline_color"]).startswith(rgb)
