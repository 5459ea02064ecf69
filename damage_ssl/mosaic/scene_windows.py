"""One scene under a batch of buildings: which grids it touches, and the windows that are read around them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damage_ssl.errors import InputError, SourceError
from damage_ssl.grid import GridBatch
from damage_ssl.imagery.chunks import Chunk, ReadWindow, read_chunks
from damage_ssl.imagery.resampling import MAX_FIT_ERROR_PX, Placement, place_grids, source_map
from damage_ssl.imagery.scene import Scene


@dataclass(frozen=True)
class Layer:
    """One scene that a batch of N buildings touches, and where their grids lie in it per view.

    `days` is the time to the other side of the pair. `touched` [N] says whose grids reach into the scene, `whole` [N]
    whose grid of the first view lies within it. `box_px` [N, 4] is what all views of a building need: least and
    greatest column, least and greatest row; NaN where it is not touched.
    """

    scene: Scene
    days: float
    places: tuple[Placement, ...]
    touched: NDArray[np.bool_]
    whole: NDArray[np.bool_]
    box_px: NDArray[np.float64]


@dataclass(frozen=True)
class LayerWindow:
    """What was read of a layer around the buildings `rows` (ascending), per view; or why it could not be read."""

    rows: NDArray[np.intp]
    chunks: tuple[Chunk, ...]
    failure: str | None


def layer_of(grids: Sequence[GridBatch], scene: Scene, days: float) -> Layer | None:
    """Where a batch's grids, one `GridBatch` a view, lie in a scene; None if none touches it.

    Raises:
        InputError: the scene's CRS bends too much over a patch.
    """
    if not _may_touch(max(grids, key=lambda grid: grid.half_m), scene):
        return None
    places = tuple(place_grids(grid, scene.crs, scene.transform, scene.gsd_m) for grid in grids)
    boxes = np.stack([place.where.boxes() for place in places])  # [views, N, 4]
    around = np.stack([boxes[..., 0].min(0), boxes[..., 1].max(0), boxes[..., 2].min(0), boxes[..., 3].max(0)], axis=1)
    touched = (around[:, 0] < scene.width) & (around[:, 1] > 0) & (around[:, 2] < scene.height) & (around[:, 3] > 0)
    if not touched.any():
        return None
    worst = max(float(place.where.fit_error_px[touched].max()) for place in places)
    if worst > MAX_FIT_ERROR_PX:
        raise InputError(
            f"{scene.href}: its CRS bends too much over a patch ({worst:.2f} pixels); "
            "warp it to UTM with gdalwarp first"
        )
    around[~touched] = np.nan
    first = boxes[0]
    whole = (first[:, 0] >= 0) & (first[:, 1] <= scene.width) & (first[:, 2] >= 0) & (first[:, 3] <= scene.height)
    return Layer(scene, days, places, touched, whole, around)


def read_windows(layer: Layer, rows: NDArray[np.intp], starts: NDArray[np.intp]) -> list[LayerWindow]:
    """Read a scene around groups of buildings: group n is `rows` (ascending) from `starts[n]` to the next start.

    There is one window for each group that touches the scene, averaged as each view needs it.
    """
    group = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(rows)))
    touched = layer.touched[rows]
    rows, group = rows[touched], group[touched]
    if not len(rows):
        return []
    first = np.flatnonzero(np.diff(group, prepend=-1))
    box = layer.box_px[rows]
    factors = [place.factor for place in layer.places]
    margin = 2 * max(factors)
    low = np.floor(np.minimum.reduceat(box[:, ::2], first)).astype(int) - margin
    high = np.ceil(np.maximum.reduceat(box[:, 1::2], first)).astype(int) + margin
    windows = [
        ((left, right), (top, bottom)) for (left, top), (right, bottom) in zip(low.tolist(), high.tolist(), strict=True)
    ]
    found = _read(layer.scene, windows, factors)
    return [
        LayerWindow(members, (), chunk) if isinstance(chunk, str) else LayerWindow(members, chunk, None)
        for members, chunk in zip(np.split(rows, first[1:]), found, strict=True)
    ]


def _read(scene: Scene, windows: Sequence[ReadWindow], factors: list[int]) -> list[tuple[Chunk, ...] | str]:
    """The chunks of each window, averaged by each factor; where it cannot be read, the reason.

    All are read in one go; only where that fails, one by one, so that a window does not suffer from another one's
    failure.
    """
    shared, multiple = int(np.gcd.reduce(factors)), int(np.lcm.reduce(factors))
    try:
        chunks = read_chunks(scene, windows, multiple=multiple, reduction=shared)
    except SourceError as error:
        if len(windows) == 1:
            return [f"{scene.scene_id}: {error}"]
        return [found for window in windows for found in _read(scene, [window], factors)]
    # An overview may have served only a part of the reduction that was asked for.
    return [tuple(chunk.reduced(factor // chunk.reduction) for factor in factors) for chunk in chunks]


def _may_touch(grids: GridBatch, scene: Scene) -> bool:
    """Whether one square around all grids reaches the scene: spares most scenes the exact look."""
    x, y = (grids.x_m.min() + grids.x_m.max()) / 2, (grids.y_m.min() + grids.y_m.max()) / 2
    reach_m = 2 * max(np.ptp(grids.x_m), np.ptp(grids.y_m)) + 4 * grids.half_m  # twice of what is needed
    around = GridBatch(grids.crs, np.array([x]), np.array([y]), 1, float(reach_m))
    left, right, top, bottom = source_map(around, scene.crs, scene.transform).boxes()[0]
    return bool(left < scene.width and right > 0 and top < scene.height and bottom > 0)
