"""Frozen settings that several rooms share, and the one way in which all settings are checked.

A settings class derives from `Settings`: types and ranges stand with its fields, what several fields must fulfil
together in a validator that raises ValueError. However it is made, from Python, a TOML table or a file on disk, what is
wrong is a `SettingsError` that says where, what was found and what is allowed, or the nearest known name. A stage's own
settings stand in its room; those of a training, whose options an algorithm helps to define, in `learning/settings.py`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from damage_ssl.errors import SettingsError, nearest_name

S = TypeVar("S", bound="Settings")
_BOUNDS = {"multiple_of": "a multiple of", "ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_RANGE_ERRORS = ("greater_than_equal", "greater_than", "less_than_equal", "less_than", "multiple_of", "finite_number")
_TYPE_ERRORS = {
    "int_type": "int", "int_from_float": "int", "float_type": "float", "string_type": "str", "bool_type": "bool",
}  # fmt: skip


class Settings(BaseModel):
    """Base of all settings: immutable, by keyword only, no unknown name, no value of another type.

    An int is taken for a float, nothing else is converted; no number may be infinite or NaN. `model_dump` gives plain
    values, which `from_mapping` reads back. The title of a class opens the errors of one that is made in Python.

    Raises:
        SettingsError: an unknown name, or a value of the wrong type or out of range.

    Examples:
        >>> class Sharpening(Settings, title="sharpening"):
        ...     temperature: float = 0.5
        >>> Sharpening(temperatur=0.7)
        Traceback (most recent call last):
        damage_ssl.errors.SettingsError: sharpening: setting 'temperatur' is unknown: did you mean 'temperature'?
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, serialize_by_alias=True)

    def __init__(self, /, **values: Any) -> None:
        self._fill(values, str(self.model_config.get("title") or type(self).__name__))

    def replace(self, **changes: Any) -> Self:
        """The same with some values changed, checked anew; what was left at its default still counts as such."""
        fields = type(self).model_fields
        given = {fields[name].alias or name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**given, **changes})

    def _fill(self, values: Mapping[str, Any], where: str) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(f"{where}: {_sentence(error, self)}") from None
        except SettingsError as error:  # of what a validator looked up
            raise SettingsError(f"{where}: {error}") from None


def from_mapping(cls: type[S], values: Mapping[str, Any], where: str) -> S:
    """Build settings from a mapping, e.g. one table of a TOML file.

    Raises:
        SettingsError: an unknown name, or a value of the wrong type or out of range, saying where.
    """
    settings = cls.__new__(cls)
    settings._fill(values, where)
    return settings


def _sentence(error: ValidationError, settings: Settings) -> str:
    """The first thing that is wrong; an unknown name before all others, since it may be the reason for them."""
    details = error.errors(include_url=False)
    first = next((each for each in details if each["type"] == "extra_forbidden"), details[0])
    fields = {field.alias or name: field for name, field in type(settings).model_fields.items()}
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"setting '{name}' is unknown: {nearest_name(name, fields)}"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] == "missing":
        return f"setting '{name}' is missing"
    if first["type"] == "too_short":
        return f"{name} is empty; name one at least"
    if first["type"] in _RANGE_ERRORS:
        return f"{name} is {first['input']:g}; it must be {_range(first, fields)}"
    if first["type"] == "literal_error":
        return f"{name} is {first['input']!r}; allowed: {', '.join(map(str, get_args(fields[name].annotation)))}"
    if kind := _TYPE_ERRORS.get(first["type"]):
        return f"{name} is {first['input']!r}, which is not of type {kind}"
    return f"{name} is {first['input']!r}: {first['msg']}"


def _range(error: ErrorDetails, fields: Mapping[str, FieldInfo]) -> str:
    """All that a number must fulfil; of one in a list, what it does not."""
    field = fields[str(error["loc"][0])]
    bounds = {key: getattr(each, key) for each in field.metadata for key in _BOUNDS if hasattr(each, key)}
    bounds = bounds or {key: value for key, value in error.get("ctx", {}).items() if key in _BOUNDS}
    if {"ge", "le"} <= bounds.keys():
        bounds["to"] = f"{bounds.pop('ge'):g} to {bounds.pop('le'):g}"
    return ", ".join(f"{_BOUNDS[key]} {value:g}" if key in _BOUNDS else value for key, value in bounds.items())


def _none_of_zero(value: object) -> object:
    return None if value == 0 and not isinstance(value, bool) else value


class PatchSettings(Settings, title="patches"):
    """How pairs are cut.

    `context_gsd_m` is that of a second, wider view of the same size in pixels (0: no such view). It costs as much again
    on disk and in each look at a pair, and shows what a roof does not: water around it, debris, the neighbours. A
    building needs `min_valid_share` of its footprint's pixels usable on both dates, or it is not assessed.

    `post_scene`: where several post scenes show a building equally well, the one that is `nearest` in date to the pre
    scenes is taken, or the `latest`.

    `align`: how far a shift between the dates, and between footprints and imagery, is measured and undone: building by
    building, per scene only, or not at all. `align_reach_m` is the largest shift that is looked for. A building without
    a usable match borrows from trusted ones within `align_radius_m`; it is misaligned if its shift may be wrong by more
    than `align_tolerance_m`.

    A building is not assessed where, on either date, a veil of cloud or smoke more opaque than `max_cloud` (0 clear, 1
    opaque) lies over it; more than the share `max_shadow` of it and of its surroundings is black, or `max_saturated`
    white beyond the sensor's range; or the picture is blurred by a Gaussian of more than `max_blur_m` metres.

    Examples:
        >>> PatchSettings(context_gsd_m=2.0).size_px
        64
        >>> PatchSettings(context_gsd_m=0).context_gsd_m is None
        True
    """

    gsd_m: float = Field(0.5, ge=0.01, le=100.0)
    size_px: int = Field(64, ge=8, le=1024)
    context_gsd_m: Annotated[float | None, BeforeValidator(_none_of_zero)] = Field(1.0, ge=0.01, le=100.0)
    min_valid_share: float = Field(0.75, ge=0.0, le=1.0)
    min_area_m2: float = Field(6.0, ge=0.0, le=1e6)
    post_scene: Literal["nearest", "latest"] = "nearest"
    stretch_low_percent: float = Field(1.0, ge=0.0, le=49.0)
    stretch_high_percent: float = Field(99.0, ge=51.0, le=100.0)
    align: Literal["building", "scene", "off"] = "building"
    align_reach_m: float = Field(12.0, ge=0.5, le=100.0)
    align_radius_m: float = Field(150.0, ge=1.0, le=100_000.0)
    align_tolerance_m: float = Field(3.0, ge=0.1, le=100.0)
    max_cloud: float = Field(0.75, ge=0.0, le=1.0)
    max_shadow: float = Field(0.9, ge=0.0, le=1.0)
    max_saturated: float = Field(0.9, ge=0.0, le=1.0)
    max_blur_m: float = Field(2.0, ge=0.0, le=1000.0)

    @property
    def scene_choice(self) -> dict[str, str]:
        """What fingerprints hold of `post_scene`: nothing of the default, as in those of versions without a choice."""
        return {} if self.post_scene == "nearest" else {"post_scene": self.post_scene}


class FootprintSettings(Settings, title="footprints"):
    """How footprints are read and merged.

    Footprints below `min_confidence` are not the event's (None: all are; a footprint without a confidence stays). A
    point without a size becomes a square of `point_size_m`, about a small house. A footprint that shares
    `duplicate_share` of the smaller one's area with one of a preferred source is the same building: less would join
    neighbours of a terrace whose sources are shifted by a few metres. Without an AOI, footprints up to `margin_m` from
    the imagery are the event's: the gaps between scenes and their surroundings are then in the map, as not covered, and
    the rest of a country's file is not. `id_column` names the column of the ids (None: see `read_footprints`).

    Examples:
        >>> FootprintSettings(min_confidence=0.7).margin_m
        1000.0
    """

    min_confidence: float | None = Field(None, ge=0.0, le=1.0)
    point_size_m: float = Field(10.0, ge=1.0, le=1000.0)
    duplicate_share: float = Field(0.5, ge=0.01, le=1.0)
    margin_m: float = Field(1000.0, ge=0.0, le=1e6)
    id_column: str | None = None


class Resources(Settings, title="resources"):
    """What a stage may use; never changes its result.

    `workers` processes work side by side (0: this process only); each stage keeps its peak memory, over all its local
    processes, under `memory_bytes` (None: 1 GB, half a GB for each worker, and more only where the list of footprints
    alone needs it). `cluster` is the address of a Dask scheduler whose workers are used instead; `memory_bytes` then
    bounds each of its tasks.

    Examples:
        >>> Resources(workers=2).allowed_bytes
        2000000000
    """

    workers: int = Field(0, ge=0, le=1024)
    memory_bytes: int | None = Field(None, ge=100_000_000, le=10**15)
    cluster: str | None = None

    @property
    def allowed_bytes(self) -> int:
        """`memory_bytes`, or its default."""
        return self.memory_bytes if self.memory_bytes is not None else 1_000_000_000 + 500_000_000 * self.workers


class ReadSettings(Settings, title="reading"):
    """How long a raster over the network is tried before it counts as failed; never changes what is read.

    A read is tried up to `tries` times, after waits of `wait_s`, twice that, and so on. `connect_timeout_s` bounds the
    making of a connection, `stall_timeout_s` how long a transfer may stand still.
    """

    tries: int = Field(4, ge=1, le=100)
    wait_s: float = Field(0.5, ge=0.0, le=600.0)
    connect_timeout_s: float = Field(10.0, ge=1.0, le=3600.0)
    stall_timeout_s: float = Field(15.0, ge=1.0, le=3600.0)


class SplitSettings(Settings, title="split"):
    """How labelled buildings are divided: whole spatial blocks of `block_m` metres, never single buildings.

    Examples:
        >>> SplitSettings(block_m=100.0).validation_share
        0.25
    """

    block_m: float = Field(150.0, ge=1.0, le=1e6)
    validation_share: float = Field(0.25, ge=0.0, le=0.9)
    min_train_per_class: int = Field(3, ge=1, le=10_000)
    min_validation_per_class: int = Field(2, ge=1, le=10_000)


class SourceSettings(Settings, title="sources"):
    """How much is taken from the other events that a training learns from.

    Of their labelled buildings, held-out ones included, at most `max_labelled` in all are drawn, the classes in equal
    shares and within each the events, as far as they go (32 KiB of memory a pair).
    """

    max_labelled: int = Field(2000, ge=2, le=1_000_000)
