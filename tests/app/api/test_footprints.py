"""The routes of the map: overview tiles, places, ids, and answers for many buildings at once."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageColor

from app.state import configuration, viewport
from app.state.event_view import label_store
from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import SettingsError
from damage_ssl.events.event import Event
from damage_ssl.products.map_style import colour_of
from tests.app.town_app import RUN_ID, Server, add_run, prepared_event, served
from tests.conftest import Town

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # within rasterio


@pytest.fixture
def event(town: Town, monkeypatch: pytest.MonkeyPatch) -> Event:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    monkeypatch.delenv("DAMAGE_SSL_BASEMAP", raising=False)
    return prepared_event(town)


@pytest.fixture
def server(event: Event) -> Iterator[Server]:
    with served() as running:
        yield running


def middle(event: Event, building: str) -> tuple[float, float]:
    place = event.footprints().set_index("building_id").geometry[building].centroid
    return float(place.x), float(place.y)


def tile_address(event: Event, zoom: int = 14) -> str:
    west, south, east, north = event.footprints().total_bounds
    lon, lat = (west + east) / 2, np.radians((south + north) / 2)
    x = int((lon + 180) / 360 * 2**zoom)
    y = int((1 - np.arcsinh(np.tan(lat)) / np.pi) / 2 * 2**zoom)
    return f"/ds/town/overview/{zoom}/{x}/{y}"


def colours(answer: bytes) -> set[tuple[int, ...]]:
    pixels = np.array(Image.open(io.BytesIO(answer)).convert("RGBA")).reshape(-1, 4)
    return {tuple(pixel[:3]) for pixel in pixels if pixel[3]}


def rgb(name: str) -> tuple[int, ...]:
    return ImageColor.getrgb(colour_of(name))


def test_overview_tile_shows_classes_and_follows_filter_and_labels(event: Event, server: Server) -> None:
    add_run(event, {"b03": 0.9, "b04": 0.6})
    url = f"{tile_address(event)}?run={RUN_ID}&mode=result"
    answer = server.get(url)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert {rgb("damaged"), rgb("intact")} <= colours(answer.body)
    assert colours(server.get(f"{url}&class=damaged&not_assessed=0").body) == {rgb("damaged")}
    label_store(event).add("b05", LabelValue.MINOR_DAMAGE, labeller="a", drawn="map", inclusion_probability=None)
    assert rgb("minor-damage") not in colours(server.get(f"{url}&v=2").body)  # it counts as intact in this map
    assert rgb("minor-damage") in colours(server.get(f"{url.replace('result', 'labels')}&v=2").body)
    label_store(event).add("b05", LabelValue.UNCLEAR, labeller="a", drawn="map", inclusion_probability=None)
    assert rgb("unclear") in colours(server.get(f"{url}&v=3").body)


def test_overview_tile_elsewhere_is_empty_and_impossible_ones_are_refused(server: Server) -> None:
    assert server.get("/ds/town/overview/14/3/3").status == 204
    assert server.get("/ds/town/overview/14/99999999/3").status == 400
    assert server.get("/ds/town/overview/14/3/3?mode=area").status == 400
    assert server.get("/ds/town/overview/14/3/3?on=sar").status == 404


def test_more_footprints_than_the_cap_are_counted_and_not_sent(
    event: Event, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewport, "POLYGON_CAP", 15)
    answer = server.get("/ds/town/footprints?bbox=-180,-80,180,80").json()
    assert answer["shown"] == {"in_view": 16, "drawn": 0, "capped": True}
    assert "xy" not in answer
    label_store(event).add("b05", LabelValue.DESTROYED, labeller="a", drawn="map", inclusion_probability=None)
    assert server.get("/ds/town/footprints?bbox=-180,-80,180,80").json()["version"] != answer["version"]


def test_click_finds_the_building_under_it_with_its_label(event: Event, server: Server) -> None:
    label_store(event).add("b05", LabelValue.OFFSET, labeller="a", drawn="map", inclusion_probability=None)
    lon, lat = middle(event, "b05")
    assert server.get(f"/ds/town/at?lon={lon}&lat={lat}").json() == {"id": "b05", "label": "offset"}
    west, _, east, _ = event.footprints().set_index("building_id").geometry["b05"].bounds
    beside = east + 0.2 * (east - west)
    assert server.get(f"/ds/town/at?lon={beside}&lat={lat}").json()["id"] is None
    assert server.get(f"/ds/town/at?lon={beside}&lat={lat}&reach={0.3 * (east - west)}").json()["id"] == "b05"
    assert server.get(f"/ds/town/at?lon=0&lat=0&reach={1e-4}").json()["id"] is None


def test_click_does_not_find_what_the_filter_hides(event: Event, server: Server) -> None:
    add_run(event, {"b03": 0.9})
    lon, lat = middle(event, "b05")
    query = f"lon={lon}&lat={lat}&run={RUN_ID}"
    assert server.get(f"/ds/town/at?{query}&class=intact").json()["id"] == "b05"
    assert server.get(f"/ds/town/at?{query}&class=damaged").json()["id"] is None


def test_box_gives_buildings_whose_middle_lies_in_it(event: Event, server: Server) -> None:
    lon, lat = middle(event, "b05")
    answer = server.get(f"/ds/town/within?bbox={lon - 1e-6},{lat - 1e-6},{lon + 1e-6},{lat + 1e-6}").json()
    assert (answer["count"], answer["items"]) == (1, [{"id": "b05", "label": None}])
    assert server.get("/ds/town/within?bbox=-180,-80,180,80").json()["count"] == 16


def test_too_large_a_box_is_counted_without_items(
    event: Event, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewport, "CHOICE_CAP", 15)
    answer = server.get("/ds/town/within?bbox=-180,-80,180,80").json()
    assert answer == {"count": 16, "most": 15, "items": []}


def test_ids_are_found_by_their_beginning_whatever_the_case(server: Server) -> None:
    assert server.get("/ds/town/ids?begin=B0").json() == {"ids": [f"b0{n}" for n in range(8)], "count": 10}
    assert server.get("/ds/town/ids?begin=b15").json() == {"ids": ["b15"], "count": 1}
    assert server.get("/ds/town/ids?begin=w").json() == {"ids": [], "count": 0}
    assert server.get("/ds/town/ids?begin=").json() == {"ids": [], "count": 0}


def test_many_buildings_get_one_answer_and_undo_takes_all_back(event: Event, server: Server) -> None:
    store = label_store(event)
    store.add("b02", LabelValue.NO_DAMAGE, labeller="ben", drawn="map", inclusion_probability=None)
    body = {"building_ids": ["b01", "b02", "b03"], "value": "destroyed", "labeller": "ana", "drawn": "map-box"}
    answer = server.post("/ds/town/labels/many", body)
    assert (answer.status, answer.json()["labelled"]) == (200, 3)
    current = store.current().set_index("building_id")
    assert current["value"].to_dict() == dict.fromkeys(["b01", "b02", "b03"], "destroyed")
    assert set(current["drawn"]) == {"map-box"}
    undone = {"building_ids": ["b01", "b02", "b03"], "undo": True, "labeller": "ana"}
    assert server.post("/ds/town/labels/many", undone).status == 200
    assert store.current().set_index("building_id")["value"].to_dict() == {"b02": "no-damage"}
    assert len(store.history("b01")) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"building_ids": ["b01", "nowhere"]}, "has no building 'nowhere'"),
        ({"building_ids": []}, "at least one"),
        ({"building_ids": "b01"}, "at least one"),
        ({"value": "detroyed"}, "detroyed"),
        ({"value": "un-classified"}, "un-classified"),
        ({"labeller": " "}, "labeller"),
        ({"undo": True}, "somebody else has answered since"),
    ],
)
def test_of_many_labels_all_are_written_or_none(event: Event, server: Server, change: dict, said: str) -> None:
    label_store(event).add("b02", LabelValue.NO_DAMAGE, labeller="ben", drawn="map", inclusion_probability=None)
    before = label_store(event).revision()
    body = {"building_ids": ["b01", "b02"], "value": "destroyed", "labeller": "ana"} | change
    answer = server.post("/ds/town/labels/many", body)
    assert answer.status == 400
    assert said in answer.json()["error"]
    assert label_store(event).revision() == before


def test_more_than_five_hundred_at_once_are_refused(event: Event, server: Server) -> None:
    body = {"building_ids": [f"x{n}" for n in range(501)], "value": "destroyed", "labeller": "ana"}
    answer = server.post("/ds/town/labels/many", body)
    assert "501 buildings were chosen; at most 500" in answer.json()["error"]


def test_clearing_withdraws_and_undo_puts_the_label_back(event: Event, server: Server) -> None:
    store = label_store(event)
    store.add("b05", LabelValue.DESTROYED, labeller="ben", drawn="map", inclusion_probability=None)
    cleared = {"building_ids": ["b05"], "value": None, "labeller": "ana"}
    assert server.post("/ds/town/labels/many", cleared).status == 200
    assert store.current().empty
    assert server.post("/ds/town/labels/many", {**cleared, "undo": True}).status == 200
    assert store.current()["value"].tolist() == ["destroyed"]


def test_labels_for_many_are_not_taken_from_other_sites(event: Event, server: Server) -> None:
    body = {"building_ids": ["b01"], "value": "destroyed", "labeller": "ana"}
    assert server.post("/ds/town/labels/many", body, Origin="http://evil.example").status == 403
    assert server.post("/ds/town/labels/many", b"{}", **{"Content-Type": "text/plain"}).status == 403
    assert server.post("/ds/town/labels/many", b"{").status == 400
    assert server.post("/ds/town/labels/many", []).status == 400
    assert label_store(event).revision() == 0


def test_no_online_map_unless_one_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAMAGE_SSL_BASEMAP", raising=False)
    assert configuration.basemap() is None
    assert configuration.basemap_origin() == ""
    monkeypatch.setenv("DAMAGE_SSL_BASEMAP", "https://{s}.tiles.example/{z}/{x}/{y}.png")
    monkeypatch.setenv("DAMAGE_SSL_BASEMAP_ATTRIBUTION", "© Example")
    assert configuration.basemap() == {
        "url": "https://{s}.tiles.example/{z}/{x}/{y}.png",
        "attribution": "© Example",
        "max_zoom": 19,
    }
    assert configuration.basemap_origin() == "https://*.tiles.example"


@pytest.mark.parametrize(
    "address", ["file:///etc/{z}/{x}/{y}", "https://tiles.example/{z}/{x}.png", "javascript:{z}{x}{y}"]
)
def test_address_that_is_none_of_map_tiles_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("DAMAGE_SSL_BASEMAP", address)
    with pytest.raises(SettingsError, match="DAMAGE_SSL_BASEMAP"):
        configuration.basemap()
