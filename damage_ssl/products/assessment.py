"""How a building stands: what the model says, what an analyst's answer overrides, what the product gives.

What an answer overrides stands once, in `building_result`, with all that a row of the exported table says; `assess`
applies it to the arrays of a whole event, a few bytes a building, cheap enough to be made again after each label.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import REASON_OF_ANSWER, ClassScheme, LabelValue
from damage_ssl.products.map_style import CLASSES, LABELS, Mode, codes_with
from damage_ssl.products.selection import Selection

VERDICTS = frozenset(LABELS) - {answer.value for answer in REASON_OF_ANSWER}
"""The answers that say how damaged a building is: the grades, intact and damaged. They override the model, and make the
building assessed even where it has no pair; every other answer of `LABELS` takes it off the assessment.
`un-classified` says nothing and overrides nothing."""


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
    answer: str | None


def building_result(
    model_class: str | None, assessed: bool, reason: str | None, answer: str | None, scheme: ClassScheme
) -> BuildingResult:
    """One building: the model's class, whether it has a pair and else why not, and people's answer over these.

    The class is always one of `scheme`, whose model this is. A verdict (intact, damaged) under four grades says whether
    the building is damaged and not how much: it has no class then.
    """
    if answer not in LABELS:  # none, or un-classified
        damaged = None if model_class is None else scheme.is_damaged(LabelValue(model_class))
        source = "model" if model_class is not None else None
        return BuildingResult(
            model_class, _level(model_class), damaged, assessed, reason, source, edited=False, answer=None
        )
    value = LabelValue(answer)
    given = scheme.class_of(value)
    return BuildingResult(
        given,
        _level(given),
        scheme.is_damaged(value),
        answer in VERDICTS,
        None if answer in VERDICTS else REASON_OF_ANSWER[value].value,
        "analyst",
        edited=model_class is not None and given != model_class,
        answer=answer,
    )


def _level(damage_class: str | None) -> int | None:
    grade = None if damage_class is None else LabelValue(damage_class).grade
    return None if grade is None else int(grade)


@dataclass(frozen=True)
class ModelSays:
    """What a model alone says of each building; NaN and -1 where nothing."""

    p: NDArray[np.float64]
    """P(damaged), or a change score."""
    model_class: NDArray[np.int8]
    """Index into `CLASSES`."""
    unlabelled: dict[Mode, NDArray[np.uint8]]
    """Index into `STYLES` as long as nobody has labelled it."""
    p_image: NDArray[np.float64] | None = None
    """P(damaged) by the images alone; None without a spatial stack."""

    def verdicts(self, scheme: ClassScheme) -> NDArray[np.int8]:
        """Per building 1 for damaged, 0 for not, -1 where the model says nothing."""
        of_class = [int(name in scheme.damaged_names) for name in CLASSES]
        return np.array([*of_class, -1], dtype=np.int8)[self.model_class]  # -1 counts from the end


@dataclass(frozen=True)
class Assessment:
    """All buildings under one model and the labels of one revision."""

    says: ModelSays
    scheme: ClassScheme
    """Whose classes the product gives: the model's, before any model the event's."""
    label: NDArray[np.int8]
    """The current label: index into `LABELS`, -1 for none."""
    damage_class: NDArray[np.int8]
    """The class that the product gives: that of the label where there is one. Index into `CLASSES`, -1 for none."""
    verdict: NDArray[np.int8]
    """1 where the product calls it damaged, 0 where not, -1 where it says neither."""
    assessed: NDArray[np.bool_]
    """Whether the product counts it as assessed."""
    revision: int
    stamp: str
    """Changes with anything of this."""

    def codes(self, mode: Mode) -> NDArray[np.uint8]:
        """How each building is drawn: index into `STYLES`."""
        return codes_with(mode, self.says.unlabelled[mode], self.label, self.scheme)

    def counts(self) -> dict[str, int]:
        """How many buildings the product gives each class."""
        counted = np.bincount(self.damage_class[self.damage_class >= 0], minlength=len(CLASSES))
        return {name: int(count) for name, count in zip(CLASSES, counted, strict=True) if count}

    @property
    def not_assessed(self) -> int:
        """How many buildings the product does not count as assessed."""
        return int(np.count_nonzero(~self.assessed))

    @property
    def damaged(self) -> int:
        """How many buildings the product calls damaged."""
        return int(np.count_nonzero(self.verdict == 1))

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
            `building_id`, `damage_class`, `damaged`, `assessed`, `not_assessed_reason`, `p_damaged`, `model_damaged`,
            `analyst_class`.
        """
        return pd.DataFrame(
            {
                "building_id": pd.Series(building_id, dtype=object),
                "damage_class": pd.Series(_CLASS_NAMES[self.damage_class], dtype=object),
                "damaged": _booleans(self.verdict),
                "assessed": self.assessed,
                "not_assessed_reason": pd.Series(
                    np.where(self.label >= 0, _REASON_OF_LABEL[self.label], reason), dtype=object
                ),
                "p_damaged": self.says.p,
                "model_damaged": _booleans(self.says.verdicts(self.scheme)),
                "analyst_class": pd.Series(_LABEL_NAMES[self.label], dtype=object),
            }
        )

    @property
    def size_bytes(self) -> int:
        """What it holds."""
        arrays = (self.label, self.damage_class, self.verdict, self.assessed)
        return sum(array.nbytes for array in arrays)


def assess(
    position_of: Mapping[str, int],
    assessed: NDArray[np.bool_],
    says: ModelSays,
    labels: pd.DataFrame,
    *,
    scheme: ClassScheme,
    revision: int,
    stamp: str,
) -> Assessment:
    """How all buildings stand: the model's word, with every answer of `labels` (`building_id`, `value`) over it.

    `position_of` gives the row of a building, `assessed` [N] whether it has a pair; `scheme` is the model's.
    """
    label = np.full(len(says.p), -1, dtype=np.int8)
    for building, value in zip(labels["building_id"], labels["value"], strict=True):
        if building in position_of:
            label[position_of[building]] = _LABEL_CODE.get(value, -1)
    labelled = label >= 0
    given = [building_result(None, False, None, name, scheme) for name in LABELS]
    class_code = np.array([_CLASS_CODE[each.damage_class] for each in given], dtype=np.int8)
    verdict = np.array([-1 if each.damaged is None else each.damaged for each in given], dtype=np.int8)
    counts = np.array([each.assessed for each in given])
    return Assessment(
        says=says,
        scheme=scheme,
        label=label,
        damage_class=np.where(labelled, class_code[label], says.model_class).astype(np.int8),
        verdict=np.where(labelled, verdict[label], says.verdicts(scheme)).astype(np.int8),
        assessed=np.where(labelled, counts[label], assessed),
        revision=revision,
        stamp=stamp,
    )


def _booleans(verdict: NDArray[np.int8]) -> "pd.api.extensions.ExtensionArray":
    """1, 0 and -1 as true, false and null."""
    return pd.arrays.BooleanArray(verdict == 1, verdict < 0)


_LABEL_CODE = {name: code for code, name in enumerate(LABELS)}
_CLASS_CODE: dict[str | None, int] = {None: -1, **{name: code for code, name in enumerate(CLASSES)}}
_CLASS_NAMES = np.array([*CLASSES, None], dtype=object)
_LABEL_NAMES = np.array([*LABELS, None], dtype=object)
_REASON_OF_LABEL = np.array(
    [None if name in VERDICTS else REASON_OF_ANSWER[LabelValue(name)].value for name in LABELS], dtype=object
)
