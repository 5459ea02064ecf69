"""The ranking of a first map, before any label: what changed, what looks like damage elsewhere, and the neighbours."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from damage_ssl.evaluation.stacking.neighbourhood import Neighbourhood

NEIGHBOUR_WEIGHT = 0.5


def combined_score(change: NDArray[np.float64], prior: NDArray[np.float64], near: Neighbourhood) -> NDArray[np.float64]:
    """Order the buildings by both, and leave as many of them above each value as the change score alone has.

    Both are brought to normal scores (van der Waerden), so that the scale of neither counts, and averaged; neighbours
    have half of the say. A prior model ranks and does not count: how many are damaged stays what the change score,
    which knows the event's usual change, says.

    Args:
        change: change scores, [N].
        prior: log-odds of a prior model, [N].
        near: who stands near whom.

    Returns:
        [N], the values of `change` in another order.
    """
    joint = (_normal_scores(change) + _normal_scores(prior)) / 2
    smoothed = (1 - NEIGHBOUR_WEIGHT) * joint + NEIGHBOUR_WEIGHT * near.mean(joint, joint)
    out = np.empty(len(change))
    out[np.argsort(smoothed, kind="stable")] = np.sort(change)
    return out


def _normal_scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(norm.ppf(rankdata(values) / (len(values) + 1)), dtype=np.float64)
