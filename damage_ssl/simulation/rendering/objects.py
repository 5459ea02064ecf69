"""Paint what stands on the ground besides houses: trees and vehicles."""

import numpy as np

from damage_ssl.simulation.noise import lattice_hash, smooth_noise
from damage_ssl.simulation.rendering.canvas import Canvas, toned
from damage_ssl.simulation.town import palette


def paint_tree(
    canvas: Canvas,
    x: float,
    y: float,
    radius_m: float,
    height_m: float,
    hue: float,
    salt: int,
    *,
    conifer: bool,
    burnt: float,
    lushness: float,
) -> None:
    """A crown with bumps, shaded by the sun. `burnt` in [0, 1] thins and blackens it."""
    window = canvas.window(x, y, radius_m * 1.25)
    if window is None:
        return
    part = window.part
    xs = np.asarray(window.x[0], float) + 50 + salt % 977
    ys = np.asarray(window.y[:, 0], float) + 50 + salt % 1009
    lumps = smooth_noise(xs, ys, max(0.45 * radius_m, 0.8), salt % 9973)
    leaves = smooth_noise(xs, ys, 0.55, salt % 7919)
    distance = np.hypot(window.x, window.y) / np.float32(radius_m)
    rim = distance + 0.20 * lumps + 0.10 * leaves
    crown = rim < 1.0
    if burnt > 0:
        crown &= leaves * 0.6 + lumps * 0.5 > burnt * 1.1 - 0.65
    dome = np.clip(1 - rim, 0, 1) if conifer else np.sqrt(np.clip(1 - rim**2, 0, 1))
    top = np.float32(height_m) * (0.35 + 0.65 * dome) + np.float32(0.5 + 0.08 * radius_m) * (leaves + lumps) * 0.6
    slope_y, slope_x = np.gradient(top, canvas.pixel_m)
    fresh = np.array([0.19, 0.275, 0.125]) if not conifer else np.array([0.145, 0.22, 0.13])
    tired = np.array([0.36, 0.35, 0.19]) if not conifer else np.array([0.17, 0.23, 0.13])
    ripe = np.clip(0.75 * hue + 0.55 * (0.6 - lushness), 0, 1)
    colour = (fresh + ripe * (tired - fresh)).astype(np.float32)
    if burnt > 0:
        colour = colour + np.float32(min(1.0, burnt * 1.3)) * (np.array([0.17, 0.13, 0.10], np.float32) - colour)
    painted = toned(colour, 1 + 0.16 * leaves + 0.12 * lumps)
    canvas.blend(part, crown, painted)
    damped = np.float32(0.45)
    canvas.soften(part, crown, 0.12 + 0.88 * canvas.sun.slope_light(slope_x * damped, slope_y * damped))
    canvas.height[part] = np.where(crown, np.maximum(canvas.height[part], top), canvas.height[part])


def paint_felled_tree(canvas: Canvas, x: float, y: float, angle: float, length_m: float, salt: int) -> None:
    """A trunk on the ground with its crown at the far end."""
    window = canvas.window(x, y, length_m + 2)
    if window is None:
        return
    a, b = window.axes(angle)
    part = window.part
    leaves = canvas.noise("fine")[part]
    trunk = (np.abs(b) < 0.22) & (a > 0) & (a < length_m)
    spread = np.clip((a - 0.35 * length_m) / (0.65 * length_m), 0, 1)
    crown = (
        (np.abs(b) < 1.5 * np.sqrt(spread) * (1 + 0.5 * leaves)) & (a < length_m) & (canvas.noise("one")[part] > -0.35)
    )
    canvas.blend(part, crown, toned((0.28, 0.29, 0.15), 1 + 0.25 * leaves))
    canvas.blend(part, trunk, (0.45, 0.36, 0.27))
    canvas.height[part][crown] = 0.9
    canvas.height[part][trunk] = 0.5


def paint_vehicle(canvas: Canvas, x: float, y: float, angle: float, salt: int) -> None:
    """A car or van; the salt picks size and colour."""
    big = salt % 11 == 0
    half_a, half_b, tall = (3.1, 1.05, 2.5) if big else (2.2 + (salt % 5) * 0.05, 0.9, 1.45)
    window = canvas.window(x, y, half_a + 1)
    if window is None:
        return
    a, b = window.axes(angle)
    body = (np.abs(a) < half_a) & (np.abs(b) < half_b)
    cabin = (np.abs(a + 0.25) < half_a * 0.58) & (np.abs(b) < half_b * 0.86)
    glass = cabin & (np.abs(a + 0.25) > half_a * 0.34)
    colour = palette.CARS[salt % len(palette.CARS)] if not big else palette.CARS[0]
    canvas.blend(window.part, body, colour)
    if not big:
        canvas.blend(window.part, 0.8 * glass, (0.13, 0.15, 0.18))
    height = canvas.height[window.part]
    height[body] = 0.95 if not big else tall
    height[cabin] = tall
    canvas.light[window.part][body] = 1.0


def occupied(salt: np.ndarray, share: np.ndarray, date: int) -> np.ndarray:
    """Which parking places hold a vehicle on a date."""
    return np.asarray(lattice_hash(np.asarray(salt, np.int64), np.full(len(salt), date), 77) < share)
