"""What is read of work on disk: damaged records, those of an older version, lists."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from app.jobs import job as processes
from app.jobs.job import Job, report_in
from damage_ssl.files import write_json
from damage_ssl.progress import read_progress

Begin = Callable[[str], Path]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": "x", "started": 0, "name": "x"}', '{"pid": 1}'])
def test_damaged_record_reads_as_work_that_has_ended(text: str, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(text)
    report = report_in(tmp_path)
    assert report is not None and (report.state, report.active) == ("interrupted", False)
    assert "job.json" in report.message and "start it again" in report.message
    processes.stop(tmp_path)
    report = report_in(tmp_path)
    assert report is not None and report.state == "stopped"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"state": "gone"}', '{"state": "failed", "done": "x"}'])
def test_damaged_state_is_no_state(text: str, tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text(text)
    assert read_progress(tmp_path / "progress.json") is None


def test_work_of_the_version_before_is_read(tmp_path: Path) -> None:
    job = {"pid": 2**22 + 1, "started": 5.0, "name": "x", "algorithm": "", "title": "Cutting", "arguments": ["patches"]}
    write_json(tmp_path / "job.json", job | {"process_start": "77", "form": {}, "later": 1})
    said = {"state": "failed", "stage": "patches", "done": 3, "total": 9, "remark": "", "stage_started": 1.0}
    write_json(tmp_path / "progress.json", said | {"updated": 2.0, "message": "the disk is full; free some space"})
    report = report_in(tmp_path)
    assert report is not None and report.state == "failed"
    assert (report.message, report.said.done, report.job.started) == ("the disk is full; free some space", 3, 5.0)


def test_listed_work_is_the_newest_first_and_other_files_are_passed_over(tmp_path: Path) -> None:
    for name, started in (("a", 1.0), ("b", 3.0), ("c", 2.0)):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "job.json", asdict(Job(pid=2**22 + 1, started=started, name=name)))
    (tmp_path / "stray").write_text("")
    (tmp_path / ".jobs.lock").write_text("")
    assert [report.job.name for report in processes.reports_in(tmp_path)] == ["b", "c", "a"]
    assert processes.reports_in(tmp_path / "none") == []
