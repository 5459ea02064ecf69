"""Trainings whose views mix or follow a found policy: they end, and go on exactly after a stop."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from damage_ssl.errors import SettingsError
from damage_ssl.learning.training import check_settings, train
from tests.learning.augmentation.test_policy import policy
from tests.learning.test_training import PAIRS, TARGETS, new_run, one_thread, run, settings, stop_after, weights

__all__ = ["one_thread", "run"]


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        ("fixmatch", {"strong_policy": "augmix", "consistency": "jensen-shannon"}),
        ("supervised-strong", {"strong_policy": "autoaugment", "cutmix_probability": 0.5}),
        ("mixmatch", {"operations": "brightness noise@context patch-gaussian", "consistency": "jensen-shannon"}),
    ],
)
def test_a_training_ends_and_goes_on_exactly_after_a_stop(
    algorithm: str, options: dict[str, Any], tmp_path: Path
) -> None:
    if options.get("strong_policy") == "autoaugment":
        options = options | {"policy": json.dumps(policy().to_json())}
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


def test_a_policy_that_cannot_be_used_is_refused_before_a_run_begins() -> None:
    with pytest.raises(SettingsError, match="go together"):
        check_settings(settings(options={"strong_policy": "autoaugment"}), "here")
