"""Whole steps: which views go where, one fused pass, weights and ramps.

The network is a float64 linear map, so that value and gradient with respect to its weights can be worked out in NumPy.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms import ALGORITHMS
from damage_ssl.learning.algorithms.base import TrainingBatch
from damage_ssl.learning.algorithms.mixmatch import draw_beta
from damage_ssl.learning.augmentation.views import Views
from tests.learning.algorithms import oracles
from tests.learning.algorithms.linear_student import (
    CLASSES,
    LABELLED,
    UNLABELLED,
    LinearStudent,
    RoundedStudent,
    draw_batch,
    make,
    step,
    weight_gradient,
)


@pytest.fixture
def batch() -> TrainingBatch:
    return draw_batch()


def supervised(student: LinearStudent, views: Tensor, target: Tensor) -> tuple[float, np.ndarray]:
    value, gradient = oracles.cross_entropy(student.logits(views), oracles.one_hot(target.numpy(), CLASSES))
    return value, weight_gradient(views, gradient)


@pytest.mark.parametrize("view", ["weak", "strong"])
def test_supervised_step_equals_the_oracle_and_reads_only_its_view(view: str, batch: TrainingBatch) -> None:
    algorithm, student = make(f"supervised-{view}"), LinearStudent()
    shown = batch.labelled_weak if view == "weak" else batch.labelled_strong
    terms, gradient = step(algorithm, student, batch)
    assert shown is not None
    value, expected = supervised(student, shown, batch.target)
    assert terms.loss.item() == pytest.approx(value, abs=1e-6)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    assert (algorithm.labelled_views, algorithm.unlabelled_views) == ((view,), ())
    assert terms.unlabelled.item() == terms.mask_rate.item() == 0


@pytest.mark.parametrize("labelled_view", ["weak", "strong", "both"])
@pytest.mark.parametrize("weak_pass", ["fused", "separate"])
def test_fixmatch_step_equals_the_oracle(labelled_view: str, weak_pass: str, batch: TrainingBatch) -> None:
    algorithm = make("fixmatch", labelled_view=labelled_view, weak_pass=weak_pass, unlabelled_weight=1.5, threshold=0.7)
    student = LinearStudent()
    terms, gradient = step(algorithm, student, batch)

    both = {"weak": batch.labelled("weak"), "strong": batch.labelled("strong")}
    parts = [supervised(student, both[view], batch.target) for view in algorithm.labelled_views]
    weak, strong = batch.unlabelled
    unlabelled = oracles.fixmatch_unlabelled(student.logits(weak), student.logits(strong), 0.7)
    value = np.mean([part[0] for part in parts]) + 1.5 * unlabelled.value
    expected = np.mean([part[1] for part in parts], axis=0) + 1.5 * weight_gradient(strong, unlabelled.gradient)
    assert 0 < terms.mask_rate.item() < 1
    assert terms.loss.item() == pytest.approx(value, abs=1e-6)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    assert len(algorithm.labelled_views) == (2 if labelled_view == "both" else 1)


def test_fused_fixmatch_shows_the_network_all_views_in_one_pass(batch: TrainingBatch) -> None:
    student = LinearStudent()
    step(make("fixmatch", weak_pass="fused"), student, batch)
    weak = batch.labelled("weak")
    assert len(student.shown) == 1
    assert torch.equal(student.shown[0], torch.cat([weak, *batch.unlabelled]))


def test_fixmatch_gradient_to_weak_logits_is_exactly_zero(batch: TrainingBatch) -> None:
    kept: list[Tensor] = []

    def student(x: Tensor) -> Tensor:
        kept.append((x.flatten(1).float() @ weight).requires_grad_())
        return kept[-1]

    weight = LinearStudent().weight.detach().float()
    algorithm = make("fixmatch", threshold=0.5, weak_pass="fused")
    terms = algorithm.loss(student, None, batch, progress=1.0, generator=torch.Generator())
    (gradient,) = torch.autograd.grad(terms.loss, kept)
    weak_rows, strong_rows = gradient[LABELLED : LABELLED + UNLABELLED], gradient[LABELLED + UNLABELLED :]
    assert torch.equal(weak_rows, torch.zeros_like(weak_rows))
    assert strong_rows.abs().sum() > 0


@pytest.mark.parametrize(("progress", "ramp"), [(0.0, 0.0), (0.2, 0.5), (0.4, 1.0), (1.0, 1.0)])
def test_mixmatch_step_equals_the_oracle(progress: float, ramp: float, batch: TrainingBatch) -> None:
    algorithm, student = make("mixmatch"), LinearStudent()
    terms, gradient = step(algorithm, student, batch, progress=progress, seed=5)

    generator = torch.Generator().manual_seed(5)
    total = LABELLED + 2 * UNLABELLED
    drawn = draw_beta(0.75, total, generator).double().numpy()
    permutation = torch.randperm(total, generator=generator).numpy()
    guess = oracles.mixmatch_guess(np.stack([student.logits(views) for views in batch.unlabelled]), 0.5)
    inputs = torch.cat([batch.labelled("weak"), *batch.unlabelled]).numpy()
    targets = np.concatenate([oracles.one_hot(batch.target.numpy(), CLASSES), guess, guess])
    mixed = torch.from_numpy(oracles.mixup(inputs, drawn, permutation))
    mixed_targets = oracles.mixup(targets, drawn, permutation)
    x = oracles.cross_entropy(student.logits(mixed)[:LABELLED], mixed_targets[:LABELLED])
    u = oracles.mixmatch_unlabelled(student.logits(mixed)[LABELLED:], mixed_targets[LABELLED:])

    logits_gradient = np.concatenate([x.gradient, 75 * ramp * u.gradient])
    assert terms.supervised.item() == pytest.approx(x.value, abs=1e-6)
    assert terms.unlabelled.item() == pytest.approx(u.value, abs=1e-6)
    assert terms.loss.item() == pytest.approx(x.value + 75 * ramp * u.value, abs=1e-6)
    np.testing.assert_allclose(gradient, weight_gradient(mixed, logits_gradient), atol=1e-6)


def test_mixmatch_asks_for_k_weak_views(batch: TrainingBatch) -> None:
    algorithm = make("mixmatch", views=3)
    assert algorithm.unlabelled_views == ("weak", "weak", "weak")
    three = TrainingBatch(
        target=batch.target, labelled_weak=batch.labelled_weak, unlabelled=(*batch.unlabelled, batch.unlabelled[0])
    )
    student = LinearStudent()
    step(algorithm, student, three)
    assert [len(shown) for shown in student.shown] == [3 * UNLABELLED, LABELLED + 3 * UNLABELLED]


def test_mixmatch_mixes_every_channel_and_leaves_the_batch_alone(batch: TrainingBatch) -> None:
    before = [views.clone() for views in (batch.labelled("weak"), *batch.unlabelled)]
    student = LinearStudent()
    step(make("mixmatch"), student, batch)
    changed = (student.shown[-1] != torch.cat(before)).flatten(2).any(2)  # [N, channels]
    assert changed.all(dim=1).sum() > 20
    assert torch.equal(changed.any(dim=1), changed.all(dim=1)), "a sample's channels are mixed together or not at all"
    for was, now in zip(before, (batch.labelled("weak"), *batch.unlabelled), strict=True):
        assert torch.equal(was, now)


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_a_step_is_repeated_by_the_same_generator_state(name: str, batch: TrainingBatch) -> None:
    first, second = (
        step(make(name), LinearStudent(), batch, seed=9, teacher=LinearStudent(seed=7))[1] for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_losses_are_float32_where_the_network_gives_bfloat16(name: str, batch: TrainingBatch) -> None:
    student = LinearStudent()
    algorithm = make(name)
    asked = replace(batch, unlabelled=batch.unlabelled[: len(algorithm.unlabelled_views)])
    terms = algorithm.loss(
        RoundedStudent(student),
        RoundedStudent(student),
        asked,
        progress=1.0,
        generator=torch.Generator().manual_seed(0),
    )
    assert terms.loss.dtype == terms.supervised.dtype == terms.unlabelled.dtype == torch.float32
    assert not terms.supervised.requires_grad
    assert not terms.unlabelled.requires_grad
    assert not terms.mask_rate.requires_grad


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_name_of_an_algorithm_is_its_key(name: str) -> None:
    assert make(name).name == name


@pytest.mark.parametrize(
    "name", ["supervised-weak", "supervised-strong", "mixmatch", "pseudo-label", "pi-model", "mean-teacher", "vat"]
)
def test_algorithms_without_state_refuse_one(name: str) -> None:
    algorithm = make(name)
    assert algorithm.state_dict() == {}
    algorithm.load_state_dict({})
    with pytest.raises(ValueError, match="has no state"):
        algorithm.load_state_dict({"predicted_share": torch.zeros(2)})


def test_distribution_alignment_averages_over_steps_and_resumes(batch: TrainingBatch) -> None:
    options: Mapping[str, Any] = {"distribution_alignment": True, "alignment_decay": 0.75}
    algorithm, student = make("fixmatch", **options), LinearStudent()
    step(algorithm, student, batch)
    other = TrainingBatch(
        target=torch.tensor([0, 0, 1, 2]), labelled_weak=batch.labelled_weak, unlabelled=batch.unlabelled[::-1]
    )
    resumed = make("fixmatch", **options)
    resumed.load_state_dict(algorithm.state_dict())
    (terms, gradient), (again, gradient_again) = step(algorithm, student, other), step(resumed, student, other)

    shares = [oracles.softmax(student.logits(weak)).mean(axis=0) for weak in batch.unlabelled]
    predicted = 0.75 * shares[0] + 0.25 * shares[1]
    expected = 0.75 * np.array([0.25, 0.25, 0.25, 0.25]) + 0.25 * np.array([0.5, 0.25, 0.25, 0])
    np.testing.assert_allclose(algorithm.state_dict()["predicted_share"], predicted, atol=1e-6)
    np.testing.assert_allclose(algorithm.state_dict()["expected_share"], expected, atol=1e-6)
    weak, strong = other.unlabelled
    oracle = oracles.fixmatch_unlabelled(student.logits(weak), student.logits(strong), 0.95, ratio=expected / predicted)
    assert terms.unlabelled.item() == pytest.approx(oracle.value, abs=1e-6)
    assert terms.loss.item() == again.loss.item()
    np.testing.assert_array_equal(gradient, gradient_again)


def test_alignment_is_off_by_default_and_then_keeps_no_state(batch: TrainingBatch) -> None:
    algorithm = make("fixmatch")
    step(algorithm, LinearStudent(), batch)
    assert algorithm.state_dict() == {}


def test_unknown_option_names_the_nearest() -> None:
    said = r"train\.options: fixmatch: setting 'treshold' is unknown: did you mean 'threshold'"
    with pytest.raises(SettingsError, match=said):
        make("fixmatch", treshold=0.9)
    with pytest.raises(SettingsError, match="setting 'threshold' is unknown"):
        make("supervised-weak", threshold=0.9)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fixmatch", {"threshold": 1.5}, "fixmatch: threshold is 1.5; it must be 0 to 1"),
        ("fixmatch", {"labelled_view": "weka"}, "allowed: weak, strong, both"),
        ("fixmatch", {"unlabelled_weight": float("nan")}, "unlabelled_weight is nan"),
        ("mixmatch", {"temperature": 0}, "mixmatch: temperature is 0; it must be above 0"),
        ("mixmatch", {"beta_alpha": -1.0}, "beta_alpha is -1; it must be above 0"),
        ("mixmatch", {"views": 0}, "views is 0; it must be at least 1"),
    ],
)
def test_impossible_option_says_what_is_allowed(name: str, options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make(name, **options)


def test_missing_view_is_named() -> None:
    batch = TrainingBatch(target=torch.zeros(2, dtype=torch.int64), labelled_weak=torch.zeros(2, 7, 3, 3))
    with pytest.raises(ValueError, match="no strong view"):
        batch.labelled("strong")


@pytest.fixture
def waiting_for_the_device_is_an_error() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls this mode a prototype
        torch.cuda.set_sync_debug_mode("error")
        yield
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_neither_views_nor_losses_wait_for_the_device(name: str, waiting_for_the_device_is_an_error: None) -> None:
    algorithm, views, generator = make(name), Views(), torch.Generator().manual_seed(0)
    x = torch.rand(8, 14, 16, 16, device="cuda")
    student = LinearStudent()
    student.weight = torch.zeros(14 * 16 * 16, 2, device="cuda", requires_grad=True)
    student.other = torch.zeros(14 * 16 * 16, 4, device="cuda", requires_grad=True)
    batch = TrainingBatch(
        target=torch.zeros(8, dtype=torch.int64, device="cuda"),
        labelled_weak=views.weak(x, generator),
        labelled_strong=views.strong(x, generator),
        unlabelled=tuple(getattr(views, view)(x, generator) for view in algorithm.unlabelled_views),
        unlabelled_index=torch.arange(8, device="cuda"),
        unlabelled_total=8,
    )
    terms = algorithm.loss(student, student, batch, progress=0.5, generator=generator)
    terms.loss.backward()
