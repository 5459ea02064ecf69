"""Processes as Linux, macOS and Windows know them; and nowhere a call that only some of these have."""

import ast
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import damage_ssl
from damage_ssl import processes
from damage_ssl.processes import apart, end_process, kill_tree, machine_start, process_runs, process_start_of

ROOT = Path(damage_ssl.__file__).parents[1]
POSIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
POSIX_NAMES = {
    "os": {
        *("chown", "fchmod", "fchown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getloadavg", "getpgid"),
        *("getpgrp", "getpriority", "getsid", "getuid", "initgroups", "killpg", "lchown", "mkfifo", "mknod", "nice"),
        *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_SYNC", "posix_fadvise", "posix_fallocate", "posix_spawn"),
        *("pread", "pwrite", "sched_getaffinity", "sched_setaffinity", "sendfile", "setpgid", "setpriority", "setsid"),
        *("setuid", "statvfs", "sync", "sysconf", "uname", "wait3", "wait4", "waitid", "WIFSIGNALED", "WTERMSIG"),
    },
    "signal": {
        *("alarm", "pause", "pthread_kill", "pthread_sigmask", "setitimer", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCONT"),
        *("SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGTSTP", "SIGUSR1", "SIGUSR2", "sigwait"),
    },
    "time": {"tzset", "clock_gettime"},
    "socket": {"AF_UNIX", "socketpair"},
    "asyncio": {"SIGCHLD", "ThreadedChildWatcher"},
}
POSIX_ARGUMENTS = {"preexec_fn", "start_new_session", "pass_fds", "process_group", "dir_fd"}
POSIX_PATHS = ("/proc/", "/dev/", "/sys/", "/tmp/", "/etc/", "/var/")
GUARDS = ("sys.platform", "os.name", "hasattr", "libc_ver")


def posix_only(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of what Windows lacks, in code that does not first ask which system this is."""
    tree = ast.parse(source)
    guarded: set[int] = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.If) and any(word in ast.unparse(function.test) for word in GUARDS):
            guarded.update(
                id(inner) for branch in (function.body, function.orelse) for part in branch for inner in ast.walk(part)
            )
        if isinstance(function, ast.FunctionDef) and leaves_early(function):
            guarded.update(id(inner) for part in function.body for inner in ast.walk(part))
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names if name.name in POSIX_MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = POSIX_NAMES.get(node.module, set())
            yield from ((node.lineno, node.module) for _ in [0] if node.module in POSIX_MODULES)
            yield from ((node.lineno, name.name) for name in node.names if name.name in names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in POSIX_NAMES.get(node.value.id, set()) or node.attr == "mallopt":
                yield node.lineno, f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.keyword) and node.arg in POSIX_ARGUMENTS:
            yield node.value.lineno, str(node.arg)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(POSIX_PATHS):
            yield node.lineno, node.value


def leaves_early(function: ast.FunctionDef) -> bool:
    """`if <another system>: return …` before anything else but its docstring."""
    return any(
        isinstance(part, ast.If)
        and any(word in ast.unparse(part.test) for word in GUARDS)
        and isinstance(part.body[-1], ast.Return)
        for part in function.body[:3]
    )


def test_no_call_that_windows_lacks_stands_unguarded() -> None:
    files = [path for folder in ("damage_ssl", "app", "data_catalog") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{line}: {name}"
        for path in files
        for line, name in posix_only(path.read_text(encoding="utf-8"))
    ]
    assert found == [], "replace it, or ask for the system first (damage_ssl/processes.py does)"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import fcntl", "fcntl"),
        ("from fcntl import flock", "fcntl"),
        ("import os\nos.killpg(1, 2)", "os.killpg"),
        ("from signal import SIGKILL", "SIGKILL"),
        ("import signal\nENDS = (signal.SIGTERM, signal.SIGHUP)", "signal.SIGHUP"),
        ("run(words, start_new_session=True)", "start_new_session"),
        ("Path('/proc/self')", "/proc/self"),
        ("libc.mallopt(1, 2)", "libc.mallopt"),
    ],
)
def test_a_call_that_windows_lacks_is_found_and_its_guard_recognised(source: str, name: str) -> None:
    assert [found for _, found in posix_only(source)] == [name]
    inside = "\n    ".join(source.splitlines())
    assert list(posix_only(f"import sys\nif sys.platform != 'win32':\n    {inside}")) == []


@pytest.mark.parametrize("without_proc", [False, True])
def test_a_process_is_known_by_its_start_with_and_without_proc(
    without_proc: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if without_proc:
        monkeypatch.setattr(processes, "_PROC", tmp_path)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, **apart())
    try:
        start = process_start_of(process.pid)
        assert start is not None and start.partition("@")[2] == machine_start()
        assert (machine_start() == "") is without_proc or sys.platform != "linux"
        assert process_runs(process.pid, start) and process_runs(process.pid, None)
        assert process_runs(process.pid, start.split("@")[0])
        assert not process_runs(process.pid, "1@")
        process.kill()
        deadline = time.monotonic() + 10
        while process_runs(process.pid, start) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not process_runs(process.pid, start)  # ended, not yet waited for
    finally:
        process.communicate()
    assert process_start_of(process.pid) is None and not process_runs(process.pid, None)


@pytest.mark.parametrize("pid", [0, -1, 10**30])
@pytest.mark.parametrize("without_proc", [False, True])
def test_a_number_that_is_no_process_neither_runs_nor_is_ended(
    pid: int, without_proc: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if without_proc:
        monkeypatch.setattr(processes, "_PROC", tmp_path)
    assert not process_runs(pid, None) and process_start_of(pid) is None
    if pid <= 0:
        end_process(pid, by_force=True)
    kill_tree(pid)


PARENT = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'input()']).pid, flush=True); input()"


@pytest.mark.parametrize("by_tree", [False, True], ids=["as the system does", "without groups of processes"])
def test_what_a_process_started_ends_with_it(by_tree: bool) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **apart()
    )
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    assert child.is_running()
    if by_tree:
        kill_tree(process.pid)
    else:
        end_process(process.pid, by_force=True)
    process.communicate(timeout=10)
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert process.returncode != 0
    assert process_runs(os.getpid(), None)
