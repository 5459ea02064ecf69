"""The algorithms by name, one file each."""

from collections.abc import Callable, Mapping
from typing import Any

from damage_ssl.learning.algorithms.adamatch import AdaMatch
from damage_ssl.learning.algorithms.base import Algorithm, LossTerms, Network, TrainingBatch, ViewName
from damage_ssl.learning.algorithms.fixmatch import FixMatch
from damage_ssl.learning.algorithms.flexmatch import FlexMatch
from damage_ssl.learning.algorithms.freematch import FreeMatch
from damage_ssl.learning.algorithms.mean_teacher import MeanTeacher
from damage_ssl.learning.algorithms.mixmatch import MixMatch
from damage_ssl.learning.algorithms.pi_model import PiModel
from damage_ssl.learning.algorithms.pseudo_label import PseudoLabel
from damage_ssl.learning.algorithms.remixmatch import ReMixMatch
from damage_ssl.learning.algorithms.softmatch import SoftMatch
from damage_ssl.learning.algorithms.supervised import Supervised
from damage_ssl.learning.algorithms.vat import Vat

__all__ = ["ALGORITHMS", "Algorithm", "LossTerms", "Network", "TrainingBatch", "ViewName"]


ALGORITHMS: dict[str, Callable[[Mapping[str, Any], str], Algorithm]] = {
    "supervised-weak": Supervised.weak_from_options,
    "supervised-strong": Supervised.strong_from_options,
    "fixmatch": FixMatch.from_options,
    "mixmatch": MixMatch.from_options,
    "pseudo-label": PseudoLabel.from_options,
    "pi-model": PiModel.from_options,
    "mean-teacher": MeanTeacher.from_options,
    "vat": Vat.from_options,
    "flexmatch": FlexMatch.from_options,
    "freematch": FreeMatch.from_options,
    "softmatch": SoftMatch.from_options,
    "remixmatch": ReMixMatch.from_options,
    "adamatch": AdaMatch.from_options,
}
"""Name → factory of (options, where); an unknown option is a SettingsError that opens with `where`."""
