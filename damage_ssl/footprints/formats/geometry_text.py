"""Shapes in the cells of a table as databases and scripts write them: WKT in quotes, EWKT, WKB and EWKB in hexadecimal
digits, GeoJSON; each becomes plain WKT in longitude and latitude.
"""

import re

import numpy as np
import pyarrow as pa
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import CRSError

from damage_ssl.errors import InputError
from damage_ssl.footprints.formats.candidates import FootprintCandidates, to_lon_lat

_QUOTES = " \t\r\n'\"`"
_SRID = re.compile(r"SRID\s*=\s*(\d+)\s*;\s*", re.IGNORECASE)
_HEX = re.compile(r"0[01][0-9A-Fa-f]{16,}")
_WGS84 = {0, 4326}


def plain_wkt(texts: pa.Array, into: FootprintCandidates, lines: NDArray[np.int64]) -> pa.Array:
    """The same shapes as WKT in EPSG:4326; a column of plain WKT is passed on as it is.

    Raises:
        InputError: a cell is no shape, or its SRID is not known; the row is named.
    """
    values = texts.to_pylist()
    if not any((value and not value.lstrip()[:1].isalpha()) or (value and _SRID.match(value)) for value in values):
        return texts
    out: list[str | None] = []
    for value, line in zip(values, lines, strict=True):
        text = "" if value is None else value.strip(_QUOTES)
        if not text:
            out.append(None)
        elif text[:1].isalpha() and not _SRID.match(text):
            out.append(text)
        else:
            out.append(_converted(text, f"{into.path}, row {line:,}"))
    return pa.array(out, pa.string())


def _converted(text: str, where: str) -> str:
    said = _SRID.match(text)
    rest = text[said.end() :] if said else text
    try:
        if _HEX.fullmatch(rest):
            shape = shapely.from_wkb(rest)
        elif rest.startswith("{"):
            shape = shapely.from_geojson(rest)
        else:
            shape = shapely.from_wkt(rest)
    except (shapely.errors.ShapelyError, ValueError) as error:
        raise InputError(
            f"{where}: its geometry is neither WKT, WKB nor GeoJSON ({error}); found {text[:60]!r}; mend or remove the "
            "row"
        ) from error
    srid = int(said[1]) if said else int(shapely.get_srid(shape))
    if srid not in _WGS84:
        try:
            crs = pyproj.CRS.from_epsg(srid)
        except CRSError as error:
            raise InputError(f"{where}: SRID {srid} is no known CRS; write the shapes in EPSG:4326") from error
        shape = to_lon_lat(np.array([shapely.force_2d(shape)], dtype=object), crs)[0]
    return str(shapely.to_wkt(shape, rounding_precision=-1))
