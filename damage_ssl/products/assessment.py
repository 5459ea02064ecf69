"""How a building stands: what the model says, what an answer overrides, what the product gives; one and as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import REASON_OF_ANSWER, SCHEMES, ClassScheme, LabelValue
from damage_ssl.products.map_style import CLASSES, LABELS, Mode, codes_with
from damage_ssl.products.selection import Selection

_LABEL_CODE = {name: code for code, name in enumerate(LABELS)}
CLASS_NAMES = np.array([*CLASSES, None], dtype=object)
REASON_OF_LABEL = np.array([REASON_OF_ANSWER.get(LabelValue(name)) for name in LABELS], dtype=object)
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
class Assessment:
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


def assess(
    position_of: Mapping[str, int],
    assessed: NDArray[np.bool_],
    says: ModelSays,
    labels: pd.DataFrame,
    *,
    revision: int,
    stamp: str,
) -> Assessment:
    """How all buildings stand: the model's word, with every answer of `labels` (`building_id`, `value`) over it.

    `position_of` gives the row of a building, `assessed` [N] whether it has a pair.
    """
    label = np.full(len(says.p), -1, dtype=np.int8)
    for building, value in zip(labels["building_id"], labels["value"], strict=True):
        if building in position_of:
            label[position_of[building]] = _LABEL_CODE.get(value, -1)
    labelled = label >= 0
    said = np.where(labelled, _CLASS_OF_LABEL[label], -1).astype(np.int8)
    damage_class = np.where(labelled, said, says.model_class).astype(np.int8)
    return Assessment(says, label, damage_class, np.where(labelled, said >= 0, assessed), revision, stamp)


@dataclass(frozen=True)
class BuildingResult:
    """What is handed over of one building; None is null in the file."""

    damage_class: str | None
    damage_level: int | None
    damaged: bool | None
    assessed: bool
    reason: str | None
    source: str | None
    edited: bool


def building_result(
    model_class: str | None,
    assessed: bool,
    reason: str | None,
    answer: str | None,
    scheme: ClassScheme | None,
) -> BuildingResult:
    """One building: an answer of people overrides the model; one that is no grade makes it not assessed."""
    value = None if answer is None else LabelValue(answer)
    if value is None or value is LabelValue.UNCLASSIFIED:
        source = "model" if model_class is not None else None
        return BuildingResult(*_class_fields(model_class, scheme), assessed, reason, source, edited=False)
    if value in REASON_OF_ANSWER:
        edited = model_class is not None
        return BuildingResult(None, None, None, False, REASON_OF_ANSWER[value], "analyst", edited)
    edited = model_class is not None and scheme is not None and class_name_of(value, scheme) != model_class
    return BuildingResult(*_class_fields(value.value, scheme), True, None, "analyst", edited)


def class_name_of(value: LabelValue, scheme: ClassScheme) -> str:
    """The class of a grade or verdict under a scheme; its own name where the scheme has none for it."""
    index = scheme.index_of(value)
    return value.value if index is None else scheme.class_names[index]


def _class_fields(damage_class: str | None, scheme: ClassScheme | None) -> tuple[str | None, int | None, bool | None]:
    """`damage_class`, `damage_level`, `damaged`."""
    if damage_class is None:
        return None, None, None
    value = LabelValue(damage_class)
    level = None if value.grade is None else int(value.grade)
    verdicts = {_is_damaged_value(value, known) for known in ([scheme] if scheme is not None else SCHEMES.values())}
    return damage_class, level, verdicts.pop() if len(verdicts) == 1 else None


def _is_damaged_value(value: LabelValue, scheme: ClassScheme) -> bool:
    index = scheme.index_of(value)
    return value is LabelValue.DAMAGED if index is None else index >= scheme.damaged_from
