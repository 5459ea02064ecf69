"""What deserves a second look in an event: the queues of the step "Map", how many wait in each, and why each is asked.

Buildings are rows of the event's footprints throughout; what is worth keeping is kept with the view, by the stamps of
models and labels, so that a page of 300,000 buildings opens at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from app.state.event_view import EventView, kept_with_view, label_store
from app.state.label_evidence import answers_of, audited, contradictions, disputes, label_log
from app.state.legend import method_name
from app.state.map_assessment import assessment_of, model_says
from app.state.sampling_shares import second_opinions_wanted
from app.state.shown_models import differing, shown_models
from damage_ssl.damage_scale import LabelValue
from damage_ssl.evaluation.audit import AUDIT
from damage_ssl.evaluation.label_issues import (
    CONTRADICTED,
    DISAGREEMENT_BITS,
    UNSURE_LOG_ODDS,
    distance_to_threshold,
    verdict_disagreement,
)
from damage_ssl.labels.sampling import SECOND
from damage_ssl.labels.schema import ADJUDICATION
from damage_ssl.products.map_style import CLASSES, name_of
from damage_ssl.runs.model import MapModel

MOST_DIVIDED = 1000
"""Listed are the furthest apart, up to this many: where more differ, a model needs labels before anybody checks."""


@dataclass(frozen=True)
class Case:
    """One look at an event: what is there, which models, whose eyes."""

    view: EventView
    model: MapModel | None
    labeller: str
    models: tuple[MapModel, ...]
    revision: int

    @cached_property
    def unlabelled(self) -> NDArray[np.bool_]:
        """Assessed buildings without any answer."""
        return self.view.assessed & (assessment_of(self.view, self.model).label < 0)

    @cached_property
    def trained(self) -> MapModel | None:
        """The trained run of the two that are compared: the shown one, else the newest."""
        shown = [self.model] if self.model is not None else []
        return next(
            (each for each in [*shown, *self.models] if each.run is not None and each.kind.is_probability), None
        )

    @cached_property
    def live(self) -> MapModel | None:
        """The live model."""
        return next((each for each in self.models if each.run is None), None)

    @cached_property
    def ensemble(self) -> tuple[MapModel, ...]:
        """Models to set against each other, of one meaning of "damaged": the newest trained run of each method and
        the live model; change scores only where these are not two."""
        probable = [each for each in self.models if each.kind.is_probability]
        pool = probable if len({each.algorithm for each in probable}) > 1 else self.models
        newest: dict[str, MapModel] = {}
        for each in pool:
            newest.setdefault(each.algorithm, each)
        chosen = list(newest.values())
        return tuple(each for each in chosen if each.scheme.damaged_grades == chosen[0].scheme.damaged_grades)


def case_of(view: EventView, model: MapModel | None, labeller: str) -> Case:
    """The event as it is now."""
    return Case(view, model, labeller, tuple(shown_models(view)), label_store(view.event).revision())


Rows = tuple[NDArray[np.intp], str]
"""Buildings that wait, the most urgent first; or none, with what is lacking in a few words."""


def _contradicted(case: Case) -> Rows:
    table = contradictions(case.view, case.models, case.revision)
    if table is None:
        return _NONE, "needs more labels"
    return np.array([case.view.position_of[each] for each in table["building_id"]], dtype=np.intp), ""


def _why_contradicted(case: Case, row: int) -> str:
    table = contradictions(case.view, case.models, case.revision)
    if table is None:
        return ""
    found = dict(table.set_index("building_id").loc[str(case.view.building_id[row])])
    who = "You" if found["labeller"] == case.labeller else found["labeller"]
    model = next(each for each in case.models if each.model_id == found["model"])
    other = name_of(found["other"]).lower()
    if found["other"] == LabelValue.DAMAGED:
        other += f" ({min(model.scheme.damaged_grades).label.replace('-', ' ')} or worse)"
    return (
        f"{who} said {name_of(found['value'])}. {_name(model)}, which did not learn from that, says "
        f"{_percent(found['p_other'])} {other}."
    )


def _disagree(case: Case) -> Rows:
    if len(case.ensemble) < 2:
        return _NONE, "needs two models"
    bits = _divergence(case.view, case.ensemble, tuple(each.stamp for each in case.ensemble))
    return _ordered(np.where(case.unlabelled & (bits >= DISAGREEMENT_BITS), -bits, np.nan))[:MOST_DIVIDED], ""


def _why_disagree(case: Case, row: int) -> str:
    said = (f"{_name(each)} {_number(case.view, each, row)}" for each in case.ensemble)
    return f"How damaged? {' · '.join(said)}."


def _unsure(case: Case) -> Rows:
    if case.model is None:
        return _NONE, "needs a model"
    distance = distance_to_threshold(model_says(case.view, case.model).p, case.model.threshold)
    return _ordered(np.where(case.unlabelled & (distance <= UNSURE_LOG_ODDS), distance, np.nan)), ""


def _why_unsure(case: Case, row: int) -> str:
    if case.model is None:
        return ""
    said = _number(case.view, case.model, row)
    if not case.model.kind.is_probability:
        return f"The model says {said}; from {case.model.threshold:.2f} the map says changed strongly."
    return f"The model says {said} damaged; from {_percent(case.model.threshold)} the map says damaged."


def _differ(case: Case) -> Rows:
    if case.live is None or case.trained is None:
        return _NONE, "needs both"
    rows = differing(case.view, case.live, case.trained)
    rows = rows[case.unlabelled[rows]]
    apart = np.abs(model_says(case.view, case.live).p[rows] - model_says(case.view, case.trained).p[rows])
    return rows[np.argsort(-apart, kind="stable")], ""


def _why_differ(case: Case, row: int) -> str:
    said = (
        f"{_name(each)} says {_verdict(case.view, each, row)} ({_number(case.view, each, row)})"
        for each in (case.trained, case.live)
        if each is not None
    )
    return "; ".join(said).replace("; The", "; the") + "."


def _audit(case: Case) -> Rows:
    waiting = np.ones(len(case.view.building_id), dtype=bool)
    waiting[[case.view.position_of[each] for each in audited(case.view, case.revision)["building_id"]]] = False
    order = case.view.audit_order
    return order[waiting[order]], ""


def _adjudicate(case: Case) -> Rows:
    table = disputes(case.view, case.revision)
    return np.array([case.view.position_of[each] for each in table["building_id"]], dtype=np.intp), ""


def _why_adjudicate(case: Case, row: int) -> str:
    answers = answers_of(case.view.event, case.revision)
    said = answers[answers["building_id"] == str(case.view.building_id[row])]
    words = " · ".join(f"{who}: {name_of(value)}" for who, value in zip(said["labeller"], said["value"], strict=True))
    return f"{words}. Your answer decides."


def _second(case: Case) -> Rows:
    drawn = second_opinions_wanted(case.view, case.labeller, case.revision, np.random.default_rng(0))
    missing = "" if len(label_log(case.view.event, case.revision)) else "needs labels"
    return np.array([case.view.position_of[each] for each in drawn["building_id"]], dtype=np.intp), missing


@dataclass(frozen=True, kw_only=True)
class ReviewQueue:
    """A queue of checking.

    `drawn` is logged with its answers. A `blind` one hides what the model and others say until it is answered.
    """

    title: str
    purpose: str
    drawn: str
    rows: Callable[[Case], Rows]
    why: Callable[[Case, int], str]
    blind: bool = False


CHECKS: Mapping[str, ReviewQueue] = {
    "contradicted": ReviewQueue(
        title="Contradicted labels",
        purpose="Labels that models say are wrong, judged without having learned from them; the surest first.",
        drawn=CONTRADICTED,
        rows=_contradicted,
        why=_why_contradicted,
    ),
    "disagree": ReviewQueue(
        title="Models disagree",
        purpose=f"Unlabelled buildings on which models are as far apart as 0.3 and 0.7, or further; of these the "
        f"{MOST_DIVIDED:,} furthest.",
        drawn="disagree",
        rows=_disagree,
        why=_why_disagree,
    ),
    "unsure": ReviewQueue(
        title="Uncertain",
        purpose="Unlabelled buildings whose verdict could as well be the other one.",
        drawn="unsure",
        rows=_unsure,
        why=_why_unsure,
    ),
    "differ": ReviewQueue(
        title="Live and trained differ",
        purpose="Unlabelled buildings that one of the two calls damaged and the other does not.",
        drawn="differ",
        rows=_differ,
        why=_why_differ,
    ),
    "audit": ReviewQueue(
        title="Random audit",
        purpose="Buildings drawn by chance, judged blind: the only fair way to say how right the map is, and "
        "how many are damaged.",
        drawn=AUDIT,
        rows=_audit,
        why=lambda _case, _row: "Random audit: what the model and others say is hidden until you answer.",
        blind=True,
    ),
    "adjudicate": ReviewQueue(
        title="Disputed between analysts",
        purpose="Analysts gave different answers; yours decides.",
        drawn=ADJUDICATION,
        rows=_adjudicate,
        why=_why_adjudicate,
    ),
    "second": ReviewQueue(
        title="Second opinions",
        purpose="Answered by one other analyst. How many should have a second answer is set in step 2.",
        drawn=SECOND,
        rows=_second,
        why=lambda _case, _row: "Second opinion: the other analyst's answer is hidden until you give yours.",
        blind=True,
    ),
}
"""The queues by the name that the page and the routes use."""


@dataclass(frozen=True)
class QueueState:
    """How a queue stands: how many wait and were done; or what is lacking for it."""

    waiting: int
    done: int
    needs: str


def queue_states(case: Case) -> dict[str, QueueState]:
    """Every queue as it stands."""
    done = _done(case.view, case.revision)
    found = {kind: check.rows(case) for kind, check in CHECKS.items()}
    return {
        kind: QueueState(len(rows), done.get(CHECKS[kind].drawn, 0), needs) for kind, (rows, needs) in found.items()
    }


@kept_with_view(4)
def _divergence(view: EventView, models: tuple[MapModel, ...], _stamps: tuple[str, ...]) -> NDArray[np.float64]:
    """Bits between the models' P(damaged) of each building; NaN where one says nothing."""
    return verdict_disagreement([model_says(view, model).p for model in models])


def _done(view: EventView, revision: int) -> dict[str, int]:
    """Buildings by how their analysts' latest answers were drawn; audit answers as the audit counts them."""
    log = label_log(view.event, revision)
    last = log.drop_duplicates(["building_id", "labeller"], keep="last")
    counted = last.groupby("drawn")["building_id"].nunique()
    return {**{str(name): int(count) for name, count in counted.items()}, AUDIT: len(audited(view, revision))}


def _ordered(urgency: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows by rising number, without those that have none."""
    rows = np.flatnonzero(np.isfinite(urgency))
    return rows[np.argsort(urgency[rows], kind="stable")]


def _name(model: MapModel) -> str:
    return "The live model" if model.run is None else method_name(model.algorithm)


def _number(view: EventView, model: MapModel, row: int) -> str:
    p = float(model_says(view, model).p[row])
    return _percent(p) if model.kind.is_probability else f"score {p:.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _verdict(view: EventView, model: MapModel, row: int) -> str:
    return name_of(CLASSES[model_says(view, model).model_class[row]]).lower()


_NONE: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
