"""Wide residual network for 32 px images (Zagoruyko & Komodakis 2016, arXiv:1605.07146), as FixMatch's authors use it.

Leaky ReLU 0.1, the first activation of the first block before its shortcut, batch norms with statistics of a thousand
steps. A pair's later date is the image; the other channels of `damage_ssl.learning.pair_tensor` are not seen.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from damage_ssl.learning.pair_tensor import POST


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, momentum=0.001, eps=0.001)


class Block(nn.Module):
    """Two 3 × 3 convolutions before which come norm and activation, and a shortcut."""

    def __init__(self, before: int, after: int, stride: int, *, first: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList([_norm(before), _norm(after)])
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(before, after, 3, stride, 1, bias=False),
                nn.Conv2d(after, after, 3, 1, 1, bias=False),
            ]
        )
        self.shortcut = nn.Conv2d(before, after, 1, stride, bias=False) if before != after else None
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        active = F.leaky_relu(self.norms[0](x), 0.1)
        if self.first:
            x = active
        out = F.leaky_relu(self.norms[1](self.convs[0](active)), 0.1)
        return cast(Tensor, self.convs[1](out) + (x if self.shortcut is None else self.shortcut(x)))


class WideResNet(nn.Module):
    """Pairs [N, 7, 32, 32] in [0, 1] → logits [N, classes]; `depth` 28 and `widen` 2 are WRN-28-2, 1.5 M parameters."""

    mean: Tensor
    std: Tensor

    def __init__(self, classes: int, *, depth: int = 28, widen: int = 2) -> None:
        super().__init__()
        widths = [16, 16 * widen, 32 * widen, 64 * widen]
        self.stem = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        blocks = []
        for group in range(3):
            for number in range((depth - 4) // 6):
                before = widths[group] if number == 0 else widths[group + 1]
                stride = 2 if group > 0 and number == 0 else 1
                blocks.append(Block(before, widths[group + 1], stride, first=group == 0 and number == 0))
        self.blocks = nn.Sequential(*blocks)
        self.norm = _norm(widths[3])
        self.head = nn.Linear(widths[3], classes)
        self.auxiliary = nn.ModuleDict()
        self.register_buffer("mean", torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2471, 0.2435, 0.2616]).view(3, 1, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="leaky_relu")
            elif isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                nn.init.zeros_(module.bias)

    def features(self, x: Tensor) -> Tensor:
        """Pooled features [N, 64 · widen]."""
        image = ((x[:, POST] - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return F.leaky_relu(self.norm(self.blocks(self.stem(image))), 0.1).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.features(x)))

    def with_head(self, x: Tensor, head: str) -> tuple[Tensor, Tensor]:
        """Logits, and those of one auxiliary head, from one pass."""
        features = self.features(x)
        return self.head(features), self.auxiliary[head](features)
