"""How a building stands: what the model says, what an analyst's answer overrides, what the product gives.

What an answer overrides stands once, in `OVERRIDES`: `building_result` applies it to one building, with all that a row
of the exported table says; `assess` to the arrays of a whole event, a few bytes a building, cheap enough to be made
again after each label.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import REASON_OF_ANSWER, SCHEMES, ClassScheme, LabelValue
from damage_ssl.products.map_style import CLASSES, LABELS, Mode, codes_with
from damage_ssl.products.selection import Selection


@dataclass(frozen=True)
class Override:
    """What an answer puts in the model's place: its own class, or the reason for which there is none."""

    damage_class: str | None
    reason: str | None


OVERRIDES: Mapping[LabelValue, Override] = {
    value: Override(None, REASON_OF_ANSWER[value].value) if value in REASON_OF_ANSWER else Override(value.value, None)
    for value in map(LabelValue, LABELS)
}
"""By answer. A grade or verdict becomes the class as it was given, and the building counts as assessed even where it
has no pair; any other answer takes it off the assessment. `un-classified` says nothing and overrides nothing."""


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
    """One building: the model's class, whether it has a pair and else why not, and people's answer over these."""
    override = None if answer is None else OVERRIDES.get(LabelValue(answer))
    if override is None:
        source = "model" if model_class is not None else None
        return BuildingResult(*_class_fields(model_class, scheme), assessed, reason, source, edited=False)
    given = override.damage_class
    changed = given is None or (scheme is not None and class_name_of(LabelValue(given), scheme) != model_class)
    edited = model_class is not None and changed
    return BuildingResult(*_class_fields(given, scheme), given is not None, override.reason, "analyst", edited)


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
    verdicts = {known.is_damaged(value) for known in ([scheme] if scheme is not None else SCHEMES.values())}
    return damage_class, level, verdicts.pop() if len(verdicts) == 1 else None


@dataclass(frozen=True)
class ModelSays:
    """What a model alone says of each building; NaN and -1 where nothing."""

    p: NDArray[np.float64]
    """P(damaged), or a change score."""
    model_class: NDArray[np.int8]
    """Index into `CLASSES`."""
    unlabelled: dict[Mode, NDArray[np.uint8]]
    """Index into `STYLES` as long as nobody has labelled it."""

    def verdicts(self, scheme: ClassScheme) -> NDArray[np.int8]:
        """Per building 1 for damaged, 0 for not, -1 where the model says nothing."""
        of_class = [int(name in scheme.damaged_names) for name in CLASSES]
        return np.array([*of_class, -1], dtype=np.int8)[self.model_class]  # -1 counts from the end


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

    @property
    def not_assessed(self) -> int:
        """How many buildings the product does not count as assessed."""
        return int(np.count_nonzero(~self.assessed))

    def damaged(self, scheme: ClassScheme | None) -> int:
        """How many buildings the product calls damaged under a scheme; without one none is."""
        if scheme is None:
            return 0
        return sum(count for name, count in self.counts().items() if scheme.is_damaged(LabelValue(name)))

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

    def table(self, building_id: NDArray[np.str_], reason: NDArray[np.object_]) -> pd.DataFrame:
        """The columns of the export that a screen needs, at once also in a large event.

        Args:
            building_id: [N].
            reason: [N] why each building has no pair, None where it has one.

        Returns:
            `building_id`, `damage_class`, `assessed`, `not_assessed_reason`, `p_damaged`.
        """
        return pd.DataFrame(
            {
                "building_id": pd.Series(building_id, dtype=object),
                "damage_class": pd.Series(_CLASS_NAMES[self.damage_class], dtype=object),
                "assessed": self.assessed,
                "not_assessed_reason": pd.Series(
                    np.where(self.label >= 0, _REASON_OF_LABEL[self.label], reason), dtype=object
                ),
                "p_damaged": self.says.p,
            }
        )

    @property
    def size_bytes(self) -> int:
        """What it holds."""
        arrays = (self.label, self.damage_class, self.assessed)
        return sum(array.nbytes for array in arrays)


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
    labelled, said = label >= 0, _CLASS_OF_LABEL[label]
    damage_class = np.where(labelled, said, says.model_class).astype(np.int8)
    return Assessment(says, label, damage_class, np.where(labelled, said >= 0, assessed), revision, stamp)


_LABEL_CODE = {name: code for code, name in enumerate(LABELS)}
_CLASS_NAMES = np.array([*CLASSES, None], dtype=object)
_GIVEN = [OVERRIDES[LabelValue(name)] for name in LABELS]
_CLASS_OF_LABEL = np.array(
    [-1 if each.damage_class is None else CLASSES.index(each.damage_class) for each in _GIVEN], dtype=np.int8
)
_REASON_OF_LABEL = np.array([each.reason for each in _GIVEN], dtype=object)
