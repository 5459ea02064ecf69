"""Runs as the pages see them, from what the processes wrote and whether they live."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from app import jobs
from damage_ssl.event.catalog import Event
from damage_ssl.files import write_json
from damage_ssl.learning.runs import Run
from tests.app.town_app import RUN_ID, add_run, prepared_event
from tests.conftest import Town


@pytest.fixture
def event(town: Town, monkeypatch: pytest.MonkeyPatch) -> Event:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    return prepared_event(town)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that only waits, in a session of its own; its command line names damage_ssl as a job's does."""
    running = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)  # damage_ssl"], start_new_session=True
    )
    yield running
    running.kill()
    running.wait()


def run_of(event: Event, pid: int, log: str = "") -> Run:
    run = Run(event.runs_path / RUN_ID)
    run.path.mkdir(parents=True)
    write_json(run.path / "job.json", asdict(jobs.Job(pid=pid, started=time.time(), name=RUN_ID, algorithm="fixmatch")))
    (run.path / "log.txt").write_text(log, encoding="utf-8")
    return run


def dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_event_without_runs_has_no_reports(event: Event) -> None:
    assert jobs.reports(event) == []


def test_run_that_has_not_written_anything_yet_is_being_prepared(
    event: Event, process: subprocess.Popen[bytes]
) -> None:
    run_of(event, process.pid)
    [report] = jobs.reports(event)
    assert (report.phase, report.active, report.algorithm) == ("preparing", True, "fixmatch")


def test_run_is_followed_from_training_to_predicting(event: Event, process: subprocess.Popen[bytes]) -> None:
    run = run_of(event, process.pid)
    run.set_status("running", step=3, steps=10, pid=process.pid)
    [report] = jobs.reports(event)
    assert (report.phase, report.step, report.steps) == ("training", 3, 10)
    run.set_status("trained", step=10, steps=10, pid=process.pid)
    assert jobs.reports(event)[0].phase == "predicting"


def test_run_that_ended_with_an_error_shows_its_message(event: Event) -> None:
    run_of(event, dead_pid(), "train  3/10\rtrain  4/10\nerror labels: only 1 damaged, 5 are needed;\nlabel 4 more\n")
    [report] = jobs.reports(event)
    assert (report.phase, report.active) == ("failed", False)
    assert report.message == "labels: only 1 damaged, 5 are needed; label 4 more"


def test_run_whose_process_vanished_says_so_with_the_last_line(event: Event) -> None:
    run = run_of(event, dead_pid(), "Traceback\nMemoryError\n")
    run.set_status("running", step=3, steps=10, pid=dead_pid())
    [report] = jobs.reports(event)
    assert report.phase == "failed"
    assert report.message.endswith("MemoryError")


def test_finished_run_is_finished_although_no_page_watched_it(event: Event) -> None:
    add_run(event, {})
    [report] = jobs.reports(event)
    assert (report.phase, report.active) == ("finished", False)


def test_number_that_another_program_has_by_now_is_not_the_job() -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        assert not jobs.is_alive(jobs.Job(pid=other.pid, started=time.time(), name="x"))
    finally:
        other.kill()
        other.wait()


def test_cancel_ends_the_process_and_says_stopped(event: Event, process: subprocess.Popen[bytes]) -> None:
    run = run_of(event, process.pid)
    run.set_status("running", step=3, steps=10, pid=process.pid)
    jobs.cancel(run)
    assert process.wait(timeout=10) != 0
    [report] = jobs.reports(event)
    assert (report.phase, report.step) == ("cancelled", 3)


def test_cancel_of_an_ended_run_touches_no_process(event: Event) -> None:
    run = run_of(event, dead_pid())
    jobs.cancel(run)
    assert jobs.reports(event)[0].phase == "cancelled"


def test_started_training_is_a_process_of_its_own_that_says_what_is_wrong(event: Event) -> None:
    run = jobs.start_training(event, "fixmatch", ["--steps", "2"])
    job = jobs.job_in(run.path)
    assert job is not None
    deadline = time.monotonic() + 120
    while jobs.reports(event)[0].active and time.monotonic() < deadline:
        time.sleep(0.2)
    [report] = jobs.reports(event)
    assert report.phase == "failed"
    assert "no building has a label" in report.message
