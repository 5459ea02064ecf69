"""A run on disk: its folder, its state, what it wrote; the runs of an event. Needs no torch: the app watches runs."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.files import damage_named, read_json, storage_errors, write_json
from damage_ssl.learning.training_folder import State, TrainingFolder
from damage_ssl.progress import process_runs, process_start_of

_NAME = re.compile(r"\w[\w.-]*")

ENSEMBLE_FILE = "ensemble.json"
"""In the folder of a run that averages others: which."""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """Where a run stands. `step` of `steps`; `updated` is seconds since the epoch; `message` is for the user."""

    state: State
    step: int
    steps: int
    updated: float
    pid: int | None = None
    message: str = ""
    process_start: str | None = None

    @property
    def alive(self) -> bool:
        """True while the process that works on the run is there."""
        if self.state not in ("queued", "running", "trained") or self.pid is None:
            return False
        return process_runs(self.pid, self.process_start)


@dataclass(frozen=True)
class Run(TrainingFolder):
    """The folder `<event>/runs/<run_id>`.

    Examples:
        >>> run.status().step
        2
        >>> "loss" in run.metrics()[-1]
        True
    """

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def settings_path(self) -> Path:
        """Train and split settings, scheme, label counts (JSON)."""
        return self.path / "settings.json"

    @property
    def predictions_path(self) -> Path:
        """Parquet table: building_id, one probability a class, p_damaged, uncertainty."""
        return self.path / "predictions.parquet"

    @property
    def calibration_path(self) -> Path:
        """Threshold and temperature from the validation blocks."""
        return self.path / "calibration.json"

    @property
    def cross_fitted_path(self) -> Path:
        """Parquet table of labels: building_id, class_index, fold, raw probabilities without the labels of the fold."""
        return self.path / "cross_fitted.parquet"

    @property
    def stack_path(self) -> Path:
        """What the spatial stack was found to be, and the calibration of the images alone (JSON)."""
        return self.path / "spatial_stack.json"

    @property
    def status_path(self) -> Path:
        return self.path / "status.json"

    @property
    def finished(self) -> bool:
        """True where weights, calibration and predictions are all there."""
        return self.status().state == "finished" and self.calibration_path.exists() and self.predictions_path.exists()

    @property
    def patches_fingerprint(self) -> str | None:
        """That of the patches that the run was planned for; None where it does not say."""
        try:
            return read_json(self.settings_path)["patches_fingerprint"] or None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def has_weights(self) -> bool:
        """True for a trained run or an ensemble of such, False for one that compared pre and post without labels."""
        return self.checkpoint_path.exists() or (self.path / ENSEMBLE_FILE).exists()

    @property
    def begun(self) -> int:
        """When the run was planned: nanoseconds since the epoch. Its name need not tell."""
        path = self.settings_path if self.settings_path.exists() else self.path
        return path.stat().st_mtime_ns

    def status(self) -> RunStatus:
        """The last written state; a run whose process has gone, or whose state cannot be read, reads as failed."""
        if not self.status_path.exists():
            raise WorkspaceError(f"{self.path}: is not a run (no status.json)")
        try:
            with damage_named(
                self.status_path,
                f"write it anew with damage-ssl train {self.path.parents[1].name} --resume {self.run_id}",
            ):
                status = RunStatus(**read_json(self.status_path))
        except WorkspaceError as error:
            written = self.status_path.stat().st_mtime
            return RunStatus(state="failed", step=0, steps=0, updated=written, message=str(error))
        if status.state in ("queued", "running") and not status.alive:
            return RunStatus(
                **{**asdict(status), "state": "failed", "message": "the training process ended unexpectedly"}
            )
        return status

    def set_status(self, state: State, *, step: int, steps: int, message: str = "", pid: int | None = None) -> None:
        """Record where the run stands, atomically."""
        worker = pid or os.getpid()
        status = RunStatus(
            state=state,
            step=step,
            steps=steps,
            updated=time.time(),
            pid=worker,
            message=message,
            process_start=process_start_of(worker),
        )
        write_json(self.status_path, asdict(status))

    def reached(self) -> tuple[int, int]:
        """The last step that was recorded, and of how many."""
        if not self.status_path.exists():
            return 0, 0
        status = self.status()
        return status.step, status.steps


def new_run_id(algorithm: str) -> str:
    """A readable, sortable name: UTC time to the millisecond and the algorithm."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")[:-3] + f"-{algorithm}"


def runs_in(folder: Path) -> Iterator[Run]:
    """All runs of an event, oldest first."""
    if folder.is_dir():
        runs = [Run(path) for path in sorted(folder.iterdir()) if (path / "status.json").exists()]
        yield from sorted(runs, key=lambda run: run.begun)


def delete_run(run: Run) -> None:
    """Delete a run with all that it wrote; what was handed over of it stays. It is gone at once or not at all.

    Raises:
        WorkspaceError: there is no such run, or it is being worked on. StorageError: it may not be deleted.
    """
    if not run.path.is_dir():
        raise WorkspaceError(f"{run.path}: is not a run; it may have been deleted already")
    if run.status_path.exists() and run.status().alive:
        raise WorkspaceError(f"run '{run.run_id}': is being worked on right now; stop it first")
    with storage_errors(run.path):
        waste = Path(tempfile.mkdtemp(prefix=".deleted-", dir=run.path.parent))
        run.path.rename(waste / run.run_id)
        shutil.rmtree(waste, ignore_errors=True)


def run_called(event: Event, run_id: str) -> Run:
    """The run that has this name, or would have it: a folder of its own among the event's runs, never anywhere else.

    Raises:
        InputError: it is not a name for a run.
    """
    if not _NAME.fullmatch(run_id):
        raise InputError(f"run '{run_id}': a run's name is letters, digits, '_', '.' and '-', the first no '.' or '-'")
    return Run(event.runs_path / run_id)


def named_run(event: Event, run_id: str) -> Run:
    """The run of this name; which one is taken without a name, `best.best_run` says.

    Raises:
        InputError: it is not a name for a run. WorkspaceError: there is no such run, or it has not finished.
    """
    run = run_called(event, run_id)
    if not run.status_path.exists():
        known = ", ".join(each.run_id for each in runs_in(event.runs_path)) or "none yet"
        raise WorkspaceError(f"run '{run_id}': is not a run of event '{event.name}'; its runs: {known}")
    if not run.checkpoint_path.exists() and not run.finished:
        raise WorkspaceError(f"run '{run_id}': has not finished ({run.status().state}); go on with damage-ssl train")
    return run


def refuse_if_alive(run: Run) -> None:
    """Raises WorkspaceError where another process is training the run."""
    if run.status().alive and run.status().pid != os.getpid():
        raise WorkspaceError(
            f"run '{run.run_id}': is being trained right now (process {run.status().pid}); wait or stop it"
        )
