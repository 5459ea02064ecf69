"""Writing hand-over packs: each is written once, to disk, and served from there.

A pack of a few buildings is written by whoever asks for it; one of a large event in a process of its own, so that
neither its time nor its memory is the app's.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from app.auth.people import writers_only
from app.jobs import job
from app.jobs.job import one_at_a_time, report_in, reports_in
from app.state.event_view import EventView, assessment
from damage_ssl.errors import StorageError
from damage_ssl.events.event import Event
from damage_ssl.files import locked
from damage_ssl.products.handover.pack import LABELS_ONLY, PackOptions, hand_over, pack_folder
from damage_ssl.products.handover.pack_files import Pack, open_pack
from damage_ssl.products.selection import Selection, query_of
from damage_ssl.runs.model import MapModel

AT_ONCE = 5_000
"""Up to this many buildings a pack takes seconds and is written when it is asked for."""

KEPT = 4
"""How many packs of one model stay on the disk."""

_LOOK_EVERY_S = 0.1


@dataclass(frozen=True)
class HandoverJob:
    """A map to hand over: which model's, which buildings, under which licence, in which language."""

    view: EventView
    model: MapModel | None
    wanted: Selection
    licence: str | None = None
    language: str = "en"

    @property
    def options(self) -> PackOptions:
        """What the receiver is given beside the map."""
        return PackOptions(licence=self.licence, language=self.language)

    @property
    def folder(self) -> Path:
        """Where its pack lies once it is written."""
        return pack_folder(self.view.event, self.model, self.wanted, self.options)

    @property
    def job_folder(self) -> Path:
        """Where the process that writes it keeps its files."""
        return self.view.event.path / "handover_jobs" / self.folder.name

    @property
    def at_once(self) -> bool:
        """True where writing it takes seconds."""
        return len(self.view.footprints) <= AT_ONCE


def made(event: Event) -> list[Pack]:
    """The packs of an event that were written whole, of every model and version, newest first."""
    found = [open_pack(path.with_suffix("")) for path in event.products_path.glob("*/*.zip")]
    packs = [pack for pack in found if pack is not None]
    return sorted(packs, key=lambda pack: pack.written, reverse=True)


def ready(handing: HandoverJob) -> Pack | None:
    """The pack, if it was written."""
    return open_pack(handing.folder)


def pack_of(handing: HandoverJob) -> Pack:
    """The pack, written first where it was not, by whoever is the first to ask.

    Raises:
        StorageError: it could not be written, or was stopped. WorkspaceError: there is nothing to hand over.
    """
    if not handing.at_once:
        return _awaited(handing)
    with locked(handing.view.event.path / ".handover.lock"):
        pack = ready(handing)
        if pack is None:
            _make_room(handing.folder.parent)
            table = assessment(handing.view, handing.model)
            pack = hand_over(
                handing.view.event, handing.model, selection=handing.wanted, options=handing.options, table=table
            )
        return pack


def _awaited(handing: HandoverJob) -> Pack:
    pack = ready(handing)
    if pack is None:
        start(handing)
        while working(handing):
            time.sleep(_LOOK_EVERY_S)
        pack = ready(handing)
    if pack is None:
        changed = f"event '{handing.view.event.name}': labels changed while the pack was written; make it again"
        raise StorageError(failure(handing) or changed)
    return pack


def start(handing: HandoverJob) -> None:
    """Begin to write the pack of a large event in a process of its own, or join whoever began before."""
    folder, event, selection = handing.job_folder, handing.view.event, handing.wanted
    with one_at_a_time(folder.parent):
        if working(handing):
            return
        for ended in reports_in(folder.parent):
            if not ended.active:
                job.clear(ended.folder)
        _make_room(handing.folder.parent)
        command = ["export", event.name, f"--pack={handing.folder}", "--zip", f"--language={handing.language}"]
        command += [f"--p-min={selection.p_min}", f"--p-max={selection.p_max}"]
        command += [f"--run-id={LABELS_ONLY if handing.model is None else handing.model.model_id}"]
        command += [f"--class={name}" for name in query_of(selection).get("class", ())]
        command += [] if selection.not_assessed else ["--assessed-only"]
        command += [] if handing.licence is None else [f"--licence={handing.licence}"]
        job.start(command, folder, title="Writing the pack")


def working(handing: HandoverJob) -> bool:
    """True while a process writes the pack."""
    report = report_in(handing.job_folder)
    return report is not None and report.active


def failure(handing: HandoverJob) -> str | None:
    """What the last attempt of a process at this pack failed with."""
    report = report_in(handing.job_folder)
    if report is None or report.state == "done":
        return None
    return "it was stopped" if report.state == "stopped" else report.message


@writers_only
def cancel(handing: HandoverJob) -> None:
    """Stop the process that writes the pack; nothing half-written is kept."""
    job.stop(handing.job_folder)


def _make_room(packs: Path) -> None:
    """Of the packs of one model keep the newest few: each label makes another, in a large event of 400 MB."""
    folders = [path for path in packs.glob("[!.]*") if path.is_dir()]
    found = [pack for path in folders if (pack := open_pack(path)) is not None]
    for old in sorted(found, key=lambda pack: pack.written, reverse=True)[KEPT - 1 :]:
        if old.zip_path is not None:
            old.zip_path.unlink(missing_ok=True)  # first: without it the folder counts as no pack
        shutil.rmtree(old.folder, ignore_errors=True)
