"""MixMatch: guess labels by averaging and sharpening, then train on convex mixtures of all pairs.

Berthelot et al. 2019, arXiv:1905.02249. Equation numbers are the paper's.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from damage_ssl.learning.algorithms.base import (
    AlgorithmEntry,
    DriftingShares,
    LossTerms,
    Network,
    Stateless,
    TrainingBatch,
    ViewName,
    full_precision,
    linear_ramp,
)
from damage_ssl.learning.algorithms.supervised import supervised_loss
from damage_ssl.learning.device import to_device
from damage_ssl.settings import Settings


def guess_labels(view_logits: Tensor, *, temperature: float) -> Tensor:
    """Label guesses [n, C] from the logits of K weak views [K, n, C], without a gradient: eq. 6, then eq. 7.

    First the mean of the K predictions, then the sharpening: the other order would sharpen away their disagreement.
    """
    p = view_logits.detach().softmax(dim=-1)  # [K, n, C]
    mean = p.mean(dim=0)  # [n, C]
    powered = mean ** (1.0 / temperature)  # [n, C]
    return powered / powered.sum(dim=-1, keepdim=True)  # [n, C]


def mixup_weight(beta_draws: Tensor) -> Tensor:
    """λ′ = max(λ, 1 − λ) [N] of draws λ [N] from Beta(α, α): eq. 9. A mixture stays nearest to its first part."""
    return torch.maximum(beta_draws, 1.0 - beta_draws)  # [N]


def mix(values: Tensor, weight: Tensor, permutation: Tensor) -> Tensor:
    """λ′ · values + (1 − λ′) · values[permutation], one λ′ a sample: eqs. 10 and 11, for views and for labels alike.

    `values` [N, …], `weight` [N], `permutation` int64 [N] over the concatenation of labelled and unlabelled.
    """
    weight = weight.reshape(-1, *[1] * (values.ndim - 1))  # [N, 1, …]
    return torch.lerp(values[permutation], values, weight)  # [N, …]


def unlabelled_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Squared error of probabilities [n, C], mean over pairs and classes: eq. 4 (Brier score / C)."""
    return (logits.softmax(dim=-1) - target).square().mean()  # [n, C] → []


def draw_beta(alpha: float, count: int, generator: torch.Generator) -> Tensor:
    """λ [count] from Beta(alpha, alpha): eq. 8. Torch's sampler takes no generator, so NumPy's is seeded from it."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, count).astype(np.float32))


class MixMatchSettings(Settings, title="mixmatch"):
    """`unlabelled_weight` λᵤ, `beta_alpha` α, `temperature` T and `views` K are the paper's CIFAR-10 values.

    The paper ramps λᵤ linearly over 16,384 of 1,048,576 steps. A run here has hundreds of steps, in which the first
    guesses are as bad as theirs, so the ramp is a longer share of it: `ramp_share`.
    """

    unlabelled_weight: float = Field(75.0, ge=0.0)
    beta_alpha: float = Field(0.75, gt=0.0)
    temperature: float = Field(0.5, gt=0.0)
    views: int = Field(2, ge=1)
    ramp_share: float = Field(0.4, ge=0.0, le=1.0)


@dataclass(frozen=True)
class MixMatch(Stateless, DriftingShares):
    """The paper's loss, eq. 5, with λᵤ ramped up.

    Where the paper's network takes batch statistics, they come from the first group only; networks here take none, so
    all mixed views go through in one pass.
    """

    settings: MixMatchSettings
    name: ClassVar[str] = "mixmatch"
    labelled_views: ClassVar[tuple[ViewName, ...]] = ("weak",)

    @property
    def unlabelled_views(self) -> tuple[ViewName, ...]:
        weak: ViewName = "weak"
        return (weak,) * self.settings.views

    def loss(
        self,
        student: Network,
        ema: Network | None,
        batch: TrainingBatch,
        *,
        progress: float,
        generator: torch.Generator,
    ) -> LossTerms:
        x, views = batch.labelled("weak"), batch.unlabelled
        with torch.no_grad():
            view_logits = torch.stack(full_precision(student(torch.cat(views))).chunk(len(views)))  # [K, n, C]
        guess = guess_labels(view_logits, temperature=self.settings.temperature)  # [n, C]
        label = F.one_hot(batch.target, guess.shape[-1]).to(guess.dtype)  # [B, C]

        inputs = torch.cat([x, *views])  # [B + Kn, channels, H, W], footprint channels too
        targets = torch.cat([label, *[guess] * len(views)])  # [B + Kn, C]
        drawn = draw_beta(self.settings.beta_alpha, len(inputs), generator)  # [B + Kn]
        weight = to_device(mixup_weight(drawn), inputs.device).to(inputs.dtype)
        permutation = to_device(torch.randperm(len(inputs), generator=generator), inputs.device)
        logits = full_precision(student(mix(inputs, weight, permutation)))  # [B + Kn, C]
        mixed = mix(targets, weight.to(targets.dtype), permutation)  # [B + Kn, C]

        supervised = supervised_loss(logits[: len(x)], mixed[: len(x)])
        unlabelled = unlabelled_loss(logits[len(x) :], mixed[len(x) :])
        ramp = linear_ramp(progress, self.settings.ramp_share)
        return LossTerms(
            loss=supervised + self.settings.unlabelled_weight * ramp * unlabelled,
            supervised=supervised.detach(),
            unlabelled=unlabelled.detach(),
            mask_rate=torch.ones_like(unlabelled).detach(),
        )


ALGORITHMS = {MixMatch.name: AlgorithmEntry(MixMatchSettings, MixMatch)}
