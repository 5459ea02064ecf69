"""CDMAD: what a network says of a picture without content is its bias to classes, and is subtracted.

Lee & Kim 2024, arXiv:2403.10391, section 3: g*(x) = g(x) − g(I) with logits g and a blank image I, for pseudo-labels
while training and for predictions afterwards. Nothing is assumed about the unlabelled pairs' class shares.

As in the released code pseudo-labels are changed after the first fifth of the training. The code takes soft labels of
all pairs, without a threshold; here the algorithm that it is an option of keeps its own rule. I is a white pair without
a footprint. At the end g(I) goes into the head's bias: the same logits, in one pass.
"""

from typing import cast

import torch
from torch import Tensor, nn

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms.base import (
    Algorithm,
    LossTerms,
    Network,
    TrainingBatch,
    full_precision,
    with_head,
)
from damage_ssl.learning.algorithms.remedies.wrapper import Wrapped
from damage_ssl.learning.networks.pair_network import PairNetwork
from damage_ssl.learning.pair_tensor import FOOTPRINT, VIEW_CHANNELS


def blank_pair(channels: int, size_px: int, device: torch.device) -> Tensor:
    """White in both dates, no footprint: [1, channels, size, size]."""
    pair = torch.ones(1, channels, size_px, size_px, device=device)
    pair[:, FOOTPRINT.start :: VIEW_CHANNELS] = 0
    return pair


def unbiased(logits: Tensor, blank_logits: Tensor) -> Tensor:
    """g*(x) = g(x) − g(I): logits [n, C] less those of the blank pair [1, C], through which nothing flows."""
    return logits - blank_logits.detach()


class UnbiasedNetwork:
    """A network whose logits are unbiased wherever no gradient is asked for: those become pseudo-labels."""

    def __init__(self, network: Network, blank: Tensor, *, always: bool = False) -> None:
        self._network = network
        self._blank = blank
        self._always = always
        self._blank_logits: Tensor | None = None
        self.corrected = False

    def __call__(self, x: Tensor) -> Tensor:
        return self._without_bias(full_precision(self._network(x)))

    def with_head(self, x: Tensor, head: str) -> tuple[Tensor, Tensor]:
        """As the network's; the auxiliary head's logits stay as they are."""
        logits, other = with_head(self._network, x, head)
        return self._without_bias(logits), other

    def _without_bias(self, logits: Tensor) -> Tensor:
        if torch.is_grad_enabled() and not self._always:
            return logits
        self.corrected = True
        if self._blank_logits is None:
            with torch.no_grad():
                self._blank_logits = full_precision(self._network(self._blank))  # [1, C]
        return unbiased(logits, self._blank_logits.to(logits.dtype))


class Unbiased(Wrapped):
    """`inner`, its predictions unbiased, and its pseudo-labels after the share `start` of the training."""

    def __init__(self, inner: Algorithm, channels: int, size_px: int, *, start: float) -> None:
        super().__init__(inner)
        self.start = start
        self._shape = channels, size_px

    def loss(
        self,
        student: Network,
        ema: Network | None,
        batch: TrainingBatch,
        *,
        progress: float,
        generator: torch.Generator,
    ) -> LossTerms:
        """The inner algorithm's.

        Raises:
            SettingsError: it takes its pseudo-labels from a pass with a gradient, where they cannot be told apart.
        """
        if progress < self.start:
            return super().loss(student, ema, batch, progress=progress, generator=generator)
        blank = blank_pair(*self._shape, batch.target.device)
        network = UnbiasedNetwork(student, blank)
        teacher = None if ema is None else UnbiasedNetwork(ema, blank, always=True)
        terms = super().loss(network, teacher, batch, progress=progress, generator=generator)
        if self.unlabelled_views and not (network.corrected or (teacher is not None and teacher.corrected)):
            raise SettingsError(
                f"training: imbalance 'cdmad' needs pseudo-labels from a pass of their own, and {self.name} as it is "
                "set has none; set weak_pass to 'separate' if it has that option, or imbalance to 'none'"
            )
        return terms

    def finish(self, network: PairNetwork) -> None:
        """Put −g(I) into the head's bias."""
        with torch.no_grad():
            blank = blank_pair(*self._shape, network.feature_mean.device)
            cast(nn.Linear, network.head).bias.sub_(network(blank)[0])
