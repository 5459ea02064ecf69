"""Campaigns: the same test a few times among the long ones, and many times in `make test-nightly`."""

import pytest


def campaign(sample: int, whole: int, *, minutes: float = 20) -> pytest.MarkDecorator:
    """Runs a test with `rounds` = `sample` as a long one, and with `rounds` = `whole` as a nightly one."""
    limit = pytest.mark.timeout(60 * minutes)
    return pytest.mark.parametrize(
        "rounds",
        [pytest.param(sample, marks=pytest.mark.long), pytest.param(whole, marks=[pytest.mark.nightly, limit])],
    )
