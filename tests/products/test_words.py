"""Plain words for codes: none may be missing, and only what disturbs is said."""

import numpy as np
import pandas as pd
import pytest

from damage_ssl.damage_scale import REASON_OF_ANSWER, REASON_WORDS, Reason, reason_words
from damage_ssl.imagery.quality.measures import quality_words
from damage_ssl.registration.event_registration import shift_source_words


@pytest.mark.parametrize("reason", [*(reason.value for reason in Reason), *REASON_OF_ANSWER.values()])
def test_every_reason_has_words(reason: str) -> None:
    assert reason in REASON_WORDS
    assert "_" not in reason_words(reason)


def test_an_unknown_reason_is_still_readable() -> None:
    assert reason_words("deep_snow") == "deep snow"
    assert reason_words(None) == "unknown reason"


def test_only_what_disturbs_is_said() -> None:
    row = pd.Series(
        {"pre_cloud": 0.02, "post_cloud": 0.6, "post_shadow": np.nan, "post_blur_m": 2.0, "pre_blur_m": 0.4}
    )
    assert quality_words(row, "pre") == ""
    assert quality_words(row, "post") == "60% veiled by cloud or smoke, blurred over 2.0 m"


def test_a_shift_that_was_not_applied_has_no_source() -> None:
    assert shift_source_words("none") is None
    assert shift_source_words("neighbours") == "from neighbours"
