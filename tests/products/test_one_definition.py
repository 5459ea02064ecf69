"""One event, three definitions of damaged: training, floor, live model, first map, map, table and pack all agree."""

import json
from collections import Counter

import pytest

from app.panels.definition import sentence_of
from app.panels.labels import needed
from app.state.event_view import label_store, view_of
from app.state.legend import legend_rows
from app.state.map_assessment import assessment_of
from damage_ssl import workflow
from damage_ssl.damage_scale import DamageGrade, LabelValue
from damage_ssl.events.definition import damage_scheme, state_scheme
from damage_ssl.events.event import Event
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.products.definition_report import definition_report
from damage_ssl.products.handover.pack import hand_over
from damage_ssl.runs.live import live_model_of
from damage_ssl.runs.plan import plan_of
from damage_ssl.settings import SplitSettings
from tests.app.town_app import add_features, prepared_event
from tests.conftest import Town

SPLIT = SplitSettings(block_m=24.0, min_validation_per_class=1, min_train_per_class=1)
GIVEN = [*["no-damage"] * 4, *["minor-damage"] * 3, *["major-damage"] * 2, *["destroyed"] * 4]
CLASSES = {
    "binary-major": {"intact": 7, "damaged": 6},
    "binary-minor": {"intact": 4, "damaged": 9},
    "grades": {"no-damage": 4, "minor-damage": 3, "major-damage": 2, "destroyed": 4},
}
DAMAGED = {"binary-major": 6, "binary-minor": 9, "grades": 6}


@pytest.fixture
def event(town: Town, monkeypatch: pytest.MonkeyPatch) -> Event:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    made = prepared_event(town)
    order = [f"b{5 * number % 16:02d}" for number in range(16)]
    add_features(made, set(order[4:13]))
    for building, value in zip(order, GIVEN, strict=False):
        label_store(made).add(building, LabelValue(value), labeller="ana", drawn="map", inclusion_probability=None)
    return made


def test_every_place_answers_the_question_that_was_stated_for_the_event(event: Event) -> None:
    packs = {}
    for name, counts in CLASSES.items():
        state_scheme(event, name)
        scheme, view = damage_scheme(event), view_of("town")
        assert (scheme.name, view.scheme) == (name, scheme)

        plan = plan_of(workflow.start_run(event, TrainSettings(algorithm="frozen-random"), SPLIT).run)
        trained = Counter(scheme.class_names[each] for each in (*plan.train_class, *plan.validation_class))
        assert (plan.scheme, trained) == (scheme, counts)
        assert plan_of(workflow.start_zero_label(event).run).scheme == scheme.binary
        assert needed(view).counts == counts

        live = live_model_of(event)
        assert (live.scheme, live.prediction.learned_from) == (scheme, counts)

        for model in (None, live):
            standing, table = assessment_of(view, model), workflow.export_table(event, model)
            labelled = table[table["label_source"] == "analyst"]
            assert labelled["damage_class"].value_counts().to_dict() == counts
            assert int(labelled["damaged"].sum()) == DAMAGED[name]
            assert standing.damaged == int(table["damaged"].eq(True).sum())
            assert standing.counts() == table["damage_class"].value_counts().to_dict()
        assert legend_rows(view.scheme)["result"] == list(counts)
        words = sentence_of(scheme).lower()
        assert all(
            (grade.label.replace("-", " ") in words) == (grade in scheme.damaged_grades) for grade in DamageGrade
        )

        packs[name] = hand_over(event, None)
        manifest = json.loads((packs[name].folder / "extra" / "manifest.json").read_text())
        assert (manifest["scheme"], manifest["scale"]) == (name, scheme.statement)
        assert scheme.statement in (packs[name].folder / "extra" / "card.md").read_text()
        report = definition_report(event)
        assert report.labels == counts and report.scheme == name
        stale = {str(pack.folder.relative_to(event.path)) for other, pack in packs.items() if other != name}
        assert set(report.stale_packs) == stale
    assert len({pack.folder for pack in packs.values()}) == 3


def test_verdicts_teach_no_grade_and_this_is_said(event: Event) -> None:
    for building, value in (("b00", LabelValue.DAMAGED), ("b01", LabelValue.INTACT), ("b02", LabelValue.UNCLEAR)):
        label_store(event).add(building, value, labeller="bo", drawn="map", inclusion_probability=None)
    state_scheme(event, "grades")
    report = definition_report(event)
    assert (report.verdicts_only, report.no_verdict) == (2, 1)
    assert any("only damaged or intact: 2" in line for line in report.stale_lines())
    state_scheme(event, "binary-minor")
    assert definition_report(event).verdicts_only == 0


def test_a_training_states_what_it_was_asked_for_where_nobody_had(event: Event) -> None:
    def start(**settings: str) -> str:
        return plan_of(
            workflow.start_run(event, TrainSettings(algorithm="frozen-random", **settings), SPLIT).run
        ).train.scheme

    assert start() == "binary-major"
    assert not definition_report(event).stated  # taken, and not stated
    assert start(scheme="binary-minor") == "binary-minor"
    assert definition_report(event).scheme == "binary-minor"
    assert start() == "binary-minor"
    assert start(scheme="grades") == "grades"  # can be read as what is stated, which stays
    assert definition_report(event).scheme == "binary-minor"
