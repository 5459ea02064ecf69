"""Typed settings of training, network, views, cached features, remedies.

`TrainSettings.options` sorted by whom they concern: the training, cached features, the views, unequal classes, the
algorithm.

Options of the network itself: where its encoder starts, its head, its views, the sizes it is trained at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms.base import check_range
from damage_ssl.learning.algorithms.remedies import ImbalanceOptions
from damage_ssl.learning.algorithms.remedies.consistency import ConsistencyOptions
from damage_ssl.learning.augmentation.views import ViewSettings
from damage_ssl.settings import from_mapping

SIZE_STEP_PX = 32
"""Mixed sizes are multiples of it: the deepest stride of the encoders."""


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Options of the network, beside `network`, `fusion` and `input_px` of `TrainSettings`.

    `weights` is a file that the encoder starts from: one of `damage-ssl pretrain`, or a published safetensors or .pth
    of a `timm:` or `smp:` encoder. `init`: `packaged` uses what comes with the encoder's name (ImageNet for
    `efficientnet-lite0`, random for the others), `hub` fetches ImageNet weights of a `timm:` or `smp:` encoder.
    `head`: `hidden` has a hidden layer, `ordinal` is for classes in an order (`heads.py`).
    `closeup` is the share of the patch's side that is cut out of its middle as a view of its own, the whole patch then
    being the context (0: none; not where the patches have a context view, which is used anyway). With `input_px_low`
    and `input_px_high` each training batch is resized to a multiple of 32 px between them, at random (0: always
    `input_px`); prediction stays at `input_px`.
    """

    weights: str = ""
    init: Literal["packaged", "hub"] = "packaged"
    head: Literal["linear", "hidden", "ordinal"] = "linear"
    closeup: float = 0.0
    input_px_low: int = 0
    input_px_high: int = 0

    def __post_init__(self) -> None:
        check_range("training: closeup", self.closeup, 0.0, 0.9)
        low, high = self.input_px_low, self.input_px_high
        if (low or high) and not SIZE_STEP_PX <= low <= high:
            raise SettingsError(
                f"training: input_px_low is {low}, input_px_high is {high}; both are needed, {SIZE_STEP_PX} or more, "
                "the low one first"
            )
        if low and not mixed_sizes(low, high):
            raise SettingsError(
                f"training: there is no multiple of {SIZE_STEP_PX} px from input_px_low {low} to input_px_high {high}"
            )
        if self.weights and self.init == "hub":
            raise SettingsError("training: 'weights' and init 'hub' both say where the encoder starts; give one")

    @property
    def given_start(self) -> bool:
        """True where the encoder starts from weights that its name does not bring along."""
        return bool(self.weights) or self.init == "hub"


def mixed_sizes(low: int, high: int) -> list[int]:
    """The multiples of `SIZE_STEP_PX` from `low` to `high`."""
    return list(range(-(-low // SIZE_STEP_PX) * SIZE_STEP_PX, high + 1, SIZE_STEP_PX)) if low else []


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
