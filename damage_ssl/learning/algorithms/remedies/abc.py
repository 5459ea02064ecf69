"""ABC: an auxiliary head that learns from balanced classes, beside any algorithm; it is the one that predicts.

Lee, Shin & Kim 2021, arXiv:2110.10368, section 3. A pair of a frequent class takes part with the chance
N_rarest / N_class only. Gradients reach the shared features, as in the released code.

Where it differs here: labelled batches are drawn balanced already, so all labelled pairs take part. The paper has two
strong views, here there is one. As in the paper, the unlabelled pairs are taken to have the labelled set's class
shares; where a new event has others, the head does little.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from damage_ssl.learning.algorithms.base import (
    Algorithm,
    LossTerms,
    Network,
    TrainingBatch,
    ViewName,
    with_head,
)
from damage_ssl.learning.algorithms.remedies.wrapper import Wrapped
from damage_ssl.learning.algorithms.supervised import supervised_loss
from damage_ssl.learning.device import to_device
from damage_ssl.learning.networks.pair_network import PairNetwork

HEAD = "abc"


def keep_chance(counts: Tensor, progress: float) -> Tensor:
    """The chance [C] that an unlabelled pair of each class takes part, from labelled counts [C].

    N_rarest / N_class at the end of the training; it falls linearly from 1, as the first pseudo-labels are of the
    frequent classes only. A class without labels is kept.
    """
    present = counts > 0
    rarest = torch.where(present, counts, counts.amax()).amin()
    balanced = torch.where(present, rarest / counts.clamp_min(1), 1.0)  # [C]
    return 1.0 - progress * (1.0 - balanced)


def consistency_loss(
    strong_logits: Tensor, weak_logits: Tensor, keep: Tensor, draws: Tensor, *, threshold: float
) -> Tensor:
    """Cross-entropy of the strong views' balanced head [n, C] with its soft prediction on the weak ones [n, C].

    A pair takes part where that prediction is confident and `draws` [n], uniform, lies below `keep` [C] of its
    likeliest class. The mean is over all n; nothing flows into the weak logits.
    """
    q = weak_logits.detach().softmax(dim=-1)  # [n, C]
    confidence, label = q.max(dim=-1)  # [n], [n]
    mask = (confidence >= threshold) & (draws < keep[label])  # [n]
    per_pair = F.cross_entropy(strong_logits, q, reduction="none")  # [n]
    return (per_pair * mask.to(per_pair.dtype)).mean()  # []


class AuxiliaryBalanced(Wrapped):
    """`inner` with the balanced head: its loss + weight · (cross-entropy of the labelled + `consistency_loss`).

    `threshold` τ is the paper's; `weight` 1 adds the head's losses to the algorithm's as they are.
    """

    def __init__(self, inner: Algorithm, class_counts: Sequence[int], *, threshold: float, weight: float) -> None:
        super().__init__(inner)
        self.threshold, self.weight = threshold, weight
        self._counts = torch.tensor(class_counts, dtype=torch.float32)

    @property
    def labelled_views(self) -> tuple[ViewName, ...]:
        views = self.inner.labelled_views
        return views if "weak" in views else (*views, "weak")

    @property
    def unlabelled_views(self) -> tuple[ViewName, ...]:
        views: tuple[ViewName, ...] = self.inner.unlabelled_views
        needed: tuple[ViewName, ...] = ("weak", "strong")
        return (*views, *[name for name in needed if name not in views])

    def heads(self, classes: int) -> dict[str, int]:
        """The inner algorithm's, and the balanced one."""
        return {**super().heads(classes), HEAD: classes}

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
        x = batch.labelled("weak")
        weak, strong = (batch.unlabelled[self.unlabelled_views.index(name)] for name in ("weak", "strong"))
        with torch.no_grad():
            weak_logits = with_head(student, weak, HEAD)[1]  # [n, C]
        logits = with_head(student, torch.cat([x, strong]), HEAD)[1]  # [B + n, C]
        keep = to_device(keep_chance(self._counts, progress), x.device)
        draws = to_device(torch.rand(len(weak), generator=generator), x.device)
        balanced = supervised_loss(logits[: len(x)], batch.target) + consistency_loss(
            logits[len(x) :], weak_logits, keep, draws, threshold=self.threshold
        )
        return replace(terms, loss=terms.loss + self.weight * balanced)

    def begin(self, network: PairNetwork) -> None:
        """The balanced head starts where the main one does."""
        network.auxiliary[HEAD].load_state_dict(network.head.state_dict())

    def finish(self, network: PairNetwork) -> None:
        """The balanced head predicts."""
        network.head.load_state_dict(network.auxiliary[HEAD].state_dict())
