from pathlib import Path

import pytest

from damage_ssl.errors import WorkspaceError
from damage_ssl.runs.run import Run, latest_finished


def finished(folder: Path, name: str, *, weights: bool) -> Run:
    run = Run(folder / name)
    run.path.mkdir(parents=True)
    for path in (run.settings_path, run.calibration_path, run.predictions_path):
        path.touch()
    if weights:
        run.checkpoint_path.touch()
    run.set_status("finished", step=1, steps=1)
    return run


def test_trained_run_is_shown_before_a_newer_change_score(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="no finished run"):
        latest_finished(tmp_path)
    finished(tmp_path, "a-change", weights=False)
    assert latest_finished(tmp_path).run_id == "a-change"
    finished(tmp_path, "b-trained", weights=True)
    finished(tmp_path, "c-trained", weights=True)
    finished(tmp_path, "d-change", weights=False)
    assert latest_finished(tmp_path).run_id == "c-trained"
