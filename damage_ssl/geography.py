"""Areas across the meridian of ±180°, where longitudes jump."""

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

WORLD = shapely.box(-180, -90, 180, 90)


def is_torn(geometry: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which geometries span more than half the world: no building or scene does, so their longitudes jump."""
    bounds = shapely.bounds(geometry)
    with np.errstate(invalid="ignore"):
        wide: NDArray[np.bool_] = bounds[..., 2] - bounds[..., 0] > 180
    return wide


def made_whole(geometry: BaseGeometry) -> BaseGeometry:
    """A torn geometry with all longitudes on the side where most of it lies, running on past ±180."""

    def east(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([np.where(xy[:, 0] < 0, xy[:, 0] + 360, xy[:, 0]), xy[:, 1]])

    whole = shapely.transform(geometry, east)
    return whole if whole.centroid.x <= 180 else shapely.transform(whole, lambda xy: xy - (360, 0))


def cut_at_antimeridian(area: BaseGeometry) -> BaseGeometry:
    """A valid area with the parts that run past ±180 put where they lie, so that all longitudes are within ±180."""
    west, _, east, _ = area.bounds
    if not (west < -180 or east > 180):
        return area
    turned = [translate(area, by) for by in (-360, 0, 360)]
    parts = shapely.get_parts(shapely.intersection(turned, WORLD))
    return shapely.union_all(parts[shapely.area(parts) > 0])
