"""Checksums of what stages wrote: noted beside each file as it is written, compared when it is read again.

Patches carry theirs in each chunk (`patches.store`), packs in their manifest. Of every other file the note
`.NAME.sha256` lies beside it; it is written before the file takes its name, so that a process that is killed between
the two leaves a note of both contents. A file of an older version has none, and is not checked.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from damage_ssl.errors import WorkspaceError
from damage_ssl.files import atomic_path, json_text, write_text

_KEPT = 4
"""So many contents are noted: of writers at the same moment, whose file stays is not known beforehand."""

Verdict = Literal["whole", "damaged", "not checked"]
"""`not checked`: there is no checksum, as in files of older versions."""


@contextmanager
def checked_path(path: Path) -> Iterator[Path]:
    """As `files.atomic_path`; what is written gets a checksum.

    Raises:
        StorageError: the disk is full or read-only.
    """
    with atomic_path(path) as temporary:
        yield temporary
        before = [each for each in _noted(path) if path.exists()]
        _write_note(path, [_digest(temporary), *before])


def write_checked_json(path: Path, value: Any) -> None:
    """Write strict JSON atomically, with a checksum."""
    with checked_path(path) as temporary:
        temporary.write_text(json_text(value), encoding="utf-8")


def note(path: Path) -> None:
    """Give a checksum to a file of a folder that is not in its place yet."""
    _write_note(path, [_digest(path)])


def check(path: Path, advice: str) -> None:
    """Compare a file with its checksum; once a process as long as it is the same file.

    Raises:
        WorkspaceError: it is not what was written; the message names it, and the way out, which is `advice`.
    """
    if verdict(path) == "damaged":
        raise WorkspaceError(f"{path}: is damaged (it was cut off or changed); {advice}")


def verdict(path: Path) -> Verdict:
    """Whether a file is what was written.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    state = path.stat()
    return _verdict(path, state.st_mtime_ns, state.st_ctime_ns, state.st_size, _stamp(_note_of(path)))


def forget(path: Path) -> None:
    """Remove the note of a file that is removed."""
    _note_of(path).unlink(missing_ok=True)


@lru_cache(maxsize=4096)
def _verdict(path: Path, modified: int, changed: int, size: int, note: int) -> Verdict:
    noted = _noted(path)
    if not noted:
        return "not checked"
    return "whole" if _digest(path) in noted else "damaged"


def _write_note(path: Path, digests: list[str]) -> None:
    write_text(_note_of(path), "".join(f"{each}\n" for each in digests[:_KEPT]))


def noted_files(folder: Path) -> Iterator[Path]:
    """The files in a folder, and below it, that have a checksum; also those that are gone."""
    for found in sorted(folder.rglob(".*.sha256")):
        yield found.with_name(found.name[1:].removesuffix(".sha256"))


def _note_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.sha256")


def _stamp(note: Path) -> int:
    try:
        return note.stat().st_mtime_ns
    except OSError:
        return 0


def _noted(path: Path) -> list[str]:
    try:
        return _note_of(path).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
