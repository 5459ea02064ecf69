"""Writing hand-over packs while the page goes on: each is written once, to disk, and served from there."""

import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from app.data import EventView, MapFilter, assessment
from app.models import Model
from app.workspace import workspace_path
from damage_ssl.errors import DamageSSLError, StorageError
from damage_ssl.pipeline.pack import hand_over, pack_folder
from damage_ssl.products.pack import Pack, open_pack
from damage_ssl.products.selection import Selection

AT_ONCE = 20_000
"""Up to this many buildings a pack takes seconds and is written when it is asked for."""

_LONGEST_S = 3600
_writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="handover")
_lock = threading.Lock()
_running: dict[Path, "Future[Pack]"] = {}
_failed: dict[Path, str] = {}


@dataclass(frozen=True)
class Handing:
    """A map to hand over: which model's, which buildings, under which licence."""

    view: EventView
    model: Model | None
    wanted: MapFilter
    licence: str | None = None

    @property
    def selection(self) -> Selection:
        """The filter as the library has it."""
        wanted = self.wanted
        classes = None if wanted.classes is None else tuple(name for name in wanted.classes if name != "none")
        return Selection(classes=classes, p_min=wanted.p_min, p_max=wanted.p_max, not_assessed=wanted.not_assessed)

    @property
    def folder(self) -> Path:
        """Where its pack lies once it is written."""
        return pack_folder(self.view.event, self.model, self.selection, self.licence)

    @property
    def at_once(self) -> bool:
        """True where writing it takes seconds."""
        return len(self.view.footprints) <= AT_ONCE


def ready(handing: Handing) -> Pack | None:
    """The pack, if it was written."""
    return open_pack(handing.folder)


def start(handing: Handing) -> "Future[Pack]":
    """Begin to write the pack, or join whoever began before."""
    folder = handing.folder
    with _lock:
        running = _running.get(folder)
        if running is None:
            _failed.pop(folder, None)
            running = _running[folder] = _writer.submit(_write, handing)
            running.add_done_callback(lambda done: _ended(folder, done))
        return running


def working(handing: Handing) -> bool:
    """True while the pack is being written."""
    with _lock:
        return handing.folder in _running


def failure(handing: Handing) -> str | None:
    """What the last attempt at this pack failed with."""
    return _failed.get(handing.folder)


def _ended(folder: Path, done: "Future[Pack]") -> None:
    with _lock:
        _running.pop(folder, None)
        if (error := done.exception()) is not None:
            _failed[folder] = str(error) if isinstance(error, DamageSSLError) else "it could not be written"


def _write(handing: Handing) -> Pack:
    event, model = handing.view.event, handing.model
    here = handing.at_once or handing.selection.classes == () or (model is not None and model.run is None)
    if here:
        table = assessment(handing.view, model)
        return hand_over(event, model, selection=handing.selection, licence=handing.licence, table=table)
    _export(handing)
    pack = open_pack(handing.folder)
    if pack is None:
        raise StorageError(f"event '{event.name}': labels changed while the pack was written; make it again")
    return pack


def _export(handing: Handing) -> None:
    """A large event in a process of its own, so that neither its time nor its memory is the app's."""
    selection, model = handing.selection, handing.model
    command = [sys.executable, "-m", "damage_ssl", "export", handing.view.event.name, "--pack"]
    command += ["--workspace", str(workspace_path()), f"--p-min={selection.p_min}", f"--p-max={selection.p_max}"]
    command += [f"--class={name}" for name in selection.classes or ()]
    command += [] if selection.not_assessed else ["--assessed-only"]
    command += [] if handing.licence is None else [f"--licence={handing.licence}"]
    command += [] if model is None else [f"--run-id={model.model_id}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST_S)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("error ")]
        raise StorageError(lines[-1].removeprefix("error ") if lines else "writing the pack ended unexpectedly")
