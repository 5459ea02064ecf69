"""AdaMatch: FixMatch whose threshold and class shares follow the labelled batch, for one domain or two.

Berthelot et al. 2022, arXiv:2106.04732, section 3; each function names its paragraph. The same loss serves all three
tasks, which differ in where the pairs come from: semi-supervised learning (both kinds from one event), unsupervised
domain adaptation (labelled pairs of other events, unlabelled ones of this), semi-supervised domain adaptation (this
event's few labels among the labelled pairs as well). For the last two, `damage-ssl train EVENT --source OTHER` joins
the pairs; the training option `unlabelled_rows` set to `unlabelled` keeps labelled ones out of the unlabelled, as here.

Where paper and released code differ: pseudo-labels are the aligned probabilities, in the code their likeliest
class (`labels` `hard`); the alignment takes the means of the batch, in the code running ones.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from damage_ssl.learning.algorithms.base import (
    AlgorithmEntry,
    LossTerms,
    Network,
    Stateless,
    TrainingBatch,
    ViewName,
    full_precision,
)
from damage_ssl.learning.algorithms.fixmatch import PseudoLabels, unlabelled_loss
from damage_ssl.learning.algorithms.supervised import supervised_loss
from damage_ssl.learning.device import to_device
from damage_ssl.settings import Settings


def interpolate(joint_logits: Tensor, alone_logits: Tensor, draws: Tensor) -> Tensor:
    """λ · joint + (1 − λ) · alone, one λ for every element of the labelled logits [2B, C].

    'Random logit interpolation'.

    `joint_logits` come from the pass with the unlabelled pairs, `alone_logits` from that of the labelled ones only;
    `draws` λ [2B, C] are uniform on [0, 1).
    """
    return torch.lerp(alone_logits, joint_logits, draws)  # [2B, C]


def pseudo_labels(
    labelled_weak_logits: Tensor, weak_logits: Tensor, *, threshold: float, hard: bool = False
) -> PseudoLabels:
    """Labels of the unlabelled weak views [n, C], without a gradient.

    'Distribution alignment': the class shares of the predictions are moved to those on the (interpolated) labelled
    weak views [B, C].
    The targets are probabilities [n, C], or their likeliest classes [n] where `hard`.
    'Relative confidence threshold': c = `threshold` times the mean confidence on the labelled weak views.
    """
    known = labelled_weak_logits.detach().softmax(dim=-1)  # [B, C]
    p = weak_logits.detach().softmax(dim=-1)  # [n, C]
    aligned = p * ((1e-6 + known.mean(dim=0)) / (1e-6 + p.mean(dim=0)))  # [n, C]
    aligned = aligned / aligned.sum(dim=-1, keepdim=True)
    least = threshold * known.amax(dim=-1).mean()  # []
    mask = (aligned.amax(dim=-1) >= least).to(p.dtype)  # [n]
    return PseudoLabels(aligned.argmax(dim=-1) if hard else aligned, mask)


def warm_up(progress: float) -> float:
    """μ(t) = ½ − ½ cos(min(π, 2πt/T)) at t/T = `progress`: 0 at the start, 1 from the middle on: 'Loss function'."""
    return 0.5 - 0.5 * math.cos(min(math.pi, 2 * math.pi * progress))


@contextmanager
def kept_statistics(network: Network) -> Iterator[None]:
    """Leave the running statistics of a module's batch norms as they were; other networks have none."""
    modules = network.modules() if isinstance(network, nn.Module) else ()
    norms = [each for each in modules if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:  # their buffers are in the graph, so must not be written back afterwards
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked


class AdaMatchSettings(Settings, title="adamatch"):
    """`threshold` τ and `unlabelled_weight` are the paper's (μ, the ratio of unlabelled pairs, 3, is the trainer's).

    `weak_pass` `fused` makes the paper's two passes, over all views and over the labelled ones alone. `separate` runs
    the unlabelled weak views without a graph and all else once: the same result in a network without batch statistics,
    where both kinds of labelled logits are equal and interpolating changes nothing. The trainer's networks are such.
    """

    threshold: float = Field(0.9, ge=0.0, le=1.0)
    unlabelled_weight: float = Field(1.0, ge=0.0)
    labels: Literal["soft", "hard"] = "soft"
    weak_pass: Literal["fused", "separate"] = "separate"


@dataclass(frozen=True)
class AdaMatch(Stateless):
    """The paper's loss: ½ CE(weak) + ½ CE(strong) + μ(t) · `unlabelled_loss`."""

    settings: AdaMatchSettings
    name: ClassVar[str] = "adamatch"
    labelled_views: ClassVar[tuple[ViewName, ...]] = ("weak", "strong")
    unlabelled_views: ClassVar[tuple[ViewName, ...]] = ("weak", "strong")

    def loss(
        self,
        student: Network,
        ema: Network | None,
        batch: TrainingBatch,
        *,
        progress: float,
        generator: torch.Generator,
    ) -> LossTerms:
        x = torch.cat([batch.labelled("weak"), batch.labelled("strong")])  # [2B, channels, H, W]
        weak, strong = batch.unlabelled
        if self.settings.weak_pass == "fused":
            logits, weak_logits, strong_logits = _two_passes(student, x, weak, strong, generator)
        else:
            with torch.no_grad():
                weak_logits = full_precision(student(weak))  # [n, C]
            fused = full_precision(student(torch.cat([x, strong])))  # [2B + n, C]
            logits, strong_logits = fused[: len(x)], fused[len(x) :]

        hard = self.settings.labels == "hard"
        known = logits[: len(x) // 2]  # [B, C]
        labels = pseudo_labels(known, weak_logits, threshold=self.settings.threshold, hard=hard)
        supervised = supervised_loss(logits, batch.target.repeat(2))  # the mean over both views is ½ + ½
        unlabelled = unlabelled_loss(strong_logits, labels)
        return LossTerms(
            loss=supervised + self.settings.unlabelled_weight * warm_up(progress) * unlabelled,
            supervised=supervised.detach(),
            unlabelled=unlabelled.detach(),
            mask_rate=labels.mask.mean(),
        )


def _two_passes(
    student: Network, x: Tensor, weak: Tensor, strong: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    with kept_statistics(student):
        alone = full_precision(student(x))  # [2B, C]
    joint = full_precision(student(torch.cat([x, weak, strong])))  # [2B + 2n, C]
    known, weak_logits, strong_logits = torch.split(joint, [len(x), len(weak), len(strong)])
    draws = to_device(torch.rand(known.shape, generator=generator), known.device).to(known.dtype)
    return interpolate(known, alone, draws), weak_logits, strong_logits


ALGORITHMS = {AdaMatch.name: AlgorithmEntry(AdaMatchSettings, AdaMatch)}
