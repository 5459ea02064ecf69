"""Long work in processes of its own: started, watched and stopped from here, and alive without any open page."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from app.workspace import workspace_path
from damage_ssl.assessment.change import ALGORITHM as CHANGE
from damage_ssl.errors import WorkspaceError
from damage_ssl.event.catalog import Event
from damage_ssl.files import read_json, write_json
from damage_ssl.learning.runs import Run, RunStatus, new_run_id

_LOG_TAIL_BYTES = 6000
_STOP_WITHIN_S = 15.0

Phase = Literal["preparing", "training", "predicting", "finished", "failed", "cancelled"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A process that works on an event; written beside its log so that every page and every restart finds it."""

    pid: int
    started: float
    name: str
    algorithm: str = ""


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """A run as the pages show it: `phase`, `step` of `steps`, when it began and last moved, a message if it failed."""

    run: Run
    algorithm: str
    phase: Phase
    step: int
    steps: int
    started: float
    updated: float
    message: str

    @property
    def active(self) -> bool:
        """True while its process works."""
        return self.phase in ("preparing", "training", "predicting")


def start_training(event: Event, algorithm: str, options: Sequence[str] = ()) -> Run:
    """Start `damage-ssl train` in a session of its own and return its run."""
    run = Run(event.runs_path / new_run_id(algorithm))
    run.path.mkdir(parents=True)
    command = ["train", event.name, "--run-id", run.run_id, "--algorithm", algorithm, *options]
    _start(command, run.path, algorithm)
    return run


def start_first_map(event: Event) -> Run:
    """Start `damage-ssl zero-label`: compare pre and post of every building, without labels; return its run."""
    run = Run(event.runs_path / new_run_id(CHANGE))
    run.path.mkdir(parents=True)
    _start(["zero-label", event.name, "--run-id", run.run_id], run.path, CHANGE)
    return run


def start_preparation(event: Event) -> None:
    """Start `damage-ssl patches`: cut the pairs of an event."""
    _prepare(event, ["patches", event.name])


def start_detection(event: Event) -> None:
    """Start `damage-ssl footprints detect`: find the buildings of an event that has no footprints."""
    _prepare(event, ["footprints", "detect", event.name])


def preparing(event: Event) -> bool:
    """True while pairs are cut or buildings looked for."""
    job = job_in(preparation_folder(event))
    return job is not None and is_alive(job)


def preparation_error(event: Event, *, has_result: bool) -> str | None:
    """What the last preparation failed with; None where it is running, succeeded or never began.

    Without a result, one that ended has failed, even if it left no word of why.
    """
    folder = preparation_folder(event)
    if job_in(folder) is None or preparing(event):
        return None
    log = log_tail(folder)
    if error := _error_in(log):
        return error
    if has_result and "Traceback" not in log:
        return None
    return f"it ended unexpectedly. {log.splitlines()[-1] if log else ''}".rstrip()


def _prepare(event: Event, command: Sequence[str]) -> None:
    folder = preparation_folder(event)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.txt").unlink(missing_ok=True)
    _start(command, folder, "")


def preparation_folder(event: Event) -> Path:
    """Where the job that cuts the pairs keeps its log."""
    return event.path / "preparation"


def _start(arguments: Sequence[str], folder: Path, algorithm: str) -> None:
    command = [sys.executable, "-m", "damage_ssl", *arguments, "--workspace", str(workspace_path())]
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    write_json(
        folder / "job.json", asdict(Job(pid=process.pid, started=time.time(), name=folder.name, algorithm=algorithm))
    )
    # Without a waiter the ended process would stay a zombie, which still looks alive.
    threading.Thread(target=process.wait, daemon=True).start()


def job_in(folder: Path) -> Job | None:
    """The job that was last started for a folder."""
    path = folder / "job.json"
    return Job(**read_json(path)) if path.exists() else None


def is_alive(job: Job) -> bool:
    """True while the job's own process runs; a number that the system gave to another process since does not count."""
    try:
        os.kill(job.pid, 0)
    except OSError:
        return False
    process = Path(f"/proc/{job.pid}")
    try:
        ended = (process / "stat").read_text().rsplit(")", 1)[-1].split()[0] == "Z"
        return not ended and b"damage_ssl" in (process / "cmdline").read_bytes()
    except OSError:
        return not Path("/proc/self").exists()  # a system without /proc: the number has to do


def log_tail(folder: Path) -> str:
    """The last lines that a job printed, without the frames of its progress bar."""
    path = folder / "log.txt"
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    return "\n".join(line.rsplit("\r", 1)[-1].rstrip() for line in text.splitlines() if line.strip())


def reports(event: Event) -> list[RunReport]:
    """All runs of an event, newest first, whoever started them."""
    if not event.runs_path.is_dir():
        return []
    folders = sorted((path for path in event.runs_path.iterdir() if path.is_dir()), reverse=True)
    found = (report_of(Run(folder)) for folder in folders if not folder.name.startswith("."))
    return [report for report in found if report is not None]


def report_of(run: Run) -> RunReport | None:
    """Where a run stands, from its own status and the process that works on it; None for a folder that is no run."""
    job = job_in(run.path)
    try:
        status = run.status()
    except WorkspaceError:
        status = None
    if job is None and status is None:
        return None
    alive = (job is not None and is_alive(job)) or (status is not None and status.alive)
    phase = _phase(run, status, alive, stopped=(run.path / "stopped.json").exists())
    message = status.message if status is not None else ""
    if phase == "failed" and job is not None:
        log = log_tail(run.path)
        message = _error_in(log) or f"The training process ended unexpectedly. {log.splitlines()[-1] if log else ''}"
    return RunReport(
        run=run,
        algorithm=job.algorithm if job else run.run_id.split("-", 1)[-1],
        phase=phase,
        step=status.step if status else 0,
        steps=status.steps if status else 0,
        started=job.started if job else run.path.stat().st_ctime,
        updated=status.updated if status else (job.started if job else 0.0),
        message=message,
    )


def _phase(run: Run, status: RunStatus | None, alive: bool, *, stopped: bool) -> Phase:
    if status is not None and status.state == "finished" and run.finished:
        return "finished"
    if status is not None and status.state == "cancelled":
        return "cancelled"
    if not alive:
        return "cancelled" if stopped else "failed"
    if status is None or status.state == "queued" or (status.state == "running" and status.step == 0):
        return "preparing"
    return "predicting" if status.state in ("trained", "finished") else "training"


def _error_in(log: str) -> str:
    """The user's message in a log: what follows the last line that begins with `error`."""
    lines = log.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("error ")]
    return " ".join(lines[starts[-1] :])[len("error ") :].strip() if starts else ""


def cancel(run: Run) -> None:
    """Ask the run's process to stop, and end it if it does not within a few seconds; what was saved is kept."""
    job = job_in(run.path)
    write_json(run.path / "stopped.json", {"time": time.time()})
    if job is None or not is_alive(job):
        return
    for number, wait_s in ((signal.SIGTERM, _STOP_WITHIN_S), (signal.SIGKILL, 2.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, number)
        deadline = time.monotonic() + wait_s
        while is_alive(job) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not is_alive(job):
            break
    if run.status_path.exists() and not run.finished:
        status = run.status()
        run.set_status("cancelled", step=status.step, steps=status.steps, message="stopped in the app", pid=job.pid)
