"""Small SVG plots for the report: one panel a method, the other methods in grey behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, INK, FAINT = "#0072b2", "#d55e00", "#b9bfc7", "#3a414b", "#e6e9ed"
"""Blue and orange of Okabe and Ito 2008, told apart under the three kinds of colour blindness."""

_COLUMNS, _PANEL_IN = 5, (2.3, 1.75)


@dataclass(frozen=True)
class Dot:
    """One point of a curve: mean and standard deviation (None: one score) at `x`."""

    x: float
    y: float
    sd: float | None


def curves(of: Mapping[str, Sequence[Dot]], *, x_label: str, x_names: Mapping[float, str]) -> "Figure | None":
    """A panel a method with its curve in blue (bars: ± one standard deviation), all others in grey. AUROC upwards.

    `x_names` are the values on the axis, equally spaced in their order, and what they are called. None without a point.
    """
    from matplotlib.figure import Figure

    if not any(of.values()):
        return None
    rows = -(-len(of) // _COLUMNS)
    columns = min(len(of), _COLUMNS)
    size = (columns * _PANEL_IN[0], rows * _PANEL_IN[1])
    figure = Figure(size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    place = {value: number for number, value in enumerate(x_names)}
    for axes, (method, dots) in zip(panels, of.items(), strict=False):
        _tidy(axes)
        axes.set_title(method, fontsize=9, fontweight="bold", color=INK, loc="left")
        axes.set_xlabel(x_label, fontsize=7.5, color=INK)
        axes.set_xticks(range(len(place)), list(x_names.values()))
        axes.set_xlim(-0.3, len(place) - 0.7)
        for other, behind in of.items():
            if other != method:
                axes.plot([place[dot.x] for dot in behind], [dot.y for dot in behind], color=GREY, linewidth=0.8)
        at, mean = [place[dot.x] for dot in dots], [dot.y for dot in dots]
        axes.errorbar(at, mean, [dot.sd or 0.0 for dot in dots], color=BLUE, marker="o", markersize=3.5, linewidth=1.6)
    for axes in panels[len(of) :]:
        axes.set_visible(False)
    return figure


def noise(sizes: Sequence[int], sd: Sequence[float], gap: float | None) -> "Figure":
    """The deviation of a score over validation sets of each size, against the gap between the two best methods."""
    from matplotlib.figure import Figure

    figure = Figure((5.2, 2.4), layout="constrained")
    axes = figure.subplots()
    _tidy(axes)
    axes.set_xlabel("buildings in the validation set", fontsize=7.5, color=INK)
    axes.plot(range(len(sizes)), sd, color=BLUE, marker="o", markersize=4, linewidth=1.6, label="sd of one score")
    if gap is not None:
        axes.axhline(gap, color=ORANGE, linewidth=1.4, linestyle="--", label="gap of the best two")
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.set_ylim(0, max([*sd, gap or 0.0, 1e-6]) * 1.1)
    figure.legend(loc="outside right upper", frameon=False, fontsize=7.5)
    return figure


def as_svg(figure: "Figure", label: str) -> str:
    """The figure as an element of an HTML page, its text as text; the same figure is the same element every time."""
    from matplotlib import rc_context

    drawn = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        figure.savefig(drawn, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = drawn.getvalue()
    addresses = ' xmlns:xlink="http://www.w3.org/1999/xlink"', ' xmlns="http://www.w3.org/2000/svg"'
    for address in addresses:  # an HTML page needs none
        text = text.replace(address, "")
    text = text.replace("xlink:href", "href")
    return f'<svg role="img" aria-label="{escape(label)}"' + text[text.index("<svg") + len("<svg") :]


def _tidy(axes: "Axes") -> None:
    axes.spines[:].set_visible(False)
    axes.grid(axis="y", color=FAINT)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=7.5, labelcolor=INK)
    axes.ticklabel_format(axis="y", useOffset=False)
