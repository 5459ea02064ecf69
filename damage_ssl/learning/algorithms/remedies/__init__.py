"""Remedies for classes of unequal size, as an option of every algorithm."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from damage_ssl.learning.algorithms.base import Algorithm
from damage_ssl.learning.algorithms.remedies.abc import ABCSettings, AuxiliaryBalanced
from damage_ssl.learning.algorithms.remedies.cdmad import CDMADSettings, Unbiased


@dataclass(frozen=True, kw_only=True)
class ImbalanceOptions:
    """`imbalance`: `abc`, a second head that learns from balanced classes and predicts; `cdmad`, the bias that a blank
    pair shows is subtracted. The others are settings of these two, see their modules."""

    imbalance: Literal["none", "abc", "cdmad"] = "none"
    abc_threshold: float = 0.95
    abc_weight: float = 1.0
    cdmad_start: float = 0.2

    def __post_init__(self) -> None:
        self.abc()
        self.cdmad()

    def abc(self) -> ABCSettings:
        """Those of ABC, checked."""
        return ABCSettings(threshold=self.abc_threshold, weight=self.abc_weight)

    def cdmad(self) -> CDMADSettings:
        """Those of CDMAD, checked."""
        return CDMADSettings(start=self.cdmad_start)


def with_remedy(
    algorithm: Algorithm, options: ImbalanceOptions, *, class_counts: Sequence[int], channels: int, size_px: int
) -> Algorithm:
    """The algorithm with the chosen remedy; `class_counts` are the labelled pairs', `channels`, `size_px` a pair's."""
    if options.imbalance == "abc":
        return AuxiliaryBalanced(algorithm, options.abc(), class_counts)
    if options.imbalance == "cdmad":
        return Unbiased(algorithm, options.cdmad(), channels, size_px)
    return algorithm
