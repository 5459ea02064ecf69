"""The algorithms by name, one file each."""

from collections.abc import Callable, Mapping
from typing import Any

from damage_ssl.learning.algorithms.base import Algorithm, Batch, LossTerms, Network, ViewName
from damage_ssl.learning.algorithms.fixmatch import FixMatch
from damage_ssl.learning.algorithms.mixmatch import MixMatch
from damage_ssl.learning.algorithms.supervised import Supervised

ALGORITHMS: dict[str, Callable[[Mapping[str, Any], str], Algorithm]] = {
    "supervised-weak": Supervised.weak_from_options,
    "supervised-strong": Supervised.strong_from_options,
    "fixmatch": FixMatch.from_options,
    "mixmatch": MixMatch.from_options,
}
"""Name → factory of (options, where); an unknown option is a SettingsError that opens with `where`."""

__all__ = ["ALGORITHMS", "Algorithm", "Batch", "LossTerms", "Network", "ViewName"]
