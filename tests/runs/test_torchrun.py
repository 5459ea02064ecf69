"""`torchrun … -m damage_ssl.runs.torchrun` as people type it: two processes, Gloo, on the CPU."""

import os
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from damage_ssl import workflow
from damage_ssl.events.event import Event
from damage_ssl.learning.tensor_files import read_tensors
from damage_ssl.runs.run import Run, runs_in
from damage_ssl.runs.torchrun import train_together
from tests.conftest import REPOSITORY
from tests.runs.test_transfer import drawn as drawn
from tests.runs.test_transfer import labelled
from tests.runs.test_transfer import north as north
from tests.runs.test_transfer import town as town

SETTINGS = """
[train]
algorithm = "adamatch"
network = "small-cnn"
steps = 3
batch_labelled = 5
unlabelled_ratio = 1
input_px = 32
prediction_rotations = 1
device = "cpu"
[train.options]
head_start = "logistic"
start_weight = 0.0
[split]
block_m = 24.0
min_validation_per_class = 1
min_train_per_class = 1
"""
KEEPING = """
# Runs the module as torchrun's -m does, but keeps the folder that a process beside the first works in.
import contextlib, os, runpy, sys, tempfile
from pathlib import Path

@contextlib.contextmanager
def kept():
    folder = Path(sys.argv[0]).parent / f"rank-{os.environ['RANK']}"
    folder.mkdir()
    yield str(folder)

tempfile.TemporaryDirectory = kept
runpy.run_module("damage_ssl.runs.torchrun", run_name="__main__")
"""

pytestmark = [
    pytest.mark.skipif(
        not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
        reason="this build of torch has no torch.distributed with Gloo",
    ),
]


def torchrun(script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = ["--nproc-per-node", 2, "--master-addr", "127.0.0.1", "--master-port", port, script, *arguments]
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *map(str, given)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def largest_difference(one: Run, other: Run) -> float:
    first, second = (read_tensors(run.checkpoint_path)[0] for run in (one, other))
    assert first.keys() == second.keys()
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


@pytest.mark.long
def test_two_processes_that_torchrun_starts_end_with_the_weights_of_one(
    town: Event, north: Event, tmp_path: Path
) -> None:
    labelled(town)
    shutil.copytree(town.path.parent, tmp_path / "alone")
    settings, script = tmp_path / "settings.toml", tmp_path / "keeping.py"
    settings.write_text(SETTINGS)
    script.write_text(KEEPING)
    command = ["town", "--workspace", town.path.parent, "--settings", settings, "--source", "north"]
    done = torchrun(script, *command)
    assert done.returncode == 0, done.stderr[-3000:]

    (together,) = runs_in(town.runs_path)
    assert done.stdout.splitlines() == [f"{together.run_id}: trained"]
    assert len(workflow.plan_of(together).sources[0].train_id) > 0
    (beside,) = (tmp_path / "rank-1").iterdir()
    assert largest_difference(together, Run(beside)) == 0
    assert not (tmp_path / "rank-0").exists()  # the first one works in the run itself

    torch.set_num_threads(1)
    alone = train_together(tmp_path / "alone", "town", tomllib.loads(SETTINGS), ["north"])
    assert 0 <= largest_difference(together, alone) < 1e-5
    workflow.predict_event(town, together)
    assert together.finished
