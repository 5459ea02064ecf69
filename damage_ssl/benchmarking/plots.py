"""Small SVG plots, drawn as text: one panel a method, the other methods in grey behind it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

PANEL_W, PANEL_H = 214, 158
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 10, 24, 32
BLUE, GREY, INK = "#1f5fa8", "#c9ced6", "#3a414b"


@dataclass(frozen=True)
class Dot:
    """One point of a curve: mean and standard deviation (None: one score) at `x`."""

    x: float
    y: float
    sd: float | None


def curves(of: Mapping[str, Sequence[Dot]], *, x_label: str, x_names: Mapping[float, str], title: str) -> str:
    """A panel a method with its curve in blue (bars: ± one standard deviation), all others in grey. AUROC upwards.

    `x_names` are the values on the axis, equally spaced in their order, and what they are called.
    """
    every = [dot for dots in of.values() for dot in dots]
    if not every:
        return ""
    low = min(dot.y - (dot.sd or 0.0) for dot in every)
    high = max(dot.y + (dot.sd or 0.0) for dot in every)
    ticks = _ticks(low, min(high, 1.0) if high >= low else low)
    bottom, top = min(ticks[0], low), max(ticks[-1], high)
    place = {value: number for number, value in enumerate(x_names)}
    steps = max(len(place) - 1, 1)

    def xy(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + 8 + (PANEL_W - _LEFT - _RIGHT - 16) * place[x] / steps
        return across, PANEL_H - _BOTTOM - (PANEL_H - _TOP - _BOTTOM) * (y - bottom) / max(top - bottom, 1e-9)

    panels = []
    for method, dots in of.items():
        parts = [f'<text x="{_LEFT}" y="14" class="name">{escape(method)}</text>']
        for tick in ticks:
            y = xy(next(iter(place)), tick)[1]
            parts.append(f'<line x1="{_LEFT}" x2="{PANEL_W - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
            parts.append(f'<text x="{_LEFT - 4}" y="{y + 3.5:.1f}" class="tick end">{_number(tick, ticks)}</text>')
        for value, name in x_names.items():
            x = xy(value, bottom)[0]
            parts.append(f'<text x="{x:.1f}" y="{PANEL_H - 19}" class="tick middle">{escape(name)}</text>')
        middle = (_LEFT + PANEL_W - _RIGHT) / 2
        parts.append(f'<text x="{middle}" y="{PANEL_H - 5}" class="tick middle">{escape(x_label)}</text>')
        for other, behind in of.items():
            if other != method:
                parts.append(_line([xy(dot.x, dot.y) for dot in behind], GREY, 1.0))
        parts.append(_line([xy(dot.x, dot.y) for dot in dots], BLUE, 2.0))
        for dot in dots:
            x, y = xy(dot.x, dot.y)
            if dot.sd is not None:
                upper, lower = xy(dot.x, dot.y + dot.sd)[1], xy(dot.x, dot.y - dot.sd)[1]
                parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{upper:.1f}" y2="{lower:.1f}" class="bar"/>')
            said = f"{method}, {x_names[dot.x]}: {dot.y:.3f}" + ("" if dot.sd is None else f" ± {dot.sd:.3f}")
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{BLUE}"><title>{escape(said)}</title></circle>'
            )
        size = f'width="{PANEL_W}" height="{PANEL_H}" viewBox="0 0 {PANEL_W} {PANEL_H}"'
        panels.append(f'<svg {size} role="img" aria-label="{escape(title)}: {escape(method)}">{"".join(parts)}</svg>')
    return f'<div class="panels">{"".join(panels)}</div>'


def noise_plot(sizes: Sequence[int], sd: Sequence[float], gap: float | None) -> str:
    """The deviation of a score over validation sets of each size, against the gap between the two best methods."""
    width, height, left, bottom, top, right = 500, 230, 52, 40, 16, 130
    most = max([*sd, gap or 0.0, 1e-6]) * 1.1
    ticks = _ticks(0.0, most)
    most = max(most, ticks[-1])

    def at(number: float, value: float) -> tuple[float, float]:
        across = left + 16 + (width - left - right - 32) * number / max(len(sizes) - 1, 1)
        return across, height - bottom - (height - top - bottom) * value / most

    parts = []
    for tick in ticks:
        y = at(0, tick)[1]
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{left - 5}" y="{y + 3.5:.1f}" class="tick end">{_number(tick, ticks)}</text>')
    points = [at(number, value) for number, value in enumerate(sd)]
    parts.append(_line(points, BLUE, 2.0))
    for (x, y), size, value in zip(points, sizes, sd, strict=True):
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{BLUE}"><title>{size}: {value:.3f}</title></circle>'
        )
        parts.append(f'<text x="{x:.1f}" y="{height - 24}" class="tick middle">{size}</text>')
    middle = (left + width - right) / 2
    parts.append(f'<text x="{middle}" y="{height - 6}" class="tick middle">buildings in the validation set</text>')
    end = points[-1]
    apart = 0.0
    if gap is not None:
        y = at(0, gap)[1]
        apart = 10.0 if abs(y - end[1]) < 12 else 0.0
        up = apart if y > end[1] else -apart
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" class="gap"/>')
        parts.append(
            f'<text x="{width - right + 5}" y="{y + 4 + up / 2:.1f}" class="tick warm">gap of the best two</text>'
        )
        apart = -up / 2
    parts.append(f'<text x="{width - right + 5}" y="{end[1] + 4 + apart:.1f}" class="tick blue">sd of one score</text>')
    label = "Deviation of a validation score by the size of the set"
    extent = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return f'<svg {extent} role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _line(points: Sequence[tuple[float, float]], colour: str, width: float) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, that span low to high."""
    reach = max(high - low, 1e-3)
    step = 10.0 ** math.floor(math.log10(reach))
    step *= next(part for part in (1.0, 0.5, 0.2) if part == 0.2 or reach / (step * part) >= 3)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _number(value: float, ticks: Sequence[float]) -> str:
    """All ticks of an axis with as many digits as the longest needs."""
    digits = max(len(f"{each:.4f}".rstrip("0").rpartition(".")[2]) for each in ticks)
    return f"{value:.{digits}f}"
