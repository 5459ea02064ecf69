"""Writing files so that a reader never sees half of one, and the lock that keeps two from the same work."""

import ctypes
import errno
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from damage_ssl.errors import StorageError, WorkspaceError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ACCESS = {errno.EROFS, errno.EACCES, errno.EPERM}
_LOCK_POLL_S = 0.02


def is_full(error: BaseException) -> bool:
    """True for the operating system's word that a disk has no room, or a quota is used up."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's "no room" and "not allowed" into a `StorageError` that names the place."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise StorageError(
                f"{path}: the disk is full; free some space and run the same command again "
                "(nothing half-written was kept)"
            ) from error
        if error.errno in _NO_ACCESS:
            raise StorageError(f"{path}: cannot be written ({error.strerror}); check its permissions") from error
        raise


@contextmanager
def damage_named(path: Path, advice: str) -> Iterator[None]:
    """Turn what a reader says of a damaged file into a `WorkspaceError` that names it and the way out."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # not the content: no such file, not allowed
            raise
        raise WorkspaceError(f"{path}: is damaged (it was cut off or changed); {advice}") from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is renamed to `path`, on any error it is removed.

    Raises:
        StorageError: the disk is full or read-only.
    """
    path = Path(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.tmp{path.suffix}")
        try:
            yield temporary
            temporary.replace(path)
        finally:
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Like `atomic_path`, for a directory; an older directory of that name is replaced.

    On Linux the two change places in one step, so that `path` is there at every moment. Elsewhere a process that is
    killed between two renames leaves the older directory in a hidden one that ends in `.old`.
    """
    path = Path(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        try:
            yield temporary
            if path.exists() and _exchanged(temporary, path):
                pass  # the older one lies in `temporary` now
            elif path.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
                path.replace(old / path.name)
                temporary.replace(path)
                shutil.rmtree(old, ignore_errors=True)
            else:
                temporary.replace(path)
            path.chmod(0o755)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Let two directories change places (renameat2 of Linux); False where the system or the file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return int(rename(here, os.fsencode(one), here, os.fsencode(other), exchange)) == 0


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON (no NaN) atomically."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def locked(path: Path, busy: str | None = None) -> Iterator[None]:
    """Hold the lock of a file, which goes with the process, however that ends.

    Args:
        path: the lock file.
        busy: what to say where somebody else holds it; None: wait until they let go.

    Raises:
        WorkspaceError: somebody else holds it; the message is `busy`. StorageError: there can be no such file.
    """
    from filelock import FileLock, Timeout  # takes a third of a second, most of it asyncio

    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=-1 if busy is None else 0)
        try:
            lock.acquire(poll_interval=_LOCK_POLL_S)
        except Timeout:
            raise WorkspaceError(str(busy)) from None
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)  # filelock takes no lock of a file that is gone by then
        lock.release()


def link_or_copy(source: str, target: str) -> None:
    """A second name for a file where the file system has such, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
