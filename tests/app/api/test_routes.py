"""The routes behind a real socket: what they answer, and what they refuse."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from shapely.geometry import Polygon, shape

from app.state import viewport
from app.state.event_view import label_store
from damage_ssl import workflow
from damage_ssl.checksums import checked_path
from damage_ssl.damage_scale import LabelValue
from damage_ssl.events.event import Event
from damage_ssl.imagery.map_tiles import native_zoom
from damage_ssl.products.map_style import LABELS, RAMP, STYLES, colour_of
from damage_ssl.registration.manual_shift import ManualShift, set_manual_shift
from tests.app.town_app import RUN_ID, Server, add_run, prepared_event, served
from tests.conftest import Town

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # within rasterio


@pytest.fixture
def event(town: Town, monkeypatch: pytest.MonkeyPatch) -> Event:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    return prepared_event(town)


@pytest.fixture
def server(event: Event) -> Iterator[Server]:
    with served() as running:
        yield running


def tile_of(event: Event, zoom: int = 18) -> str:
    west, south, east, north = event.footprints().total_bounds
    lon, lat = (west + east) / 2, np.radians((south + north) / 2)
    x = int((lon + 180) / 360 * 2**zoom)
    y = int((1 - np.arcsinh(np.tan(lat)) / np.pi) / 2 * 2**zoom)
    return f"{zoom}/{x}/{y}"


def whole(event: Event) -> str:
    west, south, east, north = event.footprints().total_bounds
    return f"{west - 0.01},{south - 0.01},{east + 0.01},{north + 0.01}"


def sent_outline(answer: dict[str, Any], building: str, role: str) -> Polygon:
    """What a browser reads of one building with a single ring."""
    row = answer["id"].index(building)
    assert answer["parts"] == [1] * len(answer["id"])
    steps = np.cumsum(np.array(answer["xy"]).reshape(-1, 2), axis=0)
    first = sum(answer["rings"][:row])
    points = steps[first : first + answer["rings"][row]] + np.array(answer["moves"][role]).reshape(-1, 2)[row]
    return Polygon(np.array(answer["origin"]) + points * viewport.DEGREE)


def test_tile_within_the_imagery_is_a_picture_of_512_pixels(event: Event, server: Server) -> None:
    answer = server.get(f"/ds/town/tiles/pre/{tile_of(event)}")
    assert answer.status == 200
    assert Image.open(io.BytesIO(answer.body)).size == (512, 512)


def test_pre_and_post_tiles_differ(event: Event, server: Server) -> None:
    pre, post = (server.get(f"/ds/town/tiles/{role}/{tile_of(event)}").body for role in ("pre", "post"))
    assert pre != post


def test_tile_without_imagery_is_empty(server: Server) -> None:
    answer = server.get("/ds/town/tiles/pre/18/10/10")
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize("address", ["18/-1/3", "18/3/999999999", "60/1/1"])
def test_tile_that_cannot_exist_is_refused(server: Server, address: str) -> None:
    assert server.get(f"/ds/town/tiles/pre/{address}").status in (400, 404)


@pytest.mark.parametrize(
    "path",
    [
        "/ds/../tiles/pre/1/0/0",
        "/ds/%2e%2e/tiles/pre/1/0/0",
        "/ds/..%2f..%2fetc/footprints?bbox=0,0,1,1",
        "/ds/%2Fetc/footprints?bbox=0,0,1,1",
        "/ds/elsewhere/footprints?bbox=0,0,1,1",
        "/ds/town/tiles/..%2Fpre/1/0/0",
        "/ds/town/tiles/labels.sqlite/1/0/0",
        "/ds/assets/1/..%2Fmap.py",
        "/ds/assets/1/map.py",
        "/ds/assets/1/%2Fetc%2Fpasswd",
        "/ds/town/footprints?bbox=0,0,1,1&run=..%2F..%2Fsecret",
        "/ds/town/crop/pre?id=..%2F..%2Fetc%2Fpasswd",
    ],
)
def test_nothing_outside_the_workspace_can_be_named(server: Server, path: str) -> None:
    assert server.get(path).status == 404


def test_folder_beside_the_workspace_is_not_an_event(server: Server, town: Town) -> None:
    outside = town.workspace.parent / "outside"
    outside.mkdir()
    (outside / "collection.json").write_text("{}")
    assert server.get("/ds/..%2Foutside/footprints?bbox=0,0,1,1").status == 404


def test_scripts_of_the_map_are_served_from_this_app(server: Server) -> None:
    answer = server.get("/ds/assets/any/leaflet.js")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    assert b"Leaflet 1.9.4" in answer.body


def test_footprints_come_for_the_box_only(event: Event, server: Server) -> None:
    table = event.footprints()
    west, south, east, north = table.geometry.iloc[0].bounds
    answer = server.get(f"/ds/town/footprints?bbox={west},{south},{east},{north}").json()
    assert answer["id"] == [table["building_id"].iloc[0]]
    assert len(server.get(f"/ds/town/footprints?bbox={whole(event)}").json()["id"]) == len(table)


@pytest.mark.parametrize("bbox", ["", "1,2,3", "a,b,c,d", "2,0,1,1", "nan,0,1,1"])
def test_box_that_is_none_is_refused_with_the_reason(server: Server, bbox: str) -> None:
    answer = server.get(f"/ds/town/footprints?bbox={bbox}")
    assert answer.status == 400
    assert "bbox must be west,south,east,north" in answer.json()["error"]


def test_footprints_carry_label_and_what_the_model_says_beneath_it(event: Event, server: Server) -> None:
    add_run(event, {"b03": 0.9})
    label_store(event).add("b05", LabelValue.DESTROYED, labeller="a", drawn="map", inclusion_probability=None)
    answer = server.get(f"/ds/town/footprints?bbox={whole(event)}&run={RUN_ID}").json()
    row = {building: number for number, building in enumerate(answer["id"])}
    label = {building: answer["label"][number] for building, number in row.items()}
    fill = {building: STYLES[answer["codes"]["result"][number]].fill for building, number in row.items()}
    assert (label["b03"], fill["b03"]) == (-1, colour_of("damaged"))
    assert (LABELS[label["b05"]], fill["b05"]) == ("destroyed", colour_of("intact"))
    assert STYLES[answer["codes"]["probability"][row["b03"]]].fill == RAMP[-1]
    assert STYLES[answer["codes"]["probability"][row["b05"]]].fill == RAMP[0]


def test_filter_sends_only_what_passes_and_counts_the_whole_event(event: Event, server: Server) -> None:
    add_run(event, {"b03": 0.9, "b04": 0.6})
    bbox, run = whole(event), f"run={RUN_ID}"
    answer = server.get(f"/ds/town/footprints?bbox={bbox}&{run}&class=damaged&not_assessed=0").json()
    assert set(answer["id"]) == {"b03", "b04"}
    assert (answer["matched"], answer["total"]) == (2, 16)
    answer = server.get(f"/ds/town/footprints?bbox={bbox}&{run}&p_min=0.7&p_max=1&not_assessed=0").json()
    assert set(answer["id"]) == {"b03"}


def test_outlines_stand_where_each_image_shows_the_building(event: Event, server: Server) -> None:
    set_manual_shift(event, event.scenes("pre")[0].scene_id, ManualShift(0.0, 3.0))
    set_manual_shift(event, event.scenes("post")[0].scene_id, ManualShift(6.0, 0.0))
    workflow.cut_patches(event)
    detail = server.get("/ds/town/building?id=b05").json()
    drawn = event.footprints().set_index("building_id").geometry["b05"].centroid
    pre, post = (shape(detail["geometry"][role]).centroid for role in ("pre", "post"))
    metres_a_degree = 111_320 * np.cos(np.radians(drawn.y))
    assert (pre.y - drawn.y) * 111_320 == pytest.approx(3.0, abs=0.1)
    assert (post.x - pre.x) * metres_a_degree == pytest.approx(6.0, abs=0.1)
    assert detail["shift"] == "6.0 m east · set by hand"
    assert detail["outline_shift"] == "3.0 m north · set by hand"
    for role, place in (("pre", pre), ("post", post)):
        answer = server.get(f"/ds/town/footprints?bbox={whole(event)}&on={role}").json()
        assert sent_outline(answer, "b05", role).centroid.distance(place) < 2e-7


def test_footprints_on_another_imagery_are_refused(event: Event, server: Server) -> None:
    assert server.get(f"/ds/town/footprints?bbox={whole(event)}&on=sar").status == 404


def test_building_says_what_hides_it_and_what_could_not_be_read(event: Event, server: Server) -> None:
    path = event.patches_path / "index.parquet"
    index = pd.read_parquet(path)
    row = index["building_id"] == "b05"
    index.loc[row, ["post_cloud", "align_score"]] = [0.7, 0.31]
    index.loc[row, ["not_assessed_reason", "not_assessed_detail"]] = ["source_failed", "post.tif: time-out"]
    index.loc[row, "assessed"] = False
    with checked_path(path) as temporary:
        index.to_parquet(temporary)
    detail = server.get("/ds/town/building?id=b05").json()
    assert detail["post"]["quality"].startswith("70% veiled by cloud or smoke")
    assert detail["match"] == "fair (0.31)"
    assert detail["reason_text"] == "image could not be read (post.tif: time-out)"


def test_event_without_footprints_answers_with_nothing(town: Town, server: Server) -> None:
    bare = town.create(name="bare", footprints=None)
    west, south, east, north = bare.scenes("pre")[0].extent.bounds
    answer = server.get(f"/ds/bare/footprints?bbox={west},{south},{east},{north}").json()
    assert (answer["id"], answer["total"]) == ([], 0)
    assert server.get("/ds/bare/queue").json() == {"items": []}


def test_building_has_crops_of_both_dates_with_its_outline(server: Server) -> None:
    detail = server.get("/ds/town/building?id=b05").json()
    assert detail["assessed"] is True
    ring = np.array(detail["views"]["close"]["outline"][0])
    assert np.allclose((ring.min(axis=0) + ring.max(axis=0)) / 2, 0.5, atol=0.01)
    # a 10 m square in a crop that shows 30 m across
    assert np.ptp(ring[:, 0]) == pytest.approx(10 / detail["views"]["close"]["width_m"], rel=0.05)
    for role in ("pre", "post"):
        assert server.get(f"/ds/town/crop/{role}?id=b05").status == 200


@pytest.mark.parametrize(("query", "size"), [("", (380, 500)), ("&size=1", (380, 500)), ("&size=2", (760, 1000))])
def test_crop_comes_in_the_size_of_the_screen(server: Server, query: str, size: tuple[int, int]) -> None:
    answer = server.get(f"/ds/town/crop/pre?id=b05{query}")
    assert Image.open(io.BytesIO(answer.body)).size == size


@pytest.mark.parametrize("size", ["0", "3", "1.5", "1e9", "nan", "x"])
def test_crop_of_another_size_is_refused(server: Server, size: str) -> None:
    assert server.get(f"/ds/town/crop/pre?id=b05&size={size}").status == 400


def test_queue_gives_unlabelled_buildings_with_how_they_were_drawn(event: Event, server: Server) -> None:
    store = label_store(event)
    store.add("b01", LabelValue.NO_DAMAGE, labeller="a", drawn="map", inclusion_probability=None)
    items = server.get("/ds/town/queue?n=40").json()["items"]
    assert {item["id"] for item in items} == {f"b{number:02d}" for number in range(16)} - {"b01"}
    assert all((item["probability"] is not None) == (item["drawn"] == "random") for item in items)


def test_label_is_appended_with_how_it_was_drawn(event: Event, server: Server) -> None:
    body = {
        "building_id": "b02",
        "value": "minor-damage",
        "labeller": "Ana",
        "drawn": "random",
        "inclusion_probability": 0.25,
    }
    assert server.post("/ds/town/labels", body).json() == {"revision": 1}
    row = label_store(event).current().iloc[0]
    assert row[["building_id", "value", "labeller", "drawn"]].tolist() == ["b02", "minor-damage", "Ana", "random"]
    assert row["inclusion_probability"] == 0.25


def test_null_value_withdraws_the_label_and_keeps_the_history(event: Event, server: Server) -> None:
    for value in ("destroyed", None):
        server.post("/ds/town/labels", {"building_id": "b02", "value": value, "labeller": "Ana"})
    store = label_store(event)
    assert store.current().empty
    assert len(store.history("b02")) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"building_id": "nowhere", "value": "destroyed", "labeller": "Ana"},
        {"building_id": "b02", "value": "detroyed", "labeller": "Ana"},
        {"building_id": "b02", "value": "un-classified", "labeller": "Ana"},
        {"building_id": "b02", "value": "destroyed", "labeller": " "},
        {"building_id": "b02", "value": "destroyed", "labeller": "x" * 81},
        {"building_id": "b02", "value": "destroyed", "labeller": "Ana", "inclusion_probability": 2},
        {"building_id": "b02", "value": "destroyed", "labeller": "Ana", "inclusion_probability": "half"},
        ["b02"],
        b"no json",
    ],
)
def test_label_that_is_none_is_refused_and_nothing_is_written(event: Event, server: Server, body: object) -> None:
    answer = server.post("/ds/town/labels", body)
    assert answer.status == 400
    assert answer.json()["error"]
    assert label_store(event).revision() == 0


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Content-Type": "text/plain"}, {"Origin": "null"}]
)
def test_other_sites_cannot_write_labels(event: Event, server: Server, headers: dict[str, str]) -> None:
    body = {"building_id": "b02", "value": "destroyed", "labeller": "Ana"}
    assert server.post("/ds/town/labels", body, **headers).status == 403
    assert label_store(event).revision() == 0


def test_native_zoom_is_as_fine_as_the_imagery() -> None:
    # zoom 18 has 0.597 m a pixel at the equator, zoom 19 has 0.299 m
    assert native_zoom(0.6, 0.0) == 18
    assert native_zoom(0.5, 0.0) == 19
    assert native_zoom(0.5, 60.0) == 18
