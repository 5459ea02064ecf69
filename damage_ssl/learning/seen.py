"""A network as an algorithm sees it: views in, logits out, in the precision of the run."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from damage_ssl.learning.device import autocast
from damage_ssl.learning.networks import PairNetwork


class SeenNetwork:
    """Views [N, channels, H, W] → logits [N, C]; `gradient` False is the averaged network, which learns nothing."""

    def __init__(self, network: PairNetwork, device: torch.device, precision: str, *, gradient: bool) -> None:
        self._network = network
        self._device = device
        self._precision = precision
        self._gradient = gradient

    def __call__(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(self._gradient and torch.is_grad_enabled()), self._autocast():
            logits: Tensor = self._network(x)
        return logits

    def with_head(self, x: Tensor, head: str) -> tuple[Tensor, Tensor]:
        """Logits [N, C], and those of one auxiliary head [N, outputs], from one pass."""
        with torch.set_grad_enabled(self._gradient and torch.is_grad_enabled()), self._autocast():
            features = self._network.features(x)
            return self._network.classify(features), self._network.classify(features, head)

    def _autocast(self) -> AbstractContextManager[None]:
        return autocast(self._device, self._precision)
