"""Which kinds of files can be uploaded, by their ending and by how they begin.

GDAL goes by what is inside, not by the ending: a file of references (VRT) that is called `.tif` would be followed to
wherever it points. So a file must begin as its ending says.
"""

import re

from damage_ssl.errors import InputError

RASTER_ENDINGS = (".tif", ".tiff", ".jp2", ".img", ".ntf")
AREA_ENDINGS = (".geojson", ".json", ".gpkg", ".kml", ".fgb", ".zip", ".parquet", ".geoparquet")
FOOTPRINT_ENDINGS = (
    *AREA_ENDINGS,
    ".geojsonl",
    ".geojsons",
    ".ndjson",
    ".jsonl",
    ".csv",
    ".osm.pbf",
    ".osm",
    ".csv.gz",
    ".geojsonl.gz",
    ".geojson.gz",
)
UPLOAD_ENDINGS = (*RASTER_ENDINGS, *FOOTPRINT_ENDINGS)
SERVER_ENDINGS = (".shp",)
"""Files that need others beside them: they can be picked on the server, not uploaded."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JP2 = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
_JSON = re.compile(rb"\A(?:\xef\xbb\xbf)?[\s\x1e]*[{]")
_BEGINNINGS: dict[str, tuple[bytes, ...]] = {
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".jp2": _JP2,
    ".img": (b"EHFA_HEADER_TAG",),
    ".ntf": (b"NITF", b"NSIF"),
    ".gpkg": (b"SQLite format 3\0",),
    ".fgb": (b"fgb\x03",),
    ".zip": (b"PK\x03\x04",),
    ".parquet": (b"PAR1",),
    ".geoparquet": (b"PAR1",),
    ".gz": (b"\x1f\x8b",),
}
_TITLES = {
    ".tif": "a GeoTIFF",
    ".tiff": "a GeoTIFF",
    ".jp2": "a JPEG 2000 image",
    ".img": "an Erdas image",
    ".ntf": "a NITF image",
    ".gpkg": "a GeoPackage",
    ".fgb": "a FlatGeobuf file",
    ".zip": "a zip file",
    ".kml": "a KML file",
    ".osm": "an OpenStreetMap file",
    ".pbf": "an OpenStreetMap file",
    ".csv": "a table",
    ".parquet": "a GeoParquet file",
    ".geoparquet": "a GeoParquet file",
    ".gz": "a gzip file",
}
_KNOWN = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip file or office document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"SQLite format 3", "a database"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"<VRTDataset", "a virtual raster, which only refers to other files"),
    (b"<OGRVRT", "a virtual layer, which only refers to other files"),
    (b"<", "an XML or web page"),
    (b"{", "a JSON file"),
    (b"\x1f\x8b", "a gzip file"),
)


def ending_of(name: str) -> str:
    """The longest known ending of a name, in lower case, else its last part."""
    low = name.lower()
    known = [ending for ending in (*UPLOAD_ENDINGS, *SERVER_ENDINGS) if low.endswith(ending)]
    return max(known, key=len) if known else "." + low.rpartition(".")[2]


def check_beginning(name: str, head: bytes) -> None:
    """Check that a file begins as its ending says.

    Args:
        name: the file's name.
        head: its first bytes, up to some thousand.

    Raises:
        InputError: it is another kind of file; the message says which, if that is known.
    """
    ending = ending_of(name)
    last = "." + ending.rpartition(".")[2]
    if _fits(last, head):
        return
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    found = next((title for start, title in _KNOWN if text.startswith(start)), "something else")
    title = _TITLES.get(last, "a JSON file")
    raise InputError(f"{name}: is not {title}, as its name says: it begins like {found}; give the right file")


def _fits(ending: str, head: bytes) -> bool:
    if ending in _BEGINNINGS:
        return head.startswith(_BEGINNINGS[ending])
    if ending == ".kml":
        return b"<kml" in head
    if ending == ".osm":
        return b"<osm" in head
    if ending == ".pbf":
        return b"OSMHeader" in head[:64]
    if ending == ".csv":
        return b"\0" not in head and not head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")
    return _JSON.match(head) is not None
