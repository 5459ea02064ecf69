"""The order of runs does not depend on the clock, nor on the times of files."""

import os
import time
from pathlib import Path

import pytest

from damage_ssl.events.event import Event
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.runs.plan import RunPlan, planned_run
from damage_ssl.runs.run import runs_in
from damage_ssl.settings import SplitSettings


def plan(seed: int) -> RunPlan:
    return RunPlan(
        train=TrainSettings(algorithm="fixmatch", seed=seed),
        split=SplitSettings(),
        train_id=(),
        train_class=(),
        validation_id=(),
        validation_class=(),
        block_m=20.0,
        patches_fingerprint="",
    )


def test_run_planned_after_the_clock_was_set_back_is_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = Event(tmp_path / "town", "town")
    planned_run(event, plan(1), run_id="z-first")
    back = time.time_ns() - 10**15
    monkeypatch.setattr("time.time_ns", lambda: back)
    planned_run(event, plan(2), run_id="a-second")
    for run in runs_in(event.runs_path):  # as the clock of that day says, or a copy
        os.utime(run.settings_path, (1e9 - len(run.run_id), 1e9 - len(run.run_id)))
    assert [run.run_id for run in runs_in(event.runs_path)] == ["z-first", "a-second"]
