"""The files that a Shapefile is made of: what is missing beside the .shp, and how its text is encoded."""

import codecs
import struct
from pathlib import Path

from damage_ssl.errors import InputError
from damage_ssl.footprints.formats.candidates import FootprintCandidates

_BLOCK_BYTES = 1 << 20
_FALLBACK = "CP1252"


def check_shapefile(path: Path, into: FootprintCandidates) -> None:
    """Check that the shapes are whole, and say where there is no table.

    GDAL reads a Shapefile that breaks off as one with empty geometries: its header says how long it should be.

    Raises:
        InputError: the file breaks off.
    """
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100:
        raise InputError(f"{path}: breaks off in its header, at byte {len(header)}; copy the file again")
    (words,) = struct.unpack(">i", header[24:28])
    if (size := path.stat().st_size) < 2 * words:
        raise InputError(f"{path}: breaks off at byte {size:,} of {2 * words:,}; copy the file again")
    if _beside(path, ".dbf") is None:
        into.remarks.append("its .dbf file is missing beside it, and with it all columns; copy it too to keep the ids")


def text_encoding(path: Path, into: FootprintCandidates) -> str | None:
    """The encoding to read the table with where nothing states one and it is no UTF-8; None: GDAL knows.

    GDAL takes it from the .cpg file, else from the table's header (byte 29).
    """
    table = _beside(path, ".dbf")
    if path.suffix.lower() != ".shp" or table is None or _beside(path, ".cpg") is not None:
        return None
    decoder = codecs.getincrementaldecoder("utf-8")()
    with table.open("rb") as file:
        header = file.read(32)
        if len(header) < 32 or header[29] != 0:
            return None
        try:
            while block := file.read(_BLOCK_BYTES):
                decoder.decode(block)
        except UnicodeDecodeError:
            into.remarks.append("its text is taken as Windows-1252, since there is no .cpg file that says otherwise")
            return _FALLBACK
    return None


def _beside(path: Path, suffix: str) -> Path | None:
    return next((file for each in (suffix, suffix.upper()) if (file := path.with_suffix(each)).exists()), None)
