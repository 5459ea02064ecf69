"""Which buildings of a batch are read together: whole squares where they are dense, single spots where they are not."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from damage_ssl.event.quality import FILL_REACH_PX

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
