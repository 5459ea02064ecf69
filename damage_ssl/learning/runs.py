"""One training run on disk: its folder, its state, what it wrote. Needs no torch, so that the app can watch runs."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from damage_ssl.errors import WorkspaceError
from damage_ssl.files import read_json, storage_errors, write_json

State = Literal["queued", "running", "finished", "failed", "cancelled"]


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """Where a run stands. `step` of `steps`; `updated` is seconds since the epoch; `message` is for the user."""

    state: State
    step: int
    steps: int
    updated: float
    pid: int | None = None
    message: str = ""

    @property
    def alive(self) -> bool:
        """True while the process that trains is there."""
        if self.state not in ("queued", "running") or self.pid is None:
            return False
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        stat = Path(f"/proc/{self.pid}/stat")
        return not (stat.exists() and stat.read_text().rsplit(")", 1)[-1].split()[0] == "Z")


@dataclass(frozen=True)
class Run:
    """The folder `<event>/runs/<run_id>`."""

    path: Path

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def settings_path(self) -> Path:
        """Train and split settings, scheme, label counts (JSON)."""
        return self.path / "settings.json"

    @property
    def checkpoint_path(self) -> Path:
        """The final weights; a JSON beside it says what they are."""
        return self.path / "model.safetensors"

    @property
    def predictions_path(self) -> Path:
        """Parquet table: building_id, one probability a class, p_damaged, uncertainty."""
        return self.path / "predictions.parquet"

    @property
    def calibration_path(self) -> Path:
        """Threshold and temperature from the validation blocks."""
        return self.path / "calibration.json"

    @property
    def metrics_path(self) -> Path:
        """One JSON object a line while training: step, loss, its parts, mask rate, validation score."""
        return self.path / "metrics.jsonl"

    @property
    def status_path(self) -> Path:
        return self.path / "status.json"

    def status(self) -> RunStatus:
        """The last written state; a run whose process has gone reads as failed."""
        if not self.status_path.exists():
            raise WorkspaceError(f"{self.path}: is not a run (no status.json)")
        status = RunStatus(**read_json(self.status_path))
        if status.state == "running" and not status.alive:
            return RunStatus(
                **{**asdict(status), "state": "failed", "message": "the training process ended unexpectedly"}
            )
        return status

    def set_status(self, state: State, *, step: int, steps: int, message: str = "", pid: int | None = None) -> None:
        """Record where the run stands, atomically."""
        status = RunStatus(
            state=state, step=step, steps=steps, updated=time.time(), pid=pid or os.getpid(), message=message
        )
        write_json(self.status_path, asdict(status))

    def log_metrics(self, values: dict[str, Any]) -> None:
        """Append one line to `metrics.jsonl`."""
        with storage_errors(self.metrics_path), self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values, allow_nan=False) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All complete lines of `metrics.jsonl`."""
        if not self.metrics_path.exists():
            return []
        lines = self.metrics_path.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines if line]


def new_run_id(algorithm: str) -> str:
    """A readable, sortable name: UTC time to the millisecond and the algorithm."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")[:-3] + f"-{algorithm}"


def runs_in(folder: Path) -> Iterator[Run]:
    """All runs of an event, oldest first."""
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if (path / "status.json").exists():
                yield Run(path)


def latest_finished(folder: Path) -> Run:
    """The newest run that is finished and has predicted.

    Raises:
        WorkspaceError: there is none yet.
    """
    finished = [run for run in runs_in(folder) if run.status().state == "finished" and run.predictions_path.exists()]
    if not finished:
        raise WorkspaceError(f"{folder}: no finished run; train one with `damage-ssl train`")
    return finished[-1]
