"""VAT in NumPy float64 for a linear map z = x · W, gradients worked out by hand; shares no code with the package."""

from typing import NamedTuple

import numpy as np

from tests.learning.algorithms.oracles import Array, ValueAndGradient, log_softmax, softmax


def divergence(target_z: Array, z: Array) -> ValueAndGradient:
    """Mean over rows of KL(p ‖ q), p constant; d/dz of −Σ p log q is q − p."""
    p = softmax(target_z)
    value = (p * (log_softmax(target_z) - log_softmax(z))).sum() / len(z)
    return ValueAndGradient(float(value), (softmax(z) - p) / len(z))


def entropy(z: Array) -> ValueAndGradient:
    """Mean over rows of −Σ p log p; with g = −(log p + 1), d/dz is p ∘ (g − Σ p g)."""
    p, log_p = softmax(z), log_softmax(z)
    g = -(log_p + 1)
    gradient = p * (g - (p * g).sum(axis=1, keepdims=True))
    return ValueAndGradient(float(-(p * log_p).sum() / len(z)), gradient / len(z))


class LinearVat(NamedTuple):
    """`value` and its gradient with respect to W, of the mean divergence at the adversarial points alone."""

    value: float
    gradient: Array
    direction: Array


def linear_vat(x: Array, weight: Array, draw: Array, *, trial: float, radius: float, iterations: int) -> LinearVat:
    """VAT's algorithm 1, row by row; `draw` is zero where x must not be changed."""
    z = x @ weight
    directions = np.zeros_like(x)
    for row in range(len(x)):
        d = draw[row] / np.sqrt((draw[row] ** 2).sum())
        for _ in range(iterations):
            slope = weight @ (softmax((x[row] + trial * d) @ weight) - softmax(z[row]))
            slope[draw[row] == 0] = 0
            d = slope / np.sqrt((slope**2).sum())
        directions[row] = d
    moved = x + radius * directions
    at_moved = divergence(z, moved @ weight)
    return LinearVat(at_moved.value, moved.T @ at_moved.gradient, directions)


def deviation(x: Array) -> float:
    """Standard deviation of all values."""
    return float(np.sqrt(((x - x.mean()) ** 2).mean()))
