"""`TrainSettings.options` sorted by whom they concern: the training, cached features, the views, unequal classes, the
algorithm."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from damage_ssl.learning.algorithms.augmix import ConsistencyOptions
from damage_ssl.learning.algorithms.base import check_range
from damage_ssl.learning.algorithms.imbalance import ImbalanceOptions
from damage_ssl.learning.network_options import NetworkOptions
from damage_ssl.learning.views import ViewSettings
from damage_ssl.settings import from_mapping


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Options of the training itself, beside those of an algorithm.

    `head_start`: `logistic` starts the head at the logistic regression on the untouched features of the labelled
    pairs (LP-FT, Kumar et al. 2022, arXiv:2202.10054), `random` does not; `auto` takes the first where the encoder is
    pretrained. `probe_c` is that regression's inverse regularisation. `optimizer`: `auto` is AdamW for a pretrained
    encoder, SGD with Nesterov momentum from scratch. `warm_up` is the share of the run over which the learning rate
    rises; `gradient_clip` 0 clips nothing; `train_norm` lets gain and shift of frozen batch norms learn.
    `texture_filters` random convolutional features (0: none) go beside a pretrained encoder's.
    `start_weight` is the share of the starting weights in the weights that are kept, where training began at the
    logistic regression (WiSE-FT, Wortsman et al. 2022, arXiv:2109.01903, eq. 1 with α = 1 - `start_weight`): what few
    labels have bent the network to counts less where it did better before.
    `unlabelled_rows`: the labelled pairs serve as unlabelled too (`all`), or only those without any label do
    (`unlabelled`: for domain adaptation, where the labelled pairs are of other events).
    `accumulate` sends the batch through the network in that many parts where memory is short, with the same result.
    `compile` `reduce-overhead` compiles the network and replays it as CUDA graphs (on CUDA only).
    """

    head_start: Literal["auto", "logistic", "random"] = "auto"
    probe_c: float = 0.01
    optimizer: Literal["auto", "adamw", "sgd"] = "auto"
    sgd_learning_rate: float = 0.03
    sgd_momentum: float = 0.9
    warm_up: float = 0.05
    gradient_clip: float = 0.0
    train_norm: bool = True
    texture_filters: int = 128
    start_weight: float = 0.5
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    accumulate: int = 1
    compile: Literal["off", "reduce-overhead"] = "off"
    unlabelled_rows: Literal["all", "unlabelled"] = "all"

    def __post_init__(self) -> None:
        check_range("training: start_weight", self.start_weight, 0.0, 1.0)
        check_range("training: accumulate", self.accumulate, 1)
        check_range("training: texture_filters", self.texture_filters, 0.0)
        check_range("training: probe_c", self.probe_c, 0.0, open_low=True)


@dataclass(frozen=True, kw_only=True)
class CacheOptions:
    """Options of training on cached features (`network` `cached-lite0`).

    Of each building the frozen network's features of the four quarter turns, of `cached_weak` weak and of
    `cached_strong` strong views are kept, as their first `cached_dimensions` principal components (0: all; 128 of 1,216
    cost at most 0.001 of AUROC, see `benchmarks/cached_components.py`). `cached_seed` draws these views, whatever the
    run's seed. A step makes `cached_updates` updates of the head, with a batch drawn anew for each: one costs about a
    hundredth of a step through the encoder. Making the features counts towards `minutes`.
    """

    cached_weak: int = 4
    cached_strong: int = 6
    cached_dimensions: int = 128
    cached_seed: int = 0
    cached_updates: int = 10

    def __post_init__(self) -> None:
        check_range("training: cached_weak", self.cached_weak, 0, 1000)
        check_range("training: cached_strong", self.cached_strong, 1, 1000)
        check_range("training: cached_dimensions", self.cached_dimensions, 0)
        check_range("training: cached_seed", self.cached_seed, 0)
        check_range("training: cached_updates", self.cached_updates, 1, 10_000)


@dataclass(frozen=True, kw_only=True)
class SortedOptions:
    """`algorithm` holds what none of the others know; the algorithm refuses what it does not know."""

    fit: FitOptions
    cache: CacheOptions
    views: ViewSettings
    imbalance: ImbalanceOptions
    consistency: ConsistencyOptions
    network: NetworkOptions
    algorithm: Mapping[str, Any]


def sort_options(options: Mapping[str, Any], where: str) -> SortedOptions:
    """Sort the options of a run by their names.

    Raises:
        SettingsError: a value of the wrong type or out of range.
    """
    fit = {field.name for field in fields(FitOptions)}
    cache = {field.name for field in fields(CacheOptions)}
    views = {field.name for field in fields(ViewSettings)}
    imbalance = {field.name for field in fields(ImbalanceOptions)}
    network = {field.name for field in fields(NetworkOptions)}
    consistency = {field.name for field in fields(ConsistencyOptions)}
    known = fit | cache | views | imbalance | consistency | network
    return SortedOptions(
        fit=from_mapping(FitOptions, {name: value for name, value in options.items() if name in fit}, where),
        cache=from_mapping(CacheOptions, {name: value for name, value in options.items() if name in cache}, where),
        views=from_mapping(ViewSettings, {name: value for name, value in options.items() if name in views}, where),
        imbalance=from_mapping(
            ImbalanceOptions, {name: value for name, value in options.items() if name in imbalance}, where
        ),
        consistency=from_mapping(
            ConsistencyOptions, {name: value for name, value in options.items() if name in consistency}, where
        ),
        network=from_mapping(
            NetworkOptions, {name: value for name, value in options.items() if name in network}, where
        ),
        algorithm={name: value for name, value in options.items() if name not in known},
    )
