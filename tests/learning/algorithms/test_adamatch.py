"""AdaMatch: interpolation, labels, threshold and whole steps against the oracle; the classic errors are caught."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms import adamatch
from damage_ssl.learning.algorithms.adamatch import AdaMatch, AdaMatchSettings
from damage_ssl.learning.algorithms.base import TrainingBatch
from damage_ssl.learning.algorithms.fixmatch import unlabelled_loss
from tests.learning.algorithms import oracles, oracles_aligned
from tests.learning.algorithms.linear_student import (
    CHANNELS,
    CLASSES,
    LABELLED,
    SIZE,
    UNLABELLED,
    LinearStudent,
    step,
    weight_gradient,
)
from tests.learning.algorithms.test_oracles import CLASS_COUNTS, assert_same, caught, gradient_of, logits


def ada(**options: object) -> AdaMatch:
    return AdaMatch(AdaMatchSettings(**options))


@pytest.fixture
def batch() -> TrainingBatch:
    rng = np.random.default_rng(3)
    views = [torch.from_numpy(rng.random((n, CHANNELS, SIZE, SIZE))) for n in (LABELLED, LABELLED, UNLABELLED)]
    strong = torch.from_numpy(rng.random((UNLABELLED, CHANNELS, SIZE, SIZE)))
    return TrainingBatch(
        target=torch.tensor([0, 1, 2, 3]),
        labelled_weak=views[0],
        labelled_strong=views[1],
        unlabelled=(views[2], strong),
    )


# --- Random logit interpolation ------------------------------------------------------------------------------------


def check_interpolation(interpolate: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    joint, alone = logits(8, 4, seed=1), logits(8, 4, seed=2)
    draws = torch.from_numpy(np.random.default_rng(3).random((8, 4)))
    found = interpolate(joint, alone, draws)
    assert_same(
        found, oracles_aligned.adamatch_interpolated(joint.detach().numpy(), alone.detach().numpy(), draws.numpy())
    )
    joint_gradient, alone_gradient = gradient_of(found.sum(), joint, alone)
    assert_same(joint_gradient, draws.numpy())
    assert_same(alone_gradient, 1 - draws.numpy())


def test_interpolation_equals_the_oracle() -> None:
    check_interpolation(adamatch.interpolate)


def test_one_interpolation_weight_a_sample_is_caught() -> None:
    with caught:
        check_interpolation(lambda joint, alone, draws: adamatch.interpolate(joint, alone, draws[:, :1]))


def test_one_interpolation_weight_for_the_batch_is_caught() -> None:
    with caught:
        check_interpolation(lambda joint, alone, draws: adamatch.interpolate(joint, alone, draws[0, 0]))


def test_a_step_draws_one_weight_for_every_element(monkeypatch: pytest.MonkeyPatch, batch: TrainingBatch) -> None:
    seen: list[Tensor] = []

    def spied(joint: Tensor, alone: Tensor, draws: Tensor) -> Tensor:
        seen.append(draws)
        return joint

    monkeypatch.setattr(adamatch, "interpolate", spied)
    step(ada(weak_pass="fused"), LinearStudent(), batch)
    assert seen[0].shape == (2 * LABELLED, CLASSES)
    assert len(np.unique(seen[0])) == 2 * LABELLED * CLASSES


# --- Labels and loss -----------------------------------------------------------------------------------------------

Term = Callable[[Tensor, Tensor, Tensor], Tensor]


def term(known: Tensor, weak: Tensor, strong: Tensor) -> Tensor:
    return unlabelled_loss(strong, adamatch.pseudo_labels(known, weak, threshold=0.9))


def check_term(candidate: Term, classes: int = 4) -> None:
    known, weak, strong = (logits(n, classes, seed=seed, scale=1.5) for n, seed in ((9, 4), (27, 5), (27, 6)))
    targets, mask = oracles_aligned.adamatch_labels(known.detach().numpy(), weak.detach().numpy(), 0.9)
    assert 0 < mask.sum() < 27, "the case must have both kinds of pairs"
    expected = oracles_aligned.masked_cross_entropy(strong.detach().numpy(), targets, mask)
    loss = candidate(known, weak, strong)
    known_gradient, weak_gradient, strong_gradient = gradient_of(loss, known, weak, strong)
    assert_same(loss, expected.value)
    assert_same(strong_gradient, expected.gradient)
    assert torch.equal(weak_gradient, torch.zeros_like(weak)), "a gradient leaks into the weak logits"
    assert torch.equal(known_gradient, torch.zeros_like(known)), "a gradient leaks into the threshold"


@pytest.mark.parametrize("classes", CLASS_COUNTS)
def test_unlabelled_loss_and_gradient_equal_the_oracle(classes: int) -> None:
    check_term(term, classes)


def test_dividing_by_the_confident_count_is_caught() -> None:
    def broken(known: Tensor, weak: Tensor, strong: Tensor) -> Tensor:
        labels = adamatch.pseudo_labels(known, weak, threshold=0.9)
        return (F.cross_entropy(strong, labels.target, reduction="none") * labels.mask).sum() / labels.mask.sum()

    with caught:
        check_term(broken)


def test_an_absolute_threshold_is_caught() -> None:
    def broken(known: Tensor, weak: Tensor, strong: Tensor) -> Tensor:
        labels = adamatch.pseudo_labels(known, weak, threshold=0.9)
        mask = (labels.target.amax(1) >= 0.9).double()
        return (F.cross_entropy(strong, labels.target, reduction="none") * mask).mean()

    with caught:
        check_term(broken)


def test_a_threshold_from_the_unlabelled_views_is_caught() -> None:
    def broken(known: Tensor, weak: Tensor, strong: Tensor) -> Tensor:
        labels = adamatch.pseudo_labels(known, weak, threshold=0.9)
        mask = (labels.target.amax(1) >= 0.9 * weak.detach().softmax(1).amax(1).mean()).double()
        return (F.cross_entropy(strong, labels.target, reduction="none") * mask).mean()

    with caught:
        check_term(broken)


def test_no_alignment_is_caught() -> None:
    def broken(known: Tensor, weak: Tensor, strong: Tensor) -> Tensor:
        p = weak.detach().softmax(1)
        mask = (p.amax(1) >= 0.9 * known.detach().softmax(1).amax(1).mean()).double()
        return (F.cross_entropy(strong, p, reduction="none") * mask).mean()

    with caught:
        check_term(broken)


def test_leaking_into_the_pseudo_labels_is_caught() -> None:
    def broken(known: Tensor, weak: Tensor, strong: Tensor) -> Tensor:
        labels = adamatch.pseudo_labels(known, weak, threshold=0.9)
        p = weak.softmax(1)
        target = labels.target + p - p.detach()
        return (F.cross_entropy(strong, target, reduction="none") * labels.mask).mean()

    with pytest.raises(AssertionError, match="leaks"):
        check_term(broken)


def test_hard_labels_are_the_likeliest_aligned_classes() -> None:
    known, weak = logits(9, 4, seed=4), logits(27, 4, seed=5)
    targets, mask = oracles_aligned.adamatch_labels(known.detach().numpy(), weak.detach().numpy(), 0.9)
    labels = adamatch.pseudo_labels(known, weak, threshold=0.9, hard=True)
    np.testing.assert_array_equal(labels.target, targets.argmax(axis=1))
    np.testing.assert_array_equal(labels.mask, mask)


# --- Warm-up -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_number", [0, 1, 25, 50, 51, 99, 100])
def test_warm_up_follows_the_paper(step_number: int) -> None:
    found = adamatch.warm_up(step_number / 100)
    assert found == pytest.approx(oracles_aligned.adamatch_warm_up(step_number, 100), abs=1e-12)


def test_warm_up_is_zero_first_half_at_a_quarter_and_one_from_the_middle_on() -> None:
    assert [adamatch.warm_up(t) for t in (0.0, 0.25, 0.5, 0.75, 1.0)] == pytest.approx([0, 0.5, 1, 1, 1])
    assert 0 < adamatch.warm_up(0.01) < 0.001


# --- Whole steps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("weak_pass", ["fused", "separate"])
def test_step_equals_the_oracle(weak_pass: str, progress: float, batch: TrainingBatch) -> None:
    student = LinearStudent()  # no batch statistics: both passes give the same logits
    terms, gradient = step(ada(weak_pass=weak_pass), student, batch, progress=progress)
    x = torch.cat([batch.labelled("weak"), batch.labelled("strong")])
    weak, strong = batch.unlabelled
    target = oracles.one_hot(batch.target.repeat(2).numpy(), CLASSES)
    known = oracles.cross_entropy(student.logits(x), target)
    targets, mask = oracles_aligned.adamatch_labels(student.logits(batch.labelled("weak")), student.logits(weak), 0.9)
    unlabelled = oracles_aligned.masked_cross_entropy(student.logits(strong), targets, mask)
    ramp = oracles_aligned.adamatch_warm_up(int(progress * 100), 100)
    assert terms.loss.item() == pytest.approx(known.value + ramp * unlabelled.value, abs=1e-6)
    assert terms.mask_rate.item() == pytest.approx(mask.mean())
    expected = weight_gradient(x, known.gradient) + ramp * weight_gradient(strong, unlabelled.gradient)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


class NormedStudent(nn.Module):
    """Logits depend on who else is in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(CHANNELS * SIZE * SIZE).double()
        self.linear = LinearStudent()

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x.flatten(1)))


def test_with_batch_statistics_both_passes_are_interpolated_and_the_labelled_one_leaves_the_statistics(
    batch: TrainingBatch,
) -> None:
    student, joint_only = NormedStudent(), NormedStudent()
    terms = ada(weak_pass="fused").loss(student, None, batch, progress=1.0, generator=torch.Generator().manual_seed(5))
    terms.loss.backward()  # type: ignore[no-untyped-call]

    x = torch.cat([batch.labelled("weak"), batch.labelled("strong")])
    alone_z = NormedStudent()(x).detach().numpy()
    joint_z = joint_only(torch.cat([x, *batch.unlabelled])).detach().numpy()
    draws = torch.rand(2 * LABELLED, CLASSES, generator=torch.Generator().manual_seed(5)).double().numpy()
    known_z = oracles_aligned.adamatch_interpolated(joint_z[: 2 * LABELLED], alone_z, draws)
    known = oracles.cross_entropy(known_z, oracles.one_hot(batch.target.repeat(2).numpy(), CLASSES))
    weak_z, strong_z = joint_z[2 * LABELLED : 2 * LABELLED + UNLABELLED], joint_z[2 * LABELLED + UNLABELLED :]
    targets, mask = oracles_aligned.adamatch_labels(known_z[:LABELLED], weak_z, 0.9)
    unlabelled = oracles_aligned.masked_cross_entropy(strong_z, targets, mask)
    assert np.abs(alone_z - joint_z[: 2 * LABELLED]).max() > 0.01
    assert terms.loss.item() == pytest.approx(known.value + unlabelled.value, abs=1e-6)
    for name, buffer in joint_only.named_buffers():
        torch.testing.assert_close(dict(student.named_buffers())[name], buffer, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.1}, "adamatch: threshold is 1.1; it must be 0 to 1"),
        ({"unlabelled_weight": -1.0}, "adamatch: unlabelled_weight is -1"),
        ({"labels": "firm"}, "allowed: soft, hard"),
    ],
)
def test_impossible_option_says_what_is_allowed(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ada(**options)
