"""One long piece of work in a process of its own: started, watched and stopped from here, and alive without any page.

All there is to know of it lies in its folder: `job.json` (the process), `progress.json` (what it says of itself),
`stopped.json` (that it was asked to stop) and `log.txt`. So every page of every browser sees the same, also after the
app or the machine was started anew.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from app.state.configuration import workspace_path
from damage_ssl.files import read_json, write_json
from damage_ssl.progress import VARIABLE, process_start_of, read_progress

_LOG_TAIL_BYTES = 6000
_STOP_WITHIN_S = 15.0
_BAR = "━╸╺"  # what progress bars are drawn with
_INTERRUPTED = "it was interrupted: the machine was switched off, or ran out of memory. What was finished is kept."

State = Literal["running", "stopping", "done", "failed", "stopped", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A process that works on something; `form` is what the analyst asked for, to show it again."""

    pid: int
    started: float
    name: str
    algorithm: str = ""
    title: str = ""
    arguments: Sequence[str] = ()
    process_start: str | None = None
    form: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class JobReport:
    """Work as the pages show it: `done` of `total` in its `stage`, seconds left where that is known, and its error.

    `interrupted`: its process is gone and left no word, as when the machine was switched off.
    """

    folder: Path
    job: Job
    state: State
    stage: str
    done: int
    total: int
    seconds_left: float | None
    updated: float
    message: str

    @property
    def active(self) -> bool:
        """True while its process is there."""
        return self.state in ("running", "stopping")


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold a folder's lock: of two windows that start the same work at once, one finds that it is started."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".jobs.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file lets go


def start(
    arguments: Sequence[str],
    folder: Path,
    *,
    algorithm: str = "",
    title: str = "",
    form: Mapping[str, Any] | None = None,
    remember: Sequence[str] | None = None,
) -> None:
    """Start a command of `damage-ssl` in a session of its own.

    Args:
        arguments: the command, without its workspace.
        folder: where it keeps its files; its log is gone on with.
        algorithm: of a run.
        title: what it does, for people.
        form: what the analyst asked for.
        remember: the command to keep for doing it once more, where that is another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("stopped.json", "progress.json"):
        (folder / name).unlink(missing_ok=True)
    command = [sys.executable, "-m", "damage_ssl", *arguments, "--workspace", str(workspace_path())]
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, VARIABLE: str(folder / "progress.json")},
        )
    job = Job(
        pid=process.pid,
        started=time.time(),
        name=folder.name,
        algorithm=algorithm,
        title=title,
        arguments=list(arguments if remember is None else remember),
        process_start=process_start_of(process.pid),
        form=dict(form or {}),
    )
    write_json(folder / "job.json", asdict(job))
    # Without a waiter the ended process would stay a zombie, which still looks alive.
    threading.Thread(target=process.wait, daemon=True).start()


def job_in(folder: Path) -> Job | None:
    """The job that was last started for a folder."""
    path = folder / "job.json"
    try:
        return Job(**read_json(path))
    except FileNotFoundError:
        return None


def is_alive(job: Job) -> bool:
    """True while the job's own process runs; a number that the system gave to another process since does not count."""
    try:
        os.kill(job.pid, 0)
    except OSError:
        return False
    if job.process_start is not None and process_start_of(job.pid) != job.process_start:
        return False
    process = Path(f"/proc/{job.pid}")
    try:
        ended = (process / "stat").read_text().rsplit(")", 1)[-1].split()[0] == "Z"
        return not ended and b"damage_ssl" in (process / "cmdline").read_bytes()
    except OSError:
        return not Path("/proc/self").exists()  # a system without /proc: the number has to do


def report_in(folder: Path) -> JobReport | None:
    """Where the work of a folder stands; None where none was ever started."""
    job = job_in(folder)
    if job is None:
        return None
    alive = is_alive(job)
    said = read_progress(folder / "progress.json")
    asked = was_stopped(folder)
    message = ""
    if alive:
        state: State = "stopping" if asked else "running"
    elif said is not None and said.state != "running":
        state, message = said.state, said.message
    elif asked:
        state = "stopped"
    else:
        log = log_tail(folder)
        state, message = "failed", error_in(log)
        if not message and "Traceback" in log:
            message = f"it ended unexpectedly. {log.splitlines()[-1]}"
        elif not message:
            state, message = "interrupted", _INTERRUPTED
    return JobReport(
        folder=folder,
        job=job,
        state=state,
        stage=said.stage if said else "",
        done=said.done if said else 0,
        total=said.total if said else 0,
        seconds_left=said.seconds_left if said and alive else None,
        updated=said.updated if said else job.started,
        message=message,
    )


def was_stopped(folder: Path) -> bool:
    """Whether the work was asked to stop since it was last started."""
    return (folder / "stopped.json").exists()


def stop(folder: Path, then: Callable[[], None] | None = None) -> None:
    """Ask the work to stop, and return at once; it is ended by force if it does not within some seconds.

    Args:
        folder: its folder.
        then: called once it has ended.
    """
    job = job_in(folder)
    again = was_stopped(folder)
    write_json(folder / "stopped.json", {"time": time.time()})
    if job is None or not is_alive(job):
        if then is not None:
            then()
        return
    _signal(job, signal.SIGKILL if again else signal.SIGTERM)
    threading.Thread(target=_end, args=(job, then), daemon=True).start()


def _end(job: Job, then: Callable[[], None] | None) -> None:
    for number, wait_s in ((signal.SIGKILL, _STOP_WITHIN_S), (None, 2.0)):
        deadline = time.monotonic() + wait_s
        while is_alive(job) and time.monotonic() < deadline:
            time.sleep(0.05)
        if is_alive(job) and number is not None:
            _signal(job, number)
    if then is not None:
        then()


def _signal(job: Job, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(job.pid, number)


def log_tail(folder: Path) -> str:
    """The last lines that a job printed, without its progress bars."""
    path = folder / "log.txt"
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    lines = (line.rsplit("\r", 1)[-1].rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not any(sign in line for sign in _BAR))


def error_in(log: str) -> str:
    """The user's message in a log: what follows the last line that begins with `error`."""
    lines = log.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("error ")]
    return " ".join(lines[starts[-1] :])[len("error ") :].strip() if starts else ""


def start_job(
    arguments: Sequence[str], folder: Path, algorithm: str, title: str = "", *, remember: Sequence[str] | None = None
) -> None:
    """Start a command of the command line that works on the run in `folder`."""
    start(arguments, folder, algorithm=algorithm, title=title, remember=remember)
