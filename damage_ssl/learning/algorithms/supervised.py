"""Labelled pairs only: the baselines that every semi-supervised result is compared with.

The strong one is the honest baseline: it sees the same augmentation as the semi-supervised runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from damage_ssl.learning.algorithms.base import Batch, LossTerms, Network, Stateless, ViewName, full_precision
from damage_ssl.settings import from_mapping


def supervised_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of the labelled pairs: Sohn et al. 2020 (FixMatch, arXiv:2001.07685), eq. 3.

    `logits` [B, C]; `target` int64 [B], or class probabilities [B, C] (MixMatch's mixed labels).
    """
    return F.cross_entropy(logits, target)  # [B, C], [B] or [B, C] → []


@dataclass(frozen=True, kw_only=True)
class SupervisedSettings:
    """Nothing to set: the class exists so that an option meant for another algorithm is an error, not ignored."""


@dataclass(frozen=True)
class Supervised(Stateless):
    """Cross-entropy of one view of the labelled pairs."""

    view: ViewName

    @classmethod
    def weak_from_options(cls, options: Mapping[str, Any], where: str) -> "Supervised":
        """The weak-view baseline."""
        from_mapping(SupervisedSettings, options, where)
        return cls("weak")

    @classmethod
    def strong_from_options(cls, options: Mapping[str, Any], where: str) -> "Supervised":
        """The strong-view baseline."""
        from_mapping(SupervisedSettings, options, where)
        return cls("strong")

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
        self, student: Network, ema: Network | None, batch: Batch, *, progress: float, generator: torch.Generator
    ) -> LossTerms:
        logits = full_precision(student(batch.labelled(self.view)))  # [B, C]
        loss = supervised_loss(logits, batch.target)
        nothing = torch.zeros_like(loss).detach()
        return LossTerms(loss=loss, supervised=loss.detach(), unlabelled=nothing, mask_rate=nothing)
