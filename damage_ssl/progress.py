"""How far work is: the callables that are told, the file that a command writes for whoever watches it.

`$DAMAGE_SSL_PROGRESS` names the file. The command line writes it from its first moment to its last word, how it ended
and what to do about it included; the app starts commands with it and reads it, also after the app itself was started
anew. Reporting never makes a command fail.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal, Protocol, get_args

from damage_ssl.errors import DamageSSLError
from damage_ssl.files import is_full, read_json, write_text
from damage_ssl.processes import END_SIGNALS

VARIABLE = "DAMAGE_SSL_PROGRESS"
"""The environment variable with the path of the file."""

_EVERY_S = 0.25
_PACE_AFTER_S = 1.0
_ROOM_BYTES = 4096
"""What a progress file takes, from the first: its last words have room also on a disk that ran full meanwhile."""

State = Literal["running", "done", "failed", "stopped", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class ProgressState:
    """What is known of a command: `done` of `total` in its present `stage`, times in seconds since the epoch.

    `total` is 0 where it is not known. `error` says what went wrong with one that failed or was interrupted, `advice`
    what to do about it.
    """

    state: State = "running"
    stage: str = ""
    done: int = 0
    total: int = 0
    remark: str = ""
    started: float = 0.0
    stage_started: float = 0.0
    updated: float = 0.0
    error: str = ""
    advice: str = ""

    @property
    def seconds_left(self) -> float | None:
        """Until the stage is done, by its pace so far; None where there is no telling."""
        spent = self.updated - self.stage_started
        if self.state != "running" or not 0 < self.done <= self.total or spent < _PACE_AFTER_S:
            return None
        return spent / self.done * (self.total - self.done)


def begun() -> ProgressState:
    """Of a command that begins at this moment."""
    now = time.time()
    return ProgressState(started=now, stage_started=now, updated=now)


def read_progress(path: Path) -> ProgressState | None:
    """What was last written to a progress file, by this version or an older one.

    None where there is no file, or nothing in it that can be understood.
    """
    try:
        said = read_json(path)
        said.setdefault("error", said.get("message", ""))  # its former name
        found = ProgressState(**{each.name: said[each.name] for each in fields(ProgressState) if each.name in said})
        numbers = (found.done, found.total, found.started, found.stage_started, found.updated)
        understood = found.state in get_args(State) and all(isinstance(each, int | float) for each in numbers)
        return found if understood else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def write_progress(path: Path, progress: ProgressState) -> None:
    """Write a progress file, atomically; in place, in one piece, where the disk has no room for another one.

    Raises:
        StorageError: there is none yet, and no room for one.
    """
    text = json.dumps(asdict(progress), allow_nan=False)
    while len(text) >= _ROOM_BYTES:
        progress = replace(progress, error=progress.error[: len(progress.error) // 2], advice="", remark="")
        text = json.dumps(asdict(progress), allow_nan=False)
    text = text.ljust(_ROOM_BYTES - 1) + "\n"
    try:
        write_text(path, text, durable=False)  # of a power cut, nobody asks how far it was
    except (OSError, DamageSSLError):
        try:
            with path.open("r+b", buffering=0) as file:  # the same bytes of the disk
                file.write(text.encode())
                return
        except OSError:
            pass
        raise


class Reporter:
    """Writes a progress file, a few times a second at most; the first time at once, which says that it has begun."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._now = begun()
        self._written = 0.0
        self._write()

    def move(self, stage: str, done: int, total: int, remark: str = "") -> None:
        """Say how far the command is; another stage or total, or a step back, begins a new count of time."""
        before, now = self._now, time.time()
        anew = (stage, total) != (before.stage, before.total) or done < before.done
        started = now if anew else before.stage_started
        self._now = replace(before, stage=stage, done=done, total=total, remark=remark, stage_started=started)
        if anew or done == total or now - self._written >= _EVERY_S:
            self._write()

    def end(self, state: State, error: str = "", advice: str = "") -> None:
        """Say how it ended."""
        self._now = replace(self._now, state=state, error=error, advice=advice)
        self._write()

    def _write(self) -> None:
        self._written = time.time()
        self._now = replace(self._now, updated=self._written)
        with contextlib.suppress(OSError, DamageSSLError):
            write_progress(self._path, self._now)


_REPORTER: Reporter | None = None


def reporter() -> Reporter | None:
    """The reporter of the command that runs; None where nobody watches."""
    return _REPORTER


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Report how the command inside ends, if somebody watches; `END_SIGNALS` stop it like Ctrl+C."""
    global _REPORTER
    path = os.environ.get(VARIABLE)
    if not path:
        yield
        return
    # Commands that this one starts are parts of it and must not write to its file.
    os.environ.pop(VARIABLE)
    _REPORTER = Reporter(Path(path))
    before = {number: signal.signal(number, signal.default_int_handler) for number in END_SIGNALS}
    try:
        yield
        _REPORTER.end("done")
    except BaseException as error:
        _REPORTER.end(*_meaning(error))
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _REPORTER = None


def _meaning(error: BaseException) -> tuple[State, str, str]:
    """How a command ended that raised this: its state, what was wrong, what to do.

    The reason lies below an exit code, which follows the printed error, and below a full disk that the log is on.
    """
    reason, code = error, error.code if isinstance(error, SystemExit) else None
    if isinstance(error, SystemExit) and not code:
        return "done", "", ""
    while (isinstance(reason, SystemExit) or is_full(reason)) and (reason.__cause__ or reason.__context__):
        reason = reason.__cause__ or reason.__context__ or reason
    if isinstance(reason, KeyboardInterrupt) or isinstance(reason.__cause__, KeyboardInterrupt):
        return "stopped", "", ""
    if isinstance(reason, DamageSSLError):
        what, _, advice = str(reason).partition("; ")  # as all these messages are made: where: what; what to do
        return "failed", what, advice
    if is_full(reason):
        return "failed", "the disk is full", "free some space and start it again: it goes on from what was finished"
    if isinstance(reason, MemoryError):
        return "failed", "memory ran out", "close other programs, or let it use less (memory, workers), and try again"
    if said := getattr(reason, "format_message", None):  # the command line's own errors of usage
        return "failed", f"it could not begin: {said()}", ""
    what = f"exit code {code}" if isinstance(reason, SystemExit) else f"{reason!r:.300}"
    return "failed", f"it ended unexpectedly: {what}", "the log has the details"


ProgressCallback = Callable[[int, int], None]


class Move(Protocol):
    """Told how far a download is: bytes or rows `done` of `total` (0 where it is not known), and a remark."""

    def __call__(self, done: int, total: int, remark: str = "") -> None: ...


def silent(done: int, total: int, remark: str = "") -> None:
    """A `Move` where no progress is wanted."""


StageCallback = Callable[[int, int, str], None]
