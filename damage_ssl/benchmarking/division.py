"""The buildings of a benchmark: which are held out, which validate, which are drawn to be trained on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from damage_ssl.damage_scale import ClassScheme, LabelValue
from damage_ssl.errors import LabelsError
from damage_ssl.evaluation.spatial_blocks import block_of
from damage_ssl.labels.label_csv import read_label_csv
from damage_ssl.patches.pairs import PairSet, PairViews
from damage_ssl.patches.store import PLANES, PatchStore

Rows = NDArray[np.intp]
NO_CLASS = -1
_ORDERS = 200
_HALVINGS = 3


@dataclass(frozen=True, kw_only=True)
class Material:
    """All assessable buildings [N] of an event.

    `class_index` is `NO_CLASS` where no grade is known: such buildings serve as unlabelled. `x_m`, `y_m` are in one
    projected CRS; `reach_m` is the width of a patch: nearer buildings share pixels.
    """

    pairs: PairSet
    class_index: NDArray[np.int64]
    x_m: NDArray[np.float64]
    y_m: NDArray[np.float64]
    reach_m: float
    scheme: ClassScheme
    fingerprint: str

    @property
    def where(self) -> NDArray[np.float64]:
        """Positions [N, 2]."""
        return np.stack([self.x_m, self.y_m], axis=1)

    @property
    def damaged(self) -> NDArray[np.bool_]:
        """[N]: True where the grade is known and counts as damaged."""
        return self.class_index >= self.scheme.damaged_from


@dataclass(frozen=True, kw_only=True)
class Division:
    """Rows that are held out, that validate, and that may be trained on (labelled or not), by whole blocks.

    No building of one part has a pixel in common with one of another part. `block` [N] names each building's block of
    `block_m` metres.
    """

    test: Rows
    validation: Rows
    pool: Rows
    block: NDArray[np.str_]
    block_m: float


@dataclass(frozen=True)
class Drawn:
    """Rows that are trained on with their labels, and rows without."""

    labelled: Rows
    unlabelled: Rows


def load_material(store: PatchStore, truth: Path, scheme: ClassScheme) -> Material:
    """Join an event's pairs with the known grades.

    Raises:
        InputError: the file cannot be read. LabelsError: it knows none of the event's buildings.
    """
    value = {row.building_id: row.value for row in read_label_csv(truth, labeller="truth").rows}
    pairs = store.load()
    found = [scheme.index_of(value.get(each, LabelValue.UNCLASSIFIED)) for each in pairs.building_id.tolist()]
    class_index = np.array([NO_CLASS if each is None else each for each in found], dtype=np.int64)
    if not (class_index >= 0).any():
        raise LabelsError(
            f"{truth}: gives no grade that '{scheme.name}' can use to any of the {len(pairs):,} assessed buildings; "
            "check that it belongs to this event"
        )
    index = store.index().set_index("building_id").loc[pairs.building_id.tolist()]
    settings = store.settings
    digest = hashlib.blake2b(f"{store.fingerprint} {scheme.name}".encode(), digest_size=16)
    digest.update(class_index.tobytes())
    return Material(
        pairs=pairs,
        class_index=class_index,
        x_m=index["x_m"].to_numpy(float),
        y_m=index["y_m"].to_numpy(float),
        reach_m=settings.size_px * max(settings.gsd_m, settings.context_gsd_m or 0.0),
        scheme=scheme,
        fingerprint=digest.hexdigest(),
    )


def divide(
    material: Material,
    *,
    block_m: float,
    test_share: float,
    validation_share: float,
    least_pool: int,
    rng: np.random.Generator,
) -> Division:
    """Draw blocks in random order: first for the held-out part, then for validation, until each has its share of
    damaged and of other buildings. Where no order works the blocks are halved, up to three times.

    Args:
        material: the buildings.
        block_m: side of a block.
        test_share: of each kind, in the held-out blocks.
        validation_share: of each kind, in the blocks that choose among settings.
        least_pool: buildings of each class that have to be left to draw labels from.
        rng: draws the orders.

    Raises:
        LabelsError: the event is too small for this.
    """
    best = 0
    for halving in range(_HALVINGS + 1):
        block = block_of(material.x_m, material.y_m, block_m / 2**halving)
        for _ in range(_ORDERS):
            order = rng.permutation(np.unique(block))
            test, rest = _fill(material, block, order, test_share)
            near_test = _near(material, test)
            validation, _ = _fill(material, block, rest, validation_share, leave_out=near_test)
            free = ~near_test & ~_near(material, validation)
            left = min(int((free & (material.class_index == c)).sum()) for c in range(len(material.scheme)))
            if min(_both_kinds(material, test), _both_kinds(material, validation)) >= 2 and left >= least_pool:
                return Division(
                    test=np.flatnonzero(test),
                    validation=np.flatnonzero(validation),
                    pool=np.flatnonzero(free),
                    block=block,
                    block_m=block_m / 2**halving,
                )
            best = max(best, left)
    counts = ", ".join(
        f"{name}: {int((material.class_index == c).sum()):,}" for c, name in enumerate(material.scheme.class_names)
    )
    raise LabelsError(
        f"benchmark: no choice of held-out and validation blocks leaves {least_pool} buildings of each class to draw "
        f"labels from (graded and assessed: {counts}; at best {best} were left); ask for fewer --labels"
    )


def draw(
    material: Material,
    division: Division,
    *,
    labels: int,
    seed: int,
    damaged_share: float | None = None,
    unlabelled_share: float = 1.0,
    unlabelled_count: int | None = None,
) -> Drawn:
    """Rows of the pool to train on. The same seed draws the same buildings for every method, and more of them include
    the fewer.

    Args:
        material: the buildings.
        division: whose pool is drawn from.
        labels: a class.
        seed: draws both.
        damaged_share: None takes `labels` of each class; else this share of as many labels is damaged (one at least).
        unlabelled_share: of what is left of the pool.
        unlabelled_count: this many, instead of a share.

    Raises:
        LabelsError: the pool has too few of a kind.
    """
    rng = np.random.default_rng([seed, 1])
    order = rng.permutation(division.pool)
    classes = material.class_index[order]
    total = labels * len(material.scheme)
    if damaged_share is None:
        wanted = [(classes == c, labels) for c in range(len(material.scheme))]
    else:
        damaged = min(max(round(damaged_share * total), 1), total - 1)
        is_damaged = material.damaged[order]
        wanted = [(is_damaged, damaged), ((classes >= 0) & ~is_damaged, total - damaged)]
    for kind, count in wanted:
        if kind.sum() < count:
            raise LabelsError(
                f"benchmark: {count} labelled buildings of a kind are asked for and {int(kind.sum())} can be drawn"
            )
    labelled = np.concatenate([order[kind][:count] for kind, count in wanted])
    rest = order[~np.isin(order, labelled)]
    count = round(unlabelled_share * len(rest)) if unlabelled_count is None else unlabelled_count
    return Drawn(labelled, rest[:count])


def near_held_out(material: Material, division: Division, where: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the positions [n, 2] have a patch that shares pixels with one of a held-out or validation building."""
    held = material.where[np.concatenate([division.test, division.validation])]
    distance = cKDTree(held).query(where, p=np.inf)[0]
    return np.asarray(distance < material.reach_m)


def joined(one: PairSet, other: PairSet) -> PairSet:
    """Pairs of two sets, one after the other; the ids of the second must not be in the first."""
    ids = np.concatenate([one.building_id, other.building_id])
    context = None
    if one.context is not None and other.context is not None:
        context = _joined_views(one.context, other.context)
    return PairSet(building_id=ids, close=_joined_views(one.close, other.close), context=context)


def _joined_views(one: PairViews, other: PairViews) -> PairViews:
    planes = {name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in PLANES}
    return PairViews(**planes, gsd_m=one.gsd_m)


def _fill(
    material: Material,
    block: NDArray[np.str_],
    order: NDArray[np.str_],
    share: float,
    leave_out: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.str_]]:
    """Graded buildings of the first blocks that together hold the share of both kinds, and the blocks not taken."""
    graded = material.class_index >= 0
    kinds = [graded & material.damaged, graded & ~material.damaged]
    usable = graded if leave_out is None else graded & ~leave_out
    taken = np.zeros(len(block), dtype=bool)
    for number, name in enumerate(order):
        if min((taken & kind).sum() / max(kind.sum(), 1) for kind in kinds) >= share:
            return taken, order[number:]
        taken |= (block == name) & usable
    return taken, order[:0]


def _near(material: Material, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if not rows.any():
        return rows
    distance = cKDTree(material.where[rows]).query(material.where, p=np.inf)[0]
    return np.asarray(distance < material.reach_m)


def _both_kinds(material: Material, rows: NDArray[np.bool_]) -> int:
    damaged = material.damaged[rows]
    return int(min(damaged.sum(), (~damaged).sum()))
