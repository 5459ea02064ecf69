"""FlexMatch, FreeMatch and SoftMatch: whole trainings of some steps against NumPy; the classic errors caught."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms import fixmatch, flexmatch, freematch, softmatch
from damage_ssl.learning.algorithms.base import Algorithm, RunningMeans, TrainingBatch
from damage_ssl.learning.algorithms.fixmatch import PseudoLabels
from tests.learning.algorithms import oracles
from tests.learning.algorithms import oracles_thresholds as thresholds
from tests.learning.algorithms.linear_student import (
    CLASSES,
    LABELLED,
    UNLABELLED,
    LinearStudent,
    draw_batch,
    make,
    step,
)
from tests.learning.algorithms.linear_student import weight_gradient as by_weight

caught = pytest.raises(AssertionError)
NAMES = ["flexmatch", "freematch", "softmatch"]
STEPS = 12
PAIRS = 20
OPTIONS: dict[str, dict[str, Any]] = {
    "flexmatch": {"threshold": 0.7},
    "freematch": {"average_decay": 0.8, "fairness_weight": 0.3},
    "softmatch": {"average_decay": 0.8, "sigma_range": 2.0},
}
Guess = Callable[[TrainingBatch, np.ndarray], tuple[np.ndarray, np.ndarray]]


def batches() -> Iterator[TrainingBatch]:
    """Other views at each step, of 12 draws from 20 pairs, some drawn twice."""
    rng = np.random.default_rng(0)
    for at in range(STEPS):
        index = torch.from_numpy(rng.integers(0, PAIRS, UNLABELLED))
        yield replace(draw_batch(at), unlabelled_index=index, unlabelled_total=PAIRS)


def oracle_of(name: str, options: Mapping[str, Any]) -> tuple[Guess, Any]:
    if name == "flexmatch":
        flex = thresholds.FlexMatchOracle(
            PAIRS, CLASSES, options["threshold"], warm_up=options.get("threshold_warm_up", True)
        )
        return lambda batch, z: flex.step(batch.unlabelled_index.numpy(), z), flex  # type: ignore[union-attr]
    if name == "freematch":
        free = thresholds.FreeMatchOracle(CLASSES, options["average_decay"])
        return lambda _, z: free.step(z), free
    soft = thresholds.SoftMatchOracle(
        CLASSES, options["average_decay"], options["sigma_range"], options.get("uniform_alignment", True)
    )
    return lambda _, z: soft.step(z), soft


def check_state(algorithm: Algorithm, oracle: Any) -> None:
    state = algorithm.state_dict()
    if isinstance(oracle, thresholds.FlexMatchOracle):
        assert state["counts"].tolist() == oracle.counts()
        assert state["remembered"][:-1].tolist() == [each if each >= 0 else CLASSES for each in oracle.label]
        return
    for name, value in state.items():
        np.testing.assert_allclose(value, getattr(oracle, name), rtol=0, atol=1e-9)


def check(name: str, *, make_algorithm: Callable[[], Algorithm] | None = None, **more: Any) -> None:
    """Value, gradient and state of every step, from the first to the last."""
    options = OPTIONS[name] | more
    algorithm = make_algorithm() if make_algorithm else make(name, **options)
    guess, oracle = oracle_of(name, options)
    rates = []
    for at, batch in enumerate(batches()):
        student = LinearStudent(seed=at, scale=0.25 + 0.03 * at)  # surer from step to step
        terms, gradient = step(algorithm, student, batch)
        rates.append(terms.mask_rate.item())

        x, (weak, strong) = batch.labelled("weak"), batch.unlabelled
        mask, label = guess(batch, student.logits(weak))
        value, slope = oracles.cross_entropy(student.logits(x), oracles.one_hot(batch.target.numpy(), CLASSES))
        unlabelled = thresholds.weighted_cross_entropy(mask, label, student.logits(strong))
        value, expected = value + unlabelled.value, by_weight(x, slope) + by_weight(strong, unlabelled.gradient)
        if name == "freematch":
            fair = thresholds.share_agreement(mask, student.logits(strong), oracle.shares, oracle.histogram)
            value, expected = value + 0.3 * fair.value, expected + 0.3 * by_weight(strong, fair.gradient)
        assert terms.unlabelled.item() == pytest.approx(unlabelled.value, abs=1e-6)
        assert terms.loss.item() == pytest.approx(value, abs=1e-6)
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-6)
        assert rates[-1] == pytest.approx(mask.mean())
        check_state(algorithm, oracle)
    assert min(rates) < 0.99, "the case must have pairs of both kinds"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("flexmatch", {}),
        ("flexmatch", {"threshold_warm_up": False}),
        ("flexmatch", {"weak_pass": "fused"}),
        ("freematch", {}),
        ("softmatch", {}),
        ("softmatch", {"uniform_alignment": False, "sigma_range": 1.0}),
    ],
)
def test_every_step_equals_the_oracle_in_value_gradient_and_state(name: str, options: dict[str, Any]) -> None:
    check(name, **options)


@pytest.mark.parametrize("name", NAMES)
def test_dividing_by_the_mask_sum_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(logits: Tensor, labels: PseudoLabels) -> Tensor:
        return (F.cross_entropy(logits, labels.target, reduction="none") * labels.mask).sum() / labels.mask.sum()

    monkeypatch.setattr(fixmatch, "unlabelled_loss", broken)
    with caught:
        check(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_threshold_is_caught(name: str) -> None:
    with caught:
        check(name, make_algorithm=lambda: make("fixmatch", threshold=0.7))


@pytest.mark.parametrize("name", NAMES)
def test_gradient_to_the_weak_logits_is_exactly_zero(name: str) -> None:
    batch, kept = draw_batch(), list[Tensor]()
    weight = LinearStudent().weight.detach().float()

    def student(x: Tensor) -> Tensor:
        kept.append((x.flatten(1).float() @ weight).requires_grad_())
        return kept[-1]

    terms = make(name, weak_pass="fused").loss(student, None, batch, progress=1.0, generator=torch.Generator())
    (gradient,) = torch.autograd.grad(terms.loss, kept)
    weak, strong = gradient[LABELLED : LABELLED + UNLABELLED], gradient[LABELLED + UNLABELLED :]
    assert torch.equal(weak, torch.zeros_like(weak))
    assert strong.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_state_goes_on_exactly_and_shares_no_memory(name: str) -> None:
    algorithm, drawn = make(name, **OPTIONS[name]), list(batches())
    for batch in drawn[:5]:
        step(algorithm, LinearStudent(scale=0.5), batch)
    saved = {key: tensor.clone() for key, tensor in algorithm.state_dict().items()}
    resumed = make(name, **OPTIONS[name])
    resumed.load_state_dict(algorithm.state_dict())
    assert {key: each.tolist() for key, each in resumed.state_dict().items()} == {
        key: each.tolist() for key, each in saved.items()
    }
    for batch in drawn[5:]:
        (one, slope), (other, slope_again) = (
            step(each, LinearStudent(scale=0.6), batch) for each in (algorithm, resumed)
        )
        assert one.loss.item() == other.loss.item()
        np.testing.assert_array_equal(slope, slope_again)
    final, again = algorithm.state_dict(), resumed.state_dict()
    assert final.keys() == again.keys() and all(torch.equal(final[key], again[key]) for key in final)
    assert any(not torch.equal(final[key], saved[key]) for key in final)


@pytest.mark.parametrize("name", NAMES)
def test_an_untrained_state_is_empty_and_taken_back(name: str) -> None:
    algorithm = make(name)
    assert algorithm.state_dict() == {}
    algorithm.load_state_dict({})
    step(algorithm, LinearStudent(), draw_batch())


# --- FlexMatch -----------------------------------------------------------------------------------------------------


def flexible(counts: list[int], *, warm_up: bool) -> list[float]:
    found = flexmatch.flexible_thresholds(torch.tensor(counts), threshold=0.8, warm_up=warm_up, dtype=torch.float64)
    return found.tolist()


def test_flexible_thresholds_of_hand_worked_counts() -> None:
    # β = (4, 2, 0) / 4 → β / (2 − β) = 1, 1/3, 0; with ten pairs never confident β = (0.4, 0.2, 0) → 1/4, 1/9, 0
    assert flexible([4, 2, 0, 10], warm_up=False) == pytest.approx([0.8, 0.8 / 3, 0])
    assert flexible([4, 2, 0, 10], warm_up=True) == pytest.approx([0.2, 0.8 / 9, 0])


@pytest.mark.parametrize("warm_up", [True, False])
def test_before_any_confident_pair_thresholds_are_zero_and_not_nan(warm_up: bool) -> None:
    assert flexible([0, 0, 9], warm_up=warm_up) == [0, 0]


def test_a_linear_mapping_of_the_learning_status_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(counts: Tensor, *, threshold: float, warm_up: bool, dtype: torch.dtype) -> Tensor:
        return threshold * counts[:-1].to(dtype) / counts.max().clamp_min(1)

    monkeypatch.setattr(flexmatch, "flexible_thresholds", broken)
    with caught:
        check("flexmatch")


def test_counting_a_pair_at_each_of_its_draws_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: flexmatch.LastConfident, index: Tensor, target: Tensor, confident: Tensor) -> None:
        self.counts += torch.bincount(target[confident], minlength=len(self.counts))

    monkeypatch.setattr(flexmatch.LastConfident, "update", broken)
    with caught:
        check("flexmatch")


def test_of_a_pair_drawn_twice_the_last_confident_draw_counts() -> None:
    last = flexmatch.LastConfident(4, 3, torch.device("cpu"))
    sure, unsure = True, False
    last.update(torch.tensor([1, 1, 2, 1]), torch.tensor([0, 2, 1, 0]), torch.tensor([sure, sure, sure, unsure]))
    assert last.remembered.tolist() == [3, 2, 1, 3, 3]
    assert last.counts.tolist() == [0, 1, 1, 2]
    last.update(torch.tensor([1, 2]), torch.tensor([0, 0]), torch.tensor([sure, unsure]))
    assert last.remembered.tolist() == [3, 0, 1, 3, 3]
    assert last.counts.tolist() == [1, 1, 0, 2]


def test_flexmatch_without_indices_is_an_error() -> None:
    with pytest.raises(ValueError, match="which pairs"):
        step(make("flexmatch"), LinearStudent(), replace(draw_batch(), unlabelled_index=None))


# --- FreeMatch -----------------------------------------------------------------------------------------------------


def agreement_case() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(4)
    z = torch.from_numpy(rng.normal(0, 2, (9, CLASSES))).requires_grad_()
    mask = torch.from_numpy((np.arange(9) % 3 != 0).astype(float))
    return z, mask, torch.tensor([0.4, 0.3, 0.2, 0.1]).double(), torch.tensor([0.3, 0.3, 0.3, 0.1]).double()


def test_share_agreement_and_gradient_equal_the_oracle() -> None:
    z, mask, shares, histogram = agreement_case()
    expected = thresholds.share_agreement(mask.numpy(), z.detach().numpy(), shares.numpy(), histogram.numpy())
    loss = freematch.share_agreement(z, mask, shares, histogram)
    assert loss.item() == pytest.approx(expected.value, abs=1e-6)
    np.testing.assert_allclose(torch.autograd.grad(loss, z)[0], expected.gradient, rtol=0, atol=1e-6)


def test_the_oracle_of_share_agreement_agrees_with_finite_differences() -> None:
    z, *rest = (each.detach().numpy() for each in agreement_case())
    gradient = thresholds.share_agreement(rest[0], z, *rest[1:]).gradient
    for at in np.ndindex(z.shape):
        small = np.zeros_like(z)
        small[at] = 1e-6
        ends = [thresholds.share_agreement(rest[0], moved, *rest[1:]).value for moved in (z - small, z + small)]
        assert (ends[1] - ends[0]) / 2e-6 == pytest.approx(gradient[at], abs=1e-7)


def test_share_agreement_of_an_empty_mask_is_zero_without_nan() -> None:
    z, mask, shares, histogram = agreement_case()
    loss = freematch.share_agreement(z, torch.zeros_like(mask), shares, histogram)
    assert loss.item() == 0
    assert torch.equal(torch.autograd.grad(loss, z)[0], torch.zeros_like(z))


def test_the_papers_fairness_moves_shares_away_from_the_running_ones_and_attract_towards() -> None:
    """Two pairs, both classes present: p̄ is (0.7, 0.3)-like, the running shares are equal."""
    z = torch.tensor([[2.0, 0.0], [0.0, 0.1]], dtype=torch.float64).requires_grad_()
    even, mask = torch.full((2,), 0.5, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    (slope,) = torch.autograd.grad(freematch.share_agreement(z, mask, even, even), z)

    def distance(logits: Tensor) -> float:
        return float((logits.softmax(1).mean(0) - 0.5).abs().sum())

    now = distance(z.detach())
    assert distance(z.detach() - 0.1 * slope) > now  # downhill on the paper's L_f
    assert distance(z.detach() + 0.1 * slope) < now  # downhill on its negative, `attract`


def test_attract_only_turns_the_sign_of_the_fairness_term() -> None:
    losses = [
        step(make("freematch", fairness_weight=weight, fairness=fairness), LinearStudent(), draw_batch())[0].loss.item()
        for weight, fairness in ((0.3, "paper"), (0.3, "attract"), (0.0, "paper"))
    ]
    assert losses[0] != losses[2]
    assert losses[0] + losses[1] == pytest.approx(2 * losses[2])


def test_averages_that_begin_at_one_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = RunningMeans.update

    def broken(self: RunningMeans, now: Mapping[str, Tensor], start: Mapping[str, Tensor] | None = None) -> Any:
        ones = None if start is None else {name: torch.ones_like(value) for name, value in start.items()}
        return original(self, now, ones)

    monkeypatch.setattr(RunningMeans, "update", broken)
    for name in ("freematch", "softmatch"):
        with caught:
            check(name)


def test_adaptive_thresholds_of_a_hand_worked_case() -> None:
    found = freematch.adaptive_thresholds(torch.tensor(0.9), torch.tensor([0.5, 0.25, 0.1]))
    assert found.tolist() == pytest.approx([0.9, 0.45, 0.18])


# --- SoftMatch -----------------------------------------------------------------------------------------------------


def test_gaussian_weight_of_a_hand_worked_case() -> None:
    # below the mean by one σ and by two: exp(−1/2), exp(−2); above: 1. With range 2 as if by two and four.
    confidence, mean, variance = torch.tensor([0.7, 0.6, 0.5, 0.9]), torch.tensor(0.7), torch.tensor(0.01)
    plain = softmatch.gaussian_weight(confidence, mean, variance)
    assert plain.tolist() == pytest.approx([1, np.exp(-0.5), np.exp(-2), 1], abs=1e-5)
    narrow = softmatch.gaussian_weight(confidence, mean, variance, sigma_range=2)
    assert narrow.tolist() == pytest.approx([1, np.exp(-2), np.exp(-8), 1], abs=1e-5)


def test_no_spread_of_confidence_gives_weights_and_not_nan() -> None:
    weight = softmatch.gaussian_weight(torch.tensor([0.5, 0.4]), torch.tensor(0.5), torch.tensor(0.0))
    assert weight.tolist() == [1, 0]


def test_a_weight_without_the_cut_above_the_mean_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(confidence: Tensor, mean: Tensor, variance: Tensor, *, sigma_range: float) -> Tensor:
        return torch.exp(-0.5 * sigma_range**2 * (confidence - mean).square() / variance)

    monkeypatch.setattr(softmatch, "gaussian_weight", broken)
    with caught:
        check("softmatch")


def test_pseudo_labels_from_aligned_predictions_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = softmatch.SoftMatch.guess

    def broken(self: softmatch.SoftMatch, weak_logits: Tensor, batch: TrainingBatch) -> PseudoLabels:
        weight = original(self, weak_logits, batch).mask
        return PseudoLabels((weak_logits.softmax(1) / self.state_dict()["shares"]).argmax(1), weight)

    monkeypatch.setattr(softmatch.SoftMatch, "guess", broken)
    with caught:
        check("softmatch")


@pytest.mark.parametrize(
    ("name", "option", "text"),
    [
        ("flexmatch", {"threshold": 1.1}, "flexmatch: threshold is 1.1"),
        ("flexmatch", {"warm_up": True}, "setting 'warm_up' is unknown"),
        ("flexmatch", {"unlabelled_weight": -1.0}, "flexmatch: unlabelled_weight is -1"),
        ("freematch", {"threshold": 0.9}, "setting 'threshold' is unknown"),
        ("freematch", {"average_decay": 1.5}, "freematch: average_decay is 1.5"),
        ("freematch", {"fairness": "papers"}, "allowed: paper, attract"),
        ("softmatch", {"sigma_range": 0.0}, "softmatch: sigma_range is 0; it must be above 0"),
        ("softmatch", {"uniform_aligment": False}, "did you mean 'uniform_alignment'"),
    ],
)
def test_an_impossible_option_is_an_error_that_helps(name: str, option: dict[str, Any], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        make(name, **option)
