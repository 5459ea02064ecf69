"""Which buildings to ask about next."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.errors import InputError

RANDOM, SPREAD, UNCERTAIN, SECOND = "random", "spread", "uncertain", "second"

_LOOKED_AT_FIRST, _LOOKED_AT = 128, 4096
"""Candidates whose distances are measured at a time: few at first, which are mostly enough."""
_FEW_DISTANCES = 2**18
"""So many are measured one by one; a tree would not be quicker, and to load scipy for it takes 0.3 s."""


def next_buildings(
    index: pd.DataFrame,
    current: pd.DataFrame,
    n: int,
    rng: np.random.Generator,
    *,
    uncertainty: pd.Series | None = None,
    cluster: pd.Series | None = None,
    random_share: float = 0.25,
    spacing_m: float = 70.0,
) -> pd.DataFrame:
    """Propose up to `n` assessed buildings without a current label, in the order in which to ask.

    A share of them is a simple random sample of all candidates, so that totals can be estimated from it without a
    model; where `n · random_share` is not whole, chance decides between the two neighbours, so that the share also
    holds for buildings drawn one by one. The others are spread over the event: in random order, or the most uncertain
    first, each at least `spacing_m` from the labelled and the proposed ones. Where the event has no room left, the
    spacing is halved until it has. With clusters (of frozen features: kinds of buildings and of change), those with
    the fewest labels and proposals take their turn first, so that a rare kind is asked about early.

    Args:
        index: the patch index: `building_id`, `assessed`, `x_m`, `y_m` (one projected CRS, metres).
        current: the current labels (`LabelStore.current`).
        n: how many, at least 1.
        rng: source of all chance.
        uncertainty: a number for each `building_id` (the series' index), the highest asked first; buildings that it
            lacks come last.
        cluster: a number for each `building_id` (the series' index) that says which buildings look alike; buildings
            that it lacks form one cluster of their own.
        random_share: share of plain random draws, in [0, 1].
        spacing_m: metres between buildings that were not drawn at random.

    Returns:
        `building_id`; `drawn`: `random`, `spread` or `uncertain`; `inclusion_probability`: draws / candidates for the
        random ones, given how many this call draws, NaN for the others. Fewer than `n` rows when candidates run out.

    Raises:
        InputError: `n` or a setting is out of range.
    """
    if n < 1 or not 0.0 <= random_share <= 1.0 or not spacing_m >= 0.0:
        raise InputError(
            f"labelling queue: n = {n}, random share = {random_share}, spacing = {spacing_m} m; "
            "allowed: n ≥ 1, a share in [0, 1], a spacing ≥ 0"
        )
    building_id = pd.Index(index["building_id"])
    labelled = building_id.isin(current["building_id"])
    open_rows = np.flatnonzero(index["assessed"].to_numpy(dtype=bool) & ~labelled)
    position_m = index[["x_m", "y_m"]].to_numpy(dtype=np.float64)
    candidates_m = position_m[open_rows]
    wanted = min(n, len(open_rows))
    n_random = _rounded_by_chance(wanted * random_share, rng)
    random_rows = rng.permutation(len(open_rows))[:n_random]

    order = rng.permutation(len(open_rows))
    if uncertainty is not None:
        score = _in_order_of(building_id, uncertainty, -np.inf)[open_rows]
        order = order[np.argsort(-score[order], kind="stable")]
    if cluster is not None:
        kind = _in_order_of(building_id, cluster, -1)
        order = _in_turns(order, kind[open_rows], kind[labelled])
    drawn = np.zeros(len(open_rows), dtype=bool)
    drawn[random_rows] = True
    others_m = np.concatenate([position_m[labelled], candidates_m[random_rows]])
    other_rows = _spread(candidates_m, others_m, order[~drawn[order]], wanted - n_random, spacing_m)

    table = pd.DataFrame(
        {
            "building_id": building_id[open_rows[np.concatenate([random_rows, other_rows])]].to_numpy(),
            "drawn": [RANDOM] * n_random + [SPREAD if uncertainty is None else UNCERTAIN] * len(other_rows),
            "inclusion_probability": [n_random / max(len(open_rows), 1)] * n_random + [np.nan] * len(other_rows),
        }
    )
    return table.iloc[rng.permutation(len(table))].reset_index(drop=True)


def permanent_random_order(name: NDArray[np.str_], seed: int = 0) -> NDArray[np.intp]:
    """An order [N] (rows): the first n of it are a simple random sample of n, for every n.

    Each draws a number of its own, from its name and the seed, and the lowest come first ("permanent random numbers":
    Ohlsson 1995, in Business Survey Methods, ch. 9). The order of the others therefore stays when some are added or
    left out, and two analysts on two machines follow the same one.
    """
    key = str(seed).encode()
    drawn = [hashlib.blake2b(each.encode(), digest_size=8, key=key).digest() for each in name.tolist()]
    number = np.frombuffer(b"".join(drawn), dtype=">u8").astype(np.uint64)
    return np.asarray(np.lexsort((name, number)), dtype=np.intp)


def second_opinions(answers: pd.DataFrame, labeller: str, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw buildings that one other analyst has answered, so that agreement can be measured.

    Args:
        answers: each analyst's latest answer on each building (`LabelStore.answers`).
        labeller: who will be asked.
        n: how many at most.
        rng: draws them, all alike.

    Returns:
        `building_id`, `drawn` = `second`, `inclusion_probability` NaN: what one sees twice is no sample of the event.
    """
    by_building = answers.groupby("building_id")["labeller"].agg(["nunique", "first"])
    once = by_building.index[(by_building["nunique"] == 1) & (by_building["first"] != labeller)].to_numpy(dtype=object)
    drawn = once[rng.permutation(len(once))[:n]]
    return pd.DataFrame({"building_id": drawn, "drawn": SECOND, "inclusion_probability": np.full(len(drawn), np.nan)})


def _in_order_of(building_id: "pd.Index[str]", values: pd.Series, missing: float) -> NDArray[np.float64]:
    """A series' values in the order of these buildings, `missing` for those that it lacks: [N]."""
    same = values.index is building_id or values.index.equals(building_id)  # looking 300,000 names up takes 0.1 s
    return (values if same else values.reindex(building_id)).fillna(missing).to_numpy(dtype=np.float64)


def _in_turns(
    order: NDArray[np.intp], kind: NDArray[np.float64], labelled_kind: NDArray[np.float64]
) -> NDArray[np.intp]:
    """`order` (rows into `kind`) resorted so that clusters take turns, the one with the fewest labels first."""
    kinds, place = np.unique(np.concatenate([kind, labelled_kind]), return_inverse=True)
    have = np.bincount(place[len(kind) :], minlength=len(kinds))
    placed = place[order]
    grouped = np.argsort(placed, kind="stable")  # buildings of one cluster side by side, each in `order`
    counts = np.bincount(placed, minlength=len(kinds))
    turn = np.empty(len(order), dtype=np.int64)
    turn[grouped] = np.arange(len(order)) - np.repeat(counts.cumsum() - counts, counts)
    return order[np.argsort(turn + have[placed], kind="stable")]


def _rounded_by_chance(value: float, rng: np.random.Generator) -> int:
    """An integer whose expectation is `value`."""
    return int(value) + int(rng.random() < value - int(value))


def _spread(
    points_m: NDArray[np.float64],
    others_m: NDArray[np.float64],
    order: NDArray[np.intp],
    wanted: int,
    spacing_m: float,
) -> NDArray[np.intp]:
    """The first `wanted` rows of `order` that keep their distance from each other and from `others_m` [M, 2].

    The spacing is halved when none is left. Only as much of `order` is looked at as is needed.
    """
    others_m = others_m[np.isfinite(others_m).all(axis=1)]
    gap_to_others = _Gap(others_m)
    chosen: list[int] = []
    chosen_m = np.empty((wanted, 2))
    while len(chosen) < wanted:
        taken = set(chosen)
        for rows in _blocks(order):
            for row in rows[gap_to_others(points_m[rows]) >= spacing_m].tolist():
                gap_m = np.hypot(*(chosen_m[: len(chosen)] - points_m[row]).T)
                if row in taken or (gap_m < spacing_m).any():
                    continue
                chosen_m[len(chosen)] = points_m[row]
                chosen.append(row)
                if len(chosen) == wanted:
                    return np.array(chosen, dtype=np.intp)
        spacing_m = spacing_m / 2 if spacing_m > 0.01 else 0.0
    return np.array(chosen, dtype=np.intp)


class _Gap:
    """How far points are from the nearest of some others, metres; infinitely far where there are none."""

    def __init__(self, others_m: NDArray[np.float64]) -> None:
        self._others_m = others_m
        self._tree: Any = None

    def __call__(self, points_m: NDArray[np.float64]) -> NDArray[np.float64]:
        if len(points_m) * len(self._others_m) <= _FEW_DISTANCES:
            squares = ((points_m[:, None] - self._others_m) ** 2).sum(axis=2)
            return np.asarray(np.sqrt(squares.min(axis=1, initial=np.inf)))
        if self._tree is None:
            from scipy.spatial import cKDTree

            self._tree = cKDTree(self._others_m)
        return np.asarray(self._tree.query(points_m)[0])


def _blocks(order: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    yield order[:_LOOKED_AT_FIRST]
    for start in range(_LOOKED_AT_FIRST, len(order), _LOOKED_AT):
        yield order[start : start + _LOOKED_AT]
