"""95 % intervals that hold for a handful of buildings in a handful of spatial blocks.

Each is a score interval (Wilson 1927): all true values θ with |estimate - θ| ≤ t·√(φ·V(θ)), where V is the variance
that independent buildings would give, φ the design effect of the blocks, and t Student's quantile. It stays within
0 to 1, and is not a point where the sample separates perfectly. A few blocks tell next to nothing of φ, so what they
show is weighed against what is usual by empirical Bayes, with the degrees of freedom of both (Smyth 2004, Stat. Appl.
Genet. Mol. Biol. 3, 3): intraclass correlations about `USUAL_CORRELATION`. Measured by
simulation: `benchmarks/interval_coverage.py`.

statsmodels (`proportion_confint`) knows no clusters and MAPIE neither metrics nor blocks; SciPy gives the quantiles.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

USUAL_CORRELATION = 0.1
"""Mean of the correlation within blocks that is assumed before they are looked at; its prior is exponential."""

USUAL_OF_TRUTH = 0.15
"""The same of what follows the share of damaged buildings, which varies more from block to block: precision."""

Z2 = 1.959963984540054**2
"""Square of the normal quantile of 95 %."""

LEAST = 5
"""Fewer buildings of a kind are too few to say."""

LEAST_BLOCKS = 3
LEAST_DF = 8
"""With fewer degrees of freedom, of usual correlations and of what the blocks show, there is no interval."""

USUAL_OF_RANKS = 0.05
"""The same of AUROC, in which what raises all scores of a block cancels in part."""

_CORRELATIONS, _DENSITY = np.polynomial.laguerre.laggauss(24)
_RARE = 3
_PLURAL = re.compile("(?<=building)|(?<=block)")

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]
Blocks = NDArray[np.intp]
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Inflation:
    """How much larger than of independent buildings the variance is, known with so many degrees of freedom."""

    factor: float
    df: float

    @property
    def squared(self) -> float:
        """t²·φ, what a score interval widens the variance by."""
        from scipy.special import stdtrit

        return float(stdtrit(self.df, 0.975)) ** 2 * self.factor


class TooFewBlocksError(Exception):
    """So few blocks tell nothing of how alike the many buildings of a block are; `more` of them might."""

    def __init__(self, more: int) -> None:
        super().__init__(f"{more} more blocks are needed")
        self.more = more


def too_few(counts: Mapping[str, int], more_blocks: int, *, least: int = LEAST) -> str | None:
    """Why there is too little for an interval, and what would be enough; None where there is enough.

    Args:
        counts: how many there are of each kind that the metric rests on, e.g. `{"damaged building": 3}`.
        more_blocks: how many more spatial blocks are needed.
        least: how many of each kind are needed.
    """
    lacking = {kind: least - count for kind, count in counts.items() if count < least}
    if more_blocks > 0:
        lacking["spatial block"] = more_blocks
    wanted = [f"{count} more {kind if count == 1 else _PLURAL.sub('s', kind)}" for kind, count in lacking.items()]
    return f"too few to say; {' and '.join(wanted)} would be enough" if wanted else None


def by_block(hits: Flags, of: Flags, block: Blocks) -> tuple[Values, Values]:
    """In each block [B]: how many of the buildings `of` [N] are `hits` [N] too, and how many there are."""
    return np.bincount(block, hits & of).astype(float), np.bincount(block, of).astype(float)


def share_inflation(
    hits: Values, of: Values, usual: float = USUAL_CORRELATION, every: Values | None = None
) -> Inflation:
    """Design effect of the share Σ hits / Σ of, a ratio of sums over blocks (Cochran 1977, eq. 6.13).

    Args:
        hits: [B] in each block.
        of: [B] buildings that the share is of, in each block.
        usual: the mean of the correlation that is assumed.
        every: [B] all buildings in each block; None: those that the share is of are all.
    """
    every = of if every is None else every
    hits, of = hits[of > 0], of[of > 0]
    total, blocks = float(of.sum()), len(of)
    centre = (hits.sum() + 0.5) / (total + 1)  # never 0 or 1
    found = np.sum((hits - centre * of) ** 2) / (centre * (1 - centre) * total)
    return _inflation(found * blocks / max(blocks - 1, 1), of, usual=usual, every=every)


def share_bounds(hits: Values, of: Values, usual: float = USUAL_CORRELATION, every: Values | None = None) -> Bounds:
    """Bounds of Σ hits / Σ of; arrays as in `share_inflation`. Each building a block of its own: Wilson's interval."""
    inflation = share_inflation(hits, of, usual, every)
    return wilson_bounds(float(hits.sum() / of.sum()), float(of.sum()), inflation.squared)


def wilson_bounds(value: float, n: float, t2: float) -> Bounds:
    """(p + t²/2n ± t·√(p(1 - p)/n + t²/4n²)) / (1 + t²/n) (Wilson 1927, JASA 22, p. 209); `t2` is t².

    Where at most three are hits, or all but three, the bound on that side is Poisson's, as Wilson's then covers too
    seldom (Brown, Cai & DasGupta 2001, Stat. Sci. 16, p. 112); it is 0 or 1 only where none are, or all.
    """
    from scipy.special import gammaincinv

    middle, half = value + t2 / (2 * n), float(np.sqrt(t2 * (value * (1 - value) / n + t2 / (4 * n**2))))
    low, high = (middle - half) / (1 + t2 / n), (middle + half) / (1 + t2 / n)
    alike = n * Z2 / t2  # so many independent buildings tell as much
    hits, others = alike * value, alike * (1 - value)
    if hits <= min(_RARE, others):
        low = min(low, float(gammaincinv(hits, 0.05)) / alike) if hits > 0 else 0.0
    if others <= min(_RARE, hits):
        high = max(high, 1 - float(gammaincinv(others, 0.05)) / alike) if others > 0 else 1.0
    return max(low, 0.0), min(high, 1.0)


def mean_bounds(values: Values, block: Blocks) -> Bounds:
    """Bounds of the mean of values between 0 and 1 [N], a share of less variance.

    Half a building at 0 and half a one at 1 are counted in, for the large errors that a small sample has not shown.
    """
    n, mean = len(values), float(values.mean())
    centre = (values.sum() + 0.5) / (n + 1)
    variance = (np.sum((values - centre) ** 2) + 0.5 * (centre**2 + (1 - centre) ** 2)) / (n + 1)
    of = np.bincount(block).astype(float)
    sums = np.bincount(block, values - centre)[of > 0]
    found = float(np.sum(sums**2) / (n * variance)) * len(sums) / max(len(sums) - 1, 1)
    inflation = _inflation(found, of[of > 0], rough=0.3)
    return wilson_bounds(mean, n * centre * (1 - centre) / variance, inflation.squared)


def auroc(p: Values, damaged: Flags) -> tuple[float, Values]:
    """AUROC, and each building's placement [N]: the share of the other kind that it is ranked rightly against.

    Ties count half (DeLong et al. 1988, Biometrics 44, p. 837), by ranks: O(N log N).
    """
    from scipy.stats import rankdata

    ranks, n_damaged, n_intact = rankdata(p), int(damaged.sum()), int((~damaged).sum())
    placement = np.empty(len(p))
    placement[damaged] = (ranks[damaged] - rankdata(p[damaged])) / n_intact
    placement[~damaged] = 1 - (ranks[~damaged] - rankdata(p[~damaged])) / n_damaged
    return float(placement[damaged].mean()), placement


def auroc_bounds(p: Values, damaged: Flags, block: Blocks) -> Bounds:
    """Newcombe's score interval of the AUROC (2006, Stat. Med. 25, p. 559, method 5), by blocks.

    Its variance is that of Hanley & McNeil (1982) in the true AUROC; the design effect is the cluster-robust DeLong
    variance (Obuchowski 1997, Biometrics 53, p. 567) over it.

    Args:
        p: [N] P(damaged).
        damaged: [N] truth, of both kinds.
        block: [N] 0 to B - 1.
    """
    value, placement = auroc(p, damaged)
    n_damaged, n_intact = int(damaged.sum()), int((~damaged).sum())
    half = (n_damaged + n_intact) / 2

    def variance(true: float) -> float:
        odds = (1 - true) / (2 - true) + true / (1 + true)
        return true * (1 - true) * (1 + (half - 1) * odds) / (n_damaged * n_intact)

    weight = np.where(damaged, 1 / n_damaged, 1 / n_intact)
    sums = np.bincount(block, (placement - value) * weight)
    of_kind = np.stack([np.bincount(block[kind], minlength=len(sums)) for kind in (damaged, ~damaged)])
    sums, of_kind = sums[of_kind.any(axis=0)], of_kind[:, of_kind.any(axis=0)]
    found = float(np.sum(sums**2)) * len(sums) / max(len(sums) - 1, 1) / variance((value * half + 0.5) / (half + 1))
    widened = _inflation(found, of_kind, rough=0.3, usual=USUAL_OF_RANKS, every=np.bincount(block)).squared
    return _score_bounds(value, lambda true: widened * variance(true))


def mean_precision(p: Values, damaged: Flags) -> tuple[float, Values]:
    """Average precision, and what each building adds to it [N] (its influence: the derivative by its weight)."""
    _, place, count = np.unique(-p, return_inverse=True, return_counts=True)  # likeliest first
    hits = np.bincount(place, damaged, minlength=len(count))
    called = count.cumsum()
    precision = hits.cumsum() / called
    value = float((hits * precision).sum() / hits.sum())
    gained, lost = ((part / called)[::-1].cumsum()[::-1][place] for part in (hits, hits * precision))
    return value, damaged * (precision[place] - value + gained) - lost


def mean_precision_bounds(p: Values, damaged: Flags, block: Blocks) -> Bounds:
    """Bounds of average precision, a share of the damaged buildings (Boyd, Eng & Page 2013, ECML, section 3.1)."""
    value, influence = mean_precision(p, damaged)
    of = np.bincount(block[damaged], minlength=int(block.max()) + 1).astype(float)
    n, blocks = float(of.sum()), len(np.unique(block))
    centre = (value * n + 0.5) / (n + 1)
    found = float(np.sum(np.bincount(block, influence) ** 2)) / (n * centre * (1 - centre)) * blocks / (blocks - 1)
    return wilson_bounds(value, n, _inflation(found, of[of > 0], rough=0.7, every=np.bincount(block)).squared)


def paired_bounds(difference: float, influence: Values, block: Blocks) -> Bounds:
    """Bounds of the difference between two measures of the same buildings, between -1 and 1: Student's.

    Args:
        difference: of the two.
        influence: [N] what each building adds to it, of sum 0 (DeLong et al. 1988 do so for AUROC).
        block: [N].
    """
    sums, of = np.bincount(block, influence), np.bincount(block)
    variance = float(np.sum(influence**2))
    found = float(np.sum(sums**2)) / variance * int((of > 0).sum()) / max(int((of > 0).sum()) - 1, 1)
    half = float(np.sqrt(_inflation(found, of[of > 0], rough=0.3).squared * variance))
    return max(difference - half, -1.0), min(difference + half, 1.0)


def calibration_noise(p: Values, bins: Blocks, block: Blocks) -> float:
    """The expected calibration error that a perfectly calibrated map stays below in 95 of 100 such samples.

    Σ |gap| over bins whose gaps are normal about 0 with the variance Σ p(1 - p) / N², times the usual design effect:
    mean √(2/π)·Σσ, variance (1 - 2/π)·Σσ² (Bröcker & Smith 2007, Weather Forecast. 22, p. 651, for the idea).
    """
    cell = np.unique(bins * (int(block.max()) + 1) + block, return_inverse=True)[1]
    pairs = np.bincount(bins, np.bincount(cell)[cell]) / np.maximum(np.bincount(bins), 1)
    inflated = np.bincount(bins, p * (1 - p)) * (1 + USUAL_CORRELATION * np.maximum(pairs - 1, 0)) / len(p) ** 2
    mean = np.sqrt(2 / np.pi) * np.sqrt(inflated).sum()
    return float(mean + 1.645 * np.sqrt((1 - 2 / np.pi) * inflated.sum()))


def difference_p(one: tuple[Values, Values], other: tuple[Values, Values]) -> float:
    """Two-sided p value of no difference between two shares, each (hits, of) by block; Student's by the blocks."""
    from scipy.special import stdtr

    shares, variance, df = [], 0.0, np.inf
    for hits, of in (one, other):
        inflation, n = share_inflation(hits, of), float(of.sum())
        centre = (hits.sum() + 0.5) / (n + 1)
        variance += inflation.factor * centre * (1 - centre) / n
        df = min(df, inflation.df)
        shares.append(centre)
    return float(2 * stdtr(df, -abs(shares[0] - shares[1]) / np.sqrt(variance)))


def _inflation(
    found: float,
    of: NDArray[np.generic],
    *,
    rough: float = 0.0,
    usual: float = USUAL_CORRELATION,
    every: NDArray[np.generic] | None = None,
) -> Inflation:
    """Weigh the ratio of variances that the blocks show against the one that is usual.

    The usual one is 1 + (m - 1)·ρ over the prior of ρ, as the inverse χ² whose logarithm has its mean and variance
    (Smyth 2004, section 6.2). The degrees of freedom of the blocks are (Σv)²/Σv² - 1, v the variance that is to be
    expected of each (Satterthwaite 1946).

    Args:
        found: ratio of the variance between blocks to that of independent buildings.
        of: [B] or [K, B] buildings in each block (of each of K kinds that weigh alike).
        rough: coefficient of variation of the true variance of independent buildings about the one that is worked with;
            0 where that is exact.
        usual: mean of the prior of ρ.
        every: [B] all buildings in each block, None where `of` are all. Whether there are blocks enough is asked of
            these: of the few that happen to be called damaged in one sample of many, the odd samples would pass.

    Raises:
        TooFewBlocksError: `LEAST_DF` are not reached.
    """
    size, shown_df = _blocks(of, usual)
    all_size, all_df = _blocks(of if every is None else every, usual)
    own_df, most_df = (_usual_inflation(each, 0.0, usual)[1] for each in (size, all_size))
    if (lacking := LEAST_DF - min(own_df + shown_df, most_df + all_df)) > 0:
        raise TooFewBlocksError(ceil(lacking))
    usual_factor, usual_df = _usual_inflation(size, rough, usual)
    usual_df = min(usual_df, most_df)
    factor = (usual_df * usual_factor + shown_df * found) / (usual_df + shown_df)
    return Inflation(max(factor, 1.0) if rough == 0 else factor, usual_df + shown_df)


def _blocks(of: NDArray[np.generic], usual: float) -> tuple[float, float]:
    """Buildings in the block of a building, and the degrees of freedom of the blocks."""
    sizes = np.atleast_2d(of).astype(float)
    totals = sizes.sum(axis=1, keepdims=True)
    expected = ((sizes + usual * sizes * (sizes - 1)) / totals**2).sum(axis=0)
    size = ((sizes / totals) ** 2).sum() / (1 / totals).sum()
    return float(size), float(expected.sum() ** 2 / (expected**2).sum()) - 1


def _usual_inflation(size: float, rough: float, usual: float) -> tuple[float, float]:
    """Mean and degrees of freedom of the usual ratio where a building's block has so many."""
    from scipy.special import digamma

    logs = np.log1p(usual * _CORRELATIONS * (size - 1))
    middle = float(_DENSITY @ logs)
    spread = float(_DENSITY @ (logs - middle) ** 2) + rough**2
    half_df = (1 + np.sqrt(1 + 2 * spread)) / (2 * max(spread, 1e-9))  # trigamma(x) is nearly 1/x + 1/2x²
    return float(np.exp(middle + digamma(half_df) - np.log(half_df))), 2 * float(half_df)


def _score_bounds(value: float, variance: Callable[[float], float]) -> Bounds:
    """The true values at which (value - θ)² = variance(θ), one on each side."""
    from scipy.optimize import brentq

    def beyond(true: float) -> float:
        return (value - true) ** 2 - variance(true)

    low = 0.0 if value <= 0 else float(brentq(beyond, 0.0, value - 1e-9 * value, xtol=1e-9))
    high = 1.0 if value >= 1 else float(brentq(beyond, value + 1e-9 * (1 - value), 1.0, xtol=1e-9))
    return low, high
