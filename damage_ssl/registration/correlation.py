"""How far one image is shifted against another: correlated gradients, batch by batch, to a fraction of a pixel."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

MIN_SIGNIFICANCE = 4.5
"""A peak must stand this many standard deviations of unrelated imagery above zero.

About one in a hundred pairs of windows that do not belong together gets there (measured on seven events,
with windows of 32 to 128 m); the robust field takes care of those.
"""
MAX_RIVAL = 0.85
"""The next best peak of the search must stay under this share of the best: equal roofs match at any period."""

_MAX_SHIFT_SHARE = 0.25
_MIN_VALID_SHARE = 0.25
_ERODE_PX = 3
_RIVAL_PX = 4
_PEAK_WIDTH_PX = 1.5
_FAR_SHARE = 3 / 8


@dataclass(frozen=True)
class Matches:
    """Shift of a second image against a first, [N] each.

    `shift_x_m`, `shift_y_m`: metres east and north (NaN where there is too little to compare). `score`: normalised
    cross-correlation at the peak, from 0 (no match) to 1 (identical). `significance`: height of the peak over the
    standard deviation at shifts far outside the search. `rival`: the next best peak's share of the best one (1 where
    the best lies on the rim of the search, and may well go on beyond it).
    `error_m`: expected standard error of the shift along one axis, if the match is right.
    """

    shift_x_m: NDArray[np.float64]
    shift_y_m: NDArray[np.float64]
    score: NDArray[np.float64]
    significance: NDArray[np.float64]
    rival: NDArray[np.float64]
    error_m: NDArray[np.float64]

    @property
    def shift_m(self) -> NDArray[np.float64]:
        """[N, 2], metres east and north."""
        return np.column_stack([self.shift_x_m, self.shift_y_m])

    @property
    def trusted(self) -> NDArray[np.bool_]:
        """[N], whether the peak is no accident and has no rival."""
        return self.trusted_from(MIN_SIGNIFICANCE)

    def trusted_from(self, significance: float) -> NDArray[np.bool_]:
        """[N], as `trusted`, with another limit."""
        return np.isfinite(self.shift_x_m) & (self.significance >= significance) & (self.rival <= MAX_RIVAL)

    @classmethod
    def none(cls, count: int) -> "Matches":
        """No match, `count` times."""
        unknown, zero = np.full((3, count), np.nan), np.zeros((2, count))
        return cls(unknown[0], unknown[1], zero[0], zero[1], np.ones(count), unknown[2])

    def enter(self, rows: NDArray[np.intp], found: "Matches") -> None:
        """Overwrite the matches at these rows."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(found, field.name)

    @classmethod
    def joined(cls, parts: Sequence["Matches"]) -> "Matches":
        """All matches of several batches."""
        if not parts:
            return cls.none(0)
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))


def match_pairs(
    pre: NDArray[np.uint8],
    post: NDArray[np.uint8],
    pre_valid: NDArray[np.bool_],
    post_valid: NDArray[np.bool_],
    *,
    gsd_m: float,
    reach_m: float,
) -> Matches:
    """Shift of post against pre, looked for up to `reach_m` (at most a quarter of the patch) along each axis.

    Args:
        pre: uint8 [N, 3, H, W].
        post: uint8 [N, 3, H, W].
        pre_valid: bool [N, H, W], where pre has data.
        post_valid: bool [N, H, W], where post has data.
        gsd_m: metres a pixel.
        reach_m: largest shift that is looked for.
    """
    return match_fields(gradient_field(pre, pre_valid), gradient_field(post, post_valid), gsd_m=gsd_m, reach_m=reach_m)


def gradient_field(pixels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.complex64]:
    """The image gradient as complex numbers (east + i south), [N, H, W]; 0 at and beside missing data.

    Its length is compressed to its square root: between the raw gradient and the pure orientation of Fitch et al. 2002
    ("Orientation correlation"), which makes a match robust to other light and colour without weighing noise as much as
    edges.

    Args:
        pixels: uint8 [N, 3, H, W].
        valid: bool [N, H, W].
    """
    grey = pixels[:, 0].astype(np.float32)
    grey += pixels[:, 1]
    grey += pixels[:, 2]
    grey /= 3
    if not valid.all():
        count = np.maximum(valid.sum(axis=(1, 2)), 1)
        level = (grey * valid).sum(axis=(1, 2)) / count
        grey = np.where(valid, grey, level[:, None, None].astype(np.float32))
    grey = ndimage.gaussian_filter(grey, sigma=(0, 1, 1), truncate=3.0)
    field = np.zeros(grey.shape, dtype=np.complex64)
    field.real[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    field.imag[:, 1:-1, :] = grey[:, 2:, :] - grey[:, :-2, :]
    power = np.maximum(field.real**2 + field.imag**2, np.float32(1e-6))
    field /= np.sqrt(np.sqrt(power))  # many times faster than complex lengths and powers
    if not valid.all():
        window = (1, 2 * _ERODE_PX + 1, 2 * _ERODE_PX + 1)
        field *= ndimage.minimum_filter(valid, size=window, mode="nearest")
    return field


def match_fields(
    first: NDArray[np.complex64],
    second: NDArray[np.complex64],
    *,
    gsd_m: float,
    reach_m: float,
    least_filled: float = _MIN_VALID_SHARE,
) -> Matches:
    """Shift of the field `second` against `first`, both [N, H, W]: the peak of their normalised correlation.

    Kuglin and Hines 1975 find the shift of two images as the peak of their correlation; here of gradient fields,
    tapered by a Hann window. What unrelated imagery would give is read off the same surface at shifts beyond the
    search, each weighed by how much of the two windows overlaps there. Fields that are 0 but for a share under
    `least_filled` are not compared.
    """
    count, height, width = first.shape
    if count == 0:
        return Matches.joined([])
    taper, overlap = _windows(height, width)
    first, second = first * taper, second * taper
    energy = np.sqrt(_power(first) * _power(second))
    spectrum = np.conj(fft.fft2(first)) * fft.fft2(second)
    surface = fft.ifft2(spectrum).real / np.maximum(energy, 1e-12)[:, None, None]  # the peak lies at the shift
    surface = fft.fftshift(surface, axes=(1, 2))
    filled = np.minimum(_filled_share(first), _filled_share(second))
    comparable = (filled >= least_filled) & (energy > 0)
    return _peaks(surface, overlap, comparable, gsd_m, reach_m)


def _peaks(
    surface: NDArray[np.float32],
    overlap: NDArray[np.float32],
    comparable: NDArray[np.bool_],
    gsd_m: float,
    reach_m: float,
) -> Matches:
    count, height, width = surface.shape
    number = np.arange(count)
    reach = max(2, min(int(np.ceil(reach_m / gsd_m)), int(min(height, width) * _MAX_SHIFT_SHARE)))
    top, left = height // 2 - reach - 1, width // 2 - reach - 1
    near = surface[:, top : top + 2 * reach + 3, left : left + 2 * reach + 3].astype(np.float64)
    inner = near[:, 1:-1, 1:-1].copy()
    row, column = np.divmod(inner.reshape(count, -1).argmax(axis=1), 2 * reach + 1)
    middle = near[number, row + 1, column + 1]
    offset_x = _vertex(near[number, row + 1, column], middle, near[number, row + 1, column + 2])
    offset_y = _vertex(near[number, row, column + 1], middle, near[number, row + 2, column + 1])
    steps = np.arange(2 * reach + 1)
    close = (np.abs(steps - row[:, None]) <= _RIVAL_PX)[:, :, None] & (np.abs(steps - column[:, None]) <= _RIVAL_PX)[
        :, None, :
    ]
    inner[close] = 0.0
    rival = inner.reshape(count, -1).max(axis=1)
    deviation = _far_deviation(surface, overlap, reach)
    peak_overlap = overlap[row + height // 2 - reach, column + width // 2 - reach]
    score = np.where(comparable, np.clip(middle, 0, 1), 0.0)
    significance = np.where(comparable, middle / np.maximum(deviation * peak_overlap, 1e-9), 0.0)
    inside = (np.abs(row - reach) < reach) & (np.abs(column - reach) < reach)
    share = np.where(inside & (score > 0), rival / np.maximum(middle, 1e-9), 1.0)
    error_px = _PEAK_WIDTH_PX * np.sqrt(1 - score**2) / np.maximum(significance, 1e-3)
    return Matches(
        shift_x_m=np.where(comparable, (column - reach + offset_x) * gsd_m, np.nan),
        shift_y_m=np.where(comparable, -(row - reach + offset_y) * gsd_m, np.nan),
        score=score,
        significance=significance,
        rival=np.clip(share, 0.0, 1.0),
        error_m=error_px * gsd_m,
    )


def _far_deviation(surface: NDArray[np.float32], overlap: NDArray[np.float32], reach: int) -> NDArray[np.float64]:
    """Standard deviation of a correlation that is none, [N], as it would be at full overlap of the windows."""
    _, height, width = surface.shape
    down, across = np.abs(np.arange(height) - height // 2), np.abs(np.arange(width) - width // 2)
    inside = np.maximum.outer(down, across) <= int(min(height, width) * _FAR_SHARE)
    far = inside & (np.maximum.outer(down, across) > reach + 2)
    values = surface[:, far] / overlap[far]
    return np.asarray(np.sqrt((values**2).mean(axis=1)), dtype=np.float64)


@lru_cache(maxsize=16)
def _windows(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The Hann window [H, W], and by shift the deviation of unrelated products under two of them (1 at shift 0)."""
    taper = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    spectrum = np.abs(fft.fft2(taper**2)) ** 2
    overlap = np.sqrt(np.maximum(fft.fftshift(fft.ifft2(spectrum).real), 1e-12))
    return taper.astype(np.float32), (overlap / overlap.max()).astype(np.float32)


def _power(field: NDArray[np.complex64]) -> NDArray[np.float32]:
    flat = field.reshape(len(field), -1).view(np.float32)
    return np.asarray(np.einsum("ij,ij->i", flat, flat))


def _filled_share(field: NDArray[np.complex64]) -> NDArray[np.float64]:
    return np.asarray(np.count_nonzero(field, axis=(1, 2)) / (field.shape[1] * field.shape[2]))


def _vertex(
    before: NDArray[np.float64], middle: NDArray[np.float64], after: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where a parabola through three neighbouring values peaks, from -0.5 to 0.5 of a step from the middle."""
    bend = before - 2 * middle + after
    offset = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, -1.0), 0.0)
    return np.clip(offset, -0.5, 0.5)
