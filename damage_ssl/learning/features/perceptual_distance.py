"""How much each building changed, without any label: distances between deep features of pre and post.

After LPIPS (Zhang et al. 2018, arXiv:1801.03924, eq. 1): features of a pretrained network at several depths, scaled to
unit length at every place, are compared place by place. Three things differ.

- A place may also match one of its eight neighbours (1 cell: 2, 4 and 8 m at strides 4, 8 and 16 and 0.5 m a pixel), so
  that what is left of shift and lean is not taken for change. Both ways count alike: what of pre is lost in post, and
  what of post was not there in pre.
- The footprint with a collar of 2 m decides, the whole patch has a quarter of the say.
- The unit is the event's own: distances are divided by those between unrelated buildings of the same event, pre of one
  and post of another. Other light, season, haze or sensor raise both alike. A median over a scene of the buildings' own
  distances would do the same where few are damaged, and hide the damage where most are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from damage_ssl.errors import WorkspaceError
from damage_ssl.learning.networks.encoders import Encoder, encoder_named
from damage_ssl.learning.networks.pair_network import resized
from damage_ssl.learning.pair_tensor import FOOTPRINT, POST, PRE, pair_bytes, to_unit
from damage_ssl.patches.pairs import PairSet, PairSource

ENCODER = "efficientnet-lite0"
COLLAR_M = 2.0
SURROUNDINGS_WEIGHT = 0.25
LEAST_INPUT_PX = 64
"""Smaller patches are enlarged: the deepest map would have too few cells to tell a building from its surroundings."""

REFERENCE_BUILDINGS = 512
LEAST_BUILDINGS = 10
"""With fewer, nothing can be said of what unrelated buildings of the event look like."""

_PIXELS_AT_ONCE = 64 * 64 * 64
_LEAST_LEVEL = 1e-4  # of rounding errors
_OUTSIDE = 2.0  # cosine distance of opposite vectors: no place beyond the border is ever the best match


@dataclass(frozen=True, kw_only=True)
class ChangeUnit:
    """The event's own unit of change.

    `level` is the median distance between unrelated buildings at each depth; `unrelated` holds the change of the
    sampled unrelated pairs in that unit, float64 [n], around 1.
    """

    level: NDArray[np.float64]
    unrelated: NDArray[np.float64]

    def change(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distances [N, depths] → change [N]: 0 for equal images, about 1 for images of unrelated buildings."""
        return np.asarray((distances / self.level).mean(axis=1), dtype=np.float64)


def measure_unit(store: PairSource, building_id: NDArray[np.str_], rng: np.random.Generator) -> ChangeUnit:
    """Compare pre of some buildings with post of others, at most `REFERENCE_BUILDINGS`.

    Args:
        store: the event's patches.
        building_id: the buildings that can be assessed, [N] str.
        rng: draws the buildings and who is compared with whom.

    Raises:
        WorkspaceError: there are too few buildings, or their images hold nothing to compare.
    """
    if len(building_id) < LEAST_BUILDINGS:
        raise WorkspaceError(
            f"change score: only {len(building_id)} buildings can be assessed; {LEAST_BUILDINGS} are needed to learn "
            "how unlike unrelated buildings of the event are. Label buildings and train instead"
        )
    drawn = rng.permutation(building_id)[:REFERENCE_BUILDINGS]
    pairs = store.load(drawn)
    distances = pair_distances(pairs, post_of=np.roll(np.arange(len(drawn)), 1))
    level = np.median(distances, axis=0)
    if not (level > _LEAST_LEVEL).all():
        raise WorkspaceError(
            "change score: unrelated buildings of the event look exactly alike; look at the imagery, it may be empty"
        )
    unit = ChangeUnit(level=level, unrelated=np.ones(1))
    return ChangeUnit(level=level, unrelated=unit.change(distances))


@torch.no_grad()
def pair_distances(
    pairs: PairSet, *, post_of: NDArray[np.intp] | None = None, encoder: nn.Module | None = None
) -> NDArray[np.float64]:
    """Distance of pre and post of each building at each depth of the encoder, [N, depths], 0 to 2.

    Args:
        pairs: the buildings; only the close view is looked at.
        post_of: compare with the post image of these rows [N] instead of the building's own.
        encoder: another one than the pretrained default.
    """
    network = cast(Encoder, encoder if encoder is not None else encoder_named(ENCODER, 3).requires_grad_(False))
    close = PairSet(building_id=pairs.building_id, close=pairs.close)
    others = np.arange(len(pairs)) if post_of is None else post_of
    parts = [np.zeros((0, len(network.tap_channels)))]
    for rows in _batches(len(pairs), pairs.close.pre.shape[-1]):
        own, other = close.take(rows), close.take(others[rows])
        pre, post = to_unit(pair_bytes(own)), to_unit(pair_bytes(other))
        valid = torch.from_numpy((own.close.valid & other.close.valid).astype(np.float32))[:, None]
        pre_maps, post_maps = _maps(network, pre[:, PRE]), _maps(network, post[:, POST])
        collar_px = round(COLLAR_M / pairs.close.gsd_m)
        columns = [
            feature_distance(a, b, place_weights(pre[:, FOOTPRINT], valid, a.shape[-1], collar_px))
            for a, b in zip(pre_maps, post_maps, strict=True)
        ]
        parts.append(torch.stack(columns, dim=1).double().numpy())
    return np.concatenate(parts)


def feature_distance(pre: Tensor, post: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean cosine distance of feature maps [B, C, h, w] to their best match within one cell, [B].

    The mean of both ways: each place of post looked up in pre, and each of pre in post. `weight` is [B, h, w], sum 1.
    """
    a, b = (F.normalize(each.float(), dim=1) for each in (pre, post))
    both = (_best_match(a, b) + _best_match(b, a)) / 2  # [B, h, w]
    distance: Tensor = (both * weight).sum(dim=(1, 2))
    return distance


def place_weights(footprint: Tensor, valid: Tensor, cells: int, collar_px: int) -> Tensor:
    """What each cell of a map of `cells` × `cells` counts, [B, cells, cells], sum 1: mostly the building.

    `footprint` and `valid` are [B, 1, H, W], 0 to 1; a cell without valid pixels counts nothing (where there are none
    at all, all cells count alike).
    """
    around = F.max_pool2d(footprint, 2 * collar_px + 1, stride=1, padding=collar_px) if collar_px else footprint
    building = _shares(around * valid, cells)
    surroundings = _shares(valid, cells)
    weight = (1 - SURROUNDINGS_WEIGHT) * building + SURROUNDINGS_WEIGHT * surroundings + 1e-9
    return weight / weight.sum(dim=(1, 2), keepdim=True)


def _best_match(places: Tensor, among: Tensor) -> Tensor:
    """Cosine distance of each place of unit-length maps [B, C, h, w] to the nearest of 3 × 3 places, [B, h, w]."""
    height, width = places.shape[2:]
    inside = F.pad(torch.ones(1, 1, height, width), (1, 1, 1, 1))[0]
    padded = F.pad(among, (1, 1, 1, 1))
    best = torch.full_like(places[:, 0], _OUTSIDE)
    for row in range(3):
        for column in range(3):
            window = (..., slice(row, row + height), slice(column, column + width))
            distance = 1 - (places * padded[window]).sum(dim=1)
            best = torch.minimum(best, torch.where(inside[window] > 0, distance, _OUTSIDE))
    return best.clamp_min(0.0)


def _shares(mask: Tensor, cells: int) -> Tensor:
    """The share of the mask's area [B, 1, H, W] that lies in each cell, [B, cells, cells]; zeros for an empty mask."""
    share = F.adaptive_avg_pool2d(mask, cells)[:, 0]
    return share / share.sum(dim=(1, 2), keepdim=True).clamp_min(1e-9)


def _maps(network: Encoder, images: Tensor) -> list[Tensor]:
    large = resized(images, max(images.shape[-1], LEAST_INPUT_PX))
    return network(large.contiguous(memory_format=torch.channels_last))


def _batches(count: int, size_px: int) -> Iterator[NDArray[np.intp]]:
    step = max(_PIXELS_AT_ONCE // max(size_px, LEAST_INPUT_PX) ** 2, 1)
    for start in range(0, count, step):
        yield np.arange(start, min(start + step, count))
