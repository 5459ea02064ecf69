"""Which buildings of a batch are read together, within the memory that a stage may use.

Where buildings are dense whole squares are read, where they are not single spots. The memory is divided into what the
processes need anyway and what they may read at a time. The constants are resident memory, measured (x86-64 Linux,
`VmHWM`, rounded up), and count what processes share, such as the code of libraries, once for each: an upper bound of
what the machine must have. `python -m benchmarks.patch_extraction --parts memory` measures the sum again.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from damage_ssl.errors import SettingsError
from damage_ssl.imagery.bands import FILL_REACH_PX
from damage_ssl.imagery.raster import GDAL_CACHE_BYTES
from damage_ssl.settings import Resources

_BLOCK_PX = 256
"""What a file's blocks are taken to measure, for weighing one large window against several small ones."""
_WORTH_SPLITTING = 0.8
"""Several windows must need fewer blocks than this share of the one around them: each costs time of its own."""
_KEPT_BYTES = 4
_READING_BYTES = 32
"""Bytes a pixel: of a chunk, and of all that is in memory for a moment while one is read."""


def reading_groups(
    fine_cell: NDArray[np.int64],
    boxes_px: Sequence[NDArray[np.float64]],
    memory_bytes: int,
    *,
    most_together: int = 1,
) -> Iterator[NDArray[np.intp]]:
    """Divide a batch into groups of buildings whose surroundings are read in one window a scene.

    The squares of four fine cells, sixteen and so on are tried from the smallest up: four are joined where one window
    needs about as few blocks as theirs together and fits into memory. Small groups are handed out several at once.

    Args:
        fine_cell: [N], ascending: place of each building in the Z-order of the fine cells.
        boxes_px: for each scene [N, 4]: least and greatest column, least and greatest row that a building needs in that
            scene; NaN where it does not touch it.
        memory_bytes: bounds the windows of all scenes together.
        most_together: groups are joined for reading while they have no more buildings than this (and fit into memory).

    Yields:
        the edges of groups to read together: group n is from edge n to edge n + 1. They cover the batch in its order.
    """
    level = 0
    groups = _runs(fine_cell)
    cost, memory = _needs(boxes_px, groups[:-1])
    while (fine_cell[0] >> 2 * level) != (fine_cell[-1] >> 2 * level):
        level += 1
        parents = _runs(fine_cell >> 2 * level)
        joint_cost, joint_memory = _needs(boxes_px, parents[:-1])
        kept_starts, kept_cost, kept_memory = [], [], []
        starts = groups[:-1]
        child = np.searchsorted(starts, parents)
        for parent in range(len(parents) - 1):
            own = slice(child[parent], child[parent + 1])
            whole = own.stop - own.start == 1 or (
                joint_memory[parent] <= memory_bytes and cost[own].sum() >= _WORTH_SPLITTING * joint_cost[parent]
            )
            kept_starts.append(parents[parent : parent + 1] if whole else starts[own])
            kept_cost.append(joint_cost[parent : parent + 1] if whole else cost[own])
            kept_memory.append(joint_memory[parent : parent + 1] if whole else memory[own])
        groups = np.append(np.concatenate(kept_starts), len(fine_cell))
        cost, memory = np.concatenate(kept_cost), np.concatenate(kept_memory)
    first, kept = 0, 0.0
    for number, needed in enumerate(memory):
        if number > first and (groups[number + 1] - groups[first] > most_together or kept + needed > memory_bytes):
            yield groups[first : number + 1]
            first, kept = number, 0.0
        kept += needed
    yield groups[first:]


def _runs(values: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where each run of equal values begins, and the end."""
    return np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1, [len(values)]]).astype(np.intp)


def _needs(
    boxes_px: Sequence[NDArray[np.float64]], starts: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Blocks that the windows of each group touch, and bytes that they take, over all scenes."""
    blocks, kept, largest = (np.zeros(len(starts)) for _ in range(3))
    for box in boxes_px:
        left, top = (np.fmin.reduceat(box[:, side], starts) - FILL_REACH_PX for side in (0, 2))
        right, bottom = (np.fmax.reduceat(box[:, side], starts) + FILL_REACH_PX for side in (1, 3))
        pixels = np.nan_to_num((right - left) * (bottom - top))
        across = np.floor(right / _BLOCK_PX) - np.floor(left / _BLOCK_PX) + 1
        down = np.floor(bottom / _BLOCK_PX) - np.floor(top / _BLOCK_PX) + 1
        blocks += np.nan_to_num(across * down)
        kept += pixels
        largest = np.maximum(largest, pixels)
    return blocks, kept * _KEPT_BYTES + largest * _READING_BYTES


MAIN_BYTES = 280_000_000
"""The first process before it cuts anything: 231 MB of interpreter and libraries, and 34 MB when projections, Parquet
and zarr have been used once; 13 MB for the process that looks after local workers."""
FOOTPRINT_BYTES = 2_500
"""What the first process holds of each footprint: polygon and id (1.0 kB), shifts (0.9 kB), row of the index."""
WORKER_BYTES = 240_000_000
"""A worker before it cuts anything: the libraries again, as in a script that imports extraction."""
CUTTING_BYTES = 70_000_000
"""Buffers of the buildings that are cut together, above all of the quality measures, and what the allocator keeps."""
LEAST_READING_BYTES = 40_000_000
"""A window around the smallest group of buildings, 600 to 1000 pixels wide, on both dates."""
UNBOUNDED_READING_BYTES = 4 * LEAST_READING_BYTES
"""What a process reads at a time where no bound was asked for and a large event has used the default up."""


def reading_bytes(resources: Resources, footprints: int = 0, *, store_bytes: int = 0) -> int:
    """Bytes that each process may use for the windows that it reads, so that all stay under the memory allowed.

    On a cluster, that bounds each of its tasks, and not this process. The default gives way to events of more buildings
    than it has room for (about 200,000); a bound that was asked for never does.

    Args:
        resources: processes and memory.
        footprints: how many this process holds.
        store_bytes: what a process that cuts holds to write it.

    Raises:
        SettingsError: it cannot be kept; the message says what can.
    """
    cutting = CUTTING_BYTES + GDAL_CACHE_BYTES + store_bytes
    here = MAIN_BYTES + FOOTPRINT_BYTES * footprints
    each = WORKER_BYTES + cutting
    if resources.cluster is not None:
        fixed, sharing = each, 1
    elif resources.workers == 0:
        fixed, sharing = here + cutting, 1
    else:
        fixed, sharing = here + each * resources.workers, resources.workers
    left = (resources.allowed_bytes - fixed) // sharing
    if resources.memory_bytes is None:
        # Nobody set a bound: the list of a large event's footprints may take more than the default.
        return int(max(left, UNBOUNDED_READING_BYTES))
    if left < LEAST_READING_BYTES:
        needed = fixed + LEAST_READING_BYTES * sharing
        workers = (resources.allowed_bytes - here) // (each + LEAST_READING_BYTES)
        fewer = f", or at most --workers {workers}" if workers >= 1 and resources.cluster is None else ""
        alone = here + cutting + LEAST_READING_BYTES
        if not fewer and sharing > 1 and alone <= resources.allowed_bytes:
            fewer = ", or --workers 0"
        what = (
            "each task" if resources.cluster else f"{resources.workers or 'no'} workers and {footprints:,} footprints"
        )
        raise SettingsError(
            f"--memory: {_shown(resources.allowed_bytes)} is too little for {what}; "
            f"give at least --memory {_shown(needed)}{fewer}"
        )
    return int(left)


def _shown(size: int) -> str:
    """In MB, rounded up."""
    return f"{-(-size // 1_000_000)}MB"
