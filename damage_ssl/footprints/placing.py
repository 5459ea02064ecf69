"""Which footprint a point or a polygon of somebody else's means: one, or none that can be said.

A spatial join by itself gives every pair that touches; here a thing is given to a building only where no other could be
meant.
"""

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

_POINT = 0
_MULTI_POINT = 4
_POLYGONS = (3, 6)
_SAME = 0.5
_METRES_A_DEGREE = 111_320.0  # of latitude; distances here are of some metres

OUTSIDE = "in no footprint"
SEVERAL = "several footprints could be meant"
OTHER_OUTLINE = "an outline that is no footprint's"
NO_PLACE = "no point or polygon"


@dataclass(frozen=True)
class FootprintMatch:
    """For each thing the place of its footprint in the table, −1 where there is none, and then why ('' else)."""

    footprint: NDArray[np.int64]
    reason: NDArray[np.object_]


def place_on_footprints(
    geometry: NDArray[np.object_], footprints: gpd.GeoDataFrame, *, near_m: float = 0.0
) -> FootprintMatch:
    """Give points and polygons to footprints; all are in EPSG:4326.

    A point is of the only footprint that holds it; where it may be off by `near_m` metres, of the only one so near,
    whether it lies in that or not. A polygon is of the
    footprint with which it shares more than half of its own area and of the footprint's: one at most can be that.
    """
    shapes = shapely.force_2d(np.asarray(geometry, dtype=object))
    count = len(shapes)
    found, reason = np.full(count, -1, dtype=np.int64), np.full(count, NO_PLACE, dtype=object)
    outlines = footprints.geometry.to_numpy()
    tree = shapely.STRtree(outlines)
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    types = shapely.get_type_id(shapes)
    single = there & (types == _MULTI_POINT) & (shapely.get_num_geometries(shapes) == 1)
    shapes[single] = shapely.get_geometry(shapes[single], 0)
    points = np.flatnonzero(single | (there & (types == _POINT)))
    polygons = np.flatnonzero(there & np.isin(types, _POLYGONS))
    found[points], reason[points] = _points(shapes[points], outlines, tree, near_m)
    found[polygons], reason[polygons] = _polygons(shapely.make_valid(shapes[polygons]), outlines, tree)
    return FootprintMatch(found, reason)


_Found = tuple[NDArray[np.int64], NDArray[np.object_]]


def _points(points: NDArray[np.object_], outlines: NDArray[np.object_], tree: shapely.STRtree, near_m: float) -> _Found:
    if near_m <= 0:
        return _only(tree.query(points, predicate="intersects"), len(points))
    # a box in degrees that holds the circle, then the distance in metres about each point
    reach = near_m / (_METRES_A_DEGREE * np.maximum(np.cos(np.radians(shapely.get_y(points))), 1e-3))
    pairs = tree.query(shapely.buffer(points, reach, cap_style="square"), predicate="intersects")
    keep = np.array([_distance_m(points[point], outlines[outline]) <= near_m for point, outline in pairs.T], dtype=bool)
    return _only(pairs[:, keep], len(points))


def _distance_m(point: shapely.Point, outline: shapely.Geometry) -> float:
    across = float(np.cos(np.radians(point.y)))
    scale = np.array([across * _METRES_A_DEGREE, _METRES_A_DEGREE])
    flat = shapely.transform(outline, lambda xy: (xy - (point.x, point.y)) * scale)
    return float(shapely.distance(shapely.Point(0, 0), flat))


def _polygons(polygons: NDArray[np.object_], outlines: NDArray[np.object_], tree: shapely.STRtree) -> _Found:
    pairs = tree.query(polygons, predicate="intersects")
    mine, theirs = polygons[pairs[0]], outlines[pairs[1]]
    shared = shapely.area(shapely.intersection(mine, theirs))
    same = (shared > _SAME * shapely.area(mine)) & (shared > _SAME * shapely.area(theirs))
    found, reason = _only(pairs[:, same], len(polygons))
    touched = np.isin(np.arange(len(polygons)), pairs[0])
    reason[(found < 0) & touched & (reason == OUTSIDE)] = OTHER_OUTLINE
    return found, reason


def _only(pairs: NDArray[np.int64], count: int) -> _Found:
    """Of pairs [2, N] (thing, footprint) the footprint of each thing that has one only."""
    times = np.bincount(pairs[0], minlength=count)
    found = np.full(count, -1, dtype=np.int64)
    once = times[pairs[0]] == 1
    found[pairs[0][once]] = pairs[1][once]
    reason = np.where(times == 0, OUTSIDE, np.where(times > 1, SEVERAL, "")).astype(object)
    return found, reason
