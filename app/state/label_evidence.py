"""What the label log and the models hold against each other, worked out once for each state of both.

The rules are the library's (`evaluation.audit`, `evaluation.label_issues`, `labels.agreement`); here are their results.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.state.event_view import EventView, current_labels, kept_with_view, label_store
from app.state.map_assessment import model_says
from damage_ssl.damage_scale import ClassScheme
from damage_ssl.evaluation.audit import (
    AuditReport,
    audit_answers,
    audit_of_map,
    skipped_before,
    taught_nothing,
    unseen_verdicts,
)
from damage_ssl.evaluation.calibration import damaged_probability
from damage_ssl.evaluation.label_issues import (
    contradicted_labels,
    cross_validated,
    judge_labels,
    judge_unlearned,
    labelled_blocks,
)
from damage_ssl.events.event import Event
from damage_ssl.labels.agreement import AnalystAgreement, Confusion, agreement, confusion, disputed, independent_answers
from damage_ssl.runs.live import read_features, usable_labels
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.plan import plan_of
from damage_ssl.settings import SplitSettings


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
    return contradicted_labels({model.model_id: _judged(view, model, labels) for model in models}, labels)


def _judged(view: EventView, model: MapModel, labels: pd.DataFrame) -> pd.DataFrame:
    """How a model sees the labels that it has not learned from."""
    if model.run is None:
        building_id, classes, p = _out_of_fold(view, model, model.stamp)
        return judge_labels(building_id, p, classes, model.scheme.class_names)
    said = model.prediction
    return judge_unlearned(labels, plan_of(model.run).train_id, said.building_id, said.probabilities, model.scheme)


@kept_with_view(4)
def _out_of_fold(
    view: EventView, model: MapModel, _fitted: str
) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.float64]]:
    """The labelled buildings, their classes, and what the live model says when it learns from other blocks only."""
    known = read_features(view.event, view.fingerprint)
    labels = usable_labels(known, current_labels(view.event)[0], model.scheme)
    building_id, features = known.building_id[labels.rows], known.values[labels.rows]
    place = view.pairs[["x_m", "y_m"]].loc[building_id.tolist()].to_numpy(float)
    block = labelled_blocks(place[:, 0], place[:, 1], SplitSettings().block_m)
    return building_id, labels.classes, cross_validated(features, labels.classes, block, n_classes=len(model.scheme))


def audit_of(view: EventView, model: MapModel, revision: int) -> AuditReport:
    """What the audit says of a model's map.

    A trained run is measured on audited buildings that it neither learned from nor was calibrated on; the live model,
    which learns from every label, by what it says of each when it learns from other blocks only.
    """
    answers = audited(view, revision)
    rows = np.array([view.position_of[each] for each in answers["building_id"]], dtype=np.intp)
    building_id = view.building_id[rows]
    said = model_says(view, model).verdicts(model.scheme)[rows] == 1
    if model.run is not None:
        plan = plan_of(model.run)
        fair = taught_nothing(building_id, plan.train_id, plan.validation_id)
    else:
        learned_id, _, p = _out_of_fold(view, model, model.stamp)
        p_unseen = damaged_probability(p, model.scheme)
        said, fair = unseen_verdicts(building_id, said, learned_id, p_unseen, model.threshold)
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
