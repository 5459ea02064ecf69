"""The one way in which settings are checked."""

import math
import pickle
from collections.abc import Mapping, Sequence
from typing import Annotated, Self

import pytest
from pydantic import Field, model_validator

from damage_ssl.errors import SettingsError
from damage_ssl.settings import PatchSettings, Resources, Settings, from_mapping


class Oven(Settings, title="oven"):
    degrees: float = Field(180.0, ge=50.0, le=250.0)
    minutes: float | None = Field(None, gt=0.0)
    trays: int = Field(2, ge=2, multiple_of=2)
    racks: Sequence[Annotated[int, Field(ge=1)]] = Field((1,), min_length=1)

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if self.degrees > 200 and self.trays > 4:
            raise ValueError(f"{self.trays} trays at {self.degrees:g} degrees block the fan; take 4")
        return self


@pytest.mark.parametrize("values", [{"gsd_m": 0.0}, {"size_px": 0}, {"stretch_low_percent": 99.0}])
def test_impossible_patch_setting_is_an_error(values: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=f"{next(iter(values))} is .*; it must be"):
        from_mapping(PatchSettings, values, "[patches]")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"degrees": 20}, "degrees is 20; it must be 50 to 250"),
        ({"degrees": math.nan}, "degrees is nan; it must be 50 to 250"),
        ({"minutes": math.inf}, "minutes is inf; it must be above 0"),
        ({"trays": 3}, "trays is 3; it must be at least 2, a multiple of 2"),
        ({"racks": []}, "racks is empty; name one at least"),
        ({"racks": [1, 0]}, "racks.1 is 0; it must be at least 1"),
        ({"degrees": "180"}, "degrees is '180', which is not of type float"),
        ({"trays": 4.0}, "trays is 4.0, which is not of type int"),
        ({"trays": True}, "trays is True, which is not of type int"),
        ({"degrees": 20, "degrese": 1}, "setting 'degrese' is unknown: did you mean 'degrees'?"),
        ({"self": 1}, "setting 'self' is unknown: known: degrees, minutes, racks, trays"),
        ({"degrees": 220, "trays": 6}, "6 trays at 220 degrees block the fan; take 4"),
    ],
)
def test_what_is_wrong_is_said_with_place_value_and_what_is_allowed(values: Mapping[str, object], said: str) -> None:
    with pytest.raises(SettingsError) as of_file:
        from_mapping(Oven, values, "kitchen.toml, [oven]")
    assert str(of_file.value) == f"kitchen.toml, [oven]: {said}"
    with pytest.raises(SettingsError) as of_python:
        Oven(**values)
    assert str(of_python.value) == f"oven: {said}"


def test_a_choice_says_what_may_be_chosen() -> None:
    with pytest.raises(SettingsError, match=r"^patches: align is 'on'; allowed: building, scene, off$"):
        PatchSettings(align="on")  # type: ignore[arg-type]


def test_settings_survive_a_round_trip() -> None:
    settings = PatchSettings(context_gsd_m=2, align="off")
    assert settings.context_gsd_m == 2.0 and isinstance(settings.context_gsd_m, float)
    assert from_mapping(PatchSettings, settings.model_dump(), "x") == settings
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert PatchSettings() == PatchSettings(gsd_m=0.5)


def test_a_changed_setting_is_checked_and_the_first_stays_as_it_was() -> None:
    oven = Oven(trays=6)
    assert (oven.replace(minutes=5).minutes, oven.minutes) == (5.0, None)
    assert oven.replace(minutes=5).model_fields_set == {"trays", "minutes"}
    with pytest.raises(SettingsError, match="block the fan"):
        oven.replace(degrees=220)
    with pytest.raises(ValueError, match="frozen"):
        oven.trays = 2  # type: ignore[misc]


def test_memory_is_given_or_follows_the_workers() -> None:
    assert Resources(workers=2).allowed_bytes == 2_000_000_000
    assert Resources(workers=2, memory_bytes=300_000_000).allowed_bytes == 300_000_000
