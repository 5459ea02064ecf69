"""Who stands near whom: the neighbours of every building, weighted by distance, as a sparse matrix made once."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MOST_NEIGHBOURS = 16
"""Neighbours of a building that count: bounds memory at 200 bytes a building."""

RANGE_IN_SPACINGS = 2.0
"""The kernel falls to 1/e at so many times the usual distance to the nearest building: 30 m in a town of 15 m."""

FARTHEST_IN_RANGES = 4.0
OWN_WEIGHT = 0.05
"""What the building itself counts among its neighbours: with nobody near, its own score stands."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbourhood:
    """The neighbours of N buildings.

    `weight` [N, N] sparse: exp(-distance / `range_m`), without the building itself; `spacing_m` is the usual distance
    from a building to the nearest other one.
    """

    weight: "csr_array"
    spacing_m: float
    range_m: float

    def mean(
        self, values: NDArray[np.float64], own: NDArray[np.float64], rows: NDArray[np.intp] | None = None
    ) -> NDArray[np.float64]:
        """The weighted mean of the neighbours' values.

        Args:
            values: [N] of all buildings.
            own: [n] what stands for the building itself, with `OWN_WEIGHT`.
            rows: [n] the buildings that are asked for; None: all.
        """
        weight = self.weight if rows is None else self.weight[rows]
        total = self._total if rows is None else self._total[rows]
        return np.asarray((weight @ values + OWN_WEIGHT * own) / (total + OWN_WEIGHT), dtype=np.float64)

    def autocorrelation(self, values: NDArray[np.float64]) -> float:
        """How alike neighbours are, 0 to 1: Moran's I (1950, Biometrika 37) less two of its deviations under chance.

        Under chance I has mean -1 / (N - 1) and, for many buildings, variance S1 / W² (Cliff & Ord 1981, eq. 2.39).
        """
        total, spread = float(self._total.sum()), values - values.mean()
        if total == 0 or not spread.any():
            return 0.0
        found = float(spread @ (self.weight @ spread)) / total / float((spread**2).mean())
        return float(np.clip(found - 2 * self._chance, 0.0, 1.0))

    @cached_property
    def _chance(self) -> float:
        """The deviation of Moran's I where places say nothing."""
        symmetric = self.weight + self.weight.T
        return float(np.sqrt(0.5 * float((symmetric.data**2).sum())) / self.weight.sum())

    @cached_property
    def _total(self) -> NDArray[np.float64]:
        """The summed weight of each building's neighbours [N]."""
        return np.asarray(self.weight.sum(axis=1), dtype=np.float64)


def neighbourhood(place: NDArray[np.float64]) -> Neighbourhood:
    """The neighbours of buildings at `place` [N, 2], metres in one projected CRS.

    The range follows the event: `RANGE_IN_SPACINGS` times the median distance to the nearest building that does not
    stand on the same point. Memory grows with N × `MOST_NEIGHBOURS`.
    """
    from scipy.sparse import csr_array
    from scipy.spatial import KDTree

    count = len(place)
    nearest = min(MOST_NEIGHBOURS + 1, count)
    if count < 2:
        return Neighbourhood(weight=csr_array((count, count)), spacing_m=0.0, range_m=0.0)
    distance, column = KDTree(place).query(place, k=nearest)
    apart = np.where(distance > 0, distance, np.inf).min(axis=1)
    spacing_m = float(np.median(apart[np.isfinite(apart)])) if np.isfinite(apart).any() else 1.0
    range_m = RANGE_IN_SPACINGS * spacing_m
    row = np.repeat(np.arange(count), nearest).reshape(distance.shape)
    near = (distance <= FARTHEST_IN_RANGES * range_m) & (column != row)
    weight = csr_array((np.exp(-distance[near] / range_m), (row[near], column[near])), shape=(count, count))
    return Neighbourhood(weight=weight, spacing_m=spacing_m, range_m=range_m)
