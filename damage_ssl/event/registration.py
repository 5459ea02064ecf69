"""How far the post image is shifted against the pre image, building by building. Measured, not applied."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

_MAX_SHIFT_SHARE = 0.25
_MIN_VALID_SHARE = 0.25


@dataclass(frozen=True)
class Shifts:
    """Shift of post relative to pre, [N] each: metres east and north, and a score from 0 (no match) to 1 (identical).

    NaN shift and score 0 where there is too little to compare.
    """

    shift_x_m: NDArray[np.float64]
    shift_y_m: NDArray[np.float64]
    align_score: NDArray[np.float64]


def measure_shifts(pre: NDArray[np.uint8], post: NDArray[np.uint8], valid: NDArray[np.bool_], gsd_m: float) -> Shifts:
    """Correlate the gradients of pre and post patches, and find the peak to a fraction of a pixel.

    The image gradient is taken as a complex number whose length is compressed to its square root (between the raw
    gradient and the pure orientation of Fitch et al. 2002, "Orientation correlation"), which makes the match robust to
    other light and colour. The score is the normalised cross-correlation at the peak. Shifts up to a quarter of the
    patch are looked for.

    Args:
        pre: uint8 [N, 3, H, W].
        post: uint8 [N, 3, H, W].
        valid: bool [N, H, W], where both dates have data.
        gsd_m: metres a pixel.
    """
    count, _, height, width = pre.shape
    if count == 0:
        return Shifts(np.zeros(0), np.zeros(0), np.zeros(0))
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]).astype(np.float32)
    usable = ndimage.binary_erosion(valid, structure=np.ones((1, 3, 3), dtype=bool), border_value=1)
    first = _gradients(pre, usable) * window
    second = _gradients(post, usable) * window
    spectrum = np.conj(fft.fft2(first)) * fft.fft2(second)
    correlation = fft.ifft2(spectrum).real.astype(np.float64)  # [N, H, W], peak at the shift of post
    energy = np.sqrt((np.abs(first) ** 2).sum(axis=(1, 2)) * (np.abs(second) ** 2).sum(axis=(1, 2)))
    reach_y, reach_x = int(height * _MAX_SHIFT_SHARE), int(width * _MAX_SHIFT_SHARE)
    near = fft.fftshift(correlation, axes=(1, 2))
    near = near[
        :, height // 2 - reach_y - 1 : height // 2 + reach_y + 2, width // 2 - reach_x - 1 : width // 2 + reach_x + 2
    ]
    inner = near[:, 1:-1, 1:-1].reshape(count, -1)
    peak = inner.argmax(axis=1)
    row, column = np.divmod(peak, 2 * reach_x + 1)
    number = np.arange(count)
    middle = near[number, row + 1, column + 1]
    offset_x = _vertex(near[number, row + 1, column], middle, near[number, row + 1, column + 2])
    offset_y = _vertex(near[number, row, column + 1], middle, near[number, row + 2, column + 1])
    comparable = (valid.mean(axis=(1, 2)) >= _MIN_VALID_SHARE) & (energy > 0)
    # The overlap shrinks with the shift under the window; the score is not corrected for that.
    score = np.where(comparable, np.clip(middle / np.maximum(energy, 1e-12), 0, 1), 0.0)
    east = (column - reach_x + offset_x) * gsd_m
    north = -(row - reach_y + offset_y) * gsd_m
    return Shifts(np.where(comparable, east, np.nan), np.where(comparable, north, np.nan), score)


def _gradients(pixels: NDArray[np.uint8], usable: NDArray[np.bool_]) -> NDArray[np.complex64]:
    """Complex gradient with its length's square root, [N, H, W]; 0 next to missing data."""
    grey = ndimage.gaussian_filter(pixels.astype(np.float32).mean(axis=1), sigma=(0, 1, 1))
    along_x = np.gradient(grey, axis=2)
    along_y = np.gradient(grey, axis=1)
    field = along_x + 1j * along_y
    field /= np.sqrt(np.maximum(np.abs(field), 1e-3))
    field[~usable] = 0
    compressed: NDArray[np.complex64] = field.astype(np.complex64)
    return compressed


def _vertex(
    before: NDArray[np.float64], middle: NDArray[np.float64], after: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where a parabola through three neighbouring values peaks, from -0.5 to 0.5 of a step from the middle."""
    bend = before - 2 * middle + after
    offset = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, -1.0), 0.0)
    return np.clip(offset, -0.5, 0.5)
