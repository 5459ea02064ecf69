"""CTAugment: rates and draws against the oracle, and what the views do with them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from damage_ssl.learning.augmentation.ctaugment import (
    BINS,
    CTAugment,
    bin_weights,
    drawn_strength,
    true_probability,
    updated_rates,
)
from damage_ssl.learning.augmentation.views import Views, ViewSettings
from tests.learning.algorithms import oracles, oracles_aligned
from tests.learning.algorithms.test_oracles import assert_same, caught
from tests.learning.augmentation.test_views import random_pairs, seeded

CTA = ViewSettings(strong_policy="ctaugment")


def some_rates(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((5, BINS))


# --- What a label tells --------------------------------------------------------------------------------------------

Match = Callable[[Tensor, Tensor], Tensor]


def check_match(match: Match) -> None:
    p = oracles.softmax(np.random.default_rng(1).normal(0, 2, (9, 4)))
    target = np.random.default_rng(2).integers(0, 4, 9)
    found = match(torch.from_numpy(p), torch.from_numpy(target))
    assert_same(found, np.array([oracles_aligned.cta_match(*each) for each in zip(p, target, strict=True)]))


def test_match_equals_the_released_code() -> None:
    check_match(true_probability)


def test_inverted_match_is_caught() -> None:
    with caught:
        check_match(lambda p, target: 1 - true_probability(p, target))


def test_match_of_the_likeliest_class_is_caught() -> None:
    with caught:
        check_match(lambda p, target: p.amax(dim=1))


def test_a_harmful_strength_is_drawn_no_more_and_an_inverted_rule_would_keep_it() -> None:
    """The label survives weak changes (bins 0 to 8) and is lost in strong ones."""
    knob, place = torch.zeros(BINS, dtype=torch.int64), torch.arange(BINS)
    match = torch.where(place <= 8, 0.95, 0.05)
    rates, inverted = torch.ones(1, BINS), torch.ones(1, BINS)
    for _ in range(200):
        rates = updated_rates(rates, knob, place, match)
        inverted = updated_rates(inverted, knob, place, 1 - match)
    assert bin_weights(rates)[0, 9:].sum() == 0
    assert bin_weights(rates)[0, :9].sum().item() == pytest.approx(1)
    assert bin_weights(inverted)[0, :9].sum() == 0


# --- Rates ---------------------------------------------------------------------------------------------------------


def test_weights_equal_the_oracle_row_by_row() -> None:
    rates = some_rates()
    assert_same(bin_weights(torch.from_numpy(rates)), np.stack([oracles_aligned.cta_weights(row) for row in rates]))


def test_rates_of_zero_allow_every_bin() -> None:
    assert_same(bin_weights(torch.zeros(2, BINS)), np.full((2, BINS), 1 / BINS))


def test_update_of_different_bins_equals_the_oracle() -> None:
    rng = np.random.default_rng(3)
    flat = rng.permutation(5 * BINS)[:30]
    knob, place, match = flat // BINS, flat % BINS, rng.random(30)
    found = updated_rates(torch.from_numpy(some_rates()), *(torch.from_numpy(each) for each in (knob, place, match)))
    tried = [(int(k), int(b), float(m)) for k, b, m in zip(knob, place, match, strict=True)]
    assert_same(found, oracles_aligned.cta_update(some_rates(), tried))


def test_a_bin_tried_three_times_with_one_match_moves_as_one_after_the_other() -> None:
    knob, place = torch.tensor([1, 1, 1]), torch.tensor([4, 4, 4])
    found = updated_rates(torch.from_numpy(some_rates()), knob, place, torch.full((3,), 0.3, dtype=torch.float64))
    assert_same(found, oracles_aligned.cta_update(some_rates(), [(1, 4, 0.3)] * 3))


def test_order_within_a_step_changes_a_rate_by_no_more_than_a_percent() -> None:
    match = torch.tensor([0.0, 1.0], dtype=torch.float64)
    rates = torch.from_numpy(some_rates())
    found = updated_rates(rates, torch.tensor([0, 0]), torch.tensor([2, 2]), match)[0, 2].item()
    one_way = oracles_aligned.cta_update(some_rates(), [(0, 2, 0.0), (0, 2, 1.0)])[0, 2]
    other_way = oracles_aligned.cta_update(some_rates(), [(0, 2, 1.0), (0, 2, 0.0)])[0, 2]
    assert min(one_way, other_way) <= found <= max(one_way, other_way)
    assert abs(one_way - other_way) < 0.01


# --- Draws ---------------------------------------------------------------------------------------------------------


def test_draws_follow_the_weights_and_stay_within_their_bins() -> None:
    rates = torch.zeros(1, BINS)
    rates[0, [3, 16]] = torch.tensor([1.0, 0.9])
    u = torch.rand(20_000, 2, generator=seeded())
    strength = drawn_strength(bin_weights(rates).expand(20_000, -1), u[:, 0], u[:, 1])
    place = (strength * BINS).long()
    assert set(place.tolist()) == {3, 16}
    assert (place == 3).double().mean().item() == pytest.approx(1.01 / (1.01 + 0.91), abs=0.01)
    assert strength.min() >= 3 / BINS and strength.max() < 1


def test_the_largest_draw_stays_in_the_last_bin_that_has_a_chance() -> None:
    weights = torch.zeros(1, BINS)
    weights[0, 2] = 1 - 1e-7  # sums below 1 by rounding
    strength = drawn_strength(weights, torch.tensor([1 - 1e-8]), torch.tensor([0.5]))
    assert strength.item() == pytest.approx(2.5 / BINS)


# --- In the views --------------------------------------------------------------------------------------------------


def test_a_fresh_policy_gives_views_of_all_strengths() -> None:
    views = Views(CTA)
    out = views.strong(random_pairs(64, 7), seeded())
    assert out.shape == (64, 7, 32, 32) and out.min() >= 0 and out.max() <= 1
    assert not torch.equal(out[0], out[1])


def test_a_policy_that_knows_only_no_change_draws_nearly_none() -> None:
    views = Views(ViewSettings(strong_policy="ctaugment", zoom=1.0))
    policy = views.policy
    assert policy is not None
    calm = torch.zeros_like(policy.rates)
    calm[:, BINS // 2] = 1.0  # strengths around 0
    calm[-1] = 0.0
    calm[-1, 0] = 1.0  # the smallest cutout
    policy.load_state_dict({"rates": calm})
    probe = policy.draw(torch.arange(len(policy.knobs)), torch.zeros(19).long(), seeded(), torch.device("cpu"))
    assert probe[:-1].abs().max() <= 1 / BINS and probe[-1] <= -1 + 2 / BINS


@pytest.mark.parametrize("per_date", [True, False])
def test_a_probe_remembers_every_strength_with_its_pair(per_date: bool) -> None:
    views = Views(ViewSettings(strong_policy="ctaugment", per_date_photometry=per_date))
    assert views.policy is not None
    out, probe = views.probe(random_pairs(6, 14), seeded())
    assert out.shape == (6, 14, 32, 32)
    knob, place, row = (torch.cat(each) for each in (probe.knob, probe.bin_index, probe.row))
    operations = len(views.settings.operations.split())
    per_pair = (2 if per_date else 1) * 2 + 5 + 2  # dates × operations, affine knobs, one cutout a view
    assert row.bincount().tolist() == [per_pair] * 6
    assert (knob < operations).sum() == 6 * 2 * (2 if per_date else 1)
    assert place.min() >= 0 and place.max() < BINS
    assert len(views.policy.knobs) == operations + 6


def test_a_probe_of_lost_labels_lowers_only_the_rates_that_it_tried() -> None:
    views = Views(CTA)
    assert views.policy is not None
    _, probe = views.probe(random_pairs(4, 7), seeded())
    views.policy.update(probe, torch.zeros(4))
    knob, place = torch.cat(probe.knob), torch.cat(probe.bin_index)
    tried = torch.zeros_like(views.policy.rates, dtype=torch.bool)
    tried[knob, place] = True
    assert (views.policy.rates[tried] < 1).all()
    assert (views.policy.rates[~tried] == 1).all()


def test_a_policy_goes_on_from_its_state_and_refuses_that_of_other_knobs() -> None:
    one, other = CTAugment(["a", "b"]), CTAugment(["a", "b"])
    one.rates = torch.rand(2, BINS, generator=seeded())
    other.load_state_dict(one.state_dict())
    draws = [
        each.draw(torch.tensor([0, 1]), torch.tensor([0, 0]), seeded(1), torch.device("cpu")) for each in (one, other)
    ]
    assert torch.equal(*draws)
    with pytest.raises(ValueError, match=r"rates are \[2, 17\]; these knobs need \[3, 17\]"):
        CTAugment(["a", "b", "c"]).load_state_dict(one.state_dict())


def test_without_the_policy_there_is_nothing_to_probe() -> None:
    with pytest.raises(ValueError, match="only the strong policy 'ctaugment' learns"):
        Views().probe(random_pairs(2, 7), seeded())
