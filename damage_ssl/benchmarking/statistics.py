"""Scores, their spread and intervals, and how much a small validation set errs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, t

Scores = NDArray[np.float64]
BOOTSTRAPS = 200
_HALF_WIDTHS = 1.96


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and standard deviation (n − 1; None for a single one) of `n` scores, and the 95 % interval of the mean.

    The interval is Student's over the seeds, widened by what other held-out blocks would change; None for one seed.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None

    def overlaps(self, other: "Spread") -> bool:
        """Whether the intervals have a value in common; without both intervals nothing is shown, so True."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return True
        return self.low <= other.high and other.low <= self.high


def auroc(score: Scores, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: the share of (positive, negative) pairs in the right order, ties counting half.

    Raises:
        ValueError: only one kind is there.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        raise ValueError("AUROC needs buildings of both kinds")
    ranks = rankdata(score)
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def spread(scores: Sequence[float], block_sd: float = 0.0) -> Spread:
    """Mean, deviation and interval of scores over seeds.

    `block_sd` is the standard error of the mean from the choice of held-out blocks (`block_error`); the two are taken
    as independent, so the half widths add as squares. Ends are not cut to [0, 1].
    """
    n = len(scores)
    average = float(np.mean(scores))
    if n < 2:
        return Spread(n=n, mean=average, sd=None, low=None, high=None)
    sd = float(np.std(scores, ddof=1))
    seeds = float(t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
    half = math.hypot(seeds, _HALF_WIDTHS * block_sd)
    return Spread(n=n, mean=average, sd=sd, low=average - half, high=average + half)


def block_error(p: Sequence[Scores], positive: NDArray[np.bool_], block: NDArray[np.str_]) -> float:
    """Standard error of the mean AUROC of some seeds from which blocks were held out: whole blocks, drawn again with
    replacement.

    Args:
        p: P(damaged) of the held-out buildings [n], one array a seed.
        positive: [n] truth.
        block: [n] names.
    """
    names, number = np.unique(block, return_inverse=True)
    rows = [np.flatnonzero(number == each) for each in range(len(names))]
    rng = np.random.default_rng(0)
    means = []
    for _ in range(BOOTSTRAPS):
        again = np.concatenate([rows[each] for each in rng.integers(len(names), size=len(names))])
        if positive[again].any() and not positive[again].all():
            means.append(float(np.mean([auroc(each[again], positive[again]) for each in p])))
    return float(np.std(means, ddof=1)) if len(means) > 1 else 0.0


@dataclass(frozen=True, kw_only=True)
class SelectionNoise:
    """What a validation set of `size` buildings would do.

    `sd`: standard deviation of one and the same model's score over such sets, mean over models. `gap`: the validation
    score of the best method minus that of the second best, on all validation buildings. `right`: how often such a set
    chooses the method that all of them choose (or one as good by them). `lost`: how much lower the held-out score of
    the chosen one is than that of the best held-out one, on average.
    """

    size: int
    sd: float
    gap: float | None
    right: float
    lost: float


def selection_noise(
    p: Mapping[str, Sequence[Scores]],
    held_out: Mapping[str, Sequence[float]],
    positive: NDArray[np.bool_],
    *,
    sizes: Sequence[int],
    draws: int,
    rng: np.random.Generator,
) -> list[SelectionNoise]:
    """Draw validation sets of each size again and again, with replacement, with the validation buildings' own share of
    damaged (one of each kind at least). All methods see the same sets.

    Args:
        p: per method and seed, P(damaged) of all validation buildings [n].
        held_out: per method and seed, the score on the held-out blocks.
        positive: [n] truth.
        sizes: buildings in a set.
        draws: sets of each size.
        rng: draws the sets.
    """
    methods = list(p)
    seeds = min(len(each) for each in p.values())
    whole = np.array([[auroc(p[method][seed], positive) for seed in range(seeds)] for method in methods])  # [M, S]
    test = np.array([[held_out[method][seed] for seed in range(seeds)] for method in methods])  # [M, S]
    ordered = np.sort(whole.mean(axis=1))[::-1]
    gap = float(ordered[0] - ordered[1]) if len(ordered) > 1 else None
    yes, no = np.flatnonzero(positive), np.flatnonzero(~positive)
    found = []
    for size in sizes:
        damaged = min(max(round(size * len(yes) / len(positive)), 1), max(size - 1, 1))
        score = np.empty((draws, len(methods), seeds))
        for each in range(draws):
            rows = np.concatenate([rng.choice(yes, damaged), rng.choice(no, max(size - damaged, 1))])
            kind = positive[rows]
            for m, method in enumerate(methods):
                score[each, m] = [auroc(p[method][seed][rows], kind) for seed in range(seeds)]
        winner = (score + 1e-9 * rng.random(score.shape)).argmax(axis=1)  # [draws, S]: ties are broken at random
        chosen = np.take_along_axis(whole, winner, axis=0)  # [draws, S]
        lost = test.max(axis=0) - np.take_along_axis(test, winner, axis=0)  # [draws, S]
        found.append(
            SelectionNoise(
                size=int(size),
                sd=float(score.std(axis=0, ddof=1).mean()),
                gap=gap,
                right=float((chosen >= whole.max(axis=0) - 1e-12).mean()),
                lost=float(lost.mean()),
            )
        )
    return found
