"""Outlines of pixels into outlines of houses: few corners, right angles, the same area.

The dominant direction is the length-weighted mean of the edges' directions modulo 90°; edges within 25° of it are
turned into it about their middle, the others (bays, towers) stay. Cf. the polygon regularisation of Zhao et al. 2018
and Zorzi et al. 2021 (arXiv:2007.12587); here by geometry alone.
"""

import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import affinity
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

_SNAP_DEG = 25.0
_BOX_LIKENESS = 0.85
_LIKENESS = 0.75
_CUT_CORNER = 2.5


def regularised(outline: Polygon, *, simplify_m: float) -> Polygon:
    """A house-like outline in place of a pixel outline, in any projected CRS (metres), of the same area.

    The first of these that is like the outline (intersection over union): a rectangle (0.85), the outline with right
    angles (0.75), the outline simplified by `simplify_m` (Douglas & Peucker 1973). Courtyards are kept if they are
    larger than 20 m².
    """
    outline = Polygon(outline.exterior, [ring for ring in outline.interiors if Polygon(ring).area > 20.0])
    simple = _polygon(shapely.simplify(outline, simplify_m)) or outline
    angle = dominant_angle(simple)
    box = _box_along(outline, angle)
    if likeness(box, outline) >= _BOX_LIKENESS:
        return box
    squared = _squared(simple, angle, simplify_m, outline.area)
    if squared is not None and likeness(squared, outline) >= _LIKENESS:
        return squared
    return _with_area(simple, outline.area)


def likeness(one: BaseGeometry, other: BaseGeometry) -> float:
    """Intersection over union of two polygons."""
    both = one.intersection(other).area
    return float(both / max(one.area + other.area - both, 1e-12))


def dominant_angle(polygon: Polygon) -> float:
    """The direction in radians, modulo 90°, that the edges agree on best; an edge counts with its length squared."""
    edges = np.diff(np.asarray(polygon.exterior.coords)[:, :2], axis=0)
    length = np.hypot(edges[:, 0], edges[:, 1])
    turned = np.exp(4j * np.arctan2(edges[:, 1], edges[:, 0]))
    return float(np.angle((length**2 * turned).sum()) / 4)


def _box_along(outline: Polygon, angle: float) -> Polygon:
    """The rectangle along `angle` with the outline's area, its middle and the ratio of its extents."""
    flat = affinity.rotate(outline, -angle, origin=(0, 0), use_radians=True)
    left, bottom, right, top = flat.bounds
    box = _with_area(shapely.box(left, bottom, right, top), outline.area)
    middle = flat.centroid
    box = affinity.translate(box, middle.x - box.centroid.x, middle.y - box.centroid.y)
    return affinity.rotate(box, angle, origin=(0, 0), use_radians=True)


@dataclass
class _Edge:
    """A line a·x + b·y = c with its length and end; `axis` 0 runs along x, 1 along y, None is free."""

    axis: int | None
    a: float
    b: float
    c: float
    length: float
    end: tuple[float, float]


def _squared(polygon: Polygon, angle: float, least_m: float, area: float) -> Polygon | None:
    """The polygon with right angles along `angle` and of this area; None where that is no valid polygon."""
    flat = affinity.rotate(polygon, -angle, origin=(0, 0), use_radians=True)
    rings = [_squared_ring(np.asarray(ring.coords)[:-1, :2], least_m) for ring in (flat.exterior, *flat.interiors)]
    if rings[0] is None:
        return None
    whole = _polygon(Polygon(rings[0], [ring for ring in rings[1:] if ring is not None]))
    if whole is None:
        return None
    return affinity.rotate(_with_area(whole, area), angle, origin=(0, 0), use_radians=True)


def _squared_ring(corners: NDArray[np.float64], least_m: float) -> NDArray[np.float64] | None:
    edges = [_edge(one, other) for one, other in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    # A short edge askew is a corner that the pixels cut off; a short step along an axis is noise.
    edges = _joined(
        [edge for edge in edges if edge.length > (_CUT_CORNER if edge.axis is None else 1) * least_m], least_m
    )
    if len(edges) < 3:
        return None
    points: list[NDArray[np.float64]] = []
    for edge, after in zip(edges, edges[1:] + edges[:1], strict=True):
        points += _corner(edge, after)
    return np.array(points)


def _edge(start: NDArray[np.float64], end: NDArray[np.float64]) -> _Edge:
    (dx, dy), middle = end - start, (start + end) / 2
    length, at = math.hypot(dx, dy), (float(end[0]), float(end[1]))
    slope = math.degrees(math.atan2(abs(dy), abs(dx)))
    if slope <= _SNAP_DEG:
        return _Edge(0, 0.0, 1.0, float(middle[1]), length, at)
    if slope >= 90 - _SNAP_DEG:
        return _Edge(1, 1.0, 0.0, float(middle[0]), length, at)
    a, b = -dy / length, dx / length
    return _Edge(None, a, b, float(a * middle[0] + b * middle[1]), length, at)


def _joined(edges: list[_Edge], least_m: float) -> list[_Edge]:
    """Edges that follow one another along the same axis less than `least_m` apart become one."""
    start = next((k for k, edge in enumerate(edges) if edge.axis != edges[k - 1].axis), 0)
    out: list[_Edge] = []
    for edge in edges[start:] + edges[:start]:
        last = out[-1] if out else None
        if last is not None and edge.axis is not None and edge.axis == last.axis and abs(edge.c - last.c) < least_m:
            total = last.length + edge.length
            middle = (last.c * last.length + edge.c * edge.length) / total
            out[-1] = _Edge(edge.axis, edge.a, edge.b, middle, total, edge.end)
        else:
            out.append(edge)
    return out


def _corner(edge: _Edge, after: _Edge) -> list[NDArray[np.float64]]:
    """Where an edge ends and the next begins: one point, or two with a step between parallel edges."""
    determinant = edge.a * after.b - edge.b * after.a
    if abs(determinant) > 0.2:
        x = (edge.c * after.b - edge.b * after.c) / determinant
        y = (edge.a * after.c - edge.c * after.a) / determinant
        return [np.array([x, y])]
    return [np.array(_foot(line, edge.end)) for line in (edge, after)]


def _foot(line: _Edge, point: tuple[float, float]) -> tuple[float, float]:
    """The point of a line nearest to a point."""
    away = line.c - line.a * point[0] - line.b * point[1]
    return point[0] + away * line.a, point[1] + away * line.b


def _with_area(polygon: Polygon, area: float) -> Polygon:
    """Scaled about its centroid to this area."""
    factor = math.sqrt(area / polygon.area)
    return affinity.scale(polygon, factor, factor, origin="centroid")


def _polygon(geometry: BaseGeometry) -> Polygon | None:
    """The geometry if it is one valid polygon with an area."""
    fit = geometry.geom_type == "Polygon" and geometry.is_valid and not geometry.is_empty and geometry.area > 0
    return geometry if fit and isinstance(geometry, Polygon) else None
