"""Which pixels carry data, and why a building cannot be assessed."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FILL_LEVEL = 8
"""Largest value of an 8-bit band that lossy compression leaves in black fill (measured on xBD's JPEG tiles)."""
FILL_FRINGE_LEVEL = 16
"""Compression blocks on the border of the fill ring up to this value."""
FILL_WINDOW_PX = 33
"""Fill must contain an all-black square of this size; shadows and burnt roofs at 0.3-1 m do not."""
FILL_FRINGE_PX = 8
FILL_REACH_PX = FILL_WINDOW_PX + FILL_FRINGE_PX
"""Pixels farther away than this have no say in whether a pixel is fill: the halo that a chunk needs."""


class Reason(StrEnum):
    """Why a footprint is not assessed."""

    NO_PRE = "no_pre"
    NO_POST = "no_post"
    NODATA = "nodata"
    EDGE = "edge"
    TOO_SMALL = "too_small"


def black_fill(
    peak: NDArray[np.uint8], *, level: int = FILL_LEVEL, window_px: int = FILL_WINDOW_PX
) -> NDArray[np.bool_]:
    """Find black fill that no mask declares.

    Fill is every near-black area that holds an all-black square of `window_px` pixels (a morphological opening),
    grown over the compression fringe. The rule is local, so cutting an image into chunks does not change it.

    Args:
        peak: [H, W], the largest band value of each pixel.
        level: the largest value that still counts as black.
        window_px: side of the all-black square that fill must hold.

    Returns:
        [H, W], True where the pixel is fill.
    """
    black = peak <= level
    if np.count_nonzero(black) < window_px**2:
        return np.zeros(peak.shape, dtype=bool)
    size = min(window_px, *peak.shape)
    core = ndimage.minimum_filter(black, size=size, mode="nearest")
    if not core.any():
        return np.zeros(peak.shape, dtype=bool)
    # An even window is off centre by one; the mirrored origin makes erosion and dilation a proper opening.
    fill = ndimage.maximum_filter(core, size=size, mode="nearest", origin=-1 if size % 2 == 0 else 0) & black
    fringe = peak <= max(level, FILL_FRINGE_LEVEL) if level else black
    grown: NDArray[np.bool_] = ndimage.binary_dilation(fill, iterations=FILL_FRINGE_PX, mask=fringe)
    return np.asarray(grown | fill)


def share_within(mask: NDArray[np.bool_], footprint: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of each footprint's pixels where `mask` is True; both [N, H, W], result [N] in 0..1 (0 if no pixels)."""
    inside = np.count_nonzero(mask & footprint, axis=(1, 2))
    share: NDArray[np.float64] = inside / np.maximum(np.count_nonzero(footprint, axis=(1, 2)), 1)
    return share


def not_assessed_reason(
    *,
    area_m2: float,
    pre_covered: float,
    post_covered: float,
    pre_valid: float,
    post_valid: float,
    both_valid: float,
    min_area_m2: float,
    min_valid_share: float,
) -> Reason | None:
    """Name the first reason why a building cannot be assessed, or None.

    `covered` is the share of the footprint within the extent of any scene of that side, `valid` the share with data.
    The order: too small, no scene at all, cut off by the extent of the imagery, without data.
    """
    if area_m2 < min_area_m2:
        return Reason.TOO_SMALL
    if pre_covered == 0:
        return Reason.NO_PRE
    if post_covered == 0:
        return Reason.NO_POST
    if both_valid >= min_valid_share:
        return None
    if (pre_valid < min_valid_share and pre_covered < min_valid_share) or (
        post_valid < min_valid_share and post_covered < min_valid_share
    ):
        return Reason.EDGE
    return Reason.NODATA
