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
    "no-damage": LegendEntry("No damage", "#7fcdee"),
    "intact": LegendEntry("Intact", "#7fcdee"),
    "minor-damage": LegendEntry("Minor damage", "#f0e442"),
    "major-damage": LegendEntry("Major damage", "#e08a00"),
    "damaged": LegendEntry("Damaged", "#d1495b"),
    "destroyed": LegendEntry("Destroyed", "#8b0a1a"),
    NOT_ASSESSED: LegendEntry("Not assessed", "#8a8a8a"),
    NO_RESULT: LegendEntry("No result yet", "#ffffff"),
}
"""By `damage_class`, in the order of the legend; then buildings without a class."""


def legend_key(damage_class: str | None, *, assessed: bool) -> str:
    """The legend entry of a building: its class, else why it has none."""
    if damage_class is not None and damage_class in LEGEND:
        return damage_class
    return NO_RESULT if assessed else NOT_ASSESSED


def colour_of(damage_class: str | None, *, assessed: bool = True) -> str:
    """The colour of a building, `#rrggbb`."""
    return LEGEND[legend_key(damage_class, assessed=assessed)].colour
