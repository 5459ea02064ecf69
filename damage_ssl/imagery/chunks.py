"""Pixels of a scene by chunk, at full resolution or from its overviews."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window as FileWindow
from scipy import ndimage

from damage_ssl.errors import SourceError
from damage_ssl.imagery.bands import FILL_REACH_PX, fill, is_fill, read_bands, stretched
from damage_ssl.imagery.raster import from_raster
from damage_ssl.imagery.scene import Overview, Scene
from damage_ssl.settings import ReadSettings

ReadWindow = tuple[tuple[int, int], tuple[int, int]]
"""Columns and rows, each from the first to behind the last."""


@dataclass(frozen=True)
class Chunk:
    """A window of a scene in memory, at the scene's resolution or averaged over `reduction` × `reduction` pixels.

    `pixels` is uint8 [h, w, 4]: red, green, blue, and 255 where the pixel is valid; colour is 0 where it is not.
    (`column`, `row`) is the place of its upper-left corner in scene pixels, and `steps` how many scene pixels a pixel
    of the chunk spans across and down. Both are whole unless the chunk comes from an overview whose size does not
    divide the scene's: GDAL stretches those to cover the whole scene, so `steps` is a little under `reduction`.
    A scene position (x, y) lies at ((x - column) / steps[0], (y - row) / steps[1]) in the chunk.
    """

    pixels: NDArray[np.uint8]
    column: float
    row: float
    reduction: int = 1
    shrinkage: tuple[float, float] = (1.0, 1.0)

    @property
    def steps(self) -> tuple[float, float]:
        """Scene pixels a chunk pixel, across and down."""
        return self.reduction * self.shrinkage[0], self.reduction * self.shrinkage[1]

    def reduced(self, factor: int) -> "Chunk":
        """The chunk averaged over `factor` × `factor` valid pixels; its corner must be a multiple of `factor`."""
        if factor == 1:
            return self
        height, width = (-(-size // factor) for size in self.pixels.shape[:2])
        padded = self.pixels
        if padded.shape[:2] != (height * factor, width * factor):
            padded = np.zeros((height * factor, width * factor, 4), dtype=np.uint8)
            padded[: self.pixels.shape[0], : self.pixels.shape[1]] = self.pixels
        # 16 bits hold the sum of 16 × 16 bytes and take half the time of 32
        sums = np.zeros((height, width * factor, 4), dtype=np.uint16 if factor <= 16 else np.uint32)
        for k in range(factor):  # invalid pixels are 0 and do not add
            sums += padded[k::factor]
        sums = sum((sums[:, k::factor] for k in range(1, factor)), start=sums[:, ::factor])  # [h, w, 4]
        if sums.size and sums[..., 3].min() == 255 * factor**2:  # all valid, as most chunks are
            out = ((sums + factor**2 // 2) // factor**2).astype(np.uint8)
            return Chunk(out, self.column, self.row, self.reduction * factor, self.shrinkage)
        count = sums[..., 3:] // 255
        colour = (sums[..., :3] + count // 2) // np.maximum(count, 1)
        valid = np.where(2 * count >= factor**2, 255, 0)
        out = np.concatenate([np.where(valid > 0, colour, 0), valid], axis=2).astype(np.uint8)
        return Chunk(out, self.column, self.row, self.reduction * factor, self.shrinkage)


def read_chunk(
    scene: Scene,
    columns: tuple[int, int],
    rows: tuple[int, int],
    *,
    multiple: int = 1,
    reduction: int = 1,
    reading: ReadSettings | None = None,
) -> Chunk:
    """Read scene pixels `columns` × `rows` (half-open, clipped to the scene), each block of the file once.

    The corner is moved outwards to a multiple of `multiple` pixels. Pixels are invalid by an alpha band, an internal
    or external mask, a nodata value, NaN, or as black fill (`black_fill`).

    With `reduction` > 1 the chunk comes averaged over up to that many pixels. It is read from the coarsest overview
    that is not coarser than that and was found to agree with the average of the full resolution when the event was
    made (`trusted_overviews`: within 3 of 255 levels, root mean square); otherwise the full resolution is averaged.
    **The chunk's own `reduction` says what came**: the largest multiple of the overview's factor that is not above
    `reduction`, so exactly `reduction` where the factor divides it or no overview serves. What remains is the caller's:
    ask for the whole part of grid step / scene pixel, then use `chunk.steps` for positions.

    Raises:
        SourceError: the raster cannot be read, also after trying again over the network.
    """
    (chunk,) = read_chunks(scene, [(columns, rows)], multiple=multiple, reduction=reduction, reading=reading)
    return chunk


def read_chunks(
    scene: Scene,
    windows: Sequence[ReadWindow],
    *,
    multiple: int = 1,
    reduction: int = 1,
    reading: ReadSettings | None = None,
) -> list[Chunk]:
    """`read_chunk` of several windows in one go: what it takes to get at a raster costs as much as a small window.

    Raises:
        SourceError: one of them cannot be read.
    """
    overview = max(
        (overview for overview in scene.overviews if overview.factor <= reduction),
        key=lambda overview: overview.factor,
        default=None,
    )
    factor = 1 if overview is None else overview.factor
    remaining = max(1, reduction // factor)
    unit = lcm(multiple, factor * remaining) // factor
    chunks: list[Chunk] = from_raster(
        scene.href,
        lambda source: [_read(source, scene, *window, unit=unit, overview=overview) for window in windows],
        overview=None if overview is None else overview.level,
        reading=reading,
        error=SourceError,
    )
    return [chunk.reduced(remaining) for chunk in chunks]


def _read(
    source: Any,
    scene: Scene,
    columns: tuple[int, int],
    rows: tuple[int, int],
    *,
    unit: int,
    overview: Overview | None,
) -> Chunk:
    """The window out of the scene's own raster or one of its overviews; the corner is a multiple of `unit` in it."""
    factor = 1 if overview is None else overview.factor
    step_x, step_y = scene.width / source.width, scene.height / source.height
    left, right = _span(columns, step_x, source.width, unit)
    top, bottom = _span(rows, step_y, source.height, unit)
    place = left * step_x, top * step_y, factor, (step_x / factor, step_y / factor)
    if right <= left or bottom <= top:
        return Chunk(np.zeros((0, 0, 4), dtype=np.uint8), *place)
    outer_left, outer_top = max(0, left - FILL_REACH_PX), max(0, top - FILL_REACH_PX)
    width = min(source.width, right + FILL_REACH_PX) - outer_left
    height = min(source.height, bottom + FILL_REACH_PX) - outer_top
    bands, valid = read_bands(source, FileWindow(outer_left, outer_top, width, height), scene.bands)
    filled = fill(bands, factor=factor)
    if scene.fill is not None:
        missing = is_fill(bands, scene.fill, factor=factor)
        filled |= missing
        bands = np.where(missing, 0, bands)  # which a stretch can take
    if filled.any():
        if overview is not None:  # its pixels on the border of the fill are averages of black and picture
            filled = ndimage.binary_dilation(filled, np.ones((3, 3), dtype=bool))
        valid &= ~filled
    crop = slice(top - outer_top, bottom - outer_top), slice(left - outer_left, right - outer_left)
    valid = valid[crop]
    pixels = np.empty((*valid.shape, 4), dtype=np.uint8)
    for index, band in enumerate(bands):
        pixels[..., index] = band[crop] if scene.stretch is None else stretched(band[crop], scene.stretch[index])
    pixels[..., 3] = 255
    if not valid.all():
        pixels[~valid] = 0
    return Chunk(pixels, *place)


def _span(wanted: tuple[int, int], step: float, size: int, unit: int) -> tuple[int, int]:
    """Scene pixels `wanted` in pixels of `step` scene pixels: moved outwards, clipped, from a multiple of `unit`."""
    first = floor(max(0, wanted[0]) / step + 1e-9) // unit * unit
    return first, min(size, ceil(wanted[1] / step - 1e-9))
