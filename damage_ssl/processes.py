"""Processes of this machine: whether one runs, which one it is, and how one is ended with all that it started.

Linux says in /proc when a process began, by a clock that nobody sets; macOS and Windows are asked through psutil.
Whatever Windows lacks (signals, groups of processes) has its replacement here and nowhere else. psutil is imported
where it is asked: that takes a twentieth of a second, and on Linux it hardly ever is.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_PROC = Path("/proc")

END_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGBREAK") if hasattr(signal, name))
"""Requests to end a process from outside; SIGBREAK is what Windows has in place of SIGTERM."""


def process_start_of(pid: int) -> str | None:
    """When a process began: the kernel's ticks, `@`, and which start of the machine they count from.

    With it, a number given anew is not taken for the old process, also after the machine was started anew. It stays the
    same while the process lives: neither a changed clock nor a machine that slept moves it. Where there is no /proc the
    system's own time of the start stands for the ticks, with nothing behind the `@`. `gone` for one that has ended but
    was not yet waited for; None where there is no such process.
    """
    if not _has_proc():
        return _start_without_proc(pid)
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[-1].split()
    except OSError:
        return None
    return "gone" if stat[0] in "ZXx" else f"{stat[19]}@{machine_start()}"


def _start_without_proc(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return "gone" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}@"
    except (psutil.Error, ValueError, OverflowError):
        return None


def machine_start() -> str:
    """An id that the kernel draws whenever the machine starts; empty where it has none."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def process_runs(pid: int, start: str | None) -> bool:
    """True while the process runs that has this number and began at `start` (`process_start_of`), if that is known."""
    if pid <= 0 or not _may_be_asked(pid):
        return False
    now = process_start_of(pid)
    # what older versions wrote has the ticks only
    return now not in (None, "gone") and (start is None or now == start or str(now).split("@")[0] == start)


def _may_be_asked(pid: int) -> bool:
    """False where there is no such process, or it is another user's."""
    if sys.platform == "win32":
        return True  # os.kill(pid, 0) would send it Ctrl+C
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError):
        return False
    return True


def _has_proc() -> bool:
    return (_PROC / "self" / "stat").exists()


def command_line_of(pid: int) -> str:
    """The words that a process was started with; empty where nobody says."""
    import psutil

    with suppress(psutil.Error, ValueError, OverflowError):
        return " ".join(psutil.Process(pid).cmdline())
    return ""


def memory_kills() -> int:
    """How many processes the system has killed for want of memory since it was started; 0 where it does not say."""
    with suppress(OSError, ValueError):
        for line in (_PROC / "vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def give_way() -> None:
    """Let other programs go before this process from now on: somebody works at this machine meanwhile."""
    if sys.platform == "win32":
        import psutil

        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        os.nice(10)


def apart() -> dict[str, Any]:
    """Arguments of `subprocess.Popen` for a process that outlives its parent and can be ended with its children."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def end_process(pid: int, *, by_force: bool) -> None:
    """End a process that was started `apart`, and all that it started. Nothing happens where it is gone.

    Args:
        pid: its number.
        by_force: at once; else it is asked to, and may finish what it is at.
    """
    if pid <= 0:  # which would mean this process's own group
        return
    if sys.platform == "win32":
        if by_force:
            kill_tree(pid)
        else:
            try:
                os.kill(pid, signal.CTRL_BREAK_EVENT)
            except OSError:  # it has no console that could be told
                kill_tree(pid)
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL if by_force else signal.SIGTERM)


def kill_tree(pid: int) -> None:
    """Kill a process and all that descends from it, where the system has no groups of processes."""
    import psutil

    with suppress(psutil.Error, ValueError):
        root = psutil.Process(pid)
        for each in [*root.children(recursive=True), root]:
            with suppress(psutil.Error):
                each.kill()
