"""Noisy Student: a student learns, from strong views, what a finished teacher was sure of on unchanged pairs.

Xie et al. 2020, arXiv:1911.04252, algorithm 1, with soft pseudo-labels. The rounds are in `self_training.py`. The paper
balances the classes and grows the network; neither is done here. Its loss is the mean over labelled and pseudo-labelled
pairs together; here both means are added, as in the other algorithms, and the second is over all pairs of the batch.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from damage_ssl.learning.algorithms.base import (
    LossTerms,
    Network,
    Stateless,
    TrainingBatch,
    ViewName,
    full_precision,
)
from damage_ssl.learning.algorithms.fixmatch import PseudoLabels, unlabelled_loss
from damage_ssl.learning.algorithms.supervised import supervised_loss
from damage_ssl.settings import Settings


def confident(probabilities: Tensor, threshold: float) -> Tensor:
    """True for pairs [N] whose largest probability, of [N, C], is above `threshold`."""
    return probabilities.amax(dim=-1) > threshold


class NoisyStudentSettings(Settings, title="noisy-student"):
    """`rounds` students after the first teacher; pairs of max p above `threshold` keep their soft labels."""

    rounds: int = Field(3, ge=1)
    threshold: float = Field(0.9, ge=0.0, le=1.0)
    unlabelled_weight: float = Field(1.0, ge=0.0)


@dataclass(frozen=True, kw_only=True)
class NoisyStudent(Stateless):
    """CE(labelled) + λ · mean over all n of mask · CE(soft label), all on strong views.

    `soft_labels` [N, C] are the teacher's for all pairs by row, `mask` [N] 1 where they are kept, else 0.
    """

    soft_labels: Tensor
    mask: Tensor
    unlabelled_weight: float = 1.0
    name: ClassVar[str] = "noisy-student"
    labelled_views: ClassVar[tuple[ViewName, ...]] = ("strong",)
    unlabelled_views: ClassVar[tuple[ViewName, ...]] = ("strong",)

    def loss(
        self,
        student: Network,
        ema: Network | None,
        batch: TrainingBatch,
        *,
        progress: float,
        generator: torch.Generator,
    ) -> LossTerms:
        if batch.unlabelled_index is None:
            raise ValueError("noisy-student needs to know which pairs the unlabelled views are of")
        x, (strong,) = batch.labelled("strong"), batch.unlabelled
        logits = full_precision(student(torch.cat([x, strong])))  # [B + n, C]
        rows = batch.unlabelled_index
        labels = PseudoLabels(self.soft_labels[rows].to(logits.dtype), self.mask[rows].to(logits.dtype))
        supervised = supervised_loss(logits[: len(x)], batch.target)
        unlabelled = unlabelled_loss(logits[len(x) :], labels)
        return LossTerms(
            loss=supervised + self.unlabelled_weight * unlabelled,
            supervised=supervised.detach(),
            unlabelled=unlabelled.detach(),
            mask_rate=labels.mask.mean(),
        )


ROUNDS = {NoisyStudent.name: NoisyStudentSettings}
