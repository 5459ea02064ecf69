"""Paint a whole building: walls that the camera's lean shows, and the roof with its two tones and its fittings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damage_ssl.simulation.noise import Field, smooth_noise
from damage_ssl.simulation.rendering.canvas import Canvas, CanvasWindow, mixed, toned
from damage_ssl.simulation.town.town import Building


@dataclass(frozen=True)
class RoofView:
    """The pixels of one roof: its window, its axes there, which pixels it covers, and its height in metres."""

    window: CanvasWindow
    a: Field
    b: Field
    inside: NDArray[np.bool_]
    height: Field
    rim: Field  # metres to the nearest wall; negative outside


def roof_surface(building: Building, a: Field, b: Field) -> tuple[NDArray[np.bool_], Field, Field, Field, Field]:
    """Per point in the building's axes: inside, height above ground, slopes along a and b, metres to the rim."""
    best = np.full(a.shape, -1e3, np.float32)
    slope_a, slope_b = np.zeros_like(best), np.zeros_like(best)
    rim = np.full(a.shape, -1e3, np.float32)
    steep = np.float32(building.pitch)
    for wing in building.wings:
        along, across = a - np.float32(wing.a), b - np.float32(wing.b)
        room_a, room_b = wing.half_a - np.abs(along), wing.half_b - np.abs(across)
        inside = (room_a > 0) & (room_b > 0)
        zero = np.zeros_like(best)
        base = np.float32(building.eave_m - wing.drop_m)
        if building.roof == "flat":
            height, da, db = np.full_like(best, base), zero, zero
        elif building.roof == "shed":
            height, da, db = base + 0.35 * steep * (across + wing.half_b), zero, zero + 0.35 * steep
        else:
            hip = building.roof == "hip"
            over_b = (room_b <= room_a) if hip else np.full(a.shape, wing.ridge_along_a)
            height = base + steep * np.where(over_b, room_b, room_a)
            da = np.where(over_b, 0, -steep * np.sign(along))
            db = np.where(over_b, -steep * np.sign(across), 0)
        take = inside & (height > best)
        best = np.where(take, height, best)
        slope_a, slope_b = np.where(take, da, slope_a), np.where(take, db, slope_b)
        rim = np.maximum(rim, np.minimum(room_a, room_b))
    return best > -1e2, best, np.asarray(slope_a, np.float32), np.asarray(slope_b, np.float32), rim


def paint_building(
    canvas: Canvas, building: Building, *, new_salt: int | None = None, margin_m: float = 1.0
) -> RoofView | None:
    """Draw a building. `new_salt` re-covers the roof in another colour, as after a renovation.

    Returns the roof's pixels; None where the building lies outside the tile.
    """
    lean_x, lean_y = canvas.lean
    reach = building.reach_m + building.eave_m * float(np.hypot(lean_x, lean_y)) + margin_m
    window = canvas.window(building.x, building.y, reach)
    if window is None:
        return None
    cos, sin = np.float32(np.cos(building.angle)), np.float32(np.sin(building.angle))

    def axes(height_m: float) -> tuple[Field, Field]:
        x, y = window.x - np.float32(lean_x * height_m), window.y - np.float32(lean_y * height_m)
        return x * cos + y * sin, y * cos - x * sin

    _paint_walls(canvas, building, window, axes)
    a, b = axes(building.eave_m)
    inside, height, slope_a, slope_b, rim = roof_surface(building, a, b)
    view = RoofView(window, a, b, inside, height, rim)
    part = window.part
    colour = np.asarray(building.colour, np.float32)
    if new_salt is not None:
        rng = np.random.default_rng([new_salt, 3])
        colour = np.clip(colour * rng.uniform(0.65, 1.4) + rng.normal(0, 0.05, 3), 0.15, 0.9).astype(np.float32)
    canvas.blend(part, inside, toned(colour, _texture(canvas, building, part, a, b, rim, slope_b)))
    light = canvas.sun.slope_light(slope_a * cos - slope_b * sin, slope_a * sin + slope_b * cos)
    canvas.soften(part, inside, light)
    canvas.height[part] = np.where(inside, np.maximum(height, canvas.height[part]), canvas.height[part])
    _paint_fittings(canvas, building, view)
    return view


def _paint_walls(canvas: Canvas, building: Building, window: CanvasWindow, axes) -> None:  # type: ignore[no-untyped-def]
    steps = max(1, round(building.eave_m * float(np.hypot(*canvas.lean)) / canvas.pixel_m))
    part = window.part
    for step in range(steps):
        height_m = building.eave_m * step / steps
        a, b = axes(height_m)
        inside = np.zeros(a.shape, bool)
        for wing in building.wings:
            inside |= (np.abs(a - wing.a) < wing.half_a - 0.2) & (np.abs(b - wing.b) < wing.half_b - 0.2)
        canvas.blend(part, inside, building.wall)
        canvas.soften(part, inside, 0.55)
        target = canvas.height[part]
        target[inside] = np.maximum(target[inside], height_m)


def _texture(
    canvas: Canvas, building: Building, part: tuple[slice, slice], a: Field, b: Field, rim: Field, slope_b: Field
) -> Field:
    fine, one, three = (canvas.noise(name)[part] for name in ("fine", "one", "three"))
    texture = 1 + 0.035 * fine + 0.045 * one + 0.05 * three
    if building.covering == "tin":
        way = np.where(slope_b != 0, a, b)
        sheet = np.floor(way / np.float32(1.05)) % 4
        texture = texture + np.asarray([0.03, -0.02, 0.015, -0.035], np.float32)[sheet.astype(int)]
        texture -= np.where(np.mod(way, np.float32(1.05)) < 0.2, np.float32(0.05), np.float32(0))
        texture -= np.clip(three - 0.25, 0, 1) * np.float32(0.22)
    elif building.covering == "tile":
        texture = texture + 0.06 * fine + 0.05 * np.sin((np.abs(a) + np.abs(b)) * np.float32(2 * np.pi / 0.9)) * 0.5
    elif building.covering == "membrane":
        stain = np.clip(0.6 * three + 0.5 * one, -0.3, 0.5)
        texture = texture - 0.14 * stain
        texture = np.where(rim < 0.35, 1.13, texture)
        texture = np.where((rim >= 0.35) & (rim < 0.6), texture * 0.8, texture)
    if building.roof in ("gable", "hip"):
        texture = np.where(rim < 0.22, texture * 1.10, texture)
    return np.asarray(texture, np.float32)


def _paint_fittings(canvas: Canvas, building: Building, view: RoofView) -> None:
    """Parapets, air conditioners, chimneys, skylights and solar panels."""
    rng = np.random.default_rng([building.salt, 1])
    part, inside = view.window.part, view.inside
    height = canvas.height[part]
    if building.roof == "flat":
        edge = inside & (view.rim < 0.35)
        height[edge] += 0.55
    area = sum(4 * w.half_a * w.half_b for w in building.wings)
    units = int(rng.poisson(area / 90)) + 1 if building.roof == "flat" else int(rng.integers(0, 3))
    for _ in range(min(units, 24)):
        wing = building.wings[int(rng.integers(len(building.wings)))]
        at_a = wing.a + float(rng.uniform(-0.8, 0.8)) * wing.half_a
        at_b = wing.b + float(rng.uniform(-0.8, 0.8)) * wing.half_b
        half = float(rng.uniform(0.4, 1.1)) if building.roof == "flat" else float(rng.uniform(0.2, 0.4))
        box = inside & (np.abs(view.a - at_a) < half) & (np.abs(view.b - at_b) < half * 0.8)
        tone = float(rng.choice([0.8, 0.62, 0.35]))
        canvas.blend(part, box, (tone, tone, tone))
        height[box] += 0.9
    if building.eave_m > 2.5 and rng.random() < 0.12 and building.roof != "flat":
        wing = building.wings[0]
        side = float(rng.choice([-1, 1]))
        panel = inside & (np.abs(view.a - wing.a) < 0.5 * wing.half_a)
        panel &= np.abs(view.b - wing.b - side * 0.5 * wing.half_b) < 0.28 * wing.half_b
        grid = (np.mod(view.a, 1.0) < 0.12) | (np.mod(view.b, 1.6) < 0.12)
        canvas.blend(part, panel, mixed((0.14, 0.17, 0.27), (0.36, 0.36, 0.36), grid))


def stains(canvas: Canvas, building: Building, part: tuple[slice, slice], salt: int) -> Field:
    """Patchy noise in [-1, 1] that is the building's own, for damage masks."""
    xs = canvas.xs[part[1]] - building.x + 60
    ys = canvas.ys[part[0]] - building.y + 60
    return np.asarray(
        0.65 * smooth_noise(xs, ys, 3.1, (building.salt + salt) % 99991)
        + 0.35 * smooth_noise(xs, ys, 1.2, (building.salt + 7 * salt) % 99991),
        np.float32,
    )
