"""What kind of event to simulate."""

from dataclasses import dataclass

from damage_ssl.errors import SettingsError, nearest_name

HAZARDS = ("earthquake", "fire", "flood", "wind")
_MOST_BUILDINGS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class SimulationSettings:
    """One synthetic event.

    `damaged_share` is the share of buildings graded major-damage or destroyed (which of the two depends on the hazard:
    fire mostly destroys, floods seldom do), `minor_share` that of minor-damage. `scatter` says how loosely damage
    follows the hazard's path (0: exactly, 1: hardly).
    `subtlety` in [0, 1] says how much the looks of neighbouring grades overlap, and how many undamaged buildings
    changed between the dates for other reasons. `shift_px` is the length of the displacement of the post image
    against the pre image.

    Raises:
        SettingsError: an unknown hazard, or a number outside its range.

    Example:
        >>> SimulationSettings(hazard="flood", buildings=200).damaged_share
        0.3
    """

    buildings: int = 600
    hazard: str = "earthquake"
    seed: int = 0
    gsd_m: float = 0.5
    damaged_share: float = 0.3
    minor_share: float = 0.15
    scatter: float = 0.35
    subtlety: float = 0.5
    shift_px: float = 3.0
    haze: float = 0.55
    nodata_share: float = 0.015

    def __post_init__(self) -> None:
        if self.hazard not in HAZARDS:
            raise SettingsError(f"hazard '{self.hazard}' is unknown: {nearest_name(self.hazard, HAZARDS)}")
        _within("buildings", self.buildings, 8, _MOST_BUILDINGS)
        _within("seed", self.seed, 0, 2**31 - 1)
        _within("gsd_m", self.gsd_m, 0.1, 2.0)
        _within("minor_share", self.minor_share, 0.0, 0.9)
        _within("damaged_share", self.damaged_share, 0.0, 0.95 - self.minor_share)
        for name in ("scatter", "subtlety", "haze"):
            _within(name, getattr(self, name), 0.0, 1.0)
        _within("shift_px", self.shift_px, 0.0, 16.0)
        _within("nodata_share", self.nodata_share, 0.0, 0.25)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise SettingsError(f"simulation setting {name} is {value}; allowed: {low:g} to {high:g}")
