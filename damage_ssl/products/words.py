"""Plain words for what the tables hold as codes: why a building was not assessed, where a shift comes from, what hides
a building. Cards, legends and the app take them from here; files keep the codes.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

REASON_WORDS: Mapping[str, str] = {
    "no_pre": "no pre imagery",
    "no_post": "no post imagery",
    "nodata": "missing pixels",
    "edge": "cut by the image edge",
    "too_small": "footprint too small",
    "cloud_or_smoke": "cloud or smoke",
    "shadow": "deep shadow",
    "blur": "too blurred",
    "saturated": "overexposed",
    "misaligned": "outline may be off the building",
    "source_failed": "image could not be read",
    "unclear": "analyst: unclear",
    "bad_imagery": "analyst: bad imagery",
    "not_a_building": "analyst: not a building",
}

SHIFT_SOURCE_WORDS: Mapping[str, str] = {
    "own": "measured here",
    "neighbours": "from neighbours",
    "scene": "from the whole scene",
    "nudge": "set by hand",
}

_NOTICEABLE_SHARE = 0.25
_NOTICEABLE_BLUR_M = 1.5
_FAULTS = (
    ("cloud", "{:.0%} veiled by cloud or smoke"),
    ("shadow", "{:.0%} in deep shadow"),
    ("saturated", "{:.0%} overexposed"),
    ("blur_m", "blurred over {:.1f} m"),
    ("seam", "a seam between two images"),
)


def reason_words(reason: str | None) -> str:
    """A reason for people; a code without words of its own with blanks for its underscores."""
    return REASON_WORDS.get(reason or "", (reason or "unknown reason").replace("_", " "))


def shift_source_words(source: str | None) -> str | None:
    """Where an applied shift comes from; None where none was applied."""
    return SHIFT_SOURCE_WORDS.get(source or "")


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
