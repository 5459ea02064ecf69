"""Random textures that depend on the place on the ground only.

Every value is a hash of lattice coordinates, so that two tiles, or two dates, see the same ground without either
knowing of the other. Coordinates are metres east (x) and south (y) of the town's upper-left corner.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]


def lattice_hash(column: NDArray[np.integer[Any]], row: NDArray[np.integer[Any]], salt: int) -> Field:
    """Uniform values in [0, 1) of integer lattice points (arrays that broadcast), by an integer avalanche hash."""
    columns = np.asarray(column, np.uint32) * np.uint32(0x9E3779B1)
    rows = np.asarray(row, np.uint32) * np.uint32(0x85EBCA77)
    salts = np.full(1, (salt * 0xC2B2AE3D + 0x27D4EB2F) & 0xFFFFFFFF, np.uint32)
    mixed = np.bitwise_xor(np.bitwise_xor(columns, rows), salts)
    for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39), (15, 0x9E3779B1), (13, 0x85EBCA77)):
        mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    return np.asarray((mixed >> np.uint32(8)).astype(np.float32) * np.float32(1 / 2**24))


def smooth_noise(xs: Field, ys: Field, cell_m: float, salt: int) -> Field:
    """Value noise in [-1, 1] on the grid ys × xs, interpolated between lattice points `cell_m` apart."""
    i, fx = _split(xs, cell_m)
    j, fy = _split(ys, cell_m)
    columns, rows = np.arange(i[0], i[-1] + 2), np.arange(j[0], j[-1] + 2)
    lattice = 2 * lattice_hash(columns[None, :], rows[:, None], salt) - 1
    bands = lattice[j - j[0]] * (1 - fy)[:, None] + lattice[j - j[0] + 1] * fy[:, None]
    return np.asarray(bands[:, i - i[0]] * (1 - fx) + bands[:, i - i[0] + 1] * fx, np.float32)


def fractal_noise(xs: Field, ys: Field, cell_m: float, octaves: int, salt: int) -> Field:
    """Sum of `octaves` halving scales of `smooth_noise`, scaled to about [-1, 1]."""
    total = np.zeros((len(ys), len(xs)), np.float32)
    for octave in range(octaves):
        total += smooth_noise(xs, ys, cell_m / 2**octave, salt + 101 * octave) * np.float32(0.6**octave)
    return total * np.float32(0.8)


def shards(x: Field, y: Field, cell_m: float, salt: int) -> Field:
    """Blocky values in [0, 1): angular fragments of about `cell_m`, turned at random angles by the salt."""
    angle = 0.7 + 1.3 * (salt % 7)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    a, b = x * cos + y * sin, y * cos - x * sin
    row = np.floor(b / np.float32(cell_m * 0.6))
    column = np.floor(a / np.float32(cell_m) + np.float32(0.37) * row)
    return lattice_hash(column.astype(np.int64), row.astype(np.int64), salt)


def _split(values: Field, cell_m: float) -> tuple[NDArray[np.int64], Field]:
    scaled = np.asarray(values) / cell_m + 4096.0
    whole = np.floor(scaled).astype(np.int64)
    part = (scaled - whole).astype(np.float32)
    return whole, part * part * (3 - 2 * part)
