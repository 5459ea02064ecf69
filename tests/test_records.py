"""Small records on disk: shape and ranges are checked at one door, and a fault names file, field and way out."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.jobs.job import job_in
from damage_ssl.errors import WorkspaceError
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.files import read_json, write_json
from damage_ssl.runs.run import Run, runs_in

WHOLE = {"threshold": 0.4, "temperature": 1.2, "n_validation": 9, "n_damaged": 3, "method": "by hand", "of a later": 1}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", 5),
        ("threshold", float("nan")),
        ("temperature", -1),
        ("temperature", 1e999),
        ("n_damaged", -2),
        ("share", 1.5),
        ("bias", "x"),
        ("method", None),
    ],
)
def test_value_out_of_range_is_named_with_its_file(field: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "town" / "runs" / "one" / "calibration.json"
    write_json(path, WHOLE)
    assert Calibration.read(path).threshold == 0.4
    path.write_text(json.dumps(WHOLE | {field: value}))
    with pytest.raises(WorkspaceError, match=rf"calibration\.json: is damaged \({field}: .*doctor town --repair"):
        Calibration.read(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b"\xff\xfe", b"[" * 100_000, b'{"state": "flying"}'])
def test_run_whose_state_is_damaged_is_listed_as_failed_and_says_why(content: bytes, tmp_path: Path) -> None:
    run = Run(tmp_path / "town" / "runs" / "one")
    run.path.mkdir(parents=True)
    run.status_path.write_bytes(content)
    (found,) = runs_in(run.path.parent)
    status = found.status()
    assert status.state == "failed" and not status.alive
    assert "status.json: is damaged" in status.message and "doctor town --repair" in status.message


@pytest.mark.parametrize("content", [b"", b"[]", b'{"pid": 7}', b'{"pid": [], "started": 1, "name": "x"}'])
def test_damaged_record_of_a_job_is_one_that_does_not_run(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_bytes(content)
    job = job_in(tmp_path)
    assert job is not None and job.pid == 0


@pytest.mark.parametrize("content", ["[" * 100_000, '{"name": "\\ud800"}'])
def test_json_that_cannot_be_handled_is_a_fault_of_its_content(content: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"nested|surrogates"):
        read_json(path)
