"""ReMixMatch: MixMatch with aligned label guesses, strong views anchored to the weak one, and rotations to recognise.

Berthelot et al. 2020, arXiv:1911.09785, algorithm 1. Where paper and released code differ:

* The mean prediction of the last 128 batches: the code begins with 128 uniform entries and leaves out the current
  batch; here, as in the paper, it is the mean over the batches there were, the current one among them. A run of some
  hundred steps would otherwise hardly be aligned. The code's 1e-6 in the ratio is kept.
* p(y) of the labelled data is the mean over the labelled batches of the same queue. The trainer draws those balanced.
* Rotation: the paper turns the whole image. A view from above has no upright, and all views are turned at random, so
  nothing could be learned from that. Turning only the later date asks for its angle to the earlier one instead.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from damage_ssl.learning.algorithms.base import (
    AlgorithmEntry,
    LossTerms,
    Network,
    TrainingBatch,
    ViewName,
    full_precision,
    linear_ramp,
    with_head,
)
from damage_ssl.learning.algorithms.mixmatch import draw_beta, mix, mixup_weight
from damage_ssl.learning.algorithms.supervised import supervised_loss
from damage_ssl.learning.augmentation.geometry import WeakDraws, move_pixels
from damage_ssl.learning.device import to_device
from damage_ssl.learning.pair_tensor import POST, VIEW_CHANNELS
from damage_ssl.settings import Settings

QUEUE = 128
"""Batches whose predictions are averaged: section 3.1."""

ROTATION_HEAD = "rotation"
TURNS = 4


def alignment_ratio(label_share: Tensor, predicted_share: Tensor) -> Tensor:
    """p(y) / p̃(y) [C]: the labelled classes' shares over the mean prediction, both [C]: section 3.1."""
    return (1e-6 + label_share) / (1e-6 + predicted_share)


def guess_labels(weak_logits: Tensor, ratio: Tensor, *, temperature: float) -> Tensor:
    """Label guesses [n, C] from the weak views' logits [n, C], without a gradient: section 3.1 and algorithm 1.

    Alignment first, q = norm(p · ratio), then sharpening, norm(q^(1/T)): the other order would align what the
    temperature has made nearly one-hot.
    """
    p = weak_logits.detach().softmax(dim=-1)  # [n, C]
    aligned = p * ratio  # [n, C]
    aligned = aligned / aligned.sum(dim=-1, keepdim=True)
    powered = aligned ** (1.0 / temperature)  # [n, C]
    return powered / powered.sum(dim=-1, keepdim=True)


def turn_views(x: Tensor, turns: Tensor, subject: Literal["post", "pair"]) -> Tensor:
    """Views [n, 7 or 14, S, S] with the later date (`post`) or all channels (`pair`) turned by quarters `turns` [n]."""
    n, channels = x.shape[:2]
    still = torch.zeros(n, 2, dtype=torch.int64)
    turned = move_pixels(x, WeakDraws(turns=turns, mirror=still[:, 0].bool(), shift_px=still))  # [n, channels, S, S]
    if subject == "pair":
        return turned
    channel = torch.arange(channels, device=x.device) % VIEW_CHANNELS
    later = (channel >= POST.start) & (channel < POST.stop)  # [channels]
    return torch.where(later[:, None, None], turned, x)


class ShareQueue:
    """Class shares of the last `QUEUE` batches; their mean is over as many as there were."""

    def __init__(self) -> None:
        self._entries: Tensor | None = None

    def push(self, share: Tensor) -> Tensor:
        """Take in the shares [C] of one batch; returns the mean [C] over the last `QUEUE`, this one among them."""
        if self._entries is None:
            self._entries = share.detach()[None]
        else:
            self._entries = torch.cat([self._entries.to(share), share.detach()[None]])[-QUEUE:]
        return self._entries.mean(dim=0)

    @property
    def entries(self) -> Tensor | None:
        """The shares [up to `QUEUE`, C], oldest first; None before the first batch."""
        return self._entries

    def restore(self, entries: Tensor) -> None:
        """Take up the entries of another queue."""
        self._entries = entries


class ReMixMatchSettings(Settings, title="remixmatch"):
    """Weights, α and T are the paper's (section 4). `strong_views` K is 8 there; 1 takes a quarter of the time, which
    matters more where labels are very few. `rotated` says what is turned for the rotation task, see the module.

    The paper ramps its weights linearly over 2²⁰ images; a run here is shorter, so the ramp is a share of it.
    """

    unlabelled_weight: float = Field(1.5, ge=0.0)
    anchor_weight: float = Field(0.5, ge=0.0)
    rotation_weight: float = Field(0.5, ge=0.0)
    strong_views: int = Field(1, ge=1)
    beta_alpha: float = Field(0.75, gt=0.0)
    temperature: float = Field(0.5, gt=0.0)
    ramp_share: float = Field(0.4, ge=0.0, le=1.0)
    rotated: Literal["post", "pair"] = "post"


class ReMixMatch:
    """The paper's loss, section 3.3: CE(x′) + λᵤ·r·CE(u′) + λ₁·r·CE(q; û₁) + λᵣ·CE(rotation of û₁)."""

    name = "remixmatch"
    strong_policy = "ctaugment"
    labelled_views: tuple[ViewName, ...] = ("strong",)

    def __init__(self, settings: ReMixMatchSettings) -> None:
        self.settings = settings
        self._queues = {"predicted_share": ShareQueue(), "label_share": ShareQueue()}

    @property
    def unlabelled_views(self) -> tuple[ViewName, ...]:
        strong: ViewName = "strong"
        return ("weak", *[strong] * self.settings.strong_views)

    def heads(self, classes: int) -> dict[str, int]:
        """The rotation head, where its loss has a weight."""
        return {ROTATION_HEAD: TURNS} if self.settings.rotation_weight > 0 else {}

    def loss(
        self,
        student: Network,
        ema: Network | None,
        batch: TrainingBatch,
        *,
        progress: float,
        generator: torch.Generator,
    ) -> LossTerms:
        settings = self.settings
        x, (weak, *strong) = batch.labelled("strong"), batch.unlabelled
        with torch.no_grad():
            weak_logits = full_precision(student(weak))  # [n, C]
        label = F.one_hot(batch.target, weak_logits.shape[-1]).to(weak_logits.dtype)  # [B, C]
        guess = guess_labels(weak_logits, self._ratio(weak_logits, label), temperature=settings.temperature)  # [n, C]

        views = [*strong, weak]  # Û with the weak views added
        inputs = torch.cat([x, *views])  # [B + (K + 1)n, channels, H, W]
        targets = torch.cat([label, *[guess] * len(views)])  # [B + (K + 1)n, C]
        drawn = draw_beta(settings.beta_alpha, len(inputs), generator)
        weight = to_device(mixup_weight(drawn), inputs.device).to(inputs.dtype)
        permutation = to_device(torch.randperm(len(inputs), generator=generator), inputs.device)
        mixed = mix(targets, weight.to(targets.dtype), permutation)
        shown = torch.cat([mix(inputs, weight, permutation), strong[0]])  # [B + (K + 2)n, channels, H, W]
        logits, rotation = self._pass(student, shown, strong[0], generator)
        logits, anchor_logits = logits[: len(inputs)], logits[len(inputs) :]

        supervised = supervised_loss(logits[: len(x)], mixed[: len(x)])
        unlabelled = supervised_loss(logits[len(x) :], mixed[len(x) :])
        anchor = supervised_loss(anchor_logits, guess)
        ramp = linear_ramp(progress, settings.ramp_share)
        semi = settings.unlabelled_weight * unlabelled + settings.anchor_weight * anchor
        return LossTerms(
            loss=supervised + ramp * semi + settings.rotation_weight * rotation,
            supervised=supervised.detach(),
            unlabelled=unlabelled.detach(),
            mask_rate=torch.ones_like(unlabelled).detach(),
        )

    def state_dict(self) -> dict[str, Tensor]:
        return {name: queue.entries for name, queue in self._queues.items() if queue.entries is not None}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        for name, entries in state.items():
            self._queues[name].restore(entries)

    def _ratio(self, weak_logits: Tensor, label: Tensor) -> Tensor:
        predicted = self._queues["predicted_share"].push(weak_logits.softmax(dim=-1).mean(dim=0))  # [C]
        return alignment_ratio(self._queues["label_share"].push(label.mean(dim=0)), predicted)  # [C]

    def _pass(
        self, student: Network, shown: Tensor, views: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Logits of `shown` and the rotation loss of `views`, from one pass."""
        if self.settings.rotation_weight == 0:
            logits = full_precision(student(shown))
            return logits, logits.new_zeros(())
        turns = torch.randint(TURNS, (len(views),), generator=generator)  # [n]
        turned = turn_views(views, turns, self.settings.rotated)
        logits, rotations = with_head(student, torch.cat([shown, turned]), ROTATION_HEAD)
        target = to_device(turns, views.device)
        return logits[: len(shown)], supervised_loss(rotations[len(shown) :], target)


ALGORITHMS = {ReMixMatch.name: AlgorithmEntry(ReMixMatchSettings, ReMixMatch)}
