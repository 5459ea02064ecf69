"""Frozen settings, one class a stage; an unknown key is an error that names the nearest known one."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from damage_ssl.errors import SettingsError, nearest_name

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PatchSettings:
    """How pairs are cut.

    `context_gsd_m` adds a second, wider view of the same pixel size (None: no context view). A building needs
    `min_valid_share` of its footprint's pixels usable on both dates, or it is not assessed.

    `align`: how far a shift between the dates, and between footprints and imagery, is measured and undone: building by
    building, per scene only, or not at all. `align_reach_m` is the largest shift that is looked for. A building without
    a usable match borrows from trusted ones within `align_radius_m`; it is misaligned if its shift may be wrong by more
    than `align_tolerance_m`.

    A building is not assessed where, on either date, a veil of cloud or smoke more opaque than `max_cloud` (0 clear, 1
    opaque) lies over it; more than the share `max_shadow` of it and of its surroundings is black, or `max_saturated`
    white beyond the sensor's range; or the picture is blurred by a Gaussian of more than `max_blur_m` metres.

    Example:
        >>> PatchSettings(context_gsd_m=1.0).size_px
        64
    """

    gsd_m: float = 0.5
    size_px: int = 64
    context_gsd_m: float | None = None
    min_valid_share: float = 0.75
    min_area_m2: float = 6.0
    stretch_low_percent: float = 1.0
    stretch_high_percent: float = 99.0
    align: Literal["building", "scene", "off"] = "building"
    align_reach_m: float = 12.0
    align_radius_m: float = 150.0
    align_tolerance_m: float = 3.0
    max_cloud: float = 0.75
    max_shadow: float = 0.9
    max_saturated: float = 0.9
    max_blur_m: float = 2.0

    def __post_init__(self) -> None:
        check_within("patches: gsd_m", self.gsd_m, 0.01, 100.0)
        check_within("patches: size_px", self.size_px, 8, 1024)
        check_within("patches: context_gsd_m", self.context_gsd_m or self.gsd_m, 0.01, 100.0)
        check_within("patches: min_valid_share", self.min_valid_share, 0.0, 1.0)
        check_within("patches: min_area_m2", self.min_area_m2, 0.0, 1e6)
        check_within("patches: stretch_low_percent", self.stretch_low_percent, 0.0, 49.0)
        check_within("patches: stretch_high_percent", self.stretch_high_percent, 51.0, 100.0)
        check_within("patches: align_reach_m", self.align_reach_m, 0.5, 100.0)
        check_within("patches: align_radius_m", self.align_radius_m, 1.0, 100_000.0)
        check_within("patches: align_tolerance_m", self.align_tolerance_m, 0.1, 100.0)
        for name in ("max_cloud", "max_shadow", "max_saturated"):
            check_within(f"patches: {name}", getattr(self, name), 0.0, 1.0)
        check_within("patches: max_blur_m", self.max_blur_m, 0.0, 1000.0)


@dataclass(frozen=True, kw_only=True)
class FootprintSettings:
    """How footprints are read and merged.

    Footprints below `min_confidence` are not the event's (None: all are; a footprint without a confidence stays). A
    point without a size becomes a square of `point_size_m`, about a small house. A footprint that shares
    `duplicate_share` of the smaller one's area with one of a preferred source is the same building: less would join
    neighbours of a terrace whose sources are shifted by a few metres. Without an AOI, footprints up to `margin_m` from
    the imagery are the event's: the gaps between scenes and their surroundings are then in the map, as not covered, and
    the rest of a country's file is not.

    Example:
        >>> FootprintSettings(min_confidence=0.7).margin_m
        1000.0
    """

    min_confidence: float | None = None
    point_size_m: float = 10.0
    duplicate_share: float = 0.5
    margin_m: float = 1000.0

    def __post_init__(self) -> None:
        check_within("footprints: min_confidence", self.min_confidence or 0.0, 0.0, 1.0)
        check_within("footprints: point_size_m", self.point_size_m, 1.0, 1000.0)
        check_within("footprints: duplicate_share", self.duplicate_share, 0.01, 1.0)
        check_within("footprints: margin_m", self.margin_m, 0.0, 1e6)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a stage may use; never changes its result.

    `workers` processes work side by side (0: this process only); each stage keeps its peak memory, over all its local
    processes, under `memory_bytes` (None: 1 GB, half a GB for each worker, and more only where the list of footprints
    alone needs it). `cluster` is the address of a Dask scheduler whose workers are used instead; `memory_bytes` then
    bounds each of its tasks.

    Example:
        >>> Resources(workers=2).allowed_bytes
        2000000000
    """

    workers: int = 0
    memory_bytes: int | None = None
    cluster: str | None = None

    def __post_init__(self) -> None:
        check_within("resources: workers", self.workers, 0, 1024)
        check_within("resources: memory_bytes", self.allowed_bytes, 100_000_000, 1e15)

    @property
    def allowed_bytes(self) -> int:
        """`memory_bytes`, or its default."""
        return self.memory_bytes if self.memory_bytes is not None else 1_000_000_000 + 500_000_000 * self.workers


@dataclass(frozen=True, kw_only=True)
class ReadSettings:
    """How long a raster over the network is tried before it counts as failed; never changes what is read.

    A read is tried up to `tries` times, after waits of `wait_s`, twice that, and so on. `connect_timeout_s` bounds the
    making of a connection, `stall_timeout_s` how long a transfer may stand still.
    """

    tries: int = 4
    wait_s: float = 0.5
    connect_timeout_s: float = 10.0
    stall_timeout_s: float = 15.0

    def __post_init__(self) -> None:
        check_within("reading: tries", self.tries, 1, 100)
        check_within("reading: wait_s", self.wait_s, 0.0, 600.0)
        check_within("reading: connect_timeout_s", self.connect_timeout_s, 1.0, 3600.0)
        check_within("reading: stall_timeout_s", self.stall_timeout_s, 1.0, 3600.0)


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """How labelled buildings are divided: whole spatial blocks of `block_m` metres, never single buildings.

    Example:
        >>> SplitSettings(block_m=100.0).validation_share
        0.25
    """

    block_m: float = 150.0
    validation_share: float = 0.25
    min_train_per_class: int = 3
    min_validation_per_class: int = 2

    def __post_init__(self) -> None:
        check_within("split: block_m", self.block_m, 1.0, 1e6)
        check_within("split: validation_share", self.validation_share, 0.0, 0.9)
        check_within("split: min_train_per_class", self.min_train_per_class, 1, 10_000)
        check_within("split: min_validation_per_class", self.min_validation_per_class, 1, 10_000)


@dataclass(frozen=True, kw_only=True)
class SourceSettings:
    """How much is taken from the other events that a training learns from.

    Of their labelled buildings, held-out ones included, at most `max_labelled` in all are drawn, the classes in equal
    shares and within each the events, as far as they go (32 KiB of memory a pair).
    """

    max_labelled: int = 2000

    def __post_init__(self) -> None:
        check_within("sources: max_labelled", self.max_labelled, 2, 1_000_000)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """One training run. Hyper-parameters of a single algorithm go into `options`, checked by that algorithm.

    `minutes` bounds the run (None: the full number of steps); `max_unlabelled` bounds its memory (32 KiB a pair).
    `network` is `efficientnet-lite0`, `small-cnn` or `smp:<encoder>`; `cached-lite0` trains only a head, in seconds, on
    features of views that are computed once an event (`cached:<network>`: another network's).
    `fusion`: pre and post go through one shared encoder, and the head sees post and post − pre (`change`) or pre too
    (`siamese`), only post (`post`), both (`concatenate`), only their difference (`subtract`), or what post tokens that
    attend to pre tokens do not find there beside those of `change` (`cross-attention`); or they are `stacked` channels.

    Example:
        >>> TrainSettings(algorithm="fixmatch", options={"threshold": 0.9}).network
        'efficientnet-lite0'
    """

    algorithm: str = "mixmatch"
    scheme: str = "binary-major"
    network: str = "efficientnet-lite0"
    fusion: Literal["siamese", "change", "stacked", "post", "concatenate", "subtract", "cross-attention"] = "change"
    seed: int = 0
    steps: int = 80
    minutes: float | None = None
    batch_labelled: int = 16
    unlabelled_ratio: int = 4
    max_unlabelled: int = 20_000
    learning_rate_encoder: float = 2e-4
    learning_rate_head: float = 1e-3
    weight_decay: float = 5e-4
    ema_decay: float = 0.97
    input_px: int = 64
    prediction_rotations: int = 4
    device: str = "auto"
    options: Mapping[str, float | int | str | bool] = dataclasses.field(default_factory=dict)


def from_mapping(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build a settings class from a mapping, e.g. one table of a TOML file.

    Raises:
        SettingsError: an unknown key or a value of the wrong type, saying where.
    """
    hints = typing.get_type_hints(cls)
    unknown = [key for key in values if key not in hints]
    if unknown:
        raise SettingsError(f"{where}: setting '{unknown[0]}' is unknown: {nearest_name(unknown[0], hints)}")
    return cls(**{key: _checked(value, hints[key], f"{where}: {key}") for key, value in values.items()})


def to_mapping(settings: Any) -> dict[str, Any]:
    """The settings as plain JSON values, read back by `from_mapping`."""
    return {
        field.name: dict(value) if isinstance(value := getattr(settings, field.name), Mapping) else value
        for field in dataclasses.fields(settings)
    }


def check_within(name: str, value: float, low: float, high: float) -> None:
    """Check a numeric setting, `name` saying whose it is.

    Raises:
        SettingsError: it is not in [low, high], or not a number.
    """
    if not low <= value <= high:
        raise SettingsError(f"{name} is {value:g}; it must be {low:g} to {high:g}")


def _checked(value: Any, hint: Any, where: str) -> Any:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        if value is None and type(None) in typing.get_args(hint):
            return None
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    origin = typing.get_origin(hint)
    if origin is Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            raise SettingsError(f"{where} is {value!r}; allowed: {', '.join(map(str, allowed))}")
        return value
    if origin is not None:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise SettingsError(f"{where} is {value!r}, which is not of type {hint.__name__}")
    return value
