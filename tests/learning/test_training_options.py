"""Trainings with heads, learned strengths and remedies for unequal classes: they end, and go on exactly."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms.adamatch import AdaMatch
from damage_ssl.learning.predictor import load_predictor
from damage_ssl.learning.tensor_files import read_tensors
from damage_ssl.learning.training import check_settings, train
from tests.learning.test_training import (
    CLASSES,
    PAIRS,
    TARGETS,
    new_run,
    one_thread,
    run,
    settings,
    stop_after,
    weights,
)
from tests.learning.trainer.drawn_pairs import targets_of

__all__ = ["one_thread", "run"]


ABC, CDMAD = {"imbalance": "abc", "abc_threshold": 0.5}, {"imbalance": "cdmad", "cdmad_start": 0.25}


@pytest.mark.parametrize(
    ("algorithm", "options", "kept"),
    [
        (
            "remixmatch",
            {"strong_views": 2},
            {"algorithm/predicted_share", "policy/rates", "student/auxiliary.rotation.bias"},
        ),
        ("adamatch", {}, set()),
        ("fixmatch", {"strong_policy": "ctaugment"}, {"policy/rates"}),
        ("fixmatch", ABC | {"strong_policy": "ctaugment"}, {"policy/rates", "average/auxiliary.abc.weight"}),
        ("mixmatch", ABC, {"student/auxiliary.abc.weight"}),
        ("adamatch", CDMAD, set()),
        ("remixmatch", CDMAD, {"algorithm/label_share"}),
    ],
)
def test_a_training_ends_with_a_plain_network_and_goes_on_exactly_after_a_stop(
    algorithm: str, options: dict[str, Any], kept: set[str], tmp_path: Path
) -> None:
    chosen = settings(algorithm=algorithm, options=options, steps=5)
    unbroken, broken = new_run(tmp_path / "unbroken"), new_run(tmp_path / "broken")
    train(PAIRS, TARGETS, chosen, unbroken)
    assert all(np.isfinite(line["loss"]) for line in unbroken.metrics() if "loss" in line)
    should_stop = stop_after(2)
    train(PAIRS, TARGETS, chosen, broken, should_stop=should_stop)
    assert broken.status().state == "cancelled"
    assert kept <= read_tensors(broken.resume_path)[0].keys()
    train(PAIRS, TARGETS, chosen, broken)
    one, other = weights(unbroken), weights(broken)
    assert one.keys() == other.keys() and not any("auxiliary" in name for name in one)
    assert all(torch.equal(one[name], other[name]) for name in one)
    p = load_predictor(unbroken).predict(PAIRS)
    assert p.shape == (40, 2) and np.isfinite(p).all()


def test_the_rates_learn_while_training(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    should_stop = stop_after(4)
    train(PAIRS, TARGETS, settings(options={"strong_policy": "ctaugment"}), run, should_stop=should_stop)
    rates = read_tensors(run.resume_path)[0]["policy/rates"]
    assert (rates < 1).any() and rates.min() > 0.8  # four probes of four pairs, decay 0.99


def test_remedies_change_the_prediction(tmp_path: Path) -> None:
    runs = {name: new_run(tmp_path / name) for name in ("none", "abc", "cdmad")}
    for name, each in runs.items():
        train(PAIRS, TARGETS, settings(steps=2, options={"imbalance": name}), each)
    plain, balanced, unbiased = (weights(each) for each in runs.values())
    assert not torch.equal(plain["head.weight"], balanced["head.weight"])
    assert not torch.equal(plain["head.bias"], unbiased["head.bias"])


def test_labelled_pairs_are_not_among_the_unlabelled_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()
    flat: set[bool] = set()
    whole = AdaMatch.loss

    def watched(self: AdaMatch, *args: Any, **kwargs: Any) -> Any:
        batch = args[2]
        seen.update(batch.unlabelled_index.tolist())
        images = batch.unlabelled[0][:, :6]
        flat.update((images.flatten(1).std(dim=1) < 1e-6).tolist())
        assert batch.unlabelled_total == 24  # of 40 pairs the first 8 train, the next 8 validate
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(AdaMatch, "loss", watched)
    options = {"unlabelled_rows": "unlabelled"}
    pre, post = PAIRS.close.pre.copy(), PAIRS.close.post.copy()
    pre[:16] = post[:16] = 90
    blank = replace(PAIRS, close=replace(PAIRS.close, pre=pre, post=post))
    train(blank, TARGETS, settings(algorithm="adamatch", options=options), new_run(tmp_path / "run"))
    assert len(seen) > 8 and max(seen) < 24
    assert flat == {False}


def test_nothing_unlabelled_is_an_error_that_helps(tmp_path: Path) -> None:
    everything = targets_of(PAIRS, CLASSES, train=40)
    with pytest.raises(SettingsError, match="all 40 pairs have labels; use 'all'"):
        train(PAIRS, everything, settings(options={"unlabelled_rows": "unlabelled"}), new_run(tmp_path / "run"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"imbalance": "abd"}, "allowed: none, abc, cdmad"),
        ({"strong_policy": "learned"}, "allowed: auto, random, ctaugment"),
        ({"cdmad_start": -1.0}, "cdmad_start is -1"),
        ({"unlabelled_rows": "some"}, "allowed: all, unlabelled"),
    ],
)
def test_impossible_options_are_refused_before_any_work(options: dict[str, Any], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        check_settings(settings(options=options), "here")
