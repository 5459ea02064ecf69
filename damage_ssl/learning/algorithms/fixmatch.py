"""FixMatch: a confident prediction on the weak view is the label of the strong view of the same pair.

Sohn et al. 2020, arXiv:2001.07685. Distribution alignment (off by default) is that of Berthelot et al. 2020
(ReMixMatch, arXiv:1911.09785, section 3.1), as in the FixMatch authors' released code.

`WeakStrong` is the step that FlexMatch, FreeMatch and SoftMatch share with it; they differ in who counts as confident.
"""

from collections.abc import Mapping
from typing import ClassVar, Generic, Literal, NamedTuple, TypeVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from damage_ssl.learning.algorithms.base import (
    AlgorithmEntry,
    LossTerms,
    Network,
    RunningMeans,
    TrainingBatch,
    ViewName,
    full_precision,
)
from damage_ssl.learning.algorithms.supervised import supervised_loss
from damage_ssl.settings import Settings


class PseudoLabels(NamedTuple):
    """`target` int64 [n]: the likeliest class of a pair; `mask` [n]: 1 where it is confident, else 0 (or a weight)."""

    target: Tensor
    mask: Tensor


def probabilities(weak_logits: Tensor, ratio: Tensor | None = None) -> Tensor:
    """Class probabilities [n, C] of the weak views, without a gradient.

    `ratio` [C], expected over predicted class share, multiplies them before they are used (distribution alignment).
    """
    p = weak_logits.detach().softmax(dim=-1)  # [n, C]
    if ratio is not None:
        p = p * ratio  # [n, C]
        p = p / p.sum(dim=-1, keepdim=True)  # [n, C]
    return p


def pseudo_labels(weak_logits: Tensor, *, threshold: float | Tensor, ratio: Tensor | None = None) -> PseudoLabels:
    """Labels guessed from the weak views [n, C], without a gradient: section 2.2, q_b and argmax(q_b).

    `threshold` is one for all, or one for each predicted class, [C]. `ratio` [C] as in `probabilities`.
    """
    p = probabilities(weak_logits, ratio)  # [n, C]
    confidence, target = p.max(dim=-1)  # [n], [n]
    least = threshold[target] if isinstance(threshold, Tensor) else threshold
    return PseudoLabels(target, (confidence >= least).to(p.dtype))


def unlabelled_loss(strong_logits: Tensor, labels: PseudoLabels) -> Tensor:
    """Masked cross-entropy of the strong views [n, C]: eq. 4.

    The mean is over all n = μB pairs, not over the confident ones: few confident pairs pull little.
    """
    per_pair = F.cross_entropy(strong_logits, labels.target, reduction="none")  # [n]
    return (per_pair * labels.mask).mean()  # []


class WeakStrongSettings(Settings):
    """Settings of every algorithm with weak and strong views; μ, the ratio of unlabelled pairs, is the trainer's.

    `labelled_view` `strong` or `both` (mean of the two losses) trains the labelled pairs as the strong baseline does.
    `weak_pass` `separate` runs the weak views without a graph: the same result in a network without batch statistics
    and dropout, in 40 % less time (EfficientNet-Lite0 on a CPU, 16 labelled, 64 unlabelled).
    """

    unlabelled_weight: float = Field(1.0, ge=0.0)
    labelled_view: Literal["weak", "strong", "both"] = "weak"
    weak_pass: Literal["fused", "separate"] = "separate"


S = TypeVar("S", bound=WeakStrongSettings)


class WeakStrong(Generic[S]):
    """Cross-entropy of the labelled pairs + λ · `unlabelled_loss` with the labels of `guess` (+ `regulariser`)."""

    unlabelled_views: tuple[ViewName, ...] = ("weak", "strong")

    def __init__(self, settings: S) -> None:
        self.settings = settings

    @property
    def labelled_views(self) -> tuple[ViewName, ...]:
        return ("weak", "strong") if self.settings.labelled_view == "both" else (self.settings.labelled_view,)

    def guess(self, weak_logits: Tensor, batch: TrainingBatch) -> PseudoLabels:
        """Pseudo-labels from the weak views' logits [n, C], without a gradient; called once a step, may learn."""
        raise NotImplementedError

    def regulariser(self, strong_logits: Tensor, labels: PseudoLabels) -> Tensor | None:
        """What an algorithm adds to the loss, weight included."""
        return None

    def loss(
        self,
        student: Network,
        ema: Network | None,
        batch: TrainingBatch,
        *,
        progress: float,
        generator: torch.Generator,
    ) -> LossTerms:
        labelled = [batch.labelled(view) for view in self.labelled_views]
        weak, strong = batch.unlabelled
        logits, weak_logits, strong_logits = self._logits(student, torch.cat(labelled), weak, strong)

        labels = self.guess(weak_logits.detach(), batch)
        supervised = supervised_loss(logits, batch.target.repeat(len(labelled)))
        unlabelled = unlabelled_loss(strong_logits, labels)
        regulariser = self.regulariser(strong_logits, labels)
        loss = supervised + self.settings.unlabelled_weight * unlabelled
        return LossTerms(
            loss=loss if regulariser is None else loss + regulariser,
            supervised=supervised.detach(),
            unlabelled=unlabelled.detach(),
            mask_rate=labels.mask.mean(),
        )

    def _logits(self, student: Network, x: Tensor, weak: Tensor, strong: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.settings.weak_pass == "separate":
            with torch.no_grad():
                weak_logits = full_precision(student(weak))  # [n, C]
            fused = full_precision(student(torch.cat([x, strong])))  # [B + n, C]
            return fused[: len(x)], weak_logits, fused[len(x) :]
        fused = full_precision(student(torch.cat([x, weak, strong])))  # [B + 2n, C]
        return fused[: len(x)], fused[len(x) : len(x) + len(weak)], fused[len(x) + len(weak) :]


class FixMatchSettings(WeakStrongSettings, title="fixmatch"):
    """Defaults are the paper's (section 4).

    `distribution_alignment` pulls the predicted class shares, averaged over steps with `alignment_decay`, towards the
    class shares of the labelled batches. The trainer draws those balanced, so the target is uniform: harmful where few
    buildings are damaged.
    """

    threshold: float = Field(0.95, ge=0.0, le=1.0)
    distribution_alignment: bool = False
    alignment_decay: float = Field(0.99, ge=0.0, le=1.0)


class FixMatch(WeakStrong[FixMatchSettings]):
    """The paper's loss, with one threshold for all pairs and all of the training."""

    name: ClassVar[str] = "fixmatch"

    def __init__(self, settings: FixMatchSettings) -> None:
        super().__init__(settings)
        self._shares = RunningMeans(settings.alignment_decay)

    def guess(self, weak_logits: Tensor, batch: TrainingBatch) -> PseudoLabels:
        ratio = self._alignment_ratio(weak_logits, batch.target) if self.settings.distribution_alignment else None
        return pseudo_labels(weak_logits, threshold=self.settings.threshold, ratio=ratio)

    def state_dict(self) -> dict[str, Tensor]:
        return self._shares.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._shares.load_state_dict(state)

    def _alignment_ratio(self, weak_logits: Tensor, target: Tensor) -> Tensor:
        predicted = weak_logits.softmax(dim=-1).mean(dim=0)  # [C]
        expected = F.one_hot(target, weak_logits.shape[-1]).to(predicted.dtype).mean(dim=0)  # [C]
        shares = self._shares.update({"predicted_share": predicted, "expected_share": expected})
        return shares["expected_share"] / shares["predicted_share"].clamp_min(1e-6)  # [C]


ALGORITHMS = {FixMatch.name: AlgorithmEntry(FixMatchSettings, FixMatch)}
