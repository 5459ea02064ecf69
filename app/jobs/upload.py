"""A file on its way into the inbox, piece by piece: it goes on where it stopped, and never replaces another."""

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.jobs.file_kinds import RASTER_ENDINGS, check_beginning
from app.jobs.inbox import LIMIT_VARIABLE, WrongKindError, free_bytes, inbox_path, limit_bytes, safe_name
from app.jobs.untrusted import check_raster
from damage_ssl.errors import InputError, StorageError
from damage_ssl.files import make_folder, storage_errors, sync_folder

_PARTIAL_DAYS = 7

_WAITING_FILES, _WAITING_TIMES, _ALL_TIMES = 50, 4, 12
"""Of uploads that are on their way: files of one person, and how many times the largest file one person's may have
together, and everybody's."""

_KEY = re.compile(r"[A-Za-z0-9]{6,64}")


class TooLargeError(InputError):
    """The file is above the limit."""


class ConflictError(InputError):
    """A file of that name is there already, or on its way from somewhere else."""


@dataclass(frozen=True, kw_only=True)
class Partial:
    """An upload that stopped on its way: `received` bytes so far; `key` is what the browser knows it by."""

    name: str
    key: str
    received: int
    modified: float


def partials(owner: str = "") -> list[Partial]:
    """Somebody's uploads that stopped on their way, the newest first; everybody's of last week are cleared away."""
    found = []
    for path in _partial_folder().glob("*.part"):
        head, _, name = path.name.removesuffix(".part").partition("-")
        whose, _, key = head.rpartition(".")
        with contextlib.suppress(OSError):
            state = path.stat()
            if time.time() - state.st_mtime > _PARTIAL_DAYS * 86400:
                path.unlink()
            elif whose == _mark(owner):
                found.append(Partial(name=name, key=key, received=state.st_size, modified=state.st_mtime))
    return sorted(found, key=lambda partial: -partial.modified)


def discard(name: str, key: str, owner: str = "") -> None:
    """Delete an upload that is not complete."""
    Upload(name, key, 1, check=False, owner=owner).part.unlink(missing_ok=True)


class Upload:
    """One file on its way into the inbox, known by a key that the browser makes up for it; `owner` has signed in.

    Raises:
        WrongKindError, TooLargeError: the file cannot be taken. ConflictError: there is one of that name.
    """

    _busy: "set[Path]" = set()  # noqa: RUF012 (of the process, that one window at a time writes to a file)

    def __init__(self, name: str, key: str, size: int, *, check: bool = True, owner: str = "") -> None:
        if not _KEY.fullmatch(key):
            raise InputError("the upload's key must be 6 to 64 letters and digits")
        self.name = safe_name(name)
        self.size = size
        self.owner = owner
        self.part = _partial_folder() / f"{_mark(owner)}{'.' if owner else ''}{key}-{self.name}.part"
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
            TooLargeError: too much of this person, or of all, is on its way already.
        """
        self._check_quota()
        missing, free = self.size - self.received, free_bytes()
        if missing > free:
            self.part.unlink(missing_ok=True)
            raise StorageError(
                f"{self.name}: the server's disk has room for {free / 1e9:.1f} GB more, {missing / 1e9:.1f} GB are "
                "needed; free some space, or cut the file to the area of the event"
            )

    def _check_quota(self) -> None:
        others = [path for path in _partial_folder().glob("*.part") if path != self.part]
        start = f"{_mark(self.owner)}." if self.owner else ""
        own = [path for path in others if path.name.startswith(start)]
        for paths, times in ((own, _WAITING_TIMES), (others, _ALL_TIMES)):
            waiting = self.size
            for path in paths:
                with contextlib.suppress(OSError):
                    waiting += path.stat().st_size
            if waiting > times * limit_bytes() or (paths is own and len(own) >= _WAITING_FILES):
                raise TooLargeError(
                    f"{self.name}: {len(paths)} uploads are on their way or stopped on it already; let them end or "
                    "discard them, then send this one"
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
            WrongKindError: it refers to other files; nothing is kept of it.
        """
        if Path(self.name).suffix.lower() in RASTER_ENDINGS:
            try:
                check_raster(self.part, self.name)
            except InputError as error:
                self.part.unlink(missing_ok=True)
                raise WrongKindError(str(error)) from error
        with storage_errors(self.target):
            make_folder(self.target.parent)
            try:
                os.link(self.part, self.target)  # unlike a rename, this never replaces a file that came in between
            except FileExistsError:
                raise ConflictError(f"{self.name}: meanwhile there is another file of that name") from None
            except OSError:  # a file system without hard links
                if self.target.exists():
                    raise ConflictError(f"{self.name}: meanwhile there is another file of that name") from None
                self.part.rename(self.target)
            sync_folder(self.target.parent)
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


def _mark(owner: str) -> str:
    """Of somebody who has signed in; empty where nobody does."""
    return hashlib.sha256(owner.encode()).hexdigest()[:12] if owner else ""


def _partial_folder() -> Path:
    return inbox_path() / ".partial"
