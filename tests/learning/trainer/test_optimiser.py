"""Sampling, schedule, weight decay and the running average."""

import math

import numpy as np
import pytest
import torch

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms.fixmatch import FixMatchSettings
from damage_ssl.learning.networks.pair_network import NetworkSpec, PairNetwork, build_network
from damage_ssl.learning.settings import FitOptions, TrainSettings
from damage_ssl.learning.trainer.data import BalancedSampler, distinct
from damage_ssl.learning.trainer.optimiser import Ema, half_cosine, make_optimizer, rate_factor, set_rate
from damage_ssl.settings import from_mapping


@pytest.fixture
def network() -> PairNetwork:
    spec = NetworkSpec(network="small-cnn", fusion="siamese", channels=7, input_px=32, classes=2)
    return build_network(spec, torch.Generator().manual_seed(0))


def test_each_class_has_an_equal_share_of_a_batch_however_rare_it_is() -> None:
    rows, classes = np.arange(103), np.array([0] * 100 + [1] * 3)
    drawn, targets = BalancedSampler(rows, classes).draw(16, torch.Generator().manual_seed(0))
    assert targets.bincount().tolist() == [8, 8]
    assert np.array_equal(classes[drawn.numpy()], targets.numpy())


def test_what_is_left_of_a_batch_goes_to_every_class_in_the_long_run() -> None:
    sampler = BalancedSampler(np.arange(30), np.arange(30) % 3)
    generator = torch.Generator().manual_seed(0)
    total = sum(sampler.draw(16, generator)[1].bincount(minlength=3) for _ in range(300))
    np.testing.assert_allclose(total / total.sum(), 1 / 3, atol=0.01)


def test_a_class_with_fewer_pairs_than_its_share_repeats_them_equally_often() -> None:
    drawn, _ = BalancedSampler(np.arange(4), np.array([0, 0, 1, 1])).draw(8, torch.Generator().manual_seed(0))
    assert drawn.bincount().tolist() == [2, 2, 2, 2]


def test_unlabelled_pairs_of_a_step_differ_while_there_are_enough() -> None:
    assert len(set(distinct(10, 10, torch.Generator().manual_seed(0)).tolist())) == 10
    assert sorted(distinct(3, 7, torch.Generator().manual_seed(0)).bincount().tolist()) == [2, 2, 3]


def test_the_schedule_is_fixmatch_s_cosine_after_the_warm_up() -> None:
    assert rate_factor(0.0, 0.0) == 1.0
    assert rate_factor(0.5, 0.05) == pytest.approx(math.cos(7 * math.pi / 32))
    assert rate_factor(1.0, 0.05) == pytest.approx(math.cos(7 * math.pi / 16))
    assert 0 < rate_factor(0.0, 0.05) < rate_factor(0.02, 0.05) < rate_factor(0.05, 0.05)


def test_half_a_cosine_ends_at_0_after_the_same_warm_up() -> None:
    assert rate_factor(0.5, 0.05, half_cosine) == pytest.approx(0.5)
    assert rate_factor(1.0, 0.05, half_cosine) == rate_factor(1.3, 0.05, half_cosine) == pytest.approx(0.0)
    assert rate_factor(0.0, 0.05, half_cosine) == pytest.approx(rate_factor(0.0, 0.05)) == pytest.approx(0.1)


def test_only_kernels_decay(network: PairNetwork) -> None:
    optimizer = make_optimizer(network, TrainSettings(weight_decay=0.1), FitOptions(optimizer="adamw"))
    for group in optimizer.param_groups:
        assert {each.ndim > 1 for each in group["params"]} == {group["weight_decay"] == 0.1}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))


def test_encoder_and_head_have_rates_of_their_own_that_fall_together(network: PairNetwork) -> None:
    settings = TrainSettings(learning_rate_encoder=2e-4, learning_rate_head=1e-3)
    optimizer = make_optimizer(network, settings, FitOptions(optimizer="adamw"))
    set_rate(optimizer, 0.5)
    rates = {id(each): group["lr"] for group in optimizer.param_groups for each in group["params"]}
    assert rates[id(network.head.weight)] == rates[id(network.head.bias)] == pytest.approx(5e-4)
    assert {rates[id(each)] for each in network.encoder.parameters()} == {1e-4}


def test_a_network_from_scratch_is_trained_by_sgd_with_nesterov_momentum(network: PairNetwork) -> None:
    optimizer = make_optimizer(network, TrainSettings(), FitOptions())
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults["nesterov"] and optimizer.param_groups[0]["lr"] == 0.03


def test_the_average_takes_in_parameters_and_buffers_by_the_rising_decay(network: PairNetwork) -> None:
    ema = Ema(network, decay=0.97)
    before = network.head.bias.detach().clone()
    with torch.no_grad():
        network.head.bias.add_(1.0)
        network.feature_mean.add_(1.0)
    ema.update(network, step=0)  # decay (1 + 0) / (10 + 0) = 0.1
    torch.testing.assert_close(ema.network.head.bias, before + 0.9)
    torch.testing.assert_close(ema.network.feature_mean, torch.full_like(network.feature_mean, 0.9))
    ema.update(network, step=10**6)  # decay 0.97
    torch.testing.assert_close(ema.network.head.bias, before + 1 - 0.1 * 0.97)


def test_options_are_sorted_by_whom_they_concern() -> None:
    given = {"gradient_clip": 1, "cutout": 0.25, "threshold": 0.9}
    options = TrainSettings(algorithm="fixmatch", options=given).options
    assert options.fit.gradient_clip == 1.0
    assert options.views.cutout == 0.25
    assert options.algorithm == FixMatchSettings(threshold=0.9)


def test_an_option_of_the_wrong_kind_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=r"run\.options: head_start is 'zero'; allowed: auto, logistic, random"):
        from_mapping(TrainSettings, {"options": {"head_start": "zero"}}, "run")
