"""The picture under construction: colour, height and slope of the ground, in arrays of one tile.

Arrays are [H, W] or [3, H, W] float32; x is metres east, y metres south of the town's upper-left corner.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from damage_ssl.simulation.noise import Field, fractal_noise, shards, smooth_noise
from damage_ssl.simulation.town.palette import Colour
from damage_ssl.simulation.town.streets import Floats

_CELLS_M = {"fine": 0.45, "one": 1.3, "three": 3.7, "ten": 12.0, "forty": 46.0}


@dataclass(frozen=True)
class Sun:
    """Where the sun stands: azimuth from north over east and elevation, degrees."""

    azimuth_deg: float
    elevation_deg: float

    @property
    def towards(self) -> tuple[float, float]:
        """Unit vector on the ground towards the sun (east, south)."""
        azimuth = np.radians(self.azimuth_deg)
        return float(np.sin(azimuth)), float(-np.cos(azimuth))

    @property
    def tangent(self) -> float:
        """Metres of height for one metre of shadow."""
        return float(np.tan(np.radians(self.elevation_deg)))

    def slope_light(self, slope_x: Field, slope_y: Field) -> Field:
        """Direct light on a surface with these slopes (dz/dx, dz/dy), relative to level ground (= 1)."""
        east, south = self.towards
        facing = 1 - (slope_x * east + slope_y * south) / self.tangent
        return np.asarray(np.clip(facing / np.sqrt(1 + slope_x**2 + slope_y**2), 0.0, 1.9), np.float32)


@dataclass(frozen=True)
class CanvasWindow:
    """A part of the canvas around one object; `x`, `y` are metres from the object's place."""

    part: tuple[slice, slice]
    x: Field  # [h, w]
    y: Field

    def axes(self, angle: float) -> tuple[Field, Field]:
        """Coordinates along the object's own axes a and b."""
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        return self.x * cos + self.y * sin, self.y * cos - self.x * sin


WHOLE = (slice(None), slice(None))


def toned(colour: Colour | Field, tone: Field) -> Field:
    """A colour in lighter and darker tones, [3, h, w]."""
    return np.asarray(np.multiply.outer(np.asarray(colour, np.float32), np.asarray(tone, np.float32)))


def mixed(low: Colour, high: Colour, share: Field | NDArray[np.bool_]) -> Field:
    """From one colour (share 0) to another (share 1), [3, h, w]."""
    start, stop = np.asarray(low, np.float32), np.asarray(high, np.float32)
    return np.asarray(start[:, None, None] + np.multiply.outer(stop - start, np.asarray(share, np.float32)))


def picked(colours: Sequence[Colour], number: NDArray[np.integer[Any]]) -> Field:
    """One of several colours at each pixel, [3, h, w]."""
    return np.asarray(colours, np.float32).T[:, number]


class Canvas:
    """One tile being painted, at the pixel centres ys × xs."""

    def __init__(self, xs: Floats, ys: Floats, sun: Sun, lean: tuple[float, float]) -> None:
        self.xs, self.ys, self.sun = xs, ys, sun
        self.lean = lean
        self.pixel_m = float(xs[1] - xs[0])
        shape = (len(ys), len(xs))
        self.albedo = np.zeros((3, *shape), np.float32)
        self.height = np.zeros(shape, np.float32)
        self.light = np.ones(shape, np.float32)
        self._noise: dict[str, Field] = {}

    def noise(self, name: str) -> Field:
        """A texture of the whole tile by name: fine, one, three, ten, forty (cell sizes in metres, roughly)."""
        if name not in self._noise:
            cell = _CELLS_M[name]
            self._noise[name] = (
                smooth_noise(self.xs, self.ys, cell, 17)
                if name == "fine"
                else fractal_noise(self.xs, self.ys, cell, 2, 100 + int(10 * cell))
            )
        return self._noise[name]

    def shards(self, name: str, cell_m: float, salt: int) -> Field:
        """Blocky fragments of the whole tile."""
        key = f"shards {name}"
        if key not in self._noise:
            x, y = np.asarray(self.xs, np.float32)[None, :], np.asarray(self.ys, np.float32)[:, None]
            self._noise[key] = shards(x + 0.5 * self.noise("one"), y + 0.4 * self.noise("three"), cell_m, salt)
        return self._noise[key]

    def bounds(self, margin_m: float = 0.0) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) in metres, widened by a margin."""
        return self.xs[0] - margin_m, self.ys[0] - margin_m, self.xs[-1] + margin_m, self.ys[-1] + margin_m

    def window(self, x: float, y: float, reach_m: float) -> CanvasWindow | None:
        """The part within `reach_m` of (x, y); None where that lies outside the tile."""
        left, right = np.searchsorted(self.xs, (x - reach_m, x + reach_m))
        top, bottom = np.searchsorted(self.ys, (y - reach_m, y + reach_m))
        if right - left < 2 or bottom - top < 2:
            return None
        local_x = np.asarray(self.xs[left:right] - x, np.float32)
        local_y = np.asarray(self.ys[top:bottom] - y, np.float32)
        mesh_x, mesh_y = np.meshgrid(local_x, local_y)
        return CanvasWindow((slice(int(top), int(bottom)), slice(int(left), int(right))), mesh_x, mesh_y)

    def blend(self, part: tuple[slice, slice], share: Field | NDArray[np.bool_], colour: Colour | Field) -> None:
        """Cover `share` (0 to 1) of each pixel of a part with a colour, [3] or [3, h, w]."""
        share = np.asarray(share, np.float32)
        for channel, value in zip(self.albedo, colour, strict=True):
            target = channel[part]
            target += share * (np.asarray(value, np.float32) - target)

    def soften(self, part: tuple[slice, slice], share: Field | NDArray[np.bool_], light: float | Field) -> None:
        """Set the light of a part of the surface, e.g. level again (1)."""
        target = self.light[part]
        target += np.asarray(share, np.float32) * (np.asarray(light, np.float32) - target)
