"""SoftMatch: FixMatch with a weight that falls off smoothly below the mean confidence, in place of a threshold.

Chen et al. 2023, arXiv:2301.10921, section 3. Released code (github.com/microsoft/Semi-supervised-learning) narrows
the Gaussian by a `n_sigma` of 2 that the paper's formula does not have: here `sigma_range`, 1 as in the formula.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from damage_ssl.learning.algorithms.base import AlgorithmEntry, RunningMeans, TrainingBatch
from damage_ssl.learning.algorithms.fixmatch import PseudoLabels, WeakStrong, WeakStrongSettings, probabilities


def gaussian_weight(confidence: Tensor, mean: Tensor, variance: Tensor, *, sigma_range: float = 1.0) -> Tensor:
    """Weights [n] of pairs by their confidence [n]: exp(−(confidence − μ)² / 2σ²) below the mean, 1 above it.

    `mean` μ and `variance` σ² [] are running ones; `sigma_range` divides σ.
    """
    below = (confidence - mean).clamp_max(0)  # [n]
    return torch.exp(-0.5 * sigma_range**2 * below.square() / variance.clamp_min(torch.finfo(variance.dtype).tiny))


class SoftMatchSettings(WeakStrongSettings, title="softmatch"):
    """`average_decay` m: the paper's 0.999 is for a million steps, a run here has some hundred.

    `uniform_alignment` weighs pairs by their confidence after the predicted class shares are made equal, so that
    rarely predicted classes weigh more; the pseudo-labels themselves stay as predicted.
    """

    average_decay: float = Field(0.99, ge=0.0, le=1.0)
    sigma_range: float = Field(1.0, gt=0.0)
    uniform_alignment: bool = True


class SoftMatch(WeakStrong[SoftMatchSettings]):
    """FixMatch's loss with `gaussian_weight` as the mask; its mean is still over all n = μB pairs."""

    name: ClassVar[str] = "softmatch"

    def __init__(self, settings: SoftMatchSettings) -> None:
        super().__init__(settings)
        self._means = RunningMeans(settings.average_decay)

    def guess(self, weak_logits: Tensor, batch: TrainingBatch) -> PseudoLabels:
        p = probabilities(weak_logits)  # [n, C]
        pairs, classes = p.shape
        aligned = p
        if self.settings.uniform_alignment:
            shares = self._means.update({"shares": p.mean(dim=0)})["shares"]  # [C]
            aligned = probabilities(weak_logits, 1 / (classes * shares.clamp_min(1e-6)))  # [n, C]
        confidence = aligned.amax(dim=-1)  # [n]
        unbiased = pairs / max(pairs - 1, 1)
        now = {"mean": confidence.mean(), "variance": confidence.var(correction=0) * unbiased}  # [], []
        start = {"mean": p.new_full((), 1 / classes), "variance": p.new_ones(())}
        means = self._means.update(now, start)
        weight = gaussian_weight(
            confidence, means["mean"], means["variance"], sigma_range=self.settings.sigma_range
        )  # [n]
        return PseudoLabels(p.argmax(dim=-1), weight)

    def state_dict(self) -> dict[str, Tensor]:
        return self._means.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._means.load_state_dict(state)


ALGORITHMS = {SoftMatch.name: AlgorithmEntry(SoftMatchSettings, SoftMatch)}
