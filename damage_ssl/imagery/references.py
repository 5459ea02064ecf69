"""Whether a raster is one file: uploaded ones may name no other file and no address."""

import re
from contextlib import suppress
from pathlib import Path

from damage_ssl.errors import InputError
from damage_ssl.imagery.raster import open_raster

_DRIVERS = {".tif": "GTiff", ".tiff": "GTiff", ".jp2": "JP2OpenJPEG", ".img": "HFA", ".ntf": "NITF"}
_HEAD = 1 << 20
_VIRTUAL = re.compile(rb"<\s*(VRT|GDALTile|GDAL_WMS|GDAL_WMTS|WCS_GDAL|OGRVRT)|gdal_streamed_alg|STACTA", re.IGNORECASE)


def check_self_contained(path: Path, name: str) -> None:
    """Check that a raster's pixels and overviews lie in the file itself.

    A TIFF may name another raster as its overviews (GDAL's metadata item `OVERVIEW_FILE`), an Erdas image another file
    for its pixels; and GDAL takes a file that mentions a virtual raster near its beginning for one, whatever else it
    is. The folder of the file is not looked at. A file that cannot be opened passes: whoever reads it will say why.

    Args:
        path: where it lies.
        name: what it is called, for its ending and for the message.

    Raises:
        InputError: it refers to something else.
    """
    with path.open("rb") as file:
        others = ["a virtual raster in it"] if _VIRTUAL.search(file.read(_HEAD)) else []
    if not others:
        with suppress(InputError), open_raster(str(path), driver=_DRIVERS[Path(name).suffix.lower()]) as source:
            others = [file for file in source.files if Path(file).resolve() != path.resolve()]
            others += [value for key, value in source.tags(ns="OVERVIEWS").items() if key.upper() == "OVERVIEW_FILE"]
    if others:
        raise InputError(
            f"{name}: refers to something else ({Path(others[0]).name}), and only what was uploaded is read; "
            f"write it into one: gdal_translate -of COG {name} whole.tif"
        )
