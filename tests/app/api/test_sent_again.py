"""What a page sends again because it does not know whether it arrived: written once, over the routes."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.state.event_view import label_store
from damage_ssl.events.event import Event
from tests.app.town_app import Server, prepared_event, served
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


def test_labels_undos_and_boxes_that_are_sent_again_are_written_once(event: Event, server: Server) -> None:
    def send(path: str, **body: Any) -> int:
        answers = [server.post(f"/ds/town/{path}", {"labeller": "ana", **body}) for _ in range(3)]
        assert [answer.status for answer in answers] == [200] * 3
        assert len({answer.json()["revision"] for answer in answers}) == 1
        return int(answers[0].json()["revision"])

    assert send("labels", building_id="b01", value="destroyed", answer_id="answer-one") == 1
    assert send("labels", building_id="b01", value="no-damage", answer_id="answer-two") == 2
    assert send("labels", building_id="b01", undo=True, undo_of="answer-two", answer_id="undo-of-two") == 3
    assert label_store(event).current()["value"].tolist() == ["destroyed"]
    box = ["b02", "b03"]
    assert send("labels/many", building_ids=box, value="no-damage", answer_id="box-of-two") == 5
    assert send("labels/many", building_ids=box, undo=True, undo_of="box-of-two", answer_id="undo-of-box") == 7
    assert send("history", building_id="b01", to=1, answer_id="put-back-two") == 8
    assert send("labels", building_id="b04", value=None, answer_id="withdraw-four") == 9


def test_an_undo_of_an_answer_that_never_came_takes_nothing_else_back(event: Event, server: Server) -> None:
    told = {"building_id": "b01", "labeller": "ana"}
    server.post("/ds/town/labels", {**told, "value": "destroyed", "answer_id": "was-written"})
    answer = server.post("/ds/town/labels", {**told, "undo": True, "undo_of": "never-came", "answer_id": "undo-it-all"})
    assert (answer.status, answer.json()["revision"]) == (200, 1)
    many = {"building_ids": ["b01"], "labeller": "ana", "undo": True, "undo_of": "never-came"}
    assert server.post("/ds/town/labels/many", many).json()["revision"] == 1
    assert label_store(event).current()["value"].tolist() == ["destroyed"]


def test_the_same_answer_given_twice_is_one_row(event: Event, server: Server) -> None:
    told = {"building_id": "b01", "labeller": "ana", "value": "destroyed"}
    for number in range(3):
        server.post("/ds/town/labels", {**told, "answer_id": f"press-{number}-of-1"})
    assert len(label_store(event).log()) == 1
    server.post("/ds/town/labels", {**told, "comment": "roof gone"})
    server.post("/ds/town/labels", {**told, "labeller": "ben"})
    assert label_store(event).log()["labeller"].tolist() == ["ana", "ana", "ben"]


def test_an_id_that_is_none_is_refused(server: Server) -> None:
    told = {"building_id": "b01", "labeller": "ana", "value": "destroyed"}
    for odd in ("short", "a" * 65, "with space", 7, "ключ-ответа"):
        answer = server.post("/ds/town/labels", {**told, "answer_id": odd})
        assert answer.status == 400 and "answer_id" in answer.json()["error"]
