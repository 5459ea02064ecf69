"""Totals of units with few answers of their own: the event's shares by part, drawn towards each unit's own answers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damage_ssl.evaluation.random_sample import RandomSample
from damage_ssl.evaluation.total_estimates import Z95, TotalEstimate, mid_p_bounds, t95

_SPREADS = np.linspace(0.0, 0.6, 61)
"""Standard deviations between units that are weighed against each other."""


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitEstimates:
    """Totals of U units with their bounds, [U] each, and how many random answers each unit has."""

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    answers: NDArray[np.intp]


def pooled_units(
    sample: RandomSample,
    truth: NDArray[np.float64],
    part: NDArray[np.intp],
    unit: NDArray[np.intp],
    whole: TotalEstimate,
    units: int,
) -> UnitEstimates:
    """The composite estimator of Fay & Herriot (1979, JASA 74, p. 269) on what the model's parts leave over.

    A unit's share is that of its parts in the whole event plus a difference of its own, normal with a spread that all
    units share. The spread is not estimated as one number, which is often 0 with few units: every spread from 0 to 0.6
    is weighed by its likelihood (a flat prior, as Gelman 2006, Bayesian Analysis 1, p. 515). Known buildings count as
    known; of the others the chance of each is added to the variance, which matters in a unit of ten.

    Args:
        sample, truth, part: as for `estimate_total`.
        unit: [N] 0 to units - 1; -1 for a building of none.
        whole: of the event.
        units: how many.
    """
    inside = unit >= 0
    drawn = sample.row[inside[sample.row]]
    answers = np.bincount(unit[drawn], minlength=units)
    smooth = (whole.share * whole.effective + 0.5) / (whole.effective + 1.0)  # no part is quite sure
    expected = whole.share[part]
    noise = (smooth * (1 - smooth))[part]
    over = np.bincount(unit[drawn], truth[drawn] - expected[drawn], minlength=units) / np.maximum(answers, 1)
    own = np.bincount(unit[drawn], noise[drawn], minlength=units) / np.maximum(answers, 1) ** 2
    own *= max(sample.n / float(whole.effective.sum()), 1.0)  # clusters and weights
    difference, doubt, spread = _differences(over, own, answers)
    doubt *= (t95(int((answers > 0).sum()) - 1) / Z95) ** 2  # how far units differ is known from so many only

    unknown = inside & np.isnan(truth)
    left = np.bincount(unit[unknown], minlength=units)
    in_part = np.zeros((units, whole.parts))
    np.add.at(in_part, (unit[unknown], part[unknown]), 1)
    seen = np.bincount(unit[inside & (truth == 1)], minlength=units)
    guess = np.bincount(unit[unknown], expected[unknown], minlength=units) + left * difference
    guess = np.clip(guess, 0, left)
    variance = left**2 * doubt + in_part**2 @ (smooth * (1 - smooth) / whole.effective)
    variance += np.bincount(unit[unknown], noise[unknown], minlength=units)
    if whole.parts > 1:  # units may differ in one part more than in another
        variance += spread * (in_part**2).sum(axis=1)
    share = np.clip(guess / np.maximum(left, 1), 0.5 / np.maximum(left, 1), 1 - 0.5 / np.maximum(left, 1))
    effective = np.maximum(share * (1 - share) * left**2 / np.maximum(variance, 1e-9), 0.5)
    low, high = mid_p_bounds(share * effective, effective)
    some = left > 0
    return UnitEstimates(
        value=seen + guess,
        low=np.asarray(seen + np.where(some, np.floor(left * low), 0.0), dtype=np.float64),
        high=np.asarray(seen + np.where(some, np.ceil(left * high), 0.0), dtype=np.float64),
        answers=answers,
    )


def _differences(
    over: NDArray[np.float64], own: NDArray[np.float64], answers: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Each unit's difference from the event and its variance, [U], averaged over spreads by their likelihood; and the
    mean variance between units."""
    told = answers > 0
    spread = _SPREADS[:, None] ** 2  # [S, 1]
    both = spread + np.where(told, own, np.inf)  # [S, U]
    log_likelihood = -0.5 * (np.log(both[:, told]) + over[told] ** 2 / both[:, told]).sum(axis=1)
    weight = np.exp(log_likelihood - log_likelihood.max())
    weight /= weight.sum()
    trust = spread / both
    middle, within = trust * over, spread * (1 - trust)
    mean = weight @ middle
    return mean, weight @ (within + (middle - mean) ** 2), float(weight @ spread[:, 0])
