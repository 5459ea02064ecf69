"""Heads that are not linear: one for classes in an order, and one with a hidden layer.

The ordinal head is one direction in feature space, and ordered thresholds along it.

The proportional-odds model (McCullagh 1980): P(class ≤ k) = σ(t_k − s) with s = w·features and t_0 < t_1 < …; it is
CORAL (Cao, Mirjalili & Raschka 2020, arXiv:1901.07884, eq. 4) with b_k = −t_k, the order of the thresholds built in
rather than hoped for. Its output are log-probabilities of the classes, so that softmax and cross-entropy of every
algorithm work on them as on logits.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

SMALLEST_GAP = 1e-6
_GAP_PENALTY = 1e-3
"""Keeps the threshold of a class without labels from wandering off."""


HIDDEN_WIDTH = 64
"""Units of the hidden layer: a few labels fit no more."""


class HiddenHead(nn.Linear):
    """Features [B, F] whose squares sum to about 1 → logits [B, C]: linear, plus what a hidden layer adds.

    That begins at zero, so that the head may start as a logistic regression.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes)
        self.hidden = nn.Linear(features, HIDDEN_WIDTH)
        self.out = nn.Linear(HIDDEN_WIDTH, classes, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, features: Tensor) -> Tensor:
        units = F.relu(self.hidden(features * self.in_features**0.5))  # its initial weights are for unit variance
        added: Tensor = self.out(units)
        return super().forward(features) + added


class OrdinalHead(nn.Module):
    """Features [B, F] → log-probabilities [B, C] of ordered classes, whose softmax they are themselves."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.direction = nn.Linear(features, 1, bias=False)
        start = torch.logit(torch.arange(1, classes) / classes)  # all classes equally likely at s = 0
        self.first = nn.Parameter(start[:1].clone())
        self.gaps = nn.Parameter(_raw_gap(start.diff()))

    def forward(self, features: Tensor) -> Tensor:
        return log_probabilities(self.direction(features)[:, 0], *self.thresholds())

    def thresholds(self) -> tuple[Tensor, Tensor]:
        """Ascending thresholds [C − 1] and the gaps between them [C − 2]."""
        return _thresholds(self.first, self.gaps)

    @torch.no_grad()
    def set(self, direction: Tensor, first: Tensor, gaps: Tensor) -> None:
        """Take these: direction [F], first threshold [1] and raw gaps [C − 2]."""
        self.direction.weight.copy_(direction[None])
        self.first.copy_(first)
        self.gaps.copy_(gaps)


HEADS: dict[str, Callable[[int, int], nn.Linear | OrdinalHead]] = {
    "linear": nn.Linear,
    "hidden": HiddenHead,
    "ordinal": OrdinalHead,
}
"""Name → head of (features, classes)."""


def log_probabilities(score: Tensor, thresholds: Tensor, gaps: Tensor) -> Tensor:
    """Log-probabilities [B, C] of scores [B] between thresholds [C − 1], which are `gaps` [C − 2] apart.

    log(σ(a) − σ(b)) = log σ(a) + log σ(−b) + log(1 − exp(b − a)), which stays finite where the difference underflows.
    """
    above = thresholds[None, :] - score[:, None]  # [B, C − 1]
    upper = F.pad(F.logsigmoid(above), (0, 1))  # P(class ≤ k), the last 1
    lower = F.pad(F.logsigmoid(-above), (1, 0))  # P(class > k − 1), the first 1
    between = F.pad(torch.log(-torch.expm1(-gaps)), (1, 1))
    return upper + lower + between


def fit_cumulative(
    features: Tensor, classes: NDArray[np.int64], count: int, *, regularisation: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Fit the proportional-odds model to standardised features [n, F] of labelled pairs, classes weighing equally.

    Minimises ½|w|² + C·Σ weighted negative log-likelihood, scikit-learn's convention for a logistic regression.

    Returns:
        What `OrdinalHead.set` takes, float32.
    """
    x, y = features.double(), torch.from_numpy(classes)
    counts = torch.bincount(y, minlength=count).double()
    weight = (len(y) / (int((counts > 0).sum()) * counts.clamp_min(1)))[y]
    head = OrdinalHead(x.shape[1], count).double()
    direction, first, gaps = torch.zeros(x.shape[1]).double(), head.first.data.clone(), head.gaps.data.clone()
    fitted = [each.requires_grad_(True) for each in (direction, first, gaps)]
    start = gaps.detach().clone()
    solver = torch.optim.LBFGS(fitted, max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-6)

    def cost() -> Tensor:
        solver.zero_grad()
        log_p = log_probabilities(x @ direction, *_thresholds(first, gaps))
        likelihood = (weight * log_p.gather(1, y[:, None])[:, 0]).sum()
        penalty = 0.5 * direction.square().sum() + _GAP_PENALTY * (gaps - start).square().sum()
        value = penalty - regularisation * likelihood
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(cost)  # type: ignore[no-untyped-call]
    return direction.detach().float(), first.detach().float(), gaps.detach().float()


def _thresholds(first: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    gaps = F.softplus(raw) + SMALLEST_GAP
    return torch.cat([first, first + gaps.cumsum(0)]), gaps


def _raw_gap(gap: Tensor) -> Tensor:
    """What `softplus` makes `gap` of."""
    return gap + torch.log(-torch.expm1(-gap)) if gap.numel() else gap * math.nan
