"""GeoJSON as RFC 7946 has it: WGS 84 longitude and latitude, right-hand rule, no `crs` member, nulls and no NaN."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry import mapping
from shapely.geometry.polygon import orient

from damage_ssl.errors import InputError
from damage_ssl.files import atomic_path
from damage_ssl.products.formats import Metadata, ProductWriter
from damage_ssl.products.map_style import write_style

DECIMALS = 8
"""About a millimetre on the ground, and ample for every other number in the file."""

_CHUNK = 2000


def write_geojson(
    product: gpd.GeoDataFrame,
    path: Path,
    *,
    metadata: Metadata | None = None,
    rows: NDArray[np.integer] | None = None,
) -> None:
    """Write a FeatureCollection, feature by feature, atomically; a QGIS style of the same name goes beside it.

    `building_id` is also each feature's `id`. Geometry in another CRS is reprojected, heights are left out.

    Args:
        product: polygons with their properties, e.g. from `assessed_footprints`.
        path: the file, replaced if it is there.
        rows: which features, by position; None: all. Only a few thousand at a time are copied.
        metadata: goes into the top-level member `damage_ssl` (scheme statement, run, threshold, …).

    Raises:
        InputError: no CRS, a feature without geometry, or an infinite number.
        StorageError: the disk is full or not writable.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of the file to write")
    if product.crs is None:
        raise InputError(f"{path}: the features have no CRS; set the one that they are in")
    chosen = np.arange(len(product)) if rows is None else np.asarray(rows)
    shapes = product.geometry.iloc[chosen]
    missing = shapes.isna() | shapes.is_empty
    if missing.any():
        raise InputError(f"{path}: {int(missing.sum())} features have no geometry; leave them out or repair them")
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        _write_collection(product, chosen, file, path, metadata or {})
    write_style(path.with_suffix(".qml"))


def _write_collection(
    product: gpd.GeoDataFrame, rows: NDArray[np.integer], file: TextIO, path: Path, metadata: Metadata
) -> None:
    file.write('{"type": "FeatureCollection",\n')
    if metadata:
        file.write(f'"damage_ssl": {_dump(dict(metadata), path)},\n')
    if len(rows):
        bounds = product.geometry.iloc[rows].to_crs(4326).total_bounds
        file.write(f'"bbox": {_dump([round(float(bound), DECIMALS) for bound in bounds], path)},\n')
    file.write('"features": [')
    for number, feature in enumerate(_features(product, rows)):
        file.write((",\n" if number else "\n") + _dump(feature, path))
    file.write("\n]}\n")


def _features(product: gpd.GeoDataFrame, rows: NDArray[np.integer]) -> Iterator[dict[str, Any]]:
    name = product.geometry.name
    for start in range(0, len(rows), _CHUNK):
        part = product.iloc[rows[start : start + _CHUNK]].to_crs(4326)
        properties = part.drop(columns=name)
        values = zip(*(map(_plain, properties[column]) for column in properties.columns), strict=True)
        # Rounded before it is wound, so that what is written obeys the right-hand rule.
        rounded = shapely.transform(shapely.force_2d(part.geometry.to_numpy()), lambda xy: np.round(xy, DECIMALS))
        for geometry, row in zip(rounded, values, strict=True):
            members = dict(zip(properties.columns, row, strict=True))
            identity = {"id": members["building_id"]} if "building_id" in members else {}
            yield {"type": "Feature", **identity, "geometry": _geometry(geometry), "properties": members}


def _geometry(geometry: shapely.Geometry) -> dict[str, Any]:
    """The members of a geometry, wound by the right-hand rule: exterior rings counter-clockwise, holes clockwise."""
    if isinstance(geometry, shapely.Polygon):
        geometry = orient(geometry)
    elif isinstance(geometry, shapely.MultiPolygon):
        geometry = shapely.MultiPolygon([orient(part) for part in geometry.geoms])
    members: dict[str, Any] = mapping(cast(Any, geometry))
    return members


def _plain(value: Any) -> Any:
    """A JSON value: NaN, NA and NaT become null, NumPy scalars Python ones, times ISO 8601."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, DECIMALS)
    return value.isoformat() if hasattr(value, "isoformat") else value


def _dump(value: Any, path: Path) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise InputError(f"{path}: a number is infinite, which JSON cannot hold ({error})") from None


FORMATS: Mapping[str, ProductWriter] = {".geojson": write_geojson, ".json": write_geojson}
