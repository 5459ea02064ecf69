"""Paint the town as one date saw it, tile by tile."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from damage_ssl.simulation.noise import Field
from damage_ssl.simulation.rendering.camera import Camera, develop
from damage_ssl.simulation.rendering.canvas import WHOLE, Canvas, picked, toned
from damage_ssl.simulation.rendering.ground import paint_ground
from damage_ssl.simulation.rendering.objects import occupied, paint_felled_tree, paint_tree, paint_vehicle
from damage_ssl.simulation.rendering.roofs import paint_building
from damage_ssl.simulation.rendering.ruins import paint_struck
from damage_ssl.simulation.town import palette
from damage_ssl.simulation.town.hazard import Aftermath, chance
from damage_ssl.simulation.town.town import Town

_TILE_PX = 512
_MARGIN_M = 22.0
_PAINT_PIXEL_M = 0.25


@dataclass(frozen=True)
class Tile:
    """Finished pixels, uint8 [3, h, w], and where they go."""

    row: int
    column: int
    pixels: NDArray[np.uint8]


class Painter:
    """Paints any tile of one date; `aftermath` is None before the event."""

    def __init__(
        self,
        town: Town,
        look: Camera,
        aftermath: Aftermath | None,
        *,
        gsd_m: float,
        seed: int,
        water: palette.Colour = palette.FLOOD,
    ) -> None:
        self.town, self.look, self.aftermath = town, look, aftermath
        self.gsd_m, self.seed, self.water = gsd_m, seed, water
        self.factor = max(1, round(gsd_m / _PAINT_PIXEL_M))
        self.margin_px = int(np.ceil(_MARGIN_M / gsd_m))
        self._plots = shapely.STRtree([shapely.Polygon(plot.corners).buffer(0) for plot in town.plots])
        self._patches = shapely.STRtree(
            [shapely.Point(p.x, p.y).buffer(float(np.hypot(p.half_a, p.half_b)) + 1.0, 2) for p in town.patches]
        )
        self._buildings = _reaches([(b.x, b.y, b.reach_m + 8) for b in town.buildings])
        self._sheds = _reaches([(b.x, b.y, b.reach_m + 1) for b in town.sheds])
        slots = town.slots
        self._parked = occupied(slots.salt, slots.occupancy, look.date)

    def tiles(self, height: int, width: int) -> Iterator[Tile]:
        """All tiles of a picture of this size, row by row."""
        for row in range(0, height, _TILE_PX):
            for column in range(0, width, _TILE_PX):
                yield self.tile(row, column, min(_TILE_PX, height - row), min(_TILE_PX, width - column))

    def tile(self, row: int, column: int, height: int, width: int) -> Tile:
        """One tile, in pixels of the picture."""
        canvas = self._canvas(row, column, height, width)
        box = shapely.box(*canvas.bounds(2.0))
        kerb = paint_ground(
            canvas,
            self.town,
            [self.town.plots[k] for k in np.sort(self._plots.query(box))],
            [self.town.patches[k] for k in np.sort(self._patches.query(box))],
            self.look.lushness,
        )
        if self.aftermath is not None:
            _mark_ground(canvas, self.aftermath, kerb)
        self._paint_vehicles(canvas)
        for k in np.sort(self._sheds.query(box)):
            paint_building(canvas, self.town.sheds[k])
        for k in np.sort(self._buildings.query(box)):
            if self.aftermath is None:
                paint_building(canvas, self.town.buildings[k])
            else:
                paint_struck(canvas, self.town.buildings[k], self.aftermath.outcomes[k], self.aftermath.hazard)
        if self.aftermath is not None and self.aftermath.hazard == "flood":
            _flood(canvas, self.aftermath, kerb, self.water)
        self._paint_trees(canvas)
        rng = np.random.default_rng([self.seed, 31, self.look.date, row, column])
        size_m = (self.town.width_m, self.town.height_m)
        return Tile(row, column, develop(canvas, self.look, self.factor, self.margin_px, size_m, rng))

    def _canvas(self, row: int, column: int, height: int, width: int) -> Canvas:
        step = self.gsd_m / self.factor
        left = (column - self.margin_px) * self.gsd_m - self.look.shift_east_m
        top = (row - self.margin_px) * self.gsd_m + self.look.shift_north_m
        xs = left + (np.arange((width + 2 * self.margin_px) * self.factor) + 0.5) * step
        ys = top + (np.arange((height + 2 * self.margin_px) * self.factor) + 0.5) * step
        return Canvas(xs, ys, self.look.sun, self.look.lean)

    def _within(self, canvas: Canvas, x: Field, y: Field, margin_m: float) -> NDArray[np.int64]:
        left, top, right, bottom = canvas.bounds(margin_m)
        return np.flatnonzero((x > left) & (x < right) & (y > top) & (y < bottom))

    def _paint_vehicles(self, canvas: Canvas) -> None:
        slots = self.town.slots
        for k in self._within(canvas, slots.x, slots.y, 3):
            if self._parked[k]:
                salt = (int(slots.salt[k]) >> 3) + 977 * self.look.date
                wobble = ((salt % 101) - 50) / 50
                paint_vehicle(
                    canvas, slots.x[k] + 0.3 * wobble, slots.y[k] + 0.3 * wobble, slots.angle[k] + 0.05 * wobble, salt
                )

    def _paint_trees(self, canvas: Canvas) -> None:
        trees = self.town.trees
        near = self._within(canvas, trees.x, trees.y, 16)
        burnt, felled = np.zeros(len(near)), np.zeros(len(near), bool)
        grown = 1 + 0.10 * (chance(trees.salt[near], 40 + self.look.date) - 0.5)
        gone = np.zeros(len(near), bool)
        if self.aftermath is not None:
            struck = self.aftermath.severity(trees.x[near], trees.y[near]) - self.aftermath.heavy_from
            luck = chance(trees.salt[near], 7)
            if self.aftermath.hazard == "fire":
                burnt = np.clip(0.55 + 4 * struck + 0.7 * (luck - 0.5), 0, 1) * (struck + 0.2 * luck > 0.06)
            if self.aftermath.hazard == "wind":
                felled = luck < np.clip(0.25 + 2.2 * struck, 0, 0.75)
                burnt = np.where((struck > -0.05) & ~felled, 0.35, 0.0)
            gone = chance(trees.salt[near], 8) < 0.05
        for k, black, down, grow in zip(near[~gone], burnt[~gone], felled[~gone], grown[~gone], strict=True):
            x, y, radius, salt = trees.x[k], trees.y[k], trees.radius_m[k] * grow, int(trees.salt[k])
            lean = 0.6 * trees.height_m[k]
            x, y = x + self.look.lean[0] * lean, y + self.look.lean[1] * lean
            if down:
                heading = self.aftermath.severity.heading if self.aftermath is not None else 0.0
                paint_felled_tree(canvas, x, y, heading + (salt % 200) / 100 - 1, trees.height_m[k] * 1.3, salt)
            else:
                paint_tree(
                    canvas,
                    x,
                    y,
                    radius,
                    trees.height_m[k],
                    trees.hue[k],
                    salt,
                    conifer=bool(trees.conifer[k]),
                    burnt=float(black),
                    lushness=self.look.lushness,
                )


def _reaches(circles: list[tuple[float, float, float]]) -> shapely.STRtree:
    return shapely.STRtree([shapely.box(x - r, y - r, x + r, y + r) for x, y, r in circles])


def _severity_map(canvas: Canvas, aftermath: Aftermath) -> Field:
    mesh_x, mesh_y = np.meshgrid(canvas.xs, canvas.ys)
    return np.asarray(aftermath.severity(mesh_x, mesh_y), np.float32)


def _mark_ground(canvas: Canvas, aftermath: Aftermath, kerb: Field) -> None:
    """What the event left on the ground between the buildings."""
    struck = _severity_map(canvas, aftermath) - np.float32(aftermath.heavy_from)
    struck = struck + 0.10 * canvas.noise("ten") + 0.05 * canvas.noise("three")
    off_street = np.clip((kerb - 1.2) / 1.5, 0, 1)
    if aftermath.hazard == "fire":
        share = np.clip(struck * 6 + 0.2, 0, 1) * off_street
        tone = 1 + 0.22 * canvas.noise("one") + 0.12 * canvas.noise("fine") + 0.2 * canvas.noise("three")
        canvas.blend(WHOLE, 0.82 * share, toned(palette.SCORCHED, tone))
        canvas.blend(WHOLE, 0.15 * np.clip(struck * 6, 0, 1) * (1 - off_street), palette.SCORCHED)
        burnt_off = share > 0.5
        canvas.height[burnt_off] = np.minimum(canvas.height[burnt_off], 0.2)
    elif aftermath.hazard == "wind":
        small, large = canvas.shards("small", 0.8, 47), canvas.shards("large", 1.7, 31)
        density = np.clip(0.05 + 0.35 * struck, 0, 0.16) * np.clip(1 + 1.2 * canvas.noise("three"), 0, 2)
        pieces = (small < density) & (canvas.noise("fine") > -0.4)
        colours = (palette.TIMBER, palette.DECKING, palette.INSULATION, (0.74, 0.74, 0.72), (0.34, 0.29, 0.25))
        canvas.blend(WHOLE, 0.3 * np.clip(struck * 4 + 0.1, 0, 1) * off_street, palette.SOIL)
        canvas.blend(WHOLE, pieces, picked(colours, np.minimum((large * 5).astype(int), 4)))
        canvas.height[pieces] = np.maximum(canvas.height[pieces], 0.3)
    elif aftermath.hazard == "earthquake":
        canvas.blend(WHOLE, 0.22 * np.clip(struck * 3, 0, 1), palette.RUBBLE)


def _flood(canvas: Canvas, aftermath: Aftermath, kerb: Field, colour: palette.Colour) -> None:
    """Water over everything lower than its level; mud where it stood and went."""
    struck = _severity_map(canvas, aftermath) - np.float32(0.6 * aftermath.light_from + 0.4 * aftermath.heavy_from)
    lie = 0.10 * canvas.noise("ten") + 0.06 * canvas.noise("forty") + 0.03 * canvas.noise("three")
    depth = 5.0 * (struck + lie) + np.where(kerb < 0, 0.3, 0.0)
    bare = canvas.height < 0.3
    canvas.blend(
        WHOLE, 0.7 * np.clip(1.2 + depth, 0, 1) * bare * np.clip(0.9 + 0.4 * canvas.noise("three"), 0, 1), palette.MUD
    )
    depth = np.minimum(depth, 1.9)
    water = np.clip((depth - canvas.height) * 4, 0, 1)
    tone = 1 + 0.05 * canvas.noise("ten") + 0.03 * canvas.noise("one") + 0.02 * canvas.noise("fine")
    canvas.blend(WHOLE, np.clip(water * (0.55 + 0.5 * depth), 0, 0.97), toned(colour, tone))
    canvas.soften(WHOLE, water, 1.0)
    np.maximum(canvas.height, np.where(water > 0.5, depth, -1), out=canvas.height)
