"""The algorithms by name, one file each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from damage_ssl.errors import SettingsError, nearest_name
from damage_ssl.learning.algorithms.adamatch import AdaMatch, AdaMatchSettings
from damage_ssl.learning.algorithms.base import Algorithm, LossTerms, Network, TrainingBatch, ViewName
from damage_ssl.learning.algorithms.fixmatch import FixMatch, FixMatchSettings
from damage_ssl.learning.algorithms.flexmatch import FlexMatch, FlexMatchSettings
from damage_ssl.learning.algorithms.freematch import FreeMatch, FreeMatchSettings
from damage_ssl.learning.algorithms.mean_teacher import MeanTeacher, MeanTeacherSettings
from damage_ssl.learning.algorithms.mixmatch import MixMatch, MixMatchSettings
from damage_ssl.learning.algorithms.noisy_student import NoisyStudentSettings
from damage_ssl.learning.algorithms.pi_model import PiModel, PiModelSettings
from damage_ssl.learning.algorithms.pseudo_label import PseudoLabel, PseudoLabelSettings
from damage_ssl.learning.algorithms.remixmatch import ReMixMatch, ReMixMatchSettings
from damage_ssl.learning.algorithms.softmatch import SoftMatch, SoftMatchSettings
from damage_ssl.learning.algorithms.supervised import Supervised, SupervisedSettings
from damage_ssl.learning.algorithms.vat import Vat, VatSettings
from damage_ssl.learning.networks.pair_network import FROZEN
from damage_ssl.settings import Settings, from_mapping

__all__ = ["ALGORITHMS", "Algorithm", "LossTerms", "Network", "TrainingBatch", "ViewName", "algorithm_names"]

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class AlgorithmEntry(Generic[S]):
    """The settings of an algorithm, and what makes it from them."""

    settings: type[S]
    make: Callable[[S], Algorithm]

    def __call__(self, options: Mapping[str, Any], where: str) -> Algorithm:
        """The algorithm from plain options; a wrong one is a SettingsError that opens with `where`."""
        return self.make(from_mapping(self.settings, options, where))


ALGORITHMS: dict[str, AlgorithmEntry[Any]] = {
    "supervised-weak": AlgorithmEntry(SupervisedSettings, partial(Supervised, "weak")),
    "supervised-strong": AlgorithmEntry(SupervisedSettings, partial(Supervised, "strong")),
    "fixmatch": AlgorithmEntry(FixMatchSettings, FixMatch),
    "mixmatch": AlgorithmEntry(MixMatchSettings, MixMatch),
    "pseudo-label": AlgorithmEntry(PseudoLabelSettings, PseudoLabel),
    "pi-model": AlgorithmEntry(PiModelSettings, PiModel),
    "mean-teacher": AlgorithmEntry(MeanTeacherSettings, MeanTeacher),
    "vat": AlgorithmEntry(VatSettings, Vat),
    "flexmatch": AlgorithmEntry(FlexMatchSettings, FlexMatch),
    "freematch": AlgorithmEntry(FreeMatchSettings, FreeMatch),
    "softmatch": AlgorithmEntry(SoftMatchSettings, SoftMatch),
    "remixmatch": AlgorithmEntry(ReMixMatchSettings, ReMixMatch),
    "adamatch": AlgorithmEntry(AdaMatchSettings, AdaMatch),
}
ROUNDS: dict[str, type[NoisyStudentSettings]] = {"noisy-student": NoisyStudentSettings}
"""Algorithms that train several networks, one after the other."""


def algorithm_names() -> list[str]:
    """All that can be trained."""
    return [*ALGORITHMS, *ROUNDS, *FROZEN]


def settings_of_algorithm(name: str) -> type[Settings]:
    """The class of an algorithm's own settings; a frozen network has none.

    Raises:
        SettingsError: no such algorithm.
    """
    if name not in algorithm_names():
        raise SettingsError(f"algorithm '{name}' is unknown: {nearest_name(name, algorithm_names())}")
    return ALGORITHMS[name].settings if name in ALGORITHMS else ROUNDS.get(name, Settings)
