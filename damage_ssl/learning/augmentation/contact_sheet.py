"""A contact sheet: what every operation and policy does to an event's own pairs, pre above post."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from damage_ssl.learning.augmentation.affinity import Draw
from damage_ssl.learning.augmentation.geometry import AFFINE_KNOBS
from damage_ssl.learning.augmentation.operations import apply_table
from damage_ssl.learning.augmentation.photometry import AUGMENTATIONS
from damage_ssl.learning.pair_tensor import FOOTPRINT, POST, PRE, VIEW_CHANNELS, to_unit

STRENGTHS = (-1.0, -0.5, 0.0, 0.5, 1.0)
SHOWN = (
    *AUGMENTATIONS,
    "cutout",
    *AFFINE_KNOBS,
    "brightness@building",
    "noise@context",
    "blur@context",
    "cutout@context",
)
BLOCKS = 3
"""The sheet's rows stand in this many columns."""

_LABEL_PX, _GAP_PX, _HEAD_PX, _TITLE_PX = 150, 6, 26, 48
_DATES_PX = 2
_INK, _FAINT, _PAPER, _OUTLINE = "#222222", "#667077", "#ffffff", (255, 210, 0)


@dataclass(frozen=True)
class Row:
    """One line of the sheet: the views [K, 7, S, S] of one pair, and what stands beside and below each."""

    label: str
    captions: tuple[str, ...]
    views: Tensor


def sheet_rows(
    pixels: Tensor, operations: Sequence[str], policies: Mapping[str, Draw], generator: torch.Generator
) -> list[Row]:
    """Rows of the operations by strength, then of the policies, five draws each; pairs take turns.

    `pixels` is uint8 [N, 7 or 14, S, S]; only close views are shown.

    Raises:
        SettingsError: an unknown operation.
    """
    rows = []
    count = len(STRENGTHS)
    for index, name in enumerate([*operations, *policies]):
        x = to_unit(pixels[index % len(pixels)][None]).repeat(count, 1, 1, 1)  # [K, 7 or 14, S, S]
        if index < len(operations):
            strength = torch.tensor(STRENGTHS)
            out = apply_table(x, [name], torch.zeros(count, dtype=torch.int64), strength, generator)
            captions = tuple(f"{each:+g}" if each else "0" for each in STRENGTHS)
        else:
            out = policies[name](x, generator)
            captions = tuple(f"draw {each + 1}" for each in range(count))
        rows.append(Row(name, captions, out[:, :VIEW_CHANNELS]))
    return rows


def draw_sheet(rows: Sequence[Row], title: str) -> Image.Image:
    """Draw the rows in `BLOCKS` columns; the footprint is outlined."""
    size = int(rows[0].views.shape[-1])
    count = len(rows[0].captions)
    down = -(-len(rows) // BLOCKS)
    block = _LABEL_PX + count * (size + _GAP_PX) + 2 * _GAP_PX
    height = _HEAD_PX + 2 * size + _DATES_PX + _GAP_PX
    sheet = Image.new("RGB", (BLOCKS * block + _GAP_PX, _TITLE_PX + down * height + _GAP_PX), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((2 * _GAP_PX, 14), title, fill=_INK, font=_font(18))
    for index, row in enumerate(rows):
        left = (index // down) * block + 2 * _GAP_PX
        top = _TITLE_PX + (index % down) * height
        pen.text((left, top + _HEAD_PX + size - 10), row.label, fill=_INK, font=_font(14))
        for column, (caption, view) in enumerate(zip(row.captions, row.views, strict=True)):
            x = left + _LABEL_PX + column * (size + _GAP_PX)
            pen.text((x + size // 2, top + _HEAD_PX - 3), caption, fill=_FAINT, font=_font(12), anchor="md")
            sheet.paste(Image.fromarray(_picture(view)), (x, top + _HEAD_PX))
    return sheet


def _picture(view: Tensor) -> NDArray[np.uint8]:
    """Pre above post [2·S + gap, S, 3], the footprint's rim in yellow, of one view [7, S, S]."""
    inside = view[FOOTPRINT][0].numpy() > 0.5
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    dates = []
    for channels in (PRE, POST):
        date = (view[channels].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy().copy()
        date[inside & ~core] = _OUTLINE
        dates.append(date)
    gap = np.full((_DATES_PX, *dates[0].shape[1:]), 255, dtype=np.uint8)
    return np.concatenate([dates[0], gap, dates[1]])


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
