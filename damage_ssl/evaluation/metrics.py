"""How good the assessment is, on buildings that were held out, with intervals by spatial blocks."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from damage_ssl.damage_scale import ClassScheme
from damage_ssl.errors import InputError
from damage_ssl.evaluation.calibration import damaged_probability, decide
from damage_ssl.files import write_json

ECE_BINS = 10
INTERVAL_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval; what is undefined is None, and `reason` says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None

    def __str__(self) -> str:
        if self.value is None:
            return f"undefined ({self.reason})"
        interval = f" [{self.low:.3f}, {self.high:.3f}]" if self.low is not None and self.high is not None else ""
        return f"{self.value:.3f}{interval}"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What `evaluate` found. `confusion[i][j]` counts buildings of true class i given class j, in `class_names` order.

    AUROC, average precision, F1, precision, recall, Brier score and expected calibration error are of damaged against
    not damaged; `class_f1` has one entry a class.
    """

    n: int
    n_damaged: int
    n_blocks: int
    n_bootstrap: int
    scheme: str
    statement: str
    threshold: float
    auroc: Estimate
    average_precision: Estimate
    f1: Estimate
    precision: Estimate
    recall: Estimate
    brier: Estimate
    ece: Estimate
    class_f1: Mapping[str, Estimate]
    class_names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values without NaN: undefined numbers are null, with their reason."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The main numbers as sentences for a person."""
        of_damaged = {
            "AUROC": self.auroc,
            "average precision": self.average_precision,
            "F1": self.f1,
            "precision": self.precision,
            "recall": self.recall,
            "Brier score": self.brier,
            "calibration error": self.ece,
        }
        of_class = {f"F1 of {name}": estimate for name, estimate in self.class_f1.items()}
        return [
            f"{self.n:,} buildings in {self.n_blocks:,} spatial blocks, {self.n_damaged:,} of them damaged "
            f"({self.statement}); threshold {self.threshold:.3f}",
            *(f"{name}: {estimate}" for name, estimate in (of_damaged | of_class).items()),
        ]

    def write(self, path: Path) -> None:
        """Write as JSON, atomically."""
        write_json(path, self.to_json())


@dataclass(frozen=True)
class _Sample:
    """The arrays that every metric is computed from; `classes` is -1 where the truth has no class of the scheme."""

    p_damaged: NDArray[np.float64]
    damaged: NDArray[np.bool_]
    called: NDArray[np.bool_]
    classes: NDArray[np.intp]
    decided: NDArray[np.intp]

    def take(self, rows: NDArray[np.intp]) -> "_Sample":
        return _Sample(
            self.p_damaged[rows], self.damaged[rows], self.called[rows], self.classes[rows], self.decided[rows]
        )


class _UndefinedMetricError(Exception):
    """The metric has no value on this sample; the text says why."""


def evaluate(
    probabilities: NDArray[np.float64],
    classes: NDArray[np.integer],
    damaged: NDArray[np.bool_],
    block: NDArray[np.str_],
    *,
    scheme: ClassScheme,
    threshold: float | NDArray[np.float64],
    rng: np.random.Generator,
    n_bootstrap: int = 200,
) -> Evaluation:
    """Compare calibrated probabilities with the truth.

    Neighbouring buildings are alike, so intervals come from resampling whole spatial blocks with replacement
    (percentile bootstrap); resamples on which a metric is undefined are left out.

    Args:
        probabilities: [N, C], calibrated, of held-out buildings.
        classes: [N] true class index; -1 where the truth is only damaged or not (left out of `class_f1`, `confusion`).
        damaged: [N] truth.
        block: [N] name of each building's spatial block.
        scheme: the classes.
        threshold: damaged is P(damaged) ≥ threshold; [N] for one a building, the report then has their mean.
        rng: source of the resamples.
        n_bootstrap: how many resamples; 0 for no intervals.

    Raises:
        InputError: no buildings, or arrays of different lengths.
    """
    count = len(probabilities)
    if count == 0:
        raise InputError("evaluation: no building has both a prediction and a truth that was not trained on")
    if not count == len(classes) == len(damaged) == len(block):
        raise InputError(
            f"evaluation: {count} probabilities, {len(classes)} classes, {len(damaged)} verdicts, {len(block)} blocks; "
            "one of each a building is needed"
        )
    p_damaged = damaged_probability(probabilities, scheme)
    sample = _Sample(
        p_damaged=p_damaged,
        damaged=np.asarray(damaged, dtype=bool),
        called=p_damaged >= threshold,
        classes=np.asarray(classes, dtype=np.intp),
        decided=decide(probabilities, scheme, threshold),
    )
    names, block_index = np.unique(np.asarray(block), return_inverse=True)
    metrics: dict[str, Callable[[_Sample], float]] = {
        "auroc": _auroc,
        "average_precision": _average_precision,
        "f1": _f1,
        "precision": _precision,
        "recall": _recall,
        "brier": _brier,
        "ece": _ece,
        **{f"class {name}": _class_f1(index) for index, name in enumerate(scheme.class_names)},
    }
    found = _with_intervals(sample, metrics, block_index.astype(np.intp), len(names), rng, n_bootstrap)
    known = sample.classes >= 0
    labels = np.arange(len(scheme))
    matrix = (
        confusion_matrix(sample.classes[known], sample.decided[known], labels=labels)
        if known.any()
        else np.zeros((len(scheme), len(scheme)), dtype=np.intp)
    )
    return Evaluation(
        n=count,
        n_damaged=int(sample.damaged.sum()),
        n_blocks=len(names),
        n_bootstrap=n_bootstrap,
        scheme=scheme.name,
        statement=scheme.statement,
        threshold=float(np.mean(threshold)),
        auroc=found["auroc"],
        average_precision=found["average_precision"],
        f1=found["f1"],
        precision=found["precision"],
        recall=found["recall"],
        brier=found["brier"],
        ece=found["ece"],
        class_f1={name: found[f"class {name}"] for name in scheme.class_names},
        class_names=scheme.class_names,
        confusion=tuple(tuple(int(value) for value in row) for row in matrix),
    )


def _with_intervals(
    sample: _Sample,
    metrics: Mapping[str, Callable[[_Sample], float]],
    block_index: NDArray[np.intp],
    n_blocks: int,
    rng: np.random.Generator,
    n_bootstrap: int,
) -> dict[str, Estimate]:
    members = [np.flatnonzero(block_index == block) for block in range(n_blocks)]
    values: dict[str, list[float]] = {name: [] for name in metrics}
    for _ in range(n_bootstrap if n_blocks > 1 else 0):
        drawn = rng.integers(0, n_blocks, size=n_blocks)
        resample = sample.take(np.concatenate([members[block] for block in drawn]))
        for name, metric in metrics.items():
            with suppress(_UndefinedMetricError):
                values[name].append(metric(resample))
    return {name: _estimate(sample, metric, values[name], n_blocks, n_bootstrap) for name, metric in metrics.items()}


def _estimate(
    sample: _Sample, metric: Callable[[_Sample], float], resampled: list[float], n_blocks: int, n_bootstrap: int
) -> Estimate:
    try:
        value = metric(sample)
    except _UndefinedMetricError as error:
        return Estimate(value=None, reason=str(error))
    if n_bootstrap == 0:
        return Estimate(value=value, reason="no interval: none was asked for")
    if n_blocks == 1:
        return Estimate(value=value, reason="no interval: all buildings are in one spatial block")
    if 2 * len(resampled) < n_bootstrap:
        return Estimate(
            value=value,
            reason=f"no interval: undefined on {n_bootstrap - len(resampled)} of {n_bootstrap} resamples of "
            f"{n_blocks} spatial blocks",
        )
    low, high = np.percentile(resampled, INTERVAL_PERCENTILES)
    return Estimate(value=value, low=float(low), high=float(high))


def _needs_both(sample: _Sample) -> None:
    if sample.damaged.all():
        raise _UndefinedMetricError("every building is damaged")
    if not sample.damaged.any():
        raise _UndefinedMetricError("no building is damaged")


def _auroc(sample: _Sample) -> float:
    _needs_both(sample)
    return float(roc_auc_score(sample.damaged, sample.p_damaged))


def _average_precision(sample: _Sample) -> float:
    _needs_both(sample)
    return float(average_precision_score(sample.damaged, sample.p_damaged))


def _f1(sample: _Sample) -> float:
    if not (sample.damaged.any() or sample.called.any()):
        raise _UndefinedMetricError("no building is damaged and none was called damaged")
    return _f1_of(sample.damaged, sample.called)


def _f1_of(true: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    """2·TP / (true + said), Van Rijsbergen 1979; scikit-learn's own takes a millisecond of checks each time."""
    return float(2 * (true & said).sum() / (true.sum() + said.sum()))


def _precision(sample: _Sample) -> float:
    if not sample.called.any():
        raise _UndefinedMetricError("no building was called damaged")
    return float(sample.damaged[sample.called].mean())


def _recall(sample: _Sample) -> float:
    if not sample.damaged.any():
        raise _UndefinedMetricError("no building is damaged")
    return float(sample.called[sample.damaged].mean())


def _brier(sample: _Sample) -> float:
    return float(np.mean((sample.p_damaged - sample.damaged) ** 2))


def _ece(sample: _Sample) -> float:
    """Σ_b n_b/N · |mean P(damaged) − share damaged| over 10 bins of equal width (Guo et al. 2017, eq. 3)."""
    bins = np.minimum((sample.p_damaged * ECE_BINS).astype(np.intp), ECE_BINS - 1)
    gap = np.bincount(bins, weights=sample.p_damaged - sample.damaged, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / len(bins))


def _class_f1(index: int) -> Callable[[_Sample], float]:
    def metric(sample: _Sample) -> float:
        known = sample.classes >= 0
        is_class, said_class = sample.classes[known] == index, sample.decided[known] == index
        if not (is_class.any() or said_class.any()):
            raise _UndefinedMetricError("no building is of this class and none was given it")
        return _f1_of(is_class, said_class)

    return metric
