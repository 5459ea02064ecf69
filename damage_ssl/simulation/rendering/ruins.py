"""Paint damaged buildings, each hazard in its own way and each grade more than the one before."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from damage_ssl.damage_scale import DamageGrade
from damage_ssl.simulation.noise import Field
from damage_ssl.simulation.rendering.canvas import Canvas, picked, toned
from damage_ssl.simulation.rendering.roofs import RoofView, paint_building, roof_surface, stains
from damage_ssl.simulation.town import palette
from damage_ssl.simulation.town.hazard import Outcome
from damage_ssl.simulation.town.town import Building

Mask = NDArray[np.bool_]
Painter = Callable[[Canvas, Building, Outcome, RoofView], None]
"""Paints what is left; the view is of the roof, which lies there already, or of the bare ground of one destroyed."""


def paint_struck(canvas: Canvas, building: Building, outcome: Outcome, hazard: str) -> None:
    """Draw a building as the event left it."""
    if outcome.grade is DamageGrade.NO_DAMAGE:
        paint_building(canvas, building, new_salt=outcome.salt if outcome.renovated else None)
    else:
        paint, margin_m = _PAINTERS[hazard, outcome.grade]
        if outcome.grade is DamageGrade.DESTROYED:
            view = _bare_view(canvas, building, margin_m)
        else:
            view = paint_building(canvas, building, margin_m=margin_m)
        if view is not None:
            paint(canvas, building, outcome, view)


def _bare_view(canvas: Canvas, building: Building, margin_m: float) -> RoofView | None:
    """The footprint on the ground, where no roof is left to draw."""
    window = canvas.window(building.x, building.y, building.reach_m + margin_m)
    if window is None:
        return None
    a, b = window.axes(building.angle)
    inside, height, _, _, rim = roof_surface(building, a, b)
    return RoofView(window, a, b, inside, height, rim)


def _worst(values: Field, among: Mask, share: float) -> Mask:
    """The `share` of the pixels in `among` with the highest values."""
    if not among.any():
        return among
    return among & (values > np.quantile(values[among], 1 - min(max(share, 0.0), 1.0)))


def _end_bias(building: Building, view: RoofView, salt: int) -> Field:
    """A ramp in about [-1, 1] across the building, from a side that the salt picks."""
    angle = (salt % 628) / 100
    return np.asarray((view.a * np.cos(angle) + view.b * np.sin(angle)) / building.reach_m, np.float32)


def _heap(
    canvas: Canvas, view: RoofView, where: Mask, colours: tuple[palette.Colour, ...], tall_m: float, dark: float
) -> None:
    """Broken pieces in several colours, with their own relief."""
    part = view.window.part
    large, small = canvas.shards("large", 1.7, 31)[part], canvas.shards("small", 0.8, 47)[part]
    fine, one = canvas.noise("fine")[part], canvas.noise("one")[part]
    pick = np.minimum((large * len(colours)).astype(int), len(colours) - 1)
    dust = np.float32(np.mean(colours[0]))
    tone = dark * (0.80 + 0.38 * small + 0.16 * fine + 0.18 * one)
    canvas.blend(part, where, np.clip((0.72 * picked(colours, pick) + 0.28 * dust) * tone, 0.03, 0.95))
    height = np.clip(np.float32(tall_m) * (0.4 + 0.35 * large + 0.2 * small + 0.3 * one), 0.05, None)
    slope_y, slope_x = np.gradient(height, canvas.pixel_m)
    canvas.soften(part, where, 0.3 + 0.7 * canvas.sun.slope_light(0.45 * slope_x, 0.45 * slope_y))
    target = canvas.height[part]
    target[where] = height[where]


def _scatter(
    canvas: Canvas,
    building: Building,
    view: RoofView,
    reach_m: float,
    density: float,
    colours: tuple[palette.Colour, ...],
    salt: int,
) -> None:
    """Loose pieces on the ground around the walls, thinning out with distance."""
    part = view.window.part
    small = canvas.shards("small", 0.8, 47)[part]
    ragged = stains(canvas, building, part, salt)
    near = np.clip(1 + view.rim / np.float32(reach_m), 0, 1) * (0.6 + 0.7 * ragged)
    _heap(canvas, view, (view.rim < 0) & (small < density * near), colours, 0.5, 1.0)


def _lawn(
    canvas: Canvas, building: Building, view: RoofView, reach_m: float, colour: palette.Colour, share: float, salt: int
) -> None:
    """Stain the ground around the walls: dust, mud, soot."""
    part = view.window.part
    near = np.clip(1 + view.rim / np.float32(reach_m), 0, 1) * (view.rim < 0.3)
    patchy = np.clip(0.75 + 0.6 * stains(canvas, building, part, salt), 0, 1)
    canvas.blend(part, share * near * patchy, colour)


# --- earthquake ------------------------------------------------------------------------------------------------------


def _quake_colours(building: Building) -> tuple[palette.Colour, ...]:
    return (palette.RUBBLE, building.colour, palette.RUBBLE, building.wall, (0.47, 0.43, 0.39))


def _quake_minor(canvas: Canvas, building: Building, outcome: Outcome, view: RoofView) -> None:
    part = view.window.part
    fallen = _worst(
        stains(canvas, building, part, 3) + 0.5 * _end_bias(building, view, outcome.salt),
        view.inside,
        0.02 + 0.10 * outcome.extent,
    )
    canvas.blend(part, 0.75 * fallen, (0.42, 0.36, 0.31))
    side = _end_bias(building, view, outcome.salt) > 0.2
    view = RoofView(view.window, view.a, view.b, view.inside, view.height, np.where(side, view.rim, -99))
    _scatter(canvas, building, view, 1.2 + 1.2 * outcome.extent, 0.35, _quake_colours(building), outcome.salt)


def _quake_major(canvas: Canvas, building: Building, outcome: Outcome, view: RoofView) -> None:
    bias = _end_bias(building, view, outcome.salt) + 0.55 * stains(canvas, building, view.window.part, 5)
    fallen = _worst(bias, view.inside, 0.16 + 0.42 * outcome.extent)
    _heap(canvas, view, fallen, _quake_colours(building), 1.8, 0.95)
    _lawn(canvas, building, view, 3.5, palette.RUBBLE, 0.45, outcome.salt)
    _scatter(canvas, building, view, 2.0 + 1.5 * outcome.extent, 0.55, _quake_colours(building), outcome.salt)


def _quake_destroyed(canvas: Canvas, building: Building, outcome: Outcome, view: RoofView) -> None:
    rng = np.random.default_rng([outcome.salt, 2])
    if rng.random() < 0.3:
        _pancake(canvas, building, outcome, view, rng)
        return
    ragged = 1.6 * stains(canvas, building, view.window.part, 5)
    _lawn(canvas, building, view, 5, palette.RUBBLE, 0.75, outcome.salt)
    _heap(canvas, view, view.rim + ragged > -1.1, _quake_colours(building), 2.6, 0.95)
    _scatter(canvas, building, view, 4, 0.6, _quake_colours(building), outcome.salt)


def _pancake(canvas: Canvas, building: Building, outcome: Outcome, ground: RoofView, rng: np.random.Generator) -> None:
    """The roof came down in one piece: lower, aside, cracked."""
    fallen = replace(
        building,
        x=building.x + float(rng.normal(0, 1.1)),
        y=building.y + float(rng.normal(0, 1.1)),
        angle=building.angle + float(rng.normal(0, 0.09)),
        eave_m=0.9,
        pitch=building.pitch * 0.45,
    )
    _lawn(canvas, building, ground, 4, palette.RUBBLE, 0.8, outcome.salt)
    _heap(canvas, ground, ground.rim > -0.6, _quake_colours(building), 1.4, 0.9)
    view = paint_building(canvas, fallen, margin_m=5)
    if view is None:
        return
    cracked = np.abs(stains(canvas, building, view.window.part, 9)) < 0.04 + 0.1 * outcome.extent
    _heap(canvas, view, view.inside & cracked, _quake_colours(building), 0.8, 0.6)
    _scatter(canvas, building, view, 3.5, 0.7, _quake_colours(building), outcome.salt)


# --- fire ------------------------------------------------------------------------------------------------------------

_CHARRED = (palette.CHARCOAL, (0.22, 0.20, 0.18), (0.34, 0.31, 0.28), palette.CHARCOAL, palette.ASH)


def _fire_minor(canvas: Canvas, building: Building, outcome: Outcome, view: RoofView) -> None:
    part = view.window.part
    bias = _end_bias(building, view, outcome.salt) + 0.5 * stains(canvas, building, part, 4)
    canvas.blend(part, 0.5 * _worst(bias, view.inside, 0.05 + 0.16 * outcome.extent), palette.CHARCOAL)
    canvas.blend(part, 0.16 * view.inside, palette.SCORCHED)
    _lawn(canvas, building, view, 3, palette.SCORCHED, 0.45, outcome.salt)


def _fire_major(canvas: Canvas, building: Building, outcome: Outcome, view: RoofView) -> None:
    part = view.window.part
    _lawn(canvas, building, view, 5, palette.SCORCHED, 0.8, outcome.salt)
    bias = _end_bias(building, view, outcome.salt) + 0.6 * stains(canvas, building, part, 4)
    sooty = _worst(bias, view.inside, 0.4 + 0.5 * outcome.extent)
    canvas.blend(part, 0.45 * sooty, palette.CHARCOAL)
    _heap(canvas, view, _worst(bias, view.inside, 0.14 + 0.4 * outcome.extent), _CHARRED[:3], 0.8, 0.9)


def _fire_destroyed(canvas: Canvas, building: Building, outcome: Outcome, view: RoofView) -> None:
    part = view.window.part
    _lawn(canvas, building, view, 6, palette.SCORCHED, 0.85, outcome.salt)
    ashen = outcome.extent
    colours = (palette.ASH, (0.46, 0.44, 0.42), *_CHARRED[:3]) if ashen > 0.45 else _CHARRED
    _heap(canvas, view, view.inside, colours, 0.7, 0.75 + 0.3 * ashen)
    patch = stains(canvas, building, part, 6)
    canvas.blend(
        part, view.inside * np.clip(0.2 + 0.8 * patch, 0, 0.75), palette.ASH if ashen > 0.35 else palette.CHARCOAL
    )
    rust = view.inside & (canvas.shards("small", 0.8, 47)[part] > 0.9)
    canvas.blend(part, 0.6 * rust, (0.42, 0.27, 0.19))
    walls = np.zeros(view.a.shape, bool)
    for wing in building.wings:
        room = np.minimum(wing.half_a - np.abs(view.a - wing.a), wing.half_b - np.abs(view.b - wing.b))
        walls |= (room > 0) & (room < 0.4)
    walls &= stains(canvas, building, part, 8) > -0.25
    canvas.blend(part, 0.75 * walls, (0.56, 0.53, 0.49))
    canvas.height[part][walls] = 1.8
    canvas.soften(part, walls, 1.0)


# --- wind ------------------------------------------------------------------------------------------------------------


def _wind_colours(building: Building) -> tuple[palette.Colour, ...]:
    return (palette.TIMBER, palette.DECKING, building.colour, palette.INSULATION, (0.40, 0.33, 0.27), building.wall)


def _strip(canvas: Canvas, view: RoofView, where: Mask, *, trusses: bool) -> None:
    """Covering gone: boards, or the dark attic with its trusses where the boards went too."""
    part = view.window.part
    board = 1 + 0.08 * np.sin(view.b * np.float32(2 * np.pi / 1.2)) + 0.08 * canvas.noise("fine")[part]
    canvas.blend(part, where, toned(palette.DECKING, board))
    if trusses:
        beam = np.mod(view.a, np.float32(1.2)) < 0.35
        open_attic = where & (canvas.noise("three")[part] > -0.1)
        canvas.blend(part, open_attic & ~beam, (0.25, 0.21, 0.18))
        canvas.blend(part, open_attic & beam, palette.TIMBER)
        target = canvas.height[part]
        target[open_attic & ~beam] -= 1.2


def _wind_minor(canvas: Canvas, building: Building, outcome: Outcome, view: RoofView) -> None:
    part = view.window.part
    bias = stains(canvas, building, part, 4) + 0.35 * _end_bias(building, view, outcome.salt)
    torn = _worst(bias, view.inside, 0.03 + 0.12 * outcome.extent)
    canvas.blend(part, 0.75 * torn, (0.33, 0.29, 0.26) if outcome.salt % 2 else palette.DECKING)
    if outcome.salt % 10 < 2:
        _tarp(canvas, building, view, outcome)
    _scatter(canvas, building, view, 2.5, 0.16, _wind_colours(building), outcome.salt)


def _tarp(canvas: Canvas, building: Building, view: RoofView, outcome: Outcome) -> None:
    wing = building.wings[0]
    side = 1 if outcome.salt % 3 else -1
    sheet = view.inside & (np.abs(view.a - wing.a - 0.3 * wing.half_a * side) < 0.45 * wing.half_a)
    sheet &= np.abs(view.b - wing.b - side * 0.5 * wing.half_b) < 0.42 * wing.half_b
    crease = 1 + 0.1 * canvas.noise("one")[view.window.part]
    canvas.blend(view.window.part, sheet, toned(palette.TARP, crease))


def _wind_major(canvas: Canvas, building: Building, outcome: Outcome, view: RoofView) -> None:
    part = view.window.part
    bias = _end_bias(building, view, outcome.salt) + 0.6 * stains(canvas, building, part, 4)
    _strip(canvas, view, _worst(bias, view.inside, 0.25 + 0.45 * outcome.extent), trusses=True)
    if outcome.salt % 10 < 2:
        _tarp(canvas, building, view, outcome)
    _scatter(canvas, building, view, 5, 0.45, _wind_colours(building), outcome.salt)


def _wind_destroyed(canvas: Canvas, building: Building, outcome: Outcome, view: RoofView) -> None:
    part = view.window.part
    slab = 1 + 0.05 * canvas.noise("one")[part] + 0.04 * canvas.noise("fine")[part]
    canvas.blend(part, view.inside, toned((0.58, 0.55, 0.50), slab))
    rooms = view.inside & ((np.mod(view.a, np.float32(3.6)) < 0.25) | (np.mod(view.b, np.float32(4.1)) < 0.25))
    rooms &= stains(canvas, building, part, 8) > 0.5 * outcome.extent
    canvas.blend(part, rooms, building.wall)
    canvas.height[part][rooms] = 2.0
    patch = stains(canvas, building, part, 4) + 0.4 * _end_bias(building, view, outcome.salt)
    _heap(canvas, view, _worst(patch, view.rim > -1.0, 0.85 - 0.4 * outcome.extent), _wind_colours(building), 1.3, 1.0)
    _scatter(canvas, building, view, 7, 0.6, _wind_colours(building), outcome.salt)


# --- flood (the water itself is painted over everything, later) ------------------------------------------------------


def _flood_minor(canvas: Canvas, building: Building, outcome: Outcome, view: RoofView) -> None:
    _lawn(canvas, building, view, 5, palette.MUD, 0.3 + 0.45 * outcome.extent, outcome.salt)


def _flood_major(canvas: Canvas, building: Building, outcome: Outcome, view: RoofView) -> None:
    part = view.window.part
    _lawn(canvas, building, view, 7, palette.MUD, 0.9, outcome.salt)
    bias = stains(canvas, building, part, 4) - 0.4 * view.rim / building.reach_m
    canvas.blend(part, 0.4 * _worst(bias, view.inside, 0.1 + 0.25 * outcome.extent), palette.MUD)
    _scatter(canvas, building, view, 4, 0.22, _wind_colours(building), outcome.salt)


def _flood_destroyed(canvas: Canvas, building: Building, outcome: Outcome, view: RoofView) -> None:
    rng = np.random.default_rng([outcome.salt, 2])
    _lawn(canvas, building, view, 7, palette.MUD, 1.0, outcome.salt)
    canvas.blend(view.window.part, view.inside, (0.50, 0.45, 0.38))
    drift = float(rng.uniform(1.5, 5.0))
    way = float(rng.uniform(0, 2 * np.pi))
    adrift = replace(
        building,
        x=building.x + drift * float(np.cos(way)),
        y=building.y + drift * float(np.sin(way)),
        angle=building.angle + float(rng.normal(0, 0.35)),
        wings=building.wings[:1],
        eave_m=1.6,
        pitch=building.pitch * 0.7,
    )
    house = paint_building(canvas, adrift, margin_m=5)
    if house is None:
        return
    bias = _end_bias(adrift, house, outcome.salt) + 0.5 * stains(canvas, adrift, house.window.part, 4)
    _heap(canvas, house, _worst(bias, house.inside, 0.2 + 0.6 * outcome.extent), _wind_colours(building), 1.9, 0.8)
    _scatter(canvas, adrift, house, 5, 0.4, _wind_colours(building), outcome.salt)


_PAINTERS: dict[tuple[str, DamageGrade], tuple[Painter, float]] = {
    ("earthquake", DamageGrade.MINOR_DAMAGE): (_quake_minor, 4),
    ("earthquake", DamageGrade.MAJOR_DAMAGE): (_quake_major, 5),
    ("earthquake", DamageGrade.DESTROYED): (_quake_destroyed, 6),
    ("fire", DamageGrade.MINOR_DAMAGE): (_fire_minor, 4),
    ("fire", DamageGrade.MAJOR_DAMAGE): (_fire_major, 5),
    ("fire", DamageGrade.DESTROYED): (_fire_destroyed, 6),
    ("wind", DamageGrade.MINOR_DAMAGE): (_wind_minor, 4),
    ("wind", DamageGrade.MAJOR_DAMAGE): (_wind_major, 6),
    ("wind", DamageGrade.DESTROYED): (_wind_destroyed, 8),
    ("flood", DamageGrade.MINOR_DAMAGE): (_flood_minor, 6),
    ("flood", DamageGrade.MAJOR_DAMAGE): (_flood_major, 7),
    ("flood", DamageGrade.DESTROYED): (_flood_destroyed, 8),
}
"""How a building is painted, and how many metres around it are touched."""
