"""Arrays on disk: their room is taken at once, and a full disk is an error that leaves nothing."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from damage_ssl.learning.features.feature_file import FeatureFile, new_array_file


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


def test_a_file_system_that_reserves_no_room_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_here(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", not_here)
    array = new_array_file(tmp_path / "values.npy", (10, 3), np.float32)
    array[2] = 1.0
    assert np.load(tmp_path / "values.npy").sum() == 3


def begun(path: Path) -> None:
    file = FeatureFile.open(path, "pairs-1", (5, 2), np.float16)
    file.add(np.full((3, 2), 7.0))


def test_what_was_added_stays_for_the_next_process_of_the_same_computation(tmp_path: Path) -> None:
    path = tmp_path / "folder" / ".begun.npy"
    begun(path)
    again = FeatureFile.open(path, "pairs-1", (5, 2), np.float16)
    assert again.done == 3 and again.values[:, 0].tolist() == [7, 7, 7, 0, 0]
    again.add(np.full((2, 2), 8.0))
    again.move(tmp_path / "values.npy")
    assert np.load(tmp_path / "values.npy")[:, 1].tolist() == [7, 7, 7, 8, 8]
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    "other",
    [("pairs-2", (5, 2), np.float16), ("pairs-1", (6, 2), np.float16), ("pairs-1", (5, 2), np.float32)],
    ids=["fingerprint", "shape", "dtype"],
)
def test_another_computation_begins_anew(other: tuple[str, tuple[int, int], type[np.floating]], tmp_path: Path) -> None:
    begun(tmp_path / "values.npy")
    file = FeatureFile.open(tmp_path / "values.npy", *other)
    assert file.done == 0 and file.values.shape == other[1] and not file.values.any()


def test_a_note_without_its_values_begins_anew(tmp_path: Path) -> None:
    begun(tmp_path / "values.npy")
    (tmp_path / "values.npy").unlink()
    assert FeatureFile.open(tmp_path / "values.npy", "pairs-1", (5, 2), np.float16).done == 0
