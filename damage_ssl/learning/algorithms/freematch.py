"""FreeMatch: FixMatch with thresholds that follow the network's confidence, and a term about class shares.

Wang et al. 2023, arXiv:2205.07246. Where released code (github.com/microsoft/Semi-supervised-learning) begins its
averages at 1, the paper begins them at 1/C; taken is the paper. It writes > where the code has ≥; taken is ≥.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from damage_ssl.learning.algorithms.base import AlgorithmEntry, RunningMeans, TrainingBatch
from damage_ssl.learning.algorithms.fixmatch import (
    PseudoLabels,
    WeakStrong,
    WeakStrongSettings,
    probabilities,
    pseudo_labels,
)


def adaptive_thresholds(threshold: Tensor, shares: Tensor) -> Tensor:
    """Thresholds [C] from the global one [] and the mean prediction [C]: eq. 7, MaxNorm(p̃) · τ."""
    return shares / shares.max() * threshold  # [C]


def share_agreement(strong_logits: Tensor, mask: Tensor, shares: Tensor, histogram: Tensor) -> Tensor:
    """−H(SumNorm(p̃ / h̃), SumNorm(p̄ / h̄)) = Σ a log b: eqs. 9 to 11, the paper's L_f.

    `strong_logits` [n, C] give p̄, the mean prediction of the pairs with mask [n] 1, and h̄, the histogram of their
    likeliest classes; `shares` p̃ and `histogram` h̃ [C] are the running ones of the weak views. Only p̄ has a gradient.
    Classes that no confident strong view has (h̄ = 0) are left out; without a confident pair the term is 0.
    """
    q = strong_logits.softmax(dim=-1)  # [n, C]
    likeliest = F.one_hot(q.argmax(dim=-1), q.shape[-1]).to(q.dtype)  # [n, C]
    mean, count = mask @ q, mask @ likeliest  # [C], [C]; 1/n cancels below
    present = count > 0
    tilted = (mean / count.where(present, 1)).where(present, 0)  # [C]
    b = tilted / tilted.sum().where(present.any(), 1)  # [C]
    a = shares / histogram.clamp_min(1e-6)  # [C]
    return (a / a.sum() * b.where(present, 1).log()).sum()  # []


class FreeMatchSettings(WeakStrongSettings, title="freematch"):
    """`average_decay` λ of eqs. 5, 6 and 10: the paper's 0.999 is for a million steps, a run here has some hundred.

    `fairness_weight` is w_f of eq. 12. `fairness` `paper` minimises L_f = −H(a, b) as the paper and its released code
    do; a step down that slope moves the batch's class shares b AWAY from the running ones a. `attract` minimises
    H(a, b), which moves b towards a.
    """

    average_decay: float = Field(0.99, ge=0.0, le=1.0)
    fairness_weight: float = Field(0.01, ge=0.0)
    fairness: Literal["paper", "attract"] = "paper"


class FreeMatch(WeakStrong[FreeMatchSettings]):
    """Eq. 12: FixMatch's loss with the thresholds of eq. 7, plus w_f · `share_agreement`."""

    name: ClassVar[str] = "freematch"

    def __init__(self, settings: FreeMatchSettings) -> None:
        super().__init__(settings)
        self._means = RunningMeans(settings.average_decay)

    def guess(self, weak_logits: Tensor, batch: TrainingBatch) -> PseudoLabels:
        q = probabilities(weak_logits)  # [n, C]
        confidence, target = q.max(dim=-1)  # [n], [n]
        now = {
            "threshold": confidence.mean(),  # []: eq. 5
            "shares": q.mean(dim=0),  # [C]: eq. 6
            "histogram": F.one_hot(target, q.shape[-1]).to(q.dtype).mean(dim=0),  # [C]: h̃ of eq. 10
        }
        start = {name: value.new_full(value.shape, 1 / q.shape[-1]) for name, value in now.items()}
        means = self._means.update(now, start)
        return pseudo_labels(weak_logits, threshold=adaptive_thresholds(means["threshold"], means["shares"]))

    def regulariser(self, strong_logits: Tensor, labels: PseudoLabels) -> Tensor | None:
        means = self._means.state_dict()
        agreement = share_agreement(strong_logits, labels.mask, means["shares"], means["histogram"])
        sign = 1.0 if self.settings.fairness == "paper" else -1.0
        return sign * self.settings.fairness_weight * agreement

    def state_dict(self) -> dict[str, Tensor]:
        return self._means.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._means.load_state_dict(state)


ALGORITHMS = {FreeMatch.name: AlgorithmEntry(FreeMatchSettings, FreeMatch)}
