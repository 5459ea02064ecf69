"""The ranking of a first map: both scores have a say, the count stays that of the change score."""

import numpy as np

from damage_ssl.evaluation.first_map import combined_score, prior_say
from damage_ssl.evaluation.stacking.neighbourhood import neighbourhood

FAR = np.column_stack([np.arange(200) * 10_000.0, np.zeros(200)])


def test_the_values_are_those_of_the_change_score_in_another_order() -> None:
    rng = np.random.default_rng(0)
    change = rng.random(200)
    prior = change + 0.3 * rng.normal(size=200)
    found = combined_score(change, prior, neighbourhood(FAR))
    assert np.array_equal(np.sort(found), np.sort(change)) and not np.array_equal(found, change)


def test_a_prior_that_agrees_changes_nothing_and_its_scale_does_not_count() -> None:
    rng = np.random.default_rng(1)
    change = rng.random(200)
    assert np.array_equal(combined_score(change, 5 * change - 2, neighbourhood(FAR)), change)
    prior = change + 0.3 * rng.normal(size=200)
    one, other = (combined_score(change, scale * prior, neighbourhood(FAR)) for scale in (1.0, 100.0))
    assert np.array_equal(one, other)


def test_a_prior_that_contradicts_what_changed_has_no_say_and_one_that_hardly_agrees_little() -> None:
    change = np.random.default_rng(1).random(200)
    assert np.array_equal(combined_score(change, -change, neighbourhood(FAR)), change)
    score = np.random.default_rng(3).normal(size=1000)
    noise = np.random.default_rng(4).normal(size=1000)
    assert prior_say(score, -score) == 0.0 and prior_say(score, score) == 1.0
    assert 0.0 < prior_say(score, 0.15 * score + noise) < 1.0


def test_neighbours_that_are_damaged_raise_a_building() -> None:
    place = np.column_stack([np.repeat(np.arange(20) * 5000.0, 10), np.tile(np.arange(10) * 12.0, 20)])
    rng = np.random.default_rng(2)
    score = rng.normal(size=200)
    score[:100] += 2.0  # the first ten groups
    score[[55, 155]] = np.median(score)
    found = combined_score(score, score, neighbourhood(place))
    assert found[55] > found[155] + 0.5
