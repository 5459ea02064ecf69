"""Where runs stand, whoever started them: what each wrote of itself, with the job that works on it."""

from dataclasses import dataclass
from typing import Literal

from app.jobs.job import JobReport, report_in, was_stopped
from damage_ssl.errors import WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.runs.kinds import kind_of
from damage_ssl.runs.model import RunKind
from damage_ssl.runs.run import Run, RunStatus

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
    def kind(self) -> RunKind:
        """What the run is."""
        return kind_of(self.algorithm)

    @property
    def active(self) -> bool:
        """True while its process works."""
        return self.phase in _ACTIVE

    @property
    def resumable(self) -> bool:
        """True where it was stopped, or ended before it was done, and can be gone on with."""
        began = self.run.settings_path.exists() or (self.work is not None and bool(self.work.job.arguments))
        return began and self.phase in ("cancelled", "interrupted", "failed")


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
        updated=status.updated if status else (work.said.updated if work else 0.0),
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
        cancelled = status is not None and status.state == "cancelled"
        if was_stopped(run.path) or (cancelled and (work is None or work.state != "interrupted")):
            return "cancelled"
        if work is None:  # started from a shell
            return "interrupted" if status is not None and status.state == "trained" else "failed"
        return "failed" if work.state in ("done", "failed") else "interrupted"
    if status is None or status.state in ("queued", "cancelled") or (status.state == "running" and status.step == 0):
        return "preparing"
    return "predicting" if status.state in ("trained", "finished") else "training"
