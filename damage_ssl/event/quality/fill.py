"""Which pixels carry data: black fill that no mask declares."""

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
