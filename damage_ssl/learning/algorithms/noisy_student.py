"""Noisy Student: a student learns, from strong views, what a finished teacher was sure of on unchanged pairs.

Xie et al. 2020, arXiv:1911.04252, algorithm 1, with soft pseudo-labels. The rounds are in `self_training.py`. The paper
balances the classes and grows the network; neither is done here. Its loss is the mean over labelled and pseudo-labelled
pairs together; here both means are added, as in the other algorithms, and the second is over all pairs of the batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from damage_ssl.learning.algorithms.base import (
    LossTerms,
    Network,
    Stateless,
    TrainingBatch,
    ViewName,
    check_range,
    full_precision,
)
from damage_ssl.learning.algorithms.fixmatch import PseudoLabels, unlabelled_loss
from damage_ssl.learning.algorithms.supervised import supervised_loss
from damage_ssl.settings import from_mapping


def confident(probabilities: Tensor, threshold: float) -> Tensor:
    """True for pairs [N] whose largest probability, of [N, C], is above `threshold`."""
    return probabilities.amax(dim=-1) > threshold


@dataclass(frozen=True, kw_only=True)
class NoisyStudentSettings:
    """`rounds` students after the first teacher; pairs of max p above `threshold` keep their soft labels."""

    rounds: int = 3
    threshold: float = 0.9
    unlabelled_weight: float = 1.0

    def __post_init__(self) -> None:
        check_range("noisy-student: rounds", self.rounds, 1)
        check_range("noisy-student: threshold", self.threshold, 0.0, 1.0)
        check_range("noisy-student: unlabelled_weight", self.unlabelled_weight, 0.0)

    @classmethod
    def from_options(cls, options: Mapping[str, Any], where: str) -> "NoisyStudentSettings":
        """Build from the options of a run; `where` opens an error message."""
        return from_mapping(cls, options, where)


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
