"""Why a building cannot be assessed."""

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from damage_ssl.event.quality.measures import QUALITY_COLUMNS
from damage_ssl.settings import PatchSettings


class Reason(StrEnum):
    """Why a footprint is not assessed."""

    NO_PRE = "no_pre"
    NO_POST = "no_post"
    NODATA = "nodata"
    EDGE = "edge"
    TOO_SMALL = "too_small"
    CLOUD_OR_SMOKE = "cloud_or_smoke"
    SHADOW = "shadow"
    BLUR = "blur"
    SATURATED = "saturated"
    MISALIGNED = "misaligned"
    SOURCE_FAILED = "source_failed"


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
