"""How work stands is told from what was written of it, for every way in which a process can begin, live and end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from app.jobs import job as processes
from app.jobs.job import Job, JobReport, report_in
from damage_ssl.errors import StorageError
from damage_ssl.files import write_json
from damage_ssl.processes import machine_start, process_start_of
from damage_ssl.progress import ProgressState, read_progress, write_progress
from tests.campaigns import campaign
from tests.conftest import Town, eventually

Begin = Callable[[str], Path]


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Starts lines of Python as the app starts its commands; the folder of the work."""
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(tmp_path))
    real = processes.subprocess.Popen

    def begun(code: str) -> Path:
        with monkeypatch.context() as patched:
            patched.setattr(
                type(processes.subprocess),
                "Popen",
                staticmethod(lambda command, **options: real([sys.executable, "-c", code], **options)),
            )
            processes.start(["x"], tmp_path / "job")
        return tmp_path / "job"

    return begun


def ended(folder: Path) -> JobReport:
    def look() -> JobReport | None:
        report = report_in(folder)
        assert report is not None
        return None if report.active else report

    found = eventually(look, 60)
    assert isinstance(found, JobReport)
    return found


def kill(folder: Path, number: signal.Signals) -> None:
    job = processes.job_in(folder)
    assert job is not None
    os.kill(job.pid, number)


def test_process_is_known_by_its_start_and_not_by_its_command_line(tmp_path: Path) -> None:
    """The kernel has an empty command line for a moment after a start: on a busy machine up to some 30 ms.

    Work that was looked at in that moment was said to have been interrupted, for good.
    """
    nameless = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        job = Job(pid=nameless.pid, started=0.0, name="x", process_start=process_start_of(nameless.pid))
        write_json(tmp_path / "job.json", asdict(job))
        report = report_in(tmp_path)
        assert report is not None and report.state == "running"
    finally:
        nameless.kill()
        nameless.wait()
    report = report_in(tmp_path)
    assert report is not None and report.state == "interrupted"


@pytest.fixture
def busy_processors() -> Iterator[None]:
    """Many more processes at work than there are processors."""
    load = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(12)]
    yield
    for each in load:
        each.kill()
        each.wait()


@campaign(40, 400)
def test_work_just_begun_is_running_also_on_a_busy_machine(rounds: int, begin: Begin, busy_processors: None) -> None:
    for _ in range(rounds):
        folder = begin("import time; time.sleep(60)")
        report = report_in(folder)
        assert report is not None and (report.state, report.message) == ("running", "")
        kill(folder, signal.SIGKILL)
        ended(folder)


def test_work_that_is_being_started_is_running_whatever_the_former_left(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begin("")
    assert ended(folder).state == "done"
    seen: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            report = report_in(folder)
            seen.append("none" if report is None else report.state)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(15):
        begin("import time; time.sleep(0.05)")
        ended(folder)
    stop.set()
    watcher.join()
    assert set(seen) <= {"running", "done"}


@pytest.mark.parametrize(
    ("number", "state", "says"),
    [
        (signal.SIGKILL, "interrupted", "killed (SIGKILL); what was finished is kept"),
        (signal.SIGTERM, "interrupted", "from outside (SIGTERM); what was finished is kept"),
        (signal.SIGHUP, "interrupted", "from outside (SIGHUP)"),
        (signal.SIGSEGV, "failed", "crashed (SIGSEGV)"),
    ],
)
def test_process_that_a_signal_ended_says_which(begin: Begin, number: signal.Signals, state: str, says: str) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as `nohup` has it ignored, also by all that is started
    try:
        folder = begin("import time; time.sleep(60)")
    finally:
        signal.signal(signal.SIGHUP, before)
    kill(folder, number)
    report = ended(folder)
    assert report.state == state
    assert says in report.message


@pytest.mark.parametrize(
    ("code", "state", "says"),
    [("", "done", ""), ("raise SystemExit(3)", "failed", "exit code 3"), ("1 / 0", "failed", "exit code 1")],
)
def test_process_that_ended_without_a_word_is_judged_by_its_exit_code(
    begin: Begin, code: str, state: str, says: str
) -> None:
    report = ended(begin(code))
    assert report.state == state
    assert says in report.message


def test_exit_code_is_known_to_another_app_and_after_a_new_start(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begin("raise SystemExit(3)")
    ended(folder)
    monkeypatch.setattr(processes, "_ENDS", {})
    assert ended(folder).state == "failed"


def test_log_does_not_decide(begin: Begin) -> None:
    folder = begin("print('Traceback'); print('error nothing is wrong')")
    assert (ended(folder).state, ended(folder).message) == ("done", "")


def test_machine_that_was_switched_off_is_told_from_a_process_that_was_killed(tmp_path: Path) -> None:
    pid = os.getpid()  # the number is given again, at the same tick of another start of the machine
    ticks = (process_start_of(pid) or "").partition("@")[0]
    for start, says in ((f"{ticks}@another-start", "switched off or started anew"), (f"1@{machine_start()}", "killed")):
        write_json(tmp_path / "job.json", asdict(Job(pid=pid, started=0.0, name="x", process_start=start)))
        report = report_in(tmp_path)
        assert report is not None and report.state == "interrupted"
        assert says in report.message


def test_app_that_ended_while_it_started_work_has_interrupted_it(tmp_path: Path) -> None:
    job = Job(pid=0, started=0.0, name="x", starter=os.getpid(), starter_start=process_start_of(os.getpid()))
    write_json(tmp_path / "job.json", asdict(job))
    report = report_in(tmp_path)
    assert report is not None and report.state == "running"
    write_json(tmp_path / "job.json", asdict(job) | {"starter_start": "1@x"})
    report = report_in(tmp_path)
    assert report is not None and (report.state, "the app ended" in report.message) == ("interrupted", True)


def test_machine_that_slept_or_whose_clock_was_set_leaves_work_running(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begin("import time; time.sleep(60)")
    kill(folder, signal.SIGSTOP)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 86_400)
    report = report_in(folder)
    assert report is not None and report.state == "running"


def test_full_disk_starts_nothing_and_keeps_what_was_known(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begin("raise SystemExit(3)")
    before = ended(folder)

    def full(path: Path, value: object) -> None:
        raise StorageError(f"{path}: the disk is full")

    monkeypatch.setattr(processes, "write_json", full)
    with pytest.raises(StorageError):
        begin("")
    assert report_in(folder) == before


def test_process_of_which_the_disk_cannot_take_the_number_is_ended(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(path: Path, value: dict[str, object]) -> None:
        if value["pid"]:
            raise StorageError(f"{path}: the disk is full")
        write_json(path, value)

    monkeypatch.setattr(processes, "write_json", full)
    with pytest.raises(StorageError):
        begin(f"import time, pathlib; time.sleep(1); pathlib.Path({str(tmp_path / 'worked')!r}).touch()")
    time.sleep(1.5)
    assert report_in(tmp_path / "job") is None
    assert not (tmp_path / "worked").exists()


def test_last_word_has_room_on_a_disk_that_ran_full_meanwhile(tmp_path: Path) -> None:
    """On a real disk of 64 KiB, in a mount namespace of its own; needs no rights beyond a user's."""
    script = (
        "import pathlib, sys; from damage_ssl.progress import ProgressState, write_progress\n"
        "path = pathlib.Path(sys.argv[1]) / 'progress.json'\n"
        "write_progress(path, ProgressState())\n"
        "try:\n open(path.with_name('filler'), 'wb', buffering=0).write(b'0' * (1 << 20))\n"
        "except OSError: pass\n"
        "try:\n open(path.with_name('other'), 'wb', buffering=0).write(b'0'); print('room')\n"
        "except OSError: pass\n"
        "write_progress(path, ProgressState(state='failed', error='the disk is full ' * 1000))\n"
        "print(path.read_text())"
    )
    small = 'mount -t tmpfs -o size=64k small "$0" && exec "$@"'
    command = ["unshare", "-Urm", "sh", "-c", small, str(tmp_path), sys.executable, "-c", script, str(tmp_path)]
    if subprocess.run(["unshare", "-Urm", "mount", "-t", "tmpfs", "t", str(tmp_path)], capture_output=True).returncode:
        pytest.skip("this system lets no user mount a small disk in a namespace (unshare -Urm)")
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "room" not in said
    assert json.loads(said)["state"] == "failed"
    assert json.loads(said)["error"].startswith("the disk is full")


def test_longest_message_is_cut_to_the_room_there_is(tmp_path: Path) -> None:
    write_progress(tmp_path / "p", ProgressState(state="failed", error="ä" * 10_000))
    said = read_progress(tmp_path / "p")
    assert said is not None and said.error.startswith("äää")
    assert (tmp_path / "p").stat().st_size == 4096


def test_two_windows_that_ask_to_stop_at_once_both_are_heard(begin: Begin) -> None:
    folder = begin("import time; time.sleep(60)")
    errors: list[Exception] = []

    def stop() -> None:
        try:
            processes.stop(folder)
        except Exception as error:
            errors.append(error)

    windows = [threading.Thread(target=stop) for _ in range(8)]
    for window in windows:
        window.start()
    for window in windows:
        window.join()
    assert errors == []
    assert ended(folder).state == "stopped"


def test_command_that_cannot_begin_says_why(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    folder = town.workspace / ".jobs" / "x"
    processes.start(["init", "x", "--no-such-option"], folder)
    report = ended(folder)
    assert report.state == "failed"
    assert "no-such-option" in report.message


def test_cleared_work_is_gone_in_one_moment(begin: Begin) -> None:
    folder = begin("")
    ended(folder)
    seen: list[object] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            with contextlib.suppress(FileNotFoundError):
                report = report_in(folder)
                seen.append(None if report is None else report.state)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(20):
        processes.clear(folder)
        begin("")
        ended(folder)
    stop.set()
    watcher.join()
    assert set(seen) <= {None, "running", "done"}
    assert [path.name for path in folder.parent.glob(".deleted-*")] == []


IN_A_COMMAND = "from damage_ssl.progress import reported, reporter\nwith reported():\n  "


@pytest.mark.parametrize(
    ("body", "state", "error", "advice"),
    [
        (
            "from damage_ssl.errors import StorageError; raise StorageError('x: the disk is full; free some space')",
            "failed",
            "x: the disk is full",
            "free some space",
        ),
        (
            "from damage_ssl.errors import LabelsError\n  try: raise LabelsError('labels: none; label one')\n"
            "  except LabelsError as error: raise SystemExit(2) from error",
            "failed",
            "labels: none",
            "label one",
        ),
        ("raise OSError(28, 'No space left on device')", "failed", "the disk is full", "free some space"),
        ("raise MemoryError", "failed", "memory ran out", "close other programs"),
        ("1 / 0", "failed", "ended unexpectedly: ZeroDivisionError", "the log has the details"),
        ("raise SystemExit(3)", "failed", "ended unexpectedly: exit code 3", "the log has the details"),
        ("raise SystemExit(0)", "done", "", ""),
    ],
)
def test_command_says_how_it_ended_and_what_to_do(begin: Begin, body: str, state: str, error: str, advice: str) -> None:
    report = ended(begin(IN_A_COMMAND + body))
    assert report.state == state
    assert error in report.said.error
    assert report.said.advice.startswith(advice)


@pytest.mark.parametrize("asked", [True, False])
def test_command_that_was_asked_to_stop_is_told_from_one_that_was_ended_from_outside(begin: Begin, asked: bool) -> None:
    folder = begin(IN_A_COMMAND + "reporter().move('working', 1, 2); import time; time.sleep(60)")
    eventually(lambda: (read_progress(folder / "progress.json") or ProgressState()).stage == "working")
    if asked:
        processes.stop(folder)
    else:
        kill(folder, signal.SIGTERM)
    report = ended(folder)
    assert report.state == ("stopped" if asked else "interrupted")
    assert report.message == ("" if asked else report.message) and ("from outside" in report.message) is not asked
    assert (report.said.stage, report.said.done) == ("working", 1)


def test_process_that_the_system_killed_for_want_of_memory_is_told_from_one_that_somebody_killed(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begin("import time; time.sleep(60)")
    kills = processes.memory_kills()
    monkeypatch.setattr(processes, "memory_kills", lambda: kills + 1)
    kill(folder, signal.SIGKILL)
    report = ended(folder)
    assert report.state == "interrupted"
    assert "memory ran out; close other programs" in report.message


def test_state_outlives_the_app_that_started_the_work(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begin("import time; time.sleep(60)")
    kill(folder, signal.SIGKILL)
    said = ended(folder).message
    monkeypatch.setattr(processes, "_ENDS", {})
    eventually(lambda: (read_progress(folder / "progress.json") or ProgressState()).state == "interrupted")
    assert ended(folder).message == said


def test_state_file_that_a_full_disk_does_not_take_is_said_by_the_app(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begin("import time; time.sleep(0.3); raise SystemExit(2)")

    def full(path: Path, progress: object) -> None:
        raise StorageError(f"{path}: the disk is full; free some space")

    monkeypatch.setattr(processes, "write_progress", full)
    report = ended(folder)
    assert report.state == "failed"
    assert "the disk is full; free some space" in report.message
