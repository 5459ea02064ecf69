"""How far a command is, written to a file for whoever watches it from outside: one way of reporting for all commands.

`$DAMAGE_SSL_PROGRESS` names the file. The command line writes it; the app starts commands with it and reads it, also
after the app itself was started anew. Reporting never makes a command fail.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from damage_ssl.errors import DamageSSLError
from damage_ssl.files import read_json, write_json

VARIABLE = "DAMAGE_SSL_PROGRESS"
"""The environment variable with the path of the file."""

_EVERY_S = 0.25
_PACE_AFTER_S = 1.0

State = Literal["running", "done", "failed", "stopped"]


@dataclass(frozen=True, kw_only=True)
class ProgressState:
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


def read_progress(path: Path) -> ProgressState | None:
    """What was last written to a progress file; None where there is none, or nothing that can be understood."""
    try:
        return ProgressState(**read_json(path))
    except (OSError, ValueError, TypeError):
        return None


class Reporter:
    """Writes a progress file, a few times a second at most."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._now = ProgressState(stage_started=time.time())
        self._written = 0.0

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
            write_json(self._path, asdict(self._now))


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
        _REPORTER.end("done" if not error.code else "failed")
        raise
    except BaseException as error:
        _REPORTER.end("failed", f"an unexpected error: {error!r:.300}; the log has the details")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        _REPORTER = None


def process_start_of(pid: int) -> str | None:
    """When a process began, in the kernel's ticks, so that a number given anew is not taken for the old process.

    `gone` for one that has ended but was not yet waited for; None where there is no /proc.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[-1].split()
    except OSError:
        return None
    return "gone" if fields[0] == "Z" else fields[19]


ProgressCallback = Callable[[int, int], None]


class Move(Protocol):
    """Told how far a download is: bytes or rows `done` of `total` (0 where it is not known), and a remark."""

    def __call__(self, done: int, total: int, remark: str = "") -> None: ...


StageCallback = Callable[[int, int, str], None]
