"""How every building of an event stands: what the model says, what people said, what the product will say.

Arrays in the order of the event's footprints, a few bytes a building: cheap enough to be made again after each label.
The rules are those of `damage_ssl.products.table`, which writes the files; a test holds the two together.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.caching import ByteCache, shared
from app.colouring import CLASSES, LABELS, MODES, Mode, codes_with, unlabelled_codes
from app.data import NOT_PREPARED, EventView, current_labels, view_at
from app.models import Model
from damage_ssl.assessment.calibration import decide
from damage_ssl.errors import WorkspaceError
from damage_ssl.event.catalog import Event
from damage_ssl.grades import ClassScheme, LabelValue
from damage_ssl.products.selection import Selection
from damage_ssl.products.table import REASON_OF_ANSWER

_LABEL_CODE = {name: code for code, name in enumerate(LABELS)}
_CLASS_NAMES = np.array([*CLASSES, None], dtype=object)
_REASON_OF_LABEL = np.array([REASON_OF_ANSWER.get(LabelValue(name)) for name in LABELS], dtype=object)
_CLASS_OF_LABEL = np.array([CLASSES.index(name) if name in CLASSES else -1 for name in LABELS], dtype=np.int8)


@dataclass(frozen=True)
class ModelSays:
    """What a model alone says of each building; NaN and -1 where nothing."""

    p: NDArray[np.float64]
    """P(damaged), or a change score."""
    model_class: NDArray[np.int8]
    """Index into `CLASSES`."""
    unlabelled: dict[Mode, NDArray[np.uint8]]
    """Index into `STYLES` as long as nobody has labelled it."""


@dataclass(frozen=True)
class Standing:
    """All buildings under one model and the labels of one revision."""

    says: ModelSays
    label: NDArray[np.int8]
    """The current label: index into `LABELS`, -1 for none."""
    damage_class: NDArray[np.int8]
    """The class that the product gives: the label's where there is one. Index into `CLASSES`, -1 for none."""
    assessed: NDArray[np.bool_]
    """Whether the product counts it as assessed."""
    revision: int
    stamp: str
    """Changes with anything of this."""

    def codes(self, mode: Mode) -> NDArray[np.uint8]:
        """How each building is drawn: index into `STYLES`."""
        return codes_with(mode, self.says.unlabelled[mode], self.label)

    def counts(self) -> dict[str, int]:
        """How many buildings the product gives each class."""
        counted = np.bincount(self.damage_class[self.damage_class >= 0], minlength=len(CLASSES))
        return {name: int(count) for name, count in zip(CLASSES, counted, strict=True) if count}

    def damaged(self, scheme: ClassScheme | None) -> int:
        """How many buildings the product calls damaged under a scheme; without one none is."""
        if scheme is None:
            return 0
        return sum(count for name, count in self.counts().items() if _is_damaged(name, scheme))

    def passes(self, wanted: Selection) -> NDArray[np.bool_]:
        """Which buildings a filter lets through; the same as `Selection.mask` of the exported table."""
        admitted = np.ones(len(self.label), dtype=bool)
        if wanted.classes is not None:
            chosen = [code for code, name in enumerate(CLASSES) if name in wanted.classes]
            admitted = np.isin(self.damage_class, chosen)
        if (wanted.p_min, wanted.p_max) != (0.0, 1.0):
            p = self.says.p
            admitted = admitted & (p >= wanted.p_min) & (p <= wanted.p_max)
        return np.where(self.assessed, admitted, wanted.not_assessed)

    @property
    def size_bytes(self) -> int:
        """What it holds."""
        arrays = (self.label, self.damage_class, self.assessed)
        return sum(array.nbytes for array in arrays)


def _is_damaged(name: str, scheme: ClassScheme) -> bool:
    index = scheme.index_of(LabelValue(name))
    return name == LabelValue.DAMAGED.value if index is None else index >= scheme.damaged_from


_STANDINGS: ByteCache[Standing] = ByteCache(64 << 20, lambda standing: standing.size_bytes)


def standing_of(view: EventView, model: Model | None) -> Standing:
    """How the buildings stand now.

    Raises:
        WorkspaceError: the model's predictions are of other buildings than those that can be assessed.
    """
    labels, revision = current_labels(view.event)
    shown = ("", "") if model is None else (model.model_id, model.stamp)
    stamp = "-".join([view.stamp, *shown, str(revision)])
    return _STANDINGS.get((view.event, stamp), lambda: _stand(view, model_says(view, model), labels, revision, stamp))


def screen_table(view: EventView, model: Model | None) -> pd.DataFrame:
    """The columns of the export that the screen needs, in the order of the footprints, at once also in a large event.

    `building_id`, `damage_class`, `assessed`, `not_assessed_reason`, `p_damaged`.
    """
    standing = standing_of(view, model)
    reason = np.full(len(standing.label), NOT_PREPARED, dtype=object)
    if view.index is not None:
        reason = view.index["not_assessed_reason"].to_numpy(object).copy()
        reason[view.assessed] = None
    reason = np.where(standing.label >= 0, _REASON_OF_LABEL[standing.label], reason)
    return pd.DataFrame(
        {
            "building_id": pd.Series(view.building_id, dtype=object),
            "damage_class": pd.Series(_CLASS_NAMES[standing.damage_class], dtype=object),
            "assessed": standing.assessed,
            "not_assessed_reason": pd.Series(reason, dtype=object),
            "p_damaged": standing.says.p,
        }
    )


def model_says(view: EventView, model: Model | None) -> ModelSays:
    """What the model alone says; does not depend on labels."""
    return _model_says(view.event, view.stamp, model, "" if model is None else model.stamp)


@shared
@lru_cache(maxsize=6)  # a live model has a new one after each label, which must not drive out the trained run's
def _model_says(event: Event, stamp: str, model: Model | None, predicted: str) -> ModelSays:
    view = view_at(event, stamp)
    p = np.full(len(view.building_id), np.nan, dtype=np.float64)
    model_class = np.full(len(p), -1, dtype=np.int8)
    if model is not None and view.index is not None:
        said, scheme = model.said(), model.scheme
        rows = _rows_of(view, said.building_id)
        decided = decide(said.probabilities, scheme, model.threshold)
        p[rows] = said.p_damaged
        model_class[rows] = np.array([CLASSES.index(name) for name in scheme.class_names], dtype=np.int8)[decided]
    # Before anything is cut the outlines are there to be looked at, for their position: none is dimmed.
    assessed = view.assessed if view.index is not None else np.ones(len(p), dtype=bool)
    facts: dict[str, Any] = {"assessed": assessed, "p": p, "model_class": model_class}
    return ModelSays(p, model_class, {mode: unlabelled_codes(mode, **facts) for mode in MODES})


def _rows_of(view: EventView, predicted: NDArray[np.str_]) -> NDArray[np.intp]:
    """Rows of the predicted buildings, which must be just those that can be assessed."""
    rows = np.flatnonzero(view.assessed)
    if np.array_equal(predicted, view.building_id[rows]):
        return rows
    found = pd.Index(view.building_id.astype(object)).get_indexer(predicted.astype(object))
    if len(found) != len(rows) or not np.array_equal(np.sort(found), rows):
        raise WorkspaceError(
            f"event '{view.event.name}': the predictions are not of the buildings that can be assessed now; the "
            "patches changed since; predict again with `damage-ssl predict`"
        )
    return np.asarray(found, dtype=np.intp)


def _stand(view: EventView, says: ModelSays, labels: pd.DataFrame, revision: int, stamp: str) -> Standing:
    label = np.full(len(says.p), -1, dtype=np.int8)
    positions = view.position_of
    for building, value in zip(labels["building_id"], labels["value"], strict=True):
        if building in positions:
            label[positions[building]] = _LABEL_CODE.get(value, -1)
    labelled = label >= 0
    said = np.where(labelled, _CLASS_OF_LABEL[label], -1).astype(np.int8)
    damage_class = np.where(labelled, said, says.model_class).astype(np.int8)
    return Standing(says, label, damage_class, np.where(labelled, said >= 0, view.assessed), revision, stamp)
