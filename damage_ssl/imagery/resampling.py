"""Scene pixels onto building grids: where each grid pixel lies in the scene, and what is there.

Measured against `cv2.remap` (OpenCV 5.0, `benchmarks/results/kept_libraries.md`), which takes a half of the time where
all pixels are valid, a quarter where some are not, a fifth where samples are averaged, and is as exact (0.25 of a level
from float64 in the mean, either). It is not taken: OpenCV would be a dependency for this alone, its rounding would make
other pixels of every patch cut so far, and where a scene shares the grids' axes nothing is interpolated at all.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from damage_ssl.grid import GridBatch, transformer
from damage_ssl.imagery.chunks import Chunk

MAX_FIT_ERROR_PX = 0.05
_OVERSAMPLE_FROM = 1.25
_SAME_SIZE = 1e-6
"""Relative: over a grid of a thousand pixels this is a thousandth of one."""
_SAME_PLACE_PX = 2**-9
"""A grid that is off the scene's lattice by less is on it: interpolation would change no level by more than one."""
_SAMPLED_TOGETHER = 16
"""Grids sampled in one go: their intermediate values fit into the processor's cache."""
_BYTES, _HALF = np.uint32(0x00FF00FF), np.uint32(0x00800080)
_NODES = np.array([-1.0, 0.0, 1.0])


@dataclass(frozen=True)
class SourceMap:
    """Where N grids lie in a scene: (column, row) = `coefficients` @ (u, v, 1), with u and v running from -1 to 1.

    `coefficients` is [N, 2, 3] in scene pixels, counted from the outer corner of the first pixel; u runs east and v
    south over a grid from edge to edge. `fit_error_px` [N] is the largest deviation from the exact transformation.
    """

    coefficients: NDArray[np.float64]
    fit_error_px: NDArray[np.float64]

    def take(self, rows: NDArray[np.intp]) -> "SourceMap":
        """The maps of these rows."""
        return SourceMap(self.coefficients[rows], self.fit_error_px[rows])

    def boxes(self) -> NDArray[np.float64]:
        """[N, 4]: least and greatest column, least and greatest row of each grid."""
        corners = self.coefficients @ np.array([[-1, 1, 1, -1], [-1, -1, 1, 1], [1, 1, 1, 1]], dtype=float)
        low, high = corners.min(axis=2), corners.max(axis=2)  # [N, 2]
        return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)


def source_map(grids: GridBatch, crs: CRS, transform: Affine) -> SourceMap:
    """Fit an affine map from each grid to scene pixels on 3 × 3 exactly transformed points.

    Over tens of metres two map projections differ by an affine map to far below a pixel; the error is measured all the
    same (on the 3 × 3 points) and returned.
    """
    u, v = (axis.ravel() for axis in np.meshgrid(_NODES, _NODES))  # [9]
    x = grids.x_m[:, None] + u * grids.half_m  # [N, 9]
    y = grids.y_m[:, None] - v * grids.half_m
    if not _same(grids.crs, crs):
        x, y = transformer(grids.crs, crs).transform(x, y)
    inverse = ~transform
    columns = inverse.a * x + inverse.b * y + inverse.c
    rows = inverse.d * x + inverse.e * y + inverse.f
    exact = np.stack([columns, rows], axis=1)  # [N, 2, 9]
    design = np.stack([u, v, np.ones(9)])  # [3, 9]
    finite = np.isfinite(exact).all(axis=(1, 2))
    coefficients = np.full((len(grids), 2, 3), np.nan)
    coefficients[finite] = exact[finite] @ np.linalg.pinv(design)
    error = np.abs(coefficients @ design - exact).max(axis=(1, 2), initial=0.0)
    return SourceMap(coefficients, error)


@lru_cache(maxsize=256)
def _same(one: CRS, other: CRS) -> bool:
    return bool(one == other)


@dataclass(frozen=True)
class Placement:
    """Where N grids of `size_px` lie in a scene, `step_px` scene pixels from one grid pixel to the next.

    Over `factor` × `factor` scene pixels, the whole part of the step, is averaged first. `aligned`: the averaged pixels
    have the grid's axes and size, so that they are cut out, or moved by a fraction of a pixel.
    """

    where: SourceMap
    size_px: int
    step_px: float
    factor: int
    aligned: bool

    def take(self, rows: NDArray[np.intp] | slice) -> "Placement":
        """The grids at these rows."""
        where = SourceMap(self.where.coefficients[rows], self.where.fit_error_px[rows])
        return replace(self, where=where)


def shares_pixels(grid_crs: CRS, gsd_m: float, crs: CRS, transform: Affine) -> bool:
    """Whether a scene has the axes and the pixel size of grids of `gsd_m` in `grid_crs`."""
    close = max(abs(transform.a - gsd_m), abs(transform.e + gsd_m)) <= _SAME_SIZE * gsd_m
    straight = max(abs(transform.b), abs(transform.d)) == 0
    return bool(close and straight and _same(grid_crs, crs))


def place_grids(grids: GridBatch, crs: CRS, transform: Affine, gsd_m: float) -> Placement:
    """Where grids lie in a scene of this CRS, transform and ground sampling distance.

    How pixels come about depends on scene and grid size only, never on which grids are looked at together.
    """
    same = _same(grids.crs, crs)
    # The ground sampling distance differs from the pixel size in UTM by the projection's scale: up to 0.1 %.
    step = grids.gsd_m / abs(transform.a) if same else grids.gsd_m / gsd_m * 1.002
    factor = max(1, int(step + 1e-6))
    averaged = transform @ Affine.scale(factor)
    return Placement(
        where=source_map(grids, crs, transform),
        size_px=grids.size_px,
        step_px=step,
        factor=factor,
        aligned=shares_pixels(grids.crs, grids.gsd_m, crs, averaged),
    )


def cut_grids(chunk: Chunk, place: Placement) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Pixels of N grids out of one chunk, which is averaged by about `place.factor` already (`Chunk.reduced`).

    Where grid and scene share pixel size and axes, pixels are cut out; if the grid lies between the scene's pixels,
    they are moved by bilinear interpolation. Everything else is sampled bilinearly; where the grid is coarser, from
    averaged scene pixels and, for what remains of the ratio, by several samples a grid pixel, averaged. Invalid scene
    pixels have no weight; a grid pixel is valid if at least half its weight is.

    Returns:
        colour uint8 [N, 3, H, W] (0 where not valid) and valid [N, H, W].
    """
    count, size_px = len(place.where.coefficients), place.size_px
    if not chunk.pixels.size or not count:
        return np.zeros((count, 3, size_px, size_px), np.uint8), np.zeros((count, size_px, size_px), bool)
    if place.aligned and max(chunk.steps) == min(chunk.steps) == place.factor:
        return _cut_aligned(chunk, place)
    return _sample(chunk, place)


def _cut_aligned(chunk: Chunk, place: Placement) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Grids on the chunk's own axes and pixel size."""
    size_px, pixels = place.size_px, chunk.pixels
    boxes = place.where.boxes()
    column = (boxes[:, 0] - chunk.column) / place.factor  # of the grid's left edge, in the chunk
    row = (boxes[:, 2] - chunk.row) / place.factor
    left, top = np.floor(column + _SAME_PLACE_PX).astype(np.int64), np.floor(row + _SAME_PLACE_PX).astype(np.int64)
    part_x, part_y = np.maximum(column - left, 0.0), np.maximum(row - top, 0.0)
    whole = (part_x < 2 * _SAME_PLACE_PX) & (part_y < 2 * _SAME_PLACE_PX)
    before = max(0, -int(left.min())), max(0, -int(top.min()))
    behind = (
        max(0, int(left.max()) + size_px + 1 - pixels.shape[1]),
        max(0, int(top.max()) + size_px + 1 - pixels.shape[0]),
    )
    if any((*before, *behind)):  # grids that reach over the scene's rim
        pixels = np.pad(pixels, ((before[1], behind[1]), (before[0], behind[0]), (0, 0)))
    if whole.all():
        windows = np.lib.stride_tricks.sliding_window_view(pixels, (size_px, size_px), axis=(0, 1))
        cut = windows[top + before[1], left + before[0]]  # [n, 4, H, W]
        return cut[:, :3], cut[:, 3] != 0
    colour = np.empty((len(left), 3, size_px, size_px), dtype=np.uint8)
    valid = np.empty((len(left), size_px, size_px), dtype=bool)
    for rows, wider in ((np.flatnonzero(whole), 0), (np.flatnonzero(~whole), 1)):
        if not len(rows):
            continue
        windows = np.lib.stride_tricks.sliding_window_view(pixels, (size_px + wider, size_px + wider), axis=(0, 1))
        cut = windows[top[rows] + before[1], left[rows] + before[0]]  # [n, 4, H, W]
        if wider:
            cut = _moved(cut, part_x[rows], part_y[rows])
        colour[rows] = cut[:, :3]
        valid[rows] = cut[:, 3] > 0
    return colour, valid


def _moved(pixels: NDArray[np.uint8], part_x: NDArray[np.float64], part_y: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Windows [n, 4, H + 1, W + 1] interpolated at a fraction of a pixel right and down: [n, 4, H, W]."""
    right: NDArray[Any] = np.rint(part_x * 256).astype(np.uint16)[:, None, None, None]
    down: NDArray[Any] = np.rint(part_y * 256).astype(np.uint16)[:, None, None, None]
    wide: NDArray[Any] = pixels.astype(np.uint16)
    along: NDArray[Any] = (wide[..., :-1] * (256 - right) + wide[..., 1:] * right + 128) >> 8
    moved: NDArray[Any] = (along[..., :-1, :] * (256 - down) + along[..., 1:, :] * down + 128) >> 8
    gaps = np.flatnonzero((pixels[:, 3] < 255).any(axis=(1, 2)))
    if len(gaps):  # colour is 0 where it is not valid: divide by the weight of what is
        weight = moved[gaps, 3:].astype(np.float32) / 255
        shade = np.rint(moved[gaps, :3] / np.maximum(weight, 1e-6))
        usable = weight >= 0.5
        moved[gaps, :3] = np.where(usable, np.minimum(shade, 255), 0)
        moved[gaps, 3:] = usable * 255
    return moved.astype(np.uint8)


def _sample(chunk: Chunk, place: Placement) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Grids of any axes and pixel size: in whole numbers where all is valid, else with the weights of what is."""
    size_px, (step_x, step_y) = place.size_px, chunk.steps
    count, (height, width) = len(place.where.coefficients), chunk.pixels.shape[:2]
    samples = 1 if place.step_px / min(step_x, step_y) <= _OVERSAMPLE_FROM else 2
    # (column, row) in chunk pixels = coefficients @ (u, v, 1); u and v run from -1 to 1
    scale, corner = np.array([step_x, step_y]), np.array([chunk.column, chunk.row])
    coefficients = place.where.coefficients / scale[:, None]
    coefficients[..., 2] -= corner / scale
    colour = np.empty((count, 3, size_px, size_px), dtype=np.uint8)
    valid = np.ones((count, size_px, size_px), dtype=bool)
    reach = np.abs(coefficients[..., :2]).sum(axis=2)  # [N, 2]
    low, high = coefficients[..., 2] - reach, coefficients[..., 2] + reach
    # Away from the rim, where the outermost pixels are repeated; and within what 32 bits hold.
    inner = (low > 1).all(axis=1) & (high < np.array([width, height]) - 1).all(axis=1)
    inner &= max(width, height) < 2**14
    todo = [np.flatnonzero(~inner)]
    fast = np.flatnonzero(inner)
    for start in range(0, len(fast), _SAMPLED_TOGETHER):
        rows = fast[start : start + _SAMPLED_TOGETHER]
        sampled = _sampled_whole(chunk.pixels, coefficients[rows], size_px, samples)  # [n, H, W, 4]
        colour[rows] = np.moveaxis(sampled[..., :3], -1, 1)
        todo.append(rows[(sampled[..., 3] < 255).any(axis=(1, 2))])
    slow = np.concatenate(todo)
    if len(slow):
        _sample_weighted(chunk.pixels, coefficients, slow, samples, colour, valid)
    return colour, valid


def _sampled_whole(
    pixels: NDArray[np.uint8], coefficients: NDArray[np.float64], size_px: int, samples: int
) -> NDArray[np.uint8]:
    """Bilinear samples of grids well inside the chunk, in whole numbers: [n, H, W, 4].

    Positions are taken to 1/256 pixel; the four weights are 1/256ths with the sum 1. Two of a pixel's four bytes are
    weighted at once in the two halves of a 32-bit number.
    """
    width = pixels.shape[1]
    flat = np.ascontiguousarray(pixels).reshape(-1).view(np.uint32)
    across = size_px * samples
    centres = (2 * np.arange(across) + 1) / across - 1
    # Sums of two such parts stay exact to 2**-15 pixel, wherever the chunk begins.
    east = np.rint(coefficients[:, :, 0, None] * centres * 2**16).astype(np.int32)  # [n, 2, samples], along a row
    south = np.rint((coefficients[:, :, 1, None] * centres + coefficients[:, :, 2, None] - 0.5) * 2**16)
    at: NDArray[Any] = (
        east[:, :, None, :] + south.astype(np.int32)[:, :, :, None] + 128
    ) >> 8  # [n, 2, samples, samples]
    x, y = at[:, 0], at[:, 1]
    part_x, part_y = (x & 255).astype(np.uint32), (y & 255).astype(np.uint32)
    place = ((y >> 8) * width + (x >> 8)).astype(np.intp)
    both = (part_x * part_y + 128) >> 8
    weights = (256 - part_x - part_y + both, part_x - both, part_y - both, both)
    half = _HALF if samples == 1 else np.uint32(0)
    low, high = np.full(place.shape, half, dtype=np.uint32), np.full(place.shape, half, dtype=np.uint32)
    for offset, weight in zip((0, 1, width, width + 1), weights, strict=True):
        corner = flat[offset:].take(place, mode="clip")
        low += (corner & _BYTES) * weight
        high += ((corner >> 8) & _BYTES) * weight
    if samples > 1:  # averaged before anything is rounded
        low, high = _averaged(low, size_px, samples), _averaged(high, size_px, samples)
    blended: NDArray[Any] = ((low >> 8) & _BYTES) | (high & ~_BYTES)
    return blended.view(np.uint8).reshape(*blended.shape, 4)


def _averaged(halves: NDArray[np.uint32], size_px: int, samples: int) -> NDArray[np.uint32]:
    """Each half of the numbers [n, H * s, W * s], averaged over s × s of them, half a level added: [n, H, W]."""
    parts = halves.view(np.uint16).reshape(-1, size_px, samples, size_px, samples, 2)
    sums = np.zeros((len(parts), size_px, size_px, 2), dtype=np.uint32)
    for down, right in product(range(samples), repeat=2):
        sums += parts[:, :, down, :, right]
    rounded: NDArray[np.uint16] = (sums // samples**2 + 128).astype(np.uint16)
    return rounded.view(np.uint32)[..., 0]


def _sample_weighted(
    pixels: NDArray[np.uint8],
    coefficients: NDArray[np.float64],
    rows: NDArray[np.intp],
    samples: int,
    colour: NDArray[np.uint8],
    valid: NDArray[np.bool_],
) -> None:
    """Sample these rows of `colour` and `valid` with the weights of the valid pixels, one grid at a time."""
    size_px = valid.shape[1]
    centres = (2 * np.arange(size_px * samples) + 1) / (size_px * samples) - 1  # [H * samples], -1..1
    for row in rows:
        column_of, row_of = coefficients[row]
        columns = column_of[0] * centres + column_of[1] * centres[:, None] + column_of[2]
        lines = row_of[0] * centres + row_of[1] * centres[:, None] + row_of[2]
        weighted = _bilinear(pixels, columns, lines)  # [H * s, W * s, 4]
        if samples > 1:
            weighted = weighted.reshape(size_px, samples, size_px, samples, 4).mean(axis=(1, 3))
        weight = weighted[..., 3:] / 255
        valid[row] = weight[..., 0] >= 0.5
        shade = np.rint(weighted[..., :3] / np.maximum(weight, 1e-6))
        shade = np.where(valid[row][..., None], np.clip(shade, 0, 255), 0).astype(np.uint8)
        colour[row] = np.moveaxis(shade, -1, 0)


def covered(where: SourceMap, size_px: int, width: int, height: int) -> NDArray[np.bool_]:
    """Which pixel centres of N grids lie within a scene of `width` × `height` pixels: [N, H, W]."""
    centres = (2 * np.arange(size_px) + 1) / size_px - 1
    columns, rows = (
        axis[:, 0, None, None] * centres + axis[:, 1, None, None] * centres[:, None] + axis[:, 2, None, None]
        for axis in (where.coefficients[:, 0], where.coefficients[:, 1])
    )
    return (columns >= 0) & (columns <= width) & (rows >= 0) & (rows <= height)


def _bilinear(
    pixels: NDArray[np.uint8], columns: NDArray[np.float64], rows: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Bilinear samples of [h, w, 4] (colour 0 where not valid) at continuous positions [H, W]: float32 [H, W, 4].

    Positions count from the outer corner of the first pixel, so the centre of pixel 0 is at 0.5. Outside the image the
    weight, and with it the result, is 0; within half a pixel of the rim the outermost pixel is repeated.
    """
    height, width = pixels.shape[:2]
    inside = (columns >= 0) & (columns <= width) & (rows >= 0) & (rows <= height)
    x = np.clip(columns - 0.5, 0, width - 1)
    y = np.clip(rows - 0.5, 0, height - 1)
    left, top = x.astype(np.int64), y.astype(np.int64)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    part_x = (x - left).astype(np.float32)[..., None]
    part_y = (y - top).astype(np.float32)[..., None]
    above = pixels[top, left] * (1 - part_x) + pixels[top, right] * part_x
    below = pixels[bottom, left] * (1 - part_x) + pixels[bottom, right] * part_x
    sampled: NDArray[np.float32] = above * (1 - part_y) + below * part_y
    sampled[~inside] = 0
    return sampled
