"""`catalog`, `init --from-catalog`, `footprints fetch` and `imagery search`, as an analyst runs them."""

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import geopandas as gpd
import pystac
import pytest
import shapely

from damage_ssl.cli import imagery
from damage_ssl.cli.imagery import Wanted
from damage_ssl.cli.place import Place
from damage_ssl.events.catalogue import PACKAGED, find_event
from damage_ssl.events.event import Event
from damage_ssl.events.imagery_search import ImageryFound
from damage_ssl.events.licence import recorded_licence
from damage_ssl.events.static_catalogue import ImageryScene
from damage_ssl.geography import BoundingBox
from tests.cli.conftest import Outcome, every_file
from tests.cli.test_bad_input import refused
from tests.conftest import Town, square, write_polygons
from tests.service_answers import (
    Answer,
    Services,
    overpass_answer,
    overture_release,
    serving,
    stac_api,
    static_catalogue,
)

Run = Callable[..., Outcome]


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    with serving() as running:
        core = pytest.importorskip("overturemaps.core")
        opened = core.urlopen
        local = partial(core.fs.S3FileSystem, scheme="http", endpoint_override=f"127.0.0.1:{running.port}")
        monkeypatch.setenv("DAMAGE_SSL_OVERPASS_URL", f"{running.url}/api/interpreter")
        monkeypatch.setattr(core, "_cached_stac_catalog", None)
        monkeypatch.setattr(core, "urlopen", lambda url: opened(re.sub(r"https://[^/]+", running.url, url)))
        monkeypatch.setattr(core.fs, "S3FileSystem", local)
        yield running


@pytest.fixture
def bare(town: Town, run: Run) -> Town:
    """An event without footprints."""
    outcome = run("init", "town", "--pre", town.pre, "--post", town.post, "--workspace", town.workspace)
    assert outcome.code == 0, outcome.err
    return town


def buildings_of(town: Town) -> gpd.GeoDataFrame:
    """The town's own sixteen buildings, and one 11 km away."""
    own = gpd.read_file(town.footprints)[["geometry"]]
    away = shapely.affinity.translate(own.geometry.iloc[0], xoff=0.1)
    return gpd.GeoDataFrame(geometry=[*own.geometry, away], crs="EPSG:4326")


def test_list_shows_every_event_and_filters_by_hazard(run: Run, tmp_path: Path) -> None:
    everything = run("catalog", "list", "--workspace", tmp_path)
    assert re.search(r"maui-2023 +2023-08-09 +fire +Lahaina, Maui", everything.out)
    fires = run("catalog", "list", "--hazard", "fire", "--workspace", tmp_path, "--json").json["events"]
    assert {event["hazard"] for event in fires} == {"fire"}
    assert {"maui-2023", "santa-rosa-2017"} <= {event["id"] for event in fires}


def test_show_tells_sources_licences_and_the_next_commands(run: Run, tmp_path: Path) -> None:
    out = run("catalog", "show", "turkiye-syria-2023", "--workspace", tmp_path).out
    assert "Kahramanmaras-turkey-earthquake-23/collection.json" in out
    assert "CC-BY-NC-4.0" in out
    assert "EMSR648" in out
    assert "next: damage-ssl imagery search turkiye-syria-2023" in out
    assert "--source osm --date 2023-02-05" in out


def test_show_of_an_unknown_event_names_the_nearest(run: Run, tmp_path: Path) -> None:
    refused(run("catalog", "show", "maui", "--workspace", tmp_path), "no event 'maui'", "did you mean 'maui-2023'")


@pytest.mark.long
def test_sample_event_is_drawn_and_set_up_in_one_command(run: Run, tmp_path: Path) -> None:
    outcome = run("init", "practice", "--from-catalog", "simulated-earthquake", "--workspace", tmp_path)
    assert outcome.code == 0, outcome.err
    assert len(Event.open(tmp_path, "practice").footprints()) == 600
    event = Event.open(tmp_path, "practice")
    assert event.hazard == "earthquake"
    assert recorded_licence(event) == "Apache-2.0"
    assert "truth.csv" in outcome.out
    entry = find_event("simulated-earthquake", PACKAGED)
    assert list(entry.bbox) == [round(float(value), 5) for value in event.footprints().total_bounds]
    times = [scene.datetime for role in ("pre", "post") for scene in event.scenes(role)]
    assert pystac.Collection.from_file(str(entry.path)).extent.temporal.intervals == [times]


def test_init_from_a_real_event_says_where_its_imagery_is_and_makes_nothing(run: Run, tmp_path: Path) -> None:
    outcome = run("init", "maui", "--from-catalog", "maui-2023", "--workspace", tmp_path / "w")
    refused(
        outcome,
        "names no pre and post rasters",
        "Maxar Open Data, CC-BY-NC-4.0: https://maxar-opendata.s3.amazonaws.com/events/Maui-Hawaii-fires-Aug-23/",
        "damage-ssl imagery search maui-2023",
    )
    assert not (tmp_path / "w").exists()


def test_init_from_a_real_event_takes_the_given_rasters_and_the_catalogues_hazard(run: Run, town: Town) -> None:
    inputs = ["--pre", town.pre, "--post", town.post, "--footprints", town.footprints]
    outcome = run("init", "t", "--from-catalog", "maui-2023", *inputs, "--workspace", town.workspace)
    assert outcome.code == 0, outcome.err
    assert Event.open(town.workspace, "t").hazard == "fire"
    assert recorded_licence(Event.open(town.workspace, "t")) is None  # the catalogue knows nothing of these rasters


def test_own_event_is_added_listed_and_made_again_from_the_catalogue(run: Run, town: Town) -> None:
    town.create("town")
    assert run("catalog", "add", "town", "--workspace", town.workspace).code == 0
    assert run("catalog", "add", "town", "--workspace", town.workspace).code == 0
    own = pystac.Catalog.from_file(str(town.workspace / "catalog" / "catalog.json"))
    assert [child.id for child in own.get_children()] == ["town"]
    listed = run("catalog", "list", "--workspace", town.workspace, "--json").json["events"]
    assert listed[-1]["id"] == "town"
    again = run("init", "again", "--from-catalog", "town", "--workspace", town.workspace)
    assert again.code == 0, again.err
    first, second = (Event.open(town.workspace, name) for name in ("town", "again"))
    assert [scene.href for scene in second.scenes("pre")] == [scene.href for scene in first.scenes("pre")]
    assert set(second.footprints()["building_id"]) == set(first.footprints()["building_id"])


def test_an_aoi_comes_along_from_the_catalogue(run: Run, town: Town, tmp_path: Path) -> None:
    made = town.create("town", aoi=write_polygons(tmp_path / "aoi.gpkg", [square(0, 0, 200)]))
    run("catalog", "add", "town", "--workspace", town.workspace)
    again = run("init", "again", "--from-catalog", "town", "--workspace", town.workspace)
    assert again.code == 0, again.err
    area = Event.open(town.workspace, "again").aoi()
    assert area is not None
    assert area.equals(made.aoi())


def test_an_event_that_was_deleted_does_not_take_the_catalogue_with_it(
    run: Run, town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    event = town.create("town")
    run("catalog", "add", "town", "--workspace", town.workspace)
    shutil.rmtree(event.path)
    outcome = run("catalog", "show", "maui-2023", "--workspace", town.workspace)
    assert outcome.code == 0, outcome.err
    assert "its entry ../town/collection.json is gone" in caplog.text


@pytest.mark.parametrize("command", [["catalog", "add"], ["imagery", "search", "--bbox=0,0,1,1", "--catalog"]])
def test_signature_of_a_catalogues_address_is_not_shown(
    run: Run, services: Services, tmp_path: Path, command: list[str]
) -> None:
    outcome = run(*command, f"{services.url}/none.json?sig=SECRET", "--workspace", tmp_path)
    refused(outcome, "there is nothing at that address")
    assert "SECRET" not in outcome.err + outcome.out


def test_foreign_collection_is_copied_with_links_that_still_lead_to_it(
    run: Run, services: Services, tmp_path: Path
) -> None:
    static_catalogue(services)
    address = f"{services.url}/events/Maui-fires/collection.json"
    assert run("catalog", "add", address, "--workspace", tmp_path).code == 0
    entry = json.loads((tmp_path / "catalog" / "Maui-fires" / "collection.json").read_text())
    children = [link["href"] for link in entry["links"] if link["rel"] == "child"]
    assert children[0] == f"{services.url}/events/Maui-fires/ard/acquisition_collections/A0001_collection.json"
    shown = run("catalog", "show", "Maui-fires", "--workspace", tmp_path, "--json").json
    assert shown["licence"] == "CC-BY-NC-4.0"


def test_one_scene_can_be_registered(run: Run, services: Services, tmp_path: Path) -> None:
    static_catalogue(services)
    item = f"{services.url}/events/Maui-fires/ard/04/122000330033/2023-08-12/A0002.json"
    assert run("catalog", "add", item, "--workspace", tmp_path).code == 0
    shown = run("catalog", "show", "04/122000330033/A0002", "--workspace", tmp_path, "--json").json
    assert (shown["kind"], shown["date"]) == ("scene", "2023-08-12")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no json", "is not JSON"),
        ('{"a": 1}', "is not a STAC collection or item"),
        (
            '{"type": "Catalog", "id": "c", "stac_version": "1.1.0", "description": "", "links": []}',
            "is a STAC catalog",
        ),
    ],
)
def test_what_is_no_event_is_not_added(run: Run, tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    refused(run("catalog", "add", file, "--workspace", tmp_path / "w"), str(file), said)
    assert not (tmp_path / "w").exists()
    refused(run("catalog", "add", "nothing", "--workspace", tmp_path / "w"), "no event of this name", "no such file")


def test_fetched_buildings_become_the_events_footprints(run: Run, bare: Town, services: Services) -> None:
    overture_release(services, buildings_of(bare))
    outcome = run("footprints", "fetch", "town", "--workspace", bare.workspace)
    assert outcome.code == 0, outcome.err
    event = Event.open(bare.workspace, "town")
    assert len(event.footprints()) == 16
    assert "16 footprints from Overture Maps buildings (2026-10-21.0)" in outcome.out
    assert 'licence ODbL-1.0: credit "© OpenStreetMap contributors, Overture Maps Foundation"' in outcome.out
    assert json.loads((event.path / "fetched" / "overture.parquet.source.json").read_text())["licence"] == "ODbL-1.0"


def test_footprints_that_are_there_are_kept_unless_told_otherwise(run: Run, town: Town, services: Services) -> None:
    town.create("town")
    overture_release(services, buildings_of(town))
    before = every_file(town.workspace)
    refused(run("footprints", "fetch", "town", "--workspace", town.workspace), "has footprints already", "--overwrite")
    assert every_file(town.workspace) == before
    assert services.asked == []
    assert run("footprints", "fetch", "town", "--overwrite", "--workspace", town.workspace).code == 0


def test_a_failed_fetch_leaves_the_event_as_it_was(run: Run, bare: Town, services: Services) -> None:
    before = every_file(bare.workspace)
    services.answers["/api/interpreter"] = Answer(b"", 429)
    refused(
        run("footprints", "fetch", "town", "--source", "osm", "--workspace", bare.workspace), "HTTP 429", "rate limit"
    )
    assert every_file(bare.workspace) == before
    assert not Event.open(bare.workspace, "town").has_footprints


@pytest.mark.parametrize("name", ["b.json", "b.geojson", "b.gpkg"])
def test_buildings_of_a_box_go_to_a_file_of_the_wanted_format(
    run: Run, town: Town, services: Services, tmp_path: Path, name: str
) -> None:
    services.answers["/api/interpreter"] = overpass_answer(buildings_of(town))
    west, south, east, north = gpd.read_file(town.footprints).total_bounds
    out = tmp_path / "out" / name
    box = f"--bbox={west},{south},{east},{north}"
    outcome = run("footprints", "fetch", box, "--source", "osm", "--out", out, "--workspace", town.workspace, "--json")
    assert outcome.json["footprints"] == 17
    assert outcome.json["attribution"] == "© OpenStreetMap contributors"
    assert {path.name for path in out.parent.iterdir()} == {name, f"{name}.source.json"}
    again = run("init", "t", "--pre", town.pre, "--post", town.post, "--footprints", out, "--workspace", town.workspace)
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give the name of an event, or an area"),
        (["nowhere"], "no event 'nowhere'"),
        (["maui-2023"], "give --out FILE"),
        (["--bbox", "1,2,3"], "four numbers"),
        (["maui-2023", "--out", "x.shp"], "--out x.shp: write .parquet"),
        (["maui-2023", "--date", "2023-08-01"], "only --source osm"),
        (["maui-2023", "--source", "osm", "--release", "x"], "--release"),
        (["maui-2023", "--source", "bing"], "--source bing: is unknown"),
    ],
)
def test_fetch_that_cannot_be_meant_is_refused(run: Run, tmp_path: Path, arguments: list[str], said: str) -> None:
    refused(run("footprints", "fetch", *arguments, "--workspace", tmp_path), said)


def test_search_lists_scenes_with_their_side_and_an_init_command(run: Run, services: Services, tmp_path: Path) -> None:
    url = static_catalogue(services)
    outcome = run("imagery", "search", "maui-2023", "--catalog", url, "--workspace", tmp_path)
    assert outcome.code == 0, outcome.err
    assert re.search(r"2023-07-09 21:03 +pre +0.34 m +0 % +CC-BY-NC-4.0", outcome.out)
    assert re.search(r"2023-08-12 21:03 +post +0.34 m +41 %", outcome.out)
    assert f"--pre {services.url}/events/Maui-fires/ard/04/122000330033/2023-07-09/A0001-visual.tif" in outcome.out
    assert "no commercial use" in outcome.err


def test_search_prints_hrefs_only_or_json(run: Run, services: Services, tmp_path: Path) -> None:
    url = static_catalogue(services)
    given = ["imagery", "search", "maui-2023", "--catalog", url, "--from", "2023-08-09", "--workspace", tmp_path]
    lines = run(*given, "--hrefs").out.split()
    assert lines == [f"{services.url}/events/Maui-fires/ard/04/122000330033/2023-08-12/A0002-visual.tif"]
    (scene,) = run(*given, "--json").json["scenes"]
    assert (scene["side"], scene["href"]) == ("post", lines[0])


@pytest.mark.parametrize(("side", "file"), [("pre", "A0001-visual.tif"), ("post", "A0002-visual.tif")])
def test_one_side_is_ready_for_init(run: Run, services: Services, tmp_path: Path, side: str, file: str) -> None:
    given = ["--catalog", static_catalogue(services), "--side", side, "--hrefs", "--workspace", tmp_path]
    assert [Path(line).name for line in run("imagery", "search", "maui-2023", *given).out.split()] == [file]


def test_a_side_needs_a_day_of_disaster(run: Run, services: Services, tmp_path: Path) -> None:
    given = ["--catalog", static_catalogue(services), "--side", "pre", "--workspace", tmp_path]
    refused(run("imagery", "search", "--bbox=0,0,1,1", *given), "day of the disaster is not known")


def test_search_by_box_on_an_api(run: Run, services: Services, tmp_path: Path) -> None:
    box = "--bbox=-73.21,43.99,-73.12,44.05"
    found = run("imagery", "search", box, "--catalog", stac_api(services), "--workspace", tmp_path, "--json").json
    assert len(found["scenes"]) == 12
    assert {scene["side"] for scene in found["scenes"]} == {None}


def test_a_box_of_a_known_event_keeps_the_events_day(run: Run, services: Services, tmp_path: Path) -> None:
    given = ["maui-2023", "--bbox=-156.7,20.8,-156.6,20.9", "--catalog", static_catalogue(services)]
    found = run("imagery", "search", *given, "--workspace", tmp_path, "--json").json
    assert [scene["side"] for scene in found["scenes"]] == ["pre", "post"]


def test_commands_to_go_on_with_can_be_pasted_into_a_shell() -> None:
    scenes = [
        ImageryScene(
            id=str(number),
            collection=None,
            datetime=datetime(2023, 8, 1 + number, tzinfo=UTC),
            gsd_m=None,
            cloud_percent=None,
            licence=None,
            asset="visual",
            href=f"https://h.org/{number} b.tif?a=1&sig=2",
            bbox=None,
            role=None,
            item=None,
        )
        for number in range(6)
    ]
    place = Place(box=BoundingBox(0, 0, 1, 1), struck=datetime(2023, 8, 3, tzinfo=UTC))
    wanted = Wanted(
        start="2023-08-01", end=None, catalog="my cat.json", collections=("c",), max_cloud=20, limit=6, max_documents=9
    )

    def next_command(count: int) -> list[str]:
        found = ImageryFound(
            catalog="",
            title="",
            scenes=tuple(scenes[:count]),
            searchable=True,
            complete=True,
            documents=1,
            cloudier=0,
            note="",
        )
        again = imagery._again("maui", None, Path("my work"), wanted)
        return shlex.split(imagery._next(found, place, "maui", again).removeprefix("next: "))

    assert next_command(4)[4:6] == ["https://h.org/0 b.tif?a=1&sig=2", "https://h.org/1 b.tif?a=1&sig=2"]
    again = " ".join(next_command(6))
    assert "--from 2023-08-01 --catalog my cat.json --max-cloud 20 --limit 6" in again
    assert "--workspace my work --collection c --side pre --hrefs)" in again


def test_a_day_as_the_end_means_its_end(run: Run, services: Services, tmp_path: Path) -> None:
    url = static_catalogue(services)
    given = ["imagery", "search", "maui-2023", "--catalog", url, "--workspace", tmp_path, "--json"]
    assert len(run(*given, "--to", "2023-08-12").json["scenes"]) == 2
    assert len(run(*given, "--to", "2023-08-11").json["scenes"]) == 1
    refused(run(*given, "--from", "2023-08-12", "--to", "2023-08-01"), "lies after --to")


def test_no_scene_is_an_answer_not_an_error(run: Run, services: Services, tmp_path: Path) -> None:
    url = static_catalogue(services)
    outcome = run("imagery", "search", "--bbox=0,0,0.1,0.1", "--catalog", url, "--workspace", tmp_path)
    assert outcome.code == 0
    assert "no scene there" in outcome.out


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if `damage-ssl[fetch]` were not installed."""
    for name in ("overturemaps", "overturemaps.core", "pystac_client", "requests", "s2geometry"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("without_extra")
def test_without_the_extra_the_catalogue_works_and_fetching_names_it(run: Run, town: Town) -> None:
    town.create("town")
    assert run("catalog", "list", "--workspace", town.workspace).code == 0
    assert run("catalog", "add", "town", "--workspace", town.workspace).code == 0
    assert run("init", "again", "--from-catalog", "town", "--workspace", town.workspace).code == 0
    for source in ("overture", "open-buildings", "osm"):
        outcome = run("footprints", "fetch", "town", "--overwrite", "--source", source, "--workspace", town.workspace)
        refused(outcome, "pip install 'damage-ssl[fetch]'")
    refused(run("imagery", "search", "town", "--workspace", town.workspace), "pip install 'damage-ssl[fetch]'")
