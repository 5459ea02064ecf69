"""Frozen features and the logistic regression on them: an algorithm of its own, and where fine-tuning starts."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from damage_ssl.learning.device import pairs_at_once
from damage_ssl.learning.networks.heads import OrdinalHead, fit_cumulative
from damage_ssl.learning.networks.pair_network import PairNetwork
from damage_ssl.learning.pair_tensor import to_unit, turned

SMALLEST_STD = 1e-6
MISSING_CLASS_LOGIT = -12.0
"""Intercept of a class of the scheme that has no labels: next to no probability."""


@torch.no_grad()
def embed(
    network: PairNetwork,
    pixels: Tensor,
    *,
    quarter_turns: int = 0,
    on_batch: Callable[[int], None] | None = None,
) -> Tensor:
    """Features float32 [N, F] on the CPU of pairs uint8 [N, 7 or 14, H, W], turned by `quarter_turns`, in batches.

    `on_batch` hears the number of pairs done.
    """
    device = network.feature_mean.device
    parts, at_once = [], pairs_at_once(device)
    for start in range(0, len(pixels), at_once):
        x = to_unit(pixels[start : start + at_once].to(device))
        parts.append(network.features(turned(x, quarter_turns)).float().cpu())
        if on_batch is not None:
            on_batch(min(start + at_once, len(pixels)))
    return torch.cat(parts) if parts else torch.zeros(0, network.feature_count)


def standardise_on(network: PairNetwork, features: Tensor) -> None:
    """Make mean and standard deviation of these features [n, F] the network's, one for constant features."""
    std = features.std(dim=0, correction=0)
    std[std < SMALLEST_STD] = 1.0
    network.set_feature_statistics(features.mean(dim=0), std)


def fit_head(network: PairNetwork, features: Tensor, classes: NDArray[np.int64], *, regularisation: float) -> None:
    """Fit the head by logistic regression on features [n, F] of labelled pairs, an ordinal head by an ordinal one.

    Features are standardised by the network's statistics. Classes weigh equally whatever their counts.
    `regularisation` is scikit-learn's C: small is strong.
    """
    scale = network.feature_scale.cpu() * network.feature_count**0.5
    standard = (features - network.feature_mean.cpu()) * scale
    if isinstance(network.head, OrdinalHead):
        fitted = fit_cumulative(standard, classes, network.spec.classes, regularisation=regularisation)
        network.set_ordinal_head(*fitted)
        return
    model = LogisticRegression(C=regularisation, class_weight="balanced", max_iter=2000)
    model.fit(standard.numpy().astype(np.float64), classes)
    coefficients, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn gives one row for the second class; half of it each way
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    weight = torch.zeros(network.spec.classes, features.shape[1])
    bias = torch.full((network.spec.classes,), MISSING_CLASS_LOGIT)
    present = torch.from_numpy(model.classes_.astype(np.int64))
    weight[present] = torch.from_numpy(coefficients).float()
    bias[present] = torch.from_numpy(intercept).float()
    network.set_head(weight, bias)
