"""Arrays that are filled on disk, part by part, by computations that can be gone on with: the one resumable cache.

`numpy.lib.format.open_memmap` maps a file; what it lacks is here: room on the disk taken at once, and a note of how far
a stopped computation came, and of what. A Zarr array, as the patch store is, would be a file for each part, while
training reads single rows at random.
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from damage_ssl.files import read_json, write_json

_NOT_OFFERED = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


def new_array_file(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> "np.memmap[Any, Any]":
    """A new `.npy` file of zeros, mapped into memory and its room on the disk taken at once: a disk that fills up while
    such a file is written to would end the process without a word. Where the file system cannot reserve room, the file
    grows as it is written.

    Raises:
        OSError: the disk is full or read-only; no file is left.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        try:
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                path.unlink()
                raise
    return array


@dataclass
class FeatureFile:
    """Values [N, …] computed so far, mapped from a `.npy` file; the `.json` beside it says of how many and of what."""

    values: "np.memmap[Any, Any]"
    fingerprint: str
    done: int

    @classmethod
    def open(cls, path: Path, fingerprint: str, shape: tuple[int, ...], dtype: DTypeLike) -> "FeatureFile":
        """Go on where a process was stopped that computed the same, else begin.

        Raises:
            OSError: the disk is full or read-only; no file is left.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        notes = path.with_suffix(".json")
        left = read_json(notes) if notes.exists() and path.exists() else {}
        if left.get("fingerprint") == fingerprint:
            values = np.lib.format.open_memmap(path, mode="r+")
            if values.shape == shape and values.dtype == dtype:
                return cls(values, fingerprint, int(left["done"]))
        notes.unlink(missing_ok=True)
        return cls(new_array_file(path, shape, dtype), fingerprint, 0)

    @property
    def path(self) -> Path:
        """Where the values lie."""
        return Path(str(self.values.filename))

    def add(self, part: NDArray[Any]) -> None:
        """Keep the values of the next rows."""
        start, self.done = self.done, self.done + len(part)
        self.values[start : self.done] = part
        self.values.flush()
        write_json(self.path.with_suffix(".json"), {"fingerprint": self.fingerprint, "done": self.done})

    def move(self, path: Path) -> None:
        """It is finished: the values are put where they belong."""
        self.path.with_suffix(".json").unlink(missing_ok=True)
        self.path.replace(path)
