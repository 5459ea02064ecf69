"""GeoParquet (Overture's too) and plain Parquet with WKB, boxes or points, row group by row group.

`geopandas.read_parquet(bbox=…)` was measured (`benchmarks/results/kept_libraries.md`): of 1,000,000 rows it reads the
3,000 of a town in three fifths of the time (0.061 s and 63 MB; here 0.105 s and 47 MB). It serves only files with a
covering in their metadata, ends at the first ring that does not close, and names no row where a geometry is broken;
as the other files are to be read too, it would be code beside this and not in its place.
"""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import shapely
from numpy.typing import NDArray

from damage_ssl.errors import InputError
from damage_ssl.footprints.formats import FootprintFormat
from damage_ssl.footprints.formats.byte_stream import FREE_BYTES, check_expansion
from damage_ssl.footprints.formats.candidates import (
    BOX_NAMES,
    FEATURE_NAMES,
    FootprintCandidates,
    decode_wkb,
    decode_wkt,
    number_or_nan,
    to_lon_lat,
    values_of,
)
from damage_ssl.footprints.formats.csv import boxes, points

_BATCH_ROWS = 16_384
_BUFFER_BYTES = 1 << 20
_BBOX_FIELDS = ("xmin", "ymin", "xmax", "ymax")


def read_parquet(path: Path, into: FootprintCandidates) -> None:
    """Stream a Parquet file into `into`.

    Where there is a `bbox` column of xmin, ymin, xmax, ymax (Overture, GeoParquet 1.1), row groups away from the region
    are not read at all, and of the others only the geometries inside are decoded. Without GeoParquet metadata, a column
    named `geometry` (or wkb, geom …) is WKB or WKT in longitude and latitude.

    Raises:
        InputError: the file is damaged or has no geometry; the message gives the row or row group.
    """
    into.format = "Parquet"
    try:
        # Without a buffer size, pyarrow holds a row group's whole column chunks.
        with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            _stream(file, path, into)
    except (pa.ArrowException, OSError, RuntimeError) as error:
        raise InputError(
            f"{path}: cannot be read as Parquet ({error}; the file has {path.stat().st_size:,} bytes); "
            "download or write it again"
        ) from error


def _stream(file: pq.ParquetFile, path: Path, into: FootprintCandidates) -> None:
    geo = _geo_metadata(file, path)
    schema = file.schema_arrow
    found = into.find(schema.names)
    column = _geometry_column(geo, found, schema, path)
    crs = _crs(geo, column, path)
    into.format = "GeoParquet" if geo else into.format
    if geo and geo["columns"][column].get("encoding", "WKB") != "WKB":
        _read_native(path, into)
        return
    bbox = _bbox_column(geo, column, found, schema)
    wanted = [*dict.fromkeys([*found.values(), *([column] if column else []), *([bbox] if bbox else [])])]
    first = 1
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        _check_expansion(file, group, wanted, path)
        into.saw(count)
        if bbox and _group_is_away(file, group, bbox, into, crs):
            into.outside += count
        else:
            row = first
            try:
                for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=wanted, use_threads=False):
                    _add_batch(batch, found, column, bbox, crs, into, row)
                    row += len(batch)
            except (pa.ArrowException, OSError) as error:
                raise InputError(
                    f"{path}: row group {group} (rows {first:,} to {first + count - 1:,}) breaks off after row "
                    f"{row - 1:,} ({error}); download or write the file again"
                ) from error
        first += count


def _check_expansion(file: pq.ParquetFile, group: int, wanted: list[str], path: Path) -> None:
    """Refuse a row group whose columns that are read hold far more than they take in the file.

    Columns are looked at only where the whole group is large: Arrow ends the process over those of a damaged file.
    """
    described = file.metadata.row_group(group)
    if described.total_byte_size <= FREE_BYTES:
        return
    columns = [described.column(number) for number in range(described.num_columns)]
    read = [each for each in columns if each.path_in_schema.split(".")[0] in wanted]
    unpacked = sum(each.total_uncompressed_size for each in read)
    check_expansion(sum(each.total_compressed_size for each in read), unpacked, f"{path}, row group {group}")


def _add_batch(
    batch: pa.RecordBatch,
    found: dict[str, str],
    column: str | None,
    bbox: str | None,
    crs: pyproj.CRS | None,
    into: FootprintCandidates,
    first_row: int,
) -> None:
    rows = np.arange(first_row, first_row + len(batch))
    if bbox and crs is None:
        bounds = _struct_bounds(batch.column(bbox))
        into.saw_at(bounds)
        near = np.ones(len(batch), dtype=bool) if into.region is None else into.region.may_hold(bounds)
        into.outside += int(np.count_nonzero(~near))
        if not near.any():
            return
        batch, rows = batch.filter(pa.array(near)), rows[near]
    values = {key: batch.column(name) for key, name in found.items()}
    geometry, kind = _geometries(batch, values, column, into, rows)
    if crs is not None:
        geometry = to_lon_lat(geometry, crs)
    columns = {key: values_of(values[key]) for key in FEATURE_NAMES if key in values}
    extra: dict[str, Any] = {"geometry_kind": np.full(len(geometry), kind, dtype=object)}
    if "sources" in values:
        first = [entry[0] if entry else {} for entry in values["sources"].to_pylist()]
        extra["dataset"] = np.array([each.get("dataset") for each in first], dtype=object)
        extra.setdefault("confidence", np.array([each.get("confidence") for each in first], dtype=object))
    into.add(geometry, extra | columns, rows)


def _geometries(
    batch: pa.RecordBatch,
    values: dict[str, pa.Array],
    column: str | None,
    into: FootprintCandidates,
    rows: NDArray[np.int64],
) -> tuple[NDArray[np.object_], str]:
    if column is not None:
        cells = batch.column(column)
        if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
            return decode_wkt(cells.to_numpy(zero_copy_only=False), into, rows), "polygon"
        storage = cells.storage if isinstance(cells, pa.ExtensionArray) else cells
        return decode_wkb(storage.to_numpy(zero_copy_only=False), into, rows), "polygon"
    if set(BOX_NAMES) <= set(values):
        west, south, east, north = (number_or_nan(values[key].to_numpy(zero_copy_only=False)) for key in BOX_NAMES)
        return boxes(west, south, east, north), "box"
    if {"latitude", "longitude"} <= set(values):
        lon, lat = (number_or_nan(values[key].to_numpy(zero_copy_only=False)) for key in ("longitude", "latitude"))
        return points(lon, lat), "point"
    west, south, east, north = _struct_bounds(values["bbox"]).T
    return boxes(west, south, east, north), "box"


def _geo_metadata(file: pq.ParquetFile, path: Path) -> dict[str, Any]:
    text = (file.schema_arrow.metadata or {}).get(b"geo")
    if text is None:
        return {}
    try:
        geo: dict[str, Any] = json.loads(text)
        geo["columns"][geo["primary_column"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: its GeoParquet metadata is damaged ({error!r}); write the file again") from error
    return geo


def _geometry_column(geo: dict[str, Any], found: dict[str, str], schema: pa.Schema, path: Path) -> str | None:
    if geo:
        return str(geo["primary_column"])
    if "geometry" in found:
        return found["geometry"]
    has_struct = "bbox" in found and pa.types.is_struct(schema.field(found["bbox"]).type)
    if set(BOX_NAMES) <= set(found) or {"latitude", "longitude"} <= set(found) or has_struct:
        return None
    raise InputError(
        f"{path}: has no geometry column; a Parquet file of footprints has `geometry` (WKB), or xmin, ymin, xmax, "
        f"ymax, or latitude and longitude; found {', '.join(schema.names)[:300]}"
    )


def _crs(geo: dict[str, Any], column: str | None, path: Path) -> pyproj.CRS | None:
    """The CRS to project from; None for longitude and latitude on WGS 84, which GeoParquet takes where it says none."""
    if not geo or "crs" not in geo["columns"][column]:
        return None
    given = geo["columns"][column]["crs"]
    if given is None:
        raise InputError(f"{path}: has no CRS; write it again with the CRS that it was made in")
    crs = pyproj.CRS.from_user_input(given)
    return None if crs.equals(pyproj.CRS("OGC:CRS84")) or crs.to_epsg() == 4326 else crs


def _bbox_column(geo: dict[str, Any], column: str | None, found: dict[str, str], schema: pa.Schema) -> str | None:
    covering = geo["columns"][column].get("covering", {}).get("bbox", {}) if geo else {}
    name = covering["xmin"][0] if covering else found.get("bbox")
    if name is None or name not in schema.names:
        return None
    kind = schema.field(name).type
    if not pa.types.is_struct(kind) or not set(_BBOX_FIELDS) <= {kind.field(n).name for n in range(kind.num_fields)}:
        return None
    return str(name)


def _struct_bounds(column: pa.StructArray) -> NDArray[np.float64]:
    return np.column_stack([number_or_nan(column.field(name).to_numpy(zero_copy_only=False)) for name in _BBOX_FIELDS])


def _group_is_away(
    file: pq.ParquetFile, group: int, bbox: str, into: FootprintCandidates, crs: pyproj.CRS | None
) -> bool:
    """Whether the statistics of a row group say that nothing in it lies near the region."""
    if into.region is None or crs is not None:
        return False
    metadata = file.metadata.row_group(group)
    limits: dict[str, tuple[float, float]] = {}
    for number in range(metadata.num_columns):
        chunk = metadata.column(number)
        parent, _, name = chunk.path_in_schema.rpartition(".")
        if parent == bbox and chunk.statistics is not None and chunk.statistics.has_min_max:
            if chunk.statistics.null_count:  # of a feature without a box nothing is known
                return False
            limits[name] = float(chunk.statistics.min), float(chunk.statistics.max)
    if not set(_BBOX_FIELDS) <= set(limits):
        return False
    box = np.array([[limits["xmin"][0], limits["ymin"][0], limits["xmax"][1], limits["ymax"][1]]])
    into.saw_at(box)
    return not into.region.may_hold(box)[0]


def _read_native(path: Path, into: FootprintCandidates) -> None:
    """GeoParquet 1.1 with coordinates in lists instead of WKB: rare, and read whole."""
    table = gpd.read_parquet(path)
    if table.crs is not None:
        table = table.to_crs("EPSG:4326")
    found = into.find(list(table.columns), FEATURE_NAMES)
    into.saw(len(table))
    into.add(
        np.asarray(shapely.force_2d(table.geometry.to_numpy()), dtype=object),
        {key: table[name].to_numpy() for key, name in found.items()},
        np.arange(1, len(table) + 1),
    )


FORMATS = {"Parquet": FootprintFormat(read=read_parquet, endings=(".parquet", ".geoparquet"))}
