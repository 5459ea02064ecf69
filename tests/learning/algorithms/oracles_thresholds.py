"""FlexMatch, FreeMatch and SoftMatch in NumPy float64, one row at a time; shares no code with the package."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tests.learning.algorithms.oracles import Array, ValueAndGradient, log_softmax, softmax


def weighted_cross_entropy(weight: Array, label: NDArray[np.int64], strong_z: Array) -> ValueAndGradient:
    """Mean over ALL rows of weight · H(label, softmax(strong)), weights constant."""
    rows, classes = strong_z.shape
    value, gradient = 0.0, np.zeros_like(strong_z)
    for row in range(rows):
        value += -weight[row] * log_softmax(strong_z[row])[label[row]]
        gradient[row] = weight[row] * (softmax(strong_z[row]) - np.eye(classes)[label[row]])
    return ValueAndGradient(value / rows, gradient / rows)


@dataclass
class FlexMatchOracle:
    """Zhang et al. 2021, algorithm 1: a label for each of N pairs, -1 until one is confident."""

    pairs: int
    classes: int
    threshold: float
    warm_up: bool = True
    label: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.label = [-1] * self.pairs

    def counts(self) -> list[int]:
        return [self.label.count(c) for c in [*range(self.classes), -1]]

    def thresholds(self) -> Array:
        *learnt, never = self.counts()
        most = max(*learnt, never) if self.warm_up else max(learnt)
        beta = np.array([count / most if most else 0.0 for count in learnt])
        return self.threshold * beta / (2 - beta)

    def step(self, index: NDArray[np.int64], weak_z: Array) -> tuple[Array, NDArray[np.int64]]:
        """Mask and labels of a step, by the thresholds before it."""
        p, thresholds = softmax(weak_z), self.thresholds()
        label = p.argmax(axis=1)
        mask = np.array([float(p[row].max() >= thresholds[label[row]]) for row in range(len(p))])
        for row, pair in enumerate(index):
            if p[row].max() >= self.threshold:
                self.label[pair] = int(label[row])
        return mask, label


@dataclass
class FreeMatchOracle:
    """Wang et al. 2023, eqs. 5 to 7 and the running histogram of eq. 10."""

    classes: int
    decay: float

    def __post_init__(self) -> None:
        self.threshold = 1 / self.classes
        self.shares = np.full(self.classes, 1 / self.classes)
        self.histogram = np.full(self.classes, 1 / self.classes)

    def step(self, weak_z: Array) -> tuple[Array, NDArray[np.int64]]:
        q = softmax(weak_z)
        label = q.argmax(axis=1)
        new = 1 - self.decay
        self.threshold = self.decay * self.threshold + new * q.max(axis=1).mean()
        self.shares = self.decay * self.shares + new * q.mean(axis=0)
        self.histogram = self.decay * self.histogram + new * np.bincount(label, minlength=self.classes) / len(q)
        least = self.threshold * self.shares / self.shares.max()
        return (q.max(axis=1) >= least[label]).astype(float), label


def share_agreement(mask: Array, strong_z: Array, shares: Array, histogram: Array) -> ValueAndGradient:
    """Wang et al. 2023, eqs. 9 to 11: Σ a log b over classes that a kept strong view has.

    b = t / Σt with t = m / h: dL/dm_c = a_c / m_c − (Σ a) / (h_c Σt).
    """
    a = shares / histogram
    a = a / a.sum()
    q = softmax(strong_z)
    rows, classes = q.shape
    m, h = np.zeros(classes), np.zeros(classes)
    for row in range(rows):
        m += mask[row] * q[row] / rows
        h[q[row].argmax()] += mask[row] / rows
    present = [c for c in range(classes) if h[c] > 0]
    total = sum(m[c] / h[c] for c in present)
    value = sum(a[c] * np.log(m[c] / h[c] / total) for c in present)
    slope = np.zeros(classes)
    for c in present:
        slope[c] = a[c] / m[c] - sum(a[each] for each in present) / (h[c] * total)
    g = mask[:, None] * slope / rows
    return ValueAndGradient(float(value), q * (g - (q * g).sum(axis=1, keepdims=True)))


@dataclass
class SoftMatchOracle:
    """Chen et al. 2023: truncated Gaussian of the confidence after uniform alignment."""

    classes: int
    decay: float
    sigma_range: float = 1.0
    alignment: bool = True

    def __post_init__(self) -> None:
        self.mean = 1 / self.classes
        self.variance = 1.0
        self.shares: Array | None = None

    def step(self, weak_z: Array) -> tuple[Array, NDArray[np.int64]]:
        p = softmax(weak_z)
        confidence = np.empty(len(p))
        now = p.mean(axis=0)
        self.shares = now if self.shares is None else self.decay * self.shares + (1 - self.decay) * now
        for row in range(len(p)):
            aligned = p[row] * (1 / self.classes) / self.shares if self.alignment else p[row]
            confidence[row] = (aligned / aligned.sum()).max()
        self.mean = self.decay * self.mean + (1 - self.decay) * confidence.mean()
        spread = ((confidence - confidence.mean()) ** 2).sum() / (len(p) - 1)
        self.variance = self.decay * self.variance + (1 - self.decay) * spread
        weight = np.ones(len(p))
        for row, each in enumerate(confidence):
            if each < self.mean:
                weight[row] = np.exp(-((each - self.mean) ** 2) * self.sigma_range**2 / (2 * self.variance))
        return weight, p.argmax(axis=1)
