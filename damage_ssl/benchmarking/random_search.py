"""What may be tuned of each method, and the settings that a random search tries.

Random search after Bergstra & Bengio 2012 (JMLR 13); that every method, the baselines too, gets the same number of
trials is the point of Oliver et al. 2018 (arXiv:1804.09170, section 4.1).
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from damage_ssl.errors import SettingsError, nearest_name
from damage_ssl.learning.algorithms import ALGORITHMS, ROUNDS, algorithm_names
from damage_ssl.learning.networks.encoders import is_cached, is_pretrained
from damage_ssl.learning.networks.pair_network import FROZEN
from damage_ssl.learning.settings import TrainSettings

Value = float | int | str | bool


@dataclass(frozen=True)
class LogUniform:
    """A number whose logarithm is equally likely everywhere between those of `low` and `high`."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> Value:
        """One value, to three digits."""
        return float(f"{math.exp(rng.uniform(math.log(self.low), math.log(self.high))):.3g}")


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Value, ...]

    def draw(self, rng: np.random.Generator) -> Value:
        """One value."""
        return self.values[int(rng.integers(len(self.values)))]


Dimension = LogUniform | Choice
Space = Mapping[str, Dimension]

PROBE: Space = {"probe_c": LogUniform(1e-4, 1.0)}
FINE_TUNED: Space = {
    "learning_rate_encoder": LogUniform(5e-5, 1e-3),
    "learning_rate_head": LogUniform(2e-4, 5e-3),
    "weight_decay": LogUniform(1e-5, 1e-2),
    "start_weight": Choice((0.0, 0.25, 0.5, 0.75)),
    **PROBE,
}
ON_CACHED: Space = {name: each for name, each in FINE_TUNED.items() if name != "learning_rate_encoder"}
"""A head on cached features is trained as a pretrained network is, and there is no encoder to train."""

FROM_SCRATCH: Space = {
    "sgd_learning_rate": LogUniform(3e-3, 0.3),
    "weight_decay": LogUniform(1e-5, 1e-2),
    "ema_decay": Choice((0.9, 0.97, 0.99)),
}
_THRESHOLD = Choice((0.7, 0.8, 0.9, 0.95))
_WEIGHT = LogUniform(0.3, 3.0)

OF_METHOD: Mapping[str, Space] = {
    "fixmatch": {"threshold": _THRESHOLD, "unlabelled_weight": _WEIGHT},
    "flexmatch": {"threshold": _THRESHOLD, "unlabelled_weight": _WEIGHT},
    "freematch": {"unlabelled_weight": _WEIGHT, "fairness_weight": LogUniform(1e-3, 0.1)},
    "softmatch": {"unlabelled_weight": _WEIGHT, "sigma_range": LogUniform(0.5, 2.0)},
    "adamatch": {"threshold": _THRESHOLD, "unlabelled_weight": _WEIGHT},
    "pseudo-label": {"threshold": _THRESHOLD, "unlabelled_weight": _WEIGHT},
    "noisy-student": {"threshold": _THRESHOLD, "unlabelled_weight": _WEIGHT},
    "mixmatch": {"unlabelled_weight": LogUniform(3.0, 100.0), "beta_alpha": Choice((0.25, 0.5, 0.75))},
    "remixmatch": {"unlabelled_weight": LogUniform(0.3, 5.0), "beta_alpha": Choice((0.25, 0.5, 0.75))},
    "pi-model": {"unlabelled_weight": LogUniform(1.0, 100.0)},
    "mean-teacher": {"unlabelled_weight": LogUniform(3.0, 300.0)},
    "vat": {"unlabelled_weight": LogUniform(0.1, 1.0), "epsilon": LogUniform(0.03, 0.3)},
    "frozen-start": {"texture_filters": Choice((32, 64, 128, 256))},
}
"""What a method adds to what all of its kind have; one without an entry adds nothing."""


def is_baseline(method: str) -> bool:
    """Whether a method learns from labelled pairs only."""
    return method in FROZEN or method.startswith("supervised")


def search_space(method: str, network: str) -> Space:
    """What may be tuned of a method that trains this network.

    Raises:
        SettingsError: no such method.
    """
    if method not in (*ALGORITHMS, *ROUNDS, *FROZEN):
        raise SettingsError(f"benchmark: method '{method}' is unknown: {nearest_name(method, algorithm_names())}")
    if method in FROZEN:
        common = PROBE
    elif is_cached(network):
        common = ON_CACHED
    else:
        common = FINE_TUNED if is_pretrained(network) else FROM_SCRATCH
    return {**common, **OF_METHOD.get(method, {})}


def trial_values(method: str, network: str, trial: int) -> dict[str, Value]:
    """Trial 0 changes nothing; another draws each dimension. The same trial of a method draws the same everywhere."""
    if trial == 0:
        return {}
    digest = hashlib.blake2b(method.encode(), digest_size=4).digest()
    rng = np.random.default_rng([trial, int.from_bytes(digest)])
    return {name: dimension.draw(rng) for name, dimension in search_space(method, network).items()}


def settings_of(base: TrainSettings, method: str, seed: int, values: Mapping[str, Value]) -> TrainSettings:
    """The settings of one training: the base with a method, a seed, and what a trial draws.

    Options of the base that belong to one algorithm stay with that one.
    """
    own = type(base.options.algorithm).model_fields
    kept = {name: value for name, value in base.given.items() if name not in own or method == base.algorithm}
    direct = {name: value for name, value in values.items() if name in TrainSettings.model_fields}
    options = kept | {name: value for name, value in values.items() if name not in direct}
    return base.replace(algorithm=method, seed=seed, options=options, **direct)
