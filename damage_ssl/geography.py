"""Places in degrees: the bounding box that a service is asked for, areas across the meridian of ±180°."""

import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from damage_ssl.errors import InputError

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


_EARTH_RADIUS_KM = 6371.0088


@dataclass(frozen=True)
class BoundingBox:
    """Longitudes and latitudes in degrees, EPSG:4326; `west` is left of `east` (no crossing of the antimeridian)."""

    west: float
    south: float
    east: float
    north: float

    @classmethod
    def parse(cls, text: str) -> "BoundingBox":
        """Read `W,S,E,N`.

        Raises:
            InputError: it is not four numbers of that meaning.
        """
        try:
            west, south, east, north = (float(part) for part in text.split(","))
        except ValueError:
            raise InputError(
                f"--bbox {text}: give four numbers W,S,E,N in degrees, as in 36.0,36.1,36.2,36.3"
            ) from None
        return cls.of((west, south, east, north), f"--bbox {text}")

    @classmethod
    def of(cls, bounds: tuple[float, float, float, float], where: str) -> "BoundingBox":
        """Check four bounds; `where` is named in the error.

        Raises:
            InputError: they are not longitudes and latitudes in the order W,S,E,N.
        """
        west, south, east, north = bounds
        if not all(math.isfinite(value) for value in bounds):
            raise InputError(f"{where}: has a bound that is not a number")
        if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= 90 and -90 <= north <= 90):
            raise InputError(
                f"{where}: longitudes lie between -180 and 180, latitudes between -90 and 90; order W,S,E,N"
            )
        if west >= east or south >= north:
            raise InputError(
                f"{where}: west must lie left of east and south below north (order W,S,E,N); an area that crosses the "
                "antimeridian is fetched in two halves"
            )
        return cls(west, south, east, north)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        return (self.west, self.south, self.east, self.north)

    @property
    def area_km2(self) -> float:
        """Area on the sphere."""
        band = math.sin(math.radians(self.north)) - math.sin(math.radians(self.south))
        return _EARTH_RADIUS_KM**2 * math.radians(self.east - self.west) * band

    @property
    def polygon(self) -> BaseGeometry:
        """The box as a polygon."""
        return box(*self.bounds)

    def meets(self, other: tuple[float, float, float, float]) -> bool:
        """Whether another box touches this one."""
        west, south, east, north = other
        return west <= self.east and east >= self.west and south <= self.north and north >= self.south

    def __str__(self) -> str:
        return ",".join(f"{value:.5f}".rstrip("0").rstrip(".") for value in self.bounds)
