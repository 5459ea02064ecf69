"""A second, wider view of the buildings of a store, cut when it is asked for and not kept.

The patch store holds what every training looks at. What only one reader needs, once, is read from the scenes again, in
the store's registration and from the same choice of scenes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.imagery.scene import Scene
from damage_ssl.mosaic.batches import Batches, BuildingBatch, make_batches
from damage_ssl.mosaic.pair_mosaic import View, plan_reading
from damage_ssl.patches.pairs import PairViews
from damage_ssl.settings import PatchSettings

_SHIFTS = ("footprint_shift_x_m", "footprint_shift_y_m", "shift_x_m", "shift_y_m")
_MEMORY_BYTES = 200_000_000


@dataclass(frozen=True)
class _Part:
    """Buildings `rows` of the batch of this number."""

    batch: int
    rows: NDArray[np.intp]


class WideViews:
    """A view of every assessed building of a store, in parts of neighbours.

    Attributes:
        building_id: all of them, [N], part after part.
        starts: where each part begins among them, and N at the end.
    """

    def __init__(
        self,
        footprints: gpd.GeoDataFrame,
        pre: Sequence[Scene],
        post: Sequence[Scene],
        index: pd.DataFrame,
        settings: PatchSettings,
        view: View,
        *,
        most_together: int,
    ) -> None:
        """Plan it; no pixel is read yet.

        Args:
            footprints: the event's, in the order of `index`.
            pre: its scenes of before.
            post: its scenes of after.
            index: that of the store; its shifts say where each building is found.
            settings: those that the store was cut with, for the choice of scenes.
            view: what is cut.
            most_together: buildings in a part.
        """
        self._pre, self._post, self._settings, self._view = pre, post, settings, view
        self._shifts = np.nan_to_num(index[list(_SHIFTS)].to_numpy(float))
        self._batches: Batches = make_batches(footprints, [*pre, *post], view.size_px * view.gsd_m)
        self._last: tuple[int, BuildingBatch] | None = None
        assessed = index["assessed"].to_numpy(bool)
        self._parts: list[_Part] = []
        for number in range(len(self._batches)):
            rows = np.flatnonzero(assessed[self._batches.numbers(number)])
            splits = range(most_together, len(rows), most_together)
            self._parts += [_Part(number, part) for part in np.split(rows, splits) if len(part)]
        numbers = [self._batches.numbers(part.batch)[part.rows] for part in self._parts]
        order = np.concatenate([*numbers, np.zeros(0, dtype=np.intp)])
        self.building_id: NDArray[np.str_] = index["building_id"].to_numpy(str)[order]
        self.starts: list[int] = [0, *np.cumsum([len(part) for part in numbers]).tolist()]

    def __len__(self) -> int:
        return len(self._parts)

    def cut(self, number: int) -> PairViews:
        """The buildings of a part; one whose scenes cannot be read (any more) has no valid pixel.

        Raises:
            InputError: a scene's CRS bends too much over a patch.
        """
        part, size = self._parts[number], self._view.size_px
        batch = self._batch(part.batch).take(part.rows)
        shifts = self._shifts[batch.number]
        batch = batch.with_offsets(shifts[:, :2], shifts[:, :2] + shifts[:, 2:])
        count = len(batch)
        pre, post = (np.zeros((count, 3, size, size), np.uint8) for _ in range(2))
        footprint, valid = (np.zeros((count, size, size), np.uint8) for _ in range(2))
        plan = plan_reading(batch, self._pre, self._post, [self._view], self._settings)
        for both in plan.sides(_MEMORY_BYTES):
            pre[both.rows], post[both.rows] = both.pre.colour[0], both.post.colour[0]
            footprint[both.rows] = both.footprint[0]
            valid[both.rows] = both.pre.valid[0] & both.post.valid[0]
        return PairViews(pre=pre, post=post, footprint=footprint, valid=valid, gsd_m=self._view.gsd_m)

    def _batch(self, number: int) -> BuildingBatch:
        """The batch of this number, projected once."""
        if self._last is None or self._last[0] != number:
            self._last = number, self._batches[number]
        return self._last[1]
