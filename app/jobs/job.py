"""One long piece of work in a process of its own: started, watched and stopped from here, and alive without any page.

All there is to know of it lies in its folder: `job.json` (the process and what was asked of it), `progress.json` (its
state: how far it is, how it ended, what to do), `stopped.json` (that it was asked to stop) and `log.txt`, which is for
people only. So every page of every browser sees the same, also after the app or the machine was started anew.

`progress.json` is written before the process is up by whoever starts it, then by the process, and after its end by the
app that started it, where the process could not say itself how it ended.
"""

import contextlib
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

from app.state.configuration import workspace_path
from damage_ssl.errors import StorageError, WorkspaceError
from damage_ssl.files import locked, write_json
from damage_ssl.processes import (
    apart,
    command_line_of,
    end_process,
    machine_start,
    memory_kills,
    process_runs,
    process_start_of,
)
from damage_ssl.progress import VARIABLE, ProgressState, begun, read_progress, write_progress
from damage_ssl.progress import State as Ended
from damage_ssl.records import read_record

_LOG_TAIL_BYTES = 6000
_STOP_WITHIN_S = 15.0
_WORD_WITHIN_S = 1.0
_BAR = "━╸╺"  # what progress bars are drawn with
_FROM_OUTSIDE = ("SIGTERM", "SIGINT", "SIGHUP")
_GO_ON = "what was finished is kept; start it again"
_SEE_LOG = "the log has the details"

State = Ended | Literal["stopping"]
End = tuple[Ended, str, str]
"""A state, what went wrong and what to do about it."""

_ENDS: dict[tuple[int, str | None], End] = {}  # of processes that this app started, also where no disk took it


@dataclass(frozen=True, kw_only=True)
class Job:
    """A process that works on something; `form` is what the analyst asked for, to show it again.

    `pid` is 0 while it is being started by the app `starter`. `process_start` tells it from another process that the
    system gave the same number since; its command line does not, which is empty for a moment after the start.
    `oom_kills` counts the processes that the system had killed for want of memory by then.
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
    oom_kills: int = 0


@dataclass(frozen=True, kw_only=True)
class JobReport:
    """Work as the pages show it: its state, and what it last said of itself.

    `interrupted`: its process is gone and did not end by itself, as when it was killed or the machine switched off.
    """

    folder: Path
    job: Job
    state: State
    said: ProgressState

    @property
    def active(self) -> bool:
        """True while its process is there."""
        return self.state in ("running", "stopping")

    @property
    def seconds_left(self) -> float | None:
        """Until its present stage is done, where that is known."""
        return self.said.seconds_left if self.active else None

    @property
    def message(self) -> str:
        """What went wrong, and what to do about it; empty where nothing did."""
        return "; ".join(filter(None, (self.said.error, self.said.advice)))


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold a folder's lock: of two windows that start the same work at once, one finds that it is started."""
    with locked(folder / ".jobs.lock"):
        yield


def start(
    arguments: Sequence[str],
    folder: Path,
    *,
    algorithm: str = "",
    title: str = "",
    form: Mapping[str, Any] | None = None,
    remember: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Start a command of `damage-ssl` in a session of its own.

    Args:
        arguments: the command, without its workspace.
        folder: where it keeps its files; its log is gone on with.
        algorithm: of a run.
        title: what it does, for people.
        form: what the analyst asked for.
        remember: the command to keep for doing it once more, where that is another one.
        environment: what it is told beside what this process was.

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
        oom_kills=memory_kills(),
    )
    path = folder / "job.json"
    before = path.read_bytes() if path.exists() else None
    process = None
    # First of all: who looks now must not judge the former work by the files of this one.
    write_json(path, asdict(job))
    try:
        (folder / "stopped.json").unlink(missing_ok=True)
        write_progress(folder / "progress.json", begun())
        command = [sys.executable, "-m", "damage_ssl", *arguments, "--workspace", str(workspace_path())]
        with (folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - no shell reads the words
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **apart(),
                env={**os.environ, **(environment or {}), VARIABLE: str(folder / "progress.json")},
            )
        job = replace(job, pid=process.pid, process_start=process_start_of(process.pid))
        write_json(path, asdict(job))
    except BaseException:
        if process is not None:  # nobody would know of it
            end_process(process.pid, by_force=True)
            process.wait()
        path.unlink(missing_ok=True)
        if before is not None:
            with contextlib.suppress(OSError):
                path.write_bytes(before)
        raise
    # Without a waiter the ended process would stay a zombie.
    threading.Thread(target=_wait_for, args=(process, job, folder), daemon=True).start()


def _wait_for(process: "subprocess.Popen[bytes]", job: Job, folder: Path) -> None:
    """Say of a process how it ended, where it could not say it itself."""
    end = _meaning(process.wait(), short_of_memory=memory_kills() > job.oom_kills)
    if end[0] == "failed" and was_stopped(folder):  # without signals, as on Windows, an exit code says no more
        end = "interrupted", "", ""
    path = folder / "progress.json"
    said = read_progress(path)
    if job_in(folder) == job and said is not None and said.state == "running":
        try:
            write_progress(path, replace(_with(said, end), updated=time.time()))
        except StorageError as error:  # why it failed, too, and could not say it
            what, _, advice = str(error).partition("; ")
            end = ("failed", what, advice) if end[0] == "failed" else end
        except OSError:
            pass
    _ENDS[job.pid, job.process_start] = end


def _meaning(code: int, *, short_of_memory: bool = False) -> End:
    """What an exit code says, which is negative for the signal that ended a process."""
    if code == 0:
        return "done", "", ""
    if code > 0:
        return "failed", f"it ended unexpectedly (exit code {code})", _SEE_LOG
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if name == "SIGKILL" and short_of_memory:
        advice = f"close other programs, or let it use less (memory, workers); {_GO_ON}"
        return "interrupted", "it was interrupted: the system ended it because memory ran out", advice
    if name == "SIGKILL":
        return "interrupted", "it was interrupted: its process was killed (SIGKILL)", _GO_ON
    if name in _FROM_OUTSIDE:
        return "interrupted", f"it was interrupted: its process was ended from outside ({name})", _GO_ON
    return "failed", f"it crashed ({name})", _SEE_LOG


def job_in(folder: Path) -> Job | None:
    """The job that was last started for a folder; None where there was none.

    One of which the record is damaged has neither a process nor anything that was asked of it.
    """
    try:
        return read_record(folder / "job.json", Job, "start the work again")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, WorkspaceError):
        pass
    return Job(pid=0, started=_changed(folder), name=folder.name)


def _changed(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


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
    return "damage_ssl" in command_line_of(job.pid)


def reports_in(parent: Path) -> list[JobReport]:
    """Where the work in the folders of one folder stands, the newest first."""
    found = [report_in(folder) for folder in parent.glob("[!.]*")] if parent.is_dir() else []
    return sorted((report for report in found if report is not None), key=lambda report: -report.job.started)


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
    said = read_progress(folder / "progress.json") or ProgressState(started=job.started, updated=job.started)
    asked = was_stopped(folder)
    if alive:
        return JobReport(folder=folder, job=job, state="stopping" if asked else "running", said=said)
    if said.state == "running" and not asked:
        said = _last_word(folder, job, said)
    if asked and said.state in ("running", "interrupted"):
        said = replace(said, state="stopped", error="", advice="")
    elif said.state == "stopped" and not asked:
        said = _with(said, _meaning(-signal.SIGTERM))
    return JobReport(folder=folder, job=job, state=said.state, said=said)


def _last_word(folder: Path, job: Job, said: ProgressState) -> ProgressState:
    """What became of a process that is gone and has not said how it ended."""
    if job.pid <= 0:
        what = "the app ended when it was about to begin this" if job.starter else "its record (job.json) is damaged"
        return _with(said, ("interrupted", f"it was interrupted: {what}", "start it again"))
    began_in = (job.process_start or "").partition("@")[2]
    if began_in and began_in != machine_start():
        return _with(said, ("interrupted", "it was interrupted: the machine was switched off or started anew", _GO_ON))
    deadline = time.monotonic() + _WORD_WITHIN_S
    while job.starter and process_runs(job.starter, job.starter_start) and time.monotonic() < deadline:
        now = read_progress(folder / "progress.json")
        if now is not None and now.state != "running":
            return now
        if (end := _ENDS.get((job.pid, job.process_start))) is not None:
            return _with(said, end)
        time.sleep(0.01)  # whoever started it is about to say it
    what = "its process is gone without a word: it was killed, the machine was switched off, or memory ran out"
    return _with(said, ("interrupted", f"it was interrupted: {what}", _GO_ON))


def _with(said: ProgressState, end: End) -> ProgressState:
    state, error, advice = end
    return replace(said, state=state, error=error, advice=advice)


def was_stopped(folder: Path) -> bool:
    """Whether the work was asked to stop since it was last started."""
    return (folder / "stopped.json").exists()


def stop(folder: Path, then: Callable[[], None] | None = None) -> None:
    """Ask the work to stop, and return at once; it is ended by force if it does not within some seconds.

    Asked again, it is ended by force at once.

    Args:
        folder: its folder.
        then: called once it has ended.
    """
    job = job_in(folder)
    deadline = time.monotonic() + _WORD_WITHIN_S
    while job is not None and job.pid <= 0 and is_alive(job) and time.monotonic() < deadline:
        time.sleep(0.01)  # it is being started
        job = job_in(folder)
    again = was_stopped(folder)
    (folder / "stopped.json").touch()  # without a byte in it, for which a full disk would have no room
    if job is None or not is_alive(job):
        if then is not None:
            then()
        return
    end_process(job.pid, by_force=again)
    threading.Thread(target=_end, args=(job, then), daemon=True).start()


def _end(job: Job, then: Callable[[], None] | None) -> None:
    for end_it, wait_s in ((True, _STOP_WITHIN_S), (False, 2.0)):
        deadline = time.monotonic() + wait_s
        while is_alive(job) and time.monotonic() < deadline:
            time.sleep(0.05)
        if end_it and is_alive(job):
            end_process(job.pid, by_force=True)
    if then is not None:
        then()


def clear(folder: Path) -> None:
    """Delete a job's folder, all of it in one moment for whoever looks."""
    if folder.is_dir():
        waste = Path(tempfile.mkdtemp(prefix=".deleted-", dir=folder.parent))
        with contextlib.suppress(FileNotFoundError):  # another window was quicker
            folder.rename(waste / folder.name)
        shutil.rmtree(waste, ignore_errors=True)


def log_tail(folder: Path) -> str:
    """The last lines that a job printed, without its progress bars: for people to read."""
    path = folder / "log.txt"
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    lines = (line.rsplit("\r", 1)[-1].rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not any(sign in line for sign in _BAR))
