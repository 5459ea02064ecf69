"""Which pixels carry data, how well a building can be seen, and why it cannot be assessed."""

from damage_ssl.event.quality.fill import (
    FILL_FRINGE_LEVEL,
    FILL_FRINGE_PX,
    FILL_LEVEL,
    FILL_REACH_PX,
    FILL_WINDOW_PX,
    black_fill,
)
from damage_ssl.event.quality.measures import QUALITY_COLUMNS, measure_quality
from damage_ssl.event.quality.reasons import Reason, quality_reason, share_within

__all__ = [
    "FILL_FRINGE_LEVEL",
    "FILL_FRINGE_PX",
    "FILL_LEVEL",
    "FILL_REACH_PX",
    "FILL_WINDOW_PX",
    "QUALITY_COLUMNS",
    "Reason",
    "black_fill",
    "measure_quality",
    "quality_reason",
    "share_within",
]
