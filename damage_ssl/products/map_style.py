"""The colours of the damage map, defined once: exporters, styles, reports and the app take them from here.

The colours are told apart under the three kinds of colour blindness and get darker with severity, so that the order
also survives a black-and-white print (tests/products/test_palette.py measures both).
"""

from collections.abc import Mapping
from dataclasses import dataclass


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


def colour_of(damage_class: str | None, *, assessed: bool = True) -> str:
    """The colour of a building, `#rrggbb`."""
    return LEGEND[legend_key(damage_class, assessed=assessed)].colour
