"""Π-model: two views of a pair must get the same prediction.

Laine & Aila 2017, "Temporal Ensembling for Semi-Supervised Learning", arXiv:1610.02242, algorithm 1; the target of the
second view is the first one's prediction, without a gradient. `Consistency` is the step it shares with Mean Teacher.
"""

from typing import ClassVar, Generic, TypeVar

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
from damage_ssl.learning.algorithms.mixmatch import unlabelled_loss
from damage_ssl.learning.algorithms.supervised import supervised_loss
from damage_ssl.settings import Settings


def consistency_loss(logits: Tensor, target_logits: Tensor) -> Tensor:
    """Squared difference of the probabilities of two views, logits [n, C] each, mean over pairs AND classes.

    Laine & Aila, algorithm 1: 1/C · 1/n · Σ‖p − p′‖². No gradient flows into `target_logits`; the paper's Π-model lets
    one through.
    """
    return unlabelled_loss(logits, target_logits.detach().softmax(dim=-1))  # [n, C] → []


class ConsistencySettings(Settings):
    """`unlabelled_weight` is reached linearly over `ramp_share` of the training (the papers: exp(−5(1 − x)²))."""

    unlabelled_weight: float = Field(0.0, ge=0.0)
    ramp_share: float = Field(0.4, ge=0.0, le=1.0)
    student_view: ViewName = "weak"


S = TypeVar("S", bound=ConsistencySettings)


class Consistency(Stateless, Generic[S]):
    """Cross-entropy of the labelled pairs + λ · ramp · `consistency_loss` towards the predictions of `teacher`."""

    labelled_views: ClassVar[tuple[ViewName, ...]] = ("weak",)

    def __init__(self, settings: S) -> None:
        self.settings = settings

    @property
    def unlabelled_views(self) -> tuple[ViewName, ...]:
        return ("weak", self.settings.student_view)

    def teacher(self, student: Network, ema: Network | None) -> Network:
        """The network whose predictions on the first view are the targets."""
        raise NotImplementedError

    def loss(
        self,
        student: Network,
        ema: Network | None,
        batch: TrainingBatch,
        *,
        progress: float,
        generator: torch.Generator,
    ) -> LossTerms:
        x, (first, second) = batch.labelled("weak"), batch.unlabelled
        with torch.no_grad():
            target_logits = full_precision(self.teacher(student, ema)(first))  # [n, C]
        logits = full_precision(student(torch.cat([x, second])))  # [B + n, C]
        supervised = supervised_loss(logits[: len(x)], batch.target)
        unlabelled = consistency_loss(logits[len(x) :], target_logits)
        ramp = linear_ramp(progress, self.settings.ramp_share)
        return LossTerms(
            loss=supervised + self.settings.unlabelled_weight * ramp * unlabelled,
            supervised=supervised.detach(),
            unlabelled=unlabelled.detach(),
            mask_rate=torch.ones_like(unlabelled).detach(),
        )


class PiModelSettings(ConsistencySettings, title="pi-model"):
    """`student_view` is the second view of an unlabelled pair; the first is weak."""

    unlabelled_weight: float = Field(10.0, ge=0.0)


class PiModel(Consistency[PiModelSettings]):
    """The targets are the student's own predictions.

    The paper perturbs by dropout too; networks here have none, the views differ by their augmentation alone.
    """

    name: ClassVar[str] = "pi-model"

    def teacher(self, student: Network, ema: Network | None) -> Network:
        return student


ALGORITHMS = {PiModel.name: AlgorithmEntry(PiModelSettings, PiModel)}
