"""The algorithms by name, one file each: whatever a module of this folder lists in its `ALGORITHMS` is known."""

from typing import TYPE_CHECKING

from damage_ssl.errors import SettingsError, nearest_name
from damage_ssl.registry import Registry
from damage_ssl.settings import Settings

if TYPE_CHECKING:
    from typing import Any

    from damage_ssl.learning.algorithms.base import AlgorithmEntry

    AnyAlgorithm = AlgorithmEntry[Any]

__all__ = ["ALGORITHMS", "ROUNDS", "algorithm_names", "settings_of_algorithm"]


class Algorithms(Registry["AnyAlgorithm"]):
    """Every algorithm that trains a network in one loop, by name: its settings, and what makes it from them.

    An own one is entered by its name and can then be trained by it, in this process; a file in
    `damage_ssl/learning/algorithms/` is known to the command line and to every process too. `train` trains a few more
    that are no single loop (`noisy-student`) or train no network (`frozen-lite0` …).

    Examples:
        >>> sorted(ALGORITHMS)[:4]
        ['adamatch', 'fixmatch', 'flexmatch', 'freematch']
        >>> ALGORITHMS["fixmatch"].settings(threshold=0.9).unlabelled_weight
        1.0
        >>> ALGORITHMS["my-fixmatch"] = ALGORITHMS["fixmatch"]
        >>> TrainSettings(algorithm="my-fixmatch", options={"threshold": 0.9}).options.algorithm.threshold
        0.9
    """


ALGORITHMS = Algorithms(__name__, "ALGORITHMS")

ROUNDS: Registry[type[Settings]] = Registry(__name__, "ROUNDS")
"""Algorithms that train several networks, one after the other, by name: their settings."""


def algorithm_names() -> list[str]:
    """All that can be trained."""
    from damage_ssl.learning.networks.pair_network import FROZEN  # here, since it needs torch

    return [*ALGORITHMS, *ROUNDS, *FROZEN]


def settings_of_algorithm(name: str) -> type[Settings]:
    """The class of an algorithm's own settings; a frozen network has none.

    Raises:
        SettingsError: no such algorithm.
    """
    if name not in algorithm_names():
        raise SettingsError(f"algorithm '{name}' is unknown: {nearest_name(name, algorithm_names())}")
    return ALGORITHMS[name].settings if name in ALGORITHMS else ROUNDS.get(name, Settings)
