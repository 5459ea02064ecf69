"""FlexMatch: FixMatch with a lower threshold for classes that the network has learnt less of.

Zhang et al. 2021, arXiv:2110.08263. The paper writes > where its released code has ≥; taken is ≥, as in FixMatch.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from damage_ssl.learning.algorithms.base import AlgorithmEntry, TrainingBatch
from damage_ssl.learning.algorithms.fixmatch import PseudoLabels, WeakStrong, WeakStrongSettings, pseudo_labels


def flexible_thresholds(counts: Tensor, *, threshold: float, warm_up: bool, dtype: torch.dtype) -> Tensor:
    """Thresholds [C] = τ · β_c / (2 − β_c): eq. 12 with its convex mapping M(x) = x / (2 − x).

    `counts` [C + 1]: how many pairs were last confidently of each class, σ(c) of eq. 5, then how many never were of
    any. β_c = σ(c) / max σ (eq. 6), or with `warm_up` σ(c) / max(max σ, never) (eq. 11).
    """
    learnt, never = counts[:-1].to(dtype), counts[-1].to(dtype)  # [C], []
    most = torch.maximum(learnt.max(), never) if warm_up else learnt.max()
    beta = learnt / most.clamp_min(1)  # [C]; all 0 before the first confident pair
    return threshold * beta / (2 - beta)  # [C]


class LastConfident:
    """The class of which each of N pairs was last confidently predicted, and how many pairs there are of each.

    Costs one step's pairs a step, however many N: the counts are kept up, never taken anew.
    """

    def __init__(self, pairs: int, classes: int, device: torch.device) -> None:
        self._classes = classes
        # Class `classes` means never. The slot after the last pair takes what is not to be remembered.
        self.remembered = torch.full((pairs + 1,), classes, dtype=torch.int16, device=device)
        self.counts = torch.zeros(classes + 1, dtype=torch.int64, device=device)
        self.counts[-1:].fill_(pairs)

    def update(self, index: Tensor, target: Tensor, confident: Tensor) -> None:
        """Remember the classes `target` [n] of the pairs `index` [n] where `confident` (bool [n]).

        Of a pair that occurs more than once, the last confident occurrence counts.
        """
        same = (index[:, None] == index) & confident  # [n, n]
        last = confident & ~same.triu(diagonal=1).any(dim=1)  # [n]
        slot = torch.where(last, index, len(self.remembered) - 1)  # [n]
        now = torch.where(last, target, self._classes)  # [n]
        before = self.remembered[slot].to(now.dtype)  # [n]
        self.counts += self._count(now) - self._count(before)
        self.remembered[slot] = now.to(self.remembered.dtype)

    def _count(self, classes: Tensor) -> Tensor:
        every = torch.arange(self._classes + 1, device=classes.device)
        return (classes[:, None] == every).sum(dim=0)  # [n, C + 1] → [C + 1]


class FlexMatchSettings(WeakStrongSettings, title="flexmatch"):
    """Defaults are the paper's: `threshold` τ of eq. 12, `threshold_warm_up` eq. 11."""

    threshold: float = Field(0.95, ge=0.0, le=1.0)
    threshold_warm_up: bool = True


class FlexMatch(WeakStrong[FlexMatchSettings]):
    """Algorithm 1: thresholds from what was confident before this step, then this step's confident pairs remembered."""

    name: ClassVar[str] = "flexmatch"

    def __init__(self, settings: FlexMatchSettings) -> None:
        super().__init__(settings)
        self._last: LastConfident | None = None
        self._loaded: Mapping[str, Tensor] = {}

    def guess(self, weak_logits: Tensor, batch: TrainingBatch) -> PseudoLabels:
        if batch.unlabelled_index is None:
            raise ValueError("flexmatch needs to know which pairs the unlabelled views are of")
        last = self._memory(batch.unlabelled_total, weak_logits)
        settings = self.settings
        thresholds = flexible_thresholds(
            last.counts, threshold=settings.threshold, warm_up=settings.threshold_warm_up, dtype=weak_logits.dtype
        )
        sure = pseudo_labels(weak_logits, threshold=settings.threshold)
        last.update(batch.unlabelled_index, sure.target, sure.mask > 0)
        return pseudo_labels(weak_logits, threshold=thresholds)

    def state_dict(self) -> dict[str, Tensor]:
        if self._last is None:
            return dict(self._loaded)
        return {"remembered": self._last.remembered.clone(), "counts": self._last.counts.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._last, self._loaded = None, {name: tensor.clone() for name, tensor in state.items()}

    def _memory(self, pairs: int, weak_logits: Tensor) -> LastConfident:
        if self._last is None:
            self._last = LastConfident(pairs, weak_logits.shape[-1], weak_logits.device)
            if self._loaded:
                self._last.remembered.copy_(self._loaded["remembered"])
                self._last.counts.copy_(self._loaded["counts"])
        return self._last


ALGORITHMS = {FlexMatch.name: AlgorithmEntry(FlexMatchSettings, FlexMatch)}
