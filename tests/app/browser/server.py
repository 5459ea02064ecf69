"""The app as a user starts it: a process of its own on a free port, its log kept, and its memory read."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
_STARTS_WITHIN_S = 240.0


@dataclass(frozen=True)
class App:
    """A running app."""

    port: int
    process: "subprocess.Popen[bytes]"
    workspace: Path
    log: Path

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}"

    def said(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-3000:]

    def cpu_seconds(self) -> float:
        """Processor time of the app's process so far, which does not depend on what else the machine does."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[-1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> dict[str, int]:
        """Resident memory of the app's process and, by command, of the processes it started that still run."""
        found = {"app": resident_bytes(self.process.pid)}
        for pid in _descendants(self.process.pid):
            found[f"child {pid}"] = resident_bytes(pid)
        return found


@contextmanager
def running_app(
    workspace: Path,
    log: Path,
    *,
    before: Sequence[str] = (),
    words: Sequence[str] = ("--no-token",),
    environment: dict[str, str] | None = None,
    port: int | None = None,
) -> Iterator[App]:
    """Start the app on a workspace as `damage-ssl app` does; `before` are words in front of the command, `words` its
    own: without them an address needs the token that the app prints.

    `port`: that of an app that was killed, to be there again where its pages look for it.
    """
    port = _free_port() if port is None else port
    command = [sys.executable, "-m", "streamlit", "run", str(REPOSITORY / "app" / "main.py")]
    command = [*before, *command, "--server.port", str(port), "--", "--workspace", str(workspace), *words]
    surroundings = {"MALLOC_ARENA_MAX": "2", **os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=REPOSITORY, env=surroundings)
    app = App(port, process, workspace, log)
    try:
        _wait_for(app)
        yield app
    finally:
        jobs = _descendants(process.pid)  # they outlive the app on purpose, which no test should
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=20)
        for pid in jobs:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when it has gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _descendants(pid: int) -> list[int]:
    children: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):  # each is listed with the thread that started it
        with suppress(OSError):
            children += [int(text) for text in thread.read_text().split()]
    return [*children, *(each for child in children for each in _descendants(child))]


def _wait_for(app: App) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < deadline and app.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{app.address}/_stcore/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the app did not start: {app.said()}")
