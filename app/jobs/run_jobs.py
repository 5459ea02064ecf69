"""Trainings and first maps: begun, gone on with, stopped, deleted."""

from collections.abc import Sequence

from app.auth.people import writers_only
from app.jobs import job
from app.jobs.event_jobs import refuse_beside
from app.jobs.job import one_at_a_time
from app.jobs.run_reports import RunReport, report_of
from damage_ssl.errors import WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.runs.change_score import CHANGE_SCORE
from damage_ssl.runs.run import Run, delete_run, new_run_id


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
    return _start_run(event, "zero-label", CHANGE_SCORE.name, [])


@writers_only
def go_on(event: Event, report: RunReport) -> None:
    """Go on with a run that was stopped or interrupted, as it was begun.

    Raises:
        WorkspaceError: other work on the event is going on, or the run cannot be gone on with.
    """
    run = report.run
    arguments = report.work.job.arguments if report.work is not None else ()
    command = list(arguments)
    if run.settings_path.exists() and report.kind.learns:
        command = ["train", event.name, "--resume", run.run_id]
    if not command:
        raise WorkspaceError(f"run '{run.run_id}': it is not known how it was begun; start a new one")
    with one_at_a_time(event.path):
        refuse_beside(event, "preparation", "runs")
        job.start(command, run.path, algorithm=report.algorithm, title="Training", remember=arguments)


@writers_only
def _start_run(event: Event, verb: str, algorithm: str, options: Sequence[str]) -> Run:
    with one_at_a_time(event.path):
        refuse_beside(event, "preparation", "runs")
        run = Run(event.runs_path / new_run_id(algorithm))
        run.path.mkdir(parents=True)
        command = [verb, event.name, "--run-id", run.run_id, *options]
        job.start(command, run.path, algorithm=algorithm, title="Training")
    return run


@writers_only
def cancel(run: Run) -> None:
    """Ask the run's process to stop, and return at once; what was saved is kept. Asked again, it is ended by force."""

    def note() -> None:
        status = run.status() if run.status_path.exists() else None
        if status is not None and status.state in ("queued", "running", "failed") and not status.alive:
            run.set_status("cancelled", step=status.step, steps=status.steps, message="stopped in the app")

    job.stop(run.path, then=note)


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
