"""Arrays on disk: their room is taken at once, and a full disk is an error that leaves nothing."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from damage_ssl.learning.features.feature_file import new_array_file


def test_room_is_taken_when_the_file_is_made(tmp_path: Path) -> None:
    array = new_array_file(tmp_path / "values.npy", (1000, 300), np.float32)
    assert (tmp_path / "values.npy").stat().st_blocks * 512 >= array.nbytes  # a file of holes has hardly any
    array[5] = 2.0
    array.flush()
    again = np.load(tmp_path / "values.npy")
    assert again.shape == (1000, 300) and again.dtype == np.float32
    assert (again[5] == 2).all() and not again[np.arange(1000) != 5].any()


def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(OSError, match="No space left"):
        new_array_file(tmp_path / "values.npy", (10, 3), np.float32)
    assert list(tmp_path.iterdir()) == []
