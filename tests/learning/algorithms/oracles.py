"""The losses again, in NumPy float64, with gradients worked out by hand; shares no code with the package.

Gradients are with respect to logits. For p = softmax(z):
  d/dz of −Σ_c t_c log p_c           = p · Σ_c t_c − t
  d/dz of f(p), with g = ∂f/∂p       = p ∘ (g − Σ_c p_c g_c)
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class ValueAndGradient(NamedTuple):
    value: float
    gradient: Array


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(z: Array) -> Array:
    shifted = z - z.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def one_hot(labels: NDArray[np.int64], classes: int) -> Array:
    return np.eye(classes)[labels]


def cross_entropy(z: Array, soft_target: Array) -> ValueAndGradient:
    """Mean over rows of H(t, softmax(z))."""
    rows = len(z)
    value = -(soft_target * log_softmax(z)).sum() / rows
    gradient = (softmax(z) * soft_target.sum(axis=1, keepdims=True) - soft_target) / rows
    return ValueAndGradient(float(value), gradient)


def fixmatch_unlabelled(
    weak_z: Array, strong_z: Array, threshold: float, ratio: Array | None = None
) -> ValueAndGradient:
    """FixMatch eq. 4, row by row; gradient with respect to the strong logits."""
    rows, classes = weak_z.shape
    value, gradient = 0.0, np.zeros_like(strong_z)
    for row in range(rows):
        q = softmax(weak_z[row])
        if ratio is not None:
            q = q * ratio / (q * ratio).sum()
        if q.max() >= threshold:
            label = int(q.argmax())
            value += -log_softmax(strong_z[row])[label]
            gradient[row] = softmax(strong_z[row]) - np.eye(classes)[label]
    return ValueAndGradient(value / rows, gradient / rows)


def mixmatch_guess(view_z: Array, temperature: float) -> Array:
    """MixMatch eqs. 6 and 7: average the K softmaxes of [K, n, C], then sharpen."""
    mean = sum(softmax(z) for z in view_z) / len(view_z)
    powered = np.power(mean, 1.0 / temperature)
    return powered / powered.sum(axis=1, keepdims=True)


def mixup(values: Array, drawn: Array, permutation: NDArray[np.int64]) -> Array:
    """MixMatch eqs. 9 to 11, sample by sample; `drawn` is λ before the maximum."""
    out = np.empty_like(values)
    for row in range(len(values)):
        weight = max(drawn[row], 1 - drawn[row])
        out[row] = weight * values[row] + (1 - weight) * values[permutation[row]]
    return out


def mixmatch_unlabelled(z: Array, target: Array) -> ValueAndGradient:
    """MixMatch eq. 4: mean over rows and classes of the squared error of probabilities."""
    p = softmax(z)
    error = p - target
    g = 2 * error / z.size
    return ValueAndGradient(float((error**2).sum() / z.size), p * (g - (p * g).sum(axis=1, keepdims=True)))
