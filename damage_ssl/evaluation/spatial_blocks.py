"""Spatial blocks: neighbours look alike and share scenes, so labels are divided by whole blocks: into train and
validation, or into folds of which each is held out once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damage_ssl.errors import LabelsError
from damage_ssl.settings import SplitSettings

FOLDS = 5
"""Parts of the labels that are held out in turn, where there are as many blocks."""

_RESTARTS = 64
_HALVINGS = 3
_COST_OF_LACKING = 1000.0


@dataclass(frozen=True, kw_only=True)
class BlockSplit:
    """Labelled buildings of each side (ids, in the given order) and the block size in metres that was used."""

    train: NDArray[np.str_]
    validation: NDArray[np.str_]
    block_m: float


def block_of(x_m: NDArray[np.float64], y_m: NDArray[np.float64], block_m: float) -> NDArray[np.str_]:
    """Name of the square block, `block_m` metres wide, that holds each point of a projected CRS, e.g. `-3_17`."""
    column = np.floor(np.asarray(x_m, dtype=float) / block_m).astype(np.int64)
    row = np.floor(np.asarray(y_m, dtype=float) / block_m).astype(np.int64)
    return np.char.add(np.char.add(column.astype(str), "_"), row.astype(str))


def split_labelled(
    building_id: NDArray[np.str_],
    block: NDArray[np.str_],
    class_index: NDArray[np.int64] | NDArray[np.str_],
    settings: SplitSettings,
    rng: np.random.Generator,
) -> BlockSplit:
    """Divide labelled buildings into train and validation by whole blocks.

    Of many random orders of the blocks, each filled greedily, the one is taken whose share of every class in the
    validation set is nearest to `settings.validation_share`.

    Args:
        building_id: [N] ids.
        block: [N] name of each building's block.
        class_index: [N] class of each building: its index, or its name, which errors then give.
        settings: the wanted share, the least number per class on both sides.
        rng: draws the orders of the blocks.

    Raises:
        LabelsError: no assignment of whole blocks leaves enough of each class on both sides.
    """
    classes, counts = np.unique(class_index, return_counts=True)
    needed = settings.min_train_per_class + settings.min_validation_per_class
    found = ", ".join(f"class {label}: {count}" for label, count in zip(classes, counts, strict=True)) or "none"
    if len(classes) < 2:
        raise LabelsError(
            f"labels: {len(class_index)} labelled buildings of {len(classes)} class ({found}); training needs at least "
            f"{needed} of each of two classes; label buildings of another class"
        )
    if counts.min() < needed:
        raise LabelsError(
            f"labels: too few to train and validate ({found}); {needed} of each class are needed "
            f"({settings.min_train_per_class} to train, {settings.min_validation_per_class} to validate)"
        )
    blocks, block_row = np.unique(block, return_inverse=True)
    table = np.zeros((len(blocks), len(classes)), dtype=np.int64)  # [blocks, classes]
    np.add.at(table, (block_row, np.searchsorted(classes, class_index)), 1)
    chosen = _best_blocks(table, settings, rng)
    if chosen is None:
        raise LabelsError(
            f"labels: they lie in {len(blocks)} blocks of {settings.block_m:g} m ({found}), and no division into whole "
            f"blocks leaves {settings.min_train_per_class} of each class to train and "
            f"{settings.min_validation_per_class} to validate; label buildings in other parts of the event"
        )
    validation = chosen[block_row]
    ids = np.asarray(building_id)
    return BlockSplit(train=ids[~validation], validation=ids[validation], block_m=settings.block_m)


def split_by_position(
    building_id: NDArray[np.str_],
    x_m: NDArray[np.float64],
    y_m: NDArray[np.float64],
    class_index: NDArray[np.int64] | NDArray[np.str_],
    settings: SplitSettings,
    rng: np.random.Generator,
) -> BlockSplit:
    """`split_labelled` on blocks of `settings.block_m`, halved up to three times where no division works.

    Args:
        building_id: [N] ids.
        x_m: [N] easting in one projected CRS, metres.
        y_m: [N] northing, metres.
        class_index: [N] class of each building.
        settings: block size and what is needed of each class.
        rng: draws the orders of the blocks.

    Raises:
        LabelsError: no division works at an eighth of the block size either.
    """
    for halving in range(_HALVINGS + 1):
        tried = settings.replace(block_m=settings.block_m / 2**halving)
        try:
            return split_labelled(building_id, block_of(x_m, y_m, tried.block_m), class_index, tried, rng)
        except LabelsError:
            if halving == _HALVINGS:
                raise
    raise AssertionError("unreachable")


def block_folds(block: NDArray[np.str_], class_index: NDArray[np.int64], folds: int = FOLDS) -> NDArray[np.intp]:
    """The fold [N] of each labelled building: whole blocks, dealt so that each fold gets its share of every class.

    The block with most goes first, each to the fold where the squared shares of the classes grow least, of equal
    ones to the emptiest. Fewer folds where there are fewer blocks.

    Args:
        block: [N] name of each building's block.
        class_index: [N] its class.
        folds: how many.
    """
    names, row = np.unique(block, return_inverse=True)
    classes, column = np.unique(class_index, return_inverse=True)
    table = np.zeros((len(names), len(classes)))
    np.add.at(table, (row, column), 1.0)
    table /= np.maximum(table.sum(axis=0), 1.0)
    held = np.zeros((max(min(folds, len(names)), 1), len(classes)))
    fold = np.zeros(len(names), dtype=np.intp)
    for index in np.argsort(-table.sum(axis=1), kind="stable"):
        grown = (table[index] * (2 * held + table[index])).sum(axis=1)
        fold[index] = (grown + 1e-3 * held.sum(axis=1)).argmin()
        held[fold[index]] += table[index]
    return np.asarray(fold[row], dtype=np.intp)


def spatial_folds(
    x_m: NDArray[np.float64], y_m: NDArray[np.float64], class_index: NDArray[np.int64], settings: SplitSettings
) -> tuple[NDArray[np.intp], float] | None:
    """`block_folds` on blocks of `settings.block_m`, halved up to three times until every fold leaves enough to learn.

    Args:
        x_m: [N] easting in one projected CRS, metres.
        y_m: [N] northing, metres.
        class_index: [N] class of each building.
        settings: block size, and how many of each class must lie outside every fold (`min_train_per_class`).

    Returns:
        The fold of each building [N] and the block size that was used; None where no size works.
    """
    for halving in range(_HALVINGS + 1):
        block_m = settings.block_m / 2**halving
        fold = block_folds(block_of(x_m, y_m, block_m), class_index)
        counts = np.array(
            [[(class_index[fold != each] == c).sum() for c in np.unique(class_index)] for each in set(fold)]
        )
        if counts.size and counts.min() >= settings.min_train_per_class:
            return fold, block_m
    return None


def _best_blocks(
    table: NDArray[np.int64], settings: SplitSettings, rng: np.random.Generator
) -> NDArray[np.bool_] | None:
    """Which blocks validate: [blocks] bool, or None where no order of the blocks gave a permitted division."""
    total = table.sum(axis=0)
    least, most = settings.min_validation_per_class, total - settings.min_train_per_class
    target = np.clip(np.rint(settings.validation_share * total), least, most)

    def cost_of(held: NDArray[np.int64]) -> float:
        lacking = np.maximum(least - held, 0) + np.maximum(held - most, 0)
        return float((((held - target) / total) ** 2).sum() + _COST_OF_LACKING * lacking.sum())

    best: NDArray[np.bool_] | None = None
    best_cost = float(_COST_OF_LACKING)  # any building that lacks costs at least this much: not permitted
    for _ in range(_RESTARTS):
        chosen = _filled(table, cost_of, rng.permutation(len(table)))
        cost = cost_of(table[chosen].sum(axis=0))
        if cost < best_cost:
            best, best_cost = chosen, cost
            if cost == 0:
                break
    return best


def _filled(
    table: NDArray[np.int64], cost_of: Callable[[NDArray[np.int64]], float], order: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Take blocks in or out, in this order and for as long as it lowers the cost: [blocks] bool."""
    chosen = np.zeros(len(table), dtype=bool)
    held = np.zeros(table.shape[1], dtype=np.int64)
    cost = cost_of(held)
    improved = True
    while improved:
        improved = False
        for block in order:
            flipped = held + (-table[block] if chosen[block] else table[block])
            flipped_cost = cost_of(flipped)
            if flipped_cost < cost - 1e-12:
                chosen[block] = ~chosen[block]
                held, cost, improved = flipped, flipped_cost, True
    return chosen
