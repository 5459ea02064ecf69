"""Labelled pairs only: the baselines that every semi-supervised result is compared with.

The strong one is the honest baseline: it sees the same augmentation as the semi-supervised runs.
"""

from dataclasses import dataclass
from functools import partial

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms.base import (
    AlgorithmEntry,
    LossTerms,
    Network,
    Stateless,
    TrainingBatch,
    ViewName,
    full_precision,
)
from damage_ssl.learning.augmentation.mixing import cutmix, draw_boxes
from damage_ssl.learning.device import to_device
from damage_ssl.settings import Settings


def supervised_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of the labelled pairs: Sohn et al. 2020 (FixMatch, arXiv:2001.07685), eq. 3.

    `logits` [B, C]; `target` int64 [B], or class probabilities [B, C] (MixMatch's mixed labels).
    """
    return F.cross_entropy(logits, target)  # [B, C], [B] or [B, C] → []


class SupervisedSettings(Settings, title="supervised"):
    """CutMix (Yun et al. 2019, arXiv:1905.04899): each labelled pair gets, with `cutmix_probability`, a box of another
    pair of its batch, labels mixed by area; the box's share of a side is √(1 − λ), λ from Beta(α, α), `cutmix_alpha`.
    """

    cutmix_probability: float = Field(0.0, ge=0.0, le=1.0)
    cutmix_alpha: float = Field(1.0, gt=0.0)


NO_MIXING = SupervisedSettings()


@dataclass(frozen=True)
class Supervised(Stateless):
    """Cross-entropy of one view of the labelled pairs, of mixed ones where the settings say so."""

    view: ViewName
    settings: SupervisedSettings = NO_MIXING

    @property
    def name(self) -> str:
        return f"supervised-{self.view}"

    @property
    def labelled_views(self) -> tuple[ViewName, ...]:
        return (self.view,)

    @property
    def unlabelled_views(self) -> tuple[ViewName, ...]:
        return ()

    def loss(
        self,
        student: Network,
        ema: Network | None,
        batch: TrainingBatch,
        *,
        progress: float,
        generator: torch.Generator,
    ) -> LossTerms:
        x, target = batch.labelled(self.view), batch.target
        if self.settings.cutmix_probability > 0:
            loss = self._mixed_loss(student, x, target, generator)
        else:
            loss = supervised_loss(full_precision(student(x)), target)  # [B, C], [B] → []
        nothing = torch.zeros_like(loss).detach()
        return LossTerms(loss=loss, supervised=loss.detach(), unlabelled=nothing, mask_rate=nothing)

    def _mixed_loss(self, student: Network, x: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
        if x.dim() != 4:
            raise SettingsError(
                "supervised: cutmix_probability needs pictures to mix, and cached features are none; train a network "
                "that sees pixels, or set cutmix_probability to 0"
            )
        boxes = draw_boxes(len(x), x.shape[-1], self.settings.cutmix_alpha, generator)  # [B, 4]
        boxes[torch.rand(len(x), generator=generator) >= self.settings.cutmix_probability] = 0  # an empty box
        partner = to_device(torch.randperm(len(x), generator=generator), x.device)
        mixed, share = cutmix(x, boxes, partner)
        logits = full_precision(student(mixed))  # [B, C]
        label = F.one_hot(target, logits.shape[-1]).to(logits.dtype)  # [B, C]
        return supervised_loss(logits, torch.lerp(label, label[partner], share.to(label)[:, None]))


ALGORITHMS = {
    "supervised-weak": AlgorithmEntry(SupervisedSettings, partial(Supervised, "weak")),
    "supervised-strong": AlgorithmEntry(SupervisedSettings, partial(Supervised, "strong")),
}
