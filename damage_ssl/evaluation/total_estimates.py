"""Totals from random answers, with bounds that cover, helped by a model where it helps. Arrays in, values out.

The buildings are parted by what the model says of them, and the share of damaged is taken in each part: the
post-stratified estimator, which is the regression estimator (GREG) with the parts as auxiliary variables (Särndal,
Swensson & Wretman 1992, §7.6). A model that knows nothing leaves the parts alike and costs nothing, and one that is
biased is put right by the answers: what tuning λ does in PPI++ (Angelopoulos, Duchi & Zrnic 2023, arXiv:2311.01453).
`ppi-python` was looked at and does not serve: its intervals are for the mean of an infinite population by the normal
law, and have no width where a model is right on every answer (`benchmarks/total_coverage.py` shows its coverage
beside ours). `samplics` and `statsmodels` have no such bound for a sum over parts either.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damage_ssl.evaluation.random_sample import RandomSample

LEAST_ANSWERS = 10
"""Fewer random answers say too little of anything."""
LEAST_CLUSTERS = 5
"""Fewer draws of tiles do not tell how much tiles differ."""
LEAST_IN_PART = 5
_PARTS_FROM = (16, 40, 100, 250)
"""From so many answers on the buildings are in two parts, three …"""

_TAIL = 0.025
Z95 = 1.959963984540054
_CERTAIN = 1e12


def mid_p_bounds(hits: NDArray[np.float64], n: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mid-P interval of a share at 95 %, whose coverage is close to what it says also for small n.

    Clopper and Pearson's, with half of the probability of what was seen (Lancaster 1961, JASA 56, p. 223; Brown, Cai &
    DasGupta 2001, Statist. Sci. 16, p. 115). The binomial sums are incomplete beta functions, so that hits and n need
    not be whole: they are effective numbers in a sample with clusters or weights (Korn & Graubard 1998, Survey
    Methodology 24, p. 193).

    Args:
        hits: [K], 0 to n.
        n: [K], more than 0.

    Returns:
        Lower and upper bound, [K] each: 0 where nothing was hit, 1 where everything was.
    """
    from scipy.special import betainc

    hits, n = np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64)
    rest = np.maximum(n - hits, 0.0)
    some, lacking = hits > 1e-9, rest > 1e-9
    some_hits, some_rest = np.where(some, hits, 1.0), np.where(lacking, rest, 1.0)
    target = np.stack([np.full(hits.shape, _TAIL), np.full(hits.shape, 1 - _TAIL)])
    low, high = np.zeros(target.shape), np.ones(target.shape)
    for _ in range(28):
        p = (low + high) / 2
        more = np.where(lacking, betainc(hits + 1, some_rest, p), 0.0)
        as_many = np.where(some, betainc(some_hits, rest + 1, p), 1.0)
        below = (more + as_many) / 2 < target
        low, high = np.where(below, p, low), np.where(below, high, p)
    return np.where(some, low[0], 0.0), np.where(lacking, high[1], 1.0)


def score_parts(score: NDArray[np.float64] | None, sample: RandomSample) -> NDArray[np.intp]:
    """In which part each building is, [N], of those that a score tells apart best; one part without a score.

    The parts differ as much as they can (Dalenius's problem, solved by Lloyd's iteration on the sorted scores: for
    probabilities this leaves the least variance within). Each holds five random answers or more, else it is joined to
    its smaller neighbour; the answers themselves are not looked at.
    """
    parts = 1 + int(np.searchsorted(_PARTS_FROM, sample.clusters, side="right"))
    if score is None or parts == 1 or not np.isfinite(score).any():
        return np.zeros(sample.size, dtype=np.intp)
    filled = np.where(np.isfinite(score), score, np.nanmedian(score))
    edges = np.unique(_lloyd_edges(np.sort(filled), parts)).tolist()
    while edges:
        part = np.searchsorted(edges, filled, side="right")
        count = np.bincount(part[sample.row], minlength=len(edges) + 1)
        fewest = int(count.argmin())
        if count[fewest] >= LEAST_IN_PART:
            return np.asarray(part, dtype=np.intp)
        left = fewest == len(edges) or (fewest > 0 and count[fewest - 1] <= count[fewest + 1])
        edges.pop(fewest - 1 if left else fewest)
    return np.zeros(sample.size, dtype=np.intp)


def _lloyd_edges(ordered: NDArray[np.float64], parts: int) -> NDArray[np.float64]:
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    centre = np.linspace(ordered[0], ordered[-1], 2 * parts + 1)[1::2]
    for _ in range(20):
        cut = np.searchsorted(ordered, (centre[1:] + centre[:-1]) / 2)
        ends = np.concatenate([[0], cut, [len(ordered)]])
        held = np.diff(ends)
        centre = np.where(held > 0, np.diff(sums[ends]) / np.maximum(held, 1), centre)
    return np.asarray((centre[1:] + centre[:-1]) / 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class TotalEstimate:
    """An estimated total of buildings with its bounds, and the shares [H] in the parts that it was put together of."""

    value: float
    low: float
    high: float
    share: NDArray[np.float64]
    effective: NDArray[np.float64]
    """[H] answers that a simple random sample as sure would have."""

    @property
    def parts(self) -> int:
        """How many parts."""
        return len(self.share)


def too_few(sample: RandomSample) -> str | None:
    """Why a sample says too little, with what would be enough; None where it says something."""
    if sample.n < LEAST_ANSWERS:
        more = LEAST_ANSWERS - sample.n
        return f"too few to say: {sample.n} random answers; {more} more would give bounds"
    if sample.is_clustered and sample.clusters < LEAST_CLUSTERS:
        more = LEAST_CLUSTERS - sample.clusters
        return f"too few to say: {sample.clusters} random tiles; {more} more would give bounds"
    return None


def estimate_total(sample: RandomSample, truth: NDArray[np.float64], part: NDArray[np.intp]) -> TotalEstimate:
    """How many of the buildings are so, from random answers in parts.

    Each part's share has a mid-P interval on its effective answers: fewer where weights or clusters make them worth
    less (design effect by the variance between clusters, linearised; Student's t by their number), more where most of
    a finite part was asked. The intervals are combined as independent ones of a sum: the squares of their upper and of
    their lower arms add up (Zou, Huang & Zhang 2009, Comput. Statist. Data Anal. 53, p. 1080), which never gives a
    width of nothing. The bounds are kept within what was seen and what exists.

    Args:
        sample: with `too_few` answered None, and answers in every part.
        truth: [N] 1 where a known building is so, 0 where it is not, NaN where nobody knows.
        part: [N] 0 to H - 1 (`score_parts`).
    """
    y, of, weight = truth[sample.row], part[sample.row], sample.weight
    parts = int(part.max(initial=0)) + 1
    left, known = _left_and_known(sample, truth, part)
    pull = weight * left
    total_weight = np.bincount(of, weight, minlength=parts)
    count = np.bincount(of, pull, minlength=parts) / total_weight
    share = np.bincount(of, pull * y, minlength=parts) / np.maximum(np.bincount(of, pull, minlength=parts), 1e-300)
    before = float(np.nansum(np.bincount(of, weight * known, minlength=parts) / total_weight))
    effective = _effective_answers(sample, y, of, share, count)
    lower, upper = mid_p_bounds(share * effective, effective)
    value = before + float((count * share).sum())
    low = value - float(np.sqrt(((count * (share - lower)) ** 2).sum()))
    high = value + float(np.sqrt(((count * (upper - share)) ** 2).sum()))
    seen, most = float((truth == 1).sum()), float(sample.size - (truth == 0).sum())
    bounds = np.clip([np.floor(low + 1e-6), value, np.ceil(high - 1e-6)], seen, most).tolist()
    return TotalEstimate(low=bounds[0], value=bounds[1], high=bounds[2], share=share, effective=effective)


def _left_and_known(
    sample: RandomSample, truth: NDArray[np.float64], part: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each draw's own part: how many buildings were not known otherwise then, and how many of those known are so."""
    of = part[sample.row]
    left, known = np.bincount(part)[of].astype(np.float64), np.zeros(sample.n)
    for each in np.unique(of):
        rows = sample.known_row[part[sample.known_row] == each]
        at = sample.known_at[part[sample.known_row] == each]
        order = np.argsort(at, kind="stable")
        so_far = np.concatenate([[0.0], np.cumsum(truth[rows[order]])])
        mine = of == each
        before = np.searchsorted(at[order], sample.after[mine])
        left[mine] -= before
        known[mine] = so_far[before]
    return left, known


def _effective_answers(
    sample: RandomSample,
    y: NDArray[np.float64],
    of: NDArray[np.intp],
    share: NDArray[np.float64],
    count: NDArray[np.float64],
) -> NDArray[np.float64]:
    """[H] answers of a simple random sample without end that would be as sure."""
    parts = len(share)
    answers = np.bincount(of, minlength=parts)
    total_weight = np.bincount(of, sample.weight, minlength=parts)
    kish = total_weight**2 / np.bincount(of, sample.weight**2, minlength=parts)
    if sample.has_equal_chances and not sample.is_clustered:
        asked = np.minimum(answers / np.maximum(count, answers), 1.0)
        return np.where(asked < 1, kish / np.maximum(1 - asked, 1 / _CERTAIN), _CERTAIN)
    spread = sample.weight * (count / total_weight)[of] * (y - share[of])
    draws = sample.clusters
    between = float((np.bincount(sample.cluster, spread) ** 2).sum()) * draws / max(draws - 1, 1)
    plain = float((count**2 * share * (1 - share) / kish).sum())
    effect = max(between / plain, 1.0) if plain > 0 else sample.n / draws
    return kish / effect * ((Z95 / t95(draws - 1)) ** 2 if sample.is_clustered else 1.0)


def t95(degrees: int) -> float:
    """Student's t at 97.5 %."""
    from scipy.special import stdtrit

    return float(stdtrit(max(degrees, 1), 1 - _TAIL))


def answers_for(within: float, estimate: TotalEstimate, sample: RandomSample) -> int | None:
    """How many more random answers would tell the total to ± `within` of itself; None where nobody can say yet.

    The variance of a total falls with 1/n - 1/N; the half-width now says how large it is.
    """
    half, n = (estimate.high - estimate.low) / 2, sample.n
    if estimate.value <= 0 or n >= sample.size:
        return None if estimate.value <= 0 else 0
    if half <= within * estimate.value:
        return 0
    spread = (half / estimate.value) ** 2 / (1 / n - 1 / sample.size)
    return int(np.ceil(1 / (within**2 / spread + 1 / sample.size))) - n
