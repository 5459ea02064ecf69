"""The network over a whole area: tile by tile, blended where tiles overlap, kept on disk and not in memory.

Tiles lie on a fixed lattice. A tile's weight is 0 on the margin that saw the padding, rises linearly over the overlap
and is 1 inside, so that the weights of all tiles add up to 1 everywhere and no sum of weights has to be kept.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from damage_ssl.detection.search_grid import Area, Square, read_square
from damage_ssl.detection.settings import DetectionSettings
from damage_ssl.imagery.scene import Scene
from damage_ssl.progress import ProgressCallback

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

_FULL = 65535


class ProbabilityMap:
    """Probabilities [channels, H, W] of an area on disk as 16-bit numbers; what was never written is 0.

    Only chunks that hold imagery take room.
    """

    def __init__(self, path: Path, area: Area, channels: int, settings: DetectionSettings) -> None:
        self._array = zarr.create_array(
            store=path,
            shape=(channels, area.grid.height, area.grid.width),
            chunks=(channels, settings.tile_px, settings.tile_px),
            dtype="uint16",
            fill_value=0,
        )

    def add(self, square: Square, values: NDArray[np.float32]) -> None:
        """Add weighted probabilities [channels, S, S] where the square lies in the area."""
        inner, outer = self._windows(square)
        if inner is None:
            return
        sum_ = np.asarray(self._array[:, outer[0], outer[1]], dtype=np.int64)
        sum_ += np.rint(values[:, inner[0], inner[1]] * _FULL).astype(np.int64)
        self._array[:, outer[0], outer[1]] = np.clip(sum_, 0, _FULL).astype(np.uint16)

    def read(self, square: Square) -> NDArray[np.float32]:
        """Probabilities [channels, S, S] of a square; 0 outside the area."""
        out = np.zeros((self._array.shape[0], square.size_px, square.size_px), dtype=np.float32)
        inner, outer = self._windows(square)
        if inner is not None:
            out[:, inner[0], inner[1]] = np.asarray(self._array[:, outer[0], outer[1]], dtype=np.float32) / _FULL
        return out

    def _windows(self, square: Square) -> tuple[tuple[slice, slice] | None, tuple[slice, slice]]:
        _, height, width = self._array.shape
        top, bottom = max(0, square.row), min(height, square.row + square.size_px)
        left, right = max(0, square.column), min(width, square.column + square.size_px)
        if bottom <= top or right <= left:
            return None, (slice(0), slice(0))
        inner = (slice(top - square.row, bottom - square.row), slice(left - square.column, right - square.column))
        return inner, (slice(top, bottom), slice(left, right))


def tile_weight(settings: DetectionSettings) -> NDArray[np.float32]:
    """[S, S]: what a tile's pixels count; moved by `stride_px` in both directions, they add up to 1 everywhere."""
    ramp = (np.arange(settings.overlap_px) + 0.5) / max(settings.overlap_px, 1)
    flat = np.ones(settings.tile_px - 2 * settings.margin_px - 2 * settings.overlap_px)
    margin = np.zeros(settings.margin_px)
    line = np.concatenate([margin, ramp, flat, ramp[::-1], margin])
    return np.outer(line, line).astype(np.float32)


def map_probabilities(
    predict: Predict,
    area: Area,
    scenes: Sequence[Scene],
    path: Path,
    settings: DetectionSettings,
    *,
    channels: int,
    progress: ProgressCallback | None = None,
) -> ProbabilityMap:
    """Run `predict` (uint8 [1, 3, S, S] → [1, channels, S, S] in [0, 1]) over an area into a map at `path`.

    Pixels without imagery get 0. Memory is a few tiles, whatever the size of the area.

    Raises:
        InputError: a scene cannot be read. StorageError: the disk is full.
    """
    out = ProbabilityMap(path, area, channels, settings)
    weight = tile_weight(settings)
    start = -(settings.margin_px + settings.overlap_px)
    tiles = list(area.squares(settings.tile_px, step_px=settings.stride_px, start_px=start))
    for number, square in enumerate(tiles, start=1):
        pixels, valid = read_square(area, square, scenes)
        if valid.any():
            out.add(square, predict(pixels[None])[0] * (weight * valid))
        if progress is not None:
            progress(number, len(tiles))
    return out
