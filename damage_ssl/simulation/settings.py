"""What kind of event to simulate."""

from typing import Self

from pydantic import Field, model_validator

from damage_ssl.errors import nearest_name
from damage_ssl.settings import Settings

HAZARDS = ("earthquake", "fire", "flood", "wind")


class SimulationSettings(Settings, title="simulation"):
    """One synthetic event.

    `damaged_share` is the share of buildings graded major-damage or destroyed (which of the two depends on the hazard:
    fire mostly destroys, floods seldom do), `minor_share` that of minor-damage. `scatter` says how loosely damage
    follows the hazard's path (0: exactly, 1: hardly).
    `subtlety` in [0, 1] says how much the looks of neighbouring grades overlap, and how many undamaged buildings
    changed between the dates for other reasons. `shift_px` is the length of the displacement of the post image
    against the pre image. `variety` in [0, 1] says how much towns of different seeds differ in greenery, roofs, light,
    season, sensor and angle of view (0: hardly, as for tests; 1: as much as real scenes, as for a prior model).

    Raises:
        SettingsError: an unknown hazard, or a number outside its range.

    Examples:
        >>> SimulationSettings(hazard="flood", buildings=200).damaged_share
        0.3
    """

    buildings: int = Field(600, ge=8, le=1_000_000)
    hazard: str = "earthquake"
    seed: int = Field(0, ge=0, le=2**31 - 1)
    gsd_m: float = Field(0.5, ge=0.1, le=2.0)
    damaged_share: float = Field(0.3, ge=0.0, le=0.95)
    minor_share: float = Field(0.15, ge=0.0, le=0.9)
    scatter: float = Field(0.35, ge=0.0, le=1.0)
    subtlety: float = Field(0.5, ge=0.0, le=1.0)
    shift_px: float = Field(3.0, ge=0.0, le=16.0)
    haze: float = Field(0.55, ge=0.0, le=1.0)
    nodata_share: float = Field(0.015, ge=0.0, le=0.25)
    variety: float = Field(0.0, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.hazard not in HAZARDS:
            raise ValueError(f"hazard '{self.hazard}' is unknown: {nearest_name(self.hazard, HAZARDS)}")
        if self.damaged_share > (most := 0.95 - self.minor_share):
            raise ValueError(
                f"damaged_share is {self.damaged_share:g}; beside a minor_share of {self.minor_share:g} it must be 0 "
                f"to {most:g}"
            )
        return self
