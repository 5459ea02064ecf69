"""Extraction that is done again, interrupted, or meets a damaged file or a full disk."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from damage_ssl.errors import InputError, StorageError, WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.files import locked
from damage_ssl.imagery.scene import Overview
from damage_ssl.mosaic import batches
from damage_ssl.patches import pair_cutting
from damage_ssl.patches.store import PatchStore
from damage_ssl.settings import PatchSettings
from damage_ssl.workflow import cut_patches
from tests.conftest import CORNER_X, CORNER_Y, GSD_M, Town, square, texture, write_polygons, write_tiff
from tests.patches.stores import content

SMALL = PatchSettings(size_px=32, align="off")


def leftovers(event: Event) -> list[str]:
    """Hidden files that a cut left, but for the lock, which stays."""
    return sorted(path.name for path in event.path.glob(".*") if path.suffix not in (".lock", ".sha256"))


def test_second_call_with_nothing_changed_does_nothing(town: Town) -> None:
    event = town.create()
    store = cut_patches(event, SMALL)
    before = {path: path.stat().st_mtime_ns for path in store.path.rglob("*")}
    again = cut_patches(Event.open(town.workspace, "town"), SMALL)
    assert again.fingerprint == store.fingerprint
    assert {path: path.stat().st_mtime_ns for path in store.path.rglob("*")} == before


def test_changed_setting_footprint_or_scene_cuts_again(town: Town, tmp_path: Path) -> None:
    event = town.create()
    store = cut_patches(event, SMALL)
    wider = cut_patches(event, PatchSettings(size_px=40, align="off"))
    assert wider.load().close.pre.shape[-1] == 40
    moved = write_polygons(tmp_path / "m.geojson", [square(50, 50)], building_id=["m"])
    event = town.create(footprints=moved, overwrite=True)
    assert cut_patches(event, SMALL).index()["building_id"].tolist() == ["m"]
    write_tiff(town.post, texture(77))
    repainted = cut_patches(event, SMALL)
    assert len({store.fingerprint, wider.fingerprint, repainted.fingerprint}) == 3
    assert np.abs(repainted.load().close.post[0].astype(int) - texture(77)[:, 34:66, 34:66]).max() <= 2


def test_interrupted_cutting_leaves_no_store_and_goes_on_where_it_was(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "CELL_PX", 60)
    whole = content(cut_patches(town.create("whole"), SMALL).path)
    event = town.create("stopped")

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_patches(event, SMALL, progress=stop)
    assert not event.patches_path.exists()
    with pytest.raises(WorkspaceError, match=r"patches: no patches yet; cut them with `damage-ssl patches`"):
        PatchStore.open(event.patches_path)
    cut: list[int] = []
    do = pair_cutting.write_pairs
    monkeypatch.setattr(
        pair_cutting, "write_pairs", lambda task, **more: cut.append(len(task.batch)) or do(task, **more)
    )
    assert content(cut_patches(event, SMALL).path) == whole
    assert sum(cut) < 8, "what was cut before the interruption is not cut again"
    assert not leftovers(event)


def test_what_was_cut_from_other_settings_is_not_gone_on_with(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "CELL_PX", 60)
    other = SMALL.replace(min_area_m2=7.0)
    whole = content(cut_patches(town.create("whole"), SMALL).path)
    event = town.create("stopped")

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_patches(event, other, progress=stop)
    assert content(cut_patches(event, SMALL).path) == whole


def test_chunk_that_a_killed_worker_had_begun_is_not_in_the_store(town: Town) -> None:
    event = town.create()
    alone = content(cut_patches(event, SMALL).path)
    shutil.rmtree(event.patches_path)

    def leave(done: int, total: int) -> None:
        folder = event.path / ".patches.partial" / "pairs.zarr"
        if folder.is_dir():
            (folder / "c.0.0.40f3528861e84f78b68269799431b14f.partial").write_bytes(b"")

    assert content(cut_patches(event, SMALL, progress=leave).path) == alone


def test_second_process_that_cuts_the_same_event_is_refused(town: Town) -> None:
    event = town.create()
    messages: list[str] = []

    def meddle(done: int, total: int) -> None:
        if not messages:
            with pytest.raises(WorkspaceError) as caught:
                cut_patches(event, SMALL)
            messages.append(str(caught.value))

    cut_patches(event, SMALL, progress=meddle)
    assert "another process is cutting its patches" in messages[0]


def test_cutting_that_ended_lets_the_next_one_in(town: Town) -> None:
    event = town.create()
    cut_patches(event, SMALL)
    with locked(event.path / ".patches.lock", "busy"):
        pass
    shutil.rmtree(event.patches_path)
    with locked(event.path / ".patches.lock"), pytest.raises(WorkspaceError, match="another process is cutting"):
        cut_patches(event, SMALL)
    assert len(cut_patches(event, SMALL)) > 0


def test_overviews_that_are_trusted_from_now_on_cut_again(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    event = town.create()
    before = cut_patches(event, SMALL).fingerprint
    kept = [[replace(scene, overviews=(Overview(0, 2),)) for scene in scenes] for scenes in event.pre_and_post()]
    monkeypatch.setattr(Event, "pre_and_post", lambda _: kept)
    assert cut_patches(event, SMALL).fingerprint != before


def test_what_a_killed_process_left_is_removed_and_what_another_one_is_writing_is_not(town: Town) -> None:
    event = town.create()
    for name, age_s in ((".patches.dead.tmp", 7200), (".patches.alive.tmp", 10)):
        (event.path / name).mkdir()
        (event.path / name / "chunk").write_bytes(b"x")
        then = time.time() - age_s
        os.utime(event.path / name / "chunk", (then, then))
    cut_patches(event, SMALL)
    assert leftovers(event) == [".patches.alive.tmp"]


def test_failed_cutting_keeps_the_older_store(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    event = town.create()
    before = content(cut_patches(event, SMALL).path)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("damage_ssl.patches.store.RowWriter.write", full)
    with pytest.raises(
        StorageError, match=r"patches: the disk is full; free some space and run the same command again"
    ):
        cut_patches(event, PatchSettings(size_px=40, align="off"))
    assert content(event.patches_path) == before
    assert not leftovers(event)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from damage_ssl.errors import StorageError
from damage_ssl.events.event import Event
from damage_ssl.imagery.scene import Overview
from damage_ssl.workflow import cut_patches
from damage_ssl.settings import PatchSettings, Resources
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    cut_patches(Event.open(Path(sys.argv[1]), "town"), PatchSettings(align="off"))
except StorageError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on file sizes on this system")
def test_file_that_may_not_grow_is_a_storage_error_and_leaves_nothing(town: Town) -> None:
    event = town.create()
    there = sorted(path.name for path in event.path.iterdir() if not path.name.startswith("."))
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(town.workspace)], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 2, run.stderr
    assert "patches: the disk is full" in run.stdout
    left = sorted(path.name for path in event.path.iterdir() if not path.name.startswith((".", "registration")))
    assert left == there and not leftovers(event)


def test_scene_that_vanished_is_named_and_no_store_is_left(town: Town) -> None:
    event = town.create()
    town.post.unlink()
    with pytest.raises(InputError, match=r"post\.tif: is not there \(any more\)"):
        cut_patches(event, SMALL)
    assert not event.patches_path.exists()


def test_scene_damaged_after_the_event_was_made_is_named(town: Town, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "deflated.tif", texture(1), compress="deflate")
    event = town.create(post=[path])
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 4)
        file.write(os.urandom(path.stat().st_size // 2))
    with pytest.raises(InputError, match=r"deflated\.tif: cannot be read"):
        cut_patches(event, SMALL)
    assert not event.patches_path.exists()


def test_buildings_of_a_scene_that_cannot_be_read_say_so_and_are_tried_again(town: Town) -> None:
    pixels = texture(1)
    shifted = Affine(GSD_M, 0, CORNER_X + 60, 0, -GSD_M, CORNER_Y)
    left = write_tiff(town.pre.parent / "left.tif", pixels[:, :, :120])
    right = write_tiff(town.pre.parent / "right.tif", pixels[:, :, 120:], transform=shifted)
    event = town.create(pre=[left, right])
    whole = content(cut_patches(event, SMALL).path)
    hidden = right.rename(right.with_suffix(".hidden"))
    store = cut_patches(event, SMALL)
    index = store.index().set_index("building_id")
    east = index.index.isin([f"b{row * 4 + column:02d}" for row in range(4) for column in (2, 3)])
    assert (index.loc[east, "not_assessed_reason"] == "source_failed").all()
    assert index.loc[east, "not_assessed_detail"].str.contains("pre-right: .*right.tif").all()
    assert index.loc[~east, "assessed"].all()
    assert len(store) == 8
    hidden.rename(right)
    assert cut_patches(event, SMALL).index()["assessed"].all()
    again = content(event.patches_path)
    assert {name: value for name, value in again.items() if "pairs" in name} == {
        name: value for name, value in whole.items() if "pairs" in name
    }


def test_store_of_an_older_version_is_cut_again(town: Town) -> None:
    event = town.create()
    path = cut_patches(event, SMALL).path
    values = json.loads((path / "store.json").read_text())
    (path / "store.json").write_text(json.dumps(values | {"format": 1}))
    assert len(cut_patches(event, SMALL)) == 16
