"""What stands where: plots, buildings, trees, parking places. Values only, no pixels.

Places are metres east (x) and south (y) of the town's upper-left corner. An object with an angle has its own axes:
`a` along the angle (radians from east towards south), `b` a quarter turn from it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from damage_ssl.simulation.town.palette import Colour
from damage_ssl.simulation.town.streets import Floats, Streets

RoofKind = Literal["gable", "hip", "shed", "flat"]
Covering = Literal["shingle", "tile", "tin", "membrane"]
PatchKind = Literal["driveway", "path", "parking", "pool", "court", "yard"]


@dataclass(frozen=True)
class Wing:
    """A rectangle of a building, in the building's axes, metres; the ridge runs along `a` or `b`."""

    a: float
    b: float
    half_a: float
    half_b: float
    ridge_along_a: bool
    drop_m: float = 0.0


@dataclass(frozen=True)
class Building:
    """A building; `salt` seeds all its details, so that both dates draw the same ones."""

    x: float
    y: float
    angle: float
    wings: tuple[Wing, ...]
    roof: RoofKind
    covering: Covering
    colour: Colour
    wall: Colour
    eave_m: float
    pitch: float
    salt: int

    def to_ground(self, a: Floats, b: Floats) -> tuple[Floats, Floats]:
        """(x, y) of points given in the building's axes."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return self.x + a * cos - b * sin, self.y + a * sin + b * cos

    @cached_property
    def outline(self) -> shapely.Polygon:
        """The footprint on the ground, metres east and south."""
        parts = [
            shapely.Polygon(
                np.column_stack(
                    self.to_ground(w.a + np.array([-1, 1, 1, -1]) * w.half_a, w.b + np.array([-1, -1, 1, 1]) * w.half_b)
                )
            )
            for w in self.wings
        ]
        merged = shapely.union_all(parts, grid_size=0.01)
        return (
            merged
            if isinstance(merged, shapely.Polygon)
            else max(shapely.get_parts(merged), key=lambda part: part.area)
        )

    @cached_property
    def reach_m(self) -> float:
        """Radius of a circle around (x, y) that holds every wing."""
        return max(float(np.hypot(abs(w.a) + w.half_a, abs(w.b) + w.half_b)) for w in self.wings)


@dataclass(frozen=True)
class Plot:
    """A piece of ground; `dryness` 0 is lush lawn, 1 bare soil; `crop` is a field with furrows."""

    corners: Floats  # [4 or more, 2] x, y
    dryness: float
    tone: float
    edge: Literal["none", "fence", "hedge"]
    crop: bool = False


@dataclass(frozen=True)
class Patch:
    """A rectangle of other ground: a driveway, a parking, a pool."""

    x: float
    y: float
    angle: float
    half_a: float
    half_b: float
    kind: PatchKind
    salt: int


@dataclass(frozen=True)
class River:
    """A watercourse between two streets: |v - middle(u)| < half width."""

    v_m: float
    half_m: float

    def distance(self, u: Floats, v: Floats) -> Floats:
        """Metres from the bank; negative in the water."""
        bent = self.v_m + 7.0 * np.sin(u / 47.0) + 3.0 * np.sin(u / 19.0 + 1.0)
        return np.asarray(np.abs(v - bent) - self.half_m)


@dataclass(frozen=True)
class Trees:
    """Arrays of one length: place, crown radius and height in metres, hue in [0, 1], kind (1: conifer)."""

    x: Floats
    y: Floats
    radius_m: Floats
    height_m: Floats
    hue: Floats
    conifer: NDArray[np.bool_]
    salt: NDArray[np.int64]


@dataclass(frozen=True)
class Slots:
    """Places where a vehicle may stand: arrays of one length."""

    x: Floats
    y: Floats
    angle: Floats
    occupancy: Floats
    salt: NDArray[np.int64]


@dataclass(frozen=True)
class Town:
    """Everything on the ground before the event."""

    width_m: float
    height_m: float
    streets: Streets
    river: River | None
    plots: tuple[Plot, ...]
    patches: tuple[Patch, ...]
    buildings: tuple[Building, ...]
    sheds: tuple[Building, ...]
    trees: Trees
    slots: Slots
