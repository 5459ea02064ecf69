"""What one date's pictures show of each building, gathered once: levels, detail and colour by area."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRAIN_M = 1.0
"""Structure is looked for at this scale: finer is noise and compression, coarser is in clouds too."""
RING_M = 4.0
LEAST_RING = 0.15
"""The ring must have this share of the footprint's area (within the patch), or the footprint stands alone."""
CELLS = 8
"""Cells a side into which a patch is divided (4 m at the default size)."""
DIRECTIONS = 8
"""Halves of the ring that are looked at: from the north round to the north-west."""
DARK_LEVEL = 24
"""No band above this: under a hundredth of full light (sRGB), and a handful of 8-bit levels for all there is."""
CLIPPED_LEVEL = 250
MOST_NOISE = 4.0
"""What is everywhere and stronger (grey levels between grains) is texture, such as a ribbed roof, and not noise."""
CALM_SHARE = 0.25
CALM_TO_MEAN = 1.35
"""White noise: the mean energy of cells of 4 x 4 grains over what the calmest quarter stays below."""

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Areas:
    """Weights of the cells [N, cells, areas]: the ring's halves (`halves`), and the footprint with each (`around`).

    Without a ring (`has_ring` [N] False: the building fills the patch) both are the footprint.
    """

    has_ring: Mask
    halves: Floats
    around: Floats


@dataclass(frozen=True)
class Grains:
    """Grains of about a metre, [N, rows, columns] each.

    `energy` is the squared difference from the next grains, without noise; `lowest` the darkest band; `bands`
    [N, 3, rows, columns]; `inside` the building, in the `ring` around it; `known`: `energy` is.
    """

    energy: Floats
    lowest: Floats
    bands: Floats
    inside: Mask
    ring: Mask
    known: Mask

    def take(self, rows: NDArray[np.intp]) -> "Grains":
        return Grains(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class Appearance:
    """One date. `dark` and `clipped` [N, 1 + directions]: shares of the footprint and of the ring's halves.

    Per cell [N, cells]: `detail` (grey levels between neighbouring grains, without noise), `lowest` (the darkest band
    of the darkest grain), `bands` [N, 3, cells], `grey`; `variogram` [N] at 1, 2 and 4 grains. `seen` [N]: there is
    data in the footprint. `weight` [N, cells]: share of a cell with data.
    """

    seen: Mask
    areas: Areas
    grains: Grains
    dark: Floats
    clipped: Floats
    detail: Floats
    lowest: Floats
    bands: Floats
    grey: Floats
    weight: Floats
    variogram: tuple[Floats, Floats, Floats]
    grain_m: float
    shape: tuple[int, int]
    """Rows and columns of cells."""


def look_at(colour: NDArray[np.uint8], valid: Mask, footprint: Mask, gsd_m: float) -> Appearance:
    """Gather one date of a batch: `colour` uint8 [N, 3, H, W], `valid` and `footprint` [N, H, W]."""
    from scipy import ndimage

    factor = max(1, min(round(GRAIN_M / gsd_m), min(colour.shape[2:]) // CELLS))
    known = reduced(valid, factor) > 0.999
    drawn = reduced(footprint, factor) > 0
    reach = 2 * max(1, round(RING_M / (factor * gsd_m))) + 1
    ring = ndimage.maximum_filter(drawn, size=(1, reach, reach), mode="constant") & ~drawn & known
    inside = drawn & known
    red, green, blue = (colour[:, band] for band in range(3))
    bands: Floats = np.stack([reduced(band, factor) for band in (red, green, blue)], axis=1)
    grey: Floats = (bands[:, 0] + 2 * bands[:, 1] + bands[:, 2]) / np.float32(4)
    energy, usable = _energy(grey, known)
    noise = _noise(energy, usable)
    cell = _cell_factor(grey.shape)
    shape = (grey.shape[1] // cell, grey.shape[2] // cell)
    areas = _areas(inside, ring, shape)
    lowest = np.minimum(np.minimum(bands[:, 0], bands[:, 1]), bands[:, 2])
    dark = reduced(np.maximum(np.maximum(red, green), blue) <= DARK_LEVEL, factor)
    clipped = reduced(np.minimum(np.minimum(red, green), blue) >= CLIPPED_LEVEL, factor)
    return Appearance(
        seen=np.asarray(inside.any(axis=(1, 2))),
        areas=areas,
        grains=Grains(
            energy=np.maximum(energy - noise[:, None, None], 0),
            lowest=lowest,
            bands=bands,
            inside=inside,
            ring=ring,
            known=usable,
        ),
        dark=_shares(dark, inside, ring, areas, shape),
        clipped=_shares(clipped, inside, ring, areas, shape),
        detail=np.sqrt(np.maximum(_cell_means(energy, usable) - noise[:, None], 0)),
        lowest=_lowest(lowest, known),
        bands=np.stack([_cell_means(bands[:, band], known) for band in range(3)], axis=1),
        grey=_cell_means(grey, known),
        weight=_in_cells(known),
        variogram=(_variogram(grey, known, 1), _variogram(grey, known, 2), _variogram(grey, known, 4)),
        grain_m=factor * gsd_m,
        shape=shape,
    )


def averaged(values: Floats, weight: Floats) -> Floats:
    """Means of cell values [N, cells] over areas with weights [N, cells, areas]: [N, areas], 0 where no weight is."""
    total: Floats = np.einsum("nc,nca->na", values, weight, optimize=True)
    return _ratio(total, weight.sum(axis=1))


def half_planes(shape: tuple[int, int], directions: int, offset: float = 0.0) -> Floats:
    """Which cells lie beyond a straight line through the patch, by direction over half a turn: [cells, directions].

    `offset` moves the line away from the centre, in patch widths.
    """
    down, across = ((np.arange(count) + 0.5) / count - 0.5 for count in shape)
    angle = np.arange(directions) * np.pi / directions
    along = np.cos(angle) * across[None, :, None] + np.sin(angle) * down[:, None, None]
    return (along.reshape(-1, directions) > offset).astype(np.float32)


def reduced(values: NDArray[Any], factor: int) -> Floats:
    """Means over `factor` x `factor` pixels, [N, H, W] to [N, H // factor, W // factor], about the centre."""
    rows, columns = values.shape[1] // factor, values.shape[2] // factor
    top, left = (values.shape[1] - rows * factor) // 2, (values.shape[2] - columns * factor) // 2
    # Rows first: sums of whole lines, in whole numbers where the values are, are the quick ones.
    kind = np.float32 if values.dtype.kind == "f" else np.uint16 if factor <= 16 else np.uint32
    values = values.view(np.uint8) if values.dtype == bool else values
    lines: NDArray[Any] = values[:, top::factor][:, :rows].astype(kind)
    for row in range(top + 1, top + factor):
        lines += values[:, row::factor][:, :rows]
    total: NDArray[Any] = lines[:, :, left::factor][:, :, :columns].astype(kind)
    for column in range(left + 1, left + factor):
        total += lines[:, :, column::factor][:, :, :columns]
    mean: Floats = np.multiply(total, np.float32(1 / factor**2), dtype=np.float32)
    return mean


def _areas(inside: Mask, ring: Mask, shape: tuple[int, int]) -> Areas:
    footprint, around = _in_cells(inside), _in_cells(ring)
    has_ring = around.sum(axis=1) >= LEAST_RING * footprint.sum(axis=1)
    one_way = half_planes(shape, DIRECTIONS // 2)
    sides = np.concatenate([one_way, 1 - one_way], axis=1)
    halves = around[:, :, None] * sides
    # A half that is nearly empty (the rest has no data) says nothing; the whole ring takes its place.
    enough = halves.sum(axis=1) >= 0.25 * around.sum(axis=1)[:, None]
    halves = np.where(enough[:, None, :], halves, around[:, :, None])
    alone = ~has_ring[:, None, None]
    return Areas(
        has_ring=has_ring,
        halves=np.where(alone, footprint[:, :, None], halves),
        around=np.where(alone, footprint[:, :, None], halves + footprint[:, :, None]),
    )


def _shares(values: Floats, inside: Mask, ring: Mask, areas: Areas, shape: tuple[int, int]) -> Floats:
    """Means of grain values in the footprint and in the ring's halves, [N, 1 + directions]."""
    footprint = np.einsum("nij,nij->n", values, inside.astype(np.float32)) / np.maximum(inside.sum(axis=(1, 2)), 1)
    around = _cell_means(values, ring)
    halves = np.where(areas.has_ring[:, None], averaged(around, areas.halves), footprint[:, None])
    return np.concatenate([footprint[:, None], halves], axis=1).astype(np.float32)


def _energy(grey: Floats, known: Mask) -> tuple[Floats, Mask]:
    """Squared difference of each grain from the next in its row and column, and where it is known."""
    energy, usable = np.zeros_like(grey), np.zeros_like(known)
    here = grey[:, :-1, :-1]
    energy[:, :-1, :-1] = (grey[:, :-1, 1:] - here) ** 2 + (grey[:, 1:, :-1] - here) ** 2
    usable[:, :-1, :-1] = known[:, :-1, :-1] & known[:, :-1, 1:] & known[:, 1:, :-1]
    return energy, usable


def _noise(energy: Floats, usable: Mask) -> Floats:
    """Noise is in all cells alike, and structure is not: the calmest cells show how much energy is noise, [N]."""
    ordered = np.sort(np.where(_in_cells(usable) >= 0.5, _cell_means(energy, usable), np.float32(np.inf)), axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    calm = ordered[np.arange(len(ordered)), (CALM_SHARE * count).astype(np.intp)]
    return np.minimum(CALM_TO_MEAN * np.where(count > 0, calm, 0), MOST_NOISE**2).astype(np.float32)


def _lowest(values: Floats, known: Mask) -> Floats:
    factor = _cell_factor(values.shape)
    rows, columns = values.shape[1] // factor, values.shape[2] // factor
    top, left = (values.shape[1] - rows * factor) // 2, (values.shape[2] - columns * factor) // 2
    lowest = np.full((len(values), rows, columns), np.inf, dtype=np.float32)
    values = np.where(known, values, np.float32(np.inf))
    for row in range(top, top + factor):
        for column in range(left, left + factor):
            np.minimum(lowest, values[:, row::factor, column::factor][:, :rows, :columns], out=lowest)
    return lowest.reshape(len(values), -1)


def _variogram(grey: Floats, known: Mask, lag: int) -> Floats:
    """Mean squared difference between pixels `lag` apart in rows and in columns, [N]."""
    total, count = np.zeros(len(grey), np.float32), np.zeros(len(grey), np.float32)
    for axis in (1, 2):
        one: tuple[slice, ...] = (slice(None),) * axis + (slice(lag, None),)
        other: tuple[slice, ...] = (slice(None),) * axis + (slice(None, -lag),)
        both = known[one] & known[other]
        difference = (grey[one] - grey[other]) * both
        total += np.einsum("nij,nij->n", difference, difference)
        count += np.count_nonzero(both, axis=(1, 2))
    return _ratio(total, count)


def _cell_means(values: Floats, known: Mask) -> Floats:
    """Means of grain values per cell where they are known, [N, cells] (0 where nothing is)."""
    total = _in_cells(np.where(known, values, np.float32(0)))
    return _ratio(total, _in_cells(known))


def _in_cells(values: NDArray[Any]) -> Floats:
    cells = reduced(values, _cell_factor(values.shape))
    return cells.reshape(len(cells), -1)


def _cell_factor(shape: tuple[int, ...]) -> int:
    """Grains a side of a cell."""
    return max(1, -(-min(shape[1:]) // CELLS))


def _ratio(total: NDArray[np.floating[Any]], weight: NDArray[np.floating[Any]]) -> Floats:
    """`total` / `weight`, 0 where there is no weight."""
    return np.asarray(total / np.maximum(weight, np.float32(1e-6)), dtype=np.float32)
