"""What a vector file is, by its content, and whether it is one file: no list of references to others.

GDAL takes the first of its drivers that recognises a file, whatever its name, and some follow references to other files
or addresses, or run a pipeline (OGR_VRT, GDALG, WFS …). These are not registered here at all (`drivers`); what a file
is is checked before it is opened, so that the message can say it, and the driver that opened it afterwards.
"""

import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from damage_ssl.errors import InputError
from damage_ssl.footprints.formats.byte_stream import open_bytes

DRIVERS = frozenset(
    [
        "CSV",
        "DGN",
        "DXF",
        "ESRI Shapefile",
        "ESRIJSON",
        "FlatGeobuf",
        "GML",
        "GPKG",
        "GPX",
        "GeoJSON",
        "GeoJSONSeq",
        "JML",
        "JSONFG",
        "KML",
        "LIBKML",
        "MapInfo File",
        "ODS",
        "OSM",
        "OpenFileGDB",
        "SQLite",
        "TopoJSON",
        "XLSX",
    ]
)
"""The drivers whose files are read: each reads one file and its own sidecars."""

_HEAD = 1 << 20
_OVERLAP = 512
_REFERENCES = re.compile(rb"<\s*(OGRVRT|VRTDataset|WFS_Capabilities|GDALG|OGCAPI|OGRWFSDataSource)", re.IGNORECASE)
_PIPELINE = re.compile(rb'"(gdal_streamed_alg|command_line)"\s*:')
# The CRS of an old GeoJSON may be an address, which GDAL fetches.
_CRS_LINK = re.compile(rb'"crs"\s*:\s*\{[^{}]{0,200}?"type"\s*:\s*"(?:link|url)"|"crs"\s*:\s*\{[^}]{0,200}"href"', re.I)
_JSON_START = re.compile(rb"[\s\x1e]*[{\[]")
_ROOTS = {"kml", "gml", "gpx", "osm", "osmchange", "featurecollection", "jcsdatafile"}


def check_content(path: Path, member: str | None = None) -> None:
    """Check that a file, or a member of a zip, holds its own data.

    Raises:
        InputError: it refers to other files or to addresses, or is an XML file of another kind.
    """
    if path.is_dir():  # a file geodatabase: GDAL's driver reads nothing outside
        return
    with _opened(path, member) as file:
        head = file.read(_HEAD)
        text = head.removeprefix(b"\xef\xbb\xbf")
        name = str(path) if member is None else f"{path}, {member} in it"
        if found := _REFERENCES.search(text):
            raise _refers(name, f"it holds <{found[1].decode()}…>")
        if _PIPELINE.search(text) and _JSON_START.match(text):
            raise _refers(name, "it is a recipe that would be run")
        if _JSON_START.match(text) and any(_CRS_LINK.search(part) for part in _parts(head, file.read)):
            raise _refers(name, 'its "crs" is an address; write the CRS by name, or leave it out for WGS 84')
        if text.lstrip().startswith(b"<"):
            _check_xml(text, name)


def check_driver(driver: str, path: Path) -> None:
    """Check which driver has opened a file.

    Raises:
        InputError: one that is not among `DRIVERS`.
    """
    if driver not in DRIVERS:
        raise InputError(
            f"{path}: is a file for GDAL's driver {driver}, which is not read here; convert it first: "
            f"ogr2ogr buildings.gpkg {path.name}"
        )


def _opened(path: Path, member: str | None) -> BinaryIO:
    if member is None:
        return open_bytes(path)
    try:
        return zipfile.ZipFile(path).open(member)  # type: ignore[return-value]
    except (KeyError, OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: '{member}' in it cannot be unpacked ({error}); unzip it and give the file"
        ) from error


def _parts(head: bytes, read: Callable[[int], bytes]) -> Iterator[bytes]:
    """The whole content, in parts that overlap."""
    while head:
        yield head
        following = read(_HEAD)
        head = head[-_OVERLAP:] + following if following else b""


def _check_xml(text: bytes, name: str) -> None:
    if b"<!ENTITY" in text.upper():
        raise _refers(name, "it defines entities")
    roots: list[str] = []

    def begins(tag: str, attributes: dict[str, str]) -> None:
        roots.append(tag.rpartition(":")[2].lower())

    parser = expat.ParserCreate()
    parser.StartElementHandler = begins
    try:
        parser.Parse(text, False)
    except expat.ExpatError as error:
        if not roots:
            raise InputError(f"{name}: is no whole XML file ({error}); copy the file again") from error
    if roots and roots[0] not in _ROOTS:
        if roots[0] == "html":
            raise InputError(
                f"{name}: is a web page, such as a sign-in page in place of the download; download the data again in a "
                "browser"
            )
        raise InputError(f"{name}: is an XML file of another kind (<{roots[0]}>); give KML, GML, GPX or OpenStreetMap")


def _refers(name: str, why: str) -> InputError:
    return InputError(f"{name}: is not read, because it refers to something else ({why}); give the data itself")
