"""Where a building's crops lie, and its outline within them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from app.tiles import Bounds
from damage_ssl.grid import crs_of_epsg, transformer

WIDTH_PX, HEIGHT_PX = 380, 500
_MARGIN = {"close": 1.7, "wide": 4.5}
_LEAST_M = {"close": 30.0, "wide": 110.0}

VIEWS = tuple(_MARGIN)


@dataclass(frozen=True)
class Frame:
    """A crop: `mercator` bounds in metres of EPSG:3857, the same in degrees, its true width on the ground."""

    mercator: Bounds
    wgs84: Bounds
    width_m: float


def frame_around(footprint: BaseGeometry, view: str) -> Frame:
    """The crop of `WIDTH_PX` × `HEIGHT_PX` pixels around a footprint (EPSG:4326), close or wide."""
    to_mercator = _to_mercator()
    west, south, east, north = footprint.bounds
    left, bottom = to_mercator.transform(west, south)
    right, top = to_mercator.transform(east, north)
    stretch = 1 / np.cos(np.radians((south + north) / 2))
    aspect = HEIGHT_PX / WIDTH_PX
    width = max(_LEAST_M[view] * stretch, _MARGIN[view] * max(right - left, (top - bottom) / aspect))
    x, y = (left + right) / 2, (bottom + top) / 2
    mercator = (x - width / 2, y - width * aspect / 2, x + width / 2, y + width * aspect / 2)
    lon, lat = to_mercator.transform(mercator[::2], mercator[1::2], direction="INVERSE")
    return Frame(mercator, (lon[0], lat[0], lon[1], lat[1]), float(width / stretch))


def outline_in(footprint: BaseGeometry, frame: Frame) -> list[list[list[float]]]:
    """Outer rings of the footprint as (x, y) shares of the crop's width and height, from its upper left corner."""
    left, bottom, right, top = frame.mercator
    rings = []
    for part in shapely.get_parts(footprint):
        lon, lat = shapely.get_coordinates(part.exterior).T
        x, y = _to_mercator().transform(lon, lat)
        shares = np.column_stack([(x - left) / (right - left), (top - y) / (top - bottom)])
        rings.append(np.round(shares, 4).tolist())
    return rings


@lru_cache(maxsize=1)  # to look it up by its systems takes as long as to use it
def _to_mercator() -> Transformer:
    return transformer(crs_of_epsg(4326), crs_of_epsg(3857))
