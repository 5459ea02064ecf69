"""Paint the ground: lawns and soil, streets with pavements and marks, driveways, pools, the river."""

import numpy as np
from rasterio.features import rasterize
from rasterio.transform import Affine
from scipy import ndimage

from damage_ssl.simulation import palette
from damage_ssl.simulation.canvas import Canvas
from damage_ssl.simulation.noise import Field, lattice_hash
from damage_ssl.simulation.town import Patch, Plot, Town

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
        return np.asarray(bands[:, j] * (1 - fj) + bands[:, j + 1] * fj)

    return stretch(u), stretch(v)


def paint_ground(canvas: Canvas, town: Town, plots: list[Plot], patches: list[Patch], lushness: float) -> Field:
    """Everything flat. `lushness` in [0, 1] is the season. Returns metres to the nearest kerb (negative on a street)."""
    _paint_plots(canvas, plots, lushness)
    u, v = street_fields(canvas, town)
    if town.river is not None:
        _paint_river(canvas, town.river.distance(u, v))
    for patch in patches:
        if patch.kind in ("court", "yard", "path"):
            _paint_patch(canvas, patch)
    kerb = _paint_streets(canvas, town, u, v)
    for patch in patches:
        if patch.kind in ("driveway", "parking", "pool"):
            _paint_patch(canvas, patch)
    return kerb


def _mix(low: palette.Colour, high: palette.Colour, share: Field) -> Field:
    start, stop = np.asarray(low, np.float32), np.asarray(high, np.float32)
    return np.asarray(start + share[..., None] * (stop - start))


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
    grass = _mix(palette.LUSH_GRASS, palette.DRY_GRASS, np.clip(dry * 1.35, 0, 1))
    soil = np.clip((dry - 0.66 + 0.25 * three) * 5, 0, 1)
    colour = grass + soil[..., None] * (np.asarray(palette.SOIL, np.float32) - grass)
    colour *= (1 + tone + 0.07 * canvas.noise("fine") + 0.07 * one + 0.05 * ten)[..., None]
    canvas.albedo[:] = colour
    crops = np.array([False, *(plot.crop for plot in plots)])[number]
    if crops.any():
        furrow = np.sin((canvas.xs[None, :] * 0.55 + canvas.ys[:, None] * 0.84) * (2 * np.pi / 1.7))
        canvas.albedo *= (1 + np.where(crops, 0.09 * furrow, 0))[..., None].astype(np.float32)
    _paint_edges(canvas, plots, number)


def _paint_edges(canvas: Canvas, plots: list[Plot], number: np.ndarray) -> None:
    """Fences and hedges where one plot meets another."""
    kinds = np.array([0, *({"none": 0, "fence": 1, "hedge": 2}[plot.edge] for plot in plots)])
    border = np.zeros(number.shape, bool)
    border[:-1] |= number[:-1] != number[1:]
    border[:, :-1] |= number[:, :-1] != number[:, 1:]
    outer = ndimage.minimum_filter(number, 5) == 0
    fence = border & (kinds[number] == 1) & ~outer
    canvas.blend((slice(None), slice(None)), fence, (0.55, 0.48, 0.40))
    canvas.height[fence] = 1.5
    if (kinds == 2).any():
        thick = max(1, round(0.5 / canvas.pixel_m))
        hedge = ndimage.binary_dilation(border & (kinds[number] == 2), iterations=thick) & (canvas.noise("one") > -0.75)
        canvas.blend(
            (slice(None), slice(None)),
            hedge,
            _mix((0.17, 0.25, 0.12), (0.30, 0.37, 0.19), 0.5 + 0.5 * canvas.noise("fine")),
        )
        canvas.height[hedge] = 1.3


def _paint_river(canvas: Canvas, distance: Field) -> None:
    whole = (slice(None), slice(None))
    bank = np.clip((5 - distance) / 5, 0, 1) * np.clip(distance + 1, 0, 1)
    canvas.blend(whole, 0.7 * bank, palette.SOIL)
    water = np.clip(0.5 - distance + 0.8 * canvas.noise("three"), 0, 1)
    canvas.blend(whole, water, np.asarray(palette.RIVER, np.float32) * (1 + 0.05 * canvas.noise("ten"))[..., None])
    canvas.height[water > 0.5] = 0


def _paint_streets(canvas: Canvas, town: Town, u: Field, v: Field) -> Field:
    whole = (slice(None), slice(None))
    streets = town.streets
    kerb, middle, along, number, is_v = streets.nearest(u, v)
    fine, one, ten = canvas.noise("fine"), canvas.noise("one"), canvas.noise("ten")
    pavement = np.clip((streets.pavement_m - kerb) / canvas.pixel_m, 0, 1)
    verge = np.clip((streets.pavement_m + 0.9 - kerb) / canvas.pixel_m, 0, 1) - pavement
    canvas.blend(whole, 0.25 * verge, palette.DRY_GRASS)
    slabs = np.where(np.mod(along, 1.5) < 0.12, -0.06, 0.0)
    canvas.blend(
        whole, pavement, np.asarray(palette.PAVEMENT, np.float32) * (1 + slabs + 0.05 * one + 0.05 * fine)[..., None]
    )
    kinds = lattice_hash(number.astype(np.int64), np.zeros_like(number), 5)
    asphalt = np.asarray(palette.ASPHALTS, np.float32)[(kinds * len(palette.ASPHALTS)).astype(int)]
    wear = 0.05 * np.cos(middle * 3.4) * np.clip(-kerb, 0, 1) + 0.04 * fine + 0.04 * one + 0.06 * ten
    patch = np.where(lattice_hash((along // 9).astype(np.int64), number.astype(np.int64), 6) < 0.06, -0.13, 0.0)
    patch = np.where(np.abs(middle - 1.6) < 1.1, patch, 0.0)
    road = np.clip(0.5 - kerb / canvas.pixel_m, 0, 1)
    canvas.blend(whole, road, asphalt * (1 + wear + patch)[..., None].astype(np.float32))
    width = middle - kerb
    clear = np.minimum.reduce([np.abs(np.where(is_v, u, v)[..., None] - line)[..., 0] for line in ([0.0],)]) >= 0
    main = (width > 5) & clear
    crossing = _near_crossing(streets.u_lines, streets.v_lines, u, v, is_v)
    dashes = main & (middle < 0.14) & (np.mod(along, 7.0) < 3.2) & ~crossing
    edges = main & (np.abs(kerb + 0.45) < 0.11) & ~crossing
    canvas.blend(whole, 0.75 * (dashes | edges), palette.PAINT)
    kerbstone = (np.abs(kerb) < 0.14) & ~crossing
    canvas.blend(whole, 0.4 * kerbstone, (0.70, 0.69, 0.66))
    on_ground = road + pavement > 0.4
    canvas.height[on_ground] = 0
    return np.asarray(kerb, np.float32)


def _near_crossing(u_lines: Field, v_lines: Field, u: Field, v: Field, is_v: Field) -> Field:
    def gap(lines: Field, value: Field) -> Field:
        k = np.clip(np.searchsorted(lines, value), 1, len(lines) - 1)
        return np.minimum(np.abs(value - lines[k - 1]), np.abs(value - lines[k]))

    return np.asarray(np.where(is_v, gap(u_lines, u), gap(v_lines, v)) < 8.0)


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
    )[..., None]
    tone = 0.88 + 0.24 * (patch.salt % 997) / 997
    if patch.kind == "pool":
        canvas.blend(
            part,
            np.clip(0.5 + (inset + 0.8) / canvas.pixel_m, 0, 1),
            np.asarray(palette.CONCRETE, np.float32) * texture,
        )
        canvas.blend(
            part, inside, np.asarray(palette.POOL, np.float32) * (1 + 0.05 * canvas.noise("one")[part])[..., None]
        )
    elif patch.kind == "parking":
        canvas.blend(part, inside, np.asarray(palette.ASPHALTS[patch.salt % 4], np.float32) * texture)
        rows = np.mod(b + patch.half_b - 3, 12.4)
        stalls = (np.mod(a + patch.half_a - 1.65, 2.7) < 0.14) & (np.minimum(rows, 12.4 - rows) < 2.6) & (inset > 1)
        canvas.blend(part, 0.7 * stalls, palette.PAINT)
    elif patch.kind == "court":
        canvas.blend(
            part, inside, np.asarray((0.34, 0.45, 0.38) if patch.salt % 2 else (0.58, 0.38, 0.30), np.float32) * texture
        )
        lines = (np.abs(inset - 1.5) < 0.12) | ((np.abs(a) < 0.12) & (inset > 1.5))
        canvas.blend(part, 0.8 * lines, palette.PAINT)
    else:
        colour = palette.CONCRETE if patch.salt % 3 else palette.ASPHALTS[patch.salt % 4]
        canvas.blend(part, inside, np.asarray(colour, np.float32) * tone * texture)
    canvas.height[part][inset > 0] = 0
