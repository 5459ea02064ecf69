"""The layout of a pair as one tensor, named in one place."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from damage_ssl.patches.pairs import PairSet, PairViews

PRE = slice(0, 3)
POST = slice(3, 6)
FOOTPRINT = slice(6, 7)
VIEW_CHANNELS = 7
"""Channels of one view; a context view follows as seven more."""


def pair_bytes(pairs: PairSet) -> Tensor:
    """All pairs as one uint8 tensor [N, 7 or 14, H, W]: pre RGB, post RGB, footprint (0 or 255), then the context.

    Pixels that are not valid take the mean colour of the valid ones of the same date and building, so that missing data
    neither looks like a black roof nor shifts the contrast.
    """
    views = [_view_bytes(pairs.close)]
    if pairs.context is not None:
        views.append(_view_bytes(pairs.context))
    return torch.from_numpy(np.concatenate(views, axis=1))


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 → float32 in [0, 1]."""
    return pixels.float().div_(255.0)


def turned(x: Tensor, quarter_turns: int) -> Tensor:
    """Pairs [..., H, W], all channels turned alike, counter-clockwise."""
    return x if quarter_turns % 4 == 0 else torch.rot90(x, quarter_turns, dims=(-2, -1))


def _view_bytes(view: PairViews) -> NDArray[np.uint8]:
    count, _, height, width = view.pre.shape
    out = np.empty((count, VIEW_CHANNELS, height, width), dtype=np.uint8)
    out[:, PRE] = view.pre
    out[:, POST] = view.post
    out[:, FOOTPRINT] = view.footprint[:, None] * np.uint8(255)
    for row in np.flatnonzero(~view.valid.all(axis=(1, 2))):
        valid = view.valid[row].astype(bool)
        for channel in range(6):
            plane = out[row, channel]
            plane[~valid] = np.uint8(plane[valid].mean()) if valid.any() else 0
    return out
