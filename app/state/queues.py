"""The queues of buildings to look at: which come next, and why each is asked about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.state.event_view import EventView, current_labels, kept_with_view
from app.state.review_queues import CHECKS, case_of
from app.state.sampling_shares import second_opinions_wanted, shares_of
from app.state.shown_models import features_stamp
from app.state.viewport import building_detail, number_or_none
from damage_ssl.errors import InputError
from damage_ssl.evaluation.audit import AUDIT, inclusion_probability
from damage_ssl.labels.sampling import next_buildings
from damage_ssl.runs.live import read_features
from damage_ssl.runs.model import MapModel


def queue_of(kind: str) -> "Callable[[Ask], pd.DataFrame]":
    """A queue of checking as one that is walked."""
    check = CHECKS[kind]

    def queue(ask: "Ask") -> pd.DataFrame:
        empty: dict[str, Any] = {"building_id": [], "drawn": [], "inclusion_probability": [], "why": [], "blind": []}
        if ask.view.index is None:
            return pd.DataFrame(empty)
        case = case_of(ask.view, ask.model, ask.labeller)
        rows = check.rows(case)[0][ask.start : ask.start + ask.count]
        chance = np.full(len(rows), np.nan)
        if check.drawn == AUDIT:
            chance = inclusion_probability(ask.view.audit_order, rows)
        return pd.DataFrame(
            {
                "building_id": ask.view.building_id[rows],
                "drawn": check.drawn,
                "inclusion_probability": chance,
                "why": [check.why(case, int(row)) for row in rows],
                "blind": check.blind,
            }
        )

    return queue


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What a queue is asked for: `count` buildings of an event, for `labeller`, under the shown model.

    `start`: how many of a queue with a fixed order to pass over, because they were skipped.
    """

    view: EventView
    model: MapModel | None
    labeller: str
    count: int
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    start: int = 0


Queue = Callable[[Ask], pd.DataFrame]
"""Gives `building_id`, `drawn`, `inclusion_probability`; optionally `why`, a sentence for the analyst, and `blind`,
True where what others and the model say stays hidden until the answer."""


def label_queue(ask: Ask) -> pd.DataFrame:
    """Buildings without a label: spread over kinds and places, uncertain ones first, a share at random.

    Once somebody else has labelled too, some are of buildings that only they have answered (`sampling_shares`).
    """
    view, rng = ask.view, ask.rng
    if view.index is None:
        return _NOBODY
    seconds = _second_opinions(ask)
    fresh = next_buildings(
        view.index,
        current_labels(view.event)[0],
        max(ask.count - len(seconds), 1),
        rng,
        uncertainty=None if ask.model is None else _uncertainty(view, ask.model, ask.model.stamp),
        cluster=_clusters(view, features_stamp(view)),
        random_share=shares_of(view.event).random,
    )
    both = pd.concat([fresh.assign(blind=False), seconds], ignore_index=True) if len(seconds) else fresh
    return both.iloc[rng.permutation(len(both))].head(ask.count).reset_index(drop=True)


_NOBODY = pd.DataFrame({"building_id": [], "drawn": [], "inclusion_probability": []})


def _second_opinions(ask: Ask) -> pd.DataFrame:
    """Of the second opinions that are lacking: the event's share of this draw, as many as chance makes of it."""
    wanted = ask.count * shares_of(ask.view.event).second
    count = int(wanted) + int(ask.rng.random() < wanted - int(wanted))
    if not count or not ask.labeller:
        return _NOBODY
    lacking = second_opinions_wanted(ask.view, ask.labeller, current_labels(ask.view.event)[1], ask.rng)
    return lacking.head(count).assign(
        blind=True, why="A second opinion: somebody else has answered this one; you see their answer after yours."
    )


@kept_with_view(2)
def _uncertainty(view: EventView, model: MapModel, predicted: str) -> pd.Series:
    """A model's uncertainty of every building in the order of the event, NaN where it says nothing."""
    said = model.prediction
    return pd.Series(_in_order(view, said.building_id, said.uncertainty), index=view.pairs.index)


@kept_with_view(1)
def _clusters(view: EventView, features: str) -> pd.Series | None:
    """Which buildings look alike, in the order of the event; None without features."""
    if not features:
        return None
    known = read_features(view.event, view.fingerprint)
    return pd.Series(_in_order(view, known.building_id, known.cluster), index=view.pairs.index)


def _in_order(view: EventView, building_id: NDArray[np.str_], said: NDArray[Any]) -> NDArray[np.float64]:
    assessed = np.flatnonzero(view.assessed)
    values = np.full(len(view.building_id), np.nan)
    if np.array_equal(building_id, view.building_id[assessed]):
        values[assessed] = said
        return values
    return pd.Series(said, index=building_id).reindex(view.building_id).to_numpy(float)


QUEUES: Mapping[str, Queue] = {"label": label_queue, **{kind: queue_of(kind) for kind in CHECKS}}
"""The queues by the name that the page and the routes use."""


def next_in_queue(kind: str, ask: Ask) -> list[dict[str, Any]]:
    """The next buildings with their facts; `drawn` and the inclusion probability are logged with the answer.

    Raises:
        InputError: no queue of that name.
    """
    if kind not in QUEUES:
        raise InputError(f"queue '{kind}' is not one of {', '.join(QUEUES)}")
    drawn, labels = QUEUES[kind](ask), current_labels(ask.view.event)[0]
    return [
        {
            "id": str(row["building_id"]),
            "drawn": str(row["drawn"]),
            "probability": number_or_none(row["inclusion_probability"]),
            "why": _text(row.get("why")),
            "blind": row.get("blind") is True,
            "detail": building_detail(
                ask.view,
                ask.model,
                ask.view.position_of[str(row["building_id"])],
                blind=row.get("blind") is True,
                labels=labels,
            ),
        }
        for row in drawn.to_dict("records")
    ]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
