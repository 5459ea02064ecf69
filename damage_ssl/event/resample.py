"""Scene pixels onto building grids: where each grid pixel lies in the scene, and what is there."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from damage_ssl.event.imagery import Chunk
from damage_ssl.grid import transformer

MAX_FIT_ERROR_PX = 0.05
_OVERSAMPLE_FROM = 1.25
_NODES = np.array([-1.0, 0.0, 1.0])


@dataclass(frozen=True)
class GridBatch:
    """N north-up square grids of one CRS, size and GSD, around centres (`x_m`, `y_m`) [N]."""

    crs: CRS
    x_m: NDArray[np.float64]
    y_m: NDArray[np.float64]
    size_px: int
    gsd_m: float

    def __len__(self) -> int:
        return len(self.x_m)

    @property
    def half_m(self) -> float:
        """Half the width of a grid."""
        return self.size_px * self.gsd_m / 2

    def take(self, rows: NDArray[np.intp]) -> "GridBatch":
        """The grids at these rows."""
        return GridBatch(self.crs, self.x_m[rows], self.y_m[rows], self.size_px, self.gsd_m)


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

    def step_px(self, size_px: int) -> float:
        """Scene pixels from one grid pixel to the next: the geometric mean of the median grid."""
        if not len(self.coefficients):
            return 1.0
        area = np.abs(np.linalg.det(self.coefficients[:, :, :2]))  # of a quarter of the grid
        return float(np.sqrt(np.median(area)) * 2 / size_px)


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


def resample(chunk: Chunk, where: SourceMap, size_px: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Pixels of N grids out of one chunk.

    Bilinear where the grid is about as fine as the scene or finer; where it is coarser, the chunk is averaged over
    whole scene pixels first and, for what remains of the ratio, several bilinear samples a grid pixel are averaged.
    Invalid scene pixels have no weight; a grid pixel is valid if at least half its weight is.

    Returns:
        colour uint8 [N, 3, H, W] (0 where not valid) and valid [N, H, W].
    """
    count = len(where.coefficients)
    step = where.step_px(size_px)
    factor = max(1, int(step + 1e-6))
    chunk = chunk.reduced(factor)
    samples = 1 if step / factor <= _OVERSAMPLE_FROM else 2
    centres = (2 * np.arange(size_px * samples) + 1) / (size_px * samples) - 1  # [H * samples], -1..1
    colour = np.zeros((count, size_px, size_px, 3), dtype=np.uint8)
    valid = np.zeros((count, size_px, size_px), dtype=bool)
    if chunk.pixels.size:
        flat = np.ascontiguousarray(chunk.pixels).reshape(-1, 4).astype(np.float32)
        for row in range(count):  # one grid at a time stays within the processor's cache
            column_of, row_of = where.coefficients[row]
            columns = (column_of[0] * centres + column_of[1] * centres[:, None] + column_of[2] - chunk.column) / factor
            rows = (row_of[0] * centres + row_of[1] * centres[:, None] + row_of[2] - chunk.row) / factor
            weighted = _bilinear(flat, chunk.pixels.shape[:2], columns, rows)  # [H * s, W * s, 4]
            if samples > 1:
                weighted = weighted.reshape(size_px, samples, size_px, samples, 4).mean(axis=(1, 3))
            weight = weighted[..., 3:] / 255
            valid[row] = weight[..., 0] >= 0.5
            shade = np.rint(weighted[..., :3] / np.maximum(weight, 1e-6))
            colour[row] = np.where(valid[row][..., None], np.clip(shade, 0, 255), 0).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(colour, -1, 1)), valid


def covered(where: SourceMap, size_px: int, width: int, height: int) -> NDArray[np.bool_]:
    """Which pixel centres of N grids lie within a scene of `width` × `height` pixels: [N, H, W]."""
    centres = (2 * np.arange(size_px) + 1) / size_px - 1
    columns, rows = (
        axis[:, 0, None, None] * centres + axis[:, 1, None, None] * centres[:, None] + axis[:, 2, None, None]
        for axis in (where.coefficients[:, 0], where.coefficients[:, 1])
    )
    return (columns >= 0) & (columns <= width) & (rows >= 0) & (rows <= height)


def _bilinear(
    flat: NDArray[np.float32], shape: tuple[int, int], columns: NDArray[np.float64], rows: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Bilinear samples of `flat` [h * w, 4] (colour premultiplied by validity) at continuous positions [H, W].

    Positions count from the outer corner of the first pixel, so the centre of pixel 0 is at 0.5. Outside the image the
    weight, and with it the result, is 0; within half a pixel of the rim the outermost pixel is repeated.
    """
    height, width = shape
    inside = (columns >= 0) & (columns <= width) & (rows >= 0) & (rows <= height)
    x = np.clip(columns - 0.5, 0, width - 1)
    y = np.clip(rows - 0.5, 0, height - 1)
    left, top = x.astype(np.int64), y.astype(np.int64)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    part_x = (x - left).astype(np.float32)[..., None]
    part_y = (y - top).astype(np.float32)[..., None]
    upper, lower = top * width, bottom * width
    above = flat[upper + left] * (1 - part_x) + flat[upper + right] * part_x
    below = flat[lower + left] * (1 - part_x) + flat[lower + right] * part_x
    sampled: NDArray[np.float32] = above * (1 - part_y) + below * part_y
    sampled[~inside] = 0
    return sampled
