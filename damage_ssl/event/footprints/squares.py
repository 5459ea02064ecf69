"""Squares that stand for buildings of which only a point is known."""

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from damage_ssl.event.footprints.model import GeometryKind

_METRES_A_DEGREE = 111_320.0  # of latitude; the square's size is a guess anyway, so a sphere will do
_POINT = 0


def squares_around(raw: gpd.GeoDataFrame, point_size_m: float) -> gpd.GeoDataFrame:
    """Where all features (EPSG:4326) are points, each becomes a square of `size_m`, else of `point_size_m`."""
    geometry = raw.geometry.to_numpy()
    there = ~(shapely.is_missing(geometry) | shapely.is_empty(geometry))
    if not there.any() or not (shapely.get_type_id(geometry[there]) == _POINT).all():
        return raw
    side = np.full(len(raw), point_size_m)
    if "size_m" in raw:
        given = raw["size_m"].to_numpy(dtype=float)
        side = np.where(np.isfinite(given) & (given > 0), given, side)
    kind: GeometryKind = "point"
    out = raw.assign(geometry_kind=kind)
    squares = geometry.copy()
    squares[there] = _squares(shapely.get_coordinates(geometry[there]), side[there])
    return out.set_geometry(gpd.GeoSeries(squares, index=raw.index, crs=raw.crs))


def _squares(lon_lat: NDArray[np.float64], side_m: NDArray[np.float64]) -> NDArray[np.object_]:
    lon, lat = lon_lat.T
    half_lat = side_m / 2 / _METRES_A_DEGREE
    half_lon = half_lat / np.maximum(np.cos(np.radians(lat)), 1e-6)
    squares: NDArray[np.object_] = shapely.box(lon - half_lon, lat - half_lat, lon + half_lon, lat + half_lat)
    return squares
