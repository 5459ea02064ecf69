"""What the label log and the models hold against each other, worked out once for each state of both."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.state.event_view import EventView, current_labels, label_store, view_at
from app.state.map_assessment import model_says
from damage_ssl.damage_scale import ClassScheme, LabelValue
from damage_ssl.evaluation.audit import AuditReport, audit_answers, audit_report, skipped_before
from damage_ssl.evaluation.calibration import damaged_probability
from damage_ssl.evaluation.label_issues import contradicted, cross_validated, judge_labels, labelled_blocks
from damage_ssl.events.event import Event
from damage_ssl.labels.agreement import disputed
from damage_ssl.labels.schema import ADJUDICATION
from damage_ssl.products.map_style import CLASSES
from damage_ssl.runs.live import read_features, usable_labels
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.plan import plan_of
from damage_ssl.runs.predictions import class_probabilities
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
    """Labels that the models contradict (`doubts.contradicted`) with `value` and `labeller`; None: nothing can judge.

    A label that was given or confirmed with the contradiction in view, or as a decision, is not asked about again.
    """
    judges = tuple(model for model in models if model.kind.is_probability)
    return _contradictions(view.event, view.stamp, judges, tuple(model.stamp for model in judges), revision)


@lru_cache(maxsize=4)
def _contradictions(
    event: Event, stamp: str, models: tuple[MapModel, ...], _stamps: tuple[str, ...], revision: int
) -> pd.DataFrame | None:
    view = view_at(event, stamp)
    judgements = {model.model_id: _judged(view, model) for model in models}
    if not any(len(table) for table in judgements.values()):
        return None
    table = contradicted(judgements)
    labels = current_labels(event)[0][["building_id", "value", "labeller", "drawn"]]
    labels = labels[~labels["drawn"].isin(["contradicted", ADJUDICATION])]
    return table.merge(labels[["building_id", "value", "labeller"]], on="building_id")


def _judged(view: EventView, model: MapModel) -> pd.DataFrame:
    """How a model sees the labels that it has not learned from."""
    names = model.scheme.class_names
    if model.run is None:
        building_id, classes, p = out_of_fold(view, model)
        return judge_labels(building_id, p, classes, names)
    labels = current_labels(view.event)[0]
    class_of = {str(each): model.scheme.index_of(LabelValue(each)) for each in labels["value"].unique()}
    labels = labels.assign(given=labels["value"].map(lambda value: class_of[value]))
    labels = labels[labels["given"].notna() & ~labels["building_id"].isin(plan_of(model.run).train_id)]
    predictions = model.prediction.table()
    predictions = predictions[predictions["building_id"].isin(labels["building_id"])]
    both = predictions.merge(labels[["building_id", "given"]], on="building_id")
    p = class_probabilities(both, model.scheme)
    return judge_labels(both["building_id"].to_numpy(str), p, both["given"].to_numpy(np.int64), names)


def out_of_fold(view: EventView, model: MapModel) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.float64]]:
    """The labelled buildings, their classes, and what the live model says when it learns from other blocks only."""
    return _out_of_fold(view.event, view.stamp, model, model.stamp)


@lru_cache(maxsize=4)
def _out_of_fold(
    event: Event, stamp: str, model: MapModel, _fitted: str
) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.float64]]:
    view = view_at(event, stamp)
    features = read_features(event)
    labels = usable_labels(features, current_labels(event)[0], model.scheme)
    building_id = features.building_id[labels.rows]
    block = _blocks(view, building_id)
    p = cross_validated(features.values[labels.rows], labels.classes, block, n_classes=len(model.scheme))
    return building_id, labels.classes, p


def _blocks(view: EventView, building_id: NDArray[np.str_]) -> NDArray[np.str_]:
    """The spatial block of each building; none before pairs were cut."""
    if view.index is None:
        return np.zeros(0, dtype=np.str_)
    place = view.index.iloc[[view.position_of[each] for each in building_id.tolist()]]
    return labelled_blocks(place["x_m"].to_numpy(float), place["y_m"].to_numpy(float), SplitSettings().block_m)


def audit_of(view: EventView, model: MapModel, order: NDArray[np.intp], revision: int) -> AuditReport:
    """What the audit says of a model's map.

    A trained run is measured on audited buildings that it neither learned from nor was calibrated on; the live model,
    which learns from every label, by what it says of each when it learns from other blocks only.

    Args:
        view: the event.
        model: whose map.
        order: the audit's order of the assessed buildings, rows of the event.
        revision: of the labels.
    """
    answers = audited(view, revision)
    graded = [_is_damaged(LabelValue(value), model.scheme) for value in answers["value"]]
    rows = np.array([view.position_of[each] for each in answers["building_id"]], dtype=np.intp)
    has_grade = np.array([each is not None for each in graded], dtype=bool)
    truth = np.array([bool(each) for each in graded], dtype=bool)
    said, fair = _fair_verdicts(view, model, rows)
    use = has_grade & fair
    done = np.isin(order, rows)
    return audit_report(
        said[use],
        truth[use],
        population=len(order),
        no_grade=int((~has_grade).sum()),
        learned=int((has_grade & ~fair).sum()),
        skipped=skipped_before(done),
    )


def _fair_verdicts(
    view: EventView, model: MapModel, rows: NDArray[np.intp]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the model calls each building damaged, and whether it says so without having known the answer."""
    damaged = [name in model.scheme.class_names[model.scheme.damaged_from :] for name in CLASSES]
    model_class = model_says(view, model).model_class[rows]
    said = np.array([*damaged, False], dtype=bool)[model_class]
    if model.run is not None:
        plan = plan_of(model.run)
        return said, ~np.isin(view.building_id[rows], [*plan.train_id, *plan.validation_id])
    building_id, _, p = out_of_fold(view, model)
    judged = dict(zip(building_id.tolist(), damaged_probability(p, model.scheme).tolist(), strict=True))
    unseen = np.array([judged.get(each, np.nan) for each in view.building_id[rows].tolist()], dtype=np.float64)
    learned = np.isin(view.building_id[rows], building_id)
    return np.where(learned, unseen >= model.threshold, said), ~learned | np.isfinite(unseen)


def _is_damaged(value: LabelValue, scheme: ClassScheme) -> bool | None:
    if value in (LabelValue.INTACT, LabelValue.DAMAGED):
        return value is LabelValue.DAMAGED
    index = scheme.index_of(value)
    return None if index is None else index >= scheme.damaged_from


def _of_event(view: EventView, table: pd.DataFrame) -> pd.DataFrame:
    """Labels stay in the log when an event gets other footprints; those are left out."""
    known = [each in view.position_of for each in table["building_id"]]
    return pd.DataFrame(table[np.array(known, dtype=bool)])
