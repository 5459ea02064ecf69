"""Whether an OpenStreetMap file is whole: GDAL takes one that breaks off for one that ends there.

The PBF format is a row of blobs: a length, a header that names the blob's size, and the blob, mostly zlib
(https://wiki.openstreetmap.org/wiki/PBF_Format).
"""

import zlib
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from damage_ssl.errors import InputError
from damage_ssl.footprints.formats.byte_stream import open_bytes

_LARGEST_HEADER, _LARGEST_BLOB = 64 << 10, 32 << 20  # as the format allows
_DATASIZE, _ZLIB_DATA = 3, 3


def check_osm(path: Path) -> None:
    """Walk through the file.

    Raises:
        InputError: it breaks off or is damaged; the message gives the byte, for XML line and column.
    """
    with open_bytes(path) as file:
        if path.name.lower().removesuffix(".gz").endswith(".pbf"):
            _check_pbf(file, path)
        else:
            _check_xml(file, path)


def _check_xml(file: BinaryIO, path: Path) -> None:
    parser = expat.ParserCreate()
    try:
        parser.ParseFile(file)
    except expat.ExpatError as error:
        raise InputError(
            f"{path}: is not whole XML ({error}, byte {max(parser.ErrorByteIndex, 0):,}); download or export it again"
        ) from error


def _check_pbf(file: BinaryIO, path: Path) -> None:
    size = path.stat().st_size
    start = 0
    while length := file.read(4):
        try:
            header_size = int.from_bytes(length, "big")
            header = _fields(_exactly(file, header_size, _LARGEST_HEADER))
            datasize = header[_DATASIZE]
            if not isinstance(datasize, int):
                raise ValueError("no size")
            packed = _fields(_exactly(file, datasize, _LARGEST_BLOB)).get(_ZLIB_DATA)
            if isinstance(packed, bytes):
                _check_zlib(packed)
        except (ValueError, KeyError, IndexError, zlib.error) as error:
            raise InputError(
                f"{path}: breaks off or is damaged in the block that begins at byte {start:,} of {size:,}; "
                "download it again"
            ) from error
        start += 4 + header_size + datasize


def _check_zlib(packed: bytes) -> None:
    """Unpack a blob, which may hold `_LARGEST_BLOB` bytes, a part at a time."""
    unpacker = zlib.decompressobj()
    held, rest = 0, packed
    while not unpacker.eof:
        part = unpacker.decompress(rest, 1 << 20)
        held, rest = held + len(part), unpacker.unconsumed_tail
        if held > _LARGEST_BLOB or (not part and not rest and not unpacker.eof):
            raise ValueError("too large" if held > _LARGEST_BLOB else "too short")


def _exactly(file: BinaryIO, count: int, most: int) -> bytes:
    content = file.read(count) if count <= most else b""
    if len(content) != count:
        raise ValueError("too short")
    return content


def _fields(message: bytes) -> dict[int, int | bytes]:
    """The fields of a protobuf message that are numbers or bytes."""
    fields: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        value, at = _varint(message, at)
        if key & 7 == 0:
            fields[key >> 3] = value
        elif key & 7 == 2:
            if at + value > len(message):
                raise ValueError("too short")
            fields[key >> 3] = message[at : at + value]
            at += value
        else:
            raise ValueError("unknown field")
    return fields


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
