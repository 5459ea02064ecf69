"""Labelling by tiles: an event's ground in squares, how far each is, and which to open next.

A tile is answered whole: the damaged buildings one by one, the rest at once. Tiles that chance chose are cluster
samples (Cochran 1977, Sampling Techniques, ch. 9): their rows carry `cluster_id` and `cluster_probability`, by which
totals (`evaluation.random_sample`) know what was drawn together.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError
from damage_ssl.labels.new_label import NewLabel
from damage_ssl.labels.sampling import RANDOM, SPREAD, permanent_random_order
from damage_ssl.labels.schema import WITHDRAWN

Strategy = Literal["random", "spread", "uncertain", "likely"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
"""`likely`: where a model says that most damage is."""

LEAST_SIDE_M, SIDE_M, MOST_SIDE_M = 50.0, 150.0, 500.0
"""Metres a side: the least, the usual, the most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tiling:
    """The squares that hold assessed buildings."""

    side_m: float
    tile_id: NDArray[np.str_]
    """[T] names, which stay when buildings are added; those of another side are others."""
    corner_m: NDArray[np.float64]
    """[T, 2] the south-west corner, in the projected CRS of the patch index."""
    tile_of: NDArray[np.intp]
    """[N] the tile of each building of the event, -1 for one that is not assessed."""

    def __len__(self) -> int:
        return len(self.tile_id)

    @property
    def buildings(self) -> NDArray[np.intp]:
        """[T] how many buildings each has, at least one."""
        return np.bincount(self.tile_of[self.tile_of >= 0], minlength=len(self))

    def rows(self, tile: int) -> NDArray[np.intp]:
        """The buildings of a tile, as rows of the event."""
        return np.flatnonzero(self.tile_of == tile)

    def place(self, tile_id: str) -> int:
        """The number of a tile.

        Raises:
            InputError: there is none of that name.
        """
        found = np.flatnonzero(self.tile_id == tile_id)
        if not len(found):
            raise InputError(f"tile '{tile_id}': the event has none of that name; its tiles are of {self.side_m:g} m")
        return int(found[0])

    def count(self, chosen: NDArray[np.bool_]) -> NDArray[np.intp]:
        """[T] how many of the chosen buildings [N] each tile has."""
        return np.bincount(self.tile_of[chosen & (self.tile_of >= 0)], minlength=len(self))

    def mean(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """[T] the mean of a number for each building [N], NaN left out; -inf where a tile has none."""
        has = np.isfinite(value)
        count = self.count(has)
        inside = has & (self.tile_of >= 0)
        total = np.bincount(self.tile_of[inside], weights=value[inside], minlength=len(self))
        return np.where(count > 0, total / np.maximum(count, 1), -np.inf)


def lay_out(index: pd.DataFrame, side_m: float = SIDE_M) -> Tiling:
    """Lay a grid of squares over the assessed buildings; those that hold none are left out.

    Args:
        index: the patch index: `assessed`, `x_m`, `y_m` (one projected CRS, metres).
        side_m: metres a side, 50 to 500.

    Raises:
        InputError: the side is out of range.
    """
    if not LEAST_SIDE_M <= side_m <= MOST_SIDE_M:
        raise InputError(f"tiles of {side_m:g} m a side; allowed: {LEAST_SIDE_M:g} to {MOST_SIDE_M:g}")
    assessed = index["assessed"].to_numpy(bool)
    cell = np.floor(index.loc[assessed, ["x_m", "y_m"]].to_numpy(float) / side_m).astype(np.int64)
    cells, tile = np.unique(cell, axis=0, return_inverse=True)
    tile_of = np.full(len(index), -1, dtype=np.intp)
    tile_of[assessed] = tile.reshape(-1)
    names = [f"T{side_m:g}-{east}-{north}" for east, north in cells.tolist()]
    corner_m = cells.astype(np.float64) * side_m
    return Tiling(side_m=side_m, tile_id=np.array(names, dtype=str), corner_m=corner_m, tile_of=tile_of)


def drawn_tiles(tiling: Tiling, log: pd.DataFrame) -> NDArray[np.bool_]:
    """[T] the tiles that chance drew and somebody answered: rows with the tile's name and its probability.

    One whose answers were taken back, of a building or of all, is to be answered again: it was not drawn.

    Args:
        tiling: the tiles.
        log: all rows (`LabelStore.log`).
    """
    rows = log[log["cluster_probability"].notna()]
    last = log.drop_duplicates("building_id", keep="last")
    taken_back = rows["building_id"].isin(last.loc[last["value"] == WITHDRAWN, "building_id"])
    answered = set(rows["cluster_id"]) - set(rows.loc[taken_back, "cluster_id"])
    return np.isin(tiling.tile_id, sorted(answered))


@dataclass(frozen=True, kw_only=True)
class TileDraw:
    """A tile to open: its number, how it was drawn, and the chance that the draw had of taking it (None: chosen)."""

    tile: int
    drawn: Strategy
    probability: float | None


def draw_tile(
    tiling: Tiling,
    strategy: Strategy,
    *,
    answered: NDArray[np.bool_],
    drawn_before: NDArray[np.bool_],
    taken: Collection[str],
    rng: np.random.Generator,
    score: NDArray[np.float64] | None = None,
) -> TileDraw | None:
    """The next tile by a strategy; None where none is left.

    `random` follows one order of all tiles, the same for everybody ("permanent random numbers", Ohlsson 1995): what
    others have labelled there on purpose does not change the draw, and the first n of it are a simple random sample of
    n. Each draw takes one of all T tiles, so 1 / T is logged. The other strategies take tiles with buildings that
    nobody has answered: `spread` the one farthest from all tiles that were worked on, `uncertain` and `likely` the one
    with the highest mean score.

    Args:
        tiling: the tiles.
        strategy: one of `STRATEGIES`.
        answered: [N] the buildings with a label.
        drawn_before: [T] the tiles that chance drew before (`drawn_tiles`).
        taken: names of tiles that somebody else has open.
        rng: decides between equals.
        score: [N] the uncertainty, or P(damaged), of each building; for `uncertain` and `likely`.

    Raises:
        InputError: the strategy is unknown, or needs scores.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"tiles: strategy '{strategy}' is not one of {', '.join(STRATEGIES)}")
    free = ~np.isin(tiling.tile_id, list(taken))
    if strategy == RANDOM:
        order = permanent_random_order(tiling.tile_id)
        left = order[(free & ~drawn_before)[order]]
        return TileDraw(tile=int(left[0]), drawn=strategy, probability=1 / len(tiling)) if len(left) else None
    begun = tiling.count(answered)
    unfinished = np.flatnonzero(free & (begun < tiling.buildings))
    if not len(unfinished):
        return None
    if strategy == SPREAD:
        value = _distance_m(tiling.corner_m[unfinished], tiling.corner_m[(begun > 0) | drawn_before | ~free])
    elif score is None:
        raise InputError(f"tiles: '{strategy}' needs a model of the event; train one, or take 'spread' or 'random'")
    else:
        value = tiling.mean(np.where(answered, np.nan, score))[unfinished]
    best = unfinished[value == value.max()]
    return TileDraw(tile=int(rng.choice(best)), drawn=strategy, probability=None)


def _distance_m(of_m: NDArray[np.float64], others_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Metres from each point [K, 2] to the nearest of the others [M, 2]; all alike where there are none."""
    nearest = np.full(len(of_m), np.inf)
    for x, y in others_m.tolist():
        nearest = np.minimum(nearest, np.hypot(of_m[:, 0] - x, of_m[:, 1] - y))
    return nearest


def tile_answers(
    tile_id: str,
    buildings: Collection[str],
    marks: Mapping[str, LabelValue],
    standing: Mapping[str, LabelValue],
    *,
    rest: LabelValue,
    drawn: str,
    probability: float | None,
    labeller: str,
) -> list[NewLabel]:
    """The rows of a tile that was answered whole.

    Buildings that are marked get their mark, those without any answer the `rest`. Where chance drew the tile, those
    answered before are said again as they stand, for a cluster is answered whole; otherwise they are left alone.

    Args:
        tile_id: the tile.
        buildings: all of its buildings.
        marks: what was said of single ones.
        standing: the labels that buildings of the tile have already.
        rest: what all others are, mostly no-damage.
        drawn: how the tile came to be opened.
        probability: the chance of the draw that took it; None: it was chosen.
        labeller: who answered.

    Raises:
        InputError: a mark is of a building of another tile, or the probability is none.
    """
    if strange := sorted(set(marks) - set(buildings)):
        raise InputError(f"tile '{tile_id}': has no building '{strange[0]}'; nothing was written")
    said = {
        building: marks.get(building) or standing.get(building, rest)
        for building in buildings
        if building in marks or building not in standing or probability is not None
    }
    return [
        NewLabel(
            building_id=building,
            value=value,
            labeller=labeller,
            drawn=drawn,
            cluster_id=tile_id,
            cluster_probability=probability,
        )
        for building, value in said.items()
    ]
