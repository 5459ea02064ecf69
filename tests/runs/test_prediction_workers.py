"""Prediction on other processes and on a Dask cluster: the same numbers as in this one."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from damage_ssl.learning.checkpoints import CheckpointCard, save_model
from damage_ssl.learning.networks.pair_network import NetworkSpec, build_network
from damage_ssl.runs.raw_predictions import predict_run
from damage_ssl.runs.run import Run
from damage_ssl.settings import PatchSettings, Resources
from damage_ssl.workflow import cut_patches
from tests.conftest import Town


def trained(path: Path) -> Run:
    """A run with weights that nobody trained."""
    spec = NetworkSpec(network="small-cnn", fusion="siamese", channels=7, input_px=32, classes=2)
    card = CheckpointCard(
        spec=spec,
        scheme="binary-major",
        class_names=("intact", "damaged"),
        size_px=32,
        gsd_m=0.5,
        context_gsd_m=None,
        rotations=4,
        training={},
        steps=1,
        version="0",
    )
    network = build_network(spec, torch.Generator().manual_seed(0))
    torch.nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(1))
    path.mkdir()
    save_model(Run(path), network, card, "abc")
    return Run(path)


def test_worker_processes_predict_the_same_numbers(town: Town, tmp_path: Path) -> None:
    store = cut_patches(town.create(), PatchSettings(size_px=32, context_gsd_m=0, align="off"))
    run = trained(tmp_path / "run")
    told: list[tuple[int, int]] = []
    here = predict_run(run, store, chunk=6)
    elsewhere = predict_run(run, store, chunk=6, resources=Resources(workers=2), progress=lambda *now: told.append(now))
    pd.testing.assert_frame_equal(here, elsewhere, check_exact=True)
    assert here["p_damaged"].std() > 1e-4
    assert told[-1] == (16, 16)


@pytest.mark.long
def test_dask_cluster_predicts_the_same_numbers(town: Town, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    store = cut_patches(town.create(), PatchSettings(size_px=32, context_gsd_m=0, align="off"))
    run = trained(tmp_path / "run")
    here = predict_run(run, store, chunk=6)
    run.predictions_path.unlink()
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        pd.testing.assert_frame_equal(here, predict_run(run, store, chunk=6, client=client), check_exact=True)
        assert run.predictions_path.exists()
        by_address = Resources(cluster=local.scheduler_address)
        pd.testing.assert_frame_equal(here, predict_run(run, store, chunk=6, resources=by_address), check_exact=True)
