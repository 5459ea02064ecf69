"""Remedies for classes of unequal size, as an option of every algorithm."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from damage_ssl.learning.algorithms.base import Algorithm
from damage_ssl.learning.algorithms.remedies.abc import AuxiliaryBalanced
from damage_ssl.learning.algorithms.remedies.cdmad import Unbiased
from damage_ssl.settings import Settings


class ImbalanceOptions(Settings, title="imbalance"):
    """`imbalance`: `abc`, a second head that learns from balanced classes and predicts; `cdmad`, the bias that a blank
    pair shows is subtracted, from pseudo-labels after the share `cdmad_start` of the training (0.2 in the released
    code). `abc_threshold` τ is the paper's; `abc_weight` 1 adds the head's losses to the algorithm's as they are.
    """

    imbalance: Literal["none", "abc", "cdmad"] = "none"
    abc_threshold: float = Field(0.95, ge=0.0, le=1.0)
    abc_weight: float = Field(1.0, ge=0.0)
    cdmad_start: float = Field(0.2, ge=0.0, le=1.0)


def with_remedy(
    algorithm: Algorithm, options: ImbalanceOptions, *, class_counts: Sequence[int], channels: int, size_px: int
) -> Algorithm:
    """The algorithm with the chosen remedy; `class_counts` are the labelled pairs', `channels`, `size_px` a pair's."""
    if options.imbalance == "abc":
        return AuxiliaryBalanced(algorithm, class_counts, threshold=options.abc_threshold, weight=options.abc_weight)
    if options.imbalance == "cdmad":
        return Unbiased(algorithm, channels, size_px, start=options.cdmad_start)
    return algorithm
