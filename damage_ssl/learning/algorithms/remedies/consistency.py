"""AugMix's consistency as an option of every algorithm: the views of a pair are to be predicted alike.

Hendrycks et al. 2020, arXiv:1912.02781, section 3, eq. 1–2: JS = (KL(p₁‖M) + KL(p₂‖M) + KL(p₃‖M)) / 3, with
M = (p₁ + p₂ + p₃) / 3, of a clean and two mixed views, weighed by λ = 12; a gradient flows through all three.

The loss needs no label, so it is taken over the unlabelled pairs (the labelled ones are among them), of a weak and two
strong views. Those are AugMix's where the views' option `strong_policy` is `augmix`.
"""

import math
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from damage_ssl.learning.algorithms.base import (
    Algorithm,
    LossTerms,
    Network,
    TrainingBatch,
    ViewName,
    full_precision,
)
from damage_ssl.learning.algorithms.remedies.wrapper import Wrapped
from damage_ssl.settings import Settings

NEEDED: tuple[ViewName, ...] = ("weak", "strong", "strong")


def jensen_shannon(logits: Tensor) -> Tensor:
    """Mean Jensen–Shannon divergence of V views of n pairs, logits [V, n, C], in nats: eq. 1–2."""
    log_p = logits.log_softmax(dim=-1)  # [V, n, C]
    log_mixture = torch.logsumexp(log_p, dim=0) - math.log(len(logits))  # [n, C]
    return F.kl_div(log_mixture.expand_as(log_p), log_p, reduction="none", log_target=True).sum(dim=-1).mean()


class ConsistencyOptions(Settings, title="consistency"):
    """`consistency` `jensen-shannon` adds AugMix's loss to the algorithm's, times `consistency_weight` λ (the paper's
    for ImageNet and CIFAR)."""

    consistency: Literal["none", "jensen-shannon"] = "none"
    consistency_weight: float = Field(12.0, ge=0.0)


def with_consistency(algorithm: Algorithm, options: ConsistencyOptions) -> Algorithm:
    """The algorithm with the chosen consistency loss."""
    return algorithm if options.consistency == "none" else Consistent(algorithm, options)


class Consistent(Wrapped):
    """`inner` with its loss + λ · `jensen_shannon` of a weak and two strong views; views that it has are shared."""

    def __init__(self, inner: Algorithm, options: ConsistencyOptions) -> None:
        super().__init__(inner)
        self.options = options

    @property
    def unlabelled_views(self) -> tuple[ViewName, ...]:
        views: tuple[ViewName, ...] = self.inner.unlabelled_views
        names: tuple[ViewName, ...] = ("weak", "strong")
        for name in names:
            views = (*views, *[name] * (NEEDED.count(name) - views.count(name)))
        return views

    def loss(
        self,
        student: Network,
        ema: Network | None,
        batch: TrainingBatch,
        *,
        progress: float,
        generator: torch.Generator,
    ) -> LossTerms:
        terms = super().loss(student, ema, batch, progress=progress, generator=generator)
        named = list(zip(self.unlabelled_views, batch.unlabelled, strict=True))
        weak = [view for name, view in named if name == "weak"][:1]
        strong = [view for name, view in named if name == "strong"][:2]
        logits = full_precision(student(torch.cat([*weak, *strong])))  # [3n, C]
        divergence = jensen_shannon(logits.view(len(NEEDED), -1, logits.shape[-1]))
        return replace(terms, loss=terms.loss + self.options.consistency_weight * divergence)
