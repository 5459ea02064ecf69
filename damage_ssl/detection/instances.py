"""Footprints as pixels: one number a building, and what the network is to learn of them."""

from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage

_LEAST_SEED_PX = 4
_LEAST_PART_PX = 16
_VALLEY = 0.2
CORE_REACH_PX = 2
"""A core pixel is farther than this from everything that is not its own building: a metre at 0.5 m."""


def draw_instances(geometry: NDArray[Any], transform: Affine, size_px: int) -> NDArray[np.int32]:
    """[H, W]: 0 outside, else 1 + the row of the building; where two overlap, the later one."""
    shapes = [(polygon, number) for number, polygon in enumerate(geometry, start=1)]
    if not shapes:
        return np.zeros((size_px, size_px), dtype=np.int32)
    drawn: NDArray[np.int32] = rasterize(shapes, out_shape=(size_px, size_px), transform=transform, dtype=np.int32)
    return drawn


def targets(instances: NDArray[np.int32]) -> NDArray[np.uint8]:
    """[2, H, W] of 0 and 1: building, and core (`network.CHANNELS`)."""
    side = 2 * CORE_REACH_PX + 1
    same = ndimage.minimum_filter(instances, side) == ndimage.maximum_filter(instances, side)
    building = instances > 0
    return np.stack([building, building & same]).astype(np.uint8)


def split_buildings(building: NDArray[Any], core: NDArray[Any], *, level: float = 0.5) -> NDArray[np.int32]:
    """Number the buildings in the network's two maps of probabilities [H, W]; 0 outside.

    Every connected core is the seed of a building, and so is every building area without a core. A core with a valley
    in it, shallower than `level` but `_VALLEY` deep seen from either side, is several seeds: roofs that touch often
    leave no more than that. The seeds grow into the building areas at the same speed (a watershed on the geodesic
    distance, Meyer & Beucher 1990): as a core is a building less a rim of constant width, they meet halfway, on the
    border that the network saw.
    """
    inside = building > level
    seeds = _seeds(np.where(inside, core, 0.0), level)
    count = int(seeds.max())
    areas, _ = ndimage.label(inside, structure=np.ones((3, 3)))
    seeded = np.zeros(int(areas.max()) + 1, dtype=bool)
    seeded[areas[seeds > 0]] = True
    numbers: NDArray[np.int32] = np.where(inside & ~seeded[areas], areas + count, seeds).astype(np.int32)
    cross, square = ndimage.generate_binary_structure(2, 1), np.ones((3, 3), dtype=bool)
    open_px, turn = int(np.count_nonzero(inside & (numbers == 0))), 0
    while open_px:  # cross and square by turns: growth close to a circle's
        grown = ndimage.maximum_filter(numbers, footprint=square if turn % 2 else cross, mode="constant")
        numbers = np.where(inside & (numbers == 0), grown, numbers)
        open_px, turn = int(np.count_nonzero(inside & (numbers == 0))), turn + 1
    return numbers


def _seeds(core: NDArray[Any], level: float) -> NDArray[np.int32]:
    """Cores above `level`, those with a valley divided; numbered from 1, with gaps."""
    seeds = _large_enough(ndimage.label(core > level)[0], _LEAST_SEED_PX)
    for higher in np.arange(level + 0.05, 1.0 - _VALLEY, 0.05):
        peaks, count = ndimage.label((core > higher) & (seeds > 0))
        if not count:
            break
        peaks = _large_enough(peaks, _LEAST_PART_PX)
        height = ndimage.maximum(core, peaks, np.arange(count + 1))
        peaks[height[peaks] < higher + _VALLEY] = 0
        number, first = np.unique(peaks, return_index=True)
        parent = seeds.ravel()[first[number > 0]]
        divided = np.zeros(int(seeds.max()) + 1, dtype=bool)
        parents, children = np.unique(parent, return_counts=True)
        divided[parents[children > 1]] = True
        here = divided[seeds]
        seeds = np.where(here, np.where(peaks > 0, peaks + len(divided), 0), seeds).astype(np.int32)
    return seeds


def _large_enough(numbers: NDArray[np.int32], least_px: int) -> NDArray[np.int32]:
    sizes = np.bincount(numbers.ravel())
    return np.where(sizes[numbers] >= least_px, numbers, 0).astype(np.int32)
