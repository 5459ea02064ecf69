"""Writing files so that a reader never sees half of one, and the lock that keeps two from the same work."""

import ctypes
import errno
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from damage_ssl.errors import StorageError, WorkspaceError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ACCESS = {errno.EROFS, errno.EACCES, errno.EPERM}
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
_LOCK_POLL_S = 0.02
_SYNCS_AT_ONCE = 16
_TEMPORARY = ".tmp"

ABANDONED_S = 3600.0
"""After so long without a write, what a process has begun counts as left behind."""


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
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # not the content: no such file, not allowed
            raise
        raise WorkspaceError(f"{path}: is damaged (it was cut off or changed); {advice}") from error


@contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is renamed to `path`, on any error it is removed.

    Any number of threads, processes and machines may write the same file at once: the last one stays. What is there
    after the `with` is there after a power cut too, unless it was not asked to be `durable` (progress, caches): file
    and folder are synced before and after the rename. A temporary file that a killed process left is removed by a later
    writer to the folder, an hour after it was last written to.

    Raises:
        StorageError: the disk is full or read-only.
    """
    path = Path(path)
    with storage_errors(path):
        make_folder(path.parent)
        _sweep_once(path.parent.absolute())
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(6)}{_TEMPORARY}{path.suffix}")
        try:
            yield temporary
            if durable:
                sync_tree(temporary)
            temporary.replace(path)
            if durable:
                sync_folder(path.parent)
        finally:
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path, *, synced: bool = False) -> Iterator[Path]:
    """Like `atomic_path`, for a directory; an older directory of that name is replaced.

    `synced` says that the files in it were synced as they were written, so that only its folders still are to be.

    On Linux the two change places in one step, so that `path` is there at every moment. Elsewhere a process that is
    killed between two renames leaves the older directory in a hidden one that ends in `.old`.
    """
    path = Path(path)
    with storage_errors(path):
        make_folder(path.parent)
        sweep(path.parent)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_TEMPORARY, dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            sync_tree(temporary, files=not synced)
            if path.exists() and _exchanged(temporary, path):
                pass  # the older one lies in `temporary` now
            elif path.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
                path.replace(old / path.name)
                temporary.replace(path)
                sync_folder(path.parent)
                shutil.rmtree(old, ignore_errors=True)
            else:
                temporary.replace(path)
            sync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, each of which is there after a power cut too."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Have the disk keep which names a folder holds; where a system cannot sync a folder, it does so by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def sync_tree(path: Path, *, files: bool = True) -> None:
    """Have the disk keep a file, or a folder with all that is in it; without `files` only the names in it."""
    if not path.is_dir():
        _sync_file(path)
        return
    found: list[Path] = []
    folders: list[Path] = []
    for folder, _, names in os.walk(path):
        folders.append(Path(folder))
        found += [Path(folder, name) for name in names]
    sync_files(found if files else [])
    for each in reversed(folders):
        sync_folder(each)


def sync_files(paths: Sequence[Path]) -> None:
    """Have the disk keep the content of files; of many, several at a time, which it can put together."""
    if len(paths) < _SYNCS_AT_ONCE:
        for path in paths:
            _sync_file(path)
        return
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
        for _ in pool.map(_sync_file, paths):
            pass


def _sync_file(path: Path) -> None:
    if path.is_symlink():
        return  # a symbolic link is a name: its folder keeps it
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path, *, older_than_s: float = ABANDONED_S) -> list[Path]:
    """Remove what killed processes left half-written in a folder, and name it.

    Only what nothing was written to for a while: another process may be at work on the rest.
    """
    gone = []
    for left in folder.glob(".*"):
        if not any(suffix.startswith((_TEMPORARY, ".old")) for suffix in left.suffixes):
            continue
        try:
            newest = max((each.lstat().st_mtime for each in left.rglob("*")), default=left.stat().st_mtime)
            if time.time() - newest < older_than_s:
                continue
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()
            gone.append(left)
        except OSError:  # gone meanwhile, or not ours to remove
            continue
    return gone


@lru_cache(maxsize=1024)
def _sweep_once(folder: Path) -> None:
    sweep(folder)


def _exchanged(one: Path, other: Path) -> bool:
    """Let two directories change places (renameat2 of Linux); False where the system or the file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return int(rename(here, os.fsencode(one), here, os.fsencode(other), exchange)) == 0


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a UTF-8 text file atomically; see `atomic_path`."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON (no NaN) atomically."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """A value as strict JSON (no NaN), as this project writes it."""
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        OSError: it cannot be read. ValueError: it is no JSON, nested too deeply, or holds text that cannot be written.
    """
    text = path.read_text(encoding="utf-8")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if "\\ud" in text or "\\uD" in text:  # half of a pair of surrogates is no text
        json.dumps(value, ensure_ascii=False).encode()
    return value


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
