"""The spatial stack on drawn fields: what it gains where places say something, and what it costs where they do not."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from damage_ssl.evaluation.spatial_blocks import block_folds, block_of
from damage_ssl.evaluation.stacking.label_map import krige_labels
from damage_ssl.evaluation.stacking.neighbourhood import FARTHEST_IN_RANGES, OWN_WEIGHT, neighbourhood
from damage_ssl.evaluation.stacking.stack import NEIGHBOURS, PLACES, Stacked, StackLabels, fit_stack


def drawn_town(
    seed: int, count: int = 900, patch_m: float = 120.0
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Places in a square of 900 m, damage in patches of some 200 m, and scores that know half of it."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, 900, (count, 2))
    centres = rng.uniform(0, 900, (60 if patch_m > 100 else 600, 2))
    field = np.exp(-(cdist(place, centres) ** 2) / (2 * patch_m**2)) @ rng.normal(size=len(centres))
    damaged = field + rng.normal(0, 0.3, count) > np.quantile(field, 0.6)
    return place, damaged, np.where(damaged, 0.7, -0.7) + rng.normal(0, 1.2, count)


def labels_of(
    place: NDArray[np.float64], damaged: NDArray[np.bool_], own: NDArray[np.float64], seed: int, a_class: int
) -> StackLabels:
    rng = np.random.default_rng(seed)
    kinds = (np.flatnonzero(damaged), np.flatnonzero(~damaged))
    rows = np.concatenate([rng.permutation(kind)[:a_class] for kind in kinds])
    fold = block_folds(block_of(place[rows, 0], place[rows, 1], 150.0), damaged[rows].astype(np.int64))
    return StackLabels(rows=rows, damaged=damaged[rows], unseen=own[rows], fold=fold)


def auroc(stacked: Stacked, labels: StackLabels, damaged: NDArray[np.bool_], own: NDArray[np.float64]) -> float:
    """What the stack gains on buildings without a label."""
    free = np.setdiff1d(np.arange(len(damaged)), labels.rows)
    return float(roc_auc_score(damaged[free], stacked.log_odds[free]) - roc_auc_score(damaged[free], own[free]))


def test_neighbours_mean_is_that_of_a_full_matrix_without_the_building_itself() -> None:
    place = np.random.default_rng(0).uniform(0, 100, (12, 2))
    near, value = neighbourhood(place), np.arange(12.0)
    distance = cdist(place, place)
    weight = np.where(distance <= FARTHEST_IN_RANGES * near.range_m, np.exp(-distance / near.range_m), 0.0)
    np.fill_diagonal(weight, 0.0)
    own = np.full(12, -5.0)
    expected = (weight @ value + OWN_WEIGHT * own) / (weight.sum(axis=1) + OWN_WEIGHT)
    np.testing.assert_allclose(near.mean(value, own), expected)
    np.testing.assert_allclose(near.mean(value, own[[3, 7]], np.array([3, 7])), expected[[3, 7]])


def test_a_building_far_from_all_others_keeps_its_own_score() -> None:
    near = neighbourhood(np.array([[0.0, 0.0], [15.0, 0.0], [30.0, 0.0], [9000.0, 0.0]]))
    assert near.spacing_m == pytest.approx(15.0)
    assert near.mean(np.full(4, 2.0), np.full(4, -1.0))[3] == pytest.approx(-1.0)


def test_scores_in_patches_are_autocorrelated_and_shuffled_ones_are_not() -> None:
    place, _, own = drawn_town(0)
    near = neighbourhood(place)
    assert near.autocorrelation(own) > 0.1
    assert near.autocorrelation(np.random.default_rng(1).permutation(own)) < 0.02


def test_map_of_labels_without_some_is_that_of_the_others_alone() -> None:
    place, damaged, _ = drawn_town(0, 30)
    whole = krige_labels(place, damaged, 20.0)
    excluded = np.eye(30, dtype=bool)
    excluded[4, [7, 9, 20]] = True
    for row in (3, 4):
        kept = ~excluded[row]
        alike = (1 - whole.nugget) * np.exp(-cdist(place, place) / whole.range_m)
        np.fill_diagonal(alike, 1.0)
        weight = np.linalg.solve(alike[np.ix_(kept, kept)], whole.residual[kept])
        p = np.clip(whole.share + alike[row, kept] @ weight, 0.02, 0.98)
        expected = np.log(p / (1 - p)) - np.log(whole.share / (1 - whole.share))
        assert whole.left_out(excluded)[row] == pytest.approx(expected)
    assert abs(whole.log_odds(np.array([[1e5, 1e5]]))[0]) < 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_where_damage_lies_in_patches_the_stack_gains(seed: int) -> None:
    place, damaged, own = drawn_town(seed)
    labels = labels_of(place, damaged, own, seed, 25)
    stacked = fit_stack(place, own, labels)
    assert auroc(stacked, labels, damaged, own) > 0.05
    assert stacked.facts.used and stacked.facts.weights[PLACES] + stacked.facts.weights[NEIGHBOURS] > 0
    assert 0 < stacked.facts.place_share <= 1


def test_with_places_shuffled_it_costs_next_to_nothing() -> None:
    gains = []
    for seed in range(10):
        place, damaged, own = drawn_town(seed)
        place = np.random.default_rng(seed).permutation(place)
        labels = labels_of(place, damaged, own, seed, 5 if seed % 2 else 25)
        gains.append(auroc(fit_stack(place, own, labels), labels, damaged, own))
    assert np.mean(gains) >= -0.002


def test_a_label_says_nothing_of_itself_nor_of_its_fold() -> None:
    place, damaged, own = drawn_town(1)
    labels = labels_of(place, damaged, own, 1, 20)
    held = labels.fold == labels.fold[0]
    turned = replace(labels, damaged=np.where(held, ~labels.damaged, labels.damaged))
    first, second = fit_stack(place, own, labels), fit_stack(place, own, turned)
    np.testing.assert_array_equal(first.unseen[held], second.unseen[held])
    assert (first.unseen[~held] != second.unseen[~held]).any() and (first.log_odds != second.log_odds).any()


def test_a_model_that_knows_its_labels_by_heart_says_nothing_of_them_through_their_neighbours() -> None:
    place, damaged, own = drawn_town(2, patch_m=45.0)
    labels = labels_of(place, damaged, own, 2, 40)
    by_heart = own.copy()
    by_heart[labels.rows] = np.where(labels.damaged, 9.0, -9.0)
    first, second = (fit_stack(place, each, labels) for each in (own, by_heart))
    assert first.facts.weights[NEIGHBOURS] > 0
    np.testing.assert_array_equal(first.unseen, second.unseen)


def test_labels_that_the_model_learned_from_show_places_and_judge_nothing() -> None:
    place, damaged, own = drawn_town(2)
    labels = labels_of(place, damaged, own, 2, 40)
    learned = np.arange(len(labels.rows)) % 2 == 0
    stacked = fit_stack(place, own, replace(labels, unseen=np.where(learned, np.nan, labels.unseen)))
    assert np.isnan(stacked.unseen[learned]).all() and np.isfinite(stacked.unseen[~learned]).all()
    assert auroc(stacked, labels, damaged, own) > 0.05
    assert stacked.facts.n_labels == 80


def test_a_further_column_gets_weight_where_it_knows_and_none_where_it_speaks_against_the_labels() -> None:
    place, damaged, own = drawn_town(3)
    labels = labels_of(place, damaged, own, 3, 25)
    knows = np.where(damaged, 1.0, -1.0) + np.random.default_rng(0).normal(0, 0.8, len(own))
    weight = {
        name: fit_stack(place, own, labels, others={"prior": column}).facts.weights["prior"]
        for name, column in (("knows", knows), ("against", -knows))
    }
    assert weight["knows"] > 0.2 and weight["against"] == 0.0


def test_with_two_labels_of_a_kind_the_score_stays_as_it_is() -> None:
    place, damaged, own = drawn_town(0)
    labels = labels_of(place, damaged, own, 0, 2)
    stacked = fit_stack(place, own, labels)
    np.testing.assert_array_equal(stacked.log_odds, own)
    assert not stacked.facts.used and not stacked.facts.follows_places


def test_a_map_that_images_say_nothing_for_follows_places() -> None:
    place, damaged, _ = drawn_town(4)
    blind = np.random.default_rng(0).normal(0, 1, len(damaged))
    stacked = fit_stack(place, blind, labels_of(place, damaged, blind, 4, 40))
    assert stacked.facts.follows_places
