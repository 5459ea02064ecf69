"""Geometry of views: one draw a pair, shared by both dates and the footprint.

Weak views move whole pixels and never interpolate; a strong view is one affine map and one resampling.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from damage_ssl.learning.device import to_device


@dataclass(frozen=True, kw_only=True)
class WeakDraws:
    """For N pairs: `turns` int64 [N] quarter turns, `mirror` bool [N], `shift_px` int64 [N, 2] (row, column)."""

    turns: Tensor
    mirror: Tensor
    shift_px: Tensor


def draw_weak(count: int, size_px: int, shift: float, generator: torch.Generator) -> WeakDraws:
    """Uniform draws over the eight symmetries of the square and whole shifts up to `shift` · `size_px` each way."""
    most = int(shift * size_px)
    return WeakDraws(
        turns=torch.randint(4, (count,), generator=generator),
        mirror=torch.randint(2, (count,), generator=generator).bool(),
        shift_px=torch.randint(-most, most + 1, (count, 2), generator=generator),
    )


def move_pixels(x: Tensor, draws: WeakDraws) -> Tensor:
    """Turn, mirror and shift `x` [N, channels, S, S] exactly; what a shift uncovers is filled by reflection."""
    size = x.shape[-1]
    source = _source_pixels(draws, size, x.device)  # [N, S·S]
    planes = x.flatten(2)  # [N, channels, S·S]
    moved = planes.gather(2, source[:, None].expand_as(planes))  # [N, channels, S·S]
    return moved.view_as(x)


def _source_pixels(draws: WeakDraws, size: int, device: torch.device) -> Tensor:
    """Flat index [N, S·S] of the pixel that each pixel of the view shows: back through shift, mirror and turns."""
    packed = torch.cat([draws.turns[:, None], draws.mirror[:, None], draws.shift_px], dim=1)  # [N, 4]: one copy
    turned, mirror, down, right = to_device(packed, device)[:, :, None, None].unbind(1)  # [N, 1, 1] each
    at = torch.arange(size, device=device)
    row = _reflected(at[:, None] + down, size)  # [N, S, 1]
    column = _reflected(at + right, size)  # [N, 1, S]
    column = torch.where(mirror == 1, size - 1 - column, column)
    row = torch.where(turned >= 2, size - 1 - row, row)  # a half turn reverses both
    column = torch.where(turned >= 2, size - 1 - column, column)
    quarter = turned % 2 == 1  # (row, column) → (column, S − 1 − row)
    source = torch.where(quarter, column * size + (size - 1 - row), row * size + column)  # [N, S, S]
    return source.flatten(1)


def _reflected(index: Tensor, size: int) -> Tensor:
    index = index.abs()
    return torch.where(index > size - 1, 2 * (size - 1) - index, index)


@dataclass(frozen=True, kw_only=True)
class AffineRanges:
    """How far a strong view may go: rotation in degrees, zoom as a factor, shear and shift as shares of the side."""

    rotation_deg: float
    zoom: float
    shear: float
    shift: float
    quarter_turns: bool = True


AFFINE_KNOBS = ("rotation", "zoom", "shear", "shift-right", "shift-down")
"""What each column of the draws of an affine map decides."""


def draw_affine(
    count: int, ranges: AffineRanges, generator: torch.Generator, drawn: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Maps [N, 2, 3] from view to source coordinates, both −1 to 1 (x right, y down), of N pairs.

    Each is a quarter turn, mirror, rotation, zoom (log-uniform) and shear; the last column is the shift. `drawn` may
    put other draws [N, 5] in the place of the uniform ones, columns as `AFFINE_KNOBS`; the maps are on their device.
    """
    u = torch.rand(count, len(AFFINE_KNOBS), generator=generator) * 2 - 1  # [N, 5], each −1 to 1
    turns = torch.randint(4, (count,), generator=generator)
    turns = turns if ranges.quarter_turns else torch.zeros_like(turns)
    mirror = 1.0 - 2.0 * torch.randint(2, (count,), generator=generator)
    if drawn is not None:
        u = drawn(u)
        turns, mirror = to_device(turns, u.device), to_device(mirror, u.device)
    return affine_maps(u, turns, mirror, ranges)


def affine_maps(u: Tensor, turns: Tensor, mirror: Tensor, ranges: AffineRanges) -> Tensor:
    """Maps [N, 2, 3] of strengths [N, 5] in −1 to 1, columns as `AFFINE_KNOBS`, quarter turns [N], mirror ±1 [N]."""
    angle = turns * (math.pi / 2) + u[:, 0] * math.radians(ranges.rotation_deg)
    scale = torch.exp(-u[:, 1] * math.log(ranges.zoom))
    shear = u[:, 2] * ranges.shear
    cos, sin = angle.cos() * scale, angle.sin() * scale
    maps = u.new_empty(len(u), 2, 3)
    maps[:, 0, 0], maps[:, 0, 1] = cos * mirror, cos * shear - sin
    maps[:, 1, 0], maps[:, 1, 1] = sin * mirror, sin * shear + cos
    maps[:, :, 2] = u[:, 3:] * (2 * ranges.shift)  # the side is 2 long in these coordinates
    return maps


def centred(maps: Tensor) -> Tensor:
    """The same maps without their shift."""
    return torch.cat([maps[:, :, :2], torch.zeros_like(maps[:, :, 2:])], dim=2)


def resample(x: Tensor, maps: Tensor) -> Tensor:
    """`x` [N, channels, H, W] seen through `maps` [N, 2, 3]: bilinear, reflected at the border."""
    grid = F.affine_grid(to_device(maps, x.device).to(x.dtype), [*x.shape], align_corners=False)  # [N, H, W, 2]
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
