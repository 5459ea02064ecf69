"""A copy of an event in one file, taken while it is in use; and the event made of such a file."""

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from damage_ssl import __version__
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.files import atomic_directory, atomic_path, storage_errors
from damage_ssl.labels.label_log import BUSY_TIMEOUT_S
from damage_ssl.labels.schema import check_pages
from damage_ssl.progress import ProgressCallback

_MANIFEST = "backup.json"
_FORMAT = 1
_BLOCK = 1 << 20
_ATTEMPTS = 3
_CACHES = {"views"}
"""Folders that are made again by themselves."""


@dataclass(frozen=True, kw_only=True)
class Backup:
    """What a backup holds: `files` by their size, `labels` answers, taken at `taken` (ISO 8601)."""

    event: str
    files: int
    bytes: int
    labels: int
    taken: str


def back_up(event: Event, path: Path, progress: ProgressCallback | None = None) -> Backup:
    """Write a ZIP of everything in the event's folder, with a checksum of each file.

    Others may go on labelling and working: of the label log it is the state at one moment (SQLite's online backup), of
    every other file one that was whole. Images that lie elsewhere stay there and are not in it; labels of a PostgreSQL
    database neither: back that up with its own means.

    Raises:
        InputError: the file would lie in the event's own folder. StorageError: the disk is full or not writable.
        WorkspaceError: the event is made anew all the time.
    """
    if Path(path).absolute().is_relative_to(event.path):
        raise InputError(f"{path}: lies in the event itself; give a file elsewhere, best on another disk")
    for _ in range(_ATTEMPTS):
        before = _identity(event.path)
        said = _write(event, Path(path), progress)
        if _unchanged(before, event.path):
            break
    else:
        raise WorkspaceError(f"event '{event.name}': is made anew all the time; take the backup once that has ended")
    check_backup(Path(path))
    return said


def _write(event: Event, path: Path, progress: ProgressCallback | None) -> Backup:
    taken = datetime.now(UTC).isoformat(timespec="seconds")
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        noted: dict[str, dict[str, Any]] = {}
        labels = 0
        if event.labels_path.exists():
            with tempfile.TemporaryDirectory(dir=path.absolute().parent) as folder:
                copy = Path(folder) / event.labels_path.name
                labels = _copy_labels(event.labels_path, copy)
                noted[event.labels_path.name] = _add(archive, copy, event.labels_path.name)
        names = list(_files(event.path))
        for done, name in enumerate(names, 1):
            try:
                noted[name] = _add(archive, event.path / name, name)
            except FileNotFoundError:
                continue  # removed meanwhile, such as the state of a training that has ended
            if progress is not None:
                progress(done, len(names))
        size = sum(each["bytes"] for each in noted.values())
        said = Backup(event=event.name, files=len(noted), bytes=size, labels=labels, taken=taken)
        manifest = {"format": _FORMAT, "damage_ssl": __version__, **vars(said), "contents": noted}
        archive.writestr(_MANIFEST, json.dumps(manifest, indent=1))
    return said


def _identity(event: Path) -> dict[Path, tuple[int, int]]:
    """Which files and folders an event is made of at this moment; a stage that replaces one changes it."""
    found = {}
    for path in [*event.iterdir(), *event.glob("runs/*"), *event.glob("products/*")]:
        if not path.name.startswith((".", "labels.sqlite")):
            state = path.stat()
            found[path] = state.st_ino, 0 if path.is_dir() else state.st_mtime_ns
    return found


def _unchanged(before: dict[Path, tuple[int, int]], event: Path) -> bool:
    now = _identity(event)
    return all(now.get(path) == state for path, state in before.items())


def check_backup(path: Path) -> Backup:
    """Read all of a backup and compare it with its checksums.

    Raises:
        InputError: it is no backup, or it is damaged.
    """
    with _opened(path) as (archive, said):
        for name, noted in said["contents"].items():
            found = hashlib.sha256()
            with archive.open(name) as file:
                while block := file.read(_BLOCK):
                    found.update(block)
            if found.hexdigest() != noted["sha256"]:
                raise InputError(f"{path}: is damaged ({name} is not what was written); take another backup")
        return Backup(**{key: said[key] for key in ("event", "files", "bytes", "labels", "taken")})


def restore(path: Path, workspace: Path, *, name: str | None = None) -> Event:
    """Make an event of a backup, under its name or another; nothing is ever overwritten.

    Raises:
        InputError: it is no backup, or it is damaged. WorkspaceError: there is an event, or anything, of that name.
        StorageError: the disk is full or not writable.
    """
    said = check_backup(path)
    event = Event.vacant(Path(workspace), name or said.event, overwrite=False)
    if event.path.exists():
        raise WorkspaceError(f"{event.path}: exists already; move it away, or give another name with --name")
    with atomic_directory(event.path) as folder, _opened(path) as (archive, manifest):
        for each in manifest["contents"]:
            target = folder / each
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(each) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, _BLOCK)
    opened = Event.open(workspace, event.name)
    if opened.labels_path.exists():
        check_pages(opened.labels_path)
    return opened


@contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, Any]]]:
    """A backup and its manifest, of which every name is known to lie below the event."""
    try:
        with storage_errors(path), zipfile.ZipFile(path) as archive:
            said = json.loads(archive.read(_MANIFEST))
            if said["format"] != _FORMAT:
                raise InputError(f"{path}: is a backup of another version of damage_ssl ({said['damage_ssl']})")
            odd = [name for name in said["contents"] if Path(name).is_absolute() or ".." in Path(name).parts]
            if odd:
                raise InputError(f"{path}: names '{odd[0]}', which is no file of an event")
            yield archive, said
    except FileNotFoundError:
        raise InputError(f"{path}: is not there") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is no backup of an event, or is damaged ({error}); take another one") from error


def _copy_labels(source: Path, target: Path) -> int:
    """The label log as it is at one moment, while others write to it; returns how many answers it holds."""
    with (
        closing(sqlite3.connect(source, timeout=BUSY_TIMEOUT_S)) as here,
        closing(sqlite3.connect(target)) as there,
    ):
        here.backup(there)
        there.execute("PRAGMA journal_mode=DELETE").close()  # one file, without a log beside it
        return int(there.execute("SELECT count(*) FROM label_log").fetchone()[0])


def _files(event: Path) -> Iterator[str]:
    """The names of an event's files: no label log, nothing half-written, no lock, no cache."""
    labels = "labels.sqlite"
    for folder, folders, names in os.walk(event):
        at = Path(folder)
        top = at == event
        folders[:] = sorted(each for each in folders if not each.startswith(".") and not (top and each in _CACHES))
        # notes of checksums last: one that is older than its file would call it damaged
        for name in sorted(names, key=lambda name: (name.startswith("."), name)):
            hidden = name.startswith(".") and not name.endswith(".sha256")
            if not hidden and not (top and name.startswith(labels)):
                yield (at / name).relative_to(event).as_posix()


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> dict[str, Any]:
    """One file, read from one open handle: a file that is replaced meanwhile stays what it was."""
    found, size = hashlib.sha256(), 0
    with path.open("rb") as file, archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as entry:
        while block := file.read(_BLOCK):
            found.update(block)
            size += len(block)
            entry.write(block)
    return {"bytes": size, "sha256": found.hexdigest()}
