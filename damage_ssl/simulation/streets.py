"""The street net: a grid of lines in (u, v), bent smoothly into the town's metres.

`u` runs along the rows of houses, `v` across them. The bend keeps lengths within a few per cent, so that widths
measured in (u, v) are metres on the ground.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
        return self._displace(x * cos + y * sin, y * cos - x * sin, 1.0)

    def to_xy(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """The inverse, by fixed-point iteration (the bend's slope is well under 1)."""
        p, q = np.asarray(u, float), np.asarray(v, float)
        for _ in range(8):
            du, dv = self._displacement(p, q)
            p, q = u - du, v - dv
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return p * cos - q * sin, p * sin + q * cos

    def heading(self, u: float, v: float) -> float:
        """Direction of growing u on the ground at one point, radians from east towards south."""
        x, y = self.to_xy(np.array([u - 1.0, u + 1.0]), np.array([v, v]))
        return float(np.arctan2(y[1] - y[0], x[1] - x[0]))

    def _displacement(self, p: Floats, q: Floats) -> tuple[Floats, Floats]:
        waves = [
            a * np.sin(p * wx + q * wy + f)
            for a, wx, wy, f in zip(self.amplitude_m, self.wave_x, self.wave_y, self.phase, strict=True)
        ]
        du: Floats = np.sum([w * s for w, s in zip(waves, self.on_u, strict=True)], axis=0)
        dv: Floats = np.sum([w * (1 - s) for w, s in zip(waves, self.on_u, strict=True)], axis=0)
        return du, dv

    def _displace(self, p: Floats, q: Floats, sign: float) -> tuple[Floats, Floats]:
        du, dv = self._displacement(p, q)
        return p + sign * du, q + sign * dv


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

    def nearest(self, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats, NDArray[np.int64], NDArray[np.bool_]]:
        """Of each point: metres to the nearest kerb (negative on the carriageway), metres to that street's middle,
        the way along it in metres, the street's number, and whether a v line is the nearest."""
        j = np.clip(np.searchsorted(self.v_lines, v) - 1, 0, len(self.v_lines) - 2)
        i = np.clip(np.searchsorted(self.u_lines, u) - 1, 0, len(self.u_lines) - 2)
        left, right = np.abs(u - self.u_lines[i]), np.abs(u - self.u_lines[i + 1])
        left_kerb = np.where(self.open_u[i, j], left - self.u_half_m[i], 1e6)
        right_kerb = np.where(self.open_u[i + 1, j], right - self.u_half_m[i + 1], 1e6)
        top, bottom = np.abs(v - self.v_lines[j]), np.abs(v - self.v_lines[j + 1])
        top_kerb, bottom_kerb = top - self.v_half_m[j], bottom - self.v_half_m[j + 1]
        use_left, use_top = left_kerb <= right_kerb, top_kerb <= bottom_kerb
        across, along = np.minimum(left_kerb, right_kerb), np.minimum(top_kerb, bottom_kerb)
        is_v = along <= across
        kerb = np.minimum(along, across)
        middle = np.where(is_v, np.where(use_top, top, bottom), np.where(use_left, left, right))
        number = np.where(is_v, np.where(use_top, j, j + 1), 1000 + np.where(use_left, i, i + 1))
        return kerb, middle, np.where(is_v, u, v), number, is_v


def draw_streets(width_m: float, height_m: float, rng: np.random.Generator) -> Streets:
    """A street net that covers a rectangle of the given size, metres."""
    waves = 3
    bend = Bend(
        angle=float(rng.uniform(-0.5, 0.5)),
        amplitude_m=rng.uniform(6, 14, waves),
        wave_x=2 * np.pi / rng.uniform(380, 900, waves) * rng.choice([-1.0, 1.0], waves),
        wave_y=2 * np.pi / rng.uniform(380, 900, waves),
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
