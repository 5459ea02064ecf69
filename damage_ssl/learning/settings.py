"""Typed settings of a training: what every one has, and the options of fit, cached features, network and algorithm.

On disk and on the command line options are flat names (`[train.options]`, `options` in a run's settings.json), and stay
there as they were given, since a training is known again by them. In memory `TrainSettings.options` holds them typed:
they are sorted once, here, and nobody below asks for a name. The classes of views, remedies and algorithms stand
beside their code, which needs torch; they are looked up by the algorithm's name when there is something to sort. So a
run can be listed and shown without torch, and a new algorithm brings its settings in its own file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from damage_ssl.damage_scale import DEFAULT_SCHEME
from damage_ssl.errors import SettingsError, nearest_name
from damage_ssl.settings import S, Settings, from_mapping

if TYPE_CHECKING:
    from damage_ssl.learning.algorithms.remedies import ImbalanceOptions
    from damage_ssl.learning.algorithms.remedies.consistency import ConsistencyOptions
    from damage_ssl.learning.augmentation.views import ViewSettings


class TrainSettings(Settings, title="train"):
    """One training run. What concerns only some trainings goes into `options`, flat, by the names in `TrainingOptions`.

    `minutes` bounds the run (None: the full number of steps); `max_unlabelled` bounds its memory (32 KiB a pair).
    `network` is `efficientnet-lite0`, `small-cnn` or `smp:<encoder>`; `cached-lite0` trains only a head, in seconds, on
    features of views that are computed once an event (`cached:<network>`: another network's).
    `fusion`: pre and post go through one shared encoder, and the head sees post and post − pre (`change`) or pre too
    (`siamese`), only post (`post`), both (`concatenate`), only their difference (`subtract`), or what post tokens that
    attend to pre tokens do not find there beside those of `change` (`cross-attention`); or they are `stacked` channels.
    `given` is what the options were said to be, and nothing else is written to disk; `options` is what they mean.

    Examples:
        >>> TrainSettings(algorithm="fixmatch", options={"threshold": 0.9}).network
        'efficientnet-lite0'
    """

    algorithm: str = "mixmatch"
    scheme: str = DEFAULT_SCHEME
    network: str = "efficientnet-lite0"
    fusion: Literal["siamese", "change", "stacked", "post", "concatenate", "subtract", "cross-attention"] = "change"
    seed: int = 0
    steps: int = Field(80, ge=1)
    minutes: float | None = Field(None, gt=0.0)
    batch_labelled: int = Field(16, ge=2)
    unlabelled_ratio: int = Field(4, ge=1)
    max_unlabelled: int = Field(20_000, ge=0)
    learning_rate_encoder: float = Field(2e-4, ge=0.0)
    learning_rate_head: float = Field(1e-3, ge=0.0)
    weight_decay: float = Field(5e-4, ge=0.0)
    ema_decay: float = Field(0.97, ge=0.0, lt=1.0)
    input_px: int = Field(64, ge=32)
    prediction_rotations: int = Field(4, ge=1, le=4)
    device: str = "auto"
    given: Mapping[str, object] = Field(default_factory=dict, alias="options")

    @cached_property
    def options(self) -> "TrainingOptions":
        """The options, sorted and checked when the settings are made, those of a run on disk when first asked for.

        Raises:
            SettingsError: an unknown algorithm or option, or a value of the wrong type or out of range.
        """
        return sorted_options(self.given, self.algorithm, "train.options")

    @classmethod
    def as_recorded(cls, values: Mapping[str, Any], where: str) -> "TrainSettings":
        """Read what `model_dump` gave, without looking into the options.

        So a run of another version, or of something that is no training, can still be shown, and without torch.
        """
        settings = cls.__new__(cls)
        Settings._fill(settings, values, where)
        return settings

    def _fill(self, values: Mapping[str, Any], where: str) -> None:
        super()._fill(values, where)
        if self.given:
            table = f"{where.removesuffix(']')}.options{']' if where.endswith(']') else ''}"
            self.__dict__["options"] = sorted_options(self.given, self.algorithm, table)


class NetworkOptions(Settings, title="training"):
    """Options of the network, beside `network`, `fusion` and `input_px` of `TrainSettings`.

    `weights` is a file that the encoder starts from: one of `damage-ssl pretrain`, or a published safetensors or .pth
    of a `timm:` or `smp:` encoder. `init`: `packaged` uses what comes with the encoder's name (ImageNet for
    `efficientnet-lite0`, random for the others), `hub` fetches ImageNet weights of a `timm:` or `smp:` encoder.
    `head`: `hidden` has a hidden layer, `ordinal` is for classes in an order (`heads.py`).
    `closeup` is the share of the patch's side that is cut out of its middle as a view of its own, the whole patch then
    being the context (0: none; not where the patches have a context view, which is used anyway).
    """

    weights: str = ""
    init: Literal["packaged", "hub"] = "packaged"
    head: Literal["linear", "hidden", "ordinal"] = "linear"
    closeup: float = Field(0.0, ge=0.0, le=0.9)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.weights and self.init == "hub":
            raise ValueError("'weights' and init 'hub' both say where the encoder starts; give one")
        return self

    @property
    def given_start(self) -> bool:
        """True where the encoder starts from weights that its name does not bring along."""
        return bool(self.weights) or self.init == "hub"


class FitOptions(Settings, title="training"):
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
    `spatial_stack`: `auto` ends a run with the spatial stack (neighbours' scores and a map of the labels beside the
    building's own score, weighted by what the labels show); with `off` a map is of the images alone.
    `compile` `reduce-overhead` compiles the network and replays it as CUDA graphs (on CUDA only).
    """

    head_start: Literal["auto", "logistic", "random"] = "auto"
    probe_c: float = Field(0.01, gt=0.0)
    optimizer: Literal["auto", "adamw", "sgd"] = "auto"
    sgd_learning_rate: float = 0.03
    sgd_momentum: float = 0.9
    warm_up: float = 0.05
    gradient_clip: float = 0.0
    train_norm: bool = True
    texture_filters: int = Field(128, ge=0)
    start_weight: float = Field(0.5, ge=0.0, le=1.0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    accumulate: int = Field(1, ge=1)
    compile: Literal["off", "reduce-overhead"] = "off"
    spatial_stack: Literal["auto", "off"] = "auto"
    unlabelled_rows: Literal["all", "unlabelled"] = "all"


class CacheOptions(Settings, title="training"):
    """Options of training on cached features (`network` `cached-lite0`).

    Of each building the frozen network's features of the four quarter turns, of `cached_weak` weak and of
    `cached_strong` strong views are kept, as their first `cached_dimensions` principal components (0: all; 128 of 1,216
    cost at most 0.001 of AUROC, see `benchmarks/cached_components.py`). `cached_seed` draws these views, whatever the
    run's seed. A step makes `cached_updates` updates of the head, with a batch drawn anew for each: one costs about a
    hundredth of a step through the encoder. Making the features counts towards `minutes`.
    """

    cached_weak: int = Field(4, ge=0, le=1000)
    cached_strong: int = Field(6, ge=1, le=1000)
    cached_dimensions: int = Field(128, ge=0)
    cached_seed: int = Field(0, ge=0)
    cached_updates: int = Field(10, ge=1, le=10_000)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The options of a training by whom they concern; `algorithm` is of the class that the algorithm brings along."""

    fit: FitOptions
    cache: CacheOptions
    network: NetworkOptions
    views: "ViewSettings"
    imbalance: "ImbalanceOptions"
    consistency: "ConsistencyOptions"
    algorithm: Settings


def sorted_options(given: Mapping[str, Any], algorithm: str, where: str) -> TrainingOptions:
    """Sort flat options by their names, which no two of the classes share.

    Raises:
        SettingsError: an unknown algorithm or option, or a value of the wrong type or out of range.
    """
    from damage_ssl.learning.algorithms import settings_of_algorithm
    from damage_ssl.learning.algorithms.remedies import ImbalanceOptions
    from damage_ssl.learning.algorithms.remedies.consistency import ConsistencyOptions
    from damage_ssl.learning.augmentation.views import ViewSettings

    shared = (FitOptions, CacheOptions, NetworkOptions, ViewSettings, ImbalanceOptions, ConsistencyOptions)
    own = settings_of_algorithm(algorithm)
    known = {name for each in (*shared, own) for name in each.model_fields}
    for name in given:
        if name not in known:
            raise SettingsError(f"{where}: {algorithm}: setting '{name}' is unknown: {nearest_name(name, known)}")

    def part(cls: type[S], where: str = where) -> S:
        return from_mapping(cls, {name: value for name, value in given.items() if name in cls.model_fields}, where)

    return TrainingOptions(
        fit=part(FitOptions),
        cache=part(CacheOptions),
        network=part(NetworkOptions),
        views=part(ViewSettings),
        imbalance=part(ImbalanceOptions),
        consistency=part(ConsistencyOptions),
        algorithm=part(own, f"{where}: {algorithm}"),
    )
