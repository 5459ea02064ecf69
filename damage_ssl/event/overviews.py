"""Which overviews of a raster may stand for the average of its pixels: found out by comparing, not by their label."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from damage_ssl.errors import InputError
from damage_ssl.event.reading import Chunk, read_chunk
from damage_ssl.event.scene import Overview, Scene
from damage_ssl.settings import ReadSettings

MAX_DIFFERENCE = 3.0
"""Largest root mean square difference, in levels of 255, between an overview and the average of the full resolution."""
MAX_MASK_DIFFERENCE = 0.05
"""Largest share of pixels that only one of the two calls valid."""
_MAX_FACTOR = 64
_WINDOWS = 3
_LEAST_SIDE_PX = 256
_MOST_SIDE_PX = 1024


def trusted_overviews(
    scene: Scene, factors: list[int], contrast: NDArray[np.float64], reading: ReadSettings
) -> tuple[Overview, ...]:
    """Those overviews that agree with box averages of the full resolution to `MAX_DIFFERENCE`.

    A file does not say how its overviews were made: `gdaladdo` takes the nearest pixel unless told otherwise, which
    aliases; and a file changed later may keep those of its older content. So up to three windows with the most
    contrast are read both ways.

    Args:
        scene: with its stretch.
        factors: of the file's overviews, in GDAL's order.
        contrast: [h, w] over the whole scene, coarse: how much there is to see; NaN where there are no data.
        reading: tries and waits.

    Raises:
        InputError: the raster cannot be read.
    """
    trusted: list[Overview] = []
    for level, factor in enumerate(factors):
        if not 2 <= factor <= _MAX_FACTOR or factor in [overview.factor for overview in trusted]:
            continue
        overview = Overview(level, factor)
        if _agrees(scene, overview, contrast, reading):
            trusted.append(overview)
    return tuple(sorted(trusted, key=lambda overview: overview.factor))


def _agrees(scene: Scene, overview: Overview, contrast: NDArray[np.float64], reading: ReadSettings) -> bool:
    full, small = replace(scene, overviews=()), replace(scene, overviews=(overview,))
    side = int(np.clip(16 * overview.factor, _LEAST_SIDE_PX, _MOST_SIDE_PX))
    squares, compared, disputed, seen = 0.0, 0, 0, 0
    for column, row in _places(scene, contrast):
        columns, rows = (column, column + side), (row, row + side)
        try:
            read = read_chunk(small, columns, rows, reduction=overview.factor, reading=reading)
        except InputError:
            return False  # broken, while the full resolution can be read
        expected, valid = _averaged(full, read, reading)
        got_valid = read.pixels[..., 3] > 0
        difference = (expected - read.pixels[..., :3])[valid & got_valid]
        squares += float((difference**2).sum())
        compared += difference.size
        disputed += int(np.count_nonzero(valid != got_valid))
        seen += valid.size
    if not compared or disputed > MAX_MASK_DIFFERENCE * seen:
        return False
    return bool(np.sqrt(squares / compared) <= MAX_DIFFERENCE)


def _averaged(scene: Scene, like: Chunk, reading: ReadSettings) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The full resolution averaged over exactly the ground of each pixel of `like`: [h, w, 3], and valid [h, w]."""
    height, width = like.pixels.shape[:2]
    columns = like.column + like.steps[0] * np.arange(width + 1)
    rows = like.row + like.steps[1] * np.arange(height + 1)
    first = int(columns[0]), int(rows[0])
    chunk = read_chunk(
        scene, (first[0], int(np.ceil(columns[-1]))), (first[1], int(np.ceil(rows[-1]))), reading=reading
    )
    sums = chunk.pixels.astype(np.float64)
    sums[..., 3] /= 255
    for axis, edges in ((0, rows - first[1]), (1, columns - first[0])):
        total = np.cumsum(np.insert(sums, 0, 0, axis=axis), axis=axis)
        whole = np.clip(edges.astype(int), 0, total.shape[axis] - 1)
        following = np.minimum(whole + 1, total.shape[axis] - 1)
        part = np.expand_dims(edges - whole, (1, 2) if axis == 0 else (0, 2))
        at_edges = total.take(whole, axis) * (1 - part) + total.take(following, axis) * part
        sums = np.diff(at_edges, axis=axis)
    weight = sums[..., 3:]
    return sums[..., :3] / np.maximum(weight, 1e-9), weight[..., 0] >= 0.5 * like.steps[0] * like.steps[1] - 1e-9


def _places(scene: Scene, contrast: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Corners (column, row) of the cells with the most contrast, on multiples of the largest factor."""
    order = np.argsort(-np.nan_to_num(contrast, nan=-1.0), axis=None, kind="stable")[:_WINDOWS]
    height, width = contrast.shape
    return [
        (
            int(place % width * scene.width / width) // _MAX_FACTOR * _MAX_FACTOR,
            int(place // width * scene.height / height) // _MAX_FACTOR * _MAX_FACTOR,
        )
        for place in order
    ]
