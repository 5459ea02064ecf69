"""How the two dates of a pair become one row of features."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from damage_ssl.learning.pair_tensor import POST, PRE, VIEW_CHANNELS

Fusion = Literal["siamese", "change", "stacked", "post", "concatenate", "subtract", "cross-attention"]

IMAGE_CHANNELS: dict[Fusion, int] = {
    "siamese": 3,
    "change": 3,
    "stacked": VIEW_CHANNELS,
    "post": 3,
    "concatenate": 3,
    "subtract": 3,
    "cross-attention": 3,
}
"""Channels of one image that the encoder sees."""

PARTS: dict[Fusion, int] = {
    "siamese": 3,
    "change": 2,
    "stacked": 1,
    "post": 1,
    "concatenate": 2,
    "subtract": 1,
    "cross-attention": 2,
}
"""How many image's worth of features a pair has; cross-attention adds those of its own maps."""

ATTENDED_TAPS = 2
"""Cross-attention is over the deepest feature maps: strides 8 and 16 of most encoders, where a shift is a cell."""

ATTENTION_WIDTH = 64


def combined(fusion: Fusion, pre: Tensor, post: Tensor) -> Tensor:
    """Features [B, F] of both dates as those of the pair [B, PARTS · F]."""
    parts = {
        "siamese": [pre, post, post - pre],
        "change": [post, post - pre],
        "concatenate": [pre, post],
        "subtract": [post - pre],
        "cross-attention": [post, post - pre],
    }[fusion]
    return torch.cat(parts, dim=1)


class CrossAttention(nn.Module):
    """What no place of the pre map explains of the post map: maps [B, C, h, w] of both → [B, C, h, w].

    Post tokens attend to pre tokens (scaled dot product, Vaswani et al. 2017, arXiv:1706.03762, eq. 1; over two dates
    as in Chen et al. 2021, arXiv:2103.00208), less the farther these are, and what they gather is subtracted. Queries
    and keys begin as one random projection and values as the identity, so that untrained it is a difference of dates
    that a shift between them disturbs little.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = min(ATTENTION_WIDTH, channels)
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, width, bias=False)
        self.key = nn.Linear(channels, width, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)
        self.nearness = nn.Parameter(torch.zeros(1))  # softplus of it: penalty of a squared cell of distance
        with torch.no_grad():
            self.key.weight.copy_(self.query.weight)
            self.value.weight.copy_(torch.eye(channels))

    def forward(self, pre: Tensor, post: Tensor) -> Tensor:
        with torch.autocast(post.device.type, enabled=False):
            before, after = _tokens(pre.float()), _tokens(post.float())  # [B, T, C]
            query, key = self.query(self.norm(after)), self.key(self.norm(before))
            affinity = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5  # [B, T, T]
            affinity = affinity - F.softplus(self.nearness) * _squared_distance(post)
            gathered = affinity.softmax(dim=-1) @ self.value(before)
            unexplained: Tensor = (after - gathered).transpose(1, 2).reshape(post.shape)
        return unexplained


def centre_crop(x: Tensor, share: float) -> Tensor:
    """The middle `share` of the side of pairs [B, C, S, S], an even number of pixels smaller."""
    margin = round(x.shape[-1] * (1 - share) / 2)
    return x[..., margin : x.shape[-2] - margin, margin : x.shape[-1] - margin]


def _tokens(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)


def _squared_distance(maps: Tensor) -> Tensor:
    """Between the cells of a map, in cells: [T, T]."""
    rows = torch.arange(maps.shape[-2], device=maps.device, dtype=torch.float32)
    columns = torch.arange(maps.shape[-1], device=maps.device, dtype=torch.float32)
    place = torch.cartesian_prod(rows, columns)  # [T, 2]
    return (place[:, None] - place[None, :]).square().sum(dim=-1)


IMAGES: dict[Fusion, list[slice]] = {
    "siamese": [PRE, POST],
    "change": [PRE, POST],
    "post": [POST],
    "stacked": [slice(0, VIEW_CHANNELS)],
    "concatenate": [PRE, POST],
    "subtract": [PRE, POST],
    "cross-attention": [PRE, POST],
}
"""The channels of the images that random filters are drawn from."""
