"""Units that totals are given for: administrative areas of a file, or squares; and in which unit each building lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from damage_ssl.errors import InputError, nearest_name, readable
from damage_ssl.footprints.reader import check_finite, read_vector

OUTSIDE = "outside all units"
"""The name of the last row, of buildings that lie in no unit."""

_WGS84 = "EPSG:4326"


@dataclass(frozen=True, kw_only=True, eq=False)
class AssignedUnits:
    """Units and the buildings in them: `of_building` [N] is the unit of each, -1 for none."""

    unit_id: tuple[str, ...]
    name: tuple[str, ...]
    note: tuple[str | None, ...]
    of_building: NDArray[np.intp]


def read_units(path: str | Path, *, id_column: str | None = None, name_column: str | None = None) -> gpd.GeoDataFrame:
    """Read areas from any vector file: `unit_id`, `name`, `note`, geometry (EPSG:4326).

    Without a column named, `unit_id` and `name` are taken, else the last column whose name has "pcode" and "name" in it
    (the most detailed level of a file of administrative areas), else rows are numbered. A geometry that is not valid
    is made so, and `note` says it.

    Raises:
        InputError: no such file, none of its areas can be used, or it lacks the column.

    Examples:
        >>> squares = grid_units(event.footprints().geometry, 200)
        >>> squares.to_file("squares.geojson", driver="GeoJSON")
        >>> areas = read_units("squares.geojson", name_column="unit_id")
        >>> len(areas) == len(squares), list(areas.columns)
        (True, ['unit_id', 'name', 'note', 'geometry'])
    """
    table = read_vector(Path(path), "areas")
    if not len(table):
        raise InputError(f"{path}: holds no areas; give a file of polygons")
    columns = [str(name) for name in table.columns if name != table.geometry.name]
    if table.crs is None:
        raise InputError(f"{path}: does not say its coordinate system; write it anew with one, e.g. EPSG:4326")
    kept = table.geometry.type.isin(["Polygon", "MultiPolygon"])
    if not kept.any():
        raise InputError(f"{path}: holds no polygons but {', '.join(sorted(set(table.geometry.type.dropna())))}")
    with readable(path, "its outlines or its coordinate system are damaged; give a whole file of polygons"):
        broken = ~table.geometry.is_valid & kept
        table = table[kept].set_geometry(table.geometry[kept].make_valid()).to_crs(_WGS84)
        check_finite(table.geometry.to_numpy(), Path(path))
        table = table.set_geometry(table.geometry.make_valid())  # a corner may have crossed a line on the way
        if not (shapely.area(table.geometry.to_numpy()) > 0).any():
            raise InputError(f"{path}: none of its outlines has an area on the map; check its coordinate system")
    numbered = [str(number) for number in range(1, len(table) + 1)]
    unit_id = _text(table, _chosen(columns, id_column, "unit_id", "pcode", f"{path}"), numbered)
    name = _text(table, _chosen(columns, name_column, "name", "name", f"{path}"), unit_id)
    note = [f"{'its outline was not valid and was mended' if odd else ''}" or None for odd in broken[kept]]
    return gpd.GeoDataFrame(
        {"unit_id": unit_id, "name": name, "note": pd.Series(note, dtype=object)},
        geometry=table.geometry.to_numpy(),
        crs=_WGS84,
    )


def _chosen(columns: Sequence[str], asked: str | None, usual: str, part: str, where: str) -> str | None:
    if asked is not None:
        if asked not in columns:
            raise InputError(
                f"{where}: has no column '{asked}' but {', '.join(columns) or 'none'}; {nearest_name(asked, columns)}"
            )
        return asked
    lowered = {column.lower(): column for column in columns}
    like = [column for column in columns if part in column.lower()]
    return lowered.get(usual) or (like[-1] if like else None)


def _text(table: gpd.GeoDataFrame, column: str | None, instead: Sequence[str]) -> list[str]:
    if column is None:
        return list(instead)
    return [str(value) if pd.notna(value) else other for value, other in zip(table[column], instead, strict=True)]


def grid_units(buildings: gpd.GeoSeries, side_m: float = 500.0) -> gpd.GeoDataFrame:
    """Squares that hold buildings, in the UTM zone of these, as `read_units` gives units.

    Raises:
        InputError: the side is not more than 0.

    Examples:
        >>> len(grid_units(event.footprints().geometry, 10_000.0)) >= 1
        True
    """
    if not side_m > 0:
        raise InputError(f"grid: a side of {side_m} m; give more than 0")
    if not len(buildings):
        return gpd.GeoDataFrame({"unit_id": [], "name": [], "note": []}, geometry=[], crs=_WGS84)
    metric = _points(buildings).to_crs(buildings.estimate_utm_crs())
    cell = np.unique(np.floor(np.stack([metric.x, metric.y], axis=1) / side_m).astype(np.int64), axis=0)
    corner = cell * side_m
    squares = shapely.box(corner[:, 0], corner[:, 1], corner[:, 0] + side_m, corner[:, 1] + side_m)
    unit_id = [f"E{east * side_m:.0f}-N{north * side_m:.0f}" for east, north in cell]
    return gpd.GeoDataFrame(
        {"unit_id": unit_id, "name": unit_id, "note": pd.Series([None] * len(unit_id), dtype=object)},
        geometry=gpd.GeoSeries(squares, crs=metric.crs).to_crs(_WGS84).to_numpy(),
        crs=_WGS84,
    )


def assign_units(buildings: gpd.GeoSeries, units: gpd.GeoDataFrame) -> AssignedUnits:
    """In which unit each building lies, by a point inside it; where units overlap, in the one that is listed first."""
    points = _points(buildings)
    areas = units.geometry.to_crs(buildings.crs or _WGS84).to_numpy()
    # On a common border a building belongs to both, hence to the first.
    point_row, unit_row = shapely.STRtree(points.to_numpy()).query(areas, predicate="intersects")[::-1]
    of_building = np.full(len(points), -1, dtype=np.intp)
    order = np.lexsort((unit_row, point_row))
    first, start, times = np.unique(point_row[order], return_index=True, return_counts=True)
    of_building[first] = unit_row[order][start]
    shared = np.isin(point_row, first[times > 1])
    also = np.bincount(unit_row[shared], minlength=len(units))
    given = units["note"].tolist() if "note" in units else [None] * len(units)
    overlap = "{:,} of its buildings lie in another unit too; each counts in the first listed"
    notes = [
        "; ".join(part for part in (note, overlap.format(count) if count else None) if part) or None
        for note, count in zip(given, also.tolist(), strict=True)
    ]
    return AssignedUnits(
        unit_id=tuple(map(str, units["unit_id"])),
        name=tuple(map(str, units["name"])),
        note=tuple(notes),
        of_building=of_building,
    )


def _points(buildings: gpd.GeoSeries) -> gpd.GeoSeries:
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Geometry is in a geographic CRS")
        return buildings.representative_point()
