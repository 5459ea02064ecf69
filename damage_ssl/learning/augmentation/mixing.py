"""Views that mix: chains of operations into one picture (AugMix), pieces of other pairs into a pair (CutMix)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from damage_ssl.learning.augmentation.photometry import Operation, apply_drawn
from damage_ssl.learning.device import to_device

WIDTH, DEPTH, ALPHA = 3, 3, 1.0
"""Chains, most operations a chain, concentration of Dirichlet and Beta: the paper's (AugMix, section 3)."""


def mix_chains(images: Tensor, operations: Sequence[Operation], strength: float, generator: torch.Generator) -> Tensor:
    """AugMix of images [n, k, channels, H, W], k of them sharing a draw.

    Hendrycks et al. 2020, arXiv:1912.02781, algorithm 1. `WIDTH` chains of 1 to `DEPTH` operations each are averaged by
    Dirichlet weights, and the result is mixed with the untouched image by a weight from Beta(1, 1):
    m · x + (1 − m) · Σ wᵢ chainᵢ(x).
    """
    count = len(images)
    weights, kept = mixing_weights(count, generator)  # [n, WIDTH], [n]
    weights, kept = to_device(weights, images.device), to_device(kept, images.device)
    depth = to_device(torch.randint(1, DEPTH + 1, (count, WIDTH), generator=generator), images.device)
    mixed = torch.zeros_like(images)
    for chain in range(WIDTH):
        out = images
        for length in range(1, DEPTH + 1):
            longer = apply_drawn(out, operations, 1, strength, generator)
            out = torch.where(_per_image(depth[:, chain]) >= length, longer, out)
        mixed = torch.addcmul(mixed, _per_image(weights[:, chain]), out)
    return torch.lerp(mixed, images, _per_image(kept)).clamp_(0, 1)


def mixing_weights(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Dirichlet weights of the chains, float32 [count, WIDTH], and Beta weights of the untouched image [count].

    Torch's samplers take no generator, so NumPy's is seeded from it.
    """
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    weights = rng.dirichlet([ALPHA] * WIDTH, count).astype(np.float32)
    return torch.from_numpy(weights), torch.from_numpy(rng.beta(ALPHA, ALPHA, count).astype(np.float32))


def draw_boxes(count: int, size_px: int, alpha: float, generator: torch.Generator) -> Tensor:
    """Boxes int64 [count, 4] (top, bottom, left, right) of CutMix: Yun et al. 2019, arXiv:1905.04899, eq. 2.

    λ from Beta(alpha, alpha); the sides are √(1 − λ) of the image's, the centre is uniform, and what sticks out is cut.
    """
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    side = np.sqrt(1 - rng.beta(alpha, alpha, count)) * size_px  # [count]
    centre = rng.uniform(0, size_px, (2, count))
    low, high = (np.clip(np.round(centre + sign * side / 2), 0, size_px) for sign in (-1, 1))
    return torch.from_numpy(np.stack([low[0], high[0], low[1], high[1]], axis=1).astype(np.int64))


def cutmix(x: Tensor, boxes: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
    """Put into each pair the box of another, footprint and all: eq. 1.

    Args:
        x: pairs [B, 7 or 14, S, S].
        boxes: int64 [B, 4] as `draw_boxes`.
        partner: int64 [B], the row that the box comes from.

    Returns:
        The mixed pairs, and the share of the area that the box takes, [B]: the weight of the partner's label.
    """
    at = torch.arange(x.shape[-1], device=x.device)
    top, bottom, left, right = to_device(boxes, x.device)[:, :, None].unbind(1)  # [B, 1] each
    rows, columns = (at >= top) & (at < bottom), (at >= left) & (at < right)  # [B, S] each
    inside = rows[:, :, None] & columns[:, None, :]  # [B, S, S]
    mixed = torch.where(inside[:, None], x[to_device(partner, x.device)], x)
    return mixed, inside.to(x.dtype).mean(dim=(1, 2))


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None, None]
