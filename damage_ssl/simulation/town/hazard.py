"""Where the event struck and how hard: one field over the town, and from it a grade for every building."""

from dataclasses import dataclass

import numpy as np

from damage_ssl.damage_scale import DamageGrade
from damage_ssl.simulation.noise import lattice_hash
from damage_ssl.simulation.settings import SimulationSettings
from damage_ssl.simulation.town.streets import Floats
from damage_ssl.simulation.town.surroundings import USUAL, TownSurroundings
from damage_ssl.simulation.town.town import Town

# Share of the heavily damaged buildings (major or destroyed) that is destroyed.
_DESTROYED_SHARE = {"earthquake": 0.4, "fire": 0.75, "flood": 0.2, "wind": 0.45}


@dataclass(frozen=True)
class Severity:
    """How hard a place was struck, as the quantile of the town's buildings: 1 is the worst place, 0 untouched.

    The field behind it: distance from an epicentre, behind a fire front, from the river, from a tornado's track.
    """

    kind: str
    town: Town
    origin: tuple[float, float]
    heading: float
    bow: float
    ordered: Floats

    def raw(self, x: Floats, y: Floats) -> Floats:
        """Unscaled severity, larger is worse; metres."""
        dx, dy = x - self.origin[0], y - self.origin[1]
        along = dx * np.cos(self.heading) + dy * np.sin(self.heading)
        across = dy * np.cos(self.heading) - dx * np.sin(self.heading)
        if self.kind == "flood" and self.town.river is not None:
            return np.asarray(-self.town.river.distance(*self.town.streets.bend.to_uv(x, y)))
        if self.kind == "fire":
            return np.asarray(along + self.bow * np.sin(across / 70.0) + 14 * np.sin(across / 23.0 + along / 40.0))
        if self.kind == "wind":
            return np.asarray(-np.abs(across - self.bow * np.sin(along / 260.0)))
        return np.asarray(-np.hypot(dx, dy) + 30 * np.sin(dx / 55.0 + 2) * np.sin(dy / 48.0))

    def __call__(self, x: Floats, y: Floats) -> Floats:
        """Severity in [0, 1] at places on the ground, metres east and south."""
        return np.interp(self.raw(x, y), self.ordered, np.linspace(0, 1, len(self.ordered)))


@dataclass(frozen=True)
class Outcome:
    """What became of one building. `extent` in [0, 1] is how much of its grade's range is seen from above."""

    grade: DamageGrade
    extent: float
    salt: int
    renovated: bool


@dataclass(frozen=True)
class Aftermath:
    """The event's mark on the town: one outcome a building, in the town's order."""

    hazard: str
    severity: Severity
    outcomes: tuple[Outcome, ...]
    heavy_from: float
    light_from: float


def strike(town: Town, settings: SimulationSettings, place: TownSurroundings = USUAL) -> Aftermath:
    """Grade every building: the worst-struck first, loosened by `settings.scatter`."""
    rng = np.random.default_rng([settings.seed, 23])
    x = np.array([b.x for b in town.buildings])
    y = np.array([b.y for b in town.buildings])
    origin = (float(rng.uniform(0.3, 0.7)) * town.width_m, float(rng.uniform(0.3, 0.7)) * town.height_m)
    draft = Severity(
        settings.hazard, town, origin, float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(20, 45)), np.zeros(1)
    )
    severity = Severity(draft.kind, town, origin, draft.heading, draft.bow, np.sort(draft.raw(x, y)))
    count = len(x)
    score = severity(x, y) + rng.normal(0, 1, count) * 0.45 * settings.scatter
    worst_first = np.argsort(-score, kind="stable")
    heavy, light = round(settings.damaged_share * count), round(settings.minor_share * count)
    share = place.destroyed_share
    destroyed = round(heavy * (_DESTROYED_SHARE[settings.hazard] if share is None else share))
    if heavy > 1:
        destroyed = min(max(destroyed, 1), heavy - 1)
    grades = np.full(count, int(DamageGrade.NO_DAMAGE))
    grades[worst_first[: heavy + light]] = int(DamageGrade.MINOR_DAMAGE)
    grades[worst_first[:heavy]] = int(DamageGrade.MAJOR_DAMAGE)
    # Within the heavily damaged, neighbours of the worst place collapse more often, not always.
    among = worst_first[:heavy][np.argsort(np.arange(heavy) + rng.normal(0, 0.4 * max(heavy, 1), heavy), kind="stable")]
    grades[among[:destroyed]] = int(DamageGrade.DESTROYED)
    spread = 0.25 + 0.3 * settings.subtlety
    extent = np.clip(rng.normal(0.5, spread, count), 0.02, 0.98)
    salts = rng.integers(1, 2**31, count)
    renovated = rng.random(count) < 0.12 * settings.subtlety
    outcomes = tuple(
        Outcome(DamageGrade(int(g)), float(e), int(s), bool(r))
        for g, e, s, r in zip(grades, extent, salts, renovated, strict=True)
    )
    return Aftermath(
        settings.hazard,
        severity,
        outcomes,
        1 - settings.damaged_share,
        1 - settings.damaged_share - settings.minor_share,
    )


def chance(salt: np.ndarray, purpose: int) -> Floats:
    """A uniform value for each salt, independent between purposes."""
    return np.asarray(lattice_hash(np.asarray(salt, np.int64), np.full(len(salt), purpose), 91), float)
