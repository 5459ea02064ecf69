"""From the painted tile to the picture: shadows, light, air, the sensor."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from damage_ssl.simulation.noise import Field, smooth_noise
from damage_ssl.simulation.rendering.canvas import Canvas, Sun
from damage_ssl.simulation.town.streets import Floats

_SKY_LIGHT = np.array([0.30, 0.335, 0.39], np.float32)
_SUN_LIGHT = np.array([0.74, 0.70, 0.63], np.float32)
_HAZE = np.array([0.70, 0.73, 0.76], np.float32)


@dataclass(frozen=True, kw_only=True)
class Camera:
    """How one date is seen.

    `lean` is the displacement of a point on the picture by its height, metres east and south a metre. `shift_east_m`
    and `shift_north_m` displace the whole picture. `veil` is the opacity of thin haze over all of it. `haze_corner` and
    `nodata_corner` are (0 or 1, 0 or 1): west or east, north or south; None: none.
    """

    date: int
    sun: Sun
    lean: tuple[float, float]
    lushness: float
    tint: tuple[float, float, float]
    gamma: float
    paleness: float
    blur_px: float
    noise: float
    veil: float = 0.0
    shift_east_m: float = 0.0
    shift_north_m: float = 0.0
    haze: float = 0.0
    haze_corner: tuple[int, int] | None = None
    nodata_share: float = 0.0
    nodata_corner: tuple[int, int] | None = None


def develop(
    canvas: Canvas,
    look: Camera,
    factor: int,
    margin_px: int,
    town_size_m: tuple[float, float],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """The tile as uint8 [3, h, w] without its margin; 0 in all bands means no data, and nothing else does."""
    shadow = cast_shadows(canvas.height, canvas.sun, canvas.pixel_m)
    sheltered = np.clip(
        (ndimage.uniform_filter(canvas.height, max(3, round(3.0 / canvas.pixel_m))) - canvas.height) * 0.07, 0, 0.3
    )
    direct = canvas.light * (1 - shadow)
    height, width = (size // factor for size in canvas.height.shape)
    inner = slice(margin_px, -margin_px) if margin_px else slice(None)
    picture = np.empty((3, height, width), np.float32)
    for channel, albedo, sky, sun in zip(picture, canvas.albedo, _SKY_LIGHT, _SUN_LIGHT, strict=True):
        radiance = albedo * ((1 - sheltered) * sky + direct * sun)
        fine = sum(radiance[i::factor, j::factor] for i in range(factor) for j in range(factor)) / np.float32(factor**2)
        ndimage.gaussian_filter(fine, look.blur_px, output=channel)
    picture = picture[:, inner, inner]
    xs = canvas.xs.reshape(-1, factor).mean(axis=1)[inner]
    ys = canvas.ys.reshape(-1, factor).mean(axis=1)[inner]
    tint = np.asarray(look.tint, np.float32)[:, None, None]
    picture = np.clip(picture, 0, None) ** np.float32(look.gamma)
    picture = (picture + np.float32(look.paleness) * (picture.mean(axis=0) - picture)) * tint
    picture = picture + np.float32(look.veil) * (_HAZE[:, None, None] - picture)
    picture = picture + _haze(look, xs, ys, town_size_m) * (_HAZE[:, None, None] - picture)
    grain = 0.75 * rng.standard_normal(picture.shape, np.float32)
    grain += 0.5 * rng.standard_normal(picture.shape[1:], np.float32)
    picture = picture + np.float32(look.noise) * grain * (0.6 + picture)
    digital = np.clip(np.rint(picture * 255), 1, 255).astype(np.uint8)
    digital[:, _missing(look, xs, ys, town_size_m)] = 0
    return np.asarray(digital, np.uint8)


def cast_shadows(height: Field, sun: Sun, pixel_m: float) -> Field:
    """Share of the direct light that something taller towards the sun takes away, [H, W] in [0, 1].

    The horizon is built by doubling: S_{2k}(p) = max(S_k(p), S_k(p + k·d) - k·t), with d one pixel towards the sun
    and t the fall of a sun ray over one pixel.
    """
    east, south = sun.towards
    step = 1
    horizon = _moved(height, south, east) - np.float32(sun.tangent * pixel_m)
    while step * pixel_m < 14:
        moved = _moved(horizon, south * step, east * step) - np.float32(sun.tangent * pixel_m * step)
        horizon = np.maximum(horizon, moved)
        step *= 2
    return np.asarray(np.clip((horizon - height - 0.12) / 0.35, 0, 1), np.float32)


def _moved(values: Field, rows: float, columns: float) -> Field:
    """values[p + (rows, columns)], rounded to whole pixels; beyond the edge, far below."""
    dy, dx = round(rows), round(columns)
    out = np.full_like(values, -1e3)
    h, w = values.shape
    if abs(dy) >= h or abs(dx) >= w:
        return out
    out[max(0, -dy) : h - max(0, dy), max(0, -dx) : w - max(0, dx)] = values[
        max(0, dy) : h + min(0, dy), max(0, dx) : w + min(0, dx)
    ]
    return out


def _corner_distance(corner: tuple[int, int], xs: Floats, ys: Floats, size_m: tuple[float, float]) -> Floats:
    """Distance from a corner as a share of the picture's sides, summed: lines of equal value cut the corner off."""
    across = xs / size_m[0] if corner[0] == 0 else 1 - xs / size_m[0]
    down = ys / size_m[1] if corner[1] == 0 else 1 - ys / size_m[1]
    return np.asarray(across[None, :] + down[:, None])


def _haze(look: Camera, xs: Floats, ys: Floats, size_m: tuple[float, float]) -> Field:
    if look.haze_corner is None:
        return np.zeros((len(ys), len(xs)), np.float32)
    away = _corner_distance(look.haze_corner, xs, ys, size_m)
    wisps = smooth_noise(xs, ys, 0.16 * size_m[0], 701) + 0.5 * smooth_noise(xs, ys, 0.06 * size_m[0], 709)
    share = np.clip(1 - away / 0.75 + 0.25 * wisps, 0, 1) ** 1.5
    return np.asarray(look.haze * share, np.float32)


def _missing(look: Camera, xs: Floats, ys: Floats, size_m: tuple[float, float]) -> NDArray[np.bool_]:
    """A wedge of the asked share of the picture, cut off at a corner by a slightly jagged line."""
    if look.nodata_corner is None or look.nodata_share <= 0:
        return np.zeros((len(ys), len(xs)), bool)
    leg = np.sqrt(2 * look.nodata_share)
    jag = 0.03 * leg * smooth_noise(xs, ys, 0.02 * size_m[0], 719)
    return np.asarray(_corner_distance(look.nodata_corner, xs, ys, size_m) < leg + jag)
