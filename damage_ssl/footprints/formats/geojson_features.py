"""GeoJSON whose ids GDAL does not keep: numbers beyond 2⁶³, numbers in some features and text in others.

Read whole, by `json`, which keeps integers of any length; GDAL's reader refuses such numbers or makes decimals of them.
"""

import json
import re
from enum import Enum, auto
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from pyproj.exceptions import CRSError

from damage_ssl.errors import InputError
from damage_ssl.footprints.formats.byte_stream import open_bytes
from damage_ssl.footprints.formats.candidates import FootprintCandidates, to_lon_lat
from damage_ssl.footprints.formats.geojson_lines import columns_of, shape_of

_BATCH = 16_384
MOST_BYTES = 512 << 20
_FEATURE_ID = re.compile(rb'"id"\s*:')


class FeatureIds(Enum):
    """What the `id` members of a file's features are: none that could serve, whole numbers from 0, or others."""

    NONE = auto()
    NUMBERS = auto()
    OTHER = auto()


def feature_ids(path: Path) -> FeatureIds:
    """Whether every feature has an `id` of its own outside its properties; not looked at in files over 512 MB."""
    if path.stat().st_size > MOST_BYTES:
        return FeatureIds.NONE
    with open_bytes(path) as file:
        if not _FEATURE_ID.search(file.read(1 << 20)):
            return FeatureIds.NONE
    features = _document(path).get("features") or []
    ids = [feature.get("id") if isinstance(feature, dict) else None for feature in features]
    if not ids or None in ids or len({str(each) for each in ids}) < len(ids):
        return FeatureIds.NONE
    return FeatureIds.NUMBERS if all(type(each) is int and each >= 0 for each in ids) else FeatureIds.OTHER


def read_features(path: Path, into: FootprintCandidates) -> None:
    """Add a feature collection's features to `into`.

    Raises:
        InputError: the file is too large for that, is no feature collection, or a feature is wrong.
    """
    if path.stat().st_size > MOST_BYTES:
        raise InputError(
            f"{path}: has ids that GDAL cannot read, and is too large to be read without; write it as lines: "
            f"ogr2ogr -f GeoJSONSeq buildings.geojsonl {path.name}"
        )
    document = _document(path)
    features = document.get("features")
    if not isinstance(features, list) or not all(isinstance(each, dict) for each in features):
        raise InputError(f"{path}: is no GeoJSON feature collection; give one, or another file of building polygons")
    crs = _crs(document.get("crs"), path)
    into.format, into.features, into.outside = "GeoJSON", 0, 0
    into.extent = None
    for first in range(0, len(features), _BATCH):
        part = features[first : first + _BATCH]
        into.saw(len(part))
        properties = [_with_id(each) for each in part]
        shapes = np.array(
            [
                shape_of({}, each.get("geometry"), f"{path}, feature {first + n:,}", into)
                for n, each in enumerate(part, start=1)
            ],
            dtype=object,
        )
        if crs is not None:
            shapes = to_lon_lat(shapely.force_2d(shapes), crs)
        rows = np.arange(first + 1, first + len(part) + 1, dtype=np.int64)
        into.add(shapes, columns_of(properties, into), rows)


def _with_id(feature: dict[str, Any]) -> dict[str, Any]:
    properties = feature.get("properties") or {}
    return {"id": feature["id"], **properties} if "id" in feature else properties


def _document(path: Path) -> dict[str, Any]:
    with open_bytes(path) as file:
        try:
            document = json.load(file)
        except ValueError as error:
            raise InputError(f"{path}: is not JSON ({error}); copy or download the file again") from error
    return document if isinstance(document, dict) else {}


def _crs(member: Any, path: Path) -> pyproj.CRS | None:
    """The CRS that an old GeoJSON names; None for longitude and latitude."""
    name = member.get("properties", {}).get("name") if isinstance(member, dict) else None
    if not isinstance(name, str):
        return None
    try:
        crs = pyproj.CRS.from_user_input(name)
    except CRSError as error:
        raise InputError(f"{path}: its CRS '{name}' is not known ({error}); write it as EPSG:…") from error
    return None if crs.to_epsg() == 4326 or crs.equals(pyproj.CRS("OGC:CRS84")) else crs
