"""Names, colours, outlines of every state of a building, defined once: exporters, styles, reports, app take them here.

The colours are told apart under the three kinds of colour blindness and get darker with severity, so that the order
also survives a black-and-white print (tests/products/test_map_style.py measures both).

On the map a building has a style in each of three modes: what the model says of it (`result`, `probability`) or what
people said (`labels`). A label overrides the model's colour and adds a dark rim: in the mode `result` with that of its
class, in the mode `labels` as it was given; in the mode `probability` only answers that are no grade do, so that the
probabilities of labelled buildings can be seen. `legend_for_browser` hands that rule to browsers as data.

`qgis_style` makes the styles of QGIS of it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme, LabelValue

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LegendEntry:
    """One entry of the legend: the text that a person reads and an sRGB colour, `#rrggbb`."""

    title: str
    colour: str


NOT_ASSESSED = "not-assessed"
NO_RESULT = "no-result"

LEGEND: Mapping[str, LegendEntry] = {
    "no-damage": LegendEntry("No damage", "#c6e8f7"),
    "intact": LegendEntry("Intact", "#c6e8f7"),
    "minor-damage": LegendEntry("Minor damage", "#f5dc4a"),
    "major-damage": LegendEntry("Major damage", "#e87d12"),
    "damaged": LegendEntry("Damaged", "#c4304f"),
    "destroyed": LegendEntry("Destroyed", "#5f0a33"),
    NOT_ASSESSED: LegendEntry("Not assessed", "#7f8a8f"),
    NO_RESULT: LegendEntry("No result yet", "#ffffff"),
}
"""By `damage_class`, in the order of the legend; then buildings without a class."""


def legend_key(damage_class: str | None, *, assessed: bool) -> str:
    """The key in `LEGEND` of a building: its class, else why it has none."""
    if damage_class is not None and damage_class in LEGEND:
        return damage_class
    return NO_RESULT if assessed else NOT_ASSESSED


def legend_keys(table: "pd.DataFrame") -> list[str]:
    """The key of each row of a product; an answer that has no class in its scheme is drawn as it was given."""
    nothing = [None] * len(table)
    columns = (table.get(name, nothing) for name in ("damage_class", "analyst_class", "assessed"))
    return [
        legend_key(given if isinstance(given, str) else said if said in LEGEND else None, assessed=bool(seen))
        for given, said, seen in zip(*columns, strict=True)
    ]


def class_colour(damage_class: str | None, *, assessed: bool = True) -> str:
    """The colour of a building, `#rrggbb`."""
    return LEGEND[legend_key(damage_class, assessed=assessed)].colour


ANSWERS: Mapping[LabelValue, tuple[str, str, str]] = {
    LabelValue.UNCLEAR: ("Unclear", "#b6a3d9", "You see the building but cannot tell its grade"),
    LabelValue.BAD_IMAGERY: ("Bad imagery", "#8f84ab", "Cloud, smoke, blur or missing pixels hide it"),
    LabelValue.OFFSET: ("Offset", "#6f5fa8", "The outline does not lie on the building"),
    LabelValue.NOT_A_BUILDING: ("Not a building", "#54478a", "The outline holds no building in the pre image"),
}


RAMP = ("#7fcdee", "#cfe3ea", "#f3d9a4", "#e08a00", "#8b0a1a")
"""P(damaged) in fifths."""


def name_of(value: str) -> str:
    """A class or label for people."""
    if value in LEGEND:
        return LEGEND[value].title
    return ANSWERS[LabelValue(value)][0]


def colour_of(value: str) -> str:
    """Its colour on the map."""
    if value in LEGEND:
        return LEGEND[value].colour
    return ANSWERS[LabelValue(value)][1]


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
class MapStyle:
    """Outline and fill of a building; widths in CSS pixels. Those of higher `rank` lie on top."""

    line: str
    line_opacity: float
    width: float
    fill: str
    fill_opacity: float
    dashed: bool
    rank: int


def _plain() -> list[MapStyle]:
    ramp = [_filled(colour, 2 + 2 * place) for place, colour in enumerate(RAMP)]
    classes = [_filled(colour_of(name), 2 + 2 * _SEVERITY[name]) for name in CLASSES]
    labels = [_filled(colour_of(name), 2 + 2 * _SEVERITY.get(name, 0)) for name in LABELS]
    return [
        MapStyle("#c9d0d8", 0.65, 0.9, "#8d96a0", 0.15, True, 0),
        MapStyle("#ffffff", 0.95, 1.4, "#ffffff", 0.08, False, 1),
        *ramp,
        *classes,
        *labels,
    ]


def _filled(colour: str, rank: int) -> MapStyle:
    return MapStyle(colour, 1.0, 1.6, colour, 0.42, False, rank)


def _rimmed(style: MapStyle) -> MapStyle:
    return MapStyle(_DARK, 1.0, 2.2, style.fill, 0.68, False, style.rank + 1)


NOT_ASSESSED_CODE, NO_RESULT_CODE, _RAMP_AT = 0, 1, 2
_CLASS_AT = _RAMP_AT + len(RAMP)
_LABEL_AT = _CLASS_AT + len(CLASSES)
_RIM_AT = _LABEL_AT + len(LABELS)
_PLAIN = _plain()
STYLES: tuple[MapStyle, ...] = (*_PLAIN, *_PLAIN[:2], *(_rimmed(style) for style in _PLAIN[2:]))
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
    codes = np.full(len(assessed), NO_RESULT_CODE, dtype=np.uint8)
    if mode == "probability":
        known = np.isfinite(p)
        fifth = np.clip(np.floor(np.where(known, p, 0) * len(RAMP)), 0, len(RAMP) - 1)
        codes = np.where(known, _RAMP_AT + fifth, NO_RESULT_CODE).astype(np.uint8)
    elif mode == "result":
        codes = np.where(model_class >= 0, _CLASS_AT + model_class.astype(np.int16), NO_RESULT_CODE).astype(np.uint8)
    codes[~assessed] = NOT_ASSESSED_CODE
    return codes


def codes_with(
    mode: Mode, unlabelled: NDArray[np.uint8], label: NDArray[np.int8], scheme: ClassScheme
) -> NDArray[np.uint8]:
    """Per building the index into `STYLES` once labels (index into `LABELS`, -1 for none) are drawn over.

    In the mode `result` a label has the colour of its class of the scheme, like every other building.
    """
    covers = np.array([_covers(mode, name) for name in LABELS] + [False])[label]
    of_class = [LABELS.index(scheme.class_of(LabelValue(name)) or name) for name in LABELS]
    drawn = np.array([*(of_class if mode == "result" else range(len(LABELS))), -1], dtype=np.int16)[label]
    codes = np.where(covers, _LABEL_AT + drawn, unlabelled)
    return np.where((label >= 0) & (codes > NO_RESULT_CODE), codes + _RIM_AT, codes).astype(np.uint8)


def _covers(mode: Mode, label: str) -> bool:
    return mode != "probability" or label not in _GRADES


def legend_for_browser(scheme: ClassScheme) -> dict[str, Any]:
    """What a browser draws by, without a rule of its own: every code is an index into `styles`.

    `labels` are the names of the answers, `labelled[mode][label][code]` the code that a building has with that label
    in place of the one it has without; `nothing_said` is the code of a building of which nothing may be said yet.
    """
    plain = np.arange(_RIM_AT, dtype=np.uint8)
    return {
        "styles": [asdict(style) for style in STYLES],
        "labels": list(LABELS),
        "labelled": {
            mode: [
                codes_with(mode, plain, np.full(len(plain), label, np.int8), scheme).tolist()
                for label in range(len(LABELS))
            ]
            for mode in MODES
        },
        "nothing_said": NO_RESULT_CODE,
    }
