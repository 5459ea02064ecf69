"""Totals and their bounds, against closed forms, exact tails and simulation."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from benchmarks.total_coverage import score_of, singly, tiles, town
from damage_ssl.evaluation.random_sample import FROM_ALL, RandomSample
from damage_ssl.evaluation.small_areas import pooled_units
from damage_ssl.evaluation.total_estimates import (
    TotalEstimate,
    answers_for,
    estimate_total,
    mid_p_bounds,
    score_parts,
    too_few,
)


def sample_of(rows: list[int], size: int, **changes: object) -> RandomSample:
    n, none = len(rows), np.zeros(0, dtype=np.intp)
    values = {
        "size": size,
        "row": np.array(rows, dtype=np.intp),
        "weight": np.ones(n),
        "cluster": np.arange(n),
        "after": np.full(n, FROM_ALL),
        "known_row": none,
        "known_at": none,
    }
    return RandomSample(**(values | changes))  # type: ignore[arg-type]


def estimated(
    sample: RandomSample, damaged: NDArray[np.bool_], score: NDArray[np.float64] | None = None
) -> TotalEstimate:
    truth = np.full(sample.size, np.nan)
    truth[sample.row] = damaged[sample.row]
    truth[sample.known_row] = damaged[sample.known_row]
    return estimate_total(sample, truth, score_parts(score, sample))


@pytest.mark.parametrize(("hits", "n"), [(1, 10), (7, 20), (39, 40), (3, 400)])
def test_mid_p_bounds_halve_what_was_seen(hits: int, n: int) -> None:
    low, high = (float(each[0]) for each in mid_p_bounds(np.array([hits]), np.array([n])))
    assert binom.sf(hits, n, low) + binom.pmf(hits, n, low) / 2 == pytest.approx(0.025, abs=1e-6)
    assert binom.cdf(hits - 1, n, high) + binom.pmf(hits, n, high) / 2 == pytest.approx(0.025, abs=1e-6)


def test_mid_p_bounds_at_the_ends() -> None:
    low, high = mid_p_bounds(np.array([0.0, 20.0]), np.array([20.0, 20.0]))
    assert (low[0], high[1]) == (0.0, 1.0)
    assert high[0] == pytest.approx(1 - 0.05 ** (1 / 20), abs=1e-6)  # half of (1 - p)^n is 2.5 %
    assert low[1] == pytest.approx(0.05 ** (1 / 20), abs=1e-6)


def test_simple_random_sample_gives_the_share_times_the_buildings() -> None:
    damaged = np.arange(100) < 30
    found = estimated(sample_of([*range(12), *range(40, 68)], 100), damaged)
    assert found.value == pytest.approx(100 * 12 / 40)
    assert 12 <= found.low < found.value < found.high <= 100 - 28


def test_asking_everybody_leaves_no_doubt() -> None:
    found = estimated(sample_of([*range(100)], 100), np.arange(100) < 30)
    assert (found.low, found.value, found.high) == (30, 30, 30)


def test_parts_by_hand() -> None:
    """80 low scores, 4 of 16 answers damaged; 20 high ones, 6 of 8: 80/4 + 20·3/4 = 35."""
    damaged = np.zeros(100, dtype=bool)
    damaged[:4] = damaged[80:86] = True
    score = np.where(np.arange(100) < 80, 0.1, 0.9)
    found = estimated(sample_of([*range(16), *range(80, 88)], 100), damaged, score)
    assert (found.parts, found.value) == (2, pytest.approx(35))


def test_draw_counts_for_those_left_and_adds_what_was_known() -> None:
    """Des Raj by hand: before draw 1 none is known, before draw 2 two of 10, both damaged: 10·0 and 2 + 8·1."""
    damaged = np.array([True, True, False, True, *[False] * 6])
    sample = sample_of([2, 3], 10, after=np.array([0, 3]), known_row=np.array([0, 1]), known_at=np.array([1, 2]))
    assert estimated(sample, damaged).value == pytest.approx((10 * 0 + (2 + 8 * 1)) / 2)


def test_answers_are_unbiased_though_the_likely_ones_were_labelled_first() -> None:
    """A queue that asks for the likeliest building after each random draw would mislead a plain mean."""
    rng, totals, plain = np.random.default_rng(0), [], []
    for _ in range(300):
        damaged = rng.random(120) < 0.3
        likely = np.argsort(-(damaged + rng.normal(size=120) * 0.3))
        drawn, known, at = [], [], []
        for step in range(0, 60, 2):
            left = np.setdiff1d(np.arange(120), drawn + known)
            drawn.append(int(rng.choice(left)))
            at.append(step)
            known.append(next(int(each) for each in likely if each not in drawn and each not in known))
        sample = sample_of(drawn, 120, after=np.array(at), known_row=np.array(known), known_at=np.array(at) + 1)
        totals.append(estimated(sample, damaged).value - damaged.sum())
        plain.append(120 * damaged[drawn].mean() - damaged.sum())
    assert abs(np.mean(totals)) < 1.5
    assert np.mean(plain) < -5


def test_perfect_model_still_has_bounds_and_narrower_ones() -> None:
    damaged = np.arange(600) % 3 == 0
    sample = singly(600, 40, np.random.default_rng(1))
    alone, helped = estimated(sample, damaged), estimated(sample, damaged, damaged.astype(float))
    assert helped.value == pytest.approx(200)
    assert 0 < helped.high - helped.low < 0.75 * (alone.high - alone.low)


def test_model_that_flags_everything_is_put_right() -> None:
    damaged = np.arange(600) % 10 == 0
    found = estimated(singly(600, 100, np.random.default_rng(2)), damaged, np.ones(600))
    assert found.low <= 60 <= found.high < 150


def test_no_damage_seen_is_not_no_damage() -> None:
    found = estimated(singly(600, 40, np.random.default_rng(0)), np.zeros(600, dtype=bool))
    assert (found.value, found.low) == (0, 0)
    assert 20 < found.high < 60
    assert answers_for(0.1, found, singly(600, 40, np.random.default_rng(0))) is None


def test_bounds_never_leave_what_was_seen_and_what_exists() -> None:
    damaged = np.arange(40) < 30
    sample = sample_of([0, 1, 2, 3, 4, 30, 31, 32, 5, 6], 40, known_row=np.arange(10, 29), known_at=np.full(19, 99))
    found = estimated(sample, damaged)
    assert found.low >= 26 and found.high <= 40 - 3


def test_tiles_that_are_alike_within_say_less_than_as_many_single_answers() -> None:
    damaged, tile = town(0.3, 0.6, np.random.default_rng(3))
    sample = tiles(tile, 12, np.random.default_rng(4))
    singles = singly(len(tile), sample.n, np.random.default_rng(4))
    wide, narrow = estimated(sample, damaged), estimated(singles, damaged)
    assert wide.high - wide.low > 1.8 * (narrow.high - narrow.low)


def test_weights_undo_unequal_chances() -> None:
    rng = np.random.default_rng(5)
    damaged = np.arange(1000) < 200
    p = np.where(damaged, 0.4, 0.05)
    values = []
    for _ in range(60):
        rows = np.flatnonzero(rng.random(1000) < p).tolist()
        values.append(estimated(sample_of(rows, 1000, weight=1 / p[rows]), damaged).value)
    assert np.mean(values) == pytest.approx(200, rel=0.05)


def test_too_few_says_what_would_be_enough() -> None:
    assert too_few(sample_of([1, 2, 3], 50)) == "too few to say: 3 random answers; 7 more would give bounds"
    in_tiles = sample_of([*range(12)], 50, cluster=np.repeat([0, 1, 2], 4))
    assert too_few(in_tiles) == "too few to say: 3 random tiles; 2 more would give bounds"
    assert too_few(sample_of([*range(10)], 50)) is None


def test_answers_for_follows_one_over_n() -> None:
    """Half-width 40 % of the total from 25 of a million: sixteen times as many for 10 %."""
    none = np.zeros(1)
    found = TotalEstimate(value=1000, low=600, high=1400, share=none, effective=none)
    sample = sample_of([*range(25)], 1_000_000)
    assert answers_for(0.1, found, sample) == pytest.approx(15 * 25, abs=1)
    assert answers_for(0.5, found, sample) == 0


def test_unit_without_answers_takes_the_event_s_share_and_wider_bounds() -> None:
    damaged = np.arange(900) % 3 == 0
    unit = np.repeat([0, 1, 2], 300)
    sample = sample_of([*range(0, 600, 10)], 900)
    truth = np.full(900, np.nan)
    truth[sample.row] = damaged[sample.row]
    part = np.zeros(900, dtype=np.intp)
    found = pooled_units(sample, truth, part, unit, estimate_total(sample, truth, part), 3)
    assert found.answers.tolist() == [30, 30, 0]
    assert found.value[2] == pytest.approx(300 * damaged[sample.row].mean(), abs=1)
    assert found.high[2] - found.low[2] > found.high[0] - found.low[0]
    assert (found.low <= 100).all() and (found.high >= 100).all()


@pytest.mark.parametrize(("model", "prevalence", "n"), [("good", 0.3, 40), ("biased", 0.1, 40), ("none", 0.05, 20)])
def test_bounds_cover(model: str, prevalence: float, n: int) -> None:
    assert _coverage(model, prevalence, n, 150) >= 0.9


@pytest.mark.long
@pytest.mark.parametrize("model", ["none", "good", "poor", "useless", "biased"])
@pytest.mark.parametrize("prevalence", [0.01, 0.2, 0.6])
@pytest.mark.parametrize("n", [10, 40, 400])
def test_bounds_cover_in_many_settings(model: str, prevalence: float, n: int) -> None:
    assert _coverage(model, prevalence, n, 600) >= 0.93


def _coverage(model: str, prevalence: float, n: int, repetitions: int) -> float:
    rng, held = np.random.default_rng(11), 0
    for _ in range(repetitions):
        damaged, _tile = town(prevalence, 0.0, rng)
        found = estimated(singly(len(damaged), n, rng), damaged, score_of(damaged, model, rng))
        held += found.low <= damaged.sum() <= found.high
    return held / repetitions
