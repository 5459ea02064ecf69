"""Arrays that are filled on disk, part by part, by computations that can be gone on with."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from damage_ssl.files import read_json, write_json


def new_array_file(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> "np.memmap[Any, Any]":
    """A new `.npy` file of zeros, mapped into memory and its room on the disk taken at once: a disk that fills up while
    such a file is written to would end the process without a word.

    Raises:
        OSError: the disk is full or read-only; no file is left.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        try:
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError:
            path.unlink()
            raise
    return array


@dataclass
class FeatureFile:
    """Features computed so far, in two files beside the folder: values on disk, and a note of how many and of what."""

    values: "np.memmap[tuple[int, int], np.dtype[np.float32]]"
    notes: Path
    fingerprint: str
    done: int

    @classmethod
    def open(cls, folder: Path, fingerprint: str, shape: tuple[int, int]) -> "FeatureFile":
        """Go on where a process was stopped that computed the same, else begin."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        data, notes = (folder.with_name(f".{folder.name}.begun.{kind}") for kind in ("npy", "json"))
        left = read_json(notes) if notes.exists() and data.exists() else {}
        if left.get("fingerprint") == fingerprint:
            values = np.lib.format.open_memmap(data, mode="r+")
            if values.shape == shape:
                return cls(values, notes, fingerprint, int(left["done"]))
        notes.unlink(missing_ok=True)
        values = new_array_file(data, shape, np.float32)
        return cls(values, notes, fingerprint, 0)

    def add(self, start: int, part: NDArray[np.float32]) -> None:
        """Keep the features of the next buildings."""
        self.done = start + len(part)
        self.values[start : self.done] = part
        self.values.flush()
        write_json(self.notes, {"fingerprint": self.fingerprint, "done": self.done})

    def move(self, path: Path) -> None:
        """It is finished: the values are put where they belong."""
        self.notes.unlink(missing_ok=True)
        Path(str(self.values.filename)).replace(path)
