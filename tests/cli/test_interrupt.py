"""A training that is asked to end leaves a checkpoint, and the same command goes on from there."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from damage_ssl.runs.run import Run, RunStatus, runs_in
from damage_ssl.simulation.event import SimulatedEvent
from tests.cli.conftest import Outcome, grades_of, write_labels


def wait_until(condition: Callable[[], bool], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def status_of(run: Run) -> RunStatus:
    return run.status()


@pytest.mark.long
def test_terminated_training_is_gone_on_with_under_the_same_name(
    run: Callable[..., Outcome], simulated: SimulatedEvent, cut: Path, tmp_path: Path
) -> None:
    workspace = cut
    labels = write_labels(tmp_path / "labels.csv", dict(list(grades_of(simulated.truth).items())[:40]))
    run("label", "import", "town", labels, "--workspace", workspace)
    flags = ["--network", "small-cnn", "--steps", "24", "--workspace", str(workspace), "--json"]
    command = [sys.executable, "-m", "damage_ssl", "train", "town", *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    folder = workspace / "town" / "runs"

    def training() -> bool:
        return any(status_of(each).step >= 5 for each in runs_in(folder)) or process.poll() is not None

    wait_until(training)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=300) == 130
    (stopped,) = runs_in(folder)
    status = stopped.status()
    assert status.state == "cancelled"
    assert 5 <= status.step < 24

    finished = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert json.loads(finished.stdout)["run_id"] == stopped.run_id
    assert stopped.status().state == "finished"
    steps = [line["step"] for line in stopped.metrics() if "loss" in line]
    assert steps == sorted(set(steps))
    assert steps[-1] == 24
