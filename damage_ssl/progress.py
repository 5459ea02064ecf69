"""How far a command is, written to a file for whoever watches it from outside: one way of reporting for all commands.

`$DAMAGE_SSL_PROGRESS` names the file. The command line writes it; the app starts commands with it and reads it, also
after the app itself was started anew. Reporting never makes a command fail.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from damage_ssl.errors import DamageSSLError
from damage_ssl.files import read_json, write_text

VARIABLE = "DAMAGE_SSL_PROGRESS"
"""The environment variable with the path of the file."""

_EVERY_S = 0.25
_PACE_AFTER_S = 1.0
_ROOM_BYTES = 4096
"""What a progress file takes, from the first: its last words have room also on a disk that ran full meanwhile."""

State = Literal["running", "done", "failed", "stopped"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a command says of itself: `done` of `total` in its present `stage`, times in seconds since the epoch.

    `total` is 0 where it is not known. `message` is the error of a command that failed.
    """

    state: State = "running"
    stage: str = ""
    done: int = 0
    total: int = 0
    remark: str = ""
    stage_started: float = 0.0
    updated: float = 0.0
    message: str = ""

    @property
    def seconds_left(self) -> float | None:
        """Until the stage is done, by its pace so far; None where there is no telling."""
        spent = self.updated - self.stage_started
        if self.state != "running" or not 0 < self.done <= self.total or spent < _PACE_AFTER_S:
            return None
        return spent / self.done * (self.total - self.done)


def read_progress(path: Path) -> Progress | None:
    """What was last written to a progress file; None where there is none, or nothing that can be understood."""
    try:
        return Progress(**read_json(path))
    except (OSError, ValueError, TypeError):
        return None


def write_progress(path: Path, progress: Progress) -> None:
    """Write a progress file; in place where the disk has no room for another one.

    Raises:
        StorageError: there is none yet, and no room for one.
    """
    text = json.dumps(asdict(progress), allow_nan=False)
    while len(text) > _ROOM_BYTES:
        progress = replace(progress, message=progress.message[: len(progress.message) // 2], remark="")
        text = json.dumps(asdict(progress), allow_nan=False)
    text = text.ljust(_ROOM_BYTES - 1) + "\n"
    try:
        write_text(path, text)
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
        self._now = Progress(stage_started=time.time())
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

    def end(self, state: State, message: str = "") -> None:
        """Say how it ended."""
        self._now = replace(self._now, state=state, message=message)
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
    """Report how the command inside ends, if somebody watches; a request to end (SIGTERM) stops it like Ctrl+C."""
    global _REPORTER
    path = os.environ.get(VARIABLE)
    if not path:
        yield
        return
    # Commands that this one starts are parts of it and must not write to its file.
    os.environ.pop(VARIABLE)
    _REPORTER = Reporter(Path(path))
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
        _REPORTER.end("done")
    except DamageSSLError as error:
        _REPORTER.end("failed", str(error))
        raise
    except KeyboardInterrupt:
        _REPORTER.end("stopped")
        raise
    except SystemExit as error:
        _REPORTER.end(*_meant_by(error))
        raise
    except BaseException as error:
        _REPORTER.end("failed", f"it ended unexpectedly: an unexpected error: {error!r:.300}; the log has the details")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        _REPORTER = None


def _meant_by(end: SystemExit) -> tuple[State, str]:
    """How a command ended that says it by its exit code, after its error was printed."""
    reason = end.__cause__ or end.__context__
    if not end.code:
        return "done", ""
    if isinstance(reason, KeyboardInterrupt):
        return "stopped", ""
    if isinstance(reason, DamageSSLError):
        return "failed", str(reason)
    said = getattr(reason, "format_message", None)  # click's errors of usage
    return "failed", f"it could not begin: {said()}" if said else f"it ended unexpectedly (exit code {end.code})"
