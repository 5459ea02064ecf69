"""The whole way in the browser: files to event, labels, live colours, training with a reload, checks, hand-over."""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from damage_ssl import workflow
from damage_ssl.damage_scale import LabelValue
from damage_ssl.events.definition import damage_scheme
from damage_ssl.events.event import Event
from damage_ssl.labels.label_log import LabelStore
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.run import runs_in
from tests.app.browser.chromium import BROWSER
from tests.app.browser.conftest import BUILDINGS, Drawn
from tests.app.browser.screen import GRADE_KEYS, Screen
from tests.app.browser.server import App, running_app
from tests.conftest import eventually

pytestmark = [*BROWSER, pytest.mark.long]


@pytest.fixture
def empty_app(tmp_path: Path) -> Iterator[App]:
    """The app on a workspace without any event."""
    (tmp_path / "workspace").mkdir()
    with running_app(tmp_path / "workspace", tmp_path / "log.txt") as running:
        yield running


def test_from_files_to_a_handed_over_map(
    open_screen: Callable[..., Screen], empty_app: App, drawn: Drawn, tmp_path: Path
) -> None:
    screen = open_screen(empty_app.address)
    _add_event(screen, drawn)
    event = Event.open(empty_app.workspace, "quake")
    assert len(event.footprints()) == BUILDINGS
    _prepare(screen)
    _label(screen, event, drawn)
    _see_live_colours(screen)
    run_id = _train_through_a_reload(screen, event, drawn)
    corrected = _check(screen, event, drawn)
    _hand_over(screen, event, run_id, corrected, tmp_path)
    _hand_over_what_a_filter_shows(screen, tmp_path)


def test_a_wrong_file_is_named_and_the_form_keeps_its_content(
    open_screen: Callable[..., Screen], empty_app: App, drawn: Drawn, tmp_path: Path
) -> None:
    screen = open_screen(empty_app.address)
    page = screen.page
    screen.open()
    page.wait_for_selector(".st-key-add-event")
    broken = tmp_path / "post.tif"
    broken.write_bytes(drawn.files.post.read_bytes()[:3000])  # begins like a GeoTIFF
    notes = tmp_path / "notes.tif"
    notes.write_text("These are only words.\n", encoding="utf-8")
    screen.upload([notes])
    page.wait_for_selector(".up-row.bad")
    assert "notes.tif" in page.locator(".up-row.bad").inner_text()
    screen.upload([drawn.files.pre, broken, drawn.files.footprints])
    screen.wait_for_choice("pre", "pre.tif")
    screen.wait_for_choice("post", "post.tif")
    screen.fill("new-name", "flood-2031")
    screen.choose("new-hazard", "Flood")
    screen.press("create-event")
    page.wait_for_selector(".st-key-add-event [data-testid=stAlert]")
    screen.settle()
    page.wait_for_selector(".st-key-new-name input:enabled")
    said = page.locator(".st-key-add-event [data-testid=stAlert]").first.inner_text()
    assert "post.tif" in said
    assert str(empty_app.workspace) not in said
    assert page.locator(".st-key-new-name input").input_value() == "flood-2031"
    assert "pre.tif" in page.locator(".st-key-new-pre").inner_text()
    assert "footprints.geojson" in page.locator(".st-key-new-footprints").inner_text()
    assert not (empty_app.workspace / "flood-2031" / "collection.json").exists()


def test_the_sample_event_is_made_and_opened_at_one_click(open_screen: Callable[..., Screen], empty_app: App) -> None:
    screen = open_screen(empty_app.address)
    page = screen.page
    screen.open()
    screen.press("try-sample")
    page.wait_for_selector('.wb[data-ready="1"]', timeout=600_000)
    screen.wait_for_state("event", "600 buildings")


def _add_event(screen: Screen, drawn: Drawn) -> None:
    page = screen.page
    screen.open(name=None)
    page.wait_for_selector(".st-key-add-event")
    screen.upload([drawn.files.pre, drawn.files.post, drawn.files.footprints])
    for field, name in (("pre", "pre.tif"), ("post", "post.tif"), ("footprints", "footprints.geojson")):
        screen.wait_for_choice(field, name)
    screen.fill("new-name", "quake")
    screen.choose("new-hazard", "Earthquake")
    screen.press("create-event")
    page.wait_for_selector(".st-key-body-event")
    screen.ready()
    assert f"{BUILDINGS} buildings" in screen.state("event")
    assert screen.drawn() == BUILDINGS


def _prepare(screen: Screen) -> None:
    screen.press("prepare")
    screen.page.wait_for_selector(".st-key-to-label", timeout=120_000)
    assert "Can be assessed" in screen.body("event")


def _label(screen: Screen, event: Event, drawn: Drawn) -> None:
    """By keys, taken back, by click on the map, and as a colleague's file."""
    page, truth, labels = screen.page, drawn.truth, LabelStore(event.labels_path)
    screen.press("to-label")
    screen.enter_name("Ana")
    current = first = screen.wait_for_other_building(None)
    for _ in range(6):
        page.keyboard.press(GRADE_KEYS[truth[current]])
        current = screen.wait_for_other_building(current)
    screen.saved(6)
    said = labels.current().set_index("building_id")
    assert said.loc[first, "value"] == truth[first]
    assert set(said["labeller"]) == {"Ana"}

    last = str(labels.log()["building_id"].iloc[-1])
    page.keyboard.press("z")
    screen.wait_for_building(last)
    screen.saved(7)
    assert len(labels.current()) == 5
    page.keyboard.press(GRADE_KEYS[truth[last]])
    screen.saved(8)

    labelled = set(labels.current()["building_id"])
    clicked = screen.click_building(event.footprints(), labelled | {screen.building() or ""})
    screen.answer(truth[clicked])
    screen.saved(9)
    row = labels.current().set_index("building_id").loc[clicked]
    assert (row["value"], row["drawn"], row["labeller"]) == (truth[clicked], "map", "Ana")

    known = set(labels.current()["building_id"])
    drawn.label(event, [building for building in truth if building not in known][:34])
    screen.wait_for_state("label", f"{len(known) + 34} labelled")


def _see_live_colours(screen: Screen) -> None:
    """Once the features are there, a label makes the map learn; no reload, no button."""
    page = screen.page
    page.wait_for_selector(".wb[data-live]", timeout=300_000)  # low priority: slow beside others
    before = screen.live()
    current = screen.building()
    page.keyboard.press("u")
    screen.wait_for_other_building(current)
    page.wait_for_function("before => Number(document.querySelector('.wb').dataset.live) > before", arg=before)


def _train_through_a_reload(screen: Screen, event: Event, drawn: Drawn) -> str:
    page = screen.page
    screen.step("train")
    page.get_by_text("More settings").click()
    screen.choose("train-network", "Small network")
    screen.fill("train-steps", "24")
    screen.press("train")
    page.wait_for_selector(".st-key-cancel, .st-key-body-train [data-testid=stAlert]")
    assert page.locator(".st-key-cancel").count(), screen.body("train")
    [run] = eventually(lambda: [run for run in runs_in(event.runs_path) if run.status().step >= 2])
    page.reload()
    screen.ready()
    seen = run.status().step
    screen.wait_for_state("train", r"training \d+%|predicting|finished")
    eventually(lambda: run.status().step > seen or run.status().state == "finished")
    screen.wait_for_state("train", "finished|failed|stopped", timeout_s=600)
    assert "finished" in screen.state("train")
    return run.run_id


def _check(screen: Screen, event: Event, drawn: Drawn) -> dict[str, str]:
    """Walk the audit of the map: three buildings that the model is asked about; what was said of them."""
    page, labels = screen.page, LabelStore(event.labels_path)
    screen.step("map")
    screen.settle()
    page.wait_for_selector(".wb-modes [data-mode=result][aria-pressed=true]")
    screen.show_check()
    screen.settle()
    before = screen.building()
    screen.press("walk-audit")
    current = screen.wait_for_other_building(before)
    for _ in range(3):
        page.keyboard.press(GRADE_KEYS[drawn.truth[current]])
        current = screen.wait_for_other_building(current)
    eventually(lambda: len(labels.log().query("drawn == 'audit'")) >= 3)
    said = labels.log().query("drawn == 'audit'")
    return dict(zip(said["building_id"], said["value"], strict=True))


def _hand_over(screen: Screen, event: Event, run_id: str, corrected: dict[str, str], tmp_path: Path) -> None:
    page = screen.page
    screen.show_result()
    screen.settle()
    screen.step("handover")
    page.locator(".st-key-licence-not-stated label").click()
    page.wait_for_selector(".st-key-download a")
    collection = json.loads(_download(screen, ".st-key-download a", tmp_path / "map.geojson").read_text("utf-8"))
    _is_whole_map(collection, event, run_id, corrected)

    if page.locator(".st-key-write-pack").count():
        screen.press("write-pack")
    page.wait_for_selector(".st-key-pack a", timeout=120_000)
    pack = zipfile.ZipFile(_download(screen, ".st-key-pack a", tmp_path / "pack.zip"))
    assert pack.testzip() is None
    by_name = {Path(name).name: name for name in pack.namelist()}
    _is_whole_map(json.loads(pack.read(by_name["buildings.geojson"])), event, run_id, corrected)
    labels = list(csv.DictReader(io.StringIO(pack.read(by_name["labels.csv"]).decode("utf-8-sig"))))
    assert {row["building_id"] for row in labels} == set(LabelStore(event.labels_path).current()["building_id"])
    manifest = json.loads(pack.read(by_name["manifest.json"]))
    for name, file in by_name.items():
        if name not in ("manifest.json", "checksums"):
            assert hashlib.sha256(pack.read(file)).hexdigest() in json.dumps(manifest), f"{name} is not in the manifest"


def _hand_over_what_a_filter_shows(screen: Screen, tmp_path: Path) -> None:
    page = screen.page
    screen.step("map")
    page.locator(".st-key-filter-classes button").first.click()
    page.wait_for_selector(".wb-count:not([hidden])")
    screen.step("handover")
    page.wait_for_selector(".st-key-download a")
    screen.settle()
    collection = json.loads(_download(screen, ".st-key-download a", tmp_path / "part.geojson").read_text("utf-8"))
    count = len(collection["features"])
    assert 0 < count < BUILDINGS
    assert count == int(page.locator(".wb-stage").get_attribute("data-matched") or 0)
    assert f"{count:,} buildings" in page.locator(".st-key-download").inner_text()
    screen.fit()  # all of the event is in view: the map draws exactly these buildings
    page.wait_for_function("count => Number(document.querySelector('.wb-map').dataset.footprints) === count", arg=count)


def _is_whole_map(collection: dict[str, Any], event: Event, run_id: str, corrected: dict[str, str]) -> None:
    """Every footprint once, the model's word where nobody said anything, the analysts' word where they did."""
    rows = [feature["properties"] for feature in collection["features"]]
    assert sorted(row["building_id"] for row in rows) == sorted(event.footprints()["building_id"])
    run = next(run for run in runs_in(event.runs_path) if run.run_id == run_id)
    table = workflow.export_table(event, FinishedRun(run)).set_index("building_id")
    said = LabelStore(event.labels_path).current().set_index("building_id")["value"]
    assert set(corrected) <= set(said.index)
    for row in rows:
        building = row["building_id"]
        assert row["damage_class"] == table.loc[building, "damage_class"]
        grade = LabelValue(said[building]).grade if building in said.index else None
        if grade is not None and row["assessed"]:
            assert row["label_source"] == "analyst"
            assert row["edited"] == table.loc[building, "edited"]  # whether it changes the model's class
            assert row["analyst_class"] == grade.label
            assert row["damage_class"] == damage_scheme(event).class_of(LabelValue(said[building]))
        if row["assessed"]:
            assert row["run_id"] == run_id
            assert 0 <= row["p_damaged"] <= 1  # the prediction is kept beside the analyst's grade


def _download(screen: Screen, selector: str, path: Path) -> Path:
    with screen.page.expect_download() as download:
        screen.page.locator(selector).first.click()
    download.value.save_as(path)
    return path
