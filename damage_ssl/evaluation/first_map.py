"""The ranking of a first map, before any label: what changed, what looks like damage elsewhere, and the neighbours."""

import numpy as np
from numpy.typing import NDArray

from damage_ssl.evaluation.stacking.neighbourhood import Neighbourhood

MOST_FOR_NEIGHBOURS = 0.5
FULL_SAY_FROM = 0.3
"""Rank correlation with the change score from which a prior model counts as much as that; from 0 down it counts not."""


def combined_score(change: NDArray[np.float64], prior: NDArray[np.float64], near: Neighbourhood) -> NDArray[np.float64]:
    """Order the buildings by both, and leave as many of them above each value as the change score alone has.

    Both are brought to normal scores (van der Waerden), so that the scale of neither counts, and averaged; neighbours
    have as much of the say as they are alike (Moran's I), at most half. A prior model that contradicts what changed has
    none: without labels, that both find the same buildings is the only sign that both find damage. It ranks and does
    not count: how many are damaged stays what the change score, which knows the event's usual change, says.

    Args:
        change: change scores, [N].
        prior: log-odds of a prior model, [N].
        near: who stands near whom.

    Returns:
        [N], the values of `change` in another order.
    """
    one, other = _normal_scores(change), _normal_scores(prior)
    say = prior_say(one, other)
    joint = (one + say * other) / (1 + say)
    alike = min(near.autocorrelation(joint), MOST_FOR_NEIGHBOURS)
    smoothed = (1 - alike) * joint + alike * near.mean(joint, joint)
    out = np.empty(len(change))
    out[np.argsort(smoothed, kind="stable")] = np.sort(change)
    return out


def prior_say(change: NDArray[np.float64], prior: NDArray[np.float64]) -> float:
    """How much a prior model counts beside the change score, 0 to 1, from how far their normal scores [N] agree."""
    spread = float(np.sqrt((change @ change) * (prior @ prior)))
    agreement = float(change @ prior) / spread if spread > 0 else 0.0
    return float(np.clip(agreement / FULL_SAY_FROM, 0.0, 1.0))


def _normal_scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.stats import norm, rankdata  # takes half a second, which a command that shows a map does not need

    return np.asarray(norm.ppf(rankdata(values) / (len(values) + 1)), dtype=np.float64)
