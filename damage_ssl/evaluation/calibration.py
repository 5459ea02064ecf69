"""From a model's probabilities to a decision: temperature and threshold, both from the validation blocks only."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme
from damage_ssl.errors import WorkspaceError
from damage_ssl.files import read_json, write_json

MIN_PER_CLASS_FOR_TEMPERATURE = 10
DEFAULT_THRESHOLD = 0.5
SHRINKING_BUILDINGS = 10
"""With this many validation buildings of the rarer kind the threshold goes half of the way (in log-odds) from 0.5."""

_LOG_TEMPERATURE_BOUNDS = (np.log(0.2), np.log(10.0))
_LOG_TEMPERATURE_SD = 0.5


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How raw probabilities become a verdict.

    A building is damaged if its calibrated P(damaged) ≥ `threshold`; probabilities are calibrated by dividing their
    logarithms by `temperature`. `n_validation` buildings, `n_damaged` of them damaged, decided; `method` says how.
    """

    threshold: float
    temperature: float
    n_validation: int
    n_damaged: int
    method: str

    def write(self, path: Path) -> None:
        """Write as JSON, atomically."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> "Calibration":
        """Read what `write` wrote.

        Raises:
            WorkspaceError: there is no such file.
        """
        if not path.exists():
            raise WorkspaceError(f"{path}: the run is not calibrated yet; train it with `damage-ssl train`")
        return cls(**read_json(path))


def calibrate(probabilities: NDArray[np.float64], classes: NDArray[np.integer], scheme: ClassScheme) -> Calibration:
    """Choose temperature and threshold on validation buildings.

    The temperature minimises the negative log-likelihood (Guo et al. 2017, arXiv:1706.04599, §4.2) with a log-normal
    prior around 1, so that a validation set which the model separates perfectly does not make it certain of
    everything; with fewer than 10 buildings of a class it stays 1. The threshold maximises F1 of damaged, and is drawn
    towards 0.5 where few buildings decide it (`shrunk_threshold`): of ten buildings one can put it anywhere.

    Args:
        probabilities: [N, C], each row sums to 1.
        classes: [N], the class index of each building.
        scheme: says which classes count as damaged.
    """
    true_class = np.asarray(classes, dtype=np.intp)
    damaged = true_class >= scheme.damaged_from
    per_class = np.bincount(true_class, minlength=len(scheme))
    if per_class.min() >= MIN_PER_CLASS_FOR_TEMPERATURE:
        temperature = _fit_temperature(probabilities, true_class)
        said = f"temperature by maximum likelihood on {len(classes)} validation buildings"
    else:
        temperature = 1.0
        counts = ", ".join(f"{name} {count}" for name, count in zip(scheme.class_names, per_class, strict=True))
        said = f"temperature left at 1 (validation has {counts}; {MIN_PER_CLASS_FOR_TEMPERATURE} a class are needed)"
    if damaged.any() and not damaged.all():
        scaled = scale_probabilities(probabilities, temperature)
        best = best_threshold(damaged_probability(scaled, scheme), damaged)
        deciding = int(min(damaged.sum(), (~damaged).sum()))
        threshold = shrunk_threshold(best, deciding)
        said = (
            f"threshold with the highest F1 on {len(classes)} validation buildings ({best:.2f}), drawn towards 0.5 "
            f"because the rarer kind has {deciding}; {said}"
        )
    else:
        threshold = DEFAULT_THRESHOLD
        said = f"threshold left at {DEFAULT_THRESHOLD} (validation lacks damaged or intact buildings); {said}"
    return Calibration(
        threshold=threshold,
        temperature=temperature,
        n_validation=len(classes),
        n_damaged=int(damaged.sum()),
        method=said,
    )


def scale_probabilities(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Softmax(log p / T), [N, C]; 1 leaves them as they are, more than 1 makes them less certain."""
    logits = np.log(np.clip(probabilities, 1e-12, 1.0)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float64)


def damaged_probability(probabilities: NDArray[np.float64], scheme: ClassScheme) -> NDArray[np.float64]:
    """P(damaged) [N]: the sum of [N, C] over the classes that count as damaged."""
    return np.asarray(np.minimum(probabilities[:, scheme.damaged_from :].sum(axis=1), 1.0), dtype=np.float64)


def decide(probabilities: NDArray[np.float64], scheme: ClassScheme, threshold: float) -> NDArray[np.intp]:
    """The class index of each building [N], such that class and verdict never contradict each other.

    It is the likeliest of the damaged classes if P(damaged) ≥ threshold, else the likeliest of the others.
    """
    split = scheme.damaged_from
    above = split + probabilities[:, split:].argmax(axis=1)
    below = probabilities[:, :split].argmax(axis=1)
    damaged = damaged_probability(probabilities, scheme) >= threshold
    return np.asarray(np.where(damaged, above, below), dtype=np.intp)


def normalised_entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Uncertainty [N] of [N, C]: 0 for a certain prediction, 1 for equal probabilities."""
    clipped = np.clip(probabilities, 1e-12, 1.0)
    entropy = -(clipped * np.log(clipped)).sum(axis=1) / np.log(probabilities.shape[1])
    return np.asarray(np.clip(entropy, 0.0, 1.0), dtype=np.float64)


def best_threshold(p_damaged: NDArray[np.float64], damaged: NDArray[np.bool_]) -> float:
    """The threshold with the highest F1, from the midpoints between neighbouring probabilities [N].

    Of several equally good ones it is the nearest to 0.5, of two equally near the lower.
    """
    distinct, place, count = np.unique(p_damaged, return_inverse=True, return_counts=True)
    candidates = (np.concatenate([[0.0], distinct[:-1]]) + distinct) / 2
    called = count[::-1].cumsum()[::-1]  # buildings at or above each candidate
    hits = np.bincount(place, weights=damaged, minlength=len(distinct))[::-1].cumsum()[::-1]
    # F1 = 2·TP / (called + damaged), Van Rijsbergen 1979; the denominator is positive because each candidate calls one.
    f1 = 2 * hits / (called + damaged.sum())
    best = candidates[np.isclose(f1, f1.max(), rtol=0, atol=1e-12)]
    return float(best[np.abs(best - 0.5).argmin()])


def shrunk_threshold(best: float, deciding: int) -> float:
    """Between 0.5 and `best`: its log-odds times n / (n + 10), where n is `deciding`, the count of the rarer kind."""
    odds = (best / (1 - best)) ** (deciding / (deciding + SHRINKING_BUILDINGS)) if best < 1 else np.inf
    return float(1.0 if np.isinf(odds) else odds / (1 + odds))


def _fit_temperature(probabilities: NDArray[np.float64], classes: NDArray[np.intp]) -> float:
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(classes))

    def cost(log_temperature: float) -> float:
        scaled = scale_probabilities(probabilities, float(np.exp(log_temperature)))
        likelihood = np.log(np.maximum(scaled[rows, classes], 1e-12)).sum()
        return float(-likelihood + 0.5 * (log_temperature / _LOG_TEMPERATURE_SD) ** 2)

    return float(np.exp(minimize_scalar(cost, bounds=_LOG_TEMPERATURE_BOUNDS, method="bounded").x))
