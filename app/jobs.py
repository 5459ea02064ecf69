"""The long work there is on events: new ones, their preparation, runs. How a process is handled is in `processes`."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.people import writers_only
from app.processes import (
    Job,
    JobReport,
    clear,
    is_alive,
    job_in,
    log_tail,
    one_at_a_time,
    report_in,
    was_stopped,
)
from app.processes import start as start_process
from app.processes import stop as stop_process
from app.workspace import workspace_path
from damage_ssl.assessment.change import ALGORITHM as CHANGE
from damage_ssl.errors import WorkspaceError
from damage_ssl.event.catalog import Event, list_events
from damage_ssl.learning.runs import Run, RunStatus, delete_run, new_run_id

__all__ = ["Job", "JobReport", "RunReport", "is_alive", "job_in", "log_tail", "report_in", "stop"]

Phase = Literal["preparing", "training", "predicting", "stopping", "finished", "failed", "cancelled", "interrupted"]
_ACTIVE = ("preparing", "training", "predicting", "stopping")


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """A run as the pages show it: `phase`, `step` of `steps`, when it began and last moved, a message if it failed.

    `work` is what its process says of the stage that it is in; None for runs that were not started here.
    """

    run: Run
    algorithm: str
    phase: Phase
    step: int
    steps: int
    started: float
    updated: float
    message: str
    work: JobReport | None = None

    @property
    def active(self) -> bool:
        """True while its process works."""
        return self.phase in _ACTIVE

    @property
    def resumable(self) -> bool:
        """True where it was stopped, or ended before it was done, and can be gone on with."""
        began = self.run.settings_path.exists() or (self.work is not None and bool(self.work.job.arguments))
        return began and self.phase in ("cancelled", "interrupted", "failed")


# New events ------------------------------------------------------------------------------------------------------


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
        clear(folder)
        start_process(["init", name, *options], folder, title="Checking imagery and footprints", form=form)


def new_events() -> list[JobReport]:
    """Events that are being made, or could not be; the newest first. One that is made is no longer among them."""
    folder = workspace_path() / ".jobs"
    found = [report_in(path) for path in folder.glob("[!.]*")] if folder.is_dir() else []
    reports = [report for report in found if report is not None]
    return sorted((report for report in reports if report.state != "done"), key=lambda report: -report.job.started)


def new_event(name: str) -> JobReport | None:
    """The work on a new event, if there was any."""
    return report_in(_new_event_folder(name))


@writers_only
def stop(folder: Path) -> None:
    """Ask the work of a folder to stop; see `processes.stop`."""
    stop_process(folder)


@writers_only
def forget(report: JobReport) -> None:
    """Clear away work that ended, with its error and log."""
    if not report.active:
        clear(report.folder)


def _new_event_folder(name: str) -> Path:
    return workspace_path() / ".jobs" / name


# Preparation -----------------------------------------------------------------------------------------------------


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
    _prepare(event, ["footprints", "use", event.name, *map(str, files)], "Reading the outlines")


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
    if report.state == "interrupted" and has_result:
        return None
    return report.message


@writers_only
def _prepare(event: Event, command: Sequence[str], title: str) -> None:
    folder = preparation_folder(event)
    with one_at_a_time(event.path):
        refuse_beside(event, *ALL_WORK)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "log.txt").unlink(missing_ok=True)
        _start(command, folder, "", title)


def preparation_folder(event: Event) -> Path:
    """Where the job that cuts the pairs keeps its log."""
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
            start_process(["features", event.name], _features_folder(event), title=title)


def features(event: Event) -> JobReport | None:
    """The last work on the features of the live model."""
    return report_in(_features_folder(event))


def stop_features(event: Event) -> None:
    """Ask that work to stop; what it has done is kept."""
    stop(_features_folder(event))


def _features_folder(event: Event) -> Path:
    return event.path / "features_job"


# Runs ------------------------------------------------------------------------------------------------------------


def start_training(event: Event, algorithm: str, options: Sequence[str] = ()) -> Run:
    """Start `damage-ssl train` in a session of its own and return its run.

    Raises:
        WorkspaceError: other work on the event is going on.
    """
    return _start_run(event, "train", algorithm, ["--algorithm", algorithm, *options])


def start_first_map(event: Event) -> Run:
    """Start `damage-ssl zero-label`: compare pre and post of every building, without labels; return its run.

    Raises:
        WorkspaceError: other work on the event is going on.
    """
    return _start_run(event, "zero-label", CHANGE, [])


@writers_only
def go_on(event: Event, report: RunReport) -> None:
    """Go on with a run that was stopped or interrupted, as it was begun.

    Raises:
        WorkspaceError: other work on the event is going on, or the run cannot be gone on with.
    """
    run = report.run
    arguments = report.work.job.arguments if report.work is not None else ()
    command = list(arguments)
    if run.settings_path.exists() and report.algorithm != CHANGE:
        command = ["train", event.name, "--resume", run.run_id]
    if not command:
        raise WorkspaceError(f"run '{run.run_id}': it is not known how it was begun; start a new one")
    with one_at_a_time(event.path):
        refuse_beside(event, "preparation", "runs")
        _start(command, run.path, report.algorithm, "Training", remember=arguments)


@writers_only
def _start_run(event: Event, verb: str, algorithm: str, options: Sequence[str]) -> Run:
    with one_at_a_time(event.path):
        refuse_beside(event, "preparation", "runs")
        run = Run(event.runs_path / new_run_id(algorithm))
        run.path.mkdir(parents=True)
        _start([verb, event.name, "--run-id", run.run_id, *options], run.path, algorithm, "Training")
    return run


def _start(
    arguments: Sequence[str], folder: Path, algorithm: str, title: str = "", *, remember: Sequence[str] | None = None
) -> None:
    start_process(arguments, folder, algorithm=algorithm, title=title, remember=remember)


def reports(event: Event) -> list[RunReport]:
    """All runs of an event, newest first, whoever started them."""
    if not event.runs_path.is_dir():
        return []
    folders = sorted((path for path in event.runs_path.iterdir() if path.is_dir()), reverse=True)
    found = (report_of(Run(folder)) for folder in folders if not folder.name.startswith("."))
    return [report for report in found if report is not None]


def report_of(run: Run) -> RunReport | None:
    """Where a run stands, from its own status and the process that works on it; None for a folder that is no run."""
    work = report_in(run.path)
    try:
        status = run.status()
    except WorkspaceError:
        status = None
    if work is None and status is None:
        return None
    phase = _phase(run, status, work)
    message = status.message if status is not None else ""
    if phase in ("failed", "interrupted") and work is not None:
        message = work.message or message
    return RunReport(
        run=run,
        algorithm=work.job.algorithm if work else run.run_id.split("-", 1)[-1],
        phase=phase,
        step=status.step if status else 0,
        steps=status.steps if status else 0,
        started=work.job.started if work else run.path.stat().st_ctime,
        updated=status.updated if status else (work.updated if work else 0.0),
        message=message,
        work=work,
    )


def _phase(run: Run, status: RunStatus | None, work: JobReport | None) -> Phase:
    alive = (work is not None and work.active) or (status is not None and status.alive)
    if status is not None and status.state == "finished" and run.finished:
        return "finished"
    if alive and work is not None and work.state == "stopping":
        return "stopping"
    if not alive:
        if was_stopped(run.path) or (status is not None and status.state == "cancelled"):
            return "cancelled"
        if work is None:  # started from a shell
            return "interrupted" if status is not None and status.state == "trained" else "failed"
        return "failed" if work.state in ("done", "failed") else "interrupted"
    if status is None or status.state in ("queued", "cancelled") or (status.state == "running" and status.step == 0):
        return "preparing"
    return "predicting" if status.state in ("trained", "finished") else "training"


@writers_only
def cancel(run: Run) -> None:
    """Ask the run's process to stop, and return at once; what was saved is kept. Asked again, it is ended by force."""

    def note() -> None:
        status = run.status() if run.status_path.exists() else None
        if status is not None and status.state in ("queued", "running", "failed") and not status.alive:
            run.set_status("cancelled", step=status.step, steps=status.steps, message="stopped in the app")

    stop_process(run.path, then=note)


@writers_only
def delete(event: Event, run: Run) -> None:
    """Delete a run that is not at work, with its predictions; products that were handed over stay.

    Raises:
        WorkspaceError: it is at work, or gone.
    """
    with one_at_a_time(event.path):
        report = report_of(run)
        if report is not None and report.active:
            raise WorkspaceError("this run is at work; stop it first")
        delete_run(run)
