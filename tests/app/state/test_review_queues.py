"""The queues of checking on the small town: which building comes first and why, what is hidden, what the audit says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.state.event_view import assessment, current_labels, label_store, view_of
from app.state.label_evidence import audit_of
from app.state.review_queues import CHECKS, case_of, queue_states
from app.state.sampling_shares import Shares, keep_shares
from app.state.shown_models import model_named, shown_models
from damage_ssl.damage_scale import LabelValue
from damage_ssl.evaluation.audit import audit_order
from damage_ssl.events.event import Event
from damage_ssl.files import read_json, write_json
from damage_ssl.products.formats.geojson import write_geojson
from tests.app.town_app import RUN_ID, Server, add_features, add_run, prepared_event, served
from tests.conftest import Town

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # within rasterio

DAMAGED = {f"b{number:02d}" for number in range(8, 16)}
"""The southern half of the town."""


@pytest.fixture
def event(town: Town, monkeypatch: pytest.MonkeyPatch) -> Event:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    return prepared_event(town)


@pytest.fixture
def server(event: Event) -> Iterator[Server]:
    with served() as running:
        yield running


def say(event: Event, labeller: str = "ana", drawn: str = "map", **values: str) -> None:
    for building, value in values.items():
        label_store(event).add(building, LabelValue(value), labeller=labeller, drawn=drawn, inclusion_probability=None)


def asked(server: Server, kind: str, *, labeller: str = "ana", model: str = RUN_ID, n: int = 5) -> list[dict[str, Any]]:
    answer = server.get(f"/ds/town/queue?kind={kind}&labeller={labeller}&run={model}&n={n}")
    assert answer.status == 200, answer.body
    return list(answer.json()["items"])


def six_right_and_one_wrong(event: Event) -> None:
    """Features that tell the damaged half apart, six labels that agree, and b13 called undamaged among the damaged."""
    add_features(event, DAMAGED)
    say(event, b00="no-damage", b03="no-damage", b06="no-damage", b08="destroyed", b11="destroyed", b14="destroyed")
    say(event, "ben", b13="no-damage")


def test_contradicted_label_is_asked_about_first_and_the_reason_names_who_said_what(
    event: Event, server: Server
) -> None:
    six_right_and_one_wrong(event)
    (first,) = asked(server, "contradicted", model="live")
    assert (first["id"], first["drawn"], first["blind"]) == ("b13", "contradicted", False)
    assert first["why"].startswith("ben said No damage. The live model, which did not learn from that, says 9")
    assert first["why"].endswith("% damaged (major damage or worse).")
    (own,) = asked(server, "contradicted", model="live", labeller="ben")
    assert own["why"].startswith("You said No damage.")


def test_label_confirmed_with_the_contradiction_in_view_is_not_asked_about_again(event: Event, server: Server) -> None:
    six_right_and_one_wrong(event)
    say(event, "ana", "contradicted", b13="no-damage")
    assert asked(server, "contradicted", model="live") == []
    state = queue_states(case_of(view_of("town"), None, "ana"))["contradicted"]
    assert (state.waiting, state.done, state.needs) == (0, 1, "")


def test_trained_run_is_not_asked_about_labels_that_it_learned(event: Event, server: Server) -> None:
    run = add_run(event, {"b01": 0.97, "b02": 0.9})
    say(event, b01="no-damage", b02="no-damage")
    assert [item["id"] for item in asked(server, "contradicted")] == ["b01", "b02"]
    plan = read_json(run.settings_path)
    write_json(run.settings_path, {**plan, "train_id": ["b01"], "train_class": [0]})
    run.predictions_path.touch()
    assert [item["id"] for item in asked(server, "contradicted")] == ["b02"]


def test_building_on_which_methods_are_furthest_apart_comes_first(event: Event, server: Server) -> None:
    add_run(event, {"b04": 0.02, "b05": 0.6, "b06": 0.9, "b07": 0.5})
    add_run(event, {"b04": 0.99, "b05": 0.55, "b06": 0.2, "b07": 0.5}, algorithm="supervised-strong")
    items = asked(server, "disagree")
    assert [item["id"] for item in items] == ["b04", "b06"]
    assert sorted(items[0]["why"].removeprefix("How damaged? ").removesuffix(".").split(" · ")) == [
        "FixMatch 2 %",
        "Supervised 99 %",
    ]
    say(event, b04="no-damage")
    assert [item["id"] for item in asked(server, "disagree")] == ["b06"]


def test_change_score_does_not_vote_beside_two_models(event: Event) -> None:
    add_run(event, {"b04": 0.9})
    add_run(event, {"b05": 0.9}, algorithm="supervised-strong")
    add_run(event, {"b06": 0.9}, algorithm="perceptual-change")
    view = view_of("town")
    assert {model.algorithm for model in case_of(view, None, "ana").ensemble} == {"fixmatch", "supervised-strong"}


def test_building_nearest_to_the_threshold_comes_first(event: Event, server: Server) -> None:
    add_run(event, {"b04": 0.58, "b05": 0.49, "b06": 0.3, "b07": 0.55})
    items = asked(server, "unsure")
    assert [item["id"] for item in items] == ["b05", "b07", "b04"]  # b06: odds of 3 : 7, more than a factor of 1.5
    assert items[0]["why"] == "The model says 49 % damaged; from 50 % the map says damaged."


def test_live_and_trained_differ_most_first(event: Event, server: Server) -> None:
    add_features(event, DAMAGED)
    say(event, b00="no-damage", b08="destroyed")
    add_run(event, dict.fromkeys(DAMAGED - {"b12", "b13"}, 0.9) | {"b12": 0.45, "b13": 0.01})
    items = asked(server, "differ")
    assert [item["id"] for item in items] == ["b13", "b12"]
    assert items[0]["why"].startswith("FixMatch says intact (1 %); the live model says damaged (")


def test_audit_asks_in_the_seeded_order_with_n_of_n_as_probability(event: Event, server: Server) -> None:
    add_run(event, {"b01": 0.9})
    ids = np.array([f"b{number:02d}" for number in range(16)])
    order = ids[audit_order(ids)].tolist()
    items = asked(server, "audit")
    assert [item["id"] for item in items] == order[:5]
    np.testing.assert_allclose([item["probability"] for item in items], [n / 16 for n in range(1, 6)], atol=1e-5)
    say(event, "ben", "audit", **{order[0]: "destroyed"})
    assert asked(server, "audit")[0]["id"] == order[1]


@pytest.mark.parametrize("kind", ["audit", "second"])
def test_blind_question_hides_the_verdict_and_what_others_said(event: Event, server: Server, kind: str) -> None:
    add_run(event, {f"b{number:02d}": 0.9 for number in range(16)})
    say(event, "ben", **{f"b{number:02d}": "destroyed" for number in range(16)})
    first = asked(server, kind)[0]
    assert first["blind"] is True
    assert (first["detail"]["p"], first["detail"]["cls"], first["detail"]["label"]) == (None, None, None)
    assert "90" not in first["why"] and "estroyed" not in json.dumps(first)


def test_audit_measures_the_map_on_buildings_that_did_not_teach_it(event: Event) -> None:
    run = add_run(event, {"b00": 0.9, "b01": 0.9, "b02": 0.9})
    # Right: b00 (hit), b03, b04, b05; wrong: b01 (false alarm), b06 (missed). b02 was learned, b07 has no grade.
    say(event, "ana", "audit", b00="destroyed", b01="no-damage", b02="destroyed", b03="no-damage", b04="minor-damage")
    say(event, "ana", "audit", b05="intact", b06="major-damage", b07="unclear")
    plan = read_json(run.settings_path)
    write_json(run.settings_path, {**plan, "validation_id": ["b02"], "validation_class": [1]})
    view = view_of("town")
    model = model_named(view, RUN_ID)
    assert model is not None
    report = audit_of(view, model, current_labels(event)[1])
    assert (report.accuracy.hits, report.accuracy.n) == (4, 6)
    assert (report.precision.hits, report.precision.n) == (1, 2)
    assert (report.recall.hits, report.recall.n) == (1, 2)
    assert (report.population, report.no_grade, report.learned) == (16, 1, 1)
    ids = np.array([f"b{number:02d}" for number in range(16)])
    places = sorted(audit_order(ids).tolist().index(number) for number in range(8))
    assert report.skipped == places[-1] + 1 - 8


def test_live_model_is_audited_as_if_it_had_not_learned_the_answer(event: Event) -> None:
    six_right_and_one_wrong(event)
    say(event, "ana", "audit", b13="no-damage", b10="destroyed")
    view = view_of("town")
    live = model_named(view, "live")
    assert live is not None
    report = audit_of(view, live, current_labels(event)[1])
    assert (report.accuracy.hits, report.accuracy.n, report.learned) == (1, 2, 0)


def test_dispute_shows_every_answer_and_a_decision_settles_it(event: Event, server: Server) -> None:
    say(event, b04="destroyed", b05="no-damage")
    say(event, "ben", b04="minor-damage", b05="no-damage")
    (item,) = asked(server, "adjudicate", labeller="kim", model="")
    assert (item["id"], item["drawn"]) == ("b04", "adjudication")
    assert item["why"] == "ana: Destroyed · ben: Minor damage. Your answer decides."
    server.post(
        "/ds/town/labels", {"building_id": "b04", "value": "major-damage", "labeller": "kim", "drawn": item["drawn"]}
    )
    assert asked(server, "adjudicate", labeller="kim", model="") == []
    current = current_labels(event)[0].set_index("building_id")
    assert (current.loc["b04", "value"], current.loc["b04", "labeller"]) == ("major-damage", "kim")


def test_second_opinions_are_asked_of_others_until_a_share_has_them(event: Event, server: Server) -> None:
    say(event, **{f"b{number:02d}": "no-damage" for number in range(10)})
    assert asked(server, "second", labeller="ana", model="") == []
    assert len(asked(server, "second", labeller="ben", model="")) == 1  # a tenth of ten
    keep_shares(event, Shares(second=0.2))
    items = asked(server, "second", labeller="ben", model="")
    assert len(items) == 2  # a fifth of ten
    say(event, "ben", "second", **{items[0]["id"]: "destroyed"})
    assert len(asked(server, "second", labeller="ben", model="")) == 1


def test_queue_that_cannot_be_says_what_is_lacking(event: Event) -> None:
    found = queue_states(case_of(view_of("town"), None, "ana"))
    assert set(found) == set(CHECKS)
    assert {kind: state.needs for kind, state in found.items() if state.needs} == {
        "contradicted": "needs more labels",
        "disagree": "needs two models",
        "unsure": "needs a model",
        "differ": "needs both",
        "second": "needs labels",
    }
    assert found["audit"].waiting == 16


def test_correction_overrides_the_product_and_leaves_the_prediction(
    event: Event, server: Server, tmp_path: Path
) -> None:
    add_run(event, {"b01": 0.96, "b02": 0.91})
    server.post(
        "/ds/town/labels", {"building_id": "b01", "value": "no-damage", "labeller": "ana", "drawn": "contradicted"}
    )
    view = view_of("town")
    write_geojson(assessment(view, shown_models(view)[0]), tmp_path / "map.geojson")
    features = json.loads((tmp_path / "map.geojson").read_text())["features"]
    corrected, untouched = (
        next(each for each in features if each["id"] == name)["properties"] for name in ("b01", "b02")
    )
    assert (corrected["damage_class"], corrected["damaged"], corrected["p_damaged"]) == ("intact", False, 0.96)
    assert (corrected["edited"], corrected["label_source"], corrected["labeller"]) == (True, "analyst", "ana")
    assert (untouched["damage_class"], untouched["p_damaged"]) == ("damaged", 0.91)
    assert (untouched["edited"], untouched["label_source"]) == (False, "model")


def test_queue_goes_on_after_what_was_skipped_however_much(event: Event, server: Server) -> None:
    order = [item["id"] for item in asked(server, "audit", model="", n=16)]
    assert len(order) == 16
    answer = server.get("/ds/town/queue?kind=audit&labeller=ana&n=4&start=10").json()
    assert [item["id"] for item in answer["items"]] == order[10:14]
    assert server.get("/ds/town/queue?kind=audit&labeller=ana&n=4&start=16").json()["items"] == []


def test_models_that_disagree_everywhere_leave_a_list_one_can_work_through(
    event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run(event, {"b03": 0.99, "b04": 0.9, "b05": 0.95, "b06": 0.97})
    add_run(event, {}, algorithm="frozen-linear")
    monkeypatch.setattr("app.state.review_queues.MOST_DIVIDED", 2)
    view = view_of("town")
    rows, _ = CHECKS["disagree"].rows(case_of(view, None, "ana"))
    assert view.building_id[rows].tolist() == ["b03", "b06"]
