"""Pseudo-Label: what the network is sure of becomes the label of the very same view.

Lee 2013, "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks" (ICML
workshop). The paper labels every pair by its likeliest class (eqs. 14 and 15); keeping only confident ones is common
practice since Oliver et al. 2018 (arXiv:1804.09170), and `threshold` 0 is the paper's.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from damage_ssl.learning.algorithms.base import (
    AlgorithmEntry,
    LossTerms,
    Network,
    Stateless,
    TrainingBatch,
    ViewName,
    full_precision,
    linear_ramp,
)
from damage_ssl.learning.algorithms.fixmatch import pseudo_labels, unlabelled_loss
from damage_ssl.learning.algorithms.supervised import supervised_loss
from damage_ssl.settings import Settings


def self_labelled_loss(logits: Tensor, *, threshold: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy of logits [n, C] with their own confident classes, and the share of confident pairs: [], [].

    Second term of eq. 15 over confident pairs, as the mean over ALL n = μB pairs. Labels carry no gradient.
    """
    labels = pseudo_labels(logits, threshold=threshold)
    return unlabelled_loss(logits, labels), labels.mask.mean()


class PseudoLabelSettings(Settings, title="pseudo-label"):
    """`unlabelled_weight` is what the weight α(t) of eq. 16 rises to, linearly over `ramp_share` of the training.

    The paper keeps α at 0 for the first 100 of 600 epochs; a run here starts from a fitted head instead.
    """

    threshold: float = Field(0.95, ge=0.0, le=1.0)
    unlabelled_weight: float = Field(1.0, ge=0.0)
    ramp_share: float = Field(0.4, ge=0.0, le=1.0)


@dataclass(frozen=True)
class PseudoLabel(Stateless):
    """Cross-entropy of the labelled pairs + λ · ramp · `self_labelled_loss`: eq. 15, in one pass."""

    settings: PseudoLabelSettings
    name: ClassVar[str] = "pseudo-label"
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
        logits = full_precision(student(torch.cat([x, u])))  # [B + n, C]
        supervised = supervised_loss(logits[: len(x)], batch.target)
        unlabelled, mask_rate = self_labelled_loss(logits[len(x) :], threshold=self.settings.threshold)
        ramp = linear_ramp(progress, self.settings.ramp_share)
        return LossTerms(
            loss=supervised + self.settings.unlabelled_weight * ramp * unlabelled,
            supervised=supervised.detach(),
            unlabelled=unlabelled.detach(),
            mask_rate=mask_rate,
        )


ALGORITHMS = {PseudoLabel.name: AlgorithmEntry(PseudoLabelSettings, PseudoLabel)}
