"""Paint the streets: carriageway, marks, kerbs, pavements."""

import numpy as np

from damage_ssl.simulation import palette
from damage_ssl.simulation.canvas import Canvas, picked
from damage_ssl.simulation.noise import Field, lattice_hash
from damage_ssl.simulation.streets import Streets

_VERGE_M = 1.0
_CLEAR_OF_CROSSING_M = 5.0


def paint_streets(canvas: Canvas, streets: Streets, u: Field, v: Field) -> Field:
    """Paint every street of the tile; returns metres to the nearest kerb (negative on a carriageway), [H, W]."""
    street = streets.nearest(u, v)
    near = np.flatnonzero(street.kerb.ravel() < streets.pavement_m + _VERGE_M)
    if len(near) == 0:
        return street.kerb
    kerb, middle, along, half, crossing = (
        values.ravel()[near] for values in (street.kerb, street.middle, street.along, street.half_m, street.crossing)
    )
    number = street.number.ravel()[near]
    fine, one, three, ten = (canvas.noise(name).ravel()[near] for name in ("fine", "one", "three", "ten"))
    albedo = canvas.albedo.reshape(3, -1)
    colour = albedo[:, near]

    def cover(share: Field, shade: Field) -> None:
        np.add(colour, np.asarray(share, np.float32) * (shade - colour), out=colour)

    def flat(shade: palette.Colour) -> Field:
        return np.asarray(shade, np.float32)[:, None]

    step = canvas.pixel_m
    pavement = np.clip((streets.pavement_m - kerb) / step, 0, 1)
    cover(0.25 * np.clip((streets.pavement_m + _VERGE_M - kerb) / step, 0, 1), flat(palette.DRY_GRASS))
    slabs = np.where(np.mod(along, 1.5) < 0.14, np.float32(-0.05), np.float32(0))
    cover(pavement, flat(palette.PAVEMENT) * (1 + slabs + 0.05 * one + 0.05 * fine + 0.05 * ten))
    kinds = (lattice_hash(number, np.zeros_like(number), 5) * len(palette.ASPHALTS)).astype(int)
    tracks = 0.03 * np.cos((middle - 1.7) * 3.1) * np.clip(-kerb, 0, 1) * (1 + ten)
    mended = lattice_hash(np.asarray(along // 9, np.int64) + 4096, number, 6) < 0.06
    mended &= np.abs(middle - 1.6) < 1.1
    wear = tracks + 0.04 * fine + 0.04 * one + 0.04 * three + 0.06 * ten - 0.12 * mended
    cover(np.clip(0.5 - kerb / step, 0, 1), picked(palette.ASPHALTS, kinds) * np.asarray(1 + wear, np.float32))
    open_road = crossing > _CLEAR_OF_CROSSING_M
    main = (half > 5) & open_road
    marks = main & (middle < 0.14) & (np.mod(along, 7.0) < 3.2)
    marks |= main & (np.abs(kerb + 0.45) < 0.11)
    zebra = (half > 5) & (crossing > 1.0) & (crossing < 3.6) & (kerb < -0.5) & (np.mod(middle, 1.1) < 0.5)
    cover(np.where(marks | zebra, 0.7 + 0.2 * three, 0), flat(palette.PAINT))
    cover(np.where((np.abs(kerb) < 0.14) & open_road, 0.4, 0), flat((0.70, 0.69, 0.66)))
    albedo[:, near] = colour
    canvas.height.ravel()[near[kerb < streets.pavement_m]] = 0
    return street.kerb
