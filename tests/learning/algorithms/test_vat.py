"""VAT: value, gradient and direction; rounding that spoils the direction is seen by these tests."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms import vat
from damage_ssl.learning.algorithms.base import TrainingBatch
from damage_ssl.learning.pair_tensor import FOOTPRINT, VIEW_CHANNELS
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.training import train
from damage_ssl.runs.run import Run
from tests.learning.algorithms import oracles
from tests.learning.algorithms import oracles_consistency as exact
from tests.learning.algorithms.linear_student import (
    CLASSES,
    LABELLED,
    LinearStudent,
    draw_batch,
    make,
    step,
    weight_gradient,
)
from tests.learning.trainer.drawn_pairs import draw_pairs, targets_of

caught = pytest.raises(AssertionError)


@pytest.fixture
def batch() -> TrainingBatch:
    return draw_batch()


def check_vat(batch: TrainingBatch, progress: float = 1.0, ramp: float = 1.0, iterations: int = 1) -> None:
    options = {"epsilon": 0.4, "xi": 0.3, "unlabelled_weight": 1.5, "ramp_share": 0.4, "iterations": iterations}
    student, u = LinearStudent(scale=0.3), batch.unlabelled[0]
    terms, gradient = step(make("vat", **options), student, batch, progress=progress, seed=5)

    draw = vat.drawn_direction(u, torch.Generator().manual_seed(5)).flatten(1).numpy()
    rows = u.flatten(1).numpy()
    sigma, free = exact.deviation(rows[:, draw[0] != 0]), (draw[0] != 0).sum()
    radius = 0.4 * sigma * np.sqrt(free)
    weight = student.weight.detach().numpy()
    at_moved = exact.linear_vat(rows, weight, draw, trial=0.3 * sigma, radius=radius, iterations=iterations)
    chaos = exact.entropy(student.logits(u))
    x = batch.labelled("weak")
    value, slope = oracles.cross_entropy(student.logits(x), oracles.one_hot(batch.target.numpy(), CLASSES))

    assert at_moved.value > 0.01, "the case must have something to smooth"
    assert terms.unlabelled.item() == pytest.approx(at_moved.value, abs=1e-6)
    assert terms.loss.item() == pytest.approx(value + 1.5 * ramp * at_moved.value + 0.06 * chaos.value, abs=1e-6)
    expected = weight_gradient(x, slope) + 1.5 * ramp * at_moved.gradient + 0.06 * weight_gradient(u, chaos.gradient)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("progress", "ramp"), [(0.0, 0.0), (0.01, 0.025), (0.2, 0.5), (0.4, 1.0), (1.0, 1.0)])
def test_vat_step_equals_the_oracle(progress: float, ramp: float, batch: TrainingBatch) -> None:
    check_vat(batch, progress, ramp)


def test_two_power_iterations_equal_the_oracle(batch: TrainingBatch) -> None:
    check_vat(batch, iterations=2)


@pytest.mark.parametrize("name", ["divergence", "entropy"])
def test_oracle_gradients_agree_with_finite_differences(name: str) -> None:
    z, target = (np.random.default_rng(seed).normal(size=(3, 4)) for seed in (1, 2))

    def oracle(at: np.ndarray) -> oracles.ValueAndGradient:
        return exact.divergence(target, at) if name == "divergence" else exact.entropy(at)

    for at in np.ndindex(z.shape):
        small = np.zeros_like(z)
        small[at] = 1e-5
        assert (oracle(z + small).value - oracle(z - small).value) / 2e-5 == pytest.approx(
            oracle(z).gradient[at], abs=1e-8
        )


def reversed_divergence(target_logits: Tensor, logits: Tensor) -> Tensor:
    log_p, log_q = target_logits.detach().log_softmax(-1), logits.log_softmax(-1)
    return (log_q.exp() * (log_q - log_p)).sum(-1).mean()


def summed_divergence(target_logits: Tensor, logits: Tensor) -> Tensor:
    log_p, log_q = target_logits.detach().log_softmax(-1), logits.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum()


def leaking_divergence(target_logits: Tensor, logits: Tensor) -> Tensor:
    log_p, log_q = target_logits.log_softmax(-1), logits.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean()


@pytest.mark.parametrize("broken", [reversed_divergence, summed_divergence, leaking_divergence])
def test_a_wrong_divergence_is_caught(
    broken: Callable[[Tensor, Tensor], Tensor], batch: TrainingBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vat, "divergence", broken)
    with pytest.raises((AssertionError, RuntimeError)):  # a leak also meets a graph that is already freed
        check_vat(batch)


def test_a_random_direction_is_caught(batch: TrainingBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vat, "adversarial_direction", lambda network, x, z, draw, **_: vat.unit(draw))
    with caught:
        check_vat(batch)


def test_the_divergence_gives_its_target_no_gradient() -> None:
    target, z = (torch.randn(5, 3, generator=torch.Generator().manual_seed(i)).requires_grad_() for i in range(2))
    slopes = torch.autograd.grad(vat.divergence(target, z), [target, z], allow_unused=True)
    assert slopes[0] is None
    assert slopes[1] is not None and slopes[1].abs().sum() > 0


def test_footprints_are_never_perturbed(batch: TrainingBatch) -> None:
    student, u = LinearStudent(), batch.unlabelled[0]
    step(make("vat"), student, batch)
    clean, trial, moved = student.shown
    assert torch.equal(clean[LABELLED:], u)
    footprint = torch.arange(u.shape[1]) % VIEW_CHANNELS == FOOTPRINT.start
    for shown in (trial, moved):
        changed = (shown != u).flatten(2).any(2)  # [n, channels]
        assert not changed[:, footprint].any()
        assert changed[:, ~footprint].all()


def test_features_and_plain_images_are_perturbed_everywhere() -> None:
    for shape in [(4, 14), (4, 3, 5, 5)]:
        assert (vat.drawn_direction(torch.zeros(shape), torch.Generator().manual_seed(0)) != 0).all()


def test_lengths_of_trial_and_perturbation_follow_the_scale_of_the_input(batch: TrainingBatch) -> None:
    student, u = LinearStudent(), batch.unlabelled[0]
    step(make("vat", epsilon=0.2, xi=0.5), student, batch)
    image = u[:, torch.arange(u.shape[1]) % VIEW_CHANNELS != FOOTPRINT.start]
    trial, moved = ((shown - u).detach().flatten(1) for shown in student.shown[1:])
    sigma = image.std(correction=0).item()
    assert torch.linalg.vector_norm(trial, dim=1).tolist() == pytest.approx([0.5 * sigma] * len(u))
    per_value = moved.square().sum(1).div(image[0].numel()).sqrt()
    assert per_value.tolist() == pytest.approx([0.2 * sigma] * len(u))


def test_certain_predictions_give_a_finite_loss() -> None:
    terms, gradient = step(make("vat"), LinearStudent(scale=1e4), draw_batch())
    assert torch.isfinite(terms.loss) and np.isfinite(gradient).all()


def test_a_direction_of_zero_stays_zero_and_a_tiny_one_gets_length_one() -> None:
    found = vat.unit(torch.tensor([[0.0, 0.0], [3e-30, 4e-30]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0], [0.6, 0.8]]))


# --- Precision -----------------------------------------------------------------------------------------------------


def cosines(xi: float, *, bf16: bool = False) -> Tensor:
    """Cosine [16] of VAT's float32 (or bf16) direction to one power iteration on the exact Hessian in float64."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(16, 3, 16, 16, generator=generator)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.SiLU(), nn.Conv2d(8, 8, 3), nn.SiLU(), nn.Flatten(), nn.LazyLinear(4)
    )
    network(x)
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0, 0.6 / parameter[0].numel() ** 0.5, generator=generator)
    draw, scale = vat.drawn_direction(x, generator), vat.input_scale(x)

    double = copy.deepcopy(network).double()
    nothing = torch.zeros_like(x, dtype=torch.float64).requires_grad_()
    kl = vat.divergence(double(x.double()), double(x.double() + nothing)) * len(x)
    (slope,) = torch.autograd.grad(kl, nothing, create_graph=True)
    (product,) = torch.autograd.grad((slope * vat.unit(draw.double())).sum(), nothing)  # H · d

    with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
        logits = network(x).float()
        found = vat.adversarial_direction(network, x, logits, draw, trial_length=xi * scale.deviation, iterations=1)
    return (found.double() * vat.unit(product)).flatten(1).sum(1)


def check_direction(xi: float, *, bf16: bool = False) -> None:
    assert cosines(xi, bf16=bf16).min() > 0.95


def test_the_direction_is_the_exact_one_with_the_default_trial_length() -> None:
    check_direction(vat.VatSettings().xi)


def test_a_trial_length_of_a_millionth_is_caught() -> None:
    with caught:
        check_direction(1e-6)
    assert cosines(1e-6).mean() < 0.7


def test_a_direction_in_bfloat16_is_caught() -> None:
    with caught:
        check_direction(vat.VatSettings().xi, bf16=True)
    assert cosines(vat.VatSettings().xi, bf16=True).mean() < 0.7


def test_the_trial_length_cannot_be_set_too_small() -> None:
    with pytest.raises(SettingsError, match=r"vat: xi is 1e-06; it must be at least 0\.1"):
        make("vat", xi=1e-6)


def test_vat_runs_without_tf32_and_leaves_the_switch_as_it_was(batch: TrainingBatch) -> None:
    student, seen = LinearStudent(), list[bool]()

    def watched(x: Tensor) -> Tensor:
        seen.append(torch.backends.cudnn.allow_tf32)
        return student(x)

    before = torch.backends.cudnn.allow_tf32
    one_view = TrainingBatch(target=batch.target, labelled_weak=batch.labelled_weak, unlabelled=batch.unlabelled[:1])
    make("vat").loss(watched, None, one_view, progress=1.0, generator=torch.Generator())
    assert seen == [False, False, False]
    assert torch.backends.cudnn.allow_tf32 == before


def test_mixed_precision_of_a_run_does_not_reach_vat(tmp_path: Path) -> None:
    pairs, classes = draw_pairs(20)
    written = []
    for precision in ("float32", "bfloat16"):
        (tmp_path / precision).mkdir()
        run = Run(tmp_path / precision)
        settings = TrainSettings(
            algorithm="vat",
            network="small-cnn",
            input_px=32,
            steps=2,
            batch_labelled=4,
            unlabelled_ratio=1,
            device="cpu",
            options={"precision": precision},
        )
        train(pairs, targets_of(pairs, classes, train=8), settings, run)
        written.append([line["loss"] for line in run.metrics() if "loss" in line])
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"epsilon": 0.0}, "vat: epsilon is 0; it must be above 0"),
        ({"iterations": 0}, "vat: iterations is 0; it must be at least 1"),
        ({"epsilom": 0.1}, "did you mean 'epsilon'"),
    ],
)
def test_an_impossible_option_is_an_error_that_helps(option: dict[str, float], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        make("vat", **option)
