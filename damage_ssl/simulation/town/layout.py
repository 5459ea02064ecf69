"""Lay a town out: streets first, then blocks, plots, and what stands on them."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import shapely

from damage_ssl.simulation.settings import SimulationSettings
from damage_ssl.simulation.town import houses
from damage_ssl.simulation.town.streets import Floats, Streets, draw_streets
from damage_ssl.simulation.town.surroundings import USUAL, TownSurroundings
from damage_ssl.simulation.town.town import Building, Patch, PatchKind, Plot, River, Slots, Town, Trees

BlockKind = Literal["residential", "dense", "commercial", "park", "field", "river"]
_EDGE_M = 5.0


def lay_out(settings: SimulationSettings, place: TownSurroundings = USUAL) -> Town:
    """A town with exactly `settings.buildings` buildings, the same for the same settings."""
    side_m = float(np.sqrt(settings.buildings * 860.0)) + 40.0
    attempt = 0
    while True:
        rng = np.random.default_rng([settings.seed, 11, attempt])
        draft = _Draft(draw_streets(side_m * 1.08, side_m / 1.08, rng), side_m * 1.08, side_m / 1.08, rng, place)
        draft.fill(with_river=settings.hazard == "flood")
        if len(draft.buildings) >= settings.buildings:
            return draft.town(settings.buildings)
        side_m *= 1.15
        attempt += 1


@dataclass
class _Draft:
    """The town under construction."""

    streets: Streets
    width_m: float
    height_m: float
    rng: np.random.Generator
    place: TownSurroundings
    plots: list[Plot] = field(default_factory=list)
    patches: list[Patch] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)
    sheds: list[Building] = field(default_factory=list)
    trees: list[tuple[float, float, float, float]] = field(default_factory=list)
    slots: list[tuple[float, float, float, float]] = field(default_factory=list)
    river: River | None = None

    def town(self, count: int) -> Town:
        """Freeze the draft, cropped on the right and below to the least rectangle that holds `count` buildings."""
        ends = np.array([b.outline.bounds[2:] for b in self.buildings]) + _EDGE_M
        share = (ends / (self.width_m, self.height_m)).max(axis=1)
        keep = np.sort(np.argsort(share, kind="stable")[:count])
        self.width_m, self.height_m = self.width_m * float(share[keep].max()), self.height_m * float(share[keep].max())
        trees = np.array([t for t in self.trees if self._inside(t[0], t[1])], float).reshape(-1, 4)
        slots = np.array([s for s in self.slots if self._inside(s[0], s[1])], float).reshape(-1, 4)
        radius = trees[:, 2]
        rng = self.rng
        return Town(
            self.width_m,
            self.height_m,
            self.streets,
            self.river,
            tuple(self.plots),
            tuple(self.patches),
            tuple(_greyed(self.buildings[k], self.place.roof_colour) for k in keep),
            tuple(self.sheds),
            Trees(
                x=trees[:, 0],
                y=trees[:, 1],
                radius_m=radius,
                height_m=radius * rng.uniform(1.3, 2.1, len(radius)) + 1.2,
                hue=rng.beta(2, 2, len(radius)),
                conifer=trees[:, 3] > 0.5,
                salt=rng.integers(1, 2**31, len(radius)),
            ),
            Slots(slots[:, 0], slots[:, 1], slots[:, 2], slots[:, 3], rng.integers(1, 2**31, len(slots))),
        )

    def fill(self, *, with_river: bool) -> None:
        """Give every block a kind and build it up."""
        streets, rng = self.streets, self.rng
        centre_v = 0.5 * (streets.v_lines[:-1] + streets.v_lines[1:])
        _, town_v = streets.bend.to_uv(np.array([self.width_m / 2]), np.array([self.height_m / 2]))
        river_row = int(np.argmin(np.abs(centre_v - town_v[0] - self.height_m * rng.uniform(-0.2, 0.2))))
        for row in range(len(centre_v)):
            if with_river and row == river_row:
                self.river = River(float(centre_v[row]), float(rng.uniform(9, 13)))
            starts = [k for k in range(len(streets.u_lines)) if streets.open_u[k, row]]
            for first, last in pairwise(starts):
                self._block(first, last, row, self._kind(with_river and row == river_row))
        self._street_life()

    def _kind(self, river: bool) -> BlockKind:
        if river:
            return "river"
        kinds: list[BlockKind] = ["residential", "dense", "commercial", "park", "field"]
        return kinds[int(self.rng.choice(5, p=[0.74, 0.11, 0.07, 0.05, 0.03]))]

    def _block(self, first: int, last: int, row: int, kind: BlockKind) -> None:
        streets = self.streets
        pave = streets.pavement_m + 0.6
        u0 = streets.u_lines[first] + streets.u_half_m[first] + pave
        u1 = streets.u_lines[last] - streets.u_half_m[last] - pave
        v0 = streets.v_lines[row] + streets.v_half_m[row] + pave
        v1 = streets.v_lines[row + 1] - streets.v_half_m[row + 1] - pave
        if u1 - u0 < 18 or v1 - v0 < 18 or not self._near(u0, u1, v0, v1):
            return
        if kind in ("park", "field", "river"):
            self._green(u0, u1, v0, v1, kind)
        elif kind == "commercial":
            self._commercial(u0, u1, v0, v1)
        else:
            self._homes(u0, u1, v0, v1, dense=kind == "dense")

    def _near(self, u0: float, u1: float, v0: float, v1: float) -> bool:
        x, y = self.streets.bend.to_xy(np.array([u0, u1, u1, u0]), np.array([v0, v0, v1, v1]))
        return bool(x.max() > -5 and y.max() > -5 and x.min() < self.width_m + 5 and y.min() < self.height_m + 5)

    def _ground(self, u: float, v: float) -> tuple[float, float, float]:
        return self.streets.bend.place(u, v)

    def _corners(self, u0: float, u1: float, v0: float, v1: float) -> Floats:
        us = np.r_[np.linspace(u0, u1, 4), np.linspace(u1, u0, 4)]
        vs = np.r_[np.full(4, v0), np.full(4, v1)]
        return np.column_stack(self.streets.bend.to_xy(us, vs))

    def _salt(self) -> int:
        return int(self.rng.integers(1, 2**31))

    def _homes(self, u0: float, u1: float, v0: float, v1: float, *, dense: bool) -> None:
        rng = self.rng
        style = houses.draw_style(rng, dense=dense)
        dryness, pools = float(rng.beta(2, 2.5)), float(rng.choice([0.04, 0.1, 0.3]))
        edge: Literal["none", "fence", "hedge"] = rng.choice(["none", "fence", "fence", "hedge"])
        leafy = float(rng.choice([0.8, 1.8, 3.4, 5.0])) * self.place.leafiness
        middle = 0.5 * (v0 + v1) + float(rng.uniform(-2, 2))
        for back, front in ((middle, v0), (middle, v1)):
            out = 1.0 if front > back else -1.0
            u = u0
            while u < u1 - 5:
                width = float(rng.uniform(6.2, 8.5) if dense else rng.uniform(13.0, 19.5))
                right = u1 if u1 - (u + width) < 0.6 * width else u + width
                dry = float(np.clip(dryness + rng.normal(0, 0.16), 0, 1))
                corners = self._corners(u, right, min(front, back), max(front, back))
                self.plots.append(Plot(corners, dry, float(rng.normal(0, 0.05)), edge))
                if rng.random() > 0.03:
                    self._home(u, right, front, back, out, style, dense, pools, leafy)
                u = right

    def _home(
        self,
        left: float,
        right: float,
        front: float,
        back: float,
        out: float,
        style: houses.HouseStyle,
        dense: bool,
        pools: float,
        leafy: float,
    ) -> None:
        """One plot: house, driveway with a car, perhaps a pool, a shed, trees behind."""
        rng = self.rng
        width, depth = right - left, abs(front - back)
        x, y, angle = self._ground(0.5 * (left + right), front)
        home = (
            houses.terraced(x, y, angle, width, out, style, rng)
            if dense
            else houses.detached(x, y, angle, width, depth, out, style, rng)
        )
        kept = self._add(home)
        if kept is None:
            return
        home = kept
        side = float(rng.choice([-1.0, 1.0]))
        cos, sin = np.cos(angle), np.sin(angle)

        def at(a: float, inward: float) -> tuple[float, float]:
            b = -out * inward
            return x + a * cos - b * sin, y + a * sin + b * cos

        setback = abs(home.wings[0].b) - home.wings[0].half_b
        house_back = abs((home.x - x) * -sin + (home.y - y) * cos) + home.reach_m * 0.75
        if not dense:
            drive_a = side * (width / 2 - 2.3)
            self._patch(*at(drive_a, 3.2), angle, float(rng.choice([1.5, 2.6])), 4.8, "driveway")
            self.slots.append((*at(drive_a, 3.4 + float(rng.uniform(-1, 1))), angle + np.pi / 2, 0.5))
            if rng.random() < 0.4:
                self._patch(*at(-side * width * 0.12, 2.0), angle, 0.6, 3.0, "path")
        room = depth - house_back
        if room > 7 and not dense and rng.random() < pools:
            self._patch(*at(float(rng.uniform(-0.2, 0.2)) * width, house_back + room / 2), angle, 3.6, 2.0, "pool")
        elif room > 5 and rng.random() < 0.3:
            self._patch(*at(0.0, house_back + 1.0), angle, float(rng.uniform(2, 4)), 1.8, "yard")
        if room > 6 and rng.random() < 0.3:
            sx, sy = at(-side * (width / 2 - 2.4), depth - 2.6)
            self.sheds.append(houses.shed(sx, sy, angle, rng))
        for _ in range(rng.poisson(leafy * (0.4 if dense else 1.0))):
            inward = depth - float(rng.uniform(0.5, max(room, 1.5)))
            self._tree(
                *at(float(rng.uniform(-0.5, 0.5)) * width, inward),
                float(rng.choice([0.5, 1.0, 1.25])) * float(rng.gamma(7, 0.42)),
            )
        if not dense and setback >= 0 and rng.random() < 0.25 * leafy:
            self._tree(*at(-side * width * 0.3, 1.8), float(rng.uniform(1.0, 2.4)))

    def _commercial(self, u0: float, u1: float, v0: float, v1: float) -> None:
        rng = self.rng
        self.plots.append(Plot(self._corners(u0, u1, v0, v1), 0.5, 0.0, "none"))
        u = u0 + 2
        while u1 - u > 24:
            length = float(min(rng.uniform(26, 58), u1 - u - 2))
            depth = float(rng.uniform(0.36, 0.5)) * (v1 - v0)
            x, y, angle = self._ground(u + length / 2, v0 + 3 + depth / 2)
            self._add(houses.hall(x, y, angle, length - 5, depth - 2, rng))
            lot_depth = v1 - v0 - depth - 7
            x, y, angle = self._ground(u + length / 2, v1 - 2 - lot_depth / 2)
            self._patch(x, y, angle, length / 2 - 1, lot_depth / 2, "parking")
            cos, sin = np.cos(angle), np.sin(angle)
            for b in np.arange(-lot_depth / 2 + 3, lot_depth / 2 - 2, 6.2):
                for a in np.arange(-length / 2 + 3, length / 2 - 3, 2.7):
                    self.slots.append((x + a * cos - b * sin, y + a * sin + b * cos, angle + np.pi / 2, 0.42))
            u += length

    def _green(self, u0: float, u1: float, v0: float, v1: float, kind: BlockKind) -> None:
        rng = self.rng
        crop = kind == "field" and bool(rng.random() < 0.6)
        dryness = 0.8 if kind == "field" else 0.3
        self.plots.append(Plot(self._corners(u0, u1, v0, v1), dryness, float(rng.normal(0, 0.04)), "none", crop))
        if kind == "field":
            return
        for _ in range(int((u1 - u0) * (v1 - v0) / (220 if kind == "park" else 90))):
            u, v = float(rng.uniform(u0, u1)), float(rng.uniform(v0, v1))
            if self.river is None or kind != "river" or self.river.distance(np.array([u]), np.array([v]))[0] > 1.5:
                x, y, _ = self._ground(u, v)
                self._tree(x, y, float(rng.gamma(9, 0.4)))
        if kind == "park" and u1 - u0 > 60 and rng.random() < 0.6:
            x, y, angle = self._ground(u0 + 24, 0.5 * (v0 + v1))
            self._patch(x, y, angle, 14, 8, "court")

    def _street_life(self) -> None:
        """Kerb-side parking and street trees along the rows."""
        rng, streets = self.rng, self.streets
        u_from, u_to = streets.u_lines[0], streets.u_lines[-1]
        for v, half in zip(streets.v_lines, streets.v_half_m, strict=True):
            spacing, planted = float(rng.uniform(9, 16)), bool(rng.random() < 0.45)
            for side in (-1.0, 1.0):
                for u in np.arange(u_from, u_to, 6.4) + float(rng.uniform(0, 6)):
                    if np.abs(streets.u_lines - u).min() > 11:
                        x, y, angle = self._ground(u, v + side * (half - 1.15))
                        if self._inside(x, y):
                            self.slots.append((x, y, angle, 0.17))
                for u in np.arange(u_from, u_to, spacing) if planted else ():
                    if np.abs(streets.u_lines - u).min() > 9 and rng.random() < 0.8:
                        x, y, _ = self._ground(u, v + side * (half + 1.3))
                        self._tree(x, y, float(rng.uniform(1.2, 2.8)))

    def _inside(self, x: float, y: float, edge_m: float = -6.0) -> bool:
        return edge_m < x < self.width_m - edge_m and edge_m < y < self.height_m - edge_m

    def _add(self, building: Building) -> Building | None:
        """Keep a building that lies on the picture; without its additions, or not at all, where it meets another."""
        for candidate in (building, replace(building, wings=building.wings[:1])):
            left, top, right, bottom = candidate.outline.bounds
            if not (self._inside(left, top, _EDGE_M) and self._inside(right, bottom, _EDGE_M)):
                return None
            if not any(_overlap(candidate, other) for other in self.buildings[-80:]):
                self.buildings.append(candidate)
                return candidate
        return None

    def _patch(self, x: float, y: float, angle: float, half_a: float, half_b: float, kind: PatchKind) -> None:
        self.patches.append(Patch(x, y, angle, half_a, half_b, kind, self._salt()))

    def _tree(self, x: float, y: float, radius_m: float) -> None:
        """Plant a tree, unless it would grow out of a roof."""
        if not self._inside(x, y):
            return
        point = shapely.Point(x, y)
        for building in self.buildings[-4:]:
            if building.outline.distance(point) < 0.45 * radius_m:
                return
        self.trees.append((x, y, float(np.clip(radius_m, 0.9, 5.5)), float(self.rng.random() < 0.18)))


def _greyed(building: Building, colour: float) -> Building:
    """The building with its roof's saturation times `colour`."""
    if colour == 1.0:
        return building
    grey = sum(building.colour) / 3
    red, green, blue = (grey + colour * (band - grey) for band in building.colour)
    return replace(building, colour=(red, green, blue))


def _overlap(one: Building, other: Building) -> bool:
    """Whether two buildings share more ground than neighbours of one row may."""
    if np.hypot(one.x - other.x, one.y - other.y) > one.reach_m + other.reach_m:
        return False
    return bool(one.outline.intersection(other.outline).area > 0.03 * min(one.outline.area, other.outline.area))
