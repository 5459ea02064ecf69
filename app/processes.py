"""One long piece of work in a process of its own: started, watched and stopped from here, and alive without any page.

All there is to know of it lies in its folder: `job.json` (the process), `progress.json` (what it says of itself),
`ended.json` (the exit code, from the app that started it), `stopped.json` (that it was asked to stop) and `log.txt`,
which is for people only. So every page of every browser sees the same, also after the app or the machine was started
anew.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from app.workspace import workspace_path
from damage_ssl.errors import StorageError
from damage_ssl.files import read_json, write_json
from damage_ssl.learning.runs import machine_start, process_runs, process_start_of
from damage_ssl.progress import VARIABLE, Progress, read_progress, write_progress

_LOG_TAIL_BYTES = 6000
_STOP_WITHIN_S = 15.0
_BAR = "━╸╺"  # what progress bars are drawn with
_INTERRUPTED = "it was interrupted: {}. What was finished is kept."
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_WAITER_WITHIN_S = 1.0
_CODES: dict[tuple[int, str | None], int] = {}  # exit codes of what this app started, also where no disk took them

State = Literal["running", "stopping", "done", "failed", "stopped", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A process that works on something; `form` is what the analyst asked for, to show it again.

    `pid` is 0 while it is being started by the app `starter`. `process_start` tells it from another process that the
    system gave the same number since; its command line does not, which is empty for a moment after the start.
    """

    pid: int
    started: float
    name: str
    algorithm: str = ""
    title: str = ""
    arguments: Sequence[str] = ()
    process_start: str | None = None
    form: Mapping[str, Any] = field(default_factory=dict)
    starter: int = 0
    starter_start: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobReport:
    """Work as the pages show it: `done` of `total` in its `stage`, seconds left where that is known, and its error.

    `interrupted`: its process is gone and left no word, as when the machine was switched off or the process killed;
    the message says which of these, where that is known.
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

    Raises:
        StorageError: the disk has no room for what is to be known of the work; nothing was started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    job = Job(
        pid=0,
        started=time.time(),
        name=folder.name,
        algorithm=algorithm,
        title=title,
        arguments=list(arguments if remember is None else remember),
        form=dict(form or {}),
        starter=os.getpid(),
        starter_start=process_start_of(os.getpid()),
    )
    path = folder / "job.json"
    before = path.read_bytes() if path.exists() else None
    write_json(path, asdict(job))  # first of all: who looks now must not judge the former work by the files of this one
    process = None
    try:
        for name in ("stopped.json", "ended.json"):
            (folder / name).unlink(missing_ok=True)
        write_progress(folder / "progress.json", Progress(stage_started=job.started, updated=job.started))
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
        job = replace(job, pid=process.pid, process_start=process_start_of(process.pid))
        write_json(path, asdict(job))
    except BaseException:
        if process is not None:  # nobody would know of it
            _signal(replace(job, pid=process.pid), signal.SIGKILL)
            process.wait()
        path.unlink(missing_ok=True)
        if before is not None:
            with contextlib.suppress(OSError):
                path.write_bytes(before)
        raise
    # Without a waiter the ended process would stay a zombie.
    threading.Thread(target=_wait_for, args=(process, job, folder), daemon=True).start()


def _wait_for(process: "subprocess.Popen[bytes]", job: Job, folder: Path) -> None:
    """Keep the exit code of a process: of one that was killed it is the only word."""
    code = process.wait()
    _CODES[job.pid, job.process_start] = code
    text = json.dumps({"code": code, "time": time.time(), "pid": job.pid, "process_start": job.process_start})
    with contextlib.suppress(OSError):  # the disk is full, or the folder was deleted, which must not bring it back
        temporary = folder / f".ended.json.{job.pid}.tmp"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(folder / "ended.json")


def _code_of(job: Job, folder: Path) -> int | None:
    """The exit code of a process that has ended, as far as the app that started it was there to see it."""
    deadline = time.monotonic() + _WAITER_WITHIN_S
    while True:
        if (code := _CODES.get((job.pid, job.process_start))) is not None:
            return code
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            said = read_json(folder / "ended.json")
            if (said["pid"], said["process_start"]) == (job.pid, job.process_start):
                return int(said["code"])
        watched = bool(job.pid and job.starter) and process_runs(job.starter, job.starter_start)
        if not watched or time.monotonic() > deadline:
            return None
        time.sleep(0.01)  # it is being written


def clear(folder: Path) -> None:
    """Delete a job's folder, all of it in one moment for whoever looks."""
    if folder.is_dir():
        waste = Path(tempfile.mkdtemp(prefix=".deleted-", dir=folder.parent))
        with contextlib.suppress(FileNotFoundError):  # another window was quicker
            folder.rename(waste / folder.name)
        shutil.rmtree(waste, ignore_errors=True)


def job_in(folder: Path) -> Job | None:
    """The job that was last started for a folder."""
    path = folder / "job.json"
    try:
        return Job(**read_json(path))
    except FileNotFoundError:
        return None


def is_alive(job: Job) -> bool:
    """True while the job's own process runs, or is being started.

    A number that the system gave to another process since does not count.
    """
    if job.pid <= 0:
        return job.starter > 0 and process_runs(job.starter, job.starter_start)
    if not process_runs(job.pid, job.process_start):
        return False
    if job.process_start is not None:
        return True
    try:
        return b"damage_ssl" in Path(f"/proc/{job.pid}/cmdline").read_bytes()
    except OSError:
        return not Path("/proc/self").exists()  # a system without /proc: the number has to do


def report_in(folder: Path) -> JobReport | None:
    """Where the work of a folder stands; None where none was ever started."""
    job = job_in(folder)
    while job is not None:
        report = _report(folder, job)
        now = job_in(folder)
        if now == job:
            return report
        job = now  # it was started anew, or cleared away, while its files were read
    return None


def _report(folder: Path, job: Job) -> JobReport:
    alive = is_alive(job)  # before its last word is read, which may come until then
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
        state, message = _without_word(job, folder)
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


def _without_word(job: Job, folder: Path) -> tuple[State, str]:
    """What became of a process that is gone and has not said how it ended."""
    if job.pid <= 0:
        return "interrupted", _INTERRUPTED.format("the app ended when it was about to begin this")
    began_in = (job.process_start or "").partition("@")[2]
    if began_in and began_in != machine_start():
        return "interrupted", _INTERRUPTED.format("the machine was switched off or started anew")
    code = _code_of(job, folder)
    if code is None:
        return "interrupted", _INTERRUPTED.format(
            "its process is gone without a word: it was killed, the machine was switched off, or memory ran out"
        )
    if code == 0:
        return "done", ""
    if code > 0:
        return "failed", f"it ended unexpectedly (exit code {code}). The log has the details"
    number = next((each for each in signal.Signals if each == -code), None)
    name = number.name if number is not None else f"signal {-code}"
    if number == signal.SIGKILL:
        return "interrupted", _INTERRUPTED.format("its process was killed, as the system does when memory runs out")
    if number in _FROM_OUTSIDE:
        return "interrupted", _INTERRUPTED.format(f"its process was ended from outside ({name})")
    return "failed", f"it crashed ({name}). The log has the details"


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
    deadline = time.monotonic() + _WAITER_WITHIN_S
    while job is not None and job.pid <= 0 and is_alive(job) and time.monotonic() < deadline:
        time.sleep(0.01)  # it is being started
        job = job_in(folder)
    again = was_stopped(folder)
    with contextlib.suppress(StorageError):  # on a full disk the process itself says that it was stopped
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
    if job.pid <= 0:
        return
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
