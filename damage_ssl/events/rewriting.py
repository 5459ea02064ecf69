"""Making an event anew where one lies already: what it is made of is replaced, everything else stays where it lies.

Labels, patches, runs and products are never moved, copied or given a second name: an analyst may be writing labels at
that moment, and a database in a folder that changes its place loses what is acknowledged afterwards. New files are
written beside the old ones; once all are whole a note says so, and they take their places one by one. Whoever opens the
event after a process that was killed on the way carries the rest out.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from damage_ssl.files import atomic_directory, locked, read_json, storage_errors, sync_folder, sync_tree, write_json

_NEXT, _LOCK = ".next", ".next.lock"
_WHOLE = "whole.json"


@contextmanager
def rewritten(event: Path, replaced: Callable[[Path], set[str]]) -> Iterator[Path]:
    """Yield a folder to write an event's own files into; they take the places of the old ones, or after an error none.

    Args:
        event: the event's folder; where there is none, the new one gets its name in one step.
        replaced: told the new folder, the names of the files and folders that were the event's own and go.

    Raises:
        StorageError: the disk is full or not writable.
    """
    if not event.is_dir():
        with atomic_directory(event) as folder:
            yield folder
        return
    with locked(event / _LOCK):
        _carry_out(event)
        new = event / _NEXT
        with storage_errors(event):
            _remove(new)
            new.mkdir()
            sync_folder(event)
            try:
                yield new
                names = {entry.name for entry in new.iterdir()}
                sync_tree(new)
                write_json(new / _WHOLE, {"goes": sorted(replaced(new) - names)})
            except BaseException:
                _remove(new)
                raise
            _carry_out(event)


def finish_rewriting(event: Path) -> None:
    """Carry out what a process that was killed had begun; of one that had not all of its files, nothing was done yet.

    Raises:
        StorageError: the disk is full or not writable.
    """
    if (event / _NEXT / _WHOLE).is_file():
        with locked(event / _LOCK), storage_errors(event):
            _carry_out(event)


def _carry_out(event: Path) -> None:
    new = event / _NEXT
    if not (new / _WHOLE).is_file():
        return
    for name in read_json(new / _WHOLE)["goes"]:
        _remove(event / name)
    for entry in sorted(new.iterdir()):
        if entry.name != _WHOLE:
            if entry.is_dir():
                _remove(event / entry.name)
            entry.replace(event / entry.name)
    sync_folder(event)  # before the note that they still have to move goes
    sync_folder(new)
    (new / _WHOLE).unlink()
    _remove(new)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
