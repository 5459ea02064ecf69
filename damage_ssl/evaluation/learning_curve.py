"""What the next labels would bring, extrapolated from how the linear probe has learned so far. Needs no torch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from damage_ssl.evaluation.label_issues import labelled_blocks
from damage_ssl.files import read_json
from damage_ssl.learning.features.linear_probe import fit_linear_probe

LEAST_PER_CLASS = 8
LEAST_BLOCKS = 4
REPEATS = 12
HELD_OUT = 0.3
STEPS = 4
MOST_LABELS = 400
"""Of more labels a random part is looked at: by then the curve is flat, and fits would take seconds."""

MORE = 10
"""The next labels whose gain is told."""

_SMALLEST = 6
_INTERVAL = (10.0, 90.0)


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """What is known of the next labels.

    `score` is the balanced accuracy (mean share of each class that is found) with the labels there are, 0.5 for
    guessing; `gain` is what `more` labels would add to it, `gain_low` to `gain_high` the middle 80 % over repetitions.
    `curve` has (labels learned from, score). All None, and `curve` empty, where `reason` says why there is no telling.
    """

    labels: int
    more: int
    score: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    curve: tuple[tuple[int, float], ...] = ()
    reason: str = ""

    @property
    def known(self) -> bool:
        """True where there is an estimate."""
        return self.gain is not None


def read_curve(path: Path) -> LearningCurve | None:
    """A learning curve that was written as JSON; None where there is none that can be read."""
    try:
        kept = read_json(path)
        curve = tuple((int(labels), float(score)) for labels, score in kept["curve"])
        return LearningCurve(**{**kept, "curve": curve})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def outlook(
    features: NDArray[np.float32],
    classes: NDArray[np.int64],
    x_m: NDArray[np.float64],
    y_m: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    more: int = MORE,
    block_m: float = 150.0,
) -> LearningCurve:
    """Estimate how much better the linear probe would be with `more` labels.

    `REPEATS` times, whole spatial blocks with about `HELD_OUT` of the labels are set aside so that each class is on
    both sides; the model learns from growing random parts of the others and is scored on those set aside. Scores at
    m labels are taken to follow a - b / √m (the decay of a linear model's estimation error), with b ≥ 0; a and b are
    the least squares fit of each repetition, the estimate is b (1/√n - 1/√(n + more)) at all n labels. Its spread over
    repetitions is that of the blocks and draws, not of labelling errors, and says nothing of another, larger model.

    Args:
        features: of the labelled buildings [n, D], standardised.
        classes: their classes [n], 0 to C - 1.
        x_m: easting in one projected CRS [n], metres.
        y_m: northing [n], metres.
        rng: draws blocks and parts.
        more: how many more labels.
        block_m: width of the spatial blocks; halved where there are too few.
    """
    count = len(classes)
    if reason := _too_few(classes):
        return LearningCurve(labels=count, more=more, reason=reason)
    if count > MOST_LABELS:
        kept = np.sort(rng.choice(count, MOST_LABELS, replace=False))
        features, classes, x_m, y_m = features[kept], classes[kept], x_m[kept], y_m[kept]
    block = np.unique(labelled_blocks(x_m, y_m, block_m), return_inverse=True)[1]
    if block.max() + 1 < LEAST_BLOCKS:
        return LearningCurve(labels=count, more=more, reason="the labels lie too close together")
    curves = [curve for _ in range(REPEATS) if (curve := _curve(features, classes, block, rng)) is not None]
    if len(curves) < REPEATS // 2:
        return LearningCurve(
            labels=count, more=more, reason="the damaged and the intact lie in different parts of the event"
        )
    fits = np.array([_fit(*curve) for curve in curves])  # [R, 2]
    slopes = fits[:, 1]
    score = float(np.clip((fits[:, 0] - slopes * count**-0.5).mean(), 0.0, 1.0))
    gains = np.minimum(slopes * (count**-0.5 - (count + more) ** -0.5), 1.0 - score)  # nothing is better than all right
    low, high = np.percentile(gains, _INTERVAL)
    return LearningCurve(
        labels=count,
        more=more,
        score=score,
        gain=float(gains.mean()),
        gain_low=float(low),
        gain_high=float(high),
        curve=tuple(_mean_curve(curves)),
    )


def _too_few(classes: NDArray[np.int64]) -> str:
    """Why so few labels tell nothing; empty where they may."""
    present, per_class = np.unique(classes, return_counts=True)
    few = len(present) < 2 or per_class.min() < LEAST_PER_CLASS
    return f"it takes {LEAST_PER_CLASS} of each of two classes" if few else ""


def _curve(
    features: NDArray[np.float32], classes: NDArray[np.int64], block: NDArray[np.intp], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Numbers of labels and scores at them [S] of one repetition; None where a class is missing on a side."""
    held = np.zeros(len(classes), dtype=bool)
    for each in rng.permutation(block.max() + 1):
        if held.mean() >= HELD_OUT:
            break
        held |= block == each
    present = np.unique(classes)
    if any(len(np.unique(classes[side])) < len(present) for side in (held, ~held)):
        return None
    order = _alternating(classes, rng.permutation(np.flatnonzero(~held)))
    sizes = np.unique(np.rint(np.geomspace(min(_SMALLEST, len(order)), len(order), STEPS)).astype(np.intp))
    rows = np.flatnonzero(held)
    scores = []
    for size in sizes:
        taken = order[:size]
        learned = np.unique(classes[taken])
        if len(learned) < 2:
            return None
        stacked = np.concatenate([features[taken], features[rows]])
        said = fit_linear_probe(stacked, np.arange(size), classes[taken])[size:].argmax(axis=1)
        scores.append(np.mean([(said[classes[rows] == each] == each).mean() for each in present]))
    if len(sizes) < 2:
        return None
    return sizes.astype(np.float64), np.array(scores)


def _alternating(classes: NDArray[np.int64], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows in an order whose every beginning has classes in nearly the shares of all, each class at least once."""
    place = np.empty(len(rows))
    for each in np.unique(classes[rows]):
        of_class = np.flatnonzero(classes[rows] == each)
        place[of_class] = np.arange(len(of_class)) / len(of_class)
    return rows[np.argsort(place, kind="stable")]


def _fit(sizes: NDArray[np.float64], scores: NDArray[np.float64]) -> tuple[float, float]:
    """a and b ≥ 0 of score = a - b / √size, by least squares."""
    inverse = sizes**-0.5
    away = inverse - inverse.mean()
    slope = max(0.0, float(-(away @ (scores - scores.mean())) / (away @ away)))
    return float(scores.mean() + slope * inverse.mean()), slope


def _mean_curve(curves: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> list[tuple[int, float]]:
    """Mean labels and score of the first, second … step over the repetitions that have as many steps as most."""
    steps = max(len(sizes) for sizes, _ in curves)
    full = [curve for curve in curves if len(curve[0]) == steps]
    sizes, scores = (np.mean([curve[part] for curve in full], axis=0) for part in (0, 1))
    return [(round(float(size)), float(score)) for size, score in zip(sizes, scores, strict=True)]
