"""95 % intervals that hold for a handful of buildings in a handful of spatial blocks.

Each is a score interval (Wilson 1927): all true values θ with |estimate - θ| ≤ t·√(φ·V(θ)), where V is the variance
that independent buildings would give, φ the design effect of the blocks, and t Student's quantile. It stays within
0 to 1, and is not a point where the sample separates perfectly. A few blocks tell next to nothing of φ, so what they
show is weighed against what is usual by empirical Bayes, with the degrees of freedom of both (Smyth 2004, Stat. Appl.
Genet. Mol. Biol. 3, 3): intraclass correlations of `USUAL_CORRELATION`, give or take as much. Measured by
simulation: `benchmarks/interval_coverage.py`.

statsmodels (`proportion_confint`) knows no clusters and MAPIE neither metrics nor blocks; SciPy gives the quantiles.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammaincinv, stdtr, stdtrit
from scipy.stats import rankdata

USUAL_CORRELATION = 0.05
"""Mean and standard deviation of the correlation within blocks that is assumed before the blocks are looked at."""

LEAST = 5
"""Fewer buildings of a kind are too few to say."""

LEAST_BLOCKS = 3

_RARE = 3
_Z2 = 1.959963984540054**2

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
        return float(stdtrit(self.df, 0.975)) ** 2 * self.factor


def too_few(counts: dict[str, int], blocks: int) -> str | None:
    """Why there is too little for an interval, and what would be enough; None where there is enough.

    Args:
        counts: how many buildings of each kind that the metric rests on, e.g. `{"damaged buildings": 3}`.
        blocks: how many spatial blocks they lie in.
    """
    wanted = [f"{LEAST - count} more {kind}" for kind, count in counts.items() if count < LEAST]
    if blocks < LEAST_BLOCKS:
        more = LEAST_BLOCKS - blocks
        wanted.append(f"buildings in {more} more spatial block{'s' if more > 1 else ''}")
    return f"too few to say: {' and '.join(wanted)} would be enough" if wanted else None


def share_inflation(hits: Values, of: Values) -> Inflation:
    """Design effect of the share Σ hits / Σ of, a ratio of sums over blocks (Cochran 1977, eq. 6.13).

    Args:
        hits: [B] in each block.
        of: [B] buildings that the share is of, in each block.
    """
    hits, of = hits[of > 0], of[of > 0]
    total, blocks = float(of.sum()), len(of)
    centre = (hits.sum() + 0.5) / (total + 1)  # never 0 or 1
    found = np.sum((hits - centre * of) ** 2) / (centre * (1 - centre) * total)
    return _inflation(found * blocks / max(blocks - 1, 1), of)


def share_bounds(hits: Values, of: Values) -> Bounds:
    """Bounds of Σ hits / Σ of; arrays as in `share_inflation`. Each building a block of its own: Wilson's interval."""
    return wilson_bounds(float(hits.sum() / of.sum()), float(of.sum()), share_inflation(hits, of).squared)


def wilson_bounds(value: float, n: float, t2: float) -> Bounds:
    """(p + t²/2n ± t·√(p(1 - p)/n + t²/4n²)) / (1 + t²/n) (Wilson 1927, JASA 22, p. 209); `t2` is t².

    Where at most three are hits, or all but three, the bound on that side is Poisson's, as Wilson's then covers too
    seldom (Brown, Cai & DasGupta 2001, Stat. Sci. 16, p. 112); it is 0 or 1 only where none are, or all.
    """
    middle, half = value + t2 / (2 * n), float(np.sqrt(t2 * (value * (1 - value) / n + t2 / (4 * n**2))))
    low, high = (middle - half) / (1 + t2 / n), (middle + half) / (1 + t2 / n)
    alike = n * _Z2 / t2  # so many independent buildings tell as much
    hits, others = alike * value, alike * (1 - value)
    if hits <= _RARE:
        low = min(low, float(gammaincinv(hits, 0.05)) / alike) if hits > 0 else 0.0
    if others <= _RARE:
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
    widened = _inflation(found, of_kind, rough=0.3).squared
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
    return wilson_bounds(value, n, _inflation(found, of[of > 0], rough=1.0).squared)


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
    shares, variance, df = [], 0.0, np.inf
    for hits, of in (one, other):
        inflation, n = share_inflation(hits, of), float(of.sum())
        centre = (hits.sum() + 0.5) / (n + 1)
        variance += inflation.factor * centre * (1 - centre) / n
        df = min(df, inflation.df)
        shares.append(centre)
    return float(2 * stdtr(df, -abs(shares[0] - shares[1]) / np.sqrt(variance)))


def _inflation(found: float, of: NDArray[np.generic], *, rough: float = 0.0) -> Inflation:
    """Weigh the ratio of variances that the blocks show against the one that is usual.

    The usual one is the mean of 1 + (m - 1)·ρ over the prior of ρ; its degrees of freedom follow from its spread, by
    the moments of an inverse χ² (variance over mean² is 2/(ν - 4)). Those of the blocks are (Σv)²/Σv² - 1, v the
    variance that is to be expected of each (Satterthwaite 1946).

    Args:
        found: ratio of the variance between blocks to that of independent buildings.
        of: [B] or [K, B] buildings in each block (of each of K kinds that weigh alike).
        rough: coefficient of variation of the true variance of independent buildings about the one that is worked with;
            0 where that is exact.
    """
    sizes = np.atleast_2d(of).astype(float)
    totals = sizes.sum(axis=1, keepdims=True)
    size = float(((sizes / totals) ** 2).sum() / (1 / totals).sum())  # buildings in a building's block
    expected = ((sizes + USUAL_CORRELATION * sizes * (sizes - 1)) / totals**2).sum(axis=0)
    shown_df = float(expected.sum() ** 2 / (expected**2).sum()) - 1
    usual = 1 + USUAL_CORRELATION * (size - 1)
    spread = ((usual - 1) / usual) ** 2 + rough**2
    usual_df = 4 + 2 / max(spread, 1e-6)
    factor = (usual_df * usual + shown_df * found) / (usual_df + shown_df)
    return Inflation(max(factor, 1.0) if rough == 0 else factor, usual_df + shown_df)


def _score_bounds(value: float, variance: Callable[[float], float]) -> Bounds:
    """The true values at which (value - θ)² = variance(θ), one on each side."""

    def beyond(true: float) -> float:
        return (value - true) ** 2 - variance(true)

    low = 0.0 if value <= 0 else float(brentq(beyond, 0.0, value - 1e-9 * value, xtol=1e-9))
    high = 1.0 if value >= 1 else float(brentq(beyond, value + 1e-9 * (1 - value), 1.0, xtol=1e-9))
    return low, high
