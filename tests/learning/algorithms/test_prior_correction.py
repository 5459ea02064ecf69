"""Intercepts that balance what is predicted for the labelled buildings."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from damage_ssl.learning.algorithms.remedies.prior_correction import intercepts
from damage_ssl.learning.predictor import load_predictor
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.training import train
from damage_ssl.runs.run import Run
from tests.learning.trainer.drawn_pairs import draw_pairs, targets_of


def shifted(p: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = p * np.exp(by)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def leaning(classes: int, count: int = 60) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Predictions that know something, and all lean to the first class; labels of unequal counts."""
    rng = np.random.default_rng(0)
    known = np.sort(rng.choice(classes, count, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum()))
    scores = rng.normal(0, 1, (count, classes)) + 1.5 * np.eye(classes)[known]
    scores[:, 0] += 4
    powers = np.exp(scores)
    return powers / powers.sum(axis=1, keepdims=True), known


@pytest.mark.parametrize("classes", [2, 4])
def test_predictions_are_balanced_where_each_class_weighs_the_same(classes: int) -> None:
    p, known = leaning(classes)
    assert p[:, 0].mean() > 0.7
    balanced = shifted(p, intercepts(p, known))
    of_class = [balanced[known == each].mean(axis=0) for each in range(classes)]
    np.testing.assert_allclose(np.mean(of_class, axis=0), 1 / classes, atol=1e-5)


def test_order_of_buildings_stays() -> None:
    p, known = leaning(2)
    assert (np.argsort(shifted(p, intercepts(p, known))[:, 1]) == np.argsort(p[:, 1])).all()


def test_balanced_predictions_are_left_as_they_are() -> None:
    p, known = leaning(2)
    first = shifted(p, intercepts(p, known))
    np.testing.assert_allclose(intercepts(first, known), 0, atol=1e-5)


def test_class_without_labels_keeps_its_logit_and_the_others_share_the_rest() -> None:
    p, known = leaning(3)
    few = known != 1
    found = intercepts(p[few], known[few])
    assert found[1] == 0
    assert np.isfinite(found).all()
    mean = np.mean([shifted(p[few], found)[known[few] == each].mean(axis=0) for each in (0, 2)], axis=0)
    assert mean[0] == pytest.approx(mean[2], abs=1e-5)


def test_certain_predictions_give_finite_intercepts() -> None:
    found = intercepts(np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), np.array([0, 0, 1]))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("network", ["small-cnn", "cached:small-cnn"])
def test_mixmatch_ends_with_balanced_predictions_of_the_labelled(network: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    pairs, classes = draw_pairs(40)
    pairs = pairs.take(np.argsort(classes, kind="stable"))  # 20 intact, then 20 damaged
    classes = np.sort(classes)
    few = np.r_[0:12, 20:24]
    targets = targets_of(pairs.take(few), classes[few], train=len(few))
    settings = TrainSettings(
        algorithm="mixmatch",
        network=network,
        input_px=32,
        steps=4,
        batch_labelled=4,
        unlabelled_ratio=2,
        device="cpu",
        prediction_rotations=1,
    )
    train(pairs, targets, settings, Run(tmp_path))
    p = load_predictor(Run(tmp_path)).predict(pairs.take(few))[:, 1]
    assert (p[classes[few] == 0].mean() + p[classes[few] == 1].mean()) / 2 == pytest.approx(0.5, abs=0.01)
