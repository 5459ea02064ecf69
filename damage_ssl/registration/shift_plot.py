"""A picture of an event's registration: arrows that say how far, which way, and how well that is known."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "own": "#0072b2",
    "neighbours": "#e69f00",
    "scene": "#56b4e9",
    "nudge": "#cc79a7",
    "none": "#999999",
    "misaligned": "#d55e00",
}
"""Okabe and Ito 2008, told apart under the three kinds of colour blindness; by the source of the shift."""
MEANINGS = {
    "own": "measured at the building",
    "neighbours": "borrowed from neighbours",
    "scene": "the whole scene's",
    "nudge": "set by hand",
    "none": "nothing to measure: not moved",
    "misaligned": "misaligned: not assessed",
}
DPI = 100
_PANEL_IN, _HEAD_IN = 7.8, 1.75
_CELLS = 20
"""Squares across a panel, the outermost of them empty."""

_SHORTEST = 0.07
"""Of a square: a shorter arrow would be its head only."""

_INK, _FAINT, _GROUND = "#222222", "#c9ced1", "#eef0f1"


@dataclass(frozen=True)
class Panel:
    """One field of shifts of N buildings: `shift_m` [N, 2] metres east and north, `source` [N], a key of `COLOURS`."""

    title: str
    shift_m: NDArray[np.float64]
    source: NDArray[np.object_]


@dataclass(frozen=True)
class Arrow:
    """The shift of one square of a panel: where its buildings lie in the mean, metres, and their most frequent source.

    `shift_m` [2] is the median of the buildings that have that source.
    """

    x_m: float
    y_m: float
    shift_m: NDArray[np.float64]
    source: str


def draw_fields(x_m: NDArray[np.float64], y_m: NDArray[np.float64], panels: list[Panel]) -> "Figure":
    """Draw fields side by side, all arrows to one scale, north up; save at `DPI` dots an inch.

    Args:
        x_m: [N], building centres in one projected CRS.
        y_m: [N].
        panels: the fields.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    middle, high, cell_m = _frame(x_m, y_m)
    fields = [arrows(x_m, y_m, panel, cell_m) for panel in panels]
    lengths = np.array([np.hypot(*arrow.shift_m) for field in fields for arrow in field] or [0.0])
    longest_m = max(float(np.quantile(lengths, 0.95)), 0.25)
    ground_a_m = 0.95 * cell_m / longest_m  # metres on the ground that an arrow of a metre is drawn with
    height_in = _PANEL_IN * (high / cell_m + 2) / _CELLS
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.08)
    figure = Figure((len(panels) * (_PANEL_IN + 0.3), height_in + _HEAD_IN), dpi=DPI, layout=layout)
    for axes, panel, field in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, fields, strict=True):
        axes.set_title(panel.title, loc="left", fontsize=17, color=_INK, pad=26)
        axes.text(0, 1.015, _sentence(panel), transform=axes.transAxes, fontsize=12, color=_INK)
        axes.set(facecolor=_GROUND, aspect="equal", xticks=[], yticks=[])
        axes.set_xlim(middle[0] - _CELLS / 2 * cell_m, middle[0] + _CELLS / 2 * cell_m)
        axes.set_ylim(middle[1] - high / 2 - cell_m, middle[1] + high / 2 + cell_m)
        axes.spines[:].set_visible(False)
        axes.scatter(x_m, y_m, s=2, marker="s", color=_FAINT, linewidths=0)
        _draw_arrows(axes, field, ground_a_m, cell_m)
    _draw_scales(figure.axes[0], longest_m, ground_a_m, cell_m)
    _draw_legend(figure, panels)
    return figure


def arrows(x_m: NDArray[np.float64], y_m: NDArray[np.float64], panel: Panel, cell_m: float) -> list[Arrow]:
    """One arrow for each square of `cell_m` that holds buildings."""
    squares: dict[tuple[int, int], list[int]] = {}
    for number, key in enumerate(zip((x_m // cell_m).tolist(), (y_m // cell_m).tolist(), strict=True)):
        squares.setdefault((int(key[0]), int(key[1])), []).append(number)
    found = []
    for rows in squares.values():
        names, counts = np.unique(panel.source[rows].astype(str), return_counts=True)
        source = str(names[counts.argmax()])
        here = [number for number in rows if panel.source[number] == source]
        shift = np.median(panel.shift_m[here], axis=0)
        found.append(Arrow(float(x_m[here].mean()), float(y_m[here].mean()), shift, source))
    return found


def compass(east_m: float, north_m: float) -> str:
    """A shift in words: `1.2 m east, 0.3 m south`."""
    parts = [
        f"{abs(value):.1f} m {names[0] if value > 0 else names[1]}"
        for value, names in ((east_m, ("east", "west")), (north_m, ("north", "south")))
        if abs(value) >= 0.05
    ]
    return ", ".join(parts) or "0.0 m"


def _frame(x_m: NDArray[np.float64], y_m: NDArray[np.float64]) -> tuple[tuple[float, float], float, float]:
    """The middle of a panel, the height of what lies in it, and the side of its squares, in metres."""
    if not len(x_m):
        return (0.0, 0.0), 160.0, 20.0
    wide, high = max(float(np.ptp(x_m)), 20.0), max(float(np.ptp(y_m)), 20.0)
    middle = float(x_m.min() + x_m.max()) / 2, float(y_m.min() + y_m.max()) / 2
    return middle, high, max(wide, high) / (_CELLS - 2)


def _draw_arrows(axes: "Axes", field: list[Arrow], ground_a_m: float, cell_m: float) -> None:
    for source, colour in COLOURS.items():
        here = [arrow for arrow in field if arrow.source == source]
        length = [float(np.hypot(*arrow.shift_m)) * ground_a_m for arrow in here]
        long = [arrow for arrow, each in zip(here, length, strict=True) if each >= _SHORTEST * cell_m]
        if source == "misaligned":
            axes.scatter([a.x_m for a in here], [a.y_m for a in here], s=70, marker="x", color=colour, linewidths=2)
            continue
        dots = here if source == "none" else [arrow for arrow in here if arrow not in long]
        axes.scatter([a.x_m for a in dots], [a.y_m for a in dots], s=18, facecolors="none", edgecolors=colour)
        if long and source != "none":
            places = [[arrow.x_m for arrow in long], [arrow.y_m for arrow in long]]
            shifts = np.stack([arrow.shift_m for arrow in long], axis=1) * ground_a_m
            axes.quiver(*places, *shifts, color=colour, angles="xy", scale_units="xy", scale=1, pivot="mid", width=3e-3)


def _draw_scales(axes: "Axes", longest_m: float, ground_a_m: float, cell_m: float) -> None:
    """Bars below a panel: how long an arrow of so many metres is, and so many metres on the ground."""
    from matplotlib.font_manager import FontProperties
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    arrow_m, ground_m = _round_below(longest_m), _round_below(4 * cell_m)
    bars = [
        (0.0, arrow_m * ground_a_m, f"arrow of {arrow_m:g} m"),
        (0.25, ground_m, f"{ground_m:,.0f} m on the ground, north is up"),
    ]
    for left, size, said in bars:
        axes.add_artist(
            AnchoredSizeBar(
                axes.transData,
                size,
                said,
                "upper left",
                color=_INK,
                frameon=False,
                sep=6,
                size_vertical=0.06 * cell_m,
                fontproperties=FontProperties(size=12),
                bbox_to_anchor=(left, 0.0),
                bbox_transform=axes.transAxes,
            )
        )


def _draw_legend(figure: "Figure", panels: list[Panel]) -> None:
    from matplotlib.lines import Line2D

    used = {name for panel in panels for name in np.unique(panel.source.astype(str)).tolist()}
    marks = {"none": "o", "misaligned": "x"}
    handles = [
        Line2D(
            [], [], color=COLOURS[name], linewidth=0 if name in marks else 3, marker=marks.get(name), fillstyle="none"
        )
        for name in COLOURS
        if name in used
    ]
    names = [MEANINGS[name] for name in COLOURS if name in used]
    figure.legend(
        handles, names, loc="outside lower left", ncols=len(names) or 1, frameon=False, fontsize=12, columnspacing=1.4
    )


def _round_below(most: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above `most`."""
    power = 10.0 ** np.floor(np.log10(most))
    return float(max(step * power for step in (1, 2, 5) if step * power <= most * (1 + 1e-9)))


def _sentence(panel: Panel) -> str:
    """The field in a few words."""
    known = ~np.isin(panel.source.astype(str), ["none", "misaligned"])
    if not known.any():
        return "no shift is known"
    east, north = np.median(panel.shift_m[known], axis=0)
    length = np.median(np.hypot(*panel.shift_m[known].T))
    return f"median {length:.1f} m ({compass(float(east), float(north))}), {int(known.sum()):,} buildings"
