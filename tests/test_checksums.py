"""Checksums: what was changed behind our back is named when it is read, whatever it was."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from damage_ssl.checksums import check, checked_path, verdict
from damage_ssl.errors import WorkspaceError
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.learning.features.linear_probe import EventFeatures
from damage_ssl.learning.tensor_files import read_tensors, write_tensors
from damage_ssl.patches.store import PatchStore
from damage_ssl.workflow import cut_patches
from tests.conftest import Town
from tests.patches.test_extract_again import SMALL


def flip(path: Path, at: int | None = None) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    path.write_bytes(content)


def write(path: Path, text: str) -> None:
    with checked_path(path) as temporary:
        temporary.write_text(text)


def test_file_is_whole_damaged_or_not_checked(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("of an older version")
    assert verdict(path) == "not checked"
    for text in ("first", "second", "third"):
        write(path, text)
        assert verdict(path) == "whole"
    flip(path)
    assert verdict(path) == "damaged"
    with pytest.raises(WorkspaceError, match=r"one\.txt: is damaged .*; make it again"):
        check(path, "make it again")


def test_kill_between_note_and_file_leaves_both_contents_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "one.txt"
    write(path, "old")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), checked_path(path) as temporary:
        temporary.write_text("new")
        patch.setattr("damage_ssl.files.sync_tree", killed)
    assert path.read_text() == "old" and verdict(path) == "whole"


def calibration(folder: Path) -> tuple[Path, Callable[[], object]]:
    path = folder / "calibration.json"
    Calibration(threshold=0.25, temperature=1.5, n_validation=40, n_damaged=9, method="by hand").write(path)
    return path, lambda: Calibration.read(path)


def weights(folder: Path) -> tuple[Path, Callable[[], object]]:
    path = folder / "model.safetensors"
    write_tensors(path, {"head": torch.arange(500.0)}, {})
    return path, lambda: read_tensors(path)


def features(folder: Path) -> tuple[Path, Callable[[], object]]:
    values, ids = np.zeros((9, 4), np.float32), np.array([f"b{number}" for number in range(9)])
    EventFeatures(ids, values, np.zeros(9, np.int64), "patches").write(folder)
    return folder / "buildings.npz", lambda: EventFeatures.read(folder)


@pytest.mark.parametrize("artefact", [calibration, weights, features])
def test_one_changed_bit_is_found_when_it_is_read(
    artefact: Callable[[Path], tuple[Path, Callable[[], object]]], tmp_path: Path
) -> None:
    path, read = artefact(tmp_path)
    read()
    flip(path)
    with pytest.raises(WorkspaceError, match=rf"{path.name}: is damaged"):
        read()


def test_changed_footprints_and_index_are_found(town: Town) -> None:
    event = town.create()
    store = cut_patches(event, SMALL)
    for path, read in ((event.footprints_path, event.footprints), (store.index_path, store.index)):
        before = path.read_bytes()
        flip(path, -200)
        with pytest.raises(WorkspaceError, match="is damaged"):
            read()
        path.write_bytes(before)
        read()


def chunks(store: PatchStore) -> list[Path]:
    return sorted((store.path / "pairs.zarr" / "close" / "post").glob("c.*"))


def test_part_of_the_patches_that_is_gone_or_changed_is_an_error_and_not_zeros(town: Town) -> None:
    store = cut_patches(town.create(), SMALL)
    chunk = chunks(store)[0]
    before = chunk.read_bytes()
    store.verify()
    for content in (before[:-9], b"", bytes(99)):
        chunk.write_bytes(content)
        with pytest.raises(WorkspaceError, match=r"c\.0\.0\.0\.0: a part of the patches is damaged"):
            store.load()
    chunk.unlink()
    with pytest.raises(WorkspaceError, match=r"a part of the patches is missing; .*doctor town --repair"):
        store.load()
    assert store.checked
