"""Building footprints: any polygon file in, clean polygons with stable ids out."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from damage_ssl.errors import InputError

_ID_COLUMNS = ("building_id", "id", "uid")
_POLYGONAL = {"Polygon", "MultiPolygon"}
_EQUAL_AREA = "EPSG:6933"
_SHOWN = 5


@dataclass(frozen=True)
class FootprintSet:
    """Footprints in EPSG:4326 (`building_id`, `source`, `source_id`, `area_m2`, `geometry`) and what was done to them.

    `id_column` is the column that gave the ids; None where they are hashes of the geometry.
    """

    table: gpd.GeoDataFrame
    id_column: str | None
    repaired: int
    outside_aoi: int


def read_footprints(path: Path, *, aoi: BaseGeometry | None = None) -> FootprintSet:
    """Read building polygons from any file that OGR or GeoParquet can read.

    The id is taken from `building_id`, else from `id` or `uid` where it is unique and complete, else it is a stable
    hash of the geometry and the file's name. Invalid polygons are repaired (self-intersections split, spikes dropped).
    With an AOI, the footprints whose representative point lies in it are kept.

    Raises:
        InputError: the file cannot be read, holds no polygons or others besides, has no known CRS, has an empty or an
            irreparable geometry, has a `building_id` that is missing or double, or nothing lies in the AOI.
    """
    path = Path(path)
    return clean_footprints(_read_vector(path, "footprints"), path, aoi=aoi)


def clean_footprints(raw: gpd.GeoDataFrame, path: Path, *, aoi: BaseGeometry | None = None) -> FootprintSet:
    """`read_footprints` for features that are in memory already; `path` is named in errors and as their source."""
    raw = _to_wgs84(raw, path)
    if raw.empty:
        raise InputError(f"{path}: holds no features; give a file of building polygons")
    _check_types(raw, path)
    column = _id_column(raw, path)
    names = raw[column].map(_id_text) if column else pd.Series([f"row {n}" for n in range(1, len(raw) + 1)])
    geometry, repaired = _repaired(raw.geometry.to_numpy(), names.to_numpy(dtype=str), path)
    source_id = names.to_numpy(dtype=str) if column else np.array([str(n) for n in range(len(raw))])
    ids = source_id if column else _hashed_ids(geometry, path.stem)
    table = gpd.GeoDataFrame(
        {"building_id": ids, "source": path.name, "source_id": source_id, "area_m2": area_m2(geometry)},
        geometry=geometry,
        crs="EPSG:4326",
    )
    outside = 0
    if aoi is not None:
        shapely.prepare(aoi)
        inside = shapely.covers(aoi, table.geometry.representative_point().to_numpy())
        outside = int(np.count_nonzero(~inside))
        table = table[inside].reset_index(drop=True)
        if table.empty:
            raise InputError(
                f"{path}: none of its {outside} footprints lies in the AOI "
                f"({_bounds_text(aoi.bounds)}; footprints: {_bounds_text(raw.total_bounds)}); "
                "check the AOI's CRS and place"
            )
    return FootprintSet(table, column, repaired, outside)


def read_aoi(path: Path) -> BaseGeometry:
    """Read an area of interest: the union of a file's polygons, in EPSG:4326.

    Raises:
        InputError: the file cannot be read, has no known CRS or holds no polygons.
    """
    path = Path(path)
    raw = _to_wgs84(_read_vector(path, "AOI"), path)
    raw = raw[~(raw.geometry.isna() | raw.geometry.is_empty)]
    if raw.empty or not set(raw.geom_type) <= _POLYGONAL:
        raise InputError(f"{path}: an AOI is one or more polygons; found {_counted(raw.geom_type) or 'nothing'}")
    return shapely.union_all(shapely.make_valid(shapely.force_2d(raw.geometry.to_numpy())))


def area_m2(geometry: NDArray[np.object_]) -> NDArray[np.float64]:
    """Area on the ellipsoid of polygons in EPSG:4326, by an equal-area projection."""
    areas: NDArray[np.float64] = gpd.GeoSeries(geometry, crs="EPSG:4326").to_crs(_EQUAL_AREA).area.to_numpy()
    return areas


def _read_vector(path: Path, what: str) -> gpd.GeoDataFrame:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the {what} file's path")
    try:
        if path.suffix.lower() in {".parquet", ".geoparquet"}:
            return gpd.read_parquet(path)
        source = f"/vsigzip/{path.resolve()}" if path.suffix.lower() == ".gz" else path
        read = gpd.read_file(source)
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read as vector data ({error}); give GeoJSON, GeoPackage, GeoParquet, Shapefile or "
            "another file that GDAL/OGR reads"
        ) from error
    if not isinstance(read, gpd.GeoDataFrame):
        raise InputError(f"{path}: has no geometry column; the {what} file must hold polygons")
    return read


def _to_wgs84(raw: gpd.GeoDataFrame, path: Path) -> gpd.GeoDataFrame:
    if raw.crs is None:
        if ".geojson" not in path.name.lower() and ".json" not in path.name.lower():
            raise InputError(f"{path}: has no CRS; assign one (for a Shapefile: the .prj file beside it)")
        raw = raw.set_crs("EPSG:4326")
    out = raw.to_crs("EPSG:4326").reset_index(drop=True)
    bounds = out.total_bounds
    if (
        len(out)
        and np.isfinite(bounds).all()
        and (np.abs(bounds[[0, 2]]).max() > 360 or np.abs(bounds[[1, 3]]).max() > 90)
    ):
        raise InputError(
            f"{path}: its coordinates ({_bounds_text(bounds)}) are not longitude and latitude, but it says EPSG:4326; "
            "assign the CRS that it was made in"
        )
    return out


def _check_types(raw: gpd.GeoDataFrame, path: Path) -> None:
    types = raw.geom_type.dropna()
    if not len(types) or not (types.isin(_POLYGONAL) | (types == "GeometryCollection")).any():
        raise InputError(f"{path}: footprints must be polygons; found {_counted(types) or 'no geometry'}")
    other = types[~(types.isin(_POLYGONAL) | (types == "GeometryCollection"))]
    if len(other):
        raise InputError(
            f"{path}: footprints must be polygons; found also {_counted(other)} (first: feature {other.index[0] + 1}); "
            "remove them"
        )


def _id_column(raw: gpd.GeoDataFrame, path: Path) -> str | None:
    for name in _ID_COLUMNS:
        if name not in raw.columns:
            continue
        ids = raw[name].map(_id_text, na_action="ignore")
        missing = raw[name].isna() | (ids == "")
        double = ids[ids.duplicated() & ~missing]
        if not missing.any() and double.empty:
            return name
        if name == "building_id":
            if missing.any():
                raise InputError(
                    f"{path}: {int(missing.sum())} of {len(raw)} footprints have no building_id (first: feature "
                    f"{int(np.argmax(missing)) + 1}); fill it in, or remove the column to have ids made"
                )
            raise InputError(
                f"{path}: building_id is not unique: {_listed(double.unique())}; make the ids unique, or remove "
                "the column to have ids made"
            )
    return None


def _id_text(value: object) -> str:
    """Ids as text; a float column of whole numbers (as some formats give) loses its `.0`."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _repaired(geometry: NDArray[np.object_], names: NDArray[np.str_], path: Path) -> tuple[NDArray[np.object_], int]:
    empty = shapely.is_missing(geometry) | shapely.is_empty(geometry)
    if empty.any():
        raise InputError(
            f"{path}: {int(empty.sum())} footprints have an empty geometry: {_listed(names[empty])}; remove them"
        )
    geometry = shapely.force_2d(geometry)
    broken = ~shapely.is_valid(geometry) | ~np.isin(shapely.get_type_id(geometry), (3, 6))
    fixed = geometry.copy()
    for row in np.flatnonzero(broken):
        parts = [
            part for part in _parts(shapely.make_valid(geometry[row])) if part.geom_type == "Polygon" and part.area > 0
        ]
        fixed[row] = shapely.union_all(parts) if parts else shapely.Polygon()
    hopeless = shapely.is_empty(fixed) | ~shapely.is_valid(fixed) | (shapely.area(fixed) == 0)
    if hopeless.any():
        raise InputError(
            f"{path}: {int(hopeless.sum())} footprints are not valid polygons and cannot be repaired: "
            f"{_listed(names[hopeless])}; redraw or remove them"
        )
    return fixed, int(np.count_nonzero(broken))


def _parts(geometry: BaseGeometry) -> list[BaseGeometry]:
    if not hasattr(geometry, "geoms"):
        return [geometry]
    return [leaf for part in geometry.geoms for leaf in _parts(part)]


def _hashed_ids(geometry: NDArray[np.object_], source: str) -> NDArray[np.str_]:
    """A stable id from the polygon (to about a centimetre) and its source; a repeated polygon gets a running suffix."""
    canonical = shapely.to_wkb(shapely.normalize(shapely.transform(geometry, lambda xy: np.round(xy, 7))), byte_order=1)
    hashed = pd.Series([hashlib.sha256(source.encode() + b"\0" + wkb).hexdigest()[:16] for wkb in canonical])
    repeat = hashed.groupby(hashed).cumcount()
    return hashed.where(repeat == 0, hashed + "-" + (repeat + 1).astype(str)).to_numpy(dtype=str)


def _listed(names: NDArray[np.str_]) -> str:
    shown = ", ".join(str(name) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _counted(types: "pd.Series[str]") -> str:
    return ", ".join(f"{count} {name}" for name, count in types.value_counts().items())


def _bounds_text(bounds: "NDArray[np.float64] | tuple[float, ...]") -> str:
    left, bottom, right, top = (float(value) for value in bounds)
    return f"lon {left:.5f} to {right:.5f}, lat {bottom:.5f} to {top:.5f}"
