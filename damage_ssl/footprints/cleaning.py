"""Clean polygons with stable ids out of whatever geometry a source gives.

Where only a point is known of a building, a square stands for it.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from damage_ssl.errors import InputError
from damage_ssl.footprints.footprint_set import FootprintSet, GeometryKind, SourceReport, no_left_out
from damage_ssl.footprints.formats.advice import no_crs
from damage_ssl.footprints.region import Region
from damage_ssl.geography import is_torn, made_whole

ID_COLUMNS = ("building_id", "id", "uid", "globalid", "objectid")
POLYGON_TYPES = (3, 6)  # shapely's type ids of Polygon and MultiPolygon
_COLLECTION = 7
_EQUAL_AREA = "EPSG:6933"
_SHOWN = 5
_USABLE = ("", "repaired")
_EXACT_FLOAT = 2.0**53
_GRID_DEGREES = 1e-7  # about a centimetre: polygons that are equal on it are one polygon


def clean_footprints(
    raw: gpd.GeoDataFrame,
    path: Path,
    *,
    region: Region | None = None,
    point_size_m: float = 10.0,
    may_be_empty: bool = False,
    own_names: Mapping[str, str] | None = None,
) -> FootprintSet:
    """Make footprints of features that are in memory already; `path` is named in errors and as their source.

    Columns that are used where they are there: `building_id`, `id`, `uid`; `confidence`; `geometry_kind`; `dataset`
    (who drew it, put behind the source's name); `size_m` (side of the square that stands for a point); `row` (place in
    the file, for messages). Invalid polygons are repaired (self-intersections split, spikes dropped, polygons across
    the antimeridian made whole). Features that are empty, cannot be repaired, are no polygons among polygons, or repeat
    an earlier polygon (with another `building_id` they stay) are left out and listed in `left_out`. Where there are
    points only, each becomes a square of `size_m`, else `point_size_m`, marked `point`.

    Args:
        raw: features in any CRS.
        path: the file that they are from.
        region: which of them are the event's; the others are counted.
        point_size_m: side of the square around a point whose size is not known.
        may_be_empty: nothing in the region is no error.
        own_names: what the file calls the columns.

    Raises:
        InputError: no CRS, no usable polygons or points, a `building_id` is missing or double, or none is inside.
    """
    raw = to_wgs84(raw, path)
    if raw.empty and not may_be_empty:
        raise InputError(f"{path}: holds no features; give a file of building polygons")
    raw = squares_around(raw, point_size_m)
    geometry, state = _repaired(raw.geometry.to_numpy())
    if len(raw) and not np.isin(state, _USABLE).any():
        raise InputError(_nothing_usable(raw, state, path))
    outside = 0
    if region is not None:
        inside = _inside(region, geometry, np.isin(state, _USABLE))
        outside = int(np.count_nonzero(~inside))
        raw, geometry, state = raw[inside].reset_index(drop=True), geometry[inside], state[inside]
        if not may_be_empty and not np.isin(state, _USABLE).any():
            raise InputError(
                f"{path}: none of its {outside} footprints lies {region.name} ({bounds_text(region.bounds)}); "
                "check the files' CRS and place"
            )
    canonical = _canonical(geometry)
    state = np.where(_repeats(canonical, state, raw), "repeated", state)
    return _assembled(raw, geometry, canonical, state, path, outside, own_names or {})


def area_m2(geometry: NDArray[np.object_]) -> NDArray[np.float64]:
    """Area on the ellipsoid of polygons in EPSG:4326, by an equal-area projection."""
    bounds = shapely.bounds(geometry)
    across = (bounds[:, 0] < -180) | (bounds[:, 2] > 180)
    if across.any():  # the projection would tear them; a cylinder may be turned
        geometry = geometry.copy()
        geometry[across] = shapely.transform(
            geometry[across], lambda xy: np.column_stack([xy[:, 0] % 360 - 180, xy[:, 1]])
        )
    areas: NDArray[np.float64] = gpd.GeoSeries(geometry, crs="EPSG:4326").to_crs(_EQUAL_AREA).area.to_numpy()
    return areas


def to_wgs84(raw: gpd.GeoDataFrame, path: Path) -> gpd.GeoDataFrame:
    """The same features in EPSG:4326, rows numbered from 0.

    Raises:
        InputError: there is no CRS, or the coordinates are not longitude and latitude though they should be.
    """
    if raw.crs is None:
        if ".geojson" not in path.name.lower() and ".json" not in path.name.lower():
            raise InputError(no_crs(path))
        raw = raw.set_crs("EPSG:4326")
    out = raw.to_crs("EPSG:4326").reset_index(drop=True)
    bounds = out.total_bounds
    if (
        len(out)
        and np.isfinite(bounds).all()
        and (np.abs(bounds[[0, 2]]).max() > 360 or np.abs(bounds[[1, 3]]).max() > 90)
    ):
        raise InputError(
            f"{path}: its coordinates ({bounds_text(bounds)}) are not longitude and latitude, but it says EPSG:4326; "
            "assign the CRS that it was made in"
        )
    return out


def bounds_text(bounds: "NDArray[np.float64] | tuple[float, ...]") -> str:
    """West, east, south and north for a message."""
    left, bottom, right, top = (float(value) for value in bounds)
    return f"lon {left:.5f} to {right:.5f}, lat {bottom:.5f} to {top:.5f}"


def counted(types: "pd.Series[str]") -> str:
    """`3 Point, 1 LineString` for a message."""
    return ", ".join(f"{count} {name}" for name, count in types.dropna().value_counts().items())


def listed(names: NDArray[np.object_]) -> str:
    """The first names, and how many more there are, for a message."""
    shown = ", ".join(str(name) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _assembled(
    raw: gpd.GeoDataFrame,
    geometry: NDArray[np.object_],
    canonical: NDArray[np.object_],
    state: NDArray[np.object_],
    path: Path,
    outside: int,
    own_names: Mapping[str, str],
) -> FootprintSet:
    keep = np.isin(state, _USABLE)
    column, remarks = _id_column(raw[keep], path, own_names)
    rows = raw["row"].to_numpy() if "row" in raw else np.arange(1, len(raw) + 1)
    given = np.array([f"row {row}" for row in rows], dtype=object)
    name = column or next((name for name in ID_COLUMNS if name in raw), None)  # where not unique, still the source's id
    if name:
        named = raw[name].notna().to_numpy()
        given[named] = raw.loc[named, name].map(id_text).to_numpy(dtype=object)
    ids = given[keep] if column else _hashed_ids(canonical[keep], path.stem)
    source = np.full(len(raw), path.name, dtype=object)
    if "dataset" in raw:
        known = raw["dataset"].notna().to_numpy()
        source[known] = [f"{path.name} ({dataset})" for dataset in raw.loc[known, "dataset"]]
    kinds = (
        raw["geometry_kind"].to_numpy(dtype=object) if "geometry_kind" in raw else np.full(len(raw), "polygon", object)
    )
    confidence = pd.to_numeric(raw["confidence"], errors="coerce") if "confidence" in raw else np.full(len(raw), np.nan)
    table = gpd.GeoDataFrame(
        {
            "building_id": ids.astype(str),
            "source": source[keep].astype(str),
            "source_id": given[keep].astype(str),
            "area_m2": area_m2(geometry[keep]),
            "geometry_kind": kinds[keep].astype(str),
            "confidence": np.asarray(confidence, dtype=np.float32)[keep],
        },
        geometry=geometry[keep],
        crs="EPSG:4326",
    )
    left_out = _left_out(source, given, state, keep, canonical, table)
    repaired = int(np.count_nonzero(state == "repaired"))
    report = SourceReport(
        source=path.name,
        format="features in memory",
        path=str(path),
        features=len(raw) + outside,
        outside=outside,
        repaired=repaired,
        left_out={str(reason): int(count) for reason, count in left_out["reason"].value_counts().items()},
        kept=len(table),
        id_column=column,
        remarks=tuple(remarks),
        kinds={str(kind): int(count) for kind, count in table["geometry_kind"].value_counts().items()},
    )
    return FootprintSet(table, column, repaired, outside, left_out, (report,))


def _left_out(
    source: NDArray[np.object_],
    given: NDArray[np.object_],
    state: NDArray[np.object_],
    keep: NDArray[np.bool_],
    canonical: NDArray[np.object_],
    table: gpd.GeoDataFrame,
) -> pd.DataFrame:
    if keep.all():
        return no_left_out()
    first: dict[bytes, str] = {}
    for wkb, building_id in zip(canonical[keep], table["building_id"], strict=True):
        first.setdefault(wkb, building_id)
    out = ~keep
    repeated = state[out] == "repeated"
    return pd.DataFrame(
        {
            "source": source[out].astype(str),
            "source_id": given[out].astype(str),
            "reason": state[out].astype(str),
            "duplicate_of": [
                first.get(wkb) if again else None for wkb, again in zip(canonical[out], repeated, strict=True)
            ],
            "overlap": np.where(repeated, 1.0, np.nan),
        }
    )


def _inside(region: Region, geometry: NDArray[np.object_], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which features are the event's; of what has no valid polygon it cannot be said that it is not."""
    inside = np.ones(len(geometry), dtype=bool)
    inside[usable] = region.holds(geometry[usable])
    return inside


def _nothing_usable(raw: gpd.GeoDataFrame, state: NDArray[np.object_], path: Path) -> str:
    if (state == "not_a_polygon").any():
        return f"{path}: footprints must be polygons; found {counted(raw.geom_type)}"
    if (state == "empty").all():
        return f"{path}: footprints must be polygons; found no geometry"
    names = raw[column].map(id_text) if (column := next((c for c in ID_COLUMNS if c in raw), None)) else raw.index + 1
    return (
        f"{path}: its {len(raw)} footprints are empty or not valid polygons: {listed(np.asarray(names, dtype=object))}"
    )


def _id_column(raw: gpd.GeoDataFrame, path: Path, own_names: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """The first column whose ids are complete, unique and whole, and what is the matter with those before it.

    Raises:
        InputError: it is `building_id` that is not.
    """
    remarks: list[str] = []
    for name in ID_COLUMNS:
        if name not in raw.columns:
            continue
        own = own_names.get(name, name)
        ids = raw[name].map(id_text, na_action="ignore")
        missing = raw[name].isna() | (ids == "")
        double = ids[ids.duplicated() & ~missing]
        lost = raw[name].map(lambda value: isinstance(value, float) and abs(value) >= _EXACT_FLOAT)
        if not missing.any() and double.empty and not lost.any():
            return name, remarks
        if missing.all() and name != "building_id":
            continue
        if missing.any():
            what = (
                f"{int(missing.sum())} of {len(raw)} footprints have no {own} (first: feature "
                f"{int(np.argmax(missing)) + 1})"
            )
        elif lost.any():
            what = f"{own} is kept as decimal numbers, which have lost digits (such as {ids[lost].iloc[0]})"
        else:
            what = f"{own} is not unique: {listed(double.unique())}"
        if name == "building_id":
            cure = "fill it in" if missing.any() else "write it as text" if lost.any() else "make the ids unique"
            raise InputError(f"{path}: {what}; {cure}, or remove the column to have ids made")
        remarks.append(what)
    return None, remarks


def id_text(value: object) -> str:
    """Ids as text; a float column of whole numbers (as some formats give) loses its `.0`."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _repaired(geometry: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Valid two-dimensional polygons, and for each '', 'repaired' or the reason why there is none."""
    state = np.full(len(geometry), "", dtype=object)
    fixed = shapely.force_2d(geometry)
    empty = shapely.is_missing(fixed) | shapely.is_empty(fixed)
    types = shapely.get_type_id(fixed)
    other = ~empty & ~np.isin(types, (*POLYGON_TYPES, _COLLECTION))
    wide = ~empty & ~other & is_torn(fixed)
    fixed[wide] = [made_whole(each) for each in fixed[wide]]
    broken = ~empty & ~other & ~(shapely.is_valid(fixed) & np.isin(types, POLYGON_TYPES))
    for row in np.flatnonzero(broken):
        fixed[row] = _polygonal(fixed[row])
    state[broken | wide] = "repaired"
    with np.errstate(invalid="ignore"):
        hopeless = ~empty & ~other & (shapely.is_empty(fixed) | ~shapely.is_valid(fixed) | ~(shapely.area(fixed) > 0))
    state[hopeless], state[empty], state[other] = "irreparable", "empty", "not_a_polygon"
    return fixed, state


def _polygonal(geometry: BaseGeometry) -> BaseGeometry:
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        return shapely.Polygon()
    parts = [part for part in _parts(shapely.make_valid(geometry)) if part.geom_type == "Polygon" and part.area > 0]
    return shapely.union_all(parts) if parts else shapely.Polygon()


def _parts(geometry: BaseGeometry) -> list[BaseGeometry]:
    if not hasattr(geometry, "geoms"):
        return [geometry]
    return [leaf for part in geometry.geoms for leaf in _parts(part)]


def _canonical(geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    """The polygon's corners to about a centimetre as bytes, however they are ordered; None without a geometry."""
    rounded = shapely.transform(geometry, lambda xy: np.round(xy / _GRID_DEGREES) * _GRID_DEGREES)
    return np.asarray(shapely.to_wkb(shapely.normalize(rounded), byte_order=1), dtype=object)


def _repeats(canonical: NDArray[np.object_], state: NDArray[np.object_], raw: gpd.GeoDataFrame) -> NDArray[np.bool_]:
    """Polygons that were there before. The user's own `building_id` is a reason to keep both: it may have labels."""
    usable = np.isin(state, _USABLE)
    keys = pd.DataFrame({"polygon": canonical})
    if "building_id" in raw:
        keys["building_id"] = raw["building_id"].map(id_text, na_action="ignore")
    repeats: NDArray[np.bool_] = np.zeros(len(raw), dtype=bool)
    repeats[usable] = keys[usable].duplicated().to_numpy()
    return repeats


def _hashed_ids(canonical: NDArray[np.object_], source: str) -> NDArray[np.object_]:
    """A stable id from the polygon (to about a centimetre) and its source."""
    prefix = source.encode() + b"\0"
    return np.array([hashlib.sha256(prefix + wkb).hexdigest()[:16] for wkb in canonical], dtype=object)


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
