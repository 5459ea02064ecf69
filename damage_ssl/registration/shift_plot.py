"""A picture of an event's registration: arrows that say how far, which way, and how well that is known."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

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
_PANEL_PX = 760
_HEAD_PX = 96
_FOOT_PX = 84
_GAP_PX = 28
_CELL_PX = 38
_INK, _FAINT, _GROUND, _PAPER = "#222222", "#c9ced1", "#eef0f1", "#ffffff"
_NICE = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


@dataclass(frozen=True)
class Panel:
    """One field of shifts of N buildings: `shift_m` [N, 2] metres east and north, `source` [N], a key of `COLOURS`."""

    title: str
    shift_m: NDArray[np.float64]
    source: NDArray[np.object_]


def draw_fields(x_m: NDArray[np.float64], y_m: NDArray[np.float64], panels: list[Panel]) -> Image.Image:
    """Draw fields side by side, all arrows to one scale.

    Buildings are grouped into squares of the picture; each square's arrow is the median of its most frequent source.

    Args:
        x_m: [N], building centres in one projected CRS.
        y_m: [N].
        panels: the fields.
    """
    frame = _Frame.around(x_m, y_m)
    fields = [_arrows(frame, x_m, y_m, panel) for panel in panels]
    lengths = np.array([np.hypot(*arrow.shift_m) for field in fields for arrow in field] or [0.0])
    longest_m = max(float(np.quantile(lengths, 0.95)), 0.25)
    px_a_m = 0.95 * _CELL_PX / longest_m
    width = len(panels) * (_PANEL_PX + _GAP_PX) + _GAP_PX
    image = Image.new("RGB", (width, _HEAD_PX + frame.height_px + _FOOT_PX), _PAPER)
    draw = ImageDraw.Draw(image)
    for number, (panel, field) in enumerate(zip(panels, fields, strict=True)):
        left = _GAP_PX + number * (_PANEL_PX + _GAP_PX)
        draw.text((left, 20), panel.title, fill=_INK, font=_font(24))
        draw.text((left, 54), _sentence(panel), fill=_INK, font=_font(17))
        draw.rectangle((left, _HEAD_PX, left + _PANEL_PX - 1, _HEAD_PX + frame.height_px - 1), fill=_GROUND)
        column, row = frame.pixels(x_m, y_m)
        for x, y in zip((left + column).tolist(), (_HEAD_PX + row).tolist(), strict=True):
            draw.rectangle((x - 1, y - 1, x, y), fill=_FAINT)
        for arrow in field:
            _draw_arrow(draw, (left + arrow.column, _HEAD_PX + arrow.row), arrow.shift_m * px_a_m, arrow.source)
    _draw_legend(draw, panels, px_a_m, longest_m, _HEAD_PX + frame.height_px, frame)
    return image


@dataclass(frozen=True)
class _Frame:
    """Where metres lie in a panel."""

    left_m: float
    top_m: float
    m_a_px: float
    height_px: int

    @classmethod
    def around(cls, x_m: NDArray[np.float64], y_m: NDArray[np.float64]) -> "_Frame":
        if not len(x_m):
            return cls(0.0, 0.0, 1.0, _PANEL_PX // 2)
        wide, high = max(float(np.ptp(x_m)), 20.0), max(float(np.ptp(y_m)), 20.0)
        inner = _PANEL_PX - 2 * _CELL_PX
        m_a_px = max(wide, high) / inner
        height_px = int(high / m_a_px) + 2 * _CELL_PX
        middle_x, middle_y = (x_m.min() + x_m.max()) / 2, (y_m.min() + y_m.max()) / 2
        return cls(
            float(middle_x - _PANEL_PX / 2 * m_a_px), float(middle_y + height_px / 2 * m_a_px), m_a_px, height_px
        )

    def pixels(
        self, x_m: NDArray[np.float64], y_m: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Column and row in the panel."""
        return (x_m - self.left_m) / self.m_a_px, (self.top_m - y_m) / self.m_a_px


@dataclass(frozen=True)
class _Arrow:
    column: float
    row: float
    shift_m: NDArray[np.float64]
    source: str


def _arrows(frame: _Frame, x_m: NDArray[np.float64], y_m: NDArray[np.float64], panel: Panel) -> list[_Arrow]:
    """One arrow a square that holds buildings."""
    column, row = frame.pixels(x_m, y_m)
    squares: dict[tuple[int, int], list[int]] = {}
    for number, key in enumerate(zip((column // _CELL_PX).tolist(), (row // _CELL_PX).tolist(), strict=True)):
        squares.setdefault((int(key[0]), int(key[1])), []).append(number)
    arrows = []
    for rows in squares.values():
        names, counts = np.unique(panel.source[rows].astype(str), return_counts=True)
        source = str(names[counts.argmax()])
        here = [number for number in rows if panel.source[number] == source]
        shift = np.median(panel.shift_m[here], axis=0)
        arrows.append(_Arrow(float(column[here].mean()), float(row[here].mean()), shift, source))
    return arrows


def _draw_arrow(draw: ImageDraw.ImageDraw, at: tuple[float, float], shift_px: NDArray[np.float64], source: str) -> None:
    colour = COLOURS[source]
    x, y = at
    length = float(np.hypot(*shift_px))
    if source == "misaligned":
        draw.line((x - 6, y - 6, x + 6, y + 6), fill=colour, width=3)
        draw.line((x - 6, y + 6, x + 6, y - 6), fill=colour, width=3)
        return
    if source == "none" or length < 2.5:
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), outline=colour, width=2)
        return
    way = np.array([shift_px[0], -shift_px[1]]) / length  # rows run south
    tip = np.array([x, y]) + way * length / 2
    tail = np.array([x, y]) - way * length / 2
    across = np.array([-way[1], way[0]])
    head = min(9.0, 0.5 * length)
    neck = tip - way * head
    draw.line((*tail, *neck), fill=colour, width=3)
    draw.polygon([tuple(tip), tuple(neck + across * head * 0.55), tuple(neck - across * head * 0.55)], fill=colour)


def _draw_legend(
    draw: ImageDraw.ImageDraw, panels: list[Panel], px_a_m: float, longest_m: float, top: int, frame: _Frame
) -> None:
    used = {name for panel in panels for name in np.unique(panel.source.astype(str)).tolist()}
    shown_m = max((nice for nice in _NICE if nice <= longest_m), default=_NICE[0])
    length = shown_m * px_a_m
    y, x = top + 26, float(_GAP_PX)
    _draw_arrow(draw, (x + length / 2, y), np.array([length, 0.0]), "own")
    draw.text((x + length + 8, y - 11), f"= {shown_m:g} m", fill=_INK, font=_font(17))
    ground_m = max(
        (n * 10.0**e for e in range(1, 7) for n in (1, 2, 5) if n * 10.0**e / frame.m_a_px <= 160), default=10.0
    )
    x += length + 110
    draw.line((x, y, x + ground_m / frame.m_a_px, y), fill=_INK, width=3)
    x += ground_m / frame.m_a_px
    draw.text((x + 8, y - 11), f"{ground_m:,.0f} m on the ground, north is up", fill=_INK, font=_font(17))
    y, x = top + 60, float(_GAP_PX)
    for name in (name for name in COLOURS if name in used):
        _draw_arrow(draw, (x + 12, y), np.array([24.0, 0.0]), name)
        draw.text((x + 30, y - 11), MEANINGS[name], fill=_INK, font=_font(17))
        x += 30 + draw.textlength(MEANINGS[name], font=_font(17)) + 26


def _sentence(panel: Panel) -> str:
    """The field in a few words."""
    known = ~np.isin(panel.source.astype(str), ["none", "misaligned"])
    if not known.any():
        return "no shift is known"
    east, north = np.median(panel.shift_m[known], axis=0)
    length = np.median(np.hypot(*panel.shift_m[known].T))
    return f"median {length:.1f} m ({compass(float(east), float(north))}), {int(known.sum()):,} buildings"


def compass(east_m: float, north_m: float) -> str:
    """A shift in words: `1.2 m east, 0.3 m south`."""
    parts = [
        f"{abs(value):.1f} m {names[0] if value > 0 else names[1]}"
        for value, names in ((east_m, ("east", "west")), (north_m, ("north", "south")))
        if abs(value) >= 0.05
    ]
    return ", ".join(parts) or "0.0 m"


@lru_cache(maxsize=8)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size_px)
