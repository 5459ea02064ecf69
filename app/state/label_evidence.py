"""What the label log and the models hold against each other, worked out once for each state of both.

The rules are the library's (`evaluation.audit`, `evaluation.label_issues`, `labels.agreement`); here are their results.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from app.state.event_view import EventView, current_labels, kept_with_view, label_store
from app.state.map_assessment import model_says
from damage_ssl.damage_scale import ClassScheme, LabelValue
from damage_ssl.evaluation.audit import AuditReport, audit_answers, audit_of_map, skipped_before
from damage_ssl.evaluation.label_issues import contradicted_labels, judge_unlearned
from damage_ssl.events.event import Event
from damage_ssl.labels.agreement import AnalystAgreement, Confusion, agreement, confusion, disputed, independent_answers
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.plan import plan_of
from damage_ssl.runs.validation import fair_verdicts


@lru_cache(maxsize=8)
def label_log(event: Event, revision: int) -> pd.DataFrame:
    """All rows of an event's label log as of a revision."""
    return label_store(event).log()


def disputes(view: EventView, revision: int) -> pd.DataFrame:
    """Buildings of the event on which analysts differ (`agreement.disputed`)."""
    return _of_event(view, _disputed(view.event, revision))


@lru_cache(maxsize=8)
def _disputed(event: Event, revision: int) -> pd.DataFrame:
    return disputed(label_log(event, revision))


def audited(view: EventView, revision: int) -> pd.DataFrame:
    """The audit's answers (`audit.audit_answers`) about buildings that can be assessed."""
    table = _of_event(view, _audit_answers(view.event, revision))
    rows = [view.position_of[each] for each in table["building_id"]]
    return pd.DataFrame(table[view.assessed[rows]])


@lru_cache(maxsize=8)
def _audit_answers(event: Event, revision: int) -> pd.DataFrame:
    return audit_answers(label_log(event, revision))


def contradictions(view: EventView, models: Sequence[MapModel], revision: int) -> pd.DataFrame | None:
    """Labels that the models contradict (`label_issues.contradicted_labels`); None: nothing can judge."""
    judges = tuple(model for model in models if model.kind.is_probability)
    return _contradictions(view, judges, tuple(model.stamp for model in judges), revision)


@kept_with_view(4)
def _contradictions(
    view: EventView, models: tuple[MapModel, ...], _stamps: tuple[str, ...], revision: int
) -> pd.DataFrame | None:
    labels = current_labels(view.event)[0]
    return contradicted_labels({model.model_id: _judged(model, labels) for model in models}, labels)


def _judged(model: MapModel, labels: pd.DataFrame) -> pd.DataFrame:
    """How a model sees the labels that it has not learned from, or as it does without them (cross-fitted)."""
    said, unseen = model.prediction, model.unseen
    learned = set() if model.run is None else set(plan_of(model.run).train_id)
    p = said.probabilities
    if unseen is not None:
        # raw: calibrated for an event with little damage, every damaged label would be doubted
        p = unseen.in_place_of(said.building_id, p, calibrated=False)
        learned = (learned | set(unseen.building_id.tolist())) - set(unseen.building_id[unseen.known].tolist())
    return judge_unlearned(labels, learned, said.building_id, p, model.scheme)


def audit_of(view: EventView, model: MapModel, revision: int) -> AuditReport:
    """What the audit says of a model's map, on audited buildings that it says something of without their labels."""
    answers = audited(view, revision)
    rows = np.array([view.position_of[each] for each in answers["building_id"]], dtype=np.intp)
    said = model_says(view, model).verdicts(model.scheme)[rows] == 1
    said, fair = fair_verdicts(model, view.building_id[rows], said)
    order = view.audit_order
    skipped = skipped_before(np.isin(order, rows))
    return audit_of_map(answers, said, fair, model.scheme, population=len(order), skipped=skipped)


@lru_cache(maxsize=4)
def answers_of(event: Event, revision: int) -> pd.DataFrame:
    """Each analyst's own latest word on each building (`agreement.independent_answers`)."""
    return independent_answers(label_log(event, revision))


@lru_cache(maxsize=8)
def agreement_of(event: Event, revision: int, scheme: ClassScheme | None) -> AnalystAgreement:
    """How far the analysts of an event agree (`agreement.agreement`)."""
    return agreement(answers_of(event, revision), scheme)


def answer_counts(event: Event, revision: int) -> dict[str, int]:
    """How many buildings each analyst has answered, the busiest first."""
    given = answers_of(event, revision)["labeller"].value_counts()
    return {str(name): int(count) for name, count in given.items()}


def confusion_of(event: Event, revision: int, first: str, second: str) -> Confusion:
    """How often two analysts gave which answers to the same building."""
    return confusion(answers_of(event, revision), first, second)


def _of_event(view: EventView, table: pd.DataFrame) -> pd.DataFrame:
    """Labels stay in the log when an event gets other footprints; those are left out."""
    known = [each in view.position_of for each in table["building_id"]]
    return pd.DataFrame(table[np.array(known, dtype=bool)])


def newer_labels(view: EventView, model: MapModel | None) -> int:
    """How many labels that a training could use the shown model had not: given after it was planned. The live model
    learns from each at once, a change score from none."""
    if model is None or model.run is None or not model.kind.learns:
        return 0
    plan = plan_of(model.run)
    known = {*plan.train_id, *plan.validation_id}
    labels = current_labels(view.event)[0]
    return sum(
        view.scheme.index_of(LabelValue(value)) is not None and building not in known and view.assessed[row]
        for building, value in zip(labels["building_id"].tolist(), labels["value"].tolist(), strict=True)
        if (row := view.position_of.get(building)) is not None
    )
