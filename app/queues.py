"""The queues of buildings to look at: which come next, and why each is asked about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from app.data import EventView, current_labels
from app.models import Model
from app.viewport import building_detail, number_or_none
from damage_ssl.errors import InputError
from damage_ssl.labelling.queue import next_buildings


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What a queue is asked for: `count` buildings of an event, for `labeller`, under the shown model."""

    view: EventView
    model: Model | None
    labeller: str
    count: int
    rng: np.random.Generator


Queue = Callable[[Ask], pd.DataFrame]
"""Gives `building_id`, `drawn`, `inclusion_probability`; optionally `why`, a sentence for the analyst."""


def label_queue(ask: Ask) -> pd.DataFrame:
    """Buildings without a label, spread over the event or the most uncertain first, with a share drawn at random."""
    if ask.view.index is None:
        return pd.DataFrame({"building_id": [], "drawn": [], "inclusion_probability": []})
    uncertainty = None
    if ask.model is not None:
        uncertainty = ask.model.predictions().set_index("building_id")["uncertainty"]
    index = ask.view.index.reset_index(drop=True)
    return next_buildings(index, current_labels(ask.view.event)[0], ask.count, ask.rng, uncertainty=uncertainty)


QUEUES: Mapping[str, Queue] = {"label": label_queue}
"""The queues by the name that the page and the routes use."""


def next_in_queue(kind: str, ask: Ask) -> list[dict[str, Any]]:
    """The next buildings with their facts; `drawn` and the inclusion probability are logged with the answer.

    Raises:
        InputError: no queue of that name.
    """
    if kind not in QUEUES:
        raise InputError(f"queue '{kind}' is not one of {', '.join(QUEUES)}")
    drawn = QUEUES[kind](ask)
    return [
        {
            "id": str(row["building_id"]),
            "drawn": str(row["drawn"]),
            "probability": number_or_none(row["inclusion_probability"]),
            "why": row.get("why"),
            "detail": building_detail(ask.view, ask.model, ask.view.position_of[str(row["building_id"])]),
        }
        for row in drawn.to_dict("records")
    ]
