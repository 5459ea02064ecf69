"""What is the matter with a vector file that cannot be read, and the command that helps: by name and first bytes."""

import re
from pathlib import Path

_BY_ENDING = {
    ".dwg": "is an AutoCAD drawing, which AutoCAD's own library alone reads; save it as DXF, and make polygons of its "
    "closed outlines: ogr2ogr -a_srs EPSG:... -nlt POLYGON buildings.gpkg drawing.dxf",
    ".qgz": "is a QGIS project, not data; give the layers' files, or export the layer as a GeoPackage",
    ".qgs": "is a QGIS project, not data; give the layers' files, or export the layer as a GeoPackage",
    ".qlr": "is a QGIS layer definition, not data; give the layer's file, or export the layer as a GeoPackage",
    ".lyr": "is an ArcGIS layer file, not data; give the data that it points to",
    ".lyrx": "is an ArcGIS layer file, not data; give the data that it points to",
    ".mpk": "is an ArcGIS package; unpack it (it is a 7z archive) and give the data in it",
    ".lpk": "is an ArcGIS package; unpack it (it is a 7z archive) and give the data in it",
    ".mdb": "is a personal geodatabase, which GDAL reads on Windows only; export it: ogr2ogr buildings.gpkg FILE",
    ".dbf": "is only the table of a Shapefile; give the .shp file",
    ".prj": "is only the CRS of a Shapefile; give the .shp file",
}
_BY_BYTES = (
    (b"Rar!", "is a RAR archive; unpack it and give the file in it, or pack it as ZIP"),
    (b"7z\xbc\xaf", "is a 7z archive; unpack it and give the file in it, or pack it as ZIP"),
    (b"\xff\xfe", "is UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16 text; save it as UTF-8"),
    (b"%PDF", "is a PDF document; ask for the data behind the map"),
)
_WEB_PAGE = re.compile(rb"\s*(?:<!DOCTYPE html|<html)", re.IGNORECASE)
_NOISE = re.compile(r"; It might help to specify the correct driver.*", re.DOTALL)
_NO_SHX = re.compile(r"Unable to open .*\.shx", re.IGNORECASE)


def advice(path: Path, error: str = "") -> str | None:
    """What is the matter and what to do, behind the file's name; None where nothing is known of it."""
    if path.is_dir():
        return "is a folder; give the file in it (only a file geodatabase, NAME.gdb, is a folder)"
    if _NO_SHX.search(error):
        return (
            "its .shx file is missing beside it; copy it too, or have it made anew: ogrinfo --config SHAPE_RESTORE_SHX "
            f"YES {path.name}"
        )
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return None
    if _WEB_PAGE.match(head.removeprefix(b"\xef\xbb\xbf")):
        return "is a web page, such as a sign-in page in place of the download; download the data again in a browser"
    found = next((text for start, text in _BY_BYTES if head.startswith(start)), None)
    return found or _BY_ENDING.get(path.suffix.lower())


def without_noise(error: object) -> str:
    """GDAL's message without its advice to programmers."""
    return _NOISE.sub("", str(error))


def no_crs(path: Path) -> str:
    """The message for a layer without a CRS."""
    if path.suffix.lower() in {".dxf", ".dgn"}:
        return (
            f"{path}: is a CAD drawing, which has no CRS; say in which it was drawn, and make polygons of its closed "
            f"outlines: ogr2ogr -a_srs EPSG:... -nlt POLYGON buildings.gpkg {path.name}"
        )
    beside = "put its .prj file beside it, or " if path.suffix.lower() == ".shp" else ""
    return (
        f"{path}: has no CRS; {beside}assign the one it was made in: ogr2ogr -a_srs EPSG:... buildings.gpkg {path.name}"
    )
