"""ReMixMatch: guesses, queue and whole steps against the oracle; the classic errors are caught."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms import remixmatch
from damage_ssl.learning.algorithms.base import TrainingBatch
from damage_ssl.learning.algorithms.mixmatch import draw_beta
from damage_ssl.learning.algorithms.remixmatch import QUEUE, ReMixMatch, ReMixMatchSettings, ShareQueue, turn_views
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
from tests.learning.algorithms.test_oracles import CLASS_COUNTS, assert_same, caught, logits

LABEL_SHARE, PREDICTED_SHARE = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.2, 0.3, 0.4])
POST_CHANNELS = [3, 4, 5, 10, 11, 12]


def remix(**options: object) -> ReMixMatch:
    return ReMixMatch(ReMixMatchSettings(**options))


def views_of(count: int, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.random((count, CHANNELS, SIZE, SIZE)))


@pytest.fixture
def batch() -> TrainingBatch:
    rng = np.random.default_rng(3)
    return TrainingBatch(
        target=torch.tensor([0, 1, 2, 3]),
        labelled_strong=views_of(LABELLED, rng),
        unlabelled=tuple(views_of(UNLABELLED, rng) for _ in range(3)),
    )


# --- Guesses -------------------------------------------------------------------------------------------------------


def check_guess(guess: Callable[[Tensor, Tensor, Tensor], Tensor], classes: int = 4) -> None:
    z = logits(11, classes, seed=7, scale=1.0)
    known, predicted = (torch.from_numpy(each[:classes] / each[:classes].sum()) for each in SHARES)
    found = guess(z, known, predicted)
    assert not found.requires_grad, "a gradient leaks into the guesses"
    assert_same(
        found, oracles_aligned.remixmatch_guess(z.detach().numpy(), known.numpy(), predicted.numpy(), temperature=0.5)
    )


SHARES = (LABEL_SHARE, PREDICTED_SHARE)


def aligned_guess(z: Tensor, known: Tensor, predicted: Tensor) -> Tensor:
    return remixmatch.guess_labels(z, remixmatch.alignment_ratio(known, predicted), temperature=0.5)


@pytest.mark.parametrize("classes", CLASS_COUNTS)
def test_guesses_equal_the_oracle(classes: int) -> None:
    check_guess(aligned_guess, classes)


def test_guess_of_a_hand_worked_case() -> None:
    # p (0.6, 0.4), ratio (0.5, 1.5): (0.3, 0.6) / 0.9 = (1/3, 2/3); squares 1/9 and 4/9: (1/5, 4/5)
    z = torch.tensor([[0.6, 0.4]], dtype=torch.float64).log()
    found = remixmatch.guess_labels(z, torch.tensor([0.5, 1.5]), temperature=0.5)
    assert_same(found, np.array([[0.2, 0.8]]))


def test_alignment_after_sharpening_is_caught() -> None:
    def broken(z: Tensor, known: Tensor, predicted: Tensor) -> Tensor:
        q = remixmatch.guess_labels(z, torch.ones(4), temperature=0.5) * remixmatch.alignment_ratio(known, predicted)
        return q / q.sum(dim=1, keepdim=True)

    with caught:
        check_guess(broken)


def test_alignment_the_wrong_way_round_is_caught() -> None:
    with caught:
        check_guess(lambda z, known, predicted: aligned_guess(z, predicted, known))


def test_guesses_with_a_gradient_are_caught() -> None:
    def broken(z: Tensor, known: Tensor, predicted: Tensor) -> Tensor:
        q = (z.softmax(1) * remixmatch.alignment_ratio(known, predicted)) ** 2
        return q / q.sum(dim=1, keepdim=True)

    with pytest.raises(AssertionError, match="leaks"):
        check_guess(broken)


# --- The queue -----------------------------------------------------------------------------------------------------


def test_queue_is_the_mean_of_the_batches_so_far_and_forgets_what_is_older_than_128() -> None:
    queue, shares = ShareQueue(), list(np.random.default_rng(0).dirichlet(np.ones(4), QUEUE + 3))
    for number, share in enumerate(shares, 1):
        mean = queue.push(torch.from_numpy(share))
        assert_same(mean, oracles_aligned.mean_of_last(shares[:number]))
    assert queue.entries is not None and queue.entries.shape == (128, 4)
    assert_same(queue.entries[0], shares[3])


def test_queue_goes_on_where_it_was(batch: TrainingBatch) -> None:
    whole, first, second = remix(strong_views=2), remix(strong_views=2), remix(strong_views=2)
    other = TrainingBatch(
        target=torch.tensor([0, 0, 0, 1]), labelled_strong=batch.labelled_strong, unlabelled=batch.unlabelled[::-1]
    )
    student = LinearStudent()
    step(whole, student, batch)
    step(first, student, batch)
    assert sorted(first.state_dict()) == ["label_share", "predicted_share"]
    second.load_state_dict(first.state_dict())
    (terms, gradient), (again, gradient_again) = step(whole, student, other), step(second, student, other)
    assert terms.loss.item() == again.loss.item()
    np.testing.assert_array_equal(gradient, gradient_again)
    assert remix().state_dict() == {}


# --- Rotation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("subject", "channels"), [("post", POST_CHANNELS), ("pair", list(range(14)))])
def test_only_the_subject_is_turned(subject: str, channels: list[int]) -> None:
    views, turns = views_of(8, np.random.default_rng(1)), torch.arange(8) % 4
    found = turn_views(views, turns, subject)  # type: ignore[arg-type]
    one_way = oracles_aligned.turned(views.numpy(), turns.numpy(), channels)
    other_way = oracles_aligned.turned(views.numpy(), -turns.numpy(), channels)
    assert np.array_equal(found.numpy(), one_way) or np.array_equal(found.numpy(), other_way)


# --- Whole steps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("progress", "ramp"), [(0.0, 0.0), (0.1, 0.25), (0.2, 0.5), (1.0, 1.0)])
def test_step_equals_the_oracle(progress: float, ramp: float, batch: TrainingBatch) -> None:
    algorithm, student = remix(strong_views=2), LinearStudent()
    terms = algorithm.loss(student, None, batch, progress=progress, generator=torch.Generator().manual_seed(5))
    gradient, rotation_gradient = torch.autograd.grad(terms.loss, [student.weight, student.other])

    generator = torch.Generator().manual_seed(5)
    total = LABELLED + 3 * UNLABELLED
    drawn = draw_beta(0.75, total, generator).double().numpy()
    permutation = torch.randperm(total, generator=generator).numpy()
    turns = torch.randint(4, (UNLABELLED,), generator=generator)
    weak, first, second = batch.unlabelled
    weak_z = student.logits(weak)
    guess = oracles_aligned.remixmatch_guess(weak_z, np.full(4, 0.25), oracles.softmax(weak_z).mean(axis=0), 0.5)
    inputs = torch.cat([batch.labelled("strong"), first, second, weak]).numpy()
    targets = np.concatenate([oracles.one_hot(batch.target.numpy(), CLASSES), guess, guess, guess])
    mixed = torch.from_numpy(oracles.mixup(inputs, drawn, permutation))
    mixed_targets = oracles.mixup(targets, drawn, permutation)
    z = student.logits(mixed)
    x = oracles.cross_entropy(z[:LABELLED], mixed_targets[:LABELLED])
    u = oracles.cross_entropy(z[LABELLED:], mixed_targets[LABELLED:])
    anchor = oracles.cross_entropy(student.logits(first), guess)
    turned = turn_views(first, turns, "post")
    head = (turned.flatten(1) @ student.other).detach().numpy()
    rotation = oracles.cross_entropy(head, oracles.one_hot(turns.numpy(), 4))

    expected = x.value + 1.5 * ramp * u.value + 0.5 * ramp * anchor.value + 0.5 * rotation.value
    assert terms.supervised.item() == pytest.approx(x.value, abs=1e-6)
    assert terms.unlabelled.item() == pytest.approx(u.value, abs=1e-6)
    assert terms.loss.item() == pytest.approx(expected, abs=1e-6)
    mixed_gradient = weight_gradient(mixed, np.concatenate([x.gradient, 1.5 * ramp * u.gradient]))
    anchor_gradient = weight_gradient(first, 0.5 * ramp * anchor.gradient)
    np.testing.assert_allclose(gradient.numpy(), mixed_gradient + anchor_gradient, atol=1e-6)
    np.testing.assert_allclose(rotation_gradient.numpy(), weight_gradient(turned, 0.5 * rotation.gradient), atol=1e-6)


def test_without_rotation_no_head_is_needed(batch: TrainingBatch) -> None:
    algorithm = remix(strong_views=2, rotation_weight=0.0)
    student = LinearStudent()
    terms = algorithm.loss(student.__call__, None, batch, progress=1.0, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(terms.loss) and algorithm.heads(2) == {}
    with pytest.raises(ValueError, match="carries no auxiliary heads, but this algorithm needs 'rotation'"):
        remix(strong_views=2).loss(student.__call__, None, batch, progress=1.0, generator=torch.Generator())


def test_two_passes_a_step_the_weak_views_without_a_gradient(batch: TrainingBatch) -> None:
    student = LinearStudent()
    step(remix(strong_views=2), student, batch)
    assert [len(shown) for shown in student.shown] == [UNLABELLED, LABELLED + 5 * UNLABELLED]
    kept: list[Tensor] = []

    def watched(x: Tensor) -> Tensor:
        kept.append(student(x))
        return kept[-1]

    remix(strong_views=2, rotation_weight=0.0).loss(
        watched, None, batch, progress=1.0, generator=torch.Generator().manual_seed(0)
    )
    assert [each.requires_grad for each in kept] == [False, True]


def test_loss_of_one_class_only_is_the_supervised_one_where_all_weights_are_zero(batch: TrainingBatch) -> None:
    options = {"unlabelled_weight": 0.0, "anchor_weight": 0.0, "rotation_weight": 0.0, "beta_alpha": 1e-6}
    student = LinearStudent()  # λ′ is 1 where α is nearly 0: nothing is mixed
    terms, gradient = step(remix(strong_views=2, **options), student, batch)
    labels = oracles.one_hot(batch.target.numpy(), CLASSES)
    value, logits_gradient = oracles.cross_entropy(student.logits(batch.labelled("strong")), labels)
    expected = weight_gradient(batch.labelled("strong"), logits_gradient)
    assert terms.loss.item() == pytest.approx(value, abs=1e-6)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strong_views": 0}, "remixmatch: strong_views is 0; it must be at least 1"),
        ({"temperature": 0.0}, "remixmatch: temperature is 0; it must be above 0"),
        ({"anchor_weight": -1.0}, "remixmatch: anchor_weight is -1"),
        ({"rotated": "pre"}, "allowed: post, pair"),
    ],
)
def test_impossible_option_says_what_is_allowed(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        remix(**options)
