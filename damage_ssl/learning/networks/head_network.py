"""A network of which only the head is left to train: its inputs are features that a frozen network gave."""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from damage_ssl.learning.networks.encoders import seeded
from damage_ssl.learning.networks.heads import HEADS, HiddenHead, OrdinalHead
from damage_ssl.learning.networks.pair_network import PairNetwork


class FrozenFeatures:
    """Pairs [B, 7 or 14, H, W] in [0, 1] → values [B, D]: a network's standardised features on principal axes.

    `network` has the features' statistics set. `axes` [F, D] are orthonormal columns; None keeps all features, D = F.
    The sum of the squares of a pair's values is about 1.
    """

    def __init__(self, network: PairNetwork, axes: Tensor | None) -> None:
        self.network = network.requires_grad_(False)
        self.axes = axes
        self._last: tuple[Tensor, Tensor] | None = None

    def __deepcopy__(self, memo: object) -> "FrozenFeatures":
        return self  # never changed, so copies of a head share it

    @property
    def dimensions(self) -> int:
        """D."""
        return self.network.feature_count if self.axes is None else int(self.axes.shape[1])

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        standard = (self.network.features(x).float() - self.network.feature_mean) * self.network.feature_scale
        return standard if self.axes is None else standard @ self.axes

    def again(self, x: Tensor) -> Tensor:
        """The same, remembered for the last input: one that does not change is encoded once."""
        if self._last is None or self._last[0].shape != x.shape or not torch.equal(self._last[0], x):
            self._last = x.clone(), self(x)
        return self._last[1]


class HeadNetwork(PairNetwork):
    """Values [B, D] of `FrozenFeatures` → logits [B, classes]; pairs of pixels are encoded on their way.

    It is a `PairNetwork` for the trainer, the algorithms and the optimiser, with an encoder that has no weights.
    `feature_count` stays the frozen network's F: the values' squares sum to about 1 whatever D is.
    """

    def __init__(self, frozen: FrozenFeatures, generator: torch.Generator) -> None:
        nn.Module.__init__(self)  # not PairNetwork's: it would build an encoder
        self.frozen = frozen
        self.spec = frozen.network.spec
        self.encoder = nn.Module()
        self.input_px = self.spec.input_px
        self.attention = nn.ModuleList()
        self.texture = None
        self.feature_count = frozen.network.feature_count
        self.register_buffer("feature_mean", torch.zeros(frozen.dimensions))
        self.register_buffer("feature_scale", torch.ones(frozen.dimensions))
        head = seeded(lambda: cast(nn.Module, HEADS[self.spec.head](frozen.dimensions, self.spec.classes)), generator)
        self.head = cast(nn.Linear | OrdinalHead, head)
        self.auxiliary = nn.ModuleDict()
        self.to(frozen.network.feature_mean.device)
        self.train(False)

    @property
    def pretrained(self) -> bool:
        """True: frozen features are there to be stood on, whatever they are."""
        return True

    def features(self, x: Tensor) -> Tensor:
        """Values [B, D] as they are; of pairs [B, 7 or 14, H, W] those that the frozen network gives."""
        return x if x.ndim == 2 else self.frozen.again(x)

    def add_head(self, name: str, outputs: int, generator: torch.Generator) -> None:
        """An auxiliary head on the same values, drawn from `generator`."""
        self.auxiliary[name] = self._linear(outputs, generator).to(self.feature_mean.device)

    @torch.no_grad()
    def whole(self) -> PairNetwork:
        """The frozen network with this head: pixels → the same logits."""
        network, axes = copy.deepcopy(self.frozen.network), self.frozen.axes
        weights = self.head.state_dict()
        if axes is not None:
            for name in _on_features(self.head):  # [C, D] each, or as many rows as it has outputs
                weights[name] = weights[name] @ axes.T
        if isinstance(self.head, HiddenHead):  # it takes its features times √D
            weights["hidden.weight"] = weights["hidden.weight"] * (self.frozen.dimensions / self.feature_count) ** 0.5
        network.head.load_state_dict(weights)
        return network

    @torch.no_grad()
    def take(self, network: PairNetwork) -> "HeadNetwork":
        """Take the head of a network that `whole` gave, in place."""
        weights, axes = network.head.state_dict(), self.frozen.axes
        if isinstance(self.head, HiddenHead):
            weights["hidden.weight"] = weights["hidden.weight"] * (self.feature_count / self.frozen.dimensions) ** 0.5
        if axes is not None:
            for name in _on_features(self.head):
                weights[name] = weights[name] @ axes
        self.head.load_state_dict(weights)
        return self

    def _linear(self, outputs: int, generator: torch.Generator) -> nn.Module:
        return seeded(lambda: nn.Linear(self.frozen.dimensions, outputs), generator)


def _on_features(head: nn.Linear | OrdinalHead) -> list[str]:
    """Names of a head's weights that features are multiplied by."""
    if isinstance(head, OrdinalHead):
        return ["direction.weight"]
    return ["weight", "hidden.weight"] if isinstance(head, HiddenHead) else ["weight"]
