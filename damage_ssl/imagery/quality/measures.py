"""Cloud, shadow, clipping, blur, seams of both dates, in numbers and in words; the first reason against assessing.

How well each building can be seen on each date: cloud or smoke, shadow, clipping, blur, seams.

A fault of the picture does not stop at the wall: cloud and deep shadow are measured within the footprint and in a ring
around it, and must cover both the building and at least one half of the ring. A white roof, a black roof or a razed lot
is thus no fault.

Why a building cannot be assessed.

Plain words for what the tables hold as codes: why a building was not assessed, where a shift comes from, what hides
a building. Cards, legends and the app take them from here; files keep the codes.
"""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from damage_ssl.damage_scale import Reason
from damage_ssl.imagery.quality.appearance import Appearance, Floats, Mask, half_planes, look_at
from damage_ssl.imagery.quality.veil import veil_opacity
from damage_ssl.settings import PatchSettings

if TYPE_CHECKING:
    import pandas as pd

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

LEAST_VARIOGRAM = 2.0
"""Blur is measured where differences over 4 grains exceed those over 2 by at least so much (squared grey levels)."""
LEAST_STEP = 8.0
"""Steps of fewer grey levels are not worth a word."""
_CHUNK = 128


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
        pre, post: [N, 3, H, W] red, green, blue; aligned with each other and with `footprint`; H and W at least 8.
        pre_valid, post_valid: [N, H, W], where there is data; other pixels have no say.
        footprint: [N, H, W], True inside the building.
        gsd_m: metres a pixel.

    Returns:
        float32 [N] under each of `QUALITY_COLUMNS`; NaN where the side has no data within the footprint.
    """
    out = {name: np.full(len(pre), np.nan, dtype=np.float32) for name in QUALITY_COLUMNS}
    pre_valid, post_valid, footprint = (mask.astype(bool, copy=False) for mask in (pre_valid, post_valid, footprint))
    for start in range(0, len(pre), _CHUNK):  # small enough to stay in the cache
        rows = slice(start, start + _CHUNK)
        first = look_at(pre[rows], pre_valid[rows], footprint[rows], gsd_m)
        second = look_at(post[rows], post_valid[rows], footprint[rows], gsd_m)
        seams = _seams(first, second)
        for side, one, other, seam in (("pre", first, second, seams[0]), ("post", second, first, seams[1])):
            values = {
                "cloud": veil_opacity(one, other),
                "shadow": np.minimum(one.dark[:, 0], one.dark[:, 1:].max(axis=1)),
                "saturated": _clipped(one, other),
                "blur_m": _blur_m(one),
                "seam": seam,
            }
            for name, value in values.items():
                out[f"{side}_{name}"][rows] = np.where(one.seen, value, np.nan)
    return out


def _clipped(one: Appearance, other: Appearance) -> Floats:
    """Share of the building and of its surroundings (the lesser) that is clipped, [N].

    Where the building fills the patch, what the other date shows clipped too is taken to be a white roof.
    """
    building, around = one.clipped[:, 0], one.clipped[:, 1:].mean(axis=1)
    beyond = np.clip(building - other.clipped[:, 0], 0, 1)
    clipped: Floats = np.where(one.areas.has_ring, np.minimum(building, around), beyond)
    return clipped


def _blur_m(one: Appearance) -> Floats:
    """Standard deviation, in metres, of the Gaussian that blurs the patch (0 where there is nothing to blur), [N].

    Land is about Brownian (its power falls with the square of the frequency: Ruderman 1997,
    doi:10.1016/S0042-6989(97)00008-4), so that the mean squared difference of two pixels grows with their distance h;
    blurring makes it grow with h squared at first. The ratio of the growth from 1 to 2 grains to that from 2 to 4,
    which noise does not touch, says how far the blur reaches.
    """
    near, middle, far = one.variogram
    growth = far - middle
    ratio = (middle - near) / np.maximum(growth, np.float32(LEAST_VARIOGRAM))
    sigma = np.interp(ratio, _ratios()[::-1], _SIGMAS[::-1]) * one.grain_m
    return np.where(growth >= LEAST_VARIOGRAM, sigma, 0).astype(np.float32)


def _seams(one: Appearance, other: Appearance) -> tuple[Floats, Floats]:
    """How much of the change of brightness between the dates is one step along a straight line, 0..1, [N] per side."""
    known = ((one.weight >= 0.5) & (other.weight >= 0.5)).astype(np.float32)
    lines = np.concatenate([half_planes(one.shape, 8, offset) for offset in (-0.2, -0.1, 0.0, 0.1, 0.2)], axis=1)
    count, beyond = known.sum(axis=1)[:, None], known @ lines
    share = beyond / np.maximum(count, 1)
    usable = (share >= 0.25) & (share <= 0.75)
    step, variance = _step(one.grey - other.grey, known, lines)
    explained = share * (1 - share) * step**2 / (variance + np.float32(LEAST_STEP**2))
    score = np.where(usable, explained, 0)
    rows, best = np.arange(len(score)), score.argmax(axis=1)
    value, nothing = score[rows, best].astype(np.float32), np.float32(0)
    own, others = (np.abs(_step(look.grey, known, lines)[0][rows, best]) for look in (one, other))
    return np.where(own > others, value, nothing), np.where(own > others, nothing, value)


def _step(values: Floats, known: Floats, lines: Floats) -> tuple[Floats, Floats]:
    """Mean difference of cell values across each line [N, lines], and their variance [N, 1]."""
    values, count = values * known, known.sum(axis=1)[:, None]
    far, whole = values @ lines, values.sum(axis=1)[:, None]
    beyond = known @ lines
    step = far / np.maximum(beyond, 1) - (whole - far) / np.maximum(count - beyond, 1)
    variance = (values**2).sum(axis=1)[:, None] / np.maximum(count, 1) - (whole / np.maximum(count, 1)) ** 2
    return step, np.maximum(variance, 0)


def _brownian(sigma: NDArray[np.float64], lag: float) -> NDArray[np.float64]:
    """Mean squared difference over a lag of a Brownian line blurred by a Gaussian, up to a factor."""
    from scipy import special

    width = np.sqrt(2) * sigma
    spread = width * np.sqrt(2 / np.pi) * (np.exp(-(lag**2) / (2 * width**2)) - 1)
    return np.asarray(spread + lag * special.erf(lag / (width * np.sqrt(2))))


_SIGMAS = np.linspace(0.05, 6.0, 240)


@cache
def _ratios() -> NDArray[np.float64]:
    """What two lags of a line tell of each blur of `_SIGMAS`."""
    return (_brownian(_SIGMAS, 2) - _brownian(_SIGMAS, 1)) / (_brownian(_SIGMAS, 4) - _brownian(_SIGMAS, 2))


def share_within(mask: NDArray[np.bool_], footprint: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of each footprint's pixels where `mask` is True; both [N, H, W], result [N] in 0..1 (0 if no pixels)."""
    inside = np.count_nonzero(mask & footprint, axis=(1, 2))
    share: NDArray[np.float64] = inside / np.maximum(np.count_nonzero(footprint, axis=(1, 2)), 1)
    return share


def quality_reason(measures: Mapping[str, NDArray[np.float32]], settings: PatchSettings) -> NDArray[np.object_]:
    """The first reason of picture quality for which each building cannot be assessed, or None.

    A building is out where either date exceeds a threshold of `settings`; a value that is NaN (nothing to measure)
    is no reason. The order: cloud or smoke, shadow, saturation, blur.

    Args:
        measures: from `measure_quality`, float32 [N] under each of `QUALITY_COLUMNS`.
        settings: the thresholds `max_cloud`, `max_shadow`, `max_saturated`, `max_blur_m`.

    Returns:
        object [N], a Reason or None. Seams are measured but are no reason: both halves can be judged.
    """
    limits = (
        (Reason.CLOUD_OR_SMOKE, "cloud", settings.max_cloud),
        (Reason.SHADOW, "shadow", settings.max_shadow),
        (Reason.SATURATED, "saturated", settings.max_saturated),
        (Reason.BLUR, "blur_m", settings.max_blur_m),
    )
    reasons = np.full(len(measures[QUALITY_COLUMNS[0]]), None, dtype=object)
    for reason, name, limit in reversed(limits):
        over = (measures[f"pre_{name}"] > limit) | (measures[f"post_{name}"] > limit)
        reasons[over] = reason
    return reasons


_NOTICEABLE_SHARE = 0.25
_NOTICEABLE_BLUR_M = 1.5
_FAULTS = (
    ("cloud", "{:.0%} veiled by cloud or smoke"),
    ("shadow", "{:.0%} in deep shadow"),
    ("saturated", "{:.0%} overexposed"),
    ("blur_m", "blurred over {:.1f} m"),
    ("seam", "a seam between two images"),
)


def quality_words(row: "pd.Series", side: str) -> str:
    """What disturbs the picture of one building on one date (`pre` or `post`); empty where nothing does.

    `row` is the building's row in the patch index; columns that it lacks are taken for undisturbed.
    """
    found = []
    for name, words in _FAULTS:
        value = row.get(f"{side}_{name}")
        limit = _NOTICEABLE_BLUR_M if name == "blur_m" else _NOTICEABLE_SHARE
        if value is not None and np.isfinite(float(value)) and float(value) >= limit:
            found.append(words.format(float(value)))
    return ", ".join(found)
