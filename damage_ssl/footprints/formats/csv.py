"""CSV with WKT, boxes or points: Open Buildings (v3 polygons and points) and tables like it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import shapely
from numpy.typing import NDArray

from damage_ssl.errors import InputError
from damage_ssl.footprints.formats import FootprintFormat
from damage_ssl.footprints.formats.byte_stream import head_of, open_bytes
from damage_ssl.footprints.formats.candidates import (
    BOX_NAMES,
    FEATURE_NAMES,
    ID_NAMES,
    FootprintCandidates,
    decode_wkt,
    number_or_nan,
)
from damage_ssl.footprints.formats.geometry_text import plain_wkt

_BLOCK_BYTES = 1 << 20
# A feature whose first corner or centre is further than this from the region's box is not looked at: about 5 km.
NEAR_DEGREES = 0.05
_FIRST_CORNER = r"(?P<x>-?[0-9][0-9.eE+-]*)\s+(?P<y>-?[0-9][0-9.eE+-]*)"


def read_csv(path: Path, into: FootprintCandidates) -> None:
    """Stream a CSV into `into`, whatever its size.

    A row's geometry is the WKT, EWKT, hexadecimal WKB or GeoJSON of `geometry` (or `wkt`, `geom`), else the box of
    xmin, ymin, xmax, ymax (or minx …, west …), else the point of latitude and longitude. Rows that latitude and
    longitude, or the first corner of the WKT, put more than 0.05° away from the region are passed over unread.

    Raises:
        InputError: no such columns, or a row that cannot be read: the message gives its line.
    """
    into.format = "CSV"
    head = head_of(path)
    names, delimiter = _header(head, path)
    found = into.find(names)
    geometry_of = _geometry_reader(found, names, path)
    line = 2
    for batch in _batches(path, delimiter, [*found.values()]):
        values = {key: batch.column(name) for key, name in found.items()}
        into.saw(len(batch))
        lines = np.arange(line, line + len(batch))
        if "geometry" in values:
            values["geometry"] = plain_wkt(values["geometry"], into, lines)
        near = _near(values, into, path, lines)
        if near.any():
            mask = pa.array(near)
            values = {key: column.filter(mask) for key, column in values.items()}
            geometry, kind = geometry_of(values, into, lines[near])
            columns = {key: values[key].to_numpy(zero_copy_only=False) for key in FEATURE_NAMES if key in values}
            columns = {key: _blank_is_none(column) if key in ID_NAMES else column for key, column in columns.items()}
            into.add(geometry, columns | {"geometry_kind": np.full(len(geometry), kind, dtype=object)}, lines[near])
        into.outside += int(np.count_nonzero(~near))
        line += len(batch)


def _header(head: bytes, path: Path) -> tuple[list[str], str]:
    text = head.split(b"\n", 1)[0].decode("utf-8", errors="replace").strip()
    delimiter = max(",;\t|", key=text.count)
    names = [name.strip().strip('"') for name in text.split(delimiter)]
    if len(set(names)) < len(names):
        raise InputError(f"{path}, row 1: a column name is there twice in {text[:200]!r}; rename one")
    return names, delimiter


Columns = dict[str, pa.Array]
_GeometryOf = Callable[[Columns, FootprintCandidates, NDArray[np.int64]], tuple[NDArray[np.object_], str]]


def _geometry_reader(found: dict[str, str], names: list[str], path: Path) -> _GeometryOf:
    if "geometry" in found:
        return _from_wkt
    if set(BOX_NAMES) <= set(found):
        return _from_boxes
    if {"latitude", "longitude"} <= set(found):
        return _from_points
    raise InputError(
        f"{path}: has no geometry column; a CSV of footprints has `geometry` (WKT), or xmin, ymin, xmax, ymax, or "
        f"latitude and longitude; found {', '.join(names)[:300]}"
    )


def _batches(path: Path, delimiter: str, wanted: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        with (
            open_bytes(path) as file,
            arrow_csv.open_csv(
                file,
                read_options=arrow_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
                parse_options=arrow_csv.ParseOptions(delimiter=delimiter),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()), strings_can_be_null=True
                ),
            ) as reader,
        ):
            yield from reader
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read as CSV ({error}); mend that row, or download the file again"
        ) from error


def _near(values: Columns, into: FootprintCandidates, path: Path, lines: NDArray[np.int64]) -> NDArray[np.bool_]:
    count = len(lines)
    if {"latitude", "longitude"} <= set(values):
        lon, lat = (_numbers(values[key], key, path, lines) for key in ("longitude", "latitude"))
    elif "geometry" in values:
        corner = pc.extract_regex(values["geometry"], _FIRST_CORNER)
        lon, lat = (number_or_nan(corner.field(axis).to_numpy(zero_copy_only=False)) for axis in (0, 1))
    else:
        return np.ones(count, dtype=bool)
    into.saw_at(np.column_stack([lon, lat, lon, lat]))
    if into.region is None:
        return np.ones(count, dtype=bool)
    west, south, east, north = into.region.widened(NEAR_DEGREES)
    away = (lon < west) | (lon > east) | (lat < south) | (lat > north)
    return ~away


def _from_wkt(values: Columns, into: FootprintCandidates, lines: NDArray[np.int64]) -> tuple[NDArray[np.object_], str]:
    texts = values["geometry"].to_numpy(zero_copy_only=False)
    return decode_wkt(texts, into, lines), "polygon"


def _from_boxes(
    values: Columns, into: FootprintCandidates, lines: NDArray[np.int64]
) -> tuple[NDArray[np.object_], str]:
    west, south, east, north = (_numbers(values[key], key, into.path, lines) for key in BOX_NAMES)
    return boxes(west, south, east, north), "box"


def _from_points(
    values: Columns, into: FootprintCandidates, lines: NDArray[np.int64]
) -> tuple[NDArray[np.object_], str]:
    lon, lat = (_numbers(values[key], key, into.path, lines) for key in ("longitude", "latitude"))
    return points(lon, lat), "point"


def boxes(
    west: NDArray[np.float64], south: NDArray[np.float64], east: NDArray[np.float64], north: NDArray[np.float64]
) -> NDArray[np.object_]:
    """Boxes in degrees; None where a number is missing."""
    out: NDArray[np.object_] = shapely.box(west, south, east, north)
    out[~np.isfinite(np.column_stack([west, south, east, north])).all(axis=1)] = None
    return out


def points(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.object_]:
    """Points in degrees; None where a number is missing."""
    known = np.isfinite(lon) & np.isfinite(lat)
    out = np.full(len(lon), None, dtype=object)
    out[known] = shapely.points(lon[known], lat[known])
    return out


def _numbers(column: pa.Array, key: str, path: Path, lines: NDArray[np.int64]) -> NDArray[np.float64]:
    try:
        trimmed = pc.if_else(pc.equal(pc.utf8_trim_whitespace(column), ""), None, pc.utf8_trim_whitespace(column))
        return np.asarray(pc.cast(trimmed, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except pa.ArrowInvalid:
        values = column.to_pylist()
        for line, value in zip(lines, values, strict=True):
            if value is not None and value.strip() and not _is_number(value):
                raise InputError(
                    f"{path}, row {line:,}: {key} is {value!r}, not a number; mend or remove the row"
                ) from None
        return number_or_nan(values)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _blank_is_none(column: NDArray[np.object_]) -> NDArray[np.object_]:
    return np.array([None if text is None or text == "" else text for text in column], dtype=object)


FORMATS = {
    "CSV": FootprintFormat(
        read=read_csv,
        shared_endings=(".csv", ".tsv", ".txt"),
        recognises=lambda name, head: not head.lstrip().startswith((b"{", b"\x1e")),
    )
}
