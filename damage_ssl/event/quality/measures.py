"""How well each building can be seen on each date: cloud or smoke, shadow, clipping, blur, seams.

A fault of the picture does not stop at the wall: cloud, deep shadow and clipping are measured within the footprint and
in a ring around it, and the lesser of the two counts. A white roof, a black roof or a razed slab is thus no fault.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

QUALITY_COLUMNS = (
    "pre_cloud",
    "post_cloud",
    "pre_shadow",
    "post_shadow",
    "pre_saturated",
    "post_saturated",
    "pre_blur_m",
    "post_blur_m",
    "pre_seam",
    "post_seam",
)
"""cloud: opacity of a veil, 0..1; shadow, saturated: shares of the area, 0..1; blur_m: σ in metres; seam: 0..1."""

_GRAIN_M = 1.0
"""Structure is looked for at this scale: finer is noise and compression, coarser is in clouds too."""
_RING_M = 4.0
_LEAST_RING = 0.15
"""The ring must have this share of the footprint's area (within the patch), or the footprint stands alone."""
_DARK_LEVEL = 24
"""No band above this: under a hundredth of full light (sRGB), a handful of 8-bit levels for everything there is."""
_CLIPPED_LEVEL = 250
_FLOOR_DETAIL = 8.0
"""Detail (grey levels) that the surroundings of a building have at the very least where they can be seen."""
_LEAST_DETAIL = 4.0
"""With less detail than this on the other date there is nothing that could have been lost."""
_LIFT = (20.0, 50.0)
"""A veil lifts the darkest parts: by so many grey levels not a veil at all / surely one."""
_HIGH_FLOOR = 60.0
"""Parts of a clear picture this dark (at their darkest band) are always near; a veil over both dates lacks them."""
_WARM = (0.2, 0.35)
"""(red − blue) / brightest: up to the first the colour of smoke, from the second that of mud and sand."""
_LEAST_STEP = 8.0
"""Steps of fewer grey levels are not worth a word."""
_MOST_NOISE = 4.0
"""What is everywhere and stronger than this (grey levels between grains) is texture, such as a ribbed roof, not noise."""
_CALM_SHARE = 0.25
_CALM_TO_MEAN = 1.35
"""White noise: the mean energy of cells of 4 x 4 grains over that of the calmest quarter's limit."""
_CHUNK = 128

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


def measure_quality(
    pre: NDArray[np.uint8],
    pre_valid: Mask,
    post: NDArray[np.uint8],
    post_valid: Mask,
    footprint: Mask,
    gsd_m: float,
) -> dict[str, Floats]:
    """Measure how well each building can be seen on both dates.

    Args:
        pre, post: [N, 3, H, W] red, green, blue; aligned with each other and with `footprint`.
        pre_valid, post_valid: [N, H, W], where there is data; other pixels have no say.
        footprint: [N, H, W], True inside the building.
        gsd_m: metres a pixel.

    Returns:
        float32 [N] under each of `QUALITY_COLUMNS`; NaN where the side has no data within the footprint.
    """
    out = {name: np.full(len(pre), np.nan, dtype=np.float32) for name in QUALITY_COLUMNS}
    for start in range(0, len(pre), _CHUNK):  # small enough to stay in the cache
        rows = slice(start, start + _CHUNK)
        first = _look(pre[rows], pre_valid[rows], footprint[rows], gsd_m)
        second = _look(post[rows], post_valid[rows], footprint[rows], gsd_m)
        seams = _seams(first, second)
        for side, one, other, seam in (("pre", first, second, seams[0]), ("post", second, first, seams[1])):
            values = {
                "cloud": _veil(one, other),
                "shadow": _black(one),
                "saturated": _clipped(one, other),
                "blur_m": _blur_m(one),
                "seam": seam,
            }
            for name, value in values.items():
                out[f"{side}_{name}"][rows] = np.where(one.seen, value, np.nan)
    return out


@dataclass(frozen=True)
class _Look:
    """What one date shows; pairs of values are for the footprint and for the ring around it, each [N]."""

    seen: Mask
    has_ring: Mask
    dark: tuple[Floats, Floats]
    clipped: tuple[Floats, Floats]
    detail: tuple[Floats, Floats]
    lowest: Floats
    warm: Floats
    variogram: tuple[Floats, Floats, Floats]
    grain_m: float
    cells: Floats
    cells_known: Mask


def _look(colour: NDArray[np.uint8], valid: Mask, footprint: Mask, gsd_m: float) -> _Look:
    factor = max(1, min(round(_GRAIN_M / gsd_m), colour.shape[2] // 8))
    grain_m = factor * gsd_m
    known = _reduced(valid, factor) == 1
    drawn = _reduced(footprint, factor) > 0
    reach = 2 * max(1, round(_RING_M / grain_m)) + 1
    inside = drawn & known
    ring = ndimage.maximum_filter(drawn, size=(1, reach, reach), mode="constant") & ~drawn & known
    bands = np.stack([_reduced(colour[:, band], factor) for band in range(3)], axis=1)
    grey = (bands[:, 0] + 2 * bands[:, 1] + bands[:, 2]) / 4
    dark = _reduced(colour.max(axis=1) <= _DARK_LEVEL, factor)
    clipped = _reduced(colour.min(axis=1) >= _CLIPPED_LEVEL, factor)
    around = inside | ring
    red, green, blue = (_mean(bands[:, band], around) for band in range(3))
    cells, cells_known = _cells(grey, known)
    energy, usable = _energy(grey, known)
    noise = _everywhere(energy, usable)
    return _Look(
        seen=inside.any(axis=(1, 2)),
        has_ring=_count(ring) >= _LEAST_RING * _count(inside),
        dark=(_mean(dark, inside), _mean(dark, ring)),
        clipped=(_mean(clipped, inside), _mean(clipped, ring)),
        detail=(_rise(_mean(energy, around & usable), noise), _rise(_mean(energy, ring & usable), noise)),
        lowest=_low(bands.min(axis=1), around, 0.05),
        warm=(red - blue) / np.maximum(np.maximum(np.maximum(red, green), blue), 1),
        variogram=(_variogram(grey, known, 1), _variogram(grey, known, 2), _variogram(grey, known, 4)),
        grain_m=grain_m,
        cells=cells,
        cells_known=cells_known,
    )


def _veil(one: _Look, other: _Look) -> Floats:
    """Opacity of cloud or smoke over the building and around it, 0..1.

    A veil of opacity a and light A turns a scene J into (1 - a) J + a A (Koschmieder 1924; He et al. 2011,
    doi:10.1109/TPAMI.2010.168): differences shrink by (1 - a), and the darkest parts, which at some band are close to
    0, rise by about a A. Only both together are a veil: lost structure alone may be water or a razed lot, brightness
    alone a new roof. What was there to lose is what the other date shows; around a building there is always something.
    """
    floor = np.where(one.has_ring, np.float32(_FLOOR_DETAIL), np.float32(0))
    lost = [
        np.where(reference >= _LEAST_DETAIL, 1 - here / np.maximum(reference, 1e-6), 0)
        for here, reference in (
            (here, np.maximum(there, floor)) for here, there in zip(one.detail, other.detail, strict=True)
        )
    ]
    opacity = np.where(one.has_ring, np.minimum(lost[0], lost[1]), lost[0])
    lift = np.maximum(one.lowest - other.lowest, one.lowest - _HIGH_FLOOR)
    lifted = np.clip((lift - _LIFT[0]) / (_LIFT[1] - _LIFT[0]), 0, 1)
    neutral = np.clip((_WARM[1] - one.warm) / (_WARM[1] - _WARM[0]), 0, 1)
    veil: Floats = np.clip(opacity, 0, 1) * lifted * neutral
    return veil


def _black(one: _Look) -> Floats:
    """Share of the building and of its ring (the lesser) that is too dark to show anything."""
    return np.where(one.has_ring, np.minimum(*one.dark), one.dark[0])


def _clipped(one: _Look, other: _Look) -> Floats:
    """Share of building and ring (the lesser) that is clipped; without a ring, by how much more than on the other date."""
    return np.where(one.has_ring, np.minimum(*one.clipped), np.clip(one.clipped[0] - other.clipped[0], 0, 1))


def _blur_m(one: _Look) -> Floats:
    """Standard deviation, in metres, of the Gaussian that blurs the patch.

    Land is about Brownian (power falls with frequency squared: Ruderman 1997, doi:10.1016/S0042-6989(97)00008-4), so
    that the mean squared difference of two pixels grows with their distance h; blurring makes it grow with h squared at
    first. The ratio of the increments over 1, 2 and 4 pixels, which noise does not touch, says how far.
    """
    near, middle, far = one.variogram
    ratio = (middle - near) / np.maximum(far - middle, 1e-6)
    sigma_px = np.interp(ratio, _RATIOS[::-1], _SIGMAS_PX[::-1]).astype(np.float32)
    something = (far - middle) >= _LEAST_DETAIL**2
    return np.where(something, sigma_px * np.float32(one.grain_m), np.float32(0))


def _seams(one: _Look, other: _Look) -> tuple[Floats, Floats]:
    """How much of the change between the dates is one step along a straight line across the patch, 0..1, by side."""
    known = (one.cells_known & other.cells_known).astype(np.float32)
    sides = _half_planes(one.cells.shape[1])  # [templates, n, n], 1 on one side of the line
    flat = sides.reshape(len(sides), -1).T
    known = known.reshape(len(known), -1)
    count_left, count = known @ flat, known.sum(axis=1)[:, None]
    count_right = count - count_left
    usable = (count_left >= 0.25 * count) & (count_right >= 0.25 * count) & (count > 0)

    def steps(values: Floats) -> tuple[Floats, Floats]:
        values = values.reshape(len(values), -1) * known
        left, whole = values @ flat, values.sum(axis=1)[:, None]
        step = left / np.maximum(count_left, 1) - (whole - left) / np.maximum(count_right, 1)
        variance = (values**2).sum(axis=1)[:, None] / np.maximum(count, 1) - (whole / np.maximum(count, 1)) ** 2
        return step, variance

    step, variance = steps(one.cells - other.cells)
    share = count_left / np.maximum(count, 1)
    explained = share * (1 - share) * step**2
    score = np.where(usable, explained / np.maximum(variance + _LEAST_STEP**2, 1e-6), 0)
    best = score.argmax(axis=1)
    rows = np.arange(len(best))
    value = score[rows, best].astype(np.float32)
    here, there = (np.abs(steps(look.cells)[0][rows, best]) for look in (one, other))
    zero = np.float32(0)
    return np.where(here > there, value, zero), np.where(here > there, zero, value)


def _half_planes(cells: int) -> Floats:
    """Straight cuts through a square of cells at 8 angles and 5 places, [templates, cells, cells]."""
    place = (np.arange(cells) + 0.5) / cells - 0.5
    angles = np.arange(8) * np.pi / 8
    along = np.cos(angles)[:, None, None] * place[None, None, :] + np.sin(angles)[:, None, None] * place[None, :, None]
    return np.concatenate([along < offset for offset in (-0.2, -0.1, 0.0, 0.1, 0.2)]).astype(np.float32)


def _cells(grey: Floats, known: Mask) -> tuple[Floats, Mask]:
    """Mean grey of at most 8 x 8 cells, and whether half of a cell is known."""
    factor = max(1, -(-min(grey.shape[1:]) // 8))
    share = _reduced(known, factor)
    mean = _reduced(np.where(known, grey, np.float32(0)), factor) / np.maximum(share, 1e-6)
    return mean, share >= 0.5


def _reduced(values: NDArray[np.generic], factor: int) -> Floats:
    """Means over `factor` x `factor` pixels, [N, H, W] to [N, H // factor, W // factor], about the centre."""
    rows, columns = values.shape[1] // factor, values.shape[2] // factor
    top, left = (values.shape[1] - rows * factor) // 2, (values.shape[2] - columns * factor) // 2
    total = np.zeros((len(values), rows, columns), dtype=np.float32)
    for row in range(factor):
        for column in range(factor):
            total += values[:, top + row :: factor, left + column :: factor][:, :rows, :columns]
    return total / np.float32(factor**2)


def _energy(grey: Floats, known: Mask) -> tuple[Floats, Mask]:
    """Squared difference to the right and to the lower neighbour, and where all three pixels are known."""
    energy, usable = np.zeros_like(grey), np.zeros_like(known)
    here = grey[:, :-1, :-1]
    energy[:, :-1, :-1] = (grey[:, :-1, 1:] - here) ** 2 + (grey[:, 1:, :-1] - here) ** 2
    usable[:, :-1, :-1] = known[:, :-1, :-1] & known[:, :-1, 1:] & known[:, 1:, :-1]
    return energy, usable


def _everywhere(energy: Floats, usable: Mask) -> Floats:
    """The energy that (nearly) all of a picture has: that of its calmest tenth, in cells; this is its noise, [N]."""
    cells, known = _cells(energy, usable)
    return np.minimum(np.float32(_CALM_TO_MEAN) * _low(cells, known, _CALM_SHARE), np.float32(_MOST_NOISE**2))


def _rise(energy: Floats, noise: Floats) -> Floats:
    return np.sqrt(np.maximum(energy - noise, 0))


def _variogram(grey: Floats, known: Mask, lag: int) -> Floats:
    """Mean squared difference between pixels `lag` apart in rows and in columns."""
    total, count = np.zeros(len(grey), np.float32), np.zeros(len(grey), np.float32)
    for one, other in (
        ((slice(None), slice(lag, None)), (slice(None), slice(None, -lag))),
        ((slice(None), slice(None), slice(lag, None)), (slice(None), slice(None), slice(None, -lag))),
    ):
        both = (known[one] & known[other]).astype(np.float32)
        difference = grey[one] - grey[other]
        total += np.einsum("nij,nij,nij->n", difference, difference, both)
        count += both.sum(axis=(1, 2))
    return total / np.maximum(count, 1)


def _low(values: Floats, mask: Mask, share: float) -> Floats:
    """The value that a share of each picture lies below, within its mask (0 if the mask is empty), [N]."""
    ordered = np.sort(np.where(mask, values, np.float32(np.inf)).reshape(len(values), -1), axis=1)
    count = _count(mask)
    low = ordered[np.arange(len(values)), (share * count).astype(np.intp)]
    return np.where(count > 0, low, np.float32(0)).astype(np.float32)


def _mean(values: Floats, mask: Mask) -> Floats:
    """Mean of each picture within its mask, [N] (0 if the mask is empty)."""
    mean: Floats = np.einsum("nij,nij->n", values, mask.astype(np.float32)) / np.maximum(_count(mask), 1)
    return mean


def _count(mask: Mask) -> Floats:
    return np.count_nonzero(mask, axis=(1, 2)).astype(np.float32)


def _brownian(sigma_px: NDArray[np.float64], lag_px: float) -> NDArray[np.float64]:
    """Mean squared difference at a lag of a Brownian line blurred by a Gaussian (up to a factor)."""
    width = np.sqrt(2) * sigma_px
    return width * np.sqrt(2 / np.pi) * (np.exp(-(lag_px**2) / (2 * width**2)) - 1) + lag_px * special.erf(
        lag_px / (width * np.sqrt(2))
    )


_SIGMAS_PX = np.linspace(0.05, 6.0, 240)
_RATIOS = (_brownian(_SIGMAS_PX, 2) - _brownian(_SIGMAS_PX, 1)) / (_brownian(_SIGMAS_PX, 4) - _brownian(_SIGMAS_PX, 2))
