"""Writing hand-over packs while the page goes on: each is written once, to disk, and served from there."""

import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from app.auth.people import writers_only
from app.state.configuration import workspace_path
from app.state.event_view import EventView, assessment
from damage_ssl.errors import DamageSSLError, StorageError
from damage_ssl.products.handover.pack import Pack, hand_over, open_pack, pack_folder
from damage_ssl.products.selection import Selection
from damage_ssl.runs.model import MapModel

AT_ONCE = 20_000
"""Up to this many buildings a pack takes seconds and is written when it is asked for."""

KEPT = 4
"""How many packs of one model stay on the disk."""

_LONGEST_S = 3600
_writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="handover")
_lock = threading.Lock()
_running: dict[Path, "Future[Pack]"] = {}
_failed: dict[Path, str] = {}
_processes: dict[Path, "subprocess.Popen[str]"] = {}


@dataclass(frozen=True)
class HandoverJob:
    """A map to hand over: which model's, which buildings, under which licence."""

    view: EventView
    model: MapModel | None
    wanted: Selection
    licence: str | None = None

    @property
    def folder(self) -> Path:
        """Where its pack lies once it is written."""
        return pack_folder(self.view.event, self.model, self.wanted, self.licence)

    @property
    def at_once(self) -> bool:
        """True where writing it takes seconds."""
        return len(self.view.footprints) <= AT_ONCE


def ready(handing: HandoverJob) -> Pack | None:
    """The pack, if it was written."""
    return open_pack(handing.folder)


def start(handing: HandoverJob) -> "Future[Pack]":
    """Begin to write the pack, or join whoever began before."""
    folder = handing.folder
    with _lock:
        running = _running.get(folder)
        if running is None:
            _failed.pop(folder, None)
            running = _running[folder] = _writer.submit(_write, handing)
            running.add_done_callback(lambda done: _ended(folder, done))
        return running


def working(handing: HandoverJob) -> bool:
    """True while the pack is being written."""
    with _lock:
        return handing.folder in _running


@writers_only
def cancel(handing: HandoverJob) -> None:
    """Stop writing the pack, where a process of its own does; nothing half-written is kept."""
    with _lock:
        process = _processes.get(handing.folder)
        _failed.pop(handing.folder, None)
    if process is not None:
        process.terminate()


def failure(handing: HandoverJob) -> str | None:
    """What the last attempt at this pack failed with."""
    return _failed.get(handing.folder)


def _ended(folder: Path, done: "Future[Pack]") -> None:
    with _lock:
        _running.pop(folder, None)
        if (error := done.exception()) is not None:
            _failed[folder] = str(error) if isinstance(error, DamageSSLError) else "it could not be written"


def _write(handing: HandoverJob) -> Pack:
    pack = _written(handing)
    _prune(pack)
    return pack


def _prune(written: Pack) -> None:
    """Of the packs of one model keep the newest few: each label makes another, in a large event of 400 MB."""
    found = [open_pack(path) for path in written.folder.parent.iterdir() if path.is_dir() and path.name[:1] != "."]
    packs = [pack for pack in found if pack is not None and pack != written]
    for old in sorted(packs, key=lambda pack: pack.zip_path.stat().st_mtime_ns, reverse=True)[KEPT - 1 :]:
        old.zip_path.unlink(missing_ok=True)  # first: without it the folder counts as no pack
        shutil.rmtree(old.folder, ignore_errors=True)


def _written(handing: HandoverJob) -> Pack:
    event, model = handing.view.event, handing.model
    here = handing.at_once or handing.wanted.classes == () or (model is not None and model.run is None)
    if here:
        table = assessment(handing.view, model)
        return hand_over(event, model, selection=handing.wanted, licence=handing.licence, table=table)
    _export(handing)
    pack = open_pack(handing.folder)
    if pack is None:
        raise StorageError(f"event '{event.name}': labels changed while the pack was written; make it again")
    return pack


def _export(handing: HandoverJob) -> None:
    """A large event in a process of its own, so that neither its time nor its memory is the app's."""
    selection, model = handing.wanted, handing.model
    command = [sys.executable, "-m", "damage_ssl", "export", handing.view.event.name, "--pack"]
    command += ["--workspace", str(workspace_path()), f"--p-min={selection.p_min}", f"--p-max={selection.p_max}"]
    command += [f"--class={name}" for name in selection.classes or ()]
    command += [] if selection.not_assessed else ["--assessed-only"]
    command += [] if handing.licence is None else [f"--licence={handing.licence}"]
    command += [] if model is None else [f"--run-id={model.model_id}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        with _lock:
            _processes[handing.folder] = process
        try:
            _, said = process.communicate(timeout=_LONGEST_S)
        finally:
            process.kill()
            with _lock:
                del _processes[handing.folder]
    if process.returncode == -signal.SIGTERM:
        raise StorageError("it was stopped")
    if process.returncode:
        lines = [line for line in said.splitlines() if line.startswith("error ")]
        raise StorageError(lines[-1].removeprefix("error ") if lines else "writing the pack ended unexpectedly")
