"""Bytes of a plain or gzipped file, with errors that name the byte."""

import gzip
import io
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from damage_ssl.errors import InputError

_GZIP_MAGIC = b"\x1f\x8b"

FREE_BYTES, MOST_TIMES = 50_000_000, 100
"""What a packed file may hold in any case, and how many times its own size beyond: footprints pack 5 to 30 times, files
that are made to fill a memory 1,000 times."""


def check_expansion(packed: int, unpacked: int, name: str) -> None:
    """Check that a packed file holds no more than can be meant.

    Raises:
        InputError: more than `MOST_TIMES` of its size, and more than `FREE_BYTES`.
    """
    if unpacked > max(FREE_BYTES, MOST_TIMES * packed):
        raise InputError(
            f"{name}: unpacks to over {MOST_TIMES} times its size ({packed:,} to {unpacked:,} bytes and more), as no "
            "file of footprints does; unpack it yourself if you trust it, and give the file that was in it"
        )


class _Gunzipped(io.RawIOBase):
    """The content of a gzip file (also of several, one behind the other)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self._content = gzip.GzipFile(fileobj=self._file)
        self._done = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "io.BufferedIOBase | memoryview") -> int:  # type: ignore[override]
        try:
            count = self._content.readinto(buffer)  # type: ignore[arg-type]
        except (EOFError, OSError, zlib.error) as error:
            what = "breaks off" if isinstance(error, EOFError) else "is damaged"
            raise InputError(
                f"{self._path}: the gzip data {what} at byte {self._file.tell():,} of {self._path.stat().st_size:,} "
                f"(after {self._done:,} bytes of content; {error}); download or copy the file again"
            ) from error
        self._done += count
        check_expansion(self._file.tell(), self._done, str(self._path))
        return count

    def close(self) -> None:
        if not self.closed:
            self._content.close()
            self._file.close()
        super().close()


def is_gzip(path: Path) -> bool:
    """Whether the file begins as gzip does, whatever its name."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP_MAGIC


def open_bytes(path: Path) -> BinaryIO:
    """The content of a file, unzipped where it is gzip; reading raises InputError where that breaks."""
    if not is_gzip(path):
        return path.open("rb")
    return cast(BinaryIO, io.BufferedReader(_Gunzipped(path), 1 << 20))


def head_of(path: Path, size: int = 65_536) -> bytes:
    """The first bytes of the content, without a byte-order mark."""
    with open_bytes(path) as file:
        return file.read(size).removeprefix(b"\xef\xbb\xbf")
