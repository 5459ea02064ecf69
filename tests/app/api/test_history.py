"""The history of a building over the routes, putting earlier states back, and what other analysts' pages are told."""

from collections.abc import Iterator

import pytest

from app.state.event_view import label_store
from damage_ssl.damage_scale import LabelValue
from damage_ssl.events.event import Event
from damage_ssl.files import read_json, write_json
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


def say(event: Event, building: str, value: str, labeller: str, drawn: str = "map", comment: str = "") -> None:
    label_store(event).add(
        building, LabelValue(value), labeller=labeller, drawn=drawn, inclusion_probability=None, comment=comment
    )


def put_back(server: Server, to: object, labeller: str = "ana", building: str = "b01") -> tuple[int, dict[str, object]]:
    answer = server.post("/ds/town/history", {"building_id": building, "to": to, "labeller": labeller})
    return answer.status, answer.json()


def test_history_lists_all_that_was_said_with_why_it_was_asked_and_every_verdict(event: Event, server: Server) -> None:
    run = add_run(event, {"b01": 0.9})
    write_json(run.settings_path, {**read_json(run.settings_path), "train_id": ["b01"], "train_class": [0]})
    add_run(event, {"b01": 0.2}, algorithm="perceptual-change")
    say(event, "b01", "no-damage", "ana", "random")
    say(event, "b01", "destroyed", "ben", "contradicted", "<b>roof</b> gone")
    label_store(event).clear("b01", "ben")
    say(event, "b02", "destroyed", "ben")
    answer = server.get(f"/ds/town/history?id=b01&run={RUN_ID}").json()
    assert [(row["row"], row["value"], row["labeller"], row["why"]) for row in answer["rows"]] == [
        (0, "no-damage", "ana", "drawn at random"),
        (1, "destroyed", "ben", "contradicted labels"),
        (2, None, "ben", ""),
    ]
    assert answer["rows"][1]["comment"] == "<b>roof</b> gone"
    verdicts = {each["model"]: each for each in answer["verdicts"]}
    shown, change = verdicts[RUN_ID], verdicts[RUN_ID.replace("fixmatch", "perceptual-change")]
    assert (shown["name"], shown["said"], shown["p"], shown["shown"], shown["learned"]) == (
        "FixMatch",
        "damaged",
        0.9,
        True,
        True,
    )
    assert (change["measure"], change["p"], change["shown"], change["learned"]) == ("change score", 0.2, False, False)


def test_earlier_state_is_put_back_by_a_new_row_and_that_is_undone_the_same_way(event: Event, server: Server) -> None:
    say(event, "b01", "no-damage", "ana")
    say(event, "b01", "destroyed", "ben")
    status, answer = put_back(server, 0, "ben")
    assert (status, answer["label"]) == (200, {"value": "no-damage", "labeller": "ben"})
    status, answer = put_back(server, 1, "ben")
    assert answer["label"] == {"value": "destroyed", "labeller": "ben"}
    rows = server.get("/ds/town/history?id=b01").json()["rows"]
    assert [(row["value"], row["why"]) for row in rows] == [
        ("no-damage", "chosen on the map"),
        ("destroyed", "chosen on the map"),
        ("no-damage", "put back what ana had said"),
        ("destroyed", "own answer put back"),
    ]
    assert put_back(server, -1)[1]["label"] is None


@pytest.mark.parametrize("to", [1, 7, -2, "0", None, True, 0.0])
def test_what_is_no_earlier_state_is_refused_and_nothing_is_written(event: Event, server: Server, to: object) -> None:
    say(event, "b01", "no-damage", "ana")
    say(event, "b01", "destroyed", "ben")
    status, answer = put_back(server, to)
    assert status == 400
    assert "history" in str(answer["error"])
    assert label_store(event).revision() == 2


def test_unknown_building_empty_name_and_other_sites_are_refused(event: Event, server: Server) -> None:
    say(event, "b01", "no-damage", "ana")
    assert put_back(server, -1, building="nowhere")[0] == 400
    assert put_back(server, -1, labeller="  ")[0] == 400
    body = {"building_id": "b01", "to": -1, "labeller": "ana"}
    assert server.post("/ds/town/history", body, Origin="http://elsewhere.example").status == 403
    assert server.post("/ds/town/history", b"[1]").status == 400
    assert server.post("/ds/town/history", b"{").status == 400
    assert server.get("/ds/town/history?id=nowhere").status == 404
    assert label_store(event).revision() == 1


def test_pulse_names_the_buildings_labelled_since(event: Event, server: Server) -> None:
    assert server.get("/ds/town/pulse").json() == {"revision": 0, "changed": []}
    say(event, "b01", "no-damage", "ana")
    say(event, "b02", "destroyed", "ben")
    say(event, "b01", "minor-damage", "ben")
    label_store(event).clear("b02", "ben")
    answer = server.get("/ds/town/pulse?since=1").json()
    assert answer == {
        "revision": 4,
        "changed": [
            {"id": "b01", "value": "minor-damage", "labeller": "ben"},
            {"id": "b02", "value": None, "labeller": "ben"},
        ],
    }
    assert server.get("/ds/town/pulse?since=4").json()["changed"] == []
    assert server.get("/ds/town/pulse?since=1.5").status == 400


def test_pulse_sends_no_list_where_very_many_changed(
    event: Event, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.live.MOST", 1)
    say(event, "b01", "no-damage", "ana")
    say(event, "b02", "destroyed", "ben")
    assert server.get("/ds/town/pulse?since=0").json() == {"revision": 2, "changed": [], "many": True}


def test_building_to_be_judged_unseen_is_told_without_labels_and_verdicts(event: Event, server: Server) -> None:
    add_run(event, {"b01": 0.9})
    say(event, "b01", "destroyed", "ben", comment="roof gone")
    seen = server.get(f"/ds/town/building?id=b01&run={RUN_ID}").json()
    assert (seen["label"]["value"], seen["p"], seen["cls"]) == ("destroyed", 0.9, "damaged")
    blind = server.get(f"/ds/town/building?id=b01&run={RUN_ID}&blind=1").json()
    assert (blind["label"], blind["p"], blind["cls"]) == (None, None, None)
    assert {**seen, "label": None, "p": None, "p_image": None, "cls": None} == blind
    assert server.get(f"/ds/town/history?id=b01&run={RUN_ID}").json()["rows"]
    assert server.get(f"/ds/town/history?id=b01&run={RUN_ID}&blind=1").json() == {"rows": [], "verdicts": []}


def only_comment(server: Server, labeller: str, comment: str = "roof gone") -> int:
    body = {"building_id": "b01", "labeller": labeller, "comment": comment, "only_comment": True}
    return server.post("/ds/town/labels", body).status


def test_comment_goes_with_ones_own_answer_and_keeps_how_it_was_drawn(event: Event, server: Server) -> None:
    store = label_store(event)
    store.add("b01", LabelValue.DESTROYED, labeller="ana", drawn="audit", inclusion_probability=0.25)
    assert only_comment(server, "ana") == 200
    last = store.history("b01").iloc[-1]
    assert last[["value", "labeller", "drawn", "inclusion_probability", "comment"]].tolist() == [
        "destroyed",
        "ana",
        "audit",
        0.25,
        "roof gone",
    ]


@pytest.mark.parametrize("before", ["nothing", "anothers", "withdrawn", "put back"])
def test_comment_never_turns_anothers_answer_into_ones_own(event: Event, server: Server, before: str) -> None:
    store = label_store(event)
    if before != "nothing":
        say(event, "b01", "destroyed", "ana")
    if before == "withdrawn":
        store.clear("b01", "ben")
    if before == "put back":
        say(event, "b01", "no-damage", "kim")
        put_back(server, 0, "ben")
    rows = len(store.history("b01"))
    assert only_comment(server, "ben") == 400
    assert len(store.history("b01")) == rows
