"""The rule that calls a change damage: on drawn changes whose damaged share is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from damage_ssl.runs.change_score import change_scale

USUAL, SPREAD = 0.65, 0.09
UNRELATED = np.random.default_rng(9).normal(1.0, 0.08, 512)


def changes(share_damaged: float, count: int = 2000) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rng = np.random.default_rng(3)
    damaged = np.arange(count) < round(share_damaged * count)
    return np.where(damaged, rng.normal(0.97, 0.08, count), rng.normal(USUAL, SPREAD, count)), damaged


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4, 0.6, 0.8])
def test_the_damaged_are_found_whatever_their_share(share: float) -> None:
    change, damaged = changes(share)
    called = change >= change_scale(change, UNRELATED).threshold
    assert called[damaged].mean() > 0.85
    assert called[~damaged].mean() < 0.06


@pytest.mark.parametrize("usual", [0.3, 0.5, 0.7])
def test_an_event_without_damage_is_not_halved(usual: float) -> None:
    change = np.random.default_rng(3).normal(usual, SPREAD, 1000)
    assert (change >= change_scale(change, UNRELATED).threshold).mean() < 0.1


def test_score_is_half_at_the_threshold_grows_with_change_and_stays_within_bounds() -> None:
    change, _ = changes(0.3)
    scale = change_scale(change, UNRELATED)
    grid = np.linspace(-3, 5, 200)
    score = scale.score(grid)
    assert (np.diff(score) >= 0).all() and score.min() >= 0 and score.max() <= 1
    assert scale.score(np.array([scale.usual, scale.threshold, scale.unrelated])) == pytest.approx([0.05, 0.5, 0.95])


def test_everything_destroyed_still_gives_a_threshold_below_unrelated_buildings() -> None:
    change, _ = changes(1.0)
    scale = change_scale(change, UNRELATED)
    assert scale.usual < scale.threshold < scale.unrelated
    assert (change >= scale.threshold).mean() > 0.3


def test_the_verdict_says_that_it_had_no_labels() -> None:
    calibration = change_scale(*changes(0.3)[:1], UNRELATED).calibration()
    assert calibration.n_validation == 0
    assert calibration.threshold == 0.5
    assert "no labels" in calibration.method and "not calibrated" in calibration.method
