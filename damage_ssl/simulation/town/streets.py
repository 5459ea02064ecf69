"""The street net: a grid of lines in (u, v), bent smoothly into the town's metres.

`u` runs along the rows of houses, `v` across them. The bend keeps lengths within a few per cent, so that widths
measured in (u, v) are metres on the ground.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Bend:
    """Turn by `angle`, then displace by a few long sine waves."""

    angle: float
    amplitude_m: Floats  # [K]
    wave_x: Floats  # [K] radians a metre
    wave_y: Floats
    phase: Floats
    on_u: Floats  # [K] share of the displacement that goes into u, the rest into v

    def to_uv(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """(u, v) of points on the ground, metres east and south."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        p, q = x * cos + y * sin, y * cos - x * sin
        du, dv = self._displacement(p, q)
        return p + du, q + dv

    def to_xy(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """The inverse, by fixed-point iteration (the bend's slope is well under 1)."""
        p, q = np.asarray(u, float), np.asarray(v, float)
        for _ in range(8):
            du, dv = self._displacement(p, q)
            p, q = u - du, v - dv
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return p * cos - q * sin, p * sin + q * cos

    def place(self, u: float, v: float) -> tuple[float, float, float]:
        """(x, y) of one point and the direction of growing u there, radians from east towards south."""
        p, q = u, v
        waves = self._waves
        for _ in range(8):
            du = sum(a * share * math.sin(p * wx + q * wy + f) for a, wx, wy, f, share in waves)
            dv = sum(a * (1 - share) * math.sin(p * wx + q * wy + f) for a, wx, wy, f, share in waves)
            p, q = u - du, v - dv
        # Along a line of constant v, (dp, dq) is the first column of the inverse Jacobian of (u, v) in (p, q).
        slopes = [(a * math.cos(p * wx + q * wy + f), wx, wy, share) for a, wx, wy, f, share in waves]
        step_p = 1 + sum(s * (1 - share) * wy for s, _, wy, share in slopes)
        step_q = -sum(s * (1 - share) * wx for s, wx, _, share in slopes)
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return p * cos - q * sin, p * sin + q * cos, self.angle + math.atan2(step_q, step_p)

    @cached_property
    def _waves(self) -> list[tuple[float, float, float, float, float]]:
        columns = (self.amplitude_m, self.wave_x, self.wave_y, self.phase, self.on_u)
        return list(zip(*(column.tolist() for column in columns), strict=True))

    def _displacement(self, p: Floats, q: Floats) -> tuple[Floats, Floats]:
        p, q = np.asarray(p), np.asarray(q)
        waves = np.sin(np.outer(self.wave_x, p) + np.outer(self.wave_y, q) + self.phase[:, None])
        on_u, on_v = self.amplitude_m * self.on_u, self.amplitude_m * (1 - self.on_u)
        return (on_u @ waves).reshape(p.shape), (on_v @ waves).reshape(p.shape)


@dataclass(frozen=True)
class Streets:
    """Lines of constant u (`u_lines`, cross streets) and v (`v_lines`, along the rows), ascending.

    `open_u[k, j]` says whether cross street k exists between rows j and j + 1; every v line exists throughout.
    """

    bend: Bend
    u_lines: Floats
    v_lines: Floats
    u_half_m: Floats
    v_half_m: Floats
    open_u: NDArray[np.bool_]
    pavement_m: float

    def nearest(self, u: Floats, v: Floats) -> "NearestStreet":
        """The street that each point is on or next to; where two cross, the v line's."""
        i, u_lines, j, v_lines = (
            _between(self.u_lines, u),
            _f32(self.u_lines),
            _between(self.v_lines, v),
            _f32(self.v_lines),
        )
        u_half, v_half = _f32(self.u_half_m), _f32(self.v_half_m)
        left, right = np.abs(u - u_lines[i]), np.abs(u - u_lines[i + 1])
        left_kerb = np.where(self.open_u[i, j], left - u_half[i], np.float32(1e6))
        right_kerb = np.where(self.open_u[i + 1, j], right - u_half[i + 1], np.float32(1e6))
        top, bottom = np.abs(v - v_lines[j]), np.abs(v - v_lines[j + 1])
        top_kerb, bottom_kerb = top - v_half[j], bottom - v_half[j + 1]
        use_left, use_top = left_kerb <= right_kerb, top_kerb <= bottom_kerb
        across, along = np.minimum(left_kerb, right_kerb), np.minimum(top_kerb, bottom_kerb)
        # A smooth minimum rounds the corners of the blocks.
        overlap = np.clip(1 - np.abs(across - along) / _CORNER_M, 0, 1)
        kerb = np.minimum(across, along) - 0.25 * _CORNER_M * overlap**2
        is_v = (along <= across) | (along < 0)
        middle = np.where(is_v, np.where(use_top, top, bottom), np.where(use_left, left, right))
        number = np.where(is_v, np.where(use_top, j, j + 1), 1000 + np.where(use_left, i, i + 1))
        half = np.where(is_v, np.where(use_top, v_half[j], v_half[j + 1]), np.where(use_left, u_half[i], u_half[i + 1]))
        return NearestStreet(kerb, middle, np.where(is_v, u, v), number, half, np.maximum(across, along))


@dataclass(frozen=True)
class NearestStreet:
    """Arrays of one shape, metres: to the kerb (negative on the carriageway), to the middle, the way along; the
    street's number and half width; and how far the other street is (small near a crossing)."""

    kerb: Floats
    middle: Floats
    along: Floats
    number: NDArray[np.integer[Any]]
    half_m: Floats
    crossing: Floats


_CORNER_M = np.float32(5.0)


def _f32(values: Floats) -> Floats:
    return np.asarray(values, np.float32)


def _between(lines: Floats, values: Floats) -> NDArray[np.intp]:
    """Index of the line at or before each value; only the few lines within the values' range are compared."""
    low, high = np.searchsorted(lines, (values.min(), values.max()))
    index = np.full(values.shape, max(low - 1, 0), np.intp)
    for line in lines[max(low, 1) : min(high, len(lines) - 1)]:
        index += values >= np.float32(line)
    return np.minimum(index, len(lines) - 2)


def draw_streets(width_m: float, height_m: float, rng: np.random.Generator) -> Streets:
    """A street net that covers a rectangle of the given size, metres."""
    waves = 3
    bend = Bend(
        angle=float(rng.uniform(-0.5, 0.5)),
        amplitude_m=rng.uniform(8, 20, waves),
        wave_x=2 * np.pi / rng.uniform(420, 950, waves) * rng.choice([-1.0, 1.0], waves),
        wave_y=2 * np.pi / rng.uniform(420, 950, waves),
        phase=rng.uniform(0, 2 * np.pi, waves),
        on_u=rng.uniform(0, 1, waves),
    )
    edge_x, edge_y = np.linspace(0, width_m, 40), np.linspace(0, height_m, 40)
    mesh_x, mesh_y = np.meshgrid(edge_x, edge_y)
    u, v = bend.to_uv(mesh_x, mesh_y)
    u_lines = _lines(float(u.min()) - 40, float(u.max()) + 40, 85, 175, rng)
    v_lines = _lines(float(v.min()) - 40, float(v.max()) + 40, 56, 80, rng)
    open_u = rng.random((len(u_lines), len(v_lines))) > 0.18
    main_u, main_v = rng.integers(2, 5), rng.integers(2, 5)
    u_half = np.where(np.arange(len(u_lines)) % 5 == main_u, 5.6, rng.choice([2.8, 3.2, 3.6], len(u_lines)))
    v_half = np.where(np.arange(len(v_lines)) % 6 == main_v, 6.2, rng.choice([2.9, 3.3, 3.8], len(v_lines)))
    open_u[u_half > 5] = True
    return Streets(bend, u_lines, v_lines, u_half, v_half, open_u, pavement_m=1.7)


def _lines(start: float, stop: float, least_m: float, most_m: float, rng: np.random.Generator) -> Floats:
    lines = [start]
    while lines[-1] < stop:
        lines.append(lines[-1] + float(rng.uniform(least_m, most_m)))
    return np.array(lines)
