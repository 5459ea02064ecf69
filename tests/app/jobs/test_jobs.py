"""Runs as the pages see them, from what the processes wrote and whether they live."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from app.auth.access import server
from app.jobs import event_jobs, run_jobs, run_reports
from app.jobs import job as job_module
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.files import write_json
from damage_ssl.runs.run import Run
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
    write_json(
        run.path / "job.json", asdict(job_module.Job(pid=pid, started=time.time(), name=RUN_ID, algorithm="fixmatch"))
    )
    (run.path / "log.txt").write_text(log, encoding="utf-8")
    return run


def dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_event_without_runs_has_no_reports(event: Event) -> None:
    assert run_reports.reports(event) == []


def test_run_that_has_not_written_anything_yet_is_being_prepared(
    event: Event, process: subprocess.Popen[bytes]
) -> None:
    run_of(event, process.pid)
    [report] = run_reports.reports(event)
    assert (report.phase, report.active, report.algorithm) == ("preparing", True, "fixmatch")


def test_run_is_followed_from_training_to_predicting(event: Event, process: subprocess.Popen[bytes]) -> None:
    run = run_of(event, process.pid)
    run.set_status("running", step=3, steps=10, pid=process.pid)
    [report] = run_reports.reports(event)
    assert (report.phase, report.step, report.steps) == ("training", 3, 10)
    run.set_status("trained", step=10, steps=10, pid=process.pid)
    assert run_reports.reports(event)[0].phase == "predicting"


def test_run_that_ended_with_an_error_shows_its_message(event: Event) -> None:
    run = run_of(event, dead_pid())
    write_json(run.path / "progress.json", {"state": "failed", "error": "labels: only 1 damaged", "advice": "label 4"})
    [report] = run_reports.reports(event)
    assert (report.phase, report.active) == ("failed", False)
    assert report.message == "labels: only 1 damaged; label 4"


def test_finished_run_is_finished_although_no_page_watched_it(event: Event) -> None:
    add_run(event, {})
    [report] = run_reports.reports(event)
    assert (report.phase, report.active) == ("finished", False)


def test_number_that_another_program_has_by_now_is_not_the_job() -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        assert not job_module.is_alive(job_module.Job(pid=other.pid, started=time.time(), name="x"))
    finally:
        other.kill()
        other.wait()


def test_cancel_ends_the_process_and_says_stopped(event: Event, process: subprocess.Popen[bytes]) -> None:
    run = run_of(event, process.pid)
    run.set_status("running", step=3, steps=10, pid=process.pid)
    run_jobs.cancel(run)
    assert process.wait(timeout=10) != 0
    [report] = run_reports.reports(event)
    assert (report.phase, report.step) == ("cancelled", 3)


def test_cancel_of_an_ended_run_touches_no_process(event: Event) -> None:
    run = run_of(event, dead_pid())
    run_jobs.cancel(run)
    assert run_reports.reports(event)[0].phase == "cancelled"


def test_started_training_is_a_process_of_its_own_that_says_what_is_wrong(event: Event) -> None:
    run = run_jobs.start_training(event, "fixmatch", ["--steps", "2"])
    job = job_module.job_in(run.path)
    assert job is not None
    deadline = time.monotonic() + 120
    while run_reports.reports(event)[0].active and time.monotonic() < deadline:
        time.sleep(0.2)
    [report] = run_reports.reports(event)
    assert report.phase == "failed"
    assert "no building has a label" in report.message


def test_run_killed_with_the_machine_is_interrupted_and_can_be_gone_on_with(event: Event) -> None:
    """As after a power cut: the status says running, the log is cut off, the process is gone."""
    run = run_of(event, dead_pid(), "train  3/10")
    write_json(run.settings_path, {})
    run.set_status("running", step=3, steps=10, pid=dead_pid())
    [report] = run_reports.reports(event)
    assert (report.phase, report.active, report.resumable, report.step) == ("interrupted", False, True, 3)
    assert "interrupted" in report.message


def test_cancel_returns_at_once_also_when_the_process_does_not_listen(event: Event) -> None:
    deaf = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True)\n"
            "time.sleep(60)  # damage_ssl",
        ],
        start_new_session=True,
        stdout=subprocess.PIPE,
    )
    assert deaf.stdout is not None
    deaf.stdout.readline()
    try:
        run = run_of(event, deaf.pid)
        run.set_status("running", step=3, steps=10, pid=deaf.pid)
        begun = time.monotonic()
        run_jobs.cancel(run)
        assert time.monotonic() - begun < 1.0
        assert run_reports.reports(event)[0].phase == "stopping"
        run_jobs.cancel(run)  # asked again, it is ended by force
        assert deaf.wait(timeout=10) < 0
        assert run_reports.reports(event)[0].phase == "cancelled"
    finally:
        deaf.kill()
        deaf.wait()
        deaf.stdout.close()


def test_second_window_cannot_start_the_same_work(event: Event, process: subprocess.Popen[bytes]) -> None:
    run = run_of(event, process.pid)
    run.set_status("running", step=3, steps=10, pid=process.pid)
    for begin in (
        lambda: run_jobs.start_training(event, "fixmatch"),
        lambda: run_jobs.start_first_map(event),
        lambda: event_jobs.start_preparation(event),
    ):
        with pytest.raises(WorkspaceError, match="at work already"):
            begin()
    assert [path.name for path in event.runs_path.iterdir() if path.is_dir()] == [RUN_ID]


def test_of_ten_windows_at_once_one_starts_the_training(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(command: list[str], folder: Path, **_: object) -> None:
        time.sleep(0.02)
        write_json(folder / "job.json", asdict(job_module.Job(pid=os.getpid(), started=time.time(), name=folder.name)))

    monkeypatch.setattr(job_module, "start", start)
    monkeypatch.setattr("app.jobs.job.is_alive", lambda job: True)
    outcomes: list[str] = []

    def window() -> None:
        try:
            run_jobs.start_training(event, "fixmatch")
            outcomes.append("started")
        except WorkspaceError:
            outcomes.append("refused")

    windows = [threading.Thread(target=window) for _ in range(10)]
    for each in windows:
        each.start()
    for each in windows:
        each.join()
    assert sorted(outcomes) == ["refused"] * 9 + ["started"]


def test_stopped_training_goes_on_as_it_was_begun(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(event, dead_pid())
    write_json(run.settings_path, {})
    run.set_status("cancelled", step=3, steps=10, pid=dead_pid())
    write_json(run.path / "stopped.json", {})
    started: list[list[str]] = []
    monkeypatch.setattr(job_module, "start", lambda command, *_, **__: started.append(command))
    [report] = run_reports.reports(event)
    assert (report.phase, report.resumable) == ("cancelled", True)
    run_jobs.go_on(event, report)
    assert started == [["train", "town", "--resume", RUN_ID]]


def test_run_is_deleted_with_its_files_but_not_while_it_works(event: Event, process: subprocess.Popen[bytes]) -> None:
    run = run_of(event, process.pid)
    run.set_status("running", step=3, steps=10, pid=process.pid)
    with pytest.raises(WorkspaceError, match="stop it first"):
        run_jobs.delete(event, run)
    process.kill()
    process.wait()
    run_jobs.delete(event, run)
    assert run_reports.reports(event) == []
    assert not run.path.exists()


def test_new_event_that_cannot_be_made_says_why_and_keeps_what_was_asked(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    options = ["--pre", str(town.footprints), "--post", str(town.post), "--footprints", str(town.footprints)]
    event_jobs.start_new_event("quake", options, {"name": "quake"})
    report = _ended("quake")
    assert report.state == "failed" and "footprints.geojson" in report.message
    assert dict(report.job.form) == {"name": "quake"}
    assert [each.job.name for each in event_jobs.new_events()] == ["quake"]
    event_jobs.forget(report)
    assert event_jobs.new_events() == []


def test_new_event_is_made_once_and_its_progress_is_reported(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    options = ["--pre", str(town.pre), "--post", str(town.post), "--footprints", str(town.footprints)]
    event_jobs.start_new_event("quake", options, {})
    with pytest.raises(WorkspaceError, match=r"being made already|already; choose another"):
        event_jobs.start_new_event("quake", options, {})
    assert _ended("quake").state == "done"
    event = Event.open(town.workspace, "quake")
    event_jobs.start_preparation(event)
    deadline = time.monotonic() + 120
    while event_jobs.preparing(event) and time.monotonic() < deadline:
        time.sleep(0.1)
    report = event_jobs.preparation(event)
    assert report is not None
    assert (report.state, report.said.stage, report.said.done, report.said.total) == ("done", "patches", 16, 16)


def _ended(name: str) -> job_module.JobReport:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        report = event_jobs.new_event(name)
        if report is not None and not report.active:
            return report
        time.sleep(0.1)
    raise AssertionError("it did not end")


def at_work(folder: Path, pid: int, title: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    job = job_module.Job(pid=pid, started=time.time(), name=folder.name, title=title)
    write_json(folder / "job.json", asdict(job))


def test_pairs_are_not_cut_beside_the_making_of_features_nor_the_other_way_round(
    event: Event, process: subprocess.Popen[bytes]
) -> None:
    at_work(event.path / "features_job", process.pid, "Getting the live model ready (step 2)")
    with pytest.raises(WorkspaceError, match=r"live model ready .* is at work already"):
        event_jobs.start_preparation(event)
    (event.path / "features_job" / "job.json").unlink()
    at_work(event_jobs.preparation_folder(event), process.pid, "Preparing the imagery")
    with pytest.raises(WorkspaceError, match="Preparing the imagery is at work already"):
        event_jobs.start_features(event)


def test_who_may_only_look_starts_stops_and_deletes_nothing(
    event: Event, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = add_run(event, {})
    at_work(event.path / "features_job", process.pid)
    monkeypatch.setattr("app.auth.people.server", lambda: replace(server(), read_only=True))
    report = event_jobs.features(event)
    assert report is not None
    for forbidden in (
        lambda: event_jobs.start_new_event("new", [], {}),
        lambda: event_jobs.start_preparation(event),
        lambda: event_jobs.start_detection(event),
        lambda: event_jobs.start_fetch(event),
        lambda: event_jobs.start_footprints(event, []),
        lambda: event_jobs.start_features(event),
        lambda: run_jobs.start_training(event, "fixmatch"),
        lambda: run_jobs.start_first_map(event),
        lambda: run_jobs.go_on(event, run_reports.reports(event)[0]),
        lambda: event_jobs.stop_features(event),
        lambda: run_jobs.cancel(run),
        lambda: run_jobs.delete(event, run),
        lambda: event_jobs.forget(report),
    ):
        with pytest.raises(InputError, match="role of an analyst"):
            forbidden()
    assert process.poll() is None and run.path.exists()
    assert [path.name for path in event.runs_path.iterdir()] == [run.run_id]
