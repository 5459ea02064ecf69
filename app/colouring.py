"""How a building is drawn on the map: the one rule for the tiles drawn here and for the outlines that browsers draw.

A building has a style in each of three modes: what the model says of it (`result`, `probability`) or what people said
(`labels`). A label overrides the model's colour and adds a dark rim; in the mode `probability` only answers that are
no grade do, so that the probabilities of labelled buildings can be seen.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from app.legend import RAMP, colour_of
from damage_ssl.grades import LabelValue

Mode = Literal["result", "probability", "labels"]
MODES: tuple[Mode, ...] = get_args(Mode)

CLASSES = ("no-damage", "intact", "minor-damage", "major-damage", "damaged", "destroyed")
"""The classes of models, mildest first; an int8 code counts in this order, -1 is none."""

LABELS = tuple(value.value for value in LabelValue if value is not LabelValue.UNCLASSIFIED)
"""The answers of people; an int8 code counts in this order, -1 is none."""

_GRADES = frozenset(CLASSES)
_SEVERITY = {"no-damage": 0, "intact": 0, "minor-damage": 1, "major-damage": 2, "damaged": 3, "destroyed": 4}
_DARK = "#10151b"


@dataclass(frozen=True)
class Style:
    """Outline and fill of a building; widths in CSS pixels. Those of higher `rank` lie on top."""

    line: str
    line_opacity: float
    width: float
    fill: str
    fill_opacity: float
    dashed: bool
    rank: int


def _plain() -> list[Style]:
    ramp = [_filled(colour, 2 + 2 * place) for place, colour in enumerate(RAMP)]
    classes = [_filled(colour_of(name), 2 + 2 * _SEVERITY[name]) for name in CLASSES]
    labels = [_filled(colour_of(name), 2 + 2 * _SEVERITY.get(name, 0)) for name in LABELS]
    return [
        Style("#c9d0d8", 0.65, 0.9, "#8d96a0", 0.15, True, 0),
        Style("#ffffff", 0.95, 1.4, "#ffffff", 0.08, False, 1),
        *ramp,
        *classes,
        *labels,
    ]


def _filled(colour: str, rank: int) -> Style:
    return Style(colour, 1.0, 1.6, colour, 0.42, False, rank)


def _rimmed(style: Style) -> Style:
    return Style(_DARK, 1.0, 2.2, style.fill, 0.68, False, style.rank + 1)


NOT_ASSESSED, NO_RESULT, _RAMP_AT = 0, 1, 2
_CLASS_AT = _RAMP_AT + len(RAMP)
_LABEL_AT = _CLASS_AT + len(CLASSES)
_RIM_AT = _LABEL_AT + len(LABELS)
_PLAIN = _plain()
STYLES: tuple[Style, ...] = (*_PLAIN, *_PLAIN[:2], *(_rimmed(style) for style in _PLAIN[2:]))
"""Every style there is: those without a label, then in the same order those of labelled buildings."""


def unlabelled_codes(
    mode: Mode, *, assessed: NDArray[np.bool_], p: NDArray[np.float64], model_class: NDArray[np.int8]
) -> NDArray[np.uint8]:
    """Per building the index into `STYLES` that it has without a label.

    Args:
        mode: what the colours show.
        assessed: whether there is a pair to judge it by.
        p: P(damaged) or change score in 0..1, NaN where none.
        model_class: index into `CLASSES`, -1 for none.
    """
    codes = np.full(len(assessed), NO_RESULT, dtype=np.uint8)
    if mode == "probability":
        known = np.isfinite(p)
        fifth = np.clip(np.floor(np.where(known, p, 0) * len(RAMP)), 0, len(RAMP) - 1)
        codes = np.where(known, _RAMP_AT + fifth, NO_RESULT).astype(np.uint8)
    elif mode == "result":
        codes = np.where(model_class >= 0, _CLASS_AT + model_class.astype(np.int16), NO_RESULT).astype(np.uint8)
    codes[~assessed] = NOT_ASSESSED
    return codes


def codes_with(mode: Mode, unlabelled: NDArray[np.uint8], label: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Per building the index into `STYLES` once labels (index into `LABELS`, -1 for none) are drawn over."""
    covers = np.array([_covers(mode, name) for name in LABELS] + [False])[label]
    codes = np.where(covers, _LABEL_AT + label.astype(np.int16), unlabelled)
    return np.where((label >= 0) & (codes > NO_RESULT), codes + _RIM_AT, codes).astype(np.uint8)


def _covers(mode: Mode, label: str) -> bool:
    return mode != "probability" or label not in _GRADES


def legend_for_browser() -> dict[str, Any]:
    """The rule as data: `styles`; each label's place among them, and in which modes it covers the model's colour."""
    return {
        "styles": [asdict(style) for style in STYLES],
        "labels": [
            {"name": name, "code": _LABEL_AT + place, "covers": [mode for mode in MODES if _covers(mode, name)]}
            for place, name in enumerate(LABELS)
        ],
        "first_filled": _RAMP_AT,
        "rim": _RIM_AT,
    }
