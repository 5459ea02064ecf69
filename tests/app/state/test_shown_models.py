"""The live model over the routes: the map recolours with each label; the labelling queue and its second opinions."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from app.jobs import event_jobs
from app.jobs.event_jobs import features_work
from app.jobs.job import JobReport
from app.panels.labels import needed, promise_of
from app.state import queues
from app.state.event_view import EventView, label_counts, label_store, view_of
from app.state.labelling_guide import GRADES
from app.state.queues import Ask, label_queue
from app.state.sampling_shares import Shares, keep_shares
from app.state.shown_models import differing, live_model, model_named, needs_features, shown_models
from damage_ssl.damage_scale import DamageGrade, LabelValue
from damage_ssl.errors import WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.files import locked, read_json, write_json
from damage_ssl.labels.sampling import next_buildings
from damage_ssl.products.map_style import STYLES, colour_of
from damage_ssl.runs.live import features_path, features_ready
from tests.app.town_app import RUN_ID, Server, add_features, add_run, prepared_event, served
from tests.conftest import Town, eventually

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # within rasterio

DAMAGED = {"b03", "b05", "b09"}


@pytest.fixture
def event(town: Town, monkeypatch: pytest.MonkeyPatch) -> Event:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    made = prepared_event(town)
    add_features(made, DAMAGED)
    return made


@pytest.fixture
def server(event: Event) -> Iterator[Server]:
    with served() as running:
        yield running


def say(event: Event, building: str, value: LabelValue, labeller: str = "ana") -> None:
    label_store(event).add(building, value, labeller=labeller, drawn="map", inclusion_probability=None)


def whole(event: Event) -> str:
    west, south, east, north = event.footprints().total_bounds
    return f"{west - 0.01},{south - 0.01},{east + 0.01},{north + 0.01}"


def live(server: Server, event: Event) -> dict[str, object]:
    return server.get(f"/ds/town/live?bbox={whole(event)}&on=pre").json()


def test_without_labels_of_two_classes_there_is_no_live_model(event: Event, server: Server) -> None:
    assert live(server, event) == {"stamp": ""}
    say(event, "b00", LabelValue.NO_DAMAGE)
    assert live(server, event) == {"stamp": ""}
    with pytest.raises(WorkspaceError, match="labels of two classes"):
        model_named(view_of("town"), "live")


def test_label_sent_in_recolours_the_buildings_in_view_without_geometry(event: Event, server: Server) -> None:
    for building, value in (("b00", "no-damage"), ("b03", "destroyed")):
        server.post("/ds/town/labels", {"building_id": building, "value": value, "labeller": "ana"})
    answer = live(server, event)
    assert set(answer) == {"stamp", "revision", "learned_from", "version", "id", "p", "codes"}
    assert answer["revision"] == 2
    assert answer["learned_from"] == {"intact": 1, "damaged": 1}
    p = dict(zip(answer["id"], answer["p"], strict=True))
    assert {building for building, value in p.items() if value is not None and value > 0.5} == DAMAGED
    colour = {
        building: STYLES[code].fill for building, code in zip(answer["id"], answer["codes"]["result"], strict=True)
    }
    assert (colour["b05"], colour["b01"]) == (colour_of("damaged"), colour_of("intact"))
    before = answer["stamp"], answer["version"]
    server.post("/ds/town/labels", {"building_id": "b05", "value": "no-damage", "labeller": "ana"})
    after = live(server, event)
    assert (after["stamp"], after["version"]) != before and after["revision"] == 3
    assert dict(zip(after["id"], after["p"], strict=True))["b09"] < p["b09"]


def test_answer_to_a_label_brings_the_new_colours_with_it_when_asked(event: Event, server: Server) -> None:
    say(event, "b00", LabelValue.NO_DAMAGE)
    body = {"building_id": "b03", "value": "destroyed", "labeller": "ana", "live": {"bbox": whole(event), "on": "pre"}}
    answer = server.post("/ds/town/labels", body).json()
    assert answer["revision"] == answer["live"]["revision"] == 2
    assert answer["live"] == live(server, event)


def test_label_is_kept_where_the_colours_cannot_be_told(event: Event, server: Server) -> None:
    body = {"building_id": "b03", "value": "destroyed", "labeller": "ana", "live": {"bbox": "nowhere", "on": "pre"}}
    answer = server.post("/ds/town/labels", body)
    assert (answer.status, answer.json()) == (200, {"revision": 1})


def test_only_the_buildings_in_the_box_are_sent(event: Event, server: Server) -> None:
    say(event, "b00", LabelValue.NO_DAMAGE)
    say(event, "b03", LabelValue.DESTROYED)
    west, south, east, north = event.footprints().set_index("building_id").loc[["b00"]].total_bounds
    answer = server.get(f"/ds/town/live?bbox={west},{south},{east},{north}").json()
    assert answer["id"] == ["b00"]


def test_default_is_the_trained_run_then_the_live_model_then_the_change_score(event: Event) -> None:
    view = view_of("town")
    change = add_run(event, {"b01": 1.0}, algorithm="perceptual-change")
    assert [model.model_id for model in shown_models(view)] == [change.run_id]
    say(event, "b00", LabelValue.NO_DAMAGE)
    say(event, "b03", LabelValue.DESTROYED)
    assert [model.model_id for model in shown_models(view)] == ["live", change.run_id]
    run = add_run(event, {"b01": 1.0})
    run.checkpoint_path.write_bytes(b"weights")
    assert [model.model_id for model in shown_models(view)] == [RUN_ID, "live", change.run_id]


def test_models_differ_where_one_says_damaged_and_the_other_does_not(event: Event) -> None:
    view = view_of("town")
    say(event, "b00", LabelValue.NO_DAMAGE)
    say(event, "b03", LabelValue.DESTROYED)
    add_run(event, {"b01": 0.9, "b03": 0.9, "b05": 0.9})
    trained, model = model_named(view, RUN_ID), live_model(view)
    assert trained is not None and model is not None
    assert view.building_id[differing(view, trained, model)].tolist() == ["b01", "b09"]


def ask(event: Event, labeller: str, **changes: object) -> pd.DataFrame:
    settings = {"count": 12, "model": None, "rng": np.random.default_rng(0)}
    if not shares_path(event).exists():
        keep_shares(event, Shares(random=0.0, second=0.0))
    return label_queue(Ask(view=view_of("town"), labeller=labeller, **{**settings, **changes}))


def shares_path(event: Event) -> Path:
    return event.path / "app.json"


def test_queue_is_drawn_by_kind_of_building_and_uncertainty_of_the_shown_model(
    event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, pd.Series] = {}

    def draw(*arguments: object, **settings: object) -> pd.DataFrame:
        given.update(settings)  # type: ignore[arg-type]
        return next_buildings(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(queues, "next_buildings", draw)
    run = add_run(event, {"b01": 0.55, "b05": 0.9})
    ask(event, "ana", count=2, model=model_named(view_of("town"), run.run_id))
    assert set(given["cluster"].index[given["cluster"] == 1]) == DAMAGED
    assert given["uncertainty"].nlargest(2).index.tolist() == ["b01", "b05"]
    ask(event, "ana", count=2)
    assert given["uncertainty"] is None


def test_all_drawn_at_random_when_that_is_asked_for(event: Event, server: Server) -> None:
    keep_shares(event, Shares(random=1.0))
    items = server.get("/ds/town/queue?n=4&kind=label&labeller=ana").json()["items"]
    assert {item["drawn"] for item in items} == {"random"}
    assert all(item["probability"] == pytest.approx(4 / view_of("town").assessed.sum(), abs=1e-4) for item in items)
    keep_shares(event, Shares(random=0.0))
    none = server.get("/ds/town/queue?n=8&kind=label&labeller=ana").json()["items"]
    assert "random" not in {item["drawn"] for item in none}


def test_second_opinions_wait_for_a_second_analyst_and_keep_to_their_share(event: Event) -> None:
    for number in range(6):
        say(event, f"b{number:02}", LabelValue.DESTROYED)
    keep_shares(event, Shares(random=0.0, second=1.0))
    assert "second" not in ask(event, "ana", count=4)["drawn"].tolist()
    keep_shares(event, Shares(random=0.0, second=0.25))
    asked = [
        drawn for seed in range(60) for drawn in ask(event, "ben", count=4, rng=np.random.default_rng(seed))["drawn"]
    ]
    # One of four, always: 4 · 0.25 is whole.
    assert asked.count("second") == 60


def test_labelling_stops_asking_for_second_opinions_once_the_share_has_them(event: Event) -> None:
    for number in range(4):
        say(event, f"b{number:02}", LabelValue.DESTROYED)
    keep_shares(event, Shares(random=0.0, second=0.25))
    say(event, "b01", LabelValue.DESTROYED, labeller="ben")
    assert "second" not in ask(event, "ben", count=4)["drawn"].tolist()
    keep_shares(event, Shares(random=0.0, second=0.5))
    assert ask(event, "ben", count=4)["drawn"].tolist().count("second") == 1


@pytest.mark.parametrize(
    "text", ["{", '{"queue": {"second": 2}}', '{"queue": {"random": "much"}}', '{"queue": {"third": 0.1}}', "[]"]
)
def test_damaged_settings_of_an_event_are_named(event: Event, server: Server, text: str) -> None:
    shares_path(event).write_text(text)
    answer = server.get("/ds/town/queue?n=4&kind=label&labeller=ana")
    assert answer.status == 400
    assert "app.json" in answer.json()["error"]


def test_second_opinion_hides_the_other_answer_and_the_verdict(event: Event, server: Server) -> None:
    say(event, "b03", LabelValue.DESTROYED)
    run = add_run(event, {"b03": 0.97})
    keep_shares(event, Shares(second=1.0))
    items = server.get(f"/ds/town/queue?n=4&kind=label&labeller=ben&run={run.run_id}").json()["items"]
    seconds = [item for item in items if item["drawn"] == "second"]
    assert [item["id"] for item in seconds] == ["b03"]
    (blind,) = seconds
    assert blind["blind"] is True
    assert (blind["detail"]["label"], blind["detail"]["p"], blind["detail"]["cls"]) == (None, None, None)
    assert "destroyed" not in str(blind) and "ana" not in str(blind).split("'")


def test_undo_of_a_second_opinion_puts_the_first_back(event: Event, server: Server) -> None:
    say(event, "b03", LabelValue.DESTROYED)
    body = {"building_id": "b03", "value": "no-damage", "labeller": "ben", "drawn": "second"}
    server.post("/ds/town/labels", body)
    assert server.post("/ds/town/labels", {"building_id": "b03", "labeller": "ben", "undo": True}).status == 200
    assert label_store(event).current()[["building_id", "value"]].to_numpy().tolist() == [["b03", "destroyed"]]


def test_undo_takes_back_ones_own_last_word_only(event: Event, server: Server) -> None:
    for value in ("minor-damage", "destroyed"):
        server.post("/ds/town/labels", {"building_id": "b02", "value": value, "labeller": "ana"})
    undo = {"building_id": "b02", "labeller": "ana", "undo": True}
    server.post("/ds/town/labels", undo)
    assert label_store(event).current()["value"].tolist() == ["minor-damage"]
    say(event, "b02", LabelValue.UNCLEAR, labeller="ben")
    answer = server.post("/ds/town/labels", undo)
    assert answer.status == 400 and "somebody else has answered since" in answer.json()["error"]
    assert label_store(event).current()["value"].tolist() == ["unclear"]


def test_comment_goes_into_the_log_and_a_long_one_is_refused(event: Event, server: Server) -> None:
    body = {"building_id": "b02", "value": "destroyed", "labeller": "ana", "comment": " <b>roof</b> gone "}
    server.post("/ds/town/labels", body)
    assert label_store(event).current()["comment"].tolist() == ["<b>roof</b> gone"]
    answer = server.post("/ds/town/labels", {**body, "comment": "x" * 501})
    assert answer.status == 400 and "500" in answer.json()["error"]


def test_labels_of_buildings_that_cannot_be_assessed_do_not_count_towards_the_floor(event: Event) -> None:
    view = view_of("town")
    assert view.index is not None
    index = view.index.copy()
    index.loc["b05", "assessed"] = False
    view = replace(view, index=index)
    say(event, "b00", LabelValue.NO_DAMAGE)
    say(event, "b05", LabelValue.DESTROYED)
    say(event, "of-another-event", LabelValue.DESTROYED)
    assert label_counts(view) == {LabelValue.NO_DAMAGE: 1}
    assert needed(view).counts == {"intact": 1, "damaged": 0}
    assert "4 more intact and 5 more damaged" in needed(view).sentence


def test_promise_says_so_when_there_are_too_few_labels(event: Event) -> None:
    assert promise_of(view_of("town")) == ("", False)
    say(event, "b00", LabelValue.NO_DAMAGE)
    sentence = eventually(lambda: promise_of(view_of("town"))[0])
    assert "Not enough labels to tell yet" in sentence
    eventually(lambda: not promise_of(view_of("town"))[1])  # its process has ended
    assert promise_of(view_of("town")) == (sentence, False)


def test_guide_shows_labelled_examples_with_who_said_so(event: Event, server: Server) -> None:
    for number, name in enumerate(("ana", "ben", "eva", "ana")):
        say(event, f"b{number:02}", LabelValue.DESTROYED, labeller=name)
    grades = {grade["value"]: grade for grade in server.get("/ds/town/guide").json()["grades"]}
    assert list(grades) == [grade.label for grade in DamageGrade]
    assert [each["id"] for each in grades["destroyed"]["examples"]] == ["b03", "b02", "b01"]
    assert grades["destroyed"]["examples"][1]["text"] == "Destroyed, says eva"
    assert grades["no-damage"]["examples"] == []
    assert set(GRADES) == set(DamageGrade)


def test_guide_without_labels_shows_the_most_and_least_changed_and_calls_them_unlabelled(
    event: Event, server: Server
) -> None:
    add_run(event, {f"b{number:02}": 0.01 + number / 40 for number in range(16)}, algorithm="perceptual-change")
    grades = {grade["value"]: grade["examples"] for grade in server.get("/ds/town/guide").json()["grades"]}
    assert [each["id"] for each in grades["no-damage"]] == ["b00", "b01", "b02"]
    assert grades["destroyed"][0]["id"] == "b15"
    assert all(each["text"].startswith("Not labelled") for each in grades["no-damage"] + grades["destroyed"])
    assert grades["major-damage"] == []


def ended(view: EventView) -> JobReport:
    """The work on features, once it is over."""
    return eventually(lambda: work if (work := features_work(view)) is not None and not work.active else None)


@pytest.mark.long
def test_features_are_made_once_by_a_process_that_two_pages_share(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    event = prepared_event(town)
    view = view_of("town")
    assert needs_features(view) and features_work(view) is None
    event_jobs.start_features(view.event)
    first = features_work(view)
    event_jobs.start_features(view.event)
    second = features_work(view)
    assert first is not None and second is not None and first.job.pid == second.job.pid
    work = ended(view)
    assert work.state == "done", work
    assert features_ready(event) and not needs_features(view)
    notes = features_path(event) / "features.json"
    write_json(notes, {**read_json(notes), "format": 1})
    assert needs_features(view) and features_work(view) is None, "those of an older version are made again"


def test_failed_features_say_why(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    event = prepared_event(town)
    view = view_of("town")
    with locked(event.path / ".features.lock"):
        event_jobs.start_features(view.event)
        work = ended(view)
    assert work.state == "failed"
    assert "another process is making its features" in work.message
