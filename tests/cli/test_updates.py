"""`add-scene`, `patches`, `diff` on the town: two days, two runs."""

import json
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pytest

from damage_ssl.events.event import Event
from damage_ssl.patches.store import PatchStore
from tests.cli.conftest import Outcome
from tests.conftest import Town, texture, write_tiff
from tests.runs.updates import finished_run

Run = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # within rasterio


@pytest.fixture
def event(run: Run, town: Town) -> Event:
    day1 = write_tiff(town.post.with_name("day1_20171011.tif"), texture(2)[:, :, :115])
    where = ("--workspace", town.workspace)
    assert run("init", "town", "--pre", town.pre, "--post", day1, "--footprints", town.footprints, *where).code == 0
    assert run("patches", "town", "--size-px", 32, *where).code == 0
    return Event.open(town.workspace, "town")


def test_two_days(run: Run, town: Town, event: Event, tmp_path: Path) -> None:
    where = ("--workspace", town.workspace)
    day2 = write_tiff(town.post.with_name("day2_20171013.tif"), texture(3))
    finished_run(event, {"b00": 0.9}, run_id="first")
    said = run("add-scene", "town", "--post", day2, *where, "--json").json
    (scene,) = said["added"]
    assert (scene["scene_id"], scene["footprints"], scene["datetime"]) == (
        "post-day2_20171013",
        16,
        "2017-10-13T00:00:00+00:00",
    )
    assert "damage-ssl patches town" in said["next_step"]
    again = run("add-scene", "town", "--post", day2, *where)
    assert (again.code, again.out) == (
        0,
        f"{day2}: is the event's scene post-day2_20171013 already\nnothing to do\n",
    )
    assert len(PatchStore.open(event.patches_path)) == 8, "the pictures of before, until they are cut again"
    assert run("patches", "town", *where, "--json").json["assessable"] == 16
    status = run("status", "town", *where, "--json").json
    assert (status["runs"][0]["stale"], status["scenes_to_cut"]) == (True, [])
    assert "of patches that were cut again since" in run("status", "town", *where).out
    finished_run(event, {"b01": 0.9}, run_id="second")
    layer, table = tmp_path / "changes.geojson", tmp_path / "changes.csv"
    found = run("diff", "town", "first", "second", "--out", layer, "--out", table, *where, "--json").json
    assert (found["newly_damaged"], found["no_longer_damaged"], found["newly_assessed"]) == (1, 1, 8)
    assert found["out"] == [str(layer), str(table)]
    assert len(json.loads(layer.read_text(encoding="utf-8"))["features"]) == 16
    assert layer.with_suffix(".qml").exists() and table.exists()
    assert found["sentence"] in run("diff", "town", "first", "second", *where).out


def test_pack_says_what_changed_since_an_earlier_run(run: Run, town: Town, event: Event, tmp_path: Path) -> None:
    where = ("--workspace", town.workspace)
    finished_run(event, {"b00": 0.9}, run_id="first")
    finished_run(event, {"b01": 0.9}, run_id="second")
    ask = ("export", "town", "--run-id", "second", "--since", "first", "--licence", "CC0", *where)
    assert run(*ask, "--pack", tmp_path / "pack").code == 0
    extra = tmp_path / "pack" / "extra"
    manifest = json.loads((extra / "manifest.json").read_text(encoding="utf-8"))
    said = manifest["changes"]
    assert (said["run_before"], said["newly_damaged"], said["no_longer_damaged"]) == ("first", 1, 1)
    assert {"extra/changes.geojson", "extra/changes.qml", "extra/changes.csv"} <= set(manifest["files"])
    readme = (extra / "README.txt").read_text(encoding="utf-8")
    assert said["sentence"] in readme and "extra/changes.geojson: " in readme
    layer = gpd.read_file(tmp_path / "pack" / "buildings.gpkg", layer="changes")
    assert (
        layer["change"].value_counts().to_dict()
        == gpd.read_file(extra / "changes.geojson")["change"].value_counts().to_dict()
    )
    assert run(*ask, "--pack", tmp_path / "some", "--class", "damaged", "--assessed-only").code == 0
    part = json.loads((tmp_path / "some" / "extra" / "manifest.json").read_text(encoding="utf-8"))
    assert (part["changes"]["newly_damaged"], part["changes"]["footprints"]) == (1, 1), "of the filter's buildings"
    for given, words in (
        (("--since", "nobody"), "'nobody': is not a run"),
        (("--run-id", "labels-only"), "without a model"),
    ):
        refused = run(*ask, "--pack", tmp_path / "none", *given)
        assert refused.code == 2 and words in " ".join(refused.err.split())
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("export", "town", "--out", "m.gpkg", "--since", "first"), "go with --pack"),
        (("add-scene", "town"), "give --post RASTER"),
        (("add-scene", "town", "--post", "nowhere.tif"), "no such file or folder"),
        (("add-scene", "twon", "--post", "nowhere.tif"), "no event 'twon': did you mean 'town'?"),
        (("diff", "town", "first", "second"), "'first': is not a run of event 'town'"),
    ],
)
def test_what_cannot_be_is_said(run: Run, town: Town, event: Event, given: tuple[str, ...], said: str) -> None:
    outcome = run(*given, "--workspace", town.workspace)
    assert outcome.code == 2
    assert said in " ".join(outcome.err.split())
