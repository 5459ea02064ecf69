"""Shifts between images, and between footprints and images: the mathematics, on arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damage_ssl.event.registration.correlation import Matches, gradient_field, match_fields, match_pairs

__all__ = ["Matches", "Shifts", "gradient_field", "match_fields", "match_pairs", "measure_shifts"]


@dataclass(frozen=True)
class Shifts:
    """Shift of post relative to pre, [N] each: metres east and north, and a score from 0 (no match) to 1 (identical).

    NaN shift and score 0 where there is too little to compare.
    """

    shift_x_m: NDArray[np.float64]
    shift_y_m: NDArray[np.float64]
    align_score: NDArray[np.float64]


def measure_shifts(pre: NDArray[np.uint8], post: NDArray[np.uint8], valid: NDArray[np.bool_], gsd_m: float) -> Shifts:
    """`match_pairs` where both dates share one mask, up to a quarter of the patch."""
    found = match_pairs(pre, post, valid, valid, gsd_m=gsd_m, reach_m=max(pre.shape[2:]) * gsd_m)
    return Shifts(found.shift_x_m, found.shift_y_m, found.score)
