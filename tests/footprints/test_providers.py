"""Fetching footprints: the client libraries run against a server on 127.0.0.1; failures say what to do."""

import gzip
import json
import re
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs

import geopandas as gpd
import pytest
import shapely

from damage_ssl.errors import InputError, ServiceError
from damage_ssl.footprints.providers import openstreetmap, service
from damage_ssl.footprints.providers.download import fetch_footprints, note_path, read_note
from damage_ssl.footprints.providers.open_buildings import covering_cells
from damage_ssl.footprints.reader import read_footprints
from damage_ssl.geography import BoundingBox
from tests.service_answers import (
    RECORDED,
    RELEASE,
    Answer,
    Services,
    open_buildings_file,
    overpass_answer,
    overture_release,
    serving,
)

ACCRA = BoundingBox(-0.2500, 5.5721, -0.1863, 5.6479)
INSIDE = [shapely.box(-0.20 + n * 0.001, 5.60, -0.1995 + n * 0.001, 5.6005) for n in range(3)]
OUTSIDE = shapely.box(-0.10, 5.60, -0.0995, 5.6005)
BUILDINGS = gpd.GeoDataFrame(geometry=[*INSIDE, OUTSIDE], crs="EPSG:4326")
CELL = "/0fdf_buildings.csv.gz"


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """A local server in the place of all services; nothing else can be reached."""
    with serving() as running:
        core = pytest.importorskip("overturemaps.core")
        opened = core.urlopen
        filesystem = core.fs.S3FileSystem
        local = partial(filesystem, scheme="http", endpoint_override=f"127.0.0.1:{running.port}")
        monkeypatch.setenv("DAMAGE_SSL_OVERPASS_URL", f"{running.url}/api/interpreter")
        monkeypatch.setenv("DAMAGE_SSL_OPEN_BUILDINGS_URL", running.url)
        monkeypatch.setattr(core, "_cached_stac_catalog", None)
        monkeypatch.setattr(core, "urlopen", lambda url: opened(re.sub(r"https://[^/]+", running.url, url)))
        monkeypatch.setattr(core.fs, "S3FileSystem", local)
        yield running


def same_buildings(path: Path) -> None:
    """The three buildings of the area and no other, to about a centimetre."""
    table = read_footprints(path).table
    assert len(table) == 3
    found = shapely.set_precision(shapely.union_all(table.geometry.to_numpy()), 1e-7)
    assert shapely.symmetric_difference(found, shapely.union_all(INSIDE)).area < 1e-10


def test_overture_gives_the_buildings_of_the_box_of_the_latest_release(services: Services, tmp_path: Path) -> None:
    overture_release(services, BUILDINGS)
    fetched = fetch_footprints("overture", ACCRA, tmp_path / "b.parquet")
    same_buildings(fetched.path)
    assert fetched.release == RELEASE
    assert fetched.licence == "ODbL-1.0"


def test_overture_refuses_a_release_that_is_gone(services: Services, tmp_path: Path) -> None:
    overture_release(services, BUILDINGS)
    with pytest.raises(InputError, match=r"2026-10-20.0: Overture Maps has no such release.*2026-10-21.0"):
        fetch_footprints("overture", ACCRA, tmp_path / "b.parquet", release="2026-10-20.0")


@pytest.mark.parametrize("box", [BoundingBox(10, 10, 10.1, 10.1), BoundingBox(-0.15, 5.58, -0.12, 5.59)])
def test_overture_without_a_building_there_writes_nothing(services: Services, tmp_path: Path, box: BoundingBox) -> None:
    overture_release(services, BUILDINGS)
    with pytest.raises(ServiceError, match=r"has no building in"):
        fetch_footprints("overture", box, tmp_path / "b.parquet")
    assert list(tmp_path.iterdir()) == []


def test_overture_whose_file_is_gone_from_the_bucket_is_an_error(services: Services, tmp_path: Path) -> None:
    overture_release(services, BUILDINGS)
    for path in [path for path in services.answers if path.startswith("/overturemaps")]:
        services.answers[path] = Answer(b"", 404)
    with pytest.raises(ServiceError, match=r"Overture Maps .release 2026-10-21.0"):
        fetch_footprints("overture", ACCRA, tmp_path / "b.parquet")
    assert list(tmp_path.iterdir()) == []


def test_accra_lies_in_one_cell_of_open_buildings() -> None:
    # The file name that a public script reads for this very box.
    pytest.importorskip("s2geometry")
    assert covering_cells(ACCRA) == ["0fdf"]


def test_a_box_across_cells_names_each_of_them() -> None:
    pytest.importorskip("s2geometry")
    wide = BoundingBox(-3.0, 5.0, 1.0, 8.0)
    cells = covering_cells(wide)
    assert "0fdf" in cells
    assert len(cells) > 3
    assert all(len(cell) <= 4 for cell in cells)


def test_open_buildings_is_cut_to_the_box_and_keeps_all_columns(services: Services, tmp_path: Path) -> None:
    services.answers[CELL] = Answer(open_buildings_file(BUILDINGS), kind="application/gzip")
    fetched = fetch_footprints("open-buildings", ACCRA, tmp_path / "b.csv.gz")
    same_buildings(fetched.path)
    with gzip.open(fetched.path, "rt") as file:
        header = file.readline()
    assert [name.strip('"\n') for name in header.split(",")] == [
        "latitude", "longitude", "area_in_meters", "confidence", "geometry", "full_plus_code",
    ]  # fmt: skip
    assert read_footprints(fetched.path).table["confidence"].tolist() == pytest.approx([0.70, 0.71, 0.72])
    assert fetched.licence == "CC-BY-4.0 OR ODbL-1.0"


def test_open_buildings_says_where_it_covers_nothing(services: Services, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"no file for this place.*it covers Africa.*overture"):
        fetch_footprints("open-buildings", ACCRA, tmp_path / "b.csv.gz")
    assert list(tmp_path.iterdir()) == []


def test_open_buildings_cut_off_half_way_is_an_error_and_writes_nothing(services: Services, tmp_path: Path) -> None:
    whole = open_buildings_file(gpd.GeoDataFrame(geometry=INSIDE * 300, crs="EPSG:4326"))
    services.answers[CELL] = Answer(whole[: len(whole) // 2], length=len(whole), kind="application/gzip")
    with pytest.raises(ServiceError, match=r"run the same command again"):
        fetch_footprints("open-buildings", ACCRA, tmp_path / "b.csv.gz")
    assert list(tmp_path.iterdir()) == []


def test_osm_gives_the_buildings_and_the_time_of_the_map(services: Services, tmp_path: Path) -> None:
    services.answers["/api/interpreter"] = overpass_answer(BUILDINGS[:3])
    fetched = fetch_footprints("osm", ACCRA, tmp_path / "b.json", release="2017-10-07")
    same_buildings(fetched.path)
    assert fetched.release == "2017-10-07T00:00:00Z"
    ((method, _, body),) = services.asked
    query = parse_qs(body)["data"][0]
    assert method == "POST"
    assert "[bbox:5.5721,-0.25,5.6479,-0.1863]" in query
    assert '[date:"2017-10-07T00:00:00Z"]' in query
    assert services.agents == {service.USER_AGENT}


def test_osm_query_asks_for_ways_and_multipolygons_with_their_geometry() -> None:
    query = openstreetmap.build_query(ACCRA, None)
    assert "date" not in query
    assert 'way["building"]' in query
    assert 'relation["type"="multipolygon"]["building"]' in query
    assert query.endswith("out body geom;")


def test_osm_that_gives_up_half_way_says_so(services: Services, tmp_path: Path) -> None:
    recorded = (RECORDED / "overpass-runtime-error.json").read_bytes()
    services.answers["/api/interpreter"] = Answer(recorded)
    with pytest.raises(ServiceError, match=r"gave up: runtime error: Query timed out.*smaller area"):
        fetch_footprints("osm", ACCRA, tmp_path / "b.json")
    assert list(tmp_path.iterdir()) == []


def test_osm_error_page_is_told_in_its_own_words(services: Services, tmp_path: Path) -> None:
    page = (RECORDED / "overpass-bad-request.html").read_bytes()
    services.answers["/api/interpreter"] = Answer(page, 400, "text/html")
    with pytest.raises(ServiceError, match=r"HTTP 400.*line 2: parse error: ';' expected"):
        fetch_footprints("osm", ACCRA, tmp_path / "b.json")


def test_osm_answer_that_breaks_off_is_an_error(services: Services, tmp_path: Path) -> None:
    whole = overpass_answer(BUILDINGS[:3]).body
    services.answers["/api/interpreter"] = Answer(whole[:-40])
    with pytest.raises(ServiceError, match=r"no Overpass JSON or was cut off"):
        fetch_footprints("osm", ACCRA, tmp_path / "b.json")
    services.answers["/api/interpreter"] = Answer(whole[:-40], length=len(whole))
    with pytest.raises(ServiceError, match=r"connection broke off"):
        fetch_footprints("osm", ACCRA, tmp_path / "b.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (429, {"Retry-After": "60"}, "rate limit.*wait 60 s"),
        (429, {}, "rate limit.*wait some minutes"),
        (504, {}, "ask for a smaller area"),
        (500, {}, "has a fault"),
        (403, {}, "access was refused"),
    ],
)
def test_every_refusal_says_what_it_means(
    services: Services, tmp_path: Path, status: int, headers: dict[str, str], said: str
) -> None:
    services.answers["/api/interpreter"] = Answer(b"", status, headers=headers)
    with pytest.raises(ServiceError, match=f"HTTP {status}.*{said}"):
        fetch_footprints("osm", ACCRA, tmp_path / "b.json")
    assert list(tmp_path.iterdir()) == []
    assert len(services.asked) == 1


def test_an_overloaded_service_is_asked_three_times(services: Services, tmp_path: Path) -> None:
    services.answers["/api/interpreter"] = Answer(b"", 503)
    with pytest.raises(ServiceError, match=r"HTTP 503.*overloaded"):
        fetch_footprints("osm", ACCRA, tmp_path / "b.json")
    assert len(services.asked) == 3


def test_a_refused_connection_says_that_files_work_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("DAMAGE_SSL_OVERPASS_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(ServiceError, match=r"connection was refused.*give the footprints or imagery as files"):
            fetch_footprints("osm", ACCRA, tmp_path / "b.json")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (socket.gaierror(-2, "Name or service not known"), "cannot be resolved"),
        (OSError(101, "Network is unreachable"), "no route"),
        (TimeoutError("timed out"), "did not answer in time"),
        (ConnectionResetError(104, "Connection reset by peer"), "broke off"),
        ("AWS Error NETWORK_CONNECTION: curlCode: 28, Timeout was reached", "did not answer in time"),
        ("curlCode: 6, Could not resolve hostname", "cannot be resolved"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "certificate"),
    ],
)
def test_network_errors_are_explained(error: OSError | str, said: str) -> None:
    assert said in service.explain(error)


def test_a_full_disk_is_not_taken_for_a_network_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space"), service.service_errors("Service", "http://x"):
        raise OSError(28, "No space left on device")


def test_a_missing_client_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "overturemaps.core", None)
    with pytest.raises(InputError, match=r"pip install 'damage-ssl\[fetch\]'"):
        fetch_footprints("overture", ACCRA, tmp_path / "b.parquet")


def test_too_large_an_area_is_refused_before_anything_is_asked(services: Services, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"km² in one go.*overture, which holds OpenStreetMap's"):
        fetch_footprints("osm", BoundingBox(36, 36, 38, 38), tmp_path / "b.json")
    assert services.asked == []


def test_an_unknown_source_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"did you mean 'overture'"):
        fetch_footprints("overtur", ACCRA, tmp_path / "b.parquet")


def test_the_licence_lies_beside_the_file(services: Services, tmp_path: Path) -> None:
    services.answers["/api/interpreter"] = overpass_answer(BUILDINGS)
    fetched = fetch_footprints("osm", ACCRA, tmp_path / "b.json")
    note = json.loads(note_path(fetched.path).read_text())
    assert note["attribution"] == "© OpenStreetMap contributors"
    assert note["licence"] == "ODbL-1.0"
    assert read_note(fetched.path) == fetched
    assert read_note(tmp_path / "other.json") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2,3", "four numbers W,S,E,N"),
        ("a,b,c,d", "four numbers"),
        ("36.2,36.1,36.0,36.3", "west must lie left of east"),
        ("170,-20,-170,-10", "antimeridian"),
        ("36.1,200,36.2,201", "between -90 and 90"),
        ("nan,1,2,3", "not a number"),
    ],
)
def test_a_box_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        BoundingBox.parse(text)


def test_area_of_a_degree_at_the_equator() -> None:
    # 111.195 km squared on a sphere of 6371 km, a hair less for the meridians' convergence.
    assert BoundingBox(0, -0.5, 1, 0.5).area_km2 == pytest.approx(111.195**2, rel=1e-3)
    assert BoundingBox(0, 59.5, 1, 60.5).area_km2 == pytest.approx(111.195**2 / 2, rel=1e-3)
