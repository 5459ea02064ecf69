"""How good detected footprints are against drawn ones."""

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True, kw_only=True)
class DetectionScores:
    """`matched` pairs have an intersection over union of at least `iou_at`; `pixel_iou` is that of the two unions."""

    found: int
    drawn: int
    matched: int
    pixel_iou: float
    iou_at: float

    @property
    def precision(self) -> float:
        """Share of the found buildings that are there."""
        return self.matched / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """Share of the drawn buildings that were found."""
        return self.matched / self.drawn if self.drawn else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.matched / (self.found + self.drawn) if self.found + self.drawn else 0.0


def score_footprints(
    found: gpd.GeoDataFrame, drawn: gpd.GeoDataFrame, *, within: BaseGeometry, iou_at: float = 0.5
) -> DetectionScores:
    """Compare footprints whose representative point lies in `within` (in the tables' common projected CRS, metres).

    As in the SpaceNet metric (Van Etten et al. 2018, arXiv:1807.01232) every found building matches at most one drawn
    one; pairs are taken from the best overlap down, which is one-to-one by itself from an IoU of 0.5 on where the
    footprints of each table do not overlap.
    """
    one, other = _inside(found, within), _inside(drawn, within)
    left, right = shapely.STRtree(other).query(one, predicate="intersects")
    both = shapely.area(shapely.intersection(one[left], other[right]))
    iou = both / (shapely.area(one[left]) + shapely.area(other[right]) - both)
    taken_found, taken_drawn = np.zeros(len(one), dtype=bool), np.zeros(len(other), dtype=bool)
    matched = 0
    for k in np.argsort(-iou, kind="stable"):
        if iou[k] < iou_at:
            break
        if not taken_found[left[k]] and not taken_drawn[right[k]]:
            taken_found[left[k]] = taken_drawn[right[k]] = True
            matched += 1
    return DetectionScores(
        found=len(one), drawn=len(other), matched=matched, pixel_iou=_union_iou(one, other), iou_at=iou_at
    )


def _inside(table: gpd.GeoDataFrame, within: BaseGeometry) -> NDArray[Any]:
    shapely.prepare(within)
    geometry = table.geometry.to_numpy()
    return np.asarray(geometry[shapely.covers(within, shapely.point_on_surface(geometry))])


def _union_iou(one: NDArray[Any], other: NDArray[Any]) -> float:
    first, second = shapely.union_all(one), shapely.union_all(other)
    both = first.intersection(second).area
    union = first.area + second.area - both
    return float(both / union) if union else 0.0
