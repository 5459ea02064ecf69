"""The pair: pre and post pixels of one building on one grid, as arrays that travel together."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class PairViews:
    """Pixels of N buildings at one ground sampling distance.

    Shapes: `pre`, `post` uint8 [N, 3, H, W] (red, green, blue; 0 where not valid); `footprint` uint8 [N, H, W],
    1 inside the building; `valid` uint8 [N, H, W], 1 where both dates are usable. `gsd_m` is metres a pixel.

    Examples:
        >>> image, mask = np.zeros((2, 3, 64, 64), np.uint8), np.ones((2, 64, 64), np.uint8)
        >>> len(PairViews(pre=image, post=image, footprint=mask, valid=mask, gsd_m=0.5))
        2
    """

    pre: NDArray[np.uint8]
    post: NDArray[np.uint8]
    footprint: NDArray[np.uint8]
    valid: NDArray[np.uint8]
    gsd_m: float

    def __len__(self) -> int:
        return len(self.pre)

    def take(self, rows: NDArray[np.intp]) -> "PairViews":
        """The pairs at these rows, in this order."""
        return PairViews(
            pre=self.pre[rows],
            post=self.post[rows],
            footprint=self.footprint[rows],
            valid=self.valid[rows],
            gsd_m=self.gsd_m,
        )


@dataclass(frozen=True, kw_only=True)
class PairSet:
    """Pairs of N assessable buildings: `building_id` [N] str, the close view, and the wider context view if cut.

    Examples:
        >>> some = cut_patches(event).load(["sim-000007", "sim-000002"])
        >>> some.building_id.tolist(), some.close.post.shape, some.close.gsd_m
        (['sim-000007', 'sim-000002'], (2, 3, 64, 64), 0.5)
    """

    building_id: NDArray[np.str_]
    close: PairViews
    context: PairViews | None = None

    def __len__(self) -> int:
        return len(self.building_id)

    def take(self, rows: NDArray[np.intp]) -> "PairSet":
        """The pairs at these rows, in this order."""
        return PairSet(
            building_id=self.building_id[rows],
            close=self.close.take(rows),
            context=None if self.context is None else self.context.take(rows),
        )

    def rows_of(self, building_id: NDArray[np.str_]) -> NDArray[np.intp]:
        """Row of each given building, in the given order; every id must be in the set.

        Raises:
            KeyError: a building is not in the set.
        """
        row = {building: index for index, building in enumerate(self.building_id.tolist())}
        return np.array([row[building] for building in np.asarray(building_id).tolist()], dtype=np.intp)


class PairSource(Protocol):
    """Where pairs come from by building: a patch store, or several events' together."""

    def load(self, building_ids: NDArray[np.str_] | None = None) -> PairSet: ...
