"""How good the assessment is, on buildings that were held out, with intervals by spatial blocks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme
from damage_ssl.errors import InputError
from damage_ssl.evaluation import intervals
from damage_ssl.evaluation.calibration import damaged_probability, decide
from damage_ssl.evaluation.intervals import Blocks, Bounds, Flags, Values
from damage_ssl.files import write_json

ECE_BINS = 10
LEAST_VALIDATED = 20


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval; `reason` says why a number is undefined (None) or has no interval."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None

    def __str__(self) -> str:
        if self.value is None:
            return f"undefined ({self.reason})"
        if self.low is None or self.high is None:
            return f"{self.value:.3f}" + (f" ({self.reason})" if self.reason else "")
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What `evaluate` found. `confusion[i][j]` counts buildings of true class i given class j, in `class_names` order.

    AUROC, average precision, F1, precision, recall, Brier score and expected calibration error are of damaged against
    not damaged, and so is `accuracy`, the share of right verdicts; `class_f1` has one entry a class.
    """

    n: int
    n_damaged: int
    n_blocks: int
    scheme: str
    statement: str
    threshold: float
    auroc: Estimate
    average_precision: Estimate
    f1: Estimate
    precision: Estimate
    recall: Estimate
    accuracy: Estimate
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
            "accuracy": self.accuracy,
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


def enough_to_validate(counts: Sequence[int]) -> bool:
    """Whether a map may be called validated: `LEAST_VALIDATED` buildings that its model has not learned from, held out
    or cross-fitted, and `intervals.LEAST` of them of each class.

    Args:
        counts: such buildings of each class.
    """
    return sum(counts) >= LEAST_VALIDATED and min(counts) >= intervals.LEAST


def evaluate(
    probabilities: NDArray[np.float64],
    classes: NDArray[np.integer],
    damaged: NDArray[np.bool_],
    block: NDArray[np.str_] | None,
    *,
    scheme: ClassScheme,
    threshold: float | NDArray[np.float64],
) -> Evaluation:
    """Compare calibrated probabilities with the truth.

    Neighbouring buildings are alike, so the intervals are wider the more the buildings of a spatial block are right or
    wrong together (`intervals`). They are of buildings of other blocks like these, not of these very buildings.

    Args:
        probabilities: [N, C], calibrated, of held-out buildings.
        classes: [N] true class index; -1 where the truth is only damaged or not (left out of `class_f1`, `confusion`).
        damaged: [N] truth.
        block: [N] name of each building's spatial block; None: no intervals.
        scheme: the classes.
        threshold: damaged is P(damaged) ≥ threshold; [N] for one a building, the report then has their mean.

    Raises:
        InputError: no buildings, arrays of different lengths, or probabilities that are no numbers.
    """
    count = len(probabilities)
    if count == 0:
        raise InputError("evaluation: no building has both a prediction and a truth that was not trained on")
    if not count == len(classes) == len(damaged) == (count if block is None else len(block)):
        raise InputError(
            f"evaluation: {count} probabilities, {len(classes)} classes, {len(damaged)} verdicts"
            f"{'' if block is None else f', {len(block)} blocks'}; one of each a building is needed"
        )
    if unknown := int((~np.isfinite(probabilities)).any(axis=1).sum()):
        raise InputError(f"evaluation: {unknown} of {count} buildings have no probability; leave them out")
    p = damaged_probability(probabilities, scheme)
    true, said = np.asarray(damaged, dtype=bool), p >= threshold
    classes, decided = np.asarray(classes, dtype=np.intp), decide(probabilities, scheme, threshold)
    names, index = np.unique(np.zeros(count, dtype=str) if block is None else block, return_inverse=True)
    sample = _Sample(index.astype(np.intp), blocks_given=block is not None)
    known = classes >= 0
    confusion = np.zeros((len(scheme), len(scheme)), dtype=np.intp)
    np.add.at(confusion, (classes[known], decided[known]), 1)
    one_kind = "every building is damaged" if true.all() else None if true.any() else "no building is damaged"
    kinds = {"damaged building": int(true.sum()), "intact building": int((~true).sum())}
    everything = np.ones(count, dtype=bool)

    def ranking(
        measure: Callable[..., tuple[float, Values]], bounds: Callable[..., Bounds], least: int = intervals.LEAST
    ) -> Estimate:
        if one_kind is not None:
            return Estimate(value=None, reason=one_kind)
        return sample.estimate(measure(p, true)[0], kinds, everything, lambda: bounds(p, true, sample.block), least)

    def f1(true: Flags, said: Flags, undefined: str) -> Estimate:
        """2·TP / (true + said) (Van Rijsbergen 1979), from the share J = TP / (true or said): F1 = 2J / (1 + J)."""
        both = sample.share(true & said, true | said, "building of the class or called so", undefined)
        ends = (None if end is None else 2 * end / (1 + end) for end in (both.value, both.low, both.high))
        return Estimate(**dict(zip(("value", "low", "high"), ends, strict=True)), reason=both.reason)

    errors = (p - true) ** 2
    return Evaluation(
        n=count,
        n_damaged=int(true.sum()),
        n_blocks=len(names),
        scheme=scheme.name,
        statement=scheme.statement,
        threshold=float(np.mean(threshold)),
        auroc=ranking(intervals.auroc, intervals.auroc_bounds),
        average_precision=ranking(intervals.mean_precision, intervals.mean_precision_bounds, 4 * intervals.LEAST),
        f1=f1(true, said, "no building is damaged and none was called damaged"),
        precision=sample.share(
            true, said, "building called damaged", "no building was called damaged", intervals.USUAL_OF_TRUTH
        ),
        recall=sample.share(said, true, "damaged building", "no building is damaged"),
        accuracy=sample.share(true == said, everything, "building", ""),
        brier=sample.estimate(
            float(errors.mean()), {"building": count}, everything, lambda: intervals.mean_bounds(errors, sample.block)
        ),
        ece=_ece(p, true, sample.block),
        class_f1={
            name: f1(
                known & (classes == each),
                known & (decided == each),
                "no building is of this class and none was given it",
            )
            for each, name in enumerate(scheme.class_names)
        },
        class_names=scheme.class_names,
        confusion=tuple(tuple(int(value) for value in row) for row in confusion),
    )


@dataclass(frozen=True)
class _Sample:
    """The spatial block of each building [N], numbered from 0."""

    block: Blocks
    blocks_given: bool

    def share(
        self, hits: Flags, of: Flags, kind: str, undefined: str, usual: float = intervals.USUAL_CORRELATION
    ) -> Estimate:
        """The share of the buildings `of` [N], which are of this kind, that are `hits` [N] too."""
        if not of.any():
            return Estimate(value=None, reason=undefined)
        counted = intervals.by_block(hits, of, self.block)
        value, every = float(hits[of].mean()), np.bincount(self.block).astype(float)
        return self.estimate(value, {kind: int(of.sum())}, of, lambda: intervals.share_bounds(*counted, usual, every))

    def estimate(
        self,
        value: float,
        counts: dict[str, int],
        of: Flags,
        bounds: Callable[[], Bounds],
        least: int = intervals.LEAST,
    ) -> Estimate:
        """The value with its bounds, or with why there are none."""
        if not self.blocks_given:
            return Estimate(value=value, reason="no interval: no spatial blocks were given")
        lacking = intervals.LEAST_BLOCKS - len(np.unique(self.block[of]))
        if reason := intervals.too_few(counts, lacking, least=least):
            return Estimate(value=value, reason=reason)
        try:
            low, high = bounds()
        except intervals.TooFewBlocksError as error:
            return Estimate(value=value, reason=intervals.too_few({}, error.more))
        return Estimate(value=value, low=low, high=high)


def _ece(p: Values, damaged: Flags, block: Blocks) -> Estimate:
    """Σ_b n_b/N · |mean P(damaged) − share damaged| over 10 bins of equal width (Guo et al. 2017, eq. 3)."""
    bins = np.minimum((p * ECE_BINS).astype(np.intp), ECE_BINS - 1)
    value = float(np.abs(np.bincount(bins, weights=p - damaged)).sum() / len(p))
    noise = intervals.calibration_noise(p, bins, block)
    return Estimate(
        value=value, reason=f"no interval: a sum of gaps that chance opens; up to {noise:.3f} if none were real"
    )
