"""Arrays that are filled on disk, part by part, by computations that can be gone on with."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike


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
