"""GeoJSON with one feature a line, as Microsoft gives it (.geojsonl, or .csv.gz of their global set)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from damage_ssl.errors import InputError
from damage_ssl.footprints.formats import FootprintFormat
from damage_ssl.footprints.formats.byte_stream import open_bytes
from damage_ssl.footprints.formats.candidates import FEATURE_NAMES, FootprintCandidates, number_or_nan
from damage_ssl.footprints.formats.csv import NEAR_DEGREES

_BLOCK_BYTES = 4 << 20
_FIRST_CORNER = r'"coordinates"\s*:\s*[\[\s]+(?P<x>-?[0-9][0-9.eE+-]*)\s*,\s*(?P<y>-?[0-9][0-9.eE+-]*)'
_SEPARATORS = b" \t\r,\x1e"  # RFC 8142 begins each feature with a record separator; some writers end it with a comma


def read_geojson_lines(path: Path, into: FootprintCandidates) -> None:
    """Stream features into `into`, whatever the file's size.

    A line whose first corner lies more than 0.05° away from the region is passed over; of it only the braces at both
    ends and that corner are looked at.

    Raises:
        InputError: a line is not a feature; the message gives the line and the byte of the content.
    """
    into.format = "GeoJSON lines"
    separator, unit = _separator_of(path)
    for lines, first_line, starts in _blocks(path, separator):
        texts = [line.strip(_SEPARATORS + b"\n") for line in lines]
        rows = np.array([number for number, text in enumerate(texts) if text], dtype=np.int64)
        texts = [texts[row] for row in rows]
        into.saw(len(texts))
        near = _near(texts, into)
        into.outside += int(np.count_nonzero(~near))
        features = [
            _parsed(texts[number], f"{path}, {unit} {first_line + int(rows[number]):,}", starts[rows[number]])
            for number in np.flatnonzero(near)
        ]
        if features:
            geometry = np.array([shape_of(*feature, into) for feature in features], dtype=object)
            properties = [values for values, _, _ in features]
            into.add(geometry, columns_of(properties, into), first_line + rows[near])


_Parsed = tuple[dict[str, Any], Any, str]


def _separator_of(path: Path) -> tuple[bytes, str]:
    """What parts the features: a new line, or RFC 8142's record separator where features go over several lines."""
    with open_bytes(path) as file:
        head = file.read(1 << 16).lstrip()
    first = head[1:].partition(b"\x1e")[0].strip(_SEPARATORS + b"\n")
    return (b"\x1e", "feature") if head.startswith(b"\x1e") and b"\n" in first else (b"\n", "line")


def _blocks(path: Path, separator: bytes) -> Iterator[tuple[list[bytes], int, NDArray[np.int64]]]:
    """Whole lines, the number of the first, and the byte at which each begins."""
    rest, line, byte = b"", 1 if separator == b"\n" else 0, 0
    with open_bytes(path) as file:
        while block := file.read(_BLOCK_BYTES):
            whole, newline, tail = block.rpartition(separator)
            if not newline:
                rest += block
                continue
            lines = (rest + whole).split(separator)
            starts = byte + np.concatenate([[0], np.cumsum([len(each) + 1 for each in lines])])
            yield lines, line, starts[:-1]
            line, byte, rest = line + len(lines), int(starts[-1]), tail
        if rest:
            yield [rest], line, np.array([byte])


def _near(texts: list[bytes], into: FootprintCandidates) -> NDArray[np.bool_]:
    """Which lines have to be read: those near the region, and those that do not look like a feature."""
    near = np.ones(len(texts), dtype=bool)
    if into.region is None or not texts:
        return near
    try:
        lines = pa.array(texts, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return near
    corner = pc.extract_regex(lines, _FIRST_CORNER)
    lon, lat = (number_or_nan(corner.field(axis).to_numpy(zero_copy_only=False)) for axis in (0, 1))
    into.saw_at(np.column_stack([lon, lat, lon, lat]))
    west, south, east, north = into.region.widened(NEAR_DEGREES)
    away = (lon < west) | (lon > east) | (lat < south) | (lat > north)
    whole = pc.and_(pc.starts_with(lines, "{"), pc.ends_with(lines, "}")).to_numpy(zero_copy_only=False)
    passed: NDArray[np.bool_] = away & np.asarray(whole, dtype=bool)
    return ~passed


def _parsed(text: bytes, where: str, byte: int) -> _Parsed:
    try:
        feature = json.loads(text)
    except json.JSONDecodeError as error:
        at = byte + len(error.doc[: error.pos].encode())
        raise InputError(
            f"{where}, byte {at:,}: is not JSON ({error.msg}); mend or remove the line, or download the file again"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{where}, byte {byte + error.start:,}: is not UTF-8; save the file as UTF-8") from error
    if not isinstance(feature, dict) or feature.get("type") not in {"Feature", "Polygon", "MultiPolygon", "Point"}:
        raise InputError(f"{where}, byte {byte:,}: is not a GeoJSON feature ({text[:60]!r}); mend or remove the line")
    if feature["type"] != "Feature":
        return {}, feature, where
    properties = feature.get("properties") or {}
    if "id" in feature:
        properties = {"id": feature["id"], **properties}
    return properties, feature.get("geometry"), where


def shape_of(_properties: dict[str, Any], geometry: Any, where: str, into: FootprintCandidates) -> Any:
    """A shape of a feature's geometry; None without one. Rings that do not close are closed and counted.

    Raises:
        InputError: it is no geometry of GeoJSON.
    """
    if geometry is None:
        return None
    try:
        return shapely.from_geojson(json.dumps(geometry))
    except shapely.errors.ShapelyError:
        pass
    try:
        closed = shapely.geometry.shape(geometry)  # closes rings that do not close
    except (shapely.errors.ShapelyError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise InputError(f"{where}: its geometry is not GeoJSON ({error}); mend or remove the line") from error
    into.closed += 1
    return closed


def columns_of(properties: list[dict[str, Any]], into: FootprintCandidates) -> dict[str, NDArray[np.object_]]:
    """The values of the columns that are used, of features' properties."""
    names = list(dict.fromkeys(name for values in properties for name in values))
    found = into.find(names, FEATURE_NAMES)
    return {key: np.array([values.get(name) for values in properties], dtype=object) for key, name in found.items()}


def _holds_lines(name: str, head: bytes) -> bool:
    """Whether features follow each other line by line; JSON that is named as a table can be nothing else."""
    if not head.lstrip().startswith((b"{", b"\x1e")):
        return False
    first, newline, rest = head.lstrip(b" \t\r\n\x1e").partition(b"\n")
    several = bool(newline) and rest.lstrip(b" \t\r\n\x1e").startswith(b"{")
    return not name.endswith("json") or (several and _is_feature(first))


def _is_feature(line: bytes) -> bool:
    try:
        value = json.loads(line.rstrip(b" \t\r,"))
    except ValueError:
        return False
    return isinstance(value, dict) and value.get("type") == "Feature"


FORMATS = {
    "GeoJSON lines": FootprintFormat(
        read=read_geojson_lines,
        endings=(".geojsonl", ".geojsons", ".ndjson", ".jsonl"),
        shared_endings=(".csv", ".tsv", ".txt", ".json", ".geojson"),
        recognises=_holds_lines,
    )
}
