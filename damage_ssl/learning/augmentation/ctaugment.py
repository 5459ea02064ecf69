"""CTAugment: how strong an operation may be is learned while training, from how well the network still knows the label.

Berthelot et al. 2020 (ReMixMatch, arXiv:1911.09785), section 3.2, 'Control Theory Augment'. A knob is one strength that
an operation, the affine map or the cutout has; its range is divided into bins, and each bin has a rate: how much of the
true class's probability the averaged network keeps on labelled pairs changed that much.

Paper and released code differ in the match: the paper writes ω = 1 − Σ|p − y| / 2L, L classes, which is at least
1 − 1/L whatever the network says; the code has 1 − Σ|p − y| / 2, which for a given label is p_true, taken here. Within
the learned distribution a bin is drawn, then a place in it, as in the paper (the code draws between two bins).
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from damage_ssl.learning.device import to_device

BINS = 17
DECAY = 0.99
THRESHOLD = 0.8
"""Bins of less than this share of the best one's rate are not drawn."""


class Strengths(Protocol):
    """What decides how strong a change is."""

    def draw(self, knob: Tensor, row: Tensor, generator: torch.Generator, device: torch.device) -> Tensor:
        """Strengths [n] in −1 to 1 on the device for knobs int64 [n]; `row` int64 [n] is the pair each is for."""


def bin_weights(rates: Tensor) -> Tensor:
    """Rates [..., BINS] → chances of the bins, summing to 1; what falls below the threshold has none.

    As in the released code, 1 − `DECAY` is added, so that rates that are all zero allow every bin.
    """
    p = rates + (1 - DECAY)  # [..., BINS]
    p = p / p.amax(dim=-1, keepdim=True)
    p = torch.where(p < THRESHOLD, 0.0, p)
    return p / p.sum(dim=-1, keepdim=True)


def drawn_strength(weights: Tensor, bin_draw: Tensor, place_draw: Tensor) -> Tensor:
    """Strengths [n] in [0, 1): a bin of `weights` [n, BINS] by `bin_draw` [n], the place in it by `place_draw` [n].

    Both draws are uniform on [0, 1). The inverse of the summed weights needs no wait for the device.
    """
    below = (weights.cumsum(dim=-1) <= bin_draw[:, None]).sum(dim=-1)  # [n]
    last = BINS - 1 - (weights.flip(-1) > 0).to(torch.uint8).argmax(dim=-1)  # [n] rounding must not pass the last bin
    return (torch.minimum(below, last) + place_draw) / BINS


def updated_rates(rates: Tensor, knob: Tensor, bin_index: Tensor, match: Tensor) -> Tensor:
    """Rates [knobs, BINS] after bins `knob`, `bin_index` int64 [m] were tried and matched the label by `match` [m].

    rate ← ρ·rate + (1 − ρ)·match. A bin tried k times in a step takes the mean match with weight 1 − ρᵏ: the same as
    one after the other, but for their order.
    """
    flat = knob * BINS + bin_index  # [m]
    count = torch.zeros_like(rates).flatten().index_add(0, flat, torch.ones_like(match))
    total = torch.zeros_like(rates).flatten().index_add(0, flat, match)
    keep = DECAY**count  # 1 where nothing was tried
    return (rates.flatten() * keep + (1 - keep) * total / count.clamp_min(1)).view_as(rates)


def true_probability(probabilities: Tensor, target: Tensor) -> Tensor:
    """What the network gives the label [N], of probabilities [N, C] and classes int64 [N]: 1 − Σ|p − y| / 2."""
    return probabilities.gather(1, target[:, None])[:, 0]


class CTAugment:
    """The rates of all knobs, float32 [knobs, BINS], which belong into a checkpoint."""

    def __init__(self, knobs: Sequence[str]) -> None:
        self.knobs = tuple(knobs)
        self.rates = torch.ones(len(self.knobs), BINS)

    def draw(self, knob: Tensor, row: Tensor, generator: torch.Generator, device: torch.device) -> Tensor:
        """Strengths [n] in −1 to 1 on the device for knobs int64 [n], by the learned distribution.

        `row` int64 [n], on the CPU as `knob` is, says which pair each is for.
        """
        u = to_device(torch.rand(len(knob), 2, generator=generator), device)  # [n, 2]
        weights = bin_weights(self.rates.to(device))[to_device(knob, device)]  # [n, BINS]
        return 2 * drawn_strength(weights, u[:, 0], u[:, 1]) - 1

    def probe(self) -> "Probe":
        """Uniform draws that remember what they were."""
        return Probe()

    def update(self, probe: "Probe", match: Tensor) -> None:
        """Learn from a probe: `match` [N] is the probability that the network gave each pair's label."""
        knob, bin_index, row = (torch.cat(each) for each in (probe.knob, probe.bin_index, probe.row))
        knob, bin_index, row = (to_device(each, match.device) for each in (knob, bin_index, row))
        self.rates = updated_rates(self.rates.to(match), knob, bin_index, match.detach()[row])

    def state_dict(self) -> dict[str, Tensor]:
        """What was learned."""
        return {"rates": self.rates}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up what `state_dict` gave.

        Raises:
            ValueError: it is of other knobs.
        """
        if state["rates"].shape != self.rates.shape:
            raise ValueError(f"rates are {list(state['rates'].shape)}; these knobs need {list(self.rates.shape)}")
        self.rates = state["rates"]


class Probe:
    """Draws uniform strengths, and keeps which bin of which knob each pair had."""

    def __init__(self) -> None:
        self.knob: list[Tensor] = []
        self.bin_index: list[Tensor] = []
        self.row: list[Tensor] = []

    def draw(self, knob: Tensor, row: Tensor, generator: torch.Generator, device: torch.device) -> Tensor:
        """As `CTAugment.draw`, uniform."""
        strength = torch.rand(len(knob), generator=generator)  # [n]
        self.knob.append(knob)
        self.bin_index.append((strength * BINS).long().clamp_max(BINS - 1))
        self.row.append(row)
        return 2 * to_device(strength, device) - 1
