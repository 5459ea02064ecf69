"""GeoJSON as RFC 7946 has it: WGS 84 longitude and latitude, right-hand rule, no `crs` member, nulls and no NaN.

Looked at and not used: GDAL's writer with RFC7946=YES, which takes half as long again, has no member for metadata and
writes floats with 17 digits.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from damage_ssl.errors import InputError
from damage_ssl.files import atomic_path
from damage_ssl.products.formats import Metadata, ProductWriter
from damage_ssl.products.formats.ogr import checked, parts
from damage_ssl.products.qgis_style import write_style

DECIMALS = 8
"""About a millimetre on the ground, and ample for every other number in the file."""

_CHUNK = 2000
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def write_geojson(
    product: gpd.GeoDataFrame, path: Path, *, metadata: Metadata | None = None, style: bool = True
) -> None:
    """Write a FeatureCollection, feature by feature, atomically.

    `building_id` is also each feature's `id`. Geometry in another CRS is reprojected, heights are left out.

    Args:
        product: polygons with their properties, e.g. from `assessed_footprints`.
        path: the file, replaced if it is there. Only a few thousand features at a time are copied.
        metadata: goes into the top-level member `damage_ssl` (scheme statement, run, threshold, …).
        style: whether a QGIS style of the same name goes beside it.

    Raises:
        InputError: no CRS, a feature without geometry, or an infinite number.
        StorageError: the disk is full or not writable.
    """
    path = Path(path)
    table = checked(product, path)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        _write_collection(table, file, path, metadata or {})
    if style:
        write_style(path.with_suffix(".qml"))


def _write_collection(table: gpd.GeoDataFrame, file: TextIO, path: Path, metadata: Metadata) -> None:
    file.write('{"type": "FeatureCollection",\n')
    if metadata:
        file.write(f'"damage_ssl": {_dump(dict(metadata), path)},\n')
    if len(table):
        bounds = [round(float(bound), DECIMALS) for bound in table.total_bounds]
        file.write(f'"bbox": {_dump(bounds, path)},\n')
    file.write('"features": [')
    for number, feature in enumerate(_features(table, path)):
        file.write((",\n" if number else "\n") + feature)
    file.write("\n]}\n")


def _features(table: gpd.GeoDataFrame, path: Path) -> Iterator[str]:
    for part in parts(table, _CHUNK):
        names = list(part.columns.drop(part.geometry.name))
        columns = [_members(part[name], path) for name in names]
        ids = (
            [f'"id": {_dump(each, path)}, ' for each in part["building_id"]]
            if "building_id" in part
            else [""] * len(part)
        )
        rows = zip(*columns, strict=True) if names else [()] * len(part)
        for identity, geometry, row in zip(ids, _geometries(part), rows, strict=True):
            properties = ", ".join(row)
            yield f'{{"type": "Feature", {identity}"geometry": {geometry}, "properties": {{{properties}}}}}'


def _members(column: pd.Series, path: Path) -> list[str]:
    """The member of each feature's properties that a column makes; a value that comes again is encoded once."""
    name = _dump(str(column.name), path)
    known: dict[Any, str] = {}
    members = []
    for value in plain_values(column):
        key = value if isinstance(value, str) else (type(value), value)
        if key not in known:
            known[key] = f"{name}: {_dump(value, path)}"
        members.append(known[key])
    return members


def _geometries(part: gpd.GeoDataFrame) -> list[str]:
    """Rounded before it is wound, so that what is written obeys the right-hand rule: exterior rings counter-clockwise,
    holes clockwise.
    """
    rounded = shapely.transform(shapely.force_2d(part.geometry.to_numpy()), lambda xy: np.round(xy, DECIMALS))
    texts: list[str] = shapely.to_geojson(shapely.orient_polygons(rounded)).tolist()
    return texts


def plain_values(column: pd.Series) -> list[Any]:
    """A column as JSON values: NaN, NA and NaT become None, NumPy scalars Python ones, times ISO 8601."""
    if column.dtype.kind == "f":
        column = column.astype(np.float64).round(DECIMALS)
    known = column.notna().to_numpy(bool)
    return [
        (value.isoformat() if hasattr(value, "isoformat") else value) if there else None
        for value, there in zip(column.tolist(), known.tolist(), strict=True)
    ]


def _dump(value: Any, path: Path) -> str:
    try:
        return _ENCODER.encode(value)
    except ValueError as error:
        raise InputError(f"{path}: a number is infinite, which JSON cannot hold ({error})") from None


FORMATS: Mapping[str, ProductWriter] = {".geojson": write_geojson, ".json": write_geojson}
