"""VAT: the prediction must not change in the direction in which it changes most easily.

Miyato et al. 2018, "Virtual Adversarial Training", arXiv:1704.03976, with the conditional entropy of Grandvalet &
Bengio 2005 that the paper adds as VAT+EntMin, at the weight of Oliver et al. 2018 (arXiv:1804.09170).
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from damage_ssl.learning.algorithms.base import (
    AlgorithmEntry,
    InFloat32,
    LossTerms,
    Network,
    Stateless,
    TrainingBatch,
    ViewName,
    full_precision,
    linear_ramp,
)
from damage_ssl.learning.algorithms.supervised import supervised_loss
from damage_ssl.learning.device import without_tf32
from damage_ssl.learning.pair_tensor import FOOTPRINT, VIEW_CHANNELS
from damage_ssl.settings import Settings


def divergence(target_logits: Tensor, logits: Tensor) -> Tensor:
    """Mean over pairs of KL(sg p ‖ q), logits [n, C] each: eq. 5 with D the KL divergence."""
    log_p, log_q = target_logits.detach().log_softmax(dim=-1), logits.log_softmax(dim=-1)  # [n, C]
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1).mean()  # [n] → []


def entropy(logits: Tensor) -> Tensor:
    """Mean entropy of the predictions, logits [n, C]."""
    log_p = logits.log_softmax(dim=-1)  # [n, C]
    return -(log_p.exp() * log_p).sum(dim=-1).mean()  # [n] → []


def unit(d: Tensor) -> Tensor:
    """Each sample of d [n, …] at length 1, one of zeros at 0; divided by its largest value first, against underflow."""
    smallest = torch.finfo(d.dtype).tiny
    flat = d.flatten(1)  # [n, D]
    flat = flat / flat.abs().amax(dim=1, keepdim=True).clamp_min(smallest)
    length = torch.linalg.vector_norm(flat, dim=1, keepdim=True)  # [n, 1]
    scaled: Tensor = flat / length.clamp_min(smallest)
    return scaled.reshape(d.shape)


def adversarial_direction(
    network: Network, x: Tensor, target_logits: Tensor, draw: Tensor, *, trial_length: Tensor, iterations: int
) -> Tensor:
    """Unit directions [n, …] in which the predictions of x [n, …] change most: section 3.3 and algorithm 1.

    Power iteration on the Hessian of the divergence, whose product with d is the gradient at x + `trial_length` · d.
    Begins at `draw` [n, …] and keeps its zeros. Leaves no gradient on the network.
    """
    free = draw != 0
    d = unit(draw)
    for _ in range(iterations):
        trial = d.detach().requires_grad_()
        logits = full_precision(network(x + trial_length * trial))  # [n, C]
        (slope,) = torch.autograd.grad(divergence(target_logits, logits) * len(x), trial)  # [n, …]
        d = unit(slope * free)
    return d.detach()


def drawn_direction(x: Tensor, generator: torch.Generator) -> Tensor:
    """Normal noise like x, from a generator on x's device seeded by `generator`; zero where x must not be changed."""
    seed = int(torch.randint(2**62, (), generator=generator))
    there = torch.Generator(x.device).manual_seed(seed)
    draw = torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=there)
    return draw * _changeable(x)


class InputScale(NamedTuple):
    """`deviation` []: standard deviation of the values that may be changed; `length` []: of a change of all by it."""

    deviation: Tensor
    length: Tensor


def input_scale(x: Tensor) -> InputScale:
    """The scale of views [n, …] over all of them."""
    free = _changeable(x)
    count = free.expand(x.shape[1:]).sum()  # []: values of one sample that may be changed
    mean = (x * free).sum() / (count * len(x))
    variance = ((x - mean).square() * free).sum() / (count * len(x))
    return InputScale(variance.sqrt().detach(), (variance * count).sqrt().detach())


def _changeable(x: Tensor) -> Tensor:
    """True for channels that are observed, [channels, 1, …]; a footprint is given, so it is left as it is."""
    channel = torch.arange(x.shape[1], device=x.device).reshape(-1, *[1] * (x.ndim - 2))
    if x.ndim != 4 or x.shape[1] % VIEW_CHANNELS:
        return torch.ones_like(channel, dtype=torch.bool)
    return channel % VIEW_CHANNELS != FOOTPRINT.start


class VatSettings(Settings, title="vat"):
    """`epsilon` and `xi` are in standard deviations σ of the input's values.

    `epsilon` is the root mean square change of a value by the adversarial perturbation of D values, which so has length
    ε · σ · √D: the common ε = 6 on normalised CIFAR-10 is 0.11 here. `xi` is the length of the whole trial perturbation
    in σ. Rounding spoils a smaller one, the curvature a larger: mean cosine to the exact direction with an untrained
    EfficientNet-Lite0 at ξ = 1e-6, 0.1, 1 and 7: 0.05, 0.98, 0.77, 0.20; with bf16 at 0.1: −0.39.
    `iterations` are those of the power method. The unlabelled loss is ramped up over `ramp_share` of the training.
    """

    unlabelled_weight: float = Field(0.3, ge=0.0)
    epsilon: float = Field(0.1, gt=0.0)
    xi: float = Field(0.1, ge=0.1)
    iterations: int = Field(1, ge=1)
    entropy_weight: float = Field(0.06, ge=0.0)
    ramp_share: float = Field(0.0, ge=0.0, le=1.0)


@dataclass(frozen=True)
class Vat(Stateless, InFloat32):
    """Cross-entropy of the labelled pairs + λ · ramp · divergence (eqs. 5 and 8) + weight · entropy.

    `LossTerms.unlabelled` is the divergence. Needs a network without batch statistics: a pair's direction is its own.
    """

    settings: VatSettings
    name: ClassVar[str] = "vat"
    labelled_views: ClassVar[tuple[ViewName, ...]] = ("weak",)
    unlabelled_views: ClassVar[tuple[ViewName, ...]] = ("weak",)

    def loss(
        self,
        student: Network,
        ema: Network | None,
        batch: TrainingBatch,
        *,
        progress: float,
        generator: torch.Generator,
    ) -> LossTerms:
        x, (u,) = batch.labelled("weak"), batch.unlabelled
        with without_tf32():
            return self._loss(student, x, u, batch.target, progress, generator)

    def _loss(
        self, student: Network, x: Tensor, u: Tensor, target: Tensor, progress: float, generator: torch.Generator
    ) -> LossTerms:
        logits = full_precision(student(torch.cat([x, u])))  # [B + n, C]
        clean = logits[len(x) :]  # [n, C]
        scale = input_scale(u)
        direction = adversarial_direction(
            student,
            u,
            clean,
            drawn_direction(u, generator),
            trial_length=self.settings.xi * scale.deviation,
            iterations=self.settings.iterations,
        )
        moved = full_precision(student(u + self.settings.epsilon * scale.length * direction))  # [n, C]

        supervised = supervised_loss(logits[: len(x)], target)
        unlabelled = divergence(clean, moved)
        ramp = linear_ramp(progress, self.settings.ramp_share)
        return LossTerms(
            loss=supervised
            + self.settings.unlabelled_weight * ramp * unlabelled
            + self.settings.entropy_weight * entropy(clean),
            supervised=supervised.detach(),
            unlabelled=unlabelled.detach(),
            mask_rate=torch.ones_like(unlabelled).detach(),
        )


ALGORITHMS = {Vat.name: AlgorithmEntry(VatSettings, Vat)}
