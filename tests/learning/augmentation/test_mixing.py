"""AugMix's chains and its Jensen–Shannon loss against NumPy in float64; CutMix by hand."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms.base import TrainingBatch
from damage_ssl.learning.algorithms.remedies.consistency import ConsistencyOptions, jensen_shannon, with_consistency
from damage_ssl.learning.augmentation.mixing import WIDTH, cutmix, draw_boxes, mix_chains, mixing_weights
from damage_ssl.learning.augmentation.views import Views, ViewSettings
from damage_ssl.learning.settings import TrainSettings
from tests.learning.algorithms import oracles
from tests.learning.algorithms.linear_student import LinearStudent, draw_batch, make, step, weight_gradient
from tests.learning.algorithms.test_oracles import assert_same, caught, gradient_of, logits
from tests.learning.augmentation.test_views import random_pairs, seeded

# --- AugMix: the loss ----------------------------------------------------------------------------------------------


def divergence(z: np.ndarray) -> oracles.ValueAndGradient:
    """Eq. 1–2 pair by pair; with M the mean of p, d/dp_v of the value is (log p_v − log M) / V, as Σ p_v / V = M."""
    views, rows, _ = z.shape
    value, gradient = 0.0, np.zeros_like(z)
    for row in range(rows):
        p = oracles.softmax(z[:, row])
        ratio = np.log(p) - np.log(p.mean(axis=0))
        value += (p * ratio).sum() / views
        g = ratio / views
        gradient[:, row] = p * (g - (p * g).sum(axis=1, keepdims=True))
    return oracles.ValueAndGradient(value / rows, gradient / rows)


def check_divergence(loss: Callable[[Tensor], Tensor]) -> None:
    z = logits(3, 11, 4, seed=1)
    expected = divergence(z.detach().numpy())
    found = loss(z)
    assert_same(found, expected.value)
    assert_same(gradient_of(found, z)[0], expected.gradient)


def test_jensen_shannon_and_its_gradient_equal_the_oracle() -> None:
    check_divergence(jensen_shannon)


def test_stopping_the_clean_views_gradient_is_caught() -> None:
    with caught:
        check_divergence(lambda z: jensen_shannon(torch.cat([z[:1].detach(), z[1:]])))


def test_reversed_divergence_is_caught() -> None:
    def broken(z: Tensor) -> Tensor:
        p = z.softmax(-1)
        return F.kl_div(p.log(), p.mean(0).expand_as(p), reduction="none").sum(-1).mean()

    with caught:
        check_divergence(broken)


def test_views_that_agree_diverge_by_nothing_and_certain_opposites_by_the_logarithm_of_two() -> None:
    assert float(jensen_shannon(logits(1, 5, 3, seed=0).detach().expand(3, -1, -1))) == pytest.approx(0, abs=1e-12)
    apart = torch.tensor([[[500.0, -500.0]], [[-500.0, 500.0]]], dtype=torch.float64)
    assert float(jensen_shannon(apart)) == pytest.approx(np.log(2))


# --- AugMix: an option of every algorithm --------------------------------------------------------------------------

JS = ConsistencyOptions(consistency="jensen-shannon", consistency_weight=3.0)


@pytest.mark.parametrize("name", ["fixmatch", "supervised-weak", "mixmatch", "mean-teacher"])
def test_consistency_adds_its_loss_to_any_algorithm(name: str) -> None:
    algorithm, student = with_consistency(make(name), JS), LinearStudent()
    drawn, more = draw_batch(), draw_batch(9)
    views = {"weak": [drawn.unlabelled[0], more.unlabelled[0]], "strong": [drawn.unlabelled[1], more.unlabelled[1]]}
    taken: dict[str, int] = {"weak": 0, "strong": 0}
    asked: list[Tensor] = []
    for view in algorithm.unlabelled_views:
        asked.append(views[view][taken[view]])
        taken[view] += 1
    batch: TrainingBatch = replace(drawn, unlabelled=tuple(asked))
    shown = [views["weak"][0], *views["strong"]]

    terms, gradient = step(algorithm, student, batch, teacher=LinearStudent(seed=4))
    plain, plain_gradient = step(make(name), student, batch, teacher=LinearStudent(seed=4))
    expected = divergence(np.stack([student.logits(view) for view in shown]))
    assert_same(terms.loss, float(plain.loss.detach()) + 3 * expected.value)
    added = sum(weight_gradient(view, each) for view, each in zip(shown, expected.gradient, strict=True))
    np.testing.assert_allclose(gradient, plain_gradient + 3 * added, atol=1e-9)


def test_without_the_option_the_algorithm_is_itself_and_a_wrong_value_is_refused() -> None:
    inner = make("fixmatch")
    assert with_consistency(inner, ConsistencyOptions()) is inner
    assert TrainSettings(options={"consistency": "jensen-shannon"}).options.consistency.consistency_weight == 12
    with pytest.raises(SettingsError, match="consistency_weight is -1"):
        ConsistencyOptions(consistency_weight=-1.0)


# --- AugMix: the views ---------------------------------------------------------------------------------------------


def test_mixing_weights_are_those_of_dirichlet_and_beta() -> None:
    weights, kept = mixing_weights(4000, seeded())
    torch.testing.assert_close(weights.sum(1), torch.ones(4000))
    assert weights.shape == (4000, WIDTH)
    # Dirichlet(1, 1, 1) has variance 1/18 in each, Beta(1, 1) mean 1/2 and variance 1/12
    np.testing.assert_allclose(weights.var(0).numpy(), 1 / 18, atol=0.004)
    assert float(kept.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(kept.var()) == pytest.approx(1 / 12, abs=0.005)


def halved(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
    return x / 2


def test_chains_mix_as_algorithm_one_says() -> None:
    x = torch.ones(500, 2, 3, 2, 2)
    out = mix_chains(x, [halved], 1.0, seeded(3))
    generator = seeded(3)
    weights, kept = mixing_weights(500, generator)
    depth = torch.randint(1, 4, (500, WIDTH), generator=generator)
    expected = kept + (1 - kept) * (weights * 0.5**depth).sum(1)
    torch.testing.assert_close(out.flatten(1), expected[:, None].expand(-1, 24), rtol=0, atol=1e-6)
    assert set(depth.flatten().tolist()) == {1, 2, 3}


def test_augmix_views_keep_the_footprint_of_the_weak_view_and_mix_each_pair_by_itself() -> None:
    x = random_pairs(32)
    views = Views(ViewSettings(strong_policy="augmix"))
    out, weak = views.strong(x, seeded(2)), Views().weak(x, seeded(2))
    assert torch.equal(out[:, [6, 13]], weak[:, [6, 13]])
    assert (out[:, :6] - weak[:, :6]).abs().mean() > 0.01
    assert torch.equal(out, views.strong(x, seeded(2)))
    assert len(torch.unique(views.strong(x[:1].expand(16, -1, -1, -1), seeded(3)).flatten(1), dim=0)) == 16
    assert torch.equal(x, random_pairs(32))


# --- CutMix --------------------------------------------------------------------------------------------------------


def test_cutmix_pastes_the_box_footprint_and_all_and_shares_labels_by_area() -> None:
    x = torch.stack([torch.zeros(7, 8, 8), torch.ones(7, 8, 8), torch.full((7, 8, 8), 0.5)])
    boxes = torch.tensor([[0, 4, 2, 8], [3, 3, 0, 8], [0, 8, 0, 8]])
    mixed, share = cutmix(x, boxes, torch.tensor([1, 2, 0]))
    expected = torch.zeros(7, 8, 8)
    expected[:, 0:4, 2:8] = 1
    assert torch.equal(mixed[0], expected)
    assert torch.equal(mixed[1], x[1])
    assert torch.equal(mixed[2], x[0])
    torch.testing.assert_close(share, torch.tensor([24 / 64, 0.0, 1.0]))


def test_boxes_stay_inside_and_their_uncut_area_is_one_minus_lambda() -> None:
    boxes = draw_boxes(3000, 64, 1.0, seeded())
    assert boxes.min() >= 0
    assert boxes.max() <= 64
    height, width = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    inside = (boxes[:, 0] > 0) & (boxes[:, 1] < 64) & (boxes[:, 2] > 0) & (boxes[:, 3] < 64)
    assert (height[inside] - width[inside]).abs().max() <= 1
    assert 0.2 < float((height * width).double().mean()) / 64**2 < 0.45  # below 1/2: what sticks out is cut


def test_supervised_loss_with_cutmix_is_the_cross_entropy_with_area_shares() -> None:
    algorithm = make("supervised-weak", cutmix_probability=1.0)
    student, batch = LinearStudent(), draw_batch()
    terms, gradient = step(algorithm, student, batch, seed=0)
    generator = torch.Generator().manual_seed(0)
    boxes = draw_boxes(4, 3, 1.0, generator)
    torch.rand(4, generator=generator)
    partner = torch.randperm(4, generator=generator)
    x = batch.labelled("weak").clone()
    target = np.zeros((4, 4))
    for row, (top, bottom, left, right) in enumerate(boxes.tolist()):
        x[row, :, top:bottom, left:right] = batch.labelled("weak")[partner[row], :, top:bottom, left:right]
        share = (bottom - top) * (right - left) / 9
        target[row, row] += 1 - share
        target[row, int(partner[row])] += share
    expected = oracles.cross_entropy(student.logits(x), target)
    assert 0 < target.max(1).min() < 1  # something was mixed
    assert_same(terms.loss, expected.value)
    np.testing.assert_allclose(gradient, weight_gradient(x, expected.gradient), atol=1e-9)


def test_cutmix_of_no_probability_is_the_plain_loss_and_one_out_of_range_is_refused() -> None:
    batch = draw_batch()
    with_none, _ = step(make("supervised-weak", cutmix_probability=0.0), LinearStudent(), batch)
    assert torch.equal(with_none.loss, step(make("supervised-weak"), LinearStudent(), batch)[0].loss)
    with pytest.raises(SettingsError, match="cutmix_probability is 2"):
        make("supervised-weak", cutmix_probability=2.0)


def test_cutmix_of_cached_features_is_refused() -> None:
    batch = replace(draw_batch(), labelled_weak=torch.zeros(4, 30, dtype=torch.float64))
    with pytest.raises(SettingsError, match="cutmix_probability needs pictures"):
        step(make("supervised-weak", cutmix_probability=0.5), LinearStudent(), batch)
