"""Files that a new event may be made of: the workspace's `inbox/`, and what is uploaded into it, piece by piece.

Nothing outside `inbox/` can be named. A file on its way lies in `inbox/.partial/` and gets its name only when all of it
is there, so that no half of a file is ever taken for the whole.
"""

import contextlib
import os
import re
import shutil
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.file_kinds import (
    AREA_ENDINGS,
    FOOTPRINT_ENDINGS,
    RASTER_ENDINGS,
    SERVER_ENDINGS,
    UPLOAD_ENDINGS,
    check_beginning,
    ending_of,
)
from app.workspace import workspace_path
from damage_ssl.errors import InputError, StorageError, WorkspaceError
from damage_ssl.event.catalog import Event, list_events
from damage_ssl.event.imagery import Role
from damage_ssl.files import storage_errors

LIMIT_VARIABLE = "DAMAGE_SSL_UPLOAD_GB"
"""The environment variable with the largest size of an uploaded file, in GB (10⁹ bytes)."""

_DEFAULT_LIMIT_GB = 8.0
_KEPT_FREE_BYTES = 500_000_000
_PARTIAL_DAYS = 7
_MAX_NAME = 120
_KEY = re.compile(r"[A-Za-z0-9]{6,64}")

SIDES: tuple[Role, Role] = ("pre", "post")

Purpose = Literal["imagery", "footprints", "area"]

ENDINGS: dict[Purpose, tuple[str, ...]] = {
    "imagery": RASTER_ENDINGS,
    "footprints": (*FOOTPRINT_ENDINGS, *SERVER_ENDINGS),
    "area": (*AREA_ENDINGS, *SERVER_ENDINGS),
}


class TooLargeError(InputError):
    """The file is above the limit."""


class WrongKindError(InputError):
    """The file is not of a kind that is read here."""


class ConflictError(InputError):
    """A file of that name is there already, or on its way from somewhere else."""


@dataclass(frozen=True, kw_only=True)
class InboxFile:
    """A file that may be picked: its path within the inbox, bytes, and when it was last changed (seconds)."""

    name: str
    size: int
    modified: float


@dataclass(frozen=True, kw_only=True)
class Partial:
    """An upload that stopped on its way: `received` bytes so far; `key` is what the browser knows it by."""

    name: str
    key: str
    received: int
    modified: float


def inbox_path() -> Path:
    """The folder that files may be picked from; whoever runs the server may put any there."""
    return workspace_path() / "inbox"


def limit_bytes() -> int:
    """The largest size of one uploaded file.

    Raises:
        InputError: the setting is not a positive number.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    try:
        limit_gb = float(text) if text else _DEFAULT_LIMIT_GB
    except ValueError:
        limit_gb = 0.0
    if not 0 < limit_gb < 1e6:
        raise InputError(f"${LIMIT_VARIABLE}: '{text}' is not a positive number of GB")
    return int(limit_gb * 1e9)


def free_bytes() -> int:
    """Room on the workspace's disk, less a reserve that the work on the event needs."""
    folder = next(path for path in (inbox_path(), *inbox_path().parents) if path.is_dir())
    return max(0, shutil.disk_usage(folder).free - _KEPT_FREE_BYTES)


def inbox_files(purpose: Purpose) -> list[InboxFile]:
    """Files of the inbox and its sub-folders that can serve a purpose, by name; links that lead out are left out."""
    inbox = inbox_path()
    found = []
    for folder, folders, names in os.walk(inbox):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(folder) / name
            if name.startswith(".") or ending_of(name) not in ENDINGS[purpose] or not _is_within(path):
                continue
            with contextlib.suppress(OSError):
                state = path.stat()
                shown = path.relative_to(inbox).as_posix()
                found.append(InboxFile(name=shown, size=state.st_size, modified=state.st_mtime))
    return sorted(found, key=lambda file: file.name.lower())


def picked(name: str, purpose: Purpose) -> Path:
    """The path of a file of the inbox by its name there.

    Raises:
        WorkspaceError: there is no such file in the inbox, also where the name or a link leads out of it.
        InputError: it cannot serve the purpose.
    """
    path = inbox_path() / name
    if not name or "\0" in name or not _is_within(path) or not path.is_file():
        raise WorkspaceError(f"'{name}': is not a file of the inbox; choose one of the list, or upload it")
    if ending_of(name) not in ENDINGS[purpose]:
        raise InputError(f"'{name}': cannot be used as {purpose}; give {', '.join(ENDINGS[purpose])}")
    return path


def plain(message: str) -> str:
    """A message of the library with files named as the analyst knows them, not by the server's folders."""
    return message.replace(f"{inbox_path().resolve()}/", "").replace(f"{inbox_path()}/", "")


def safe_name(name: str) -> str:
    """The name that an uploaded file gets: its last part, of letters, digits, dot, dash and underscore.

    Raises:
        WrongKindError: nothing is left of it, or its ending is not one that is read here.
    """
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    clean = re.sub(r"[^\w.-]+", "_", last).lstrip("._-")
    ending = ending_of(clean)
    if ending not in UPLOAD_ENDINGS or clean.lower() == ending.lstrip("."):
        raise WrongKindError(
            f"'{name[:80]}': files of this kind cannot be used; imagery: {', '.join(RASTER_ENDINGS)}; "
            f"footprints: {', '.join(FOOTPRINT_ENDINGS)} (a shapefile zipped)"
        )
    return clean if len(clean) <= _MAX_NAME else clean[: _MAX_NAME - len(ending)] + ending


def partials() -> list[Partial]:
    """Uploads that stopped on their way, the newest first; those of last week are cleared away."""
    found = []
    for path in _partial_folder().glob("*.part"):
        key, _, name = path.name.removesuffix(".part").partition("-")
        with contextlib.suppress(OSError):
            state = path.stat()
            if time.time() - state.st_mtime > _PARTIAL_DAYS * 86400:
                path.unlink()
            else:
                found.append(Partial(name=name, key=key, received=state.st_size, modified=state.st_mtime))
    return sorted(found, key=lambda partial: -partial.modified)


def discard(name: str, key: str) -> None:
    """Delete an upload that is not complete."""
    Upload(name, key, 1, check=False).part.unlink(missing_ok=True)


def delete_file(name: str) -> None:
    """Delete a file that was uploaded, unless an event is made of it.

    Args:
        name: its path within the inbox; it lies in `uploads/`.

    Raises:
        WorkspaceError: it was not uploaded, or an event needs it. StorageError: it may not be deleted.
    """
    path = inbox_path() / name
    if Path(name).parent.as_posix() != "uploads" or not _is_within(path) or not path.is_file():
        raise WorkspaceError(f"'{name}': is not an uploaded file")
    for event in (Event.open(workspace_path(), each) for each in list_events(workspace_path())):
        hrefs = {Path(scene.href) for role in SIDES for scene in event.scenes(role)}
        hrefs |= {Path(report.path) for report in event.footprint_sources() if report.path}
        if path.resolve() in {href.resolve() for href in hrefs}:
            raise WorkspaceError(f"{path.name}: event '{event.name}' is made of it, so it stays")
    with storage_errors(path):
        path.unlink(missing_ok=True)


class Upload:
    """One file on its way into the inbox, known by a key that the browser makes up for it.

    Raises:
        WrongKindError, TooLargeError: the file cannot be taken. ConflictError: there is one of that name.
    """

    _busy: "set[Path]" = set()  # noqa: RUF012 (of the process, that one window at a time writes to a file)

    def __init__(self, name: str, key: str, size: int, *, check: bool = True) -> None:
        if not _KEY.fullmatch(key):
            raise InputError("the upload's key must be 6 to 64 letters and digits")
        self.name = safe_name(name)
        self.size = size
        self.part = _partial_folder() / f"{key}-{self.name}.part"
        self.target = inbox_path() / "uploads" / self.name
        if not check:
            return
        if size <= 0:
            raise WrongKindError(f"{self.name}: is empty")
        if size > limit_bytes():
            raise TooLargeError(
                f"{self.name}: has {size / 1e9:.1f} GB, up to {limit_bytes() / 1e9:g} GB can be uploaded; have it "
                f"copied into the workspace's inbox folder on the server, or raise ${LIMIT_VARIABLE}"
            )
        if self.target.exists():
            raise ConflictError(
                f"{self.name}: a file of that name is there already ({self.target.stat().st_size / 1e6:,.1f} MB); "
                "choose it below, delete it there, or rename yours"
            )

    @property
    def received(self) -> int:
        """Bytes that are there so far."""
        return self.part.stat().st_size if self.part.exists() else 0

    def check_room(self) -> None:
        """Refuse before the first byte what the disk cannot hold.

        Raises:
            StorageError: not enough room; nothing was kept of the file.
        """
        missing, free = self.size - self.received, free_bytes()
        if missing > free:
            self.part.unlink(missing_ok=True)
            raise StorageError(
                f"{self.name}: the server's disk has room for {free / 1e9:.1f} GB more, {missing / 1e9:.1f} GB are "
                "needed; free some space, or cut the file to the area of the event"
            )

    @contextlib.contextmanager
    def piece(self, offset: int) -> Iterator["Piece"]:
        """Open the file for the bytes from `offset` on; a full disk leaves nothing of it behind.

        Raises:
            ConflictError: the file has another length so far, or another window is writing to it.
            StorageError: the disk is full.
        """
        if self.part in self._busy:
            raise ConflictError(f"{self.name}: is being uploaded in another window")
        if offset and offset != self.received:
            raise ConflictError(f"{self.name}: {self.received} bytes are there, not {offset}; go on from there")
        self._busy.add(self.part)
        try:
            with storage_errors(self.target):
                self.part.parent.mkdir(parents=True, exist_ok=True)
                with self.part.open("r+b" if offset else "wb") as file:
                    file.seek(offset)
                    yield Piece(self, file.fileno(), offset)
        except (StorageError, WrongKindError, TooLargeError):
            self.part.unlink(missing_ok=True)
            raise
        finally:
            self._busy.discard(self.part)

    def finish(self) -> None:
        """Give the whole file its name.

        Raises:
            ConflictError: meanwhile there is another of that name. StorageError: the disk is full.
        """
        with storage_errors(self.target):
            self.target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(self.part, self.target)  # unlike a rename, this never replaces a file that came in between
            except FileExistsError:
                raise ConflictError(f"{self.name}: meanwhile there is another file of that name") from None
            except OSError:  # a file system without hard links
                if self.target.exists():
                    raise ConflictError(f"{self.name}: meanwhile there is another file of that name") from None
                self.part.rename(self.target)
            self.part.unlink(missing_ok=True)


class Piece:
    """Bytes of one request, written as they come."""

    def __init__(self, upload: Upload, descriptor: int, offset: int) -> None:
        self._upload, self._descriptor, self.end = upload, descriptor, offset
        self._checked = offset > 0

    def write(self, data: bytes) -> None:
        """Append bytes to disk.

        Raises:
            TooLargeError: more than was announced. WrongKindError: the first ones say that it is another kind of file.
            StorageError: the disk is full.
        """
        if not data:
            return
        if self.end + len(data) > self._upload.size:
            raise TooLargeError(f"{self._upload.name}: more bytes came than were announced; send it again")
        if not self._checked:
            try:
                check_beginning(self._upload.name, data[:4096])
            except InputError as error:
                raise WrongKindError(str(error)) from error
            self._checked = True
        rest = memoryview(data)
        while rest:
            written = os.write(self._descriptor, rest)
            self.end += written
            rest = rest[written:]

    def sync(self) -> None:
        """Have the disk keep what was written; a full one says so here at the latest."""
        os.fsync(self._descriptor)


def _partial_folder() -> Path:
    return inbox_path() / ".partial"


def _is_within(path: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(inbox_path().resolve())
    except (OSError, RuntimeError, ValueError):
        return False
