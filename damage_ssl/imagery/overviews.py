"""Which overviews of a raster may stand for the average of its pixels: found out by comparing, not by their label."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from damage_ssl.errors import InputError
from damage_ssl.imagery.chunks import Chunk, read_chunk
from damage_ssl.imagery.scene import Overview, Scene
from damage_ssl.settings import ReadSettings

MAX_DIFFERENCE = 3.0
"""Largest root mean square difference, in levels of 255, between an overview and the average of the full resolution.
Measured: 0.3-2 for `average` and 1-3 for `cubic` overviews, 5-17 for `nearest`."""
MAX_LOSSY_DIFFERENCE = 8.0
"""The same for lossy files, whose overviews bring compression noise of their own (measured: 4-5 at JPEG quality 90,
5-7.5 at 75)."""
MAX_ALIASING = 0.25
"""Largest share of "nearest pixel minus average" that may be in an overview: 1 where it took the nearest pixel
(measured: 0.7-1 then, under 0.1 else)."""
MAX_MASK_DIFFERENCE = 0.05
"""Largest share of pixels that only one of the two calls valid."""
_LOSSY = {"JPEG", "YCBCR JPEG", "WEBP", "LERC", "JXL", "JPEG2000", "JP2OPENJPEG"}
_MAX_FACTOR = 64
_WINDOWS = 3
_LEAST_SIDE_PX = 256
_MOST_SIDE_PX = 1024


def trusted_overviews(
    scene: Scene,
    factors: list[int],
    contrast: NDArray[np.float64],
    reading: ReadSettings,
    *,
    compression: str | None = None,
) -> tuple[Overview, ...]:
    """Those overviews that agree with box averages of the full resolution to `MAX_DIFFERENCE`.

    A file does not say how its overviews were made: `gdaladdo` takes the nearest pixel unless told otherwise, which
    aliases; and a file changed later may keep those of its older content. So up to three windows with the most
    contrast are read both ways. A lossy file may differ by `MAX_LOSSY_DIFFERENCE`, as long as the difference is noise
    and not aliasing, that is, does not go with the difference between nearest pixel and average.

    Args:
        scene: with its stretch.
        factors: of the file's overviews, in GDAL's order.
        contrast: [h, w] over the whole scene, coarse: how much there is to see; NaN where there are no data.
        reading: tries and waits.
        compression: GDAL's name of it, if any.

    Raises:
        InputError: the raster cannot be read.
    """
    trusted: list[Overview] = []
    for level, factor in enumerate(factors):
        if not 2 <= factor <= _MAX_FACTOR or factor in [overview.factor for overview in trusted]:
            continue
        overview = Overview(level, factor)
        most = MAX_LOSSY_DIFFERENCE if (compression or "").upper() in _LOSSY else MAX_DIFFERENCE
        found = compare(scene, overview, contrast, reading)
        if found is not None and found.difference <= most and found.aliasing <= MAX_ALIASING and found.masks_agree:
            trusted.append(overview)
    return tuple(sorted(trusted, key=lambda overview: overview.factor))


@dataclass(frozen=True)
class OverviewAgreement:
    """An overview against the averaged full resolution.

    `difference` is the root mean square over the colours, in levels of 255; `aliasing` the share of "nearest pixel
    minus average" in the difference (regression slope); `mask_difference` the share of pixels valid in only one.
    """

    difference: float
    aliasing: float
    mask_difference: float

    @property
    def masks_agree(self) -> bool:
        """Whether valid pixels are the same but for borders."""
        return self.mask_difference <= MAX_MASK_DIFFERENCE


def compare(
    scene: Scene, overview: Overview, contrast: NDArray[np.float64], reading: ReadSettings
) -> OverviewAgreement | None:
    """Read the windows with the most contrast both ways; None where the overview is broken or nothing is valid."""
    small = replace(scene, overviews=(overview,))
    side = int(np.clip(16 * overview.factor, _LEAST_SIDE_PX, _MOST_SIDE_PX))
    pairs = []
    disputed, seen = 0, 0
    for column, row in _places(scene, contrast):
        columns, rows = (column, column + side), (row, row + side)
        try:
            chunk = read_chunk(small, columns, rows, reduction=overview.factor, reading=reading)
        except InputError:
            return None
        mean, valid, nearest = _full_resolution(scene, chunk, reading)
        both = valid & (chunk.pixels[..., 3] > 0)
        pairs.append((mean[both], chunk.pixels[..., :3][both].astype(np.float64), [near[both] for near in nearest]))
        disputed += int(np.count_nonzero(valid != (chunk.pixels[..., 3] > 0)))
        seen += valid.size
    difference = np.concatenate([got - mean for mean, got, _ in pairs])  # [n, 3]
    if not len(difference):
        return None
    slopes = []
    for k in range(len(pairs[0][2])):
        aliased = np.concatenate([nearest[k] - mean for mean, _, nearest in pairs]).mean(axis=1)
        slopes.append(float(difference.mean(axis=1) @ aliased / max(aliased @ aliased, 1e-9)))
    return OverviewAgreement(float(np.sqrt((difference**2).mean())), max(slopes), disputed / seen)


def _full_resolution(
    scene: Scene, like: Chunk, reading: ReadSettings
) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[NDArray[np.uint8]]]:
    """The full resolution over exactly the ground of each pixel of `like`.

    Returns:
        averages [h, w, 3], valid [h, w], and the pixel at the corner and in the middle of each [h, w, 3].
    """
    height, width = like.pixels.shape[:2]
    columns = like.column + like.steps[0] * np.arange(width + 1)
    rows = like.row + like.steps[1] * np.arange(height + 1)
    left, top = int(columns[0]), int(rows[0])
    full = replace(scene, overviews=())
    chunk = read_chunk(full, (left, int(np.ceil(columns[-1]))), (top, int(np.ceil(rows[-1]))), reading=reading)
    sums = chunk.pixels.astype(np.float64)
    sums[..., 3] /= 255
    for axis, edges in ((0, rows - top), (1, columns - left)):
        total = np.cumsum(np.insert(sums, 0, 0, axis=axis), axis=axis)
        whole = np.clip(edges.astype(int), 0, total.shape[axis] - 1)
        following = np.minimum(whole + 1, total.shape[axis] - 1)
        part = np.expand_dims(edges - whole, (1, 2) if axis == 0 else (0, 2))
        at_edges = total.take(whole, axis) * (1 - part) + total.take(following, axis) * part
        sums = np.diff(at_edges, axis=axis)
    weight = sums[..., 3:]
    valid = weight[..., 0] >= 0.5 * like.steps[0] * like.steps[1] - 1e-9
    nearest = []
    for share in (0.0, 0.5):
        down, across = (
            np.minimum((edges[:-1] - start + share * step + 1e-6).astype(int), size - 1)
            for edges, start, step, size in (
                (rows, top, like.steps[1], chunk.pixels.shape[0]),
                (columns, left, like.steps[0], chunk.pixels.shape[1]),
            )
        )
        nearest.append(chunk.pixels[down][:, across, :3])
    return sums[..., :3] / np.maximum(weight, 1e-9), valid, nearest


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
