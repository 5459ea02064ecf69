"""The ground of a town: lawns and soil, streets with kerbs, pavements and marks, driveways, pools, the river."""

import numpy as np
from affine import Affine
from rasterio.features import rasterize
from scipy import ndimage

from damage_ssl.simulation.noise import Field, lattice_hash
from damage_ssl.simulation.rendering.canvas import WHOLE, Canvas, mixed, picked, toned
from damage_ssl.simulation.town import palette
from damage_ssl.simulation.town.streets import Streets
from damage_ssl.simulation.town.town import Patch, Plot, Town

_COARSE = 6


def street_fields(canvas: Canvas, town: Town) -> tuple[Field, Field]:
    """(u, v) of every pixel; the bend is smooth, so it is computed on a coarse grid and interpolated."""
    xs = np.r_[canvas.xs[::_COARSE], canvas.xs[-1]]
    ys = np.r_[canvas.ys[::_COARSE], canvas.ys[-1]]
    u, v = town.streets.bend.to_uv(*np.meshgrid(xs, ys))
    rows, columns = np.arange(len(canvas.ys)) / _COARSE, np.arange(len(canvas.xs)) / _COARSE
    rows, columns = np.minimum(rows, len(ys) - 1.001), np.minimum(columns, len(xs) - 1.001)
    i, j = rows.astype(int), columns.astype(int)
    fi, fj = (rows - i)[:, None], columns - j

    def stretch(coarse: Field) -> Field:
        bands = coarse[i] * (1 - fi) + coarse[i + 1] * fi
        return np.asarray(bands[:, j] * (1 - fj) + bands[:, j + 1] * fj, np.float32)

    return stretch(u), stretch(v)


def paint_ground(canvas: Canvas, town: Town, plots: list[Plot], patches: list[Patch], lushness: float) -> Field:
    """Everything flat. `lushness` in [0, 1] is the season. Returns metres to the kerb (negative on a street)."""
    _paint_plots(canvas, plots, lushness)
    u, v = street_fields(canvas, town)
    if town.river is not None:
        _paint_river(canvas, town.river.distance(u, v))
    for patch in patches:
        if patch.kind in ("court", "yard", "path"):
            _paint_patch(canvas, patch)
    kerb = paint_streets(canvas, town.streets, u, v)
    for patch in patches:
        if patch.kind in ("driveway", "parking", "pool"):
            _paint_patch(canvas, patch)
    return kerb


def _paint_plots(canvas: Canvas, plots: list[Plot], lushness: float) -> None:
    shape = canvas.height.shape
    step = canvas.pixel_m
    transform = Affine(step, 0, canvas.xs[0] - step / 2, 0, step, canvas.ys[0] - step / 2)
    number = np.zeros(shape, np.int32)
    if plots:
        rings = [
            {"type": "Polygon", "coordinates": [[*plot.corners.tolist(), plot.corners[0].tolist()]]} for plot in plots
        ]
        number = rasterize(
            [(ring, k + 1) for k, ring in enumerate(rings)], out_shape=shape, transform=transform, dtype="int32"
        )
    dry = np.array([0.45, *(plot.dryness for plot in plots)], np.float32)[number]
    tone = np.array([0.0, *(plot.tone for plot in plots)], np.float32)[number]
    one, three, ten, forty = (canvas.noise(name) for name in ("one", "three", "ten", "forty"))
    dry = np.clip(dry + 0.22 * ten + 0.14 * three + 0.10 * one + 0.15 * forty - 0.35 * (lushness - 0.5), 0, 1)
    grass = mixed(palette.LUSH_GRASS, palette.DRY_GRASS, np.clip(dry * 1.35, 0, 1))
    soil = np.clip((dry - 0.66 + 0.25 * three) * 5, 0, 1)
    canvas.albedo[:] = grass
    canvas.blend(WHOLE, soil, palette.SOIL)
    canvas.albedo *= 1 + tone + 0.07 * canvas.noise("fine") + 0.07 * one + 0.05 * ten
    crops = np.array([False, *(plot.crop for plot in plots)])[number]
    if crops.any():
        furrow = np.sin((canvas.xs[None, :] * 0.55 + canvas.ys[:, None] * 0.84) * (2 * np.pi / 1.7))
        canvas.albedo *= np.asarray(1 + np.where(crops, 0.09 * furrow, 0), np.float32)
    _paint_edges(canvas, plots, number)


def _paint_edges(canvas: Canvas, plots: list[Plot], number: np.ndarray) -> None:
    """Fences and hedges where one plot meets another."""
    kinds = np.array([0, *({"none": 0, "fence": 1, "hedge": 2}[plot.edge] for plot in plots)])
    border = np.zeros(number.shape, bool)
    border[:-1] |= number[:-1] != number[1:]
    border[:, :-1] |= number[:, :-1] != number[:, 1:]
    outer = ndimage.minimum_filter(number, 5) == 0
    fence = border & (kinds[number] == 1) & ~outer
    canvas.blend(WHOLE, fence, (0.55, 0.48, 0.40))
    canvas.height[fence] = 1.5
    if (kinds == 2).any():
        thick = max(1, round(0.5 / canvas.pixel_m))
        hedge = ndimage.binary_dilation(border & (kinds[number] == 2), iterations=thick) & (canvas.noise("one") > -0.75)
        canvas.blend(
            WHOLE,
            hedge,
            mixed((0.17, 0.25, 0.12), (0.30, 0.37, 0.19), 0.5 + 0.5 * canvas.noise("fine")),
        )
        canvas.height[hedge] = 1.3


def _paint_river(canvas: Canvas, distance: Field) -> None:
    bank = np.clip((5 - distance) / 5, 0, 1) * np.clip(distance + 1, 0, 1)
    canvas.blend(WHOLE, 0.7 * bank, palette.SOIL)
    water = np.clip(0.5 - distance + 0.8 * canvas.noise("three"), 0, 1)
    canvas.blend(WHOLE, water, toned(palette.RIVER, 1 + 0.05 * canvas.noise("ten")))
    canvas.height[water > 0.5] = 0


def _paint_patch(canvas: Canvas, patch: Patch) -> None:
    window = canvas.window(patch.x, patch.y, float(np.hypot(patch.half_a, patch.half_b)) + 1.5)
    if window is None:
        return
    a, b = window.axes(patch.angle)
    part = window.part
    inset = np.minimum(patch.half_a - np.abs(a), patch.half_b - np.abs(b))
    inside = np.clip(0.5 + inset / canvas.pixel_m, 0, 1)
    texture = (
        1 + 0.05 * canvas.noise("one")[part] + 0.05 * canvas.noise("fine")[part] + 0.05 * canvas.noise("three")[part]
    )
    tone = 0.88 + 0.24 * (patch.salt % 997) / 997
    if patch.kind == "pool":
        canvas.blend(
            part,
            np.clip(0.5 + (inset + 0.8) / canvas.pixel_m, 0, 1),
            toned(palette.CONCRETE, texture),
        )
        canvas.blend(part, inside, toned(palette.POOL, 1 + 0.05 * canvas.noise("one")[part]))
    elif patch.kind == "parking":
        canvas.blend(part, inside, toned(palette.ASPHALTS[patch.salt % 4], texture))
        rows = np.mod(b + patch.half_b - 3, 12.4)
        stalls = (np.mod(a + patch.half_a - 1.65, 2.7) < 0.14) & (np.minimum(rows, 12.4 - rows) < 2.6) & (inset > 1)
        canvas.blend(part, 0.7 * stalls, palette.PAINT)
    elif patch.kind == "court":
        canvas.blend(part, inside, toned((0.34, 0.45, 0.38) if patch.salt % 2 else (0.58, 0.38, 0.30), texture))
        lines = (np.abs(inset - 1.5) < 0.12) | ((np.abs(a) < 0.12) & (inset > 1.5))
        canvas.blend(part, 0.8 * lines, palette.PAINT)
    else:
        colour = palette.CONCRETE if patch.salt % 3 else palette.ASPHALTS[patch.salt % 4]
        canvas.blend(part, inside, toned(colour, tone * texture))
    canvas.height[part][inset > 0] = 0


_VERGE_M = 1.0
_CLEAR_OF_CROSSING_M = 5.0


def paint_streets(canvas: Canvas, streets: Streets, u: Field, v: Field) -> Field:
    """Paint every street of the tile; returns metres to the nearest kerb (negative on a carriageway), [H, W]."""
    street = streets.nearest(u, v)
    near = np.flatnonzero(street.kerb.ravel() < streets.pavement_m + _VERGE_M)
    if len(near) == 0:
        return street.kerb
    kerb, middle, along, half, crossing = (
        values.ravel()[near] for values in (street.kerb, street.middle, street.along, street.half_m, street.crossing)
    )
    number = street.number.ravel()[near]
    fine, one, three, ten = (canvas.noise(name).ravel()[near] for name in ("fine", "one", "three", "ten"))
    albedo = canvas.albedo.reshape(3, -1)
    colour = albedo[:, near]

    def cover(share: Field, shade: Field) -> None:
        np.add(colour, np.asarray(share, np.float32) * (shade - colour), out=colour)

    def flat(shade: palette.Colour) -> Field:
        return np.asarray(shade, np.float32)[:, None]

    step = canvas.pixel_m
    pavement = np.clip((streets.pavement_m - kerb) / step, 0, 1)
    cover(0.25 * np.clip((streets.pavement_m + _VERGE_M - kerb) / step, 0, 1), flat(palette.DRY_GRASS))
    slabs = np.where(np.mod(along, 1.5) < 0.14, np.float32(-0.05), np.float32(0))
    cover(pavement, flat(palette.PAVEMENT) * (1 + slabs + 0.05 * one + 0.05 * fine + 0.05 * ten))
    kinds = (lattice_hash(number, np.zeros_like(number), 5) * len(palette.ASPHALTS)).astype(int)
    tracks = 0.03 * np.cos((middle - 1.7) * 3.1) * np.clip(-kerb, 0, 1) * (1 + ten)
    mended = lattice_hash(np.asarray(along // 9, np.int64) + 4096, number, 6) < 0.06
    mended &= np.abs(middle - 1.6) < 1.1
    wear = tracks + 0.04 * fine + 0.04 * one + 0.04 * three + 0.06 * ten - 0.12 * mended
    cover(np.clip(0.5 - kerb / step, 0, 1), picked(palette.ASPHALTS, kinds) * np.asarray(1 + wear, np.float32))
    open_road = crossing > _CLEAR_OF_CROSSING_M
    main = (half > 5) & open_road
    marks = main & (middle < 0.14) & (np.mod(along, 7.0) < 3.2)
    marks |= main & (np.abs(kerb + 0.45) < 0.11)
    zebra = (half > 5) & (crossing > 1.0) & (crossing < 3.6) & (kerb < -0.5) & (np.mod(middle, 1.1) < 0.5)
    cover(np.where(marks | zebra, 0.7 + 0.2 * three, 0), flat(palette.PAINT))
    cover(np.where((np.abs(kerb) < 0.14) & open_road, 0.4, 0), flat((0.70, 0.69, 0.66)))
    albedo[:, near] = colour
    canvas.height.ravel()[near[kerb < streets.pavement_m]] = 0
    return street.kerb
