"""From changes to a first map without labels: which change is damage, said as a number from 0 to 1.

The number is a change score, not a probability: nothing in it knows what damage looks like.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damage_ssl.assessment.calibration import DEFAULT_THRESHOLD, Calibration

ALGORITHM = "perceptual-change"
"""The name of a run that compared pre and post without labels, where others have that of their training algorithm."""

STATEMENT = (
    "This map is a change score, not a probability of damage: it compares pre and post and was taught by no label. "
    "New roofs, cars, building sites and water change a picture too; damage that leaves the roof as it was does not."
)

METHOD = "change score, not a probability"

USUAL_QUANTILE = 0.1
_NORMAL_QUANTILE = 1.2816  # of 0.9: a normal distribution's mean lies so many deviations above its lowest tenth
_SCORE_AT_UNRELATED = 0.95


@dataclass(frozen=True, kw_only=True)
class ChangeScale:
    """Where an event's changes lie; all in the unit of `learning.perceptual`, where unrelated buildings differ by 1.

    `usual` is the change of a building to which nothing happened (light, season, haze, lean); from `threshold` on a
    building is called damaged; `unrelated` is the change between pictures of two different buildings.
    """

    usual: float
    threshold: float
    unrelated: float

    def score(self, change: NDArray[np.float64]) -> NDArray[np.float64]:
        """Change → score in 0..1, monotone: 0.5 at the threshold, 0.95 at `unrelated`, 0.05 at `usual`."""
        odds = np.log(_SCORE_AT_UNRELATED / (1 - _SCORE_AT_UNRELATED))
        steps = (np.asarray(change, dtype=np.float64) - self.threshold) / (self.unrelated - self.threshold)
        return np.asarray(1 / (1 + np.exp(-np.clip(steps * odds, -30, 30))), dtype=np.float64)

    def calibration(self) -> Calibration:
        """The verdict without labels."""
        return Calibration(
            threshold=DEFAULT_THRESHOLD,
            temperature=1.0,
            n_validation=0,
            n_damaged=0,
            method=(
                f"no labels: half of the way from the event's usual change ({self.usual:.2f}, from its least changed "
                "buildings) to pictures of unrelated buildings (1); the score is not calibrated"
            ),
        )


def change_scale(change: NDArray[np.float64], unrelated: NDArray[np.float64]) -> ChangeScale:
    """Find the usual change of an event, and put the threshold half of the way from there to unrelated buildings.

    The usual change is taken from the least changed tenth, which also an event with most of its buildings destroyed
    has: their upper end plus what lies between there and the mean of a normal distribution that spreads like the
    unrelated pairs do. Tried beside it: Otsu's cut halves an event without damage (51 % of one with 0.7 % damaged); two
    normal distributions, one of them at the unrelated pairs, called next to nobody damaged where grades lie between.

    Args:
        change: of every building, [N], N ≥ 1.
        unrelated: of pairs of unrelated buildings, [n], n ≥ 2.
    """
    spread = float(np.std(unrelated))
    far = float(np.median(unrelated))
    usual = min(float(np.quantile(change, USUAL_QUANTILE)) + _NORMAL_QUANTILE * spread, far - max(spread, 0.05))
    return ChangeScale(usual=usual, threshold=(usual + far) / 2, unrelated=far)
