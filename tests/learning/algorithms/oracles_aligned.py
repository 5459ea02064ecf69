"""ReMixMatch, CTAugment, AdaMatch and ABC again, in NumPy float64, row by row; shares no code with the package."""

import math

import numpy as np
from numpy.typing import NDArray

from tests.learning.algorithms.oracles import Array, ValueAndGradient, log_softmax, softmax

Integers = NDArray[np.int64]


def remixmatch_guess(weak_z: Array, label_share: Array, predicted_share: Array, temperature: float) -> Array:
    """Section 3.1: q = norm(p · p(y) / p̃(y)), and only then sharpened."""
    out = np.empty_like(weak_z)
    for row, z in enumerate(weak_z):
        q = softmax(z) * (label_share + 1e-6) / (predicted_share + 1e-6)
        q = q / q.sum()
        q = np.power(q, 1 / temperature)
        out[row] = q / q.sum()
    return out


def mean_of_last(shares: list[Array], count: int = 128) -> Array:
    """The mean of the last `count` batches' class shares."""
    last = shares[-count:]
    return np.asarray(np.mean(last, axis=0))


def turned(views: Array, turns: Integers, channels: list[int]) -> Array:
    """Each sample's given channels turned counter-clockwise by quarters."""
    out = views.copy()
    for row, turn in enumerate(turns):
        for channel in channels:
            out[row, channel] = np.rot90(views[row, channel], turn)
    return out


def cta_weights(rates: Array, decay: float = 0.99, threshold: float = 0.8) -> Array:
    """Released code, `rate_to_p`, normalised."""
    p = rates + (1 - decay)
    p = p / p.max()
    p[p < threshold] = 0
    return p / p.sum()


def cta_match(p: Array, label: int) -> float:
    """Released code: 1 − ½ Σ|p − y|."""
    y = np.zeros_like(p)
    y[label] = 1
    return float(1 - 0.5 * np.abs(p - y).sum())


def cta_update(rates: Array, tried: list[tuple[int, int, float]], decay: float = 0.99) -> Array:
    """rate ← decay · rate + (1 − decay) · match, one after the other; (knob, bin, match) each."""
    out = rates.copy()
    for knob, place, match in tried:
        out[knob, place] = decay * out[knob, place] + (1 - decay) * match
    return out


def adamatch_interpolated(joint_z: Array, alone_z: Array, draws: Array) -> Array:
    out = np.empty_like(joint_z)
    for at in np.ndindex(joint_z.shape):
        out[at] = draws[at] * joint_z[at] + (1 - draws[at]) * alone_z[at]
    return out


def adamatch_labels(known_z: Array, weak_z: Array, threshold: float) -> tuple[Array, Array]:
    """Aligned probabilities of the unlabelled pairs, and their masks."""
    known = np.stack([softmax(z) for z in known_z])
    p = np.stack([softmax(z) for z in weak_z])
    ratio = (known.mean(axis=0) + 1e-6) / (p.mean(axis=0) + 1e-6)
    least = threshold * np.mean([row.max() for row in known])
    targets, mask = np.empty_like(p), np.zeros(len(p))
    for row, each in enumerate(p):
        targets[row] = each * ratio / (each * ratio).sum()
        mask[row] = targets[row].max() >= least
    return targets, mask


def masked_cross_entropy(z: Array, targets: Array, mask: Array) -> ValueAndGradient:
    """Σ mask · H(target, softmax(z)) / n over ALL n rows."""
    value, gradient = 0.0, np.zeros_like(z)
    for row in range(len(z)):
        if mask[row]:
            value += -(targets[row] * log_softmax(z[row])).sum()
            gradient[row] = softmax(z[row]) * targets[row].sum() - targets[row]
    return ValueAndGradient(value / len(z), gradient / len(z))


def adamatch_warm_up(step: int, steps: int) -> float:
    return 0.5 - math.cos(min(math.pi, 2 * math.pi * step / steps)) / 2


def abc_consistency(strong_z: Array, weak_z: Array, keep: Array, draws: Array, threshold: float) -> ValueAndGradient:
    """Soft targets of the confident pairs that the draw kept; gradient with respect to the strong logits."""
    q = np.stack([softmax(z) for z in weak_z])
    mask = np.array([row.max() >= threshold and draw < keep[row.argmax()] for row, draw in zip(q, draws, strict=True)])
    return masked_cross_entropy(strong_z, q, mask)
