"""Tiles over the routes: their progress, opening one, its answers as one, and what is refused."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import shapely

from app.state.event_view import label_store
from damage_ssl.events.event import Event
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


def opened(server: Server, labeller: str = "ana", **body: Any) -> dict[str, Any]:
    answer = server.post("/ds/town/labelling-tiles/open", {"labeller": labeller, **body})
    assert answer.status == 200, answer.body
    return dict(answer.json()["tile"])


def finished(server: Server, tile: dict[str, Any], marks: dict[str, str], answer_id: str, **body: Any) -> int:
    told = {"tile": tile["id"], "drawn": tile["drawn"], "rest": "no-damage", "labeller": "ana", "marks": marks}
    return server.post("/ds/town/labelling-tiles/answer", {**told, "answer_id": answer_id, **body}).status


def test_every_assessed_building_lies_within_the_corners_of_its_tile(event: Event, server: Server) -> None:
    answer = server.post("/ds/town/labelling-tiles/open", {"labeller": "ana", "side_m": 50, "leave": True})
    assert answer.json() == {"tile": None}
    shown = server.get("/ds/town/labelling-tiles").json()
    assert shown["side_m"] == 50 and len(shown["tiles"]) > 3
    assert len({tile["label"] for tile in shown["tiles"]}) == len(shown["tiles"])
    footprints = event.footprints()
    middle = dict(zip(footprints["building_id"], shapely.centroid(footprints.geometry.to_numpy()), strict=True))
    seen = 0
    for tile in shown["tiles"]:
        square = shapely.Polygon([(lon, lat) for lat, lon in tile["corners"]])
        buildings = [each["id"] for each in opened(server, tile=tile["id"])["buildings"]]
        assert len(buildings) == tile["buildings"]
        assert all(square.buffer(1e-6).covers(middle[building]) for building in buildings)
        seen += len(buildings)
    assert seen == 16


def test_a_random_tile_is_written_whole_once_and_undone_whole(event: Event, server: Server) -> None:
    tile = opened(server, strategy="random")
    assert tile["drawn"] == "random" and 0 < tile["probability"] <= 1
    first, second = (each["id"] for each in tile["buildings"][:2])
    for _ in range(2):
        assert finished(server, tile, {first: "destroyed", second: "unclear"}, "tile-answer-1") == 200
    log = label_store(event).log()
    assert len(log) == len(tile["buildings"])
    assert set(log["cluster_id"]) == {tile["id"]} and np.allclose(log["cluster_probability"], tile["probability"])
    said = dict(zip(log["building_id"], log["value"], strict=True))
    assert (said.pop(first), said.pop(second)) == ("destroyed", "unclear") and set(said.values()) == {"no-damage"}
    shown = {each["id"]: each for each in server.get("/ds/town/labelling-tiles").json()["tiles"]}
    assert shown[tile["id"]]["answered"] == shown[tile["id"]]["buildings"] and shown[tile["id"]]["random"]
    undo = {"undo": True, "undo_of": "tile-answer-1", "labeller": "ana", "answer_id": "tile-undo-1"}
    for _ in range(2):
        assert server.post("/ds/town/labels/many", undo).status == 200
    assert label_store(event).current().empty
    shown = {each["id"]: each for each in server.get("/ds/town/labelling-tiles").json()["tiles"]}
    assert not shown[tile["id"]]["random"], "chance will draw it again"
    assert len(label_store(event).log()) == 2 * len(tile["buildings"])


def test_a_chosen_tile_leaves_what_others_have_said(event: Event, server: Server) -> None:
    server.post("/ds/town/labels", {"building_id": "b05", "value": "destroyed", "labeller": "ben"})
    tile = opened(server, strategy="spread", side_m=500)
    assert {"id": "b05", "label": "destroyed"} in tile["buildings"]
    assert finished(server, tile, {}, "chosen-tile-1") == 200
    current = label_store(event).current().set_index("building_id")
    assert (current.loc["b05", "value"], current.loc["b05", "labeller"]) == ("destroyed", "ben")
    assert current["cluster_probability"].isna().all()


def test_a_model_says_where_to_go_and_without_one_that_is_said(event: Event, server: Server) -> None:
    told = {"labeller": "ana", "strategy": "likely", "side_m": 50}
    refused = server.post("/ds/town/labelling-tiles/open", told)
    assert refused.status == 400 and "needs a model" in refused.json()["error"]
    add_run(event, {"b10": 0.9})
    assert "b10" in [each["id"] for each in opened(server, strategy="likely", run=RUN_ID)["buildings"]]


def test_a_tile_that_somebody_has_open_is_refused_to_others(server: Server) -> None:
    tile = opened(server, strategy="random", side_m=50)
    refused = server.post("/ds/town/labelling-tiles/open", {"labeller": "ben", "tile": tile["id"]})
    assert refused.status == 400 and "ana has it open" in refused.json()["error"]
    assert opened(server, "ben", strategy="random")["id"] != tile["id"]
    shown = {each["id"]: each for each in server.get("/ds/town/labelling-tiles?labeller=ben").json()["tiles"]}
    assert shown[tile["id"]]["taken_by"] == "ana"


def test_what_is_no_answer_of_a_tile_writes_nothing(event: Event, server: Server) -> None:
    tile = opened(server, strategy="random")
    told = {"tile": tile["id"], "drawn": "random", "rest": "no-damage", "labeller": "ana", "marks": {}}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"marks": {"b99": "destroyed"}}, "no building 'b99'"),
        ({"marks": {"b01": "exploded"}}, "exploded"),
        ({"marks": {"b01": "un-classified"}}, "not an answer"),
        ({"marks": ["b01"]}, "marks"),
        ({"drawn": "audit"}, "drawn is one of"),
        ({"rest": None}, "rest"),
        ({"tile": "T1-1-1"}, "none of that name"),
    ]
    for changes, says in wrong:
        answer = server.post("/ds/town/labelling-tiles/answer", {**told, **changes})
        assert answer.status == 400 and says in answer.json()["error"]
    assert label_store(event).revision() == 0


def test_all_who_ask_at_once_get_a_tile_each(server: Server) -> None:
    server.post("/ds/town/labelling-tiles/open", {"labeller": "ana", "side_m": 50, "leave": True})
    count = len(server.get("/ds/town/labelling-tiles").json()["tiles"])
    with ThreadPoolExecutor(count) as pool:
        tiles = list(pool.map(lambda who: opened(server, f"analyst {who}", strategy="random")["id"], range(count)))
    assert len(set(tiles)) == count > 3
