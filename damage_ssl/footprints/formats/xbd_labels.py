"""The polygons of one xBD label file (Gupta et al. 2019, arXiv:1911.09296)."""

import re
from pathlib import Path

import numpy as np
import shapely

from damage_ssl.errors import InputError
from damage_ssl.files import read_json
from damage_ssl.footprints.formats import FootprintFormat
from damage_ssl.footprints.formats.candidates import FootprintCandidates, decode_wkt


def read_xbd_labels(path: Path, into: FootprintCandidates) -> None:
    """Read `features.lng_lat` of a label file into `into`; the id is `uid`.

    Raises:
        InputError: not a label file of xBD, or a polygon is not WKT: the message gives its place in the list.
    """
    into.format = "xBD labels"
    try:
        features = read_json(path)["features"]["lng_lat"]
        uid = np.array([str(feature["properties"]["uid"]) for feature in features], dtype=object)
        wkt = [feature["wkt"] for feature in features]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is not an xBD label file ({error!r})") from error
    into.saw(len(features))
    rows = np.arange(1, len(features) + 1)
    geometry = decode_wkt(wkt, into, rows) if wkt else np.array([], dtype=object)
    into.add(np.asarray(shapely.force_2d(geometry), dtype=object), {"uid": uid}, rows)


FORMATS = {
    "xBD labels": FootprintFormat(
        read=read_xbd_labels,
        shared_endings=(".json", ".geojson"),
        recognises=lambda name, head: re.match(rb'\s*\{.*"features"\s*:\s*\{', head, re.DOTALL) is not None,
    )
}
