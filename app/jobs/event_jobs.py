"""The long work there is on an event as a whole: making it, its imagery and footprints, the live model's features."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from app.auth.people import writers_only
from app.jobs import job
from app.jobs.job import JobReport, one_at_a_time, report_in, reports_in
from app.jobs.run_reports import reports
from app.jobs.untrusted import limits_of_readers
from app.state.configuration import workspace_path
from app.state.event_view import EventView
from damage_ssl.errors import WorkspaceError
from damage_ssl.events.event import Event, list_events
from damage_ssl.runs.live import features_ready


@writers_only
def start_new_event(name: str, options: Sequence[str], form: Mapping[str, Any]) -> None:
    """Start `damage-ssl init`. What the form held is kept with it, to be shown again if it fails.

    Raises:
        WorkspaceError: an event of that name is there, or is being made.
    """
    folder = _new_event_folder(name)
    with one_at_a_time(workspace_path() / ".jobs"):
        report = report_in(folder)
        if report is not None and report.active:
            raise WorkspaceError(f"event '{name}' is being made already, from this or another window")
        if name in list_events(workspace_path()):
            raise WorkspaceError(f"there is an event '{name}' already; choose another name")
        job.clear(folder)
        title = "Checking imagery and footprints"
        job.start(["init", name, *options], folder, title=title, form=form, environment=limits_of_readers())


def new_events() -> list[JobReport]:
    """Events that are being made, or could not be; the newest first. One that is made is no longer among them."""
    return [report for report in reports_in(workspace_path() / ".jobs") if report.state != "done"]


def new_event(name: str) -> JobReport | None:
    """The work on a new event, if there was any."""
    return report_in(_new_event_folder(name))


@writers_only
def stop(folder: Path) -> None:
    """Ask the work of a folder to stop; see `job.stop`."""
    job.stop(folder)


@writers_only
def forget(report: JobReport) -> None:
    """Clear away work that ended, with its error and log."""
    if not report.active:
        job.clear(report.folder)


def _new_event_folder(name: str) -> Path:
    return workspace_path() / ".jobs" / name


def start_preparation(event: Event) -> None:
    """Start `damage-ssl patches`: cut the pairs of an event."""
    _prepare(event, ["patches", event.name], "Preparing the imagery")


def start_detection(event: Event) -> None:
    """Start `damage-ssl footprints detect`: find the buildings of an event that has no footprints."""
    _prepare(event, ["footprints", "detect", event.name], "Looking for buildings")


def start_fetch(event: Event) -> None:
    """Start `damage-ssl footprints fetch`: get mapped buildings from the internet."""
    _prepare(event, ["footprints", "fetch", event.name], "Getting mapped buildings")


def start_footprints(event: Event, files: Sequence[Path]) -> None:
    """Start `damage-ssl footprints use`: give an event the outlines of these files."""
    words = ["footprints", "use", event.name, *map(str, files)]
    _prepare(event, words, "Reading the outlines", environment=limits_of_readers())


def preparation(event: Event) -> JobReport | None:
    """The last work on imagery or footprints of an event."""
    return report_in(preparation_folder(event))


def preparing(event: Event) -> bool:
    """True while pairs are cut or buildings looked for."""
    report = preparation(event)
    return report is not None and report.active


def preparation_error(event: Event, *, has_result: bool) -> str | None:
    """What the last preparation failed with; None where it is running, succeeded, was stopped or never began.

    Without a result, one that ended has failed, even if it left no word of why.
    """
    report = preparation(event)
    if report is None or report.state not in ("failed", "interrupted"):
        return None
    return None if report.state == "interrupted" and has_result else report.message


@writers_only
def _prepare(event: Event, command: Sequence[str], title: str, *, environment: Mapping[str, str] | None = None) -> None:
    folder = preparation_folder(event)
    with one_at_a_time(event.path):
        refuse_beside(event, *ALL_WORK)
        (folder / "log.txt").unlink(missing_ok=True)
        job.start(command, folder, title=title, environment=environment)


def preparation_folder(event: Event) -> Path:
    """Where the work on imagery and footprints keeps its files."""
    return event.path / "preparation"


Work = Literal["preparation", "runs", "features"]
ALL_WORK: tuple[Work, ...] = ("preparation", "runs", "features")


def refuse_beside(event: Event, *kinds: Work) -> None:
    """Refuse to start work beside other work, of these kinds, on the same files.

    Raises:
        WorkspaceError: there is some; the message says what, and since when.
    """
    jobs = {"preparation": preparation(event), "features": features(event)}
    others = [
        (report.job.title or "Preparing the imagery", report.job.started)
        for kind, report in jobs.items()
        if kind in kinds and report is not None and report.active
    ]
    if "runs" in kinds:
        others += [("A training", report.started) for report in reports(event) if report.active]
    for title, started in others:
        minutes = max(0.0, time.time() - started) / 60
        since = f"for {minutes:.0f} min" if minutes >= 1 else "since a moment ago"
        raise WorkspaceError(
            f"{title} is at work already, {since}, begun in this or another window: wait for it, or stop it"
        )


@writers_only
def start_features(event: Event) -> None:
    """Start `damage-ssl features`: what the live model learns from; unless another page has.

    Raises:
        WorkspaceError: the pairs are being cut.
    """
    with one_at_a_time(event.path):
        report = features(event)
        if report is None or not report.active:
            refuse_beside(event, "preparation")
            title = "Getting the live model ready (step 2)"
            job.start(["features", event.name], _features_folder(event), title=title)


def features(event: Event) -> JobReport | None:
    """The last work on the features of the live model."""
    return report_in(_features_folder(event))


def stop_features(event: Event) -> None:
    """Ask that work to stop; what it has done is kept."""
    stop(_features_folder(event))


def _features_folder(event: Event) -> Path:
    return event.path / "features_job"


def features_work(view: EventView) -> JobReport | None:
    """The work of making the features, as far as it concerns the pairs as they are now; None where it is to begin."""
    report = features(view.event)
    if report is None or report.active:
        return report
    if report.state == "done" and not features_ready(view.event):
        return None  # what it made is of other pairs, or of an older version
    return report if report.job.started > view.event.patches_path.stat().st_mtime else None
