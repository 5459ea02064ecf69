"""Pseudo-Label, Π-model and Mean Teacher: whole steps against NumPy, and the classic errors in them caught."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms import mean_teacher, pi_model, pseudo_label
from damage_ssl.learning.algorithms.base import Network, TrainingBatch
from damage_ssl.learning.algorithms.fixmatch import PseudoLabels
from tests.learning.algorithms import oracles
from tests.learning.algorithms.linear_student import CLASSES, LinearStudent, draw_batch, make, step, weight_gradient

caught = pytest.raises(AssertionError)
RAMP = [(0.0, 0.0), (0.01, 0.025), (0.2, 0.5), (0.4, 1.0), (1.0, 1.0)]


@pytest.fixture
def batch() -> TrainingBatch:
    return draw_batch()


def supervised(student: LinearStudent, batch: TrainingBatch) -> tuple[float, np.ndarray]:
    x = batch.labelled("weak")
    value, gradient = oracles.cross_entropy(student.logits(x), oracles.one_hot(batch.target.numpy(), CLASSES))
    return value, weight_gradient(x, gradient)


def check(found: tuple[float, np.ndarray], *parts: tuple[float, np.ndarray]) -> None:
    """The loss and its gradient are the sums of their parts."""
    assert found[0] == pytest.approx(sum(part[0] for part in parts), abs=1e-6)
    np.testing.assert_allclose(found[1], sum(part[1] for part in parts), rtol=0, atol=1e-6)


# --- Pseudo-Label --------------------------------------------------------------------------------------------------


def check_pseudo_label(batch: TrainingBatch, progress: float = 1.0, ramp: float = 1.0) -> None:
    algorithm, student = make("pseudo-label", threshold=0.7, unlabelled_weight=1.5), LinearStudent()
    terms, gradient = step(algorithm, student, batch, progress=progress)
    z = student.logits(batch.unlabelled[0])
    value, slope = oracles.fixmatch_unlabelled(z, z, 0.7)
    assert 0 < terms.mask_rate.item() < 1
    unlabelled = (1.5 * ramp * value, 1.5 * ramp * weight_gradient(batch.unlabelled[0], slope))
    check((terms.loss.item(), gradient), supervised(student, batch), unlabelled)


@pytest.mark.parametrize(("progress", "ramp"), RAMP)
def test_pseudo_label_step_equals_the_oracle(progress: float, ramp: float, batch: TrainingBatch) -> None:
    check_pseudo_label(batch, progress, ramp)


def test_dividing_pseudo_labels_by_the_confident_count_is_caught(
    batch: TrainingBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(logits: Tensor, labels: PseudoLabels) -> Tensor:
        return (F.cross_entropy(logits, labels.target, reduction="none") * labels.mask).sum() / labels.mask.sum()

    monkeypatch.setattr(pseudo_label, "unlabelled_loss", broken)
    with caught:
        check_pseudo_label(batch)


def test_a_gradient_into_the_pseudo_labels_is_caught(batch: TrainingBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(logits: Tensor, *, threshold: float) -> PseudoLabels:
        confidence, target = logits.softmax(dim=-1).max(dim=-1)
        return PseudoLabels(target, (confidence >= threshold) * (1 + confidence - confidence.detach()))

    monkeypatch.setattr(pseudo_label, "pseudo_labels", broken)
    with caught:
        check_pseudo_label(batch)


def test_without_a_confident_pair_pseudo_labels_add_nothing(batch: TrainingBatch) -> None:
    student = LinearStudent(scale=1e-3)
    terms, gradient = step(make("pseudo-label"), student, batch)
    assert terms.unlabelled.item() == terms.mask_rate.item() == 0
    check((terms.loss.item(), gradient), supervised(student, batch))


# --- Π-model and Mean Teacher --------------------------------------------------------------------------------------


def check_consistency(
    name: str,
    batch: TrainingBatch,
    progress: float = 1.0,
    ramp: float = 1.0,
    broken_student: LinearStudent | None = None,
) -> None:
    """`broken_student` takes the place of the student in the step, not in the expectation."""
    student, teacher = LinearStudent(seed=0), LinearStudent(seed=7)
    algorithm = make(name)
    terms, gradient = step(algorithm, broken_student or student, batch, progress=progress, teacher=teacher)

    first, second = batch.unlabelled
    target = oracles.softmax((student if name == "pi-model" else teacher).logits(first))
    value, slope = oracles.mixmatch_unlabelled(student.logits(second), target)
    weight = (10 if name == "pi-model" else 50) * ramp
    assert terms.unlabelled.item() == pytest.approx(value, abs=1e-6)
    unlabelled = (weight * value, weight * weight_gradient(second, slope))
    check((terms.loss.item(), gradient), supervised(student, batch), unlabelled)


NAMES = ["pi-model", "mean-teacher"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("progress", "ramp"), RAMP)
def test_consistency_step_equals_the_oracle(name: str, progress: float, ramp: float, batch: TrainingBatch) -> None:
    check_consistency(name, batch, progress, ramp)


@pytest.mark.parametrize("name", NAMES)
def test_summing_the_difference_over_classes_is_caught(
    name: str, batch: TrainingBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(logits: Tensor, target: Tensor) -> Tensor:
        return (logits.softmax(dim=-1) - target).square().sum(dim=1).mean()

    monkeypatch.setattr(pi_model, "unlabelled_loss", broken)
    with caught:
        check_consistency(name, batch)


def test_a_gradient_into_the_target_is_caught(batch: TrainingBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    class Leaking(pi_model.PiModel):
        def teacher(self, student: Network, ema: Network | None) -> Network:
            def with_gradient(x: Tensor) -> Tensor:
                with torch.enable_grad():
                    return student(x)

            return with_gradient

    def consistency(logits: Tensor, target_logits: Tensor) -> Tensor:
        return (logits.softmax(dim=-1) - target_logits.softmax(dim=-1)).square().mean()

    monkeypatch.setattr(pi_model.PiModel, "teacher", Leaking.teacher)
    check_consistency("pi-model", batch)  # the loss itself stops the gradient
    monkeypatch.setattr(pi_model, "consistency_loss", consistency)
    with caught:
        check_consistency("pi-model", batch)


def test_the_target_of_the_consistency_loss_gets_no_gradient() -> None:
    z, target = (torch.randn(5, 3, generator=torch.Generator().manual_seed(i)).requires_grad_() for i in range(2))
    slopes = torch.autograd.grad(pi_model.consistency_loss(z, target), [z, target], allow_unused=True)
    assert slopes[0] is not None and slopes[0].abs().sum() > 0
    assert slopes[1] is None


def test_no_gradient_flows_into_the_teacher(batch: TrainingBatch) -> None:
    student, teacher = LinearStudent(seed=0), LinearStudent(seed=7)
    terms = make("mean-teacher").loss(student, teacher, batch, progress=1.0, generator=torch.Generator())
    assert torch.autograd.grad(terms.loss, [teacher.weight], allow_unused=True) == (None,)


def test_the_teacher_sees_the_first_view_and_the_student_the_second(batch: TrainingBatch) -> None:
    student, teacher = LinearStudent(seed=0), LinearStudent(seed=7)
    step(make("mean-teacher"), student, batch, teacher=teacher)
    assert len(student.shown) == len(teacher.shown) == 1
    assert torch.equal(teacher.shown[0], batch.unlabelled[0])
    assert torch.equal(student.shown[0], torch.cat([batch.labelled("weak"), batch.unlabelled[1]]))


def test_the_student_as_its_own_teacher_is_caught(batch: TrainingBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mean_teacher.MeanTeacher, "teacher", lambda self, student, ema: student)
    with caught:
        check_consistency("mean-teacher", batch)


def test_the_teacher_as_student_too_is_caught(batch: TrainingBatch) -> None:
    with caught:
        check_consistency("mean-teacher", batch, broken_student=LinearStudent(seed=7))


def test_both_logits_from_the_teacher_would_give_a_loss_of_zero_and_are_caught(
    batch: TrainingBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[[Tensor, Tensor], Tensor] = pi_model.consistency_loss
    monkeypatch.setattr(pi_model, "consistency_loss", lambda logits, target: original(target, target))
    terms, _ = step(make("mean-teacher"), LinearStudent(), batch, teacher=LinearStudent(seed=7))
    assert terms.unlabelled.item() == 0
    with caught:
        check_consistency("mean-teacher", batch)


def test_mean_teacher_without_a_teacher_is_an_error(batch: TrainingBatch) -> None:
    with pytest.raises(ValueError, match="needs the averaged network"):
        step(make("mean-teacher"), LinearStudent(), batch)


@pytest.mark.parametrize("name", NAMES)
def test_the_second_view_may_be_strong(name: str) -> None:
    assert make(name).unlabelled_views == ("weak", "weak")
    assert make(name, student_view="strong").unlabelled_views == ("weak", "strong")


@pytest.mark.parametrize(
    ("name", "option", "text"),
    [
        ("pseudo-label", {"threshold": -0.1}, "pseudo-label: threshold is -0.1"),
        ("pseudo-label", {"ramp_share": 2.0}, "pseudo-label: ramp_share is 2; it must be 0 to 1"),
        ("pi-model", {"unlabelled_weight": -1.0}, "pi-model: unlabelled_weight is -1"),
        ("mean-teacher", {"unlabeled_weight": 1.0}, "did you mean 'unlabelled_weight'"),
        ("mean-teacher", {"student_view": "both"}, "allowed: weak, strong"),
    ],
)
def test_an_impossible_option_is_an_error_that_helps(name: str, option: dict[str, float | str], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        make(name, **option)
