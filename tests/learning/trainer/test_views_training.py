"""Trainings whose views mix: they end, and go on exactly after a stop."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from damage_ssl.learning.training import train
from tests.learning.test_training import PAIRS, TARGETS, new_run, one_thread, run, settings, stop_after, weights

__all__ = ["one_thread", "run"]


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        ("fixmatch", {"strong_policy": "augmix", "consistency": "jensen-shannon"}),
        ("supervised-strong", {"cutmix_probability": 0.5}),
        ("mixmatch", {"operations": "brightness noise@context patch-gaussian", "consistency": "jensen-shannon"}),
    ],
)
def test_a_training_ends_and_goes_on_exactly_after_a_stop(
    algorithm: str, options: dict[str, Any], tmp_path: Path
) -> None:
    chosen = settings(algorithm=algorithm, options=options, steps=4)
    unbroken, broken = new_run(tmp_path / "unbroken"), new_run(tmp_path / "broken")
    train(PAIRS, TARGETS, chosen, unbroken)
    assert all(np.isfinite(line["loss"]) for line in unbroken.metrics() if "loss" in line)
    train(PAIRS, TARGETS, chosen, broken, should_stop=stop_after(2))
    assert broken.status().state == "cancelled"
    train(PAIRS, TARGETS, chosen, broken)
    one, other = weights(unbroken), weights(broken)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
