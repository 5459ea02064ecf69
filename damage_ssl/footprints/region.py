"""Which part of the world an event's footprints are taken from."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

METRES_A_DEGREE = 111_320.0  # of latitude


@dataclass(frozen=True)
class Region:
    """An area in EPSG:4326 and what belongs to it: a footprint whose inner `point` it covers, or that it `touch`es.

    `name` says where that is, for messages.
    """

    area: BaseGeometry
    by: Literal["point", "touch"]
    name: str = "in the AOI"

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        west, south, east, north = self.area.bounds
        return west, south, east, north

    def may_hold(self, bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which boxes [N, 4] meet the box of a part of the area; a box of NaN does, since it cannot be told."""
        found = np.asarray(np.isnan(bounds).any(axis=1), dtype=bool)
        for west, south, east, north in shapely.bounds(shapely.get_parts(self.area)):
            x_meets = (bounds[:, 0] <= east) & (bounds[:, 2] >= west)
            found = found | x_meets & (bounds[:, 1] <= north) & (bounds[:, 3] >= south)
        return found

    def holds(self, geometry: NDArray[np.object_]) -> NDArray[np.bool_]:
        """Which valid polygons belong to it."""
        shapely.prepare(self.area)
        inside: NDArray[np.bool_]
        if self.by == "point":
            inside = shapely.covers(self.area, shapely.point_on_surface(geometry))
        else:
            inside = shapely.intersects(self.area, geometry)
        return inside

    def widened(self, degrees: float) -> tuple[float, float, float, float]:
        """Its bounds with a margin of degrees on each side."""
        west, south, east, north = self.bounds
        return west - degrees, south - degrees, east + degrees, north + degrees


def region_of(*, aoi: BaseGeometry | None, imagery: BaseGeometry | None, margin_m: float) -> Region | None:
    """The AOI where there is one, else the imagery's extent and `margin_m` around it, else everything (None)."""
    if aoi is not None:
        return Region(aoi, "point")
    if imagery is None or imagery.is_empty:
        return None
    middle = np.radians((imagery.bounds[1] + imagery.bounds[3]) / 2)
    squeeze = np.array([max(float(np.cos(middle)), 1e-3), 1.0])
    metric = shapely.transform(imagery, lambda xy: xy * squeeze)
    wide = shapely.buffer(metric, margin_m / METRES_A_DEGREE, join_style="mitre")
    return Region(shapely.transform(wide, lambda xy: xy / squeeze), "touch", f"within {margin_m:,.0f} m of the imagery")
