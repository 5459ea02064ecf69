"""Spreads, intervals and the noise of small validation sets, against numbers worked out by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from damage_ssl.benchmarking.statistics import Spread, auroc, block_error, selection_noise, spread


def test_auroc_is_that_of_scikit_learn_with_ties() -> None:
    rng = np.random.default_rng(0)
    score, positive = rng.integers(0, 6, 80) / 5, rng.random(80) < 0.3
    assert auroc(score, positive) == pytest.approx(roc_auc_score(positive, score))


def test_spread_of_three_scores() -> None:
    found = spread([0.8, 0.9, 1.0])
    # sd 0.1; Student's t of two degrees of freedom 4.3027; 4.3027 * 0.1 / sqrt(3) = 0.2484
    assert (found.n, found.mean, found.sd) == (3, pytest.approx(0.9), pytest.approx(0.1))
    assert (found.low, found.high) == (pytest.approx(0.6516, abs=1e-4), pytest.approx(1.1484, abs=1e-4))


def test_choice_of_blocks_widens_the_interval() -> None:
    found = spread([0.9, 0.9, 0.9], block_sd=0.05)
    assert found.low == pytest.approx(0.9 - 1.96 * 0.05)


def test_intervals_overlap_where_they_share_a_value() -> None:
    def of(low: float | None, high: float | None) -> Spread:
        return Spread(n=3, mean=0.5, sd=0.1, low=low, high=high)

    assert of(0.1, 0.5).overlaps(of(0.5, 0.9))
    assert not of(0.1, 0.4).overlaps(of(0.5, 0.9))
    assert of(None, None).overlaps(of(0.5, 0.9))


def test_blocks_that_are_alike_add_no_error() -> None:
    p = np.tile([0.1, 0.6, 0.4, 0.9], 5)
    positive = np.tile([False, False, True, True], 5)
    block = np.repeat([f"b{n}" for n in range(5)], 4)
    assert block_error([p], positive, block) == pytest.approx(0.0, abs=1e-12)
    uneven = p.copy()
    uneven[:4] = [0.9, 0.8, 0.1, 0.2]
    assert block_error([uneven], positive, block) > 0.05


def test_noise_of_a_set_of_two_is_that_of_one_comparison() -> None:
    # One damaged and one intact building: their order is right with probability AUROC = 3/4, so sd = sqrt(3/4 * 1/4).
    positive = np.array([True, True, False, False])
    p = np.array([0.9, 0.4, 0.5, 0.1])
    assert auroc(p, positive) == 0.75
    found = selection_noise(
        {"one": [p]}, {"one": [0.7]}, positive, sizes=[2], draws=3000, rng=np.random.default_rng(0)
    )[0]
    assert found.sd == pytest.approx(math.sqrt(3 / 16), abs=0.015)
    assert (found.gap, found.right, found.lost) == (None, 1.0, 0.0)


def test_a_set_of_two_chooses_between_a_perfect_and_a_poor_method_as_often_as_worked_out() -> None:
    # Perfect: always right. Poor: right with 3/4, then the two tie and the draw is by lot: 1/4 + 3/4 * 1/2 = 5/8.
    positive = np.array([True, True, False, False])
    p = {"perfect": [np.array([0.9, 0.8, 0.2, 0.1])], "poor": [np.array([0.9, 0.4, 0.5, 0.1])]}
    found = selection_noise(
        p, {"perfect": [0.95], "poor": [0.75]}, positive, sizes=[2], draws=3000, rng=np.random.default_rng(0)
    )[0]
    assert found.gap == pytest.approx(0.25)
    assert found.right == pytest.approx(5 / 8, abs=0.02)
    assert found.lost == pytest.approx(3 / 8 * 0.2, abs=0.005)


def test_a_perfect_model_has_no_noise() -> None:
    positive = np.arange(20) < 6
    p = positive * 0.5 + 0.2
    found = selection_noise({"a": [p]}, {"a": [1.0]}, positive, sizes=[5, 20], draws=20, rng=np.random.default_rng(0))
    assert [each.sd for each in found] == [0.0, 0.0]
