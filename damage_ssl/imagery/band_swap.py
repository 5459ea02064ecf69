"""Red and blue that are swapped between the dates, found from the pixels: what is reddish before is bluish after."""

from functools import partial
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from shapely import box

from damage_ssl.imagery.bands import read_bands, rgb_indexes, told_indexes
from damage_ssl.imagery.href import is_remote
from damage_ssl.imagery.raster import from_raster
from damage_ssl.imagery.scene import Scene

_SIDE_PX = 128
_READ_PX = 2048
_METRES_A_DEGREE = 111_320.0  # of latitude
_LEAST_VALID = 400
_ALIKE = 0.3
_OPPOSED = -0.3


def swap_note(pre: Scene, post: Scene) -> str | None:
    """What is to be said where red minus blue of post goes against that of pre, though their brightness goes along.

    Only where the bands of one are a guess or were given by hand, and both are files here; they are read on a coarse
    grid over a part of what they share, 2,048 pixels of the coarser wide.

    Raises:
        InputError: a raster cannot be read.
    """
    if is_remote(pre.href) or is_remote(post.href):
        return None
    if all(from_raster(scene.href, partial(_is_told, scene=scene)) for scene in (pre, post)):
        return None
    shared = pre.extent.intersection(post.extent)
    if shared.is_empty or shared.area == 0:
        return None
    middle = shared.representative_point()
    reach = _READ_PX / 2 * max(pre.gsd_m, post.gsd_m) / _METRES_A_DEGREE
    across = reach / max(float(np.cos(np.radians(middle.y))), 0.01)
    near = shared.intersection(box(middle.x - across, middle.y - reach, middle.x + across, middle.y + reach))
    sides = [from_raster(scene.href, partial(_on_grid, scene=scene, bounds=near.bounds)) for scene in (pre, post)]
    if any(side is None for side in sides):
        return None
    (first, seen), (second, seen_too) = (side for side in sides if side is not None)
    both = seen & seen_too
    if np.count_nonzero(both) < _LEAST_VALID:
        return None
    brightness = _correlation(first.mean(axis=0)[both], second.mean(axis=0)[both])
    warmth = _correlation((first[0] - first[2])[both], (second[0] - second[2])[both])
    if brightness < _ALIKE or warmth > _OPPOSED:
        return None
    return (
        f"{post.scene_id}: what is reddish in {pre.scene_id} is bluish here (red minus blue correlates {warmth:+.2f}): "
        "red and blue of one date seem to be swapped; give --pre-bands or --post-bands, e.g. --post-bands 3,2,1"
    )


def _is_told(source: Any, scene: Scene) -> bool:
    """Whether the file itself says which bands are taken; grey has none to swap."""
    return scene.bands is None and (told_indexes(source) is not None or len(rgb_indexes(source)) == 1)


def _on_grid(
    source: Any, scene: Scene, bounds: tuple[float, float, float, float]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    """Red, green, blue [3, h, w], each by its own standard deviation, and where they are valid; None for grey."""
    indexes = list(scene.bands or rgb_indexes(source))
    if len(indexes) < 3:
        return None
    left, bottom, right, top = transform_bounds("EPSG:4326", source.crs, *bounds)
    if not np.isfinite([left, bottom, right, top]).all():
        return None
    transform = Affine((right - left) / _SIDE_PX, 0, left, 0, (bottom - top) / _SIDE_PX, top)
    with WarpedVRT(
        source,
        crs=source.crs,
        transform=transform,
        width=_SIDE_PX,
        height=_SIDE_PX,
        resampling=Resampling.average,
    ) as grid:
        bands, valid = read_bands(grid, Window(0, 0, _SIDE_PX, _SIDE_PX), tuple(indexes))
    bands = bands.astype(np.float64)
    valid = valid & (bands != 0).any(axis=0)
    if not valid.any():
        return None
    spread = bands[:, valid].std(axis=1)
    return bands / np.where(spread > 0, spread, 1.0)[:, None, None], valid


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
