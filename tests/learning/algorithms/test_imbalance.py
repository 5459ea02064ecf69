"""ABC and CDMAD against the oracle, around other algorithms, and folded into the network that predicts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms.base import Algorithm, TrainingBatch
from damage_ssl.learning.algorithms.remedies import ImbalanceOptions, cdmad, with_remedy
from damage_ssl.learning.algorithms.remedies.abc import consistency_loss, keep_chance
from damage_ssl.learning.networks.pair_network import NetworkSpec, PairNetwork, build_network
from tests.learning.algorithms import oracles, oracles_aligned
from tests.learning.algorithms.linear_student import (
    CHANNELS,
    CLASSES,
    SIZE,
    LinearStudent,
    draw_batch,
    make,
    step,
    weight_gradient,
)
from tests.learning.algorithms.test_oracles import assert_same, caught, gradient_of, logits

COUNTS = [40, 20, 10, 0]


def remedied(name: str, remedy: str, *, start: float = 0.2, **options: Any) -> Algorithm:
    chosen = ImbalanceOptions(imbalance=remedy, cdmad_start=start, abc_threshold=0.7)  # type: ignore[arg-type]
    inner = make(name, **options)
    return with_remedy(inner, chosen, class_counts=COUNTS, channels=CHANNELS, size_px=SIZE)


@pytest.fixture
def batch() -> TrainingBatch:
    return draw_batch()


def test_no_remedy_is_the_algorithm_itself() -> None:
    inner = make("fixmatch")
    assert with_remedy(inner, ImbalanceOptions(), class_counts=COUNTS, channels=7, size_px=8) is inner


# --- ABC -----------------------------------------------------------------------------------------------------------


def test_chances_fall_from_one_to_rarest_over_own_count_and_a_class_without_labels_is_kept() -> None:
    counts = torch.tensor(COUNTS, dtype=torch.float64)
    assert_same(keep_chance(counts, 0.0), np.ones(4))
    assert_same(keep_chance(counts, 0.5), np.array([0.625, 0.75, 1.0, 1.0]))
    assert_same(keep_chance(counts, 1.0), np.array([0.25, 0.5, 1.0, 1.0]))


KEEP = torch.tensor([0.25, 0.5, 1.0, 1.0], dtype=torch.float64)


def check_consistency(loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    strong, weak = logits(40, 4, seed=1), logits(40, 4, seed=2)
    draws = torch.from_numpy(np.random.default_rng(3).random(40))
    expected = oracles_aligned.abc_consistency(
        strong.detach().numpy(), weak.detach().numpy(), KEEP.numpy(), draws.numpy(), 0.8
    )
    found = loss(strong, weak, draws)
    strong_gradient, weak_gradient = gradient_of(found, strong, weak)
    assert_same(found, expected.value)
    assert_same(strong_gradient, expected.gradient)
    assert torch.equal(weak_gradient, torch.zeros_like(weak)), "a gradient leaks into the pseudo-labels"


def test_consistency_and_gradient_equal_the_oracle() -> None:
    check_consistency(lambda strong, weak, draws: consistency_loss(strong, weak, KEEP, draws, threshold=0.8))


def test_keeping_all_classes_alike_is_caught() -> None:
    with caught:
        check_consistency(
            lambda strong, weak, draws: consistency_loss(strong, weak, torch.ones_like(KEEP), draws, threshold=0.8)
        )


def test_dividing_by_the_kept_count_is_caught() -> None:
    def broken(strong: Tensor, weak: Tensor, draws: Tensor) -> Tensor:
        q = weak.detach().softmax(1)
        confidence, label = q.max(1)
        mask = (confidence >= 0.8) & (draws < KEEP[label])
        return F.cross_entropy(strong[mask], q[mask])

    with caught:
        check_consistency(broken)


@pytest.mark.parametrize("name", ["fixmatch", "mixmatch", "supervised-strong"])
def test_abc_adds_its_head_to_any_algorithm(name: str, batch: TrainingBatch) -> None:
    algorithm, student = remedied(name, "abc"), LinearStudent()
    views = {"weak": batch.unlabelled[0], "strong": batch.unlabelled[1]}
    asked = tuple(views[view] for view in algorithm.unlabelled_views)
    shown = TrainingBatch(target=batch.target, labelled_weak=batch.labelled_weak, labelled_strong=batch.labelled_strong)
    shown = TrainingBatch(**{**vars(shown), "unlabelled": asked})
    terms = algorithm.loss(student, None, shown, progress=1.0, generator=torch.Generator().manual_seed(5))

    generator = torch.Generator().manual_seed(5)
    inner_batch = TrainingBatch(**{**vars(shown), "unlabelled": asked[: len(make(name).unlabelled_views)]})
    inner = make(name).loss(student, None, inner_batch, progress=1.0, generator=generator)
    draws = torch.rand(len(views["weak"]), generator=generator).double().numpy()
    z = {view: (x.flatten(1) @ student.other).detach().numpy() for view, x in views.items()}
    x = batch.labelled("weak")
    known = oracles.cross_entropy(
        (x.flatten(1) @ student.other).detach().numpy(), oracles.one_hot(batch.target.numpy(), CLASSES)
    )
    unlabelled = oracles_aligned.abc_consistency(z["strong"], z["weak"], KEEP.numpy(), draws, 0.7)
    assert unlabelled.value > 0
    assert terms.loss.item() == pytest.approx(inner.loss.item() + known.value + unlabelled.value, abs=1e-6)
    (gradient,) = torch.autograd.grad(terms.loss, [student.other])
    expected = weight_gradient(x, known.gradient) + weight_gradient(views["strong"], unlabelled.gradient)
    np.testing.assert_allclose(gradient.numpy(), expected, atol=1e-6)
    assert algorithm.name == name and algorithm.heads(4) == {"abc": 4}  # type: ignore[attr-defined]


def test_the_balanced_head_starts_as_the_main_one_and_predicts_at_the_end() -> None:
    network = small_network()
    algorithm: Any = remedied("fixmatch", "abc")
    network.add_head("abc", 4, torch.Generator().manual_seed(1))
    algorithm.begin(network)
    assert torch.equal(network.auxiliary["abc"].weight, network.head.weight)  # type: ignore[arg-type]
    with torch.no_grad():
        network.auxiliary["abc"].weight.mul_(2)  # type: ignore[operator]
    x = torch.rand(3, 7, 32, 32)
    expected = network.classify(network.features(x), "abc")
    algorithm.finish(network)
    assert torch.equal(network(x), expected)


def small_network() -> PairNetwork:
    spec = NetworkSpec(network="small-cnn", fusion="change", channels=7, input_px=32, classes=4)
    return build_network(spec, torch.Generator().manual_seed(0))


# --- CDMAD ---------------------------------------------------------------------------------------------------------


def test_a_blank_pair_is_white_without_a_footprint() -> None:
    pair = cdmad.blank_pair(14, 4, torch.device("cpu"))
    assert pair.shape == (1, 14, 4, 4)
    assert pair[0, :, 0, 0].tolist() == ([1.0] * 6 + [0.0]) * 2


def cdmad_fixmatch(student: LinearStudent, batch: TrainingBatch, *, subtract: bool) -> tuple[float, np.ndarray]:
    weak, strong = batch.unlabelled
    blank = cdmad.blank_pair(CHANNELS, SIZE, torch.device("cpu")).double()
    weak_z = student.logits(weak) - (student.logits(blank) if subtract else 0.0)
    x = batch.labelled("weak")
    known = oracles.cross_entropy(student.logits(x), oracles.one_hot(batch.target.numpy(), CLASSES))
    unlabelled = oracles.fixmatch_unlabelled(weak_z, student.logits(strong), 0.7)
    gradient = weight_gradient(x, known.gradient) + weight_gradient(strong, unlabelled.gradient)
    return known.value + unlabelled.value, gradient


@pytest.mark.parametrize(("progress", "subtract"), [(0.0, False), (0.19, False), (0.2, True), (1.0, True)])
def test_pseudo_labels_are_unbiased_from_the_start_share_on(
    progress: float, subtract: bool, batch: TrainingBatch
) -> None:
    student = DoubleStudent()
    terms, gradient = step(remedied("fixmatch", "cdmad", threshold=0.7), student, batch, progress=progress)
    value, expected = cdmad_fixmatch(student, batch, subtract=subtract)
    other_value, _ = cdmad_fixmatch(student, batch, subtract=not subtract)
    assert abs(value - other_value) > 1e-3, "the case must tell the two apart"
    assert terms.loss.item() == pytest.approx(value, abs=1e-6)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


class DoubleStudent(LinearStudent):
    """Takes float32 views too, as the blank pair is."""

    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(x.double())


def test_nothing_flows_through_the_blank_pair() -> None:
    z, blank = logits(5, 4, seed=1), logits(1, 4, seed=2)
    z_gradient, blank_gradient = gradient_of(cdmad.unbiased(z, blank).sum(), z, blank)
    assert torch.equal(z_gradient, torch.ones_like(z))
    assert torch.equal(blank_gradient, torch.zeros_like(blank))
    assert_same(cdmad.unbiased(z, blank), z.detach().numpy() - blank.detach().numpy())


def test_an_algorithm_without_a_pass_for_pseudo_labels_is_refused(batch: TrainingBatch) -> None:
    with pytest.raises(SettingsError, match="needs pseudo-labels from a pass of their own, and fixmatch"):
        step(remedied("fixmatch", "cdmad", weak_pass="fused"), DoubleStudent(), batch)


def test_the_finished_network_subtracts_what_it_says_of_the_blank_pair() -> None:
    network = small_network()
    x, blank = torch.rand(3, 7, 32, 32), cdmad.blank_pair(7, 32, torch.device("cpu"))
    with torch.no_grad():
        expected = network(x) - network(blank)
    algorithm: Any = with_remedy(
        make("fixmatch"), ImbalanceOptions(imbalance="cdmad"), class_counts=COUNTS, channels=7, size_px=32
    )
    algorithm.finish(network)
    torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(network(blank), torch.zeros(1, 4), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"abc_threshold": 1.5}, "abc_threshold is 1.5; it must be 0 to 1"),
        ({"abc_weight": -1.0}, "abc_weight is -1"),
        ({"cdmad_start": 2.0}, "cdmad_start is 2"),
    ],
)
def test_impossible_option_says_what_is_allowed(options: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ImbalanceOptions(**options)  # type: ignore[arg-type]
