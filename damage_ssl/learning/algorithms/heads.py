"""Auxiliary heads: a second linear classifier on the same features, for algorithms that train one."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from damage_ssl.learning.algorithms.base import Network, full_precision
from damage_ssl.learning.networks import PairNetwork


@runtime_checkable
class HeadedNetwork(Protocol):
    """A `Network` that carries auxiliary heads by name."""

    def __call__(self, x: Tensor) -> Tensor:
        """Views [N, channels, H, W] → logits [N, C]."""

    def with_head(self, x: Tensor, head: str) -> tuple[Tensor, Tensor]:
        """Views → logits [N, C], and those of one auxiliary head [N, outputs], from one pass."""


@runtime_checkable
class UsesHeads(Protocol):
    """An algorithm that needs auxiliary heads."""

    def heads(self, classes: int) -> dict[str, int]:
        """Name → outputs of each head that the network must carry."""


@runtime_checkable
class Beginning(Protocol):
    """An algorithm whose auxiliary heads do not start at random."""

    def begin(self, network: PairNetwork) -> None:
        """Set the auxiliary heads of a network that has not been trained yet."""


@runtime_checkable
class Finishing(Protocol):
    """An algorithm whose way to predict differs from the head that it trained."""

    def finish(self, network: PairNetwork) -> None:
        """Change the head in place so that the network alone predicts as the algorithm does."""


class HeadView:
    """One auxiliary head of a network as a `Network` of its own."""

    def __init__(self, network: Network, head: str) -> None:
        self._network = network
        self._head = head

    def __call__(self, x: Tensor) -> Tensor:
        return with_head(self._network, x, self._head)[1]


def with_head(network: Network, x: Tensor, head: str) -> tuple[Tensor, Tensor]:
    """Logits of the main and of an auxiliary head from one pass, in float32 at least.

    Raises:
        ValueError: the network carries no such heads.
    """
    if not isinstance(network, HeadedNetwork):
        raise ValueError(f"the network carries no auxiliary heads, but this algorithm needs '{head}'")
    logits, other = network.with_head(x, head)
    return full_precision(logits), full_precision(other)
