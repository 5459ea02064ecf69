"""Pure losses against independent NumPy float64 oracles, and proof that the oracles see the classic errors.

Each `check_*` takes an implementation; the package's passes it, and each deliberately broken variant fails it.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from damage_ssl.learning.algorithms import fixmatch, mixmatch
from damage_ssl.learning.algorithms.base import linear_ramp
from damage_ssl.learning.algorithms.supervised import supervised_loss
from tests.learning.algorithms import oracles

TOLERANCE = 1e-6
CLASS_COUNTS = [2, 4]
caught = pytest.raises(AssertionError)


def logits(*shape: int, seed: int, scale: float = 3.0) -> Tensor:
    drawn = np.random.default_rng(seed).normal(0, scale, shape)
    return torch.from_numpy(drawn).requires_grad_()


def gradient_of(loss: Tensor, *inputs: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(loss, inputs, allow_unused=True)
    return [torch.zeros_like(z) if grad is None else grad for z, grad in zip(inputs, found, strict=True)]


def assert_same(found: Tensor, expected: np.ndarray | float) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=TOLERANCE)


# --- Supervised ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", CLASS_COUNTS)
def test_supervised_loss_and_gradient_equal_the_oracle(classes: int) -> None:
    z = logits(13, classes, seed=0)
    labels = np.random.default_rng(1).integers(0, classes, 13)
    expected = oracles.cross_entropy(z.detach().numpy(), oracles.one_hot(labels, classes))
    loss = supervised_loss(z, torch.from_numpy(labels))
    assert_same(loss, expected.value)
    assert_same(gradient_of(loss, z)[0], expected.gradient)


@pytest.mark.parametrize("classes", CLASS_COUNTS)
def test_supervised_loss_takes_mixed_labels(classes: int) -> None:
    z = logits(13, classes, seed=0)
    target = oracles.softmax(np.random.default_rng(1).normal(size=(13, classes)))
    expected = oracles.cross_entropy(z.detach().numpy(), target)
    loss = supervised_loss(z, torch.from_numpy(target))
    assert_same(loss, expected.value)
    assert_same(gradient_of(loss, z)[0], expected.gradient)


# --- FixMatch ------------------------------------------------------------------------------------------------------

FixMatchTerm = Callable[[Tensor, Tensor, float], Tensor]


def fixmatch_term(weak: Tensor, strong: Tensor, threshold: float) -> Tensor:
    return fixmatch.unlabelled_loss(strong, fixmatch.pseudo_labels(weak, threshold=threshold))


def check_fixmatch(term: FixMatchTerm, classes: int = 2) -> None:
    weak, strong = logits(28, classes, seed=2), logits(28, classes, seed=3)
    confident = (weak.softmax(1).amax(1) >= 0.95).sum()
    assert 0 < confident < 28, "the case must have both kinds of pairs"
    expected = oracles.fixmatch_unlabelled(weak.detach().numpy(), strong.detach().numpy(), 0.95)
    loss = term(weak, strong, 0.95)
    weak_gradient, strong_gradient = gradient_of(loss, weak, strong)
    assert_same(loss, expected.value)
    assert_same(strong_gradient, expected.gradient)
    assert torch.equal(weak_gradient, torch.zeros_like(weak)), "a gradient leaks into the weak logits"


@pytest.mark.parametrize("classes", CLASS_COUNTS)
def test_fixmatch_unlabelled_loss_and_gradient_equal_the_oracle(classes: int) -> None:
    check_fixmatch(fixmatch_term, classes)


def test_dividing_by_the_confident_count_is_caught() -> None:
    def broken(weak: Tensor, strong: Tensor, threshold: float) -> Tensor:
        labels = fixmatch.pseudo_labels(weak, threshold=threshold)
        loss = F.cross_entropy(strong, labels.target, reduction="none") * labels.mask
        return loss.sum() / labels.mask.sum()

    with caught:
        check_fixmatch(broken)


def test_leaking_into_the_pseudo_labels_is_caught() -> None:
    def broken(weak: Tensor, strong: Tensor, threshold: float) -> Tensor:
        labels = fixmatch.pseudo_labels(weak, threshold=threshold)
        p = weak.softmax(1).amax(1)
        straight_through = labels.mask + p - p.detach()  # the same value, but a gradient
        return (F.cross_entropy(strong, labels.target, reduction="none") * straight_through * labels.mask).mean()

    with pytest.raises(AssertionError, match="leaks"):
        check_fixmatch(broken)


def test_soft_pseudo_labels_are_caught() -> None:
    def broken(weak: Tensor, strong: Tensor, threshold: float) -> Tensor:
        p = weak.detach().softmax(1)
        mask = (p.amax(1) >= threshold).double()
        return (F.cross_entropy(strong, p, reduction="none") * mask).mean()

    with caught:
        check_fixmatch(broken)


def test_pseudo_labels_from_the_strong_view_are_caught() -> None:
    def broken(weak: Tensor, strong: Tensor, threshold: float) -> Tensor:
        return fixmatch.unlabelled_loss(strong, fixmatch.pseudo_labels(strong, threshold=threshold))

    with caught:
        check_fixmatch(broken)


def test_no_mask_is_caught() -> None:
    def broken(weak: Tensor, strong: Tensor, threshold: float) -> Tensor:
        return F.cross_entropy(strong, weak.argmax(1))

    with caught:
        check_fixmatch(broken)


def test_unconfident_pair_adds_no_gradient() -> None:
    weak = torch.tensor([[0.0, 1.0], [0.0, 9.0]], dtype=torch.float64)
    strong = logits(2, 2, seed=4)
    (gradient,) = gradient_of(fixmatch_term(weak, strong, 0.95), strong)
    assert torch.equal(gradient[0], torch.zeros(2, dtype=torch.float64))
    assert gradient[1].abs().sum() > 0


def test_no_confident_pair_gives_zero_and_not_nan() -> None:
    strong = logits(5, 2, seed=4)
    loss = fixmatch_term(torch.zeros(5, 2, dtype=torch.float64), strong, 0.95)
    assert loss.item() == 0
    assert torch.equal(gradient_of(loss, strong)[0], torch.zeros_like(strong))


def test_confidence_equal_to_the_threshold_counts() -> None:
    labels = fixmatch.pseudo_labels(torch.zeros(1, 2), threshold=0.5)
    assert labels.mask.tolist() == [1.0]


def test_distribution_alignment_ratio_moves_pseudo_labels_as_the_oracle_says() -> None:
    weak, strong = logits(28, 4, seed=5), logits(28, 4, seed=6)
    ratio = np.array([4.0, 1.0, 0.5, 0.25])
    plain = fixmatch.pseudo_labels(weak, threshold=0.8)
    aligned = fixmatch.pseudo_labels(weak, threshold=0.8, ratio=torch.from_numpy(ratio))
    assert not torch.equal(plain.target, aligned.target)
    expected = oracles.fixmatch_unlabelled(weak.detach().numpy(), strong.detach().numpy(), 0.8, ratio)
    loss = fixmatch.unlabelled_loss(strong, aligned)
    assert_same(loss, expected.value)
    assert_same(gradient_of(loss, strong)[0], expected.gradient)


# --- MixMatch: guesses ---------------------------------------------------------------------------------------------


def check_guess(guess: Callable[[Tensor], Tensor], classes: int = 4) -> None:
    z = logits(2, 11, classes, seed=7)
    found = guess(z)
    assert not found.requires_grad, "a gradient leaks into the guesses"
    assert_same(found, oracles.mixmatch_guess(z.detach().numpy(), 0.5))


@pytest.mark.parametrize("classes", CLASS_COUNTS)
def test_guesses_equal_the_oracle(classes: int) -> None:
    check_guess(lambda z: mixmatch.guess_labels(z, temperature=0.5), classes)


def test_guess_of_a_hand_worked_case() -> None:
    # softmaxes (0.8, 0.2) and (0.4, 0.6) → mean (0.6, 0.4) → squares 0.36 and 0.16 → (9/13, 4/13)
    z = torch.tensor([[[0.8, 0.2]], [[0.4, 0.6]]], dtype=torch.float64).log()
    assert_same(mixmatch.guess_labels(z, temperature=0.5), np.array([[9 / 13, 4 / 13]]))


def test_sharpening_before_averaging_is_caught() -> None:
    with caught:
        check_guess(lambda z: (z.detach() / 0.5).softmax(-1).mean(0))


def test_averaging_logits_is_caught() -> None:
    with caught:
        check_guess(lambda z: mixmatch.guess_labels(z.mean(0, keepdim=True), temperature=0.5))


def test_guesses_with_a_gradient_are_caught() -> None:
    def broken(z: Tensor) -> Tensor:
        powered = z.softmax(-1).mean(0) ** 2
        return powered / powered.sum(-1, keepdim=True)

    with pytest.raises(AssertionError, match="leaks"):
        check_guess(broken)


# --- MixMatch: mixing ----------------------------------------------------------------------------------------------

Mixing = Callable[[Tensor, Tensor, Tensor], Tensor]


def mix(values: Tensor, drawn: Tensor, permutation: Tensor) -> Tensor:
    return mixmatch.mix(values, mixmatch.mixup_weight(drawn), permutation)


def check_mixing(mixing: Mixing) -> None:
    """4 labelled, then 2 × 6 unlabelled; a permutation that carries rows across the groups."""
    rng = np.random.default_rng(8)
    values, drawn, permutation = rng.random((16, 7, 5, 5)), rng.beta(0.75, 0.75, 16), rng.permutation(16)
    assert (drawn < 0.5).any()
    assert (permutation[:4] >= 4).any()
    found = mixing(torch.from_numpy(values), torch.from_numpy(drawn), torch.from_numpy(permutation))
    assert_same(found, oracles.mixup(values, drawn, permutation))


def test_mixing_equals_the_oracle() -> None:
    check_mixing(mix)


def test_one_mixing_weight_for_the_whole_batch_is_caught() -> None:
    with caught:
        check_mixing(lambda values, drawn, permutation: mix(values, drawn[:1].expand(len(values)), permutation))


def test_mixing_weight_without_the_maximum_is_caught() -> None:
    with caught:
        check_mixing(lambda values, drawn, permutation: mixmatch.mix(values, drawn, permutation))


def test_mixing_within_the_labelled_and_unlabelled_groups_is_caught() -> None:
    def broken(values: Tensor, drawn: Tensor, permutation: Tensor) -> Tensor:
        within = torch.cat([permutation[:4] % 4, 4 + permutation[4:] % 12])
        return mix(values, drawn, within)

    with caught:
        check_mixing(broken)


def test_a_mixture_stays_nearest_to_its_first_part() -> None:
    weight = mixmatch.mixup_weight(torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(weight, torch.tensor([0.9, 0.5, 0.9]))


def test_beta_draws_follow_the_distribution_and_the_generator() -> None:
    draws = mixmatch.draw_beta(0.75, 20_000, torch.Generator().manual_seed(0))
    assert draws.mean().item() == pytest.approx(0.5, abs=0.01)
    assert draws.var().item() == pytest.approx(1 / (4 * (2 * 0.75 + 1)), abs=0.005)  # variance of Beta(α, α)
    assert torch.equal(draws, mixmatch.draw_beta(0.75, 20_000, torch.Generator().manual_seed(0)))
    generator = torch.Generator().manual_seed(0)
    assert not torch.equal(mixmatch.draw_beta(0.75, 9, generator), mixmatch.draw_beta(0.75, 9, generator))


# --- MixMatch: unlabelled loss -------------------------------------------------------------------------------------


def check_squared_error(term: Callable[[Tensor, Tensor], Tensor], classes: int = 4) -> None:
    z = logits(12, classes, seed=9)
    target = oracles.softmax(np.random.default_rng(10).normal(size=(12, classes)))
    expected = oracles.mixmatch_unlabelled(z.detach().numpy(), target)
    loss = term(z, torch.from_numpy(target))
    assert_same(loss, expected.value)
    assert_same(gradient_of(loss, z)[0], expected.gradient)


@pytest.mark.parametrize("classes", CLASS_COUNTS)
def test_mixmatch_unlabelled_loss_and_gradient_equal_the_oracle(classes: int) -> None:
    check_squared_error(mixmatch.unlabelled_loss, classes)


def test_summing_over_classes_is_caught() -> None:
    with caught:
        check_squared_error(lambda z, target: (z.softmax(1) - target).square().sum(1).mean())


def test_squared_error_of_logits_is_caught() -> None:
    with caught:
        check_squared_error(lambda z, target: (z - target).square().mean())


# --- The oracles themselves, and the ramp --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cross_entropy", "mixmatch_unlabelled"])
def test_oracle_gradients_agree_with_finite_differences(name: str) -> None:
    oracle = getattr(oracles, name)
    z = np.random.default_rng(11).normal(size=(3, 4))
    target = oracles.softmax(np.random.default_rng(12).normal(size=(3, 4)))
    gradient = oracle(z, target).gradient
    for at in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[at] = 1e-5
        slope = (oracle(z + step, target).value - oracle(z - step, target).value) / 2e-5
        assert slope == pytest.approx(gradient[at], abs=1e-8)


@pytest.mark.parametrize(
    ("progress", "share", "expected"),
    [
        (0.0, 0.4, 0.0),
        (0.2, 0.4, 0.5),
        (0.4, 0.4, 1.0),
        (1.0, 0.4, 1.0),
        (0.5, 1.0, 0.5),
        (1.0, 1.0, 1.0),
        (0.0, 0.0, 1.0),
    ],
)
def test_ramp_is_zero_at_the_start_half_in_the_middle_and_one_at_its_end(
    progress: float, share: float, expected: float
) -> None:
    assert linear_ramp(progress, share) == pytest.approx(expected)
