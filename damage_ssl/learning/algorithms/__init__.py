"""The algorithms by name, one file each: whatever a module of this folder lists in its `ALGORITHMS` is known."""

from typing import TYPE_CHECKING

from damage_ssl.registry import Registry

if TYPE_CHECKING:
    from damage_ssl.learning.algorithms.base import AlgorithmFactory  # noqa: F401  (quoted below, where ruff is blind)

__all__ = ["ALGORITHMS"]


class Algorithms(Registry["AlgorithmFactory"]):
    """Every algorithm that trains a network in one loop: name → factory of (options, where).

    An own one is entered by its name and can then be trained by it, in this process; a file in
    `damage_ssl/learning/algorithms/` is known to the command line and to every process too. A factory gets the options
    of a run that are the algorithm's, and refuses those that it does not know by a SettingsError that opens with
    `where`.

    Example:
        >>> sorted(ALGORITHMS)[:4]
        ['adamatch', 'fixmatch', 'flexmatch', 'freematch']
        >>> ALGORITHMS["mixmatch"]({"views": 3}, "example").unlabelled_views
        ('weak', 'weak', 'weak')
        >>> ALGORITHMS["fixmatch-sure"] = lambda options, where: ALGORITHMS["fixmatch"]({"threshold": 0.99}, where)
        >>> TrainSettings(algorithm="fixmatch-sure").algorithm
        'fixmatch-sure'
    """


ALGORITHMS = Algorithms(__name__, "ALGORITHMS")
