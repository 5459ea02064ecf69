"""Cloud and smoke: how opaque a veil lies over the building, judged with its surroundings.

A veil of opacity a and light A turns a scene J into (1 - a) J + a A (Koschmieder 1924; He et al. 2011,
doi:10.1109/TPAMI.2010.168): differences shrink by (1 - a), and the darkest parts, at some band close to 0, rise by
about a A. Only both together are a veil: lost structure alone may be water or a razed lot, brightness alone a new
roof. What was there to lose is what the other date shows; around a building there is always something.
"""

import numpy as np

from damage_ssl.imagery.quality.appearance import LEAST_RING, Appearance, Floats, Grains, Mask, averaged

FLOOR_DETAIL = 8.0
"""Detail (grey levels) that a building with its surroundings has, by and large, where it can be seen at all."""
LEAST_DETAIL = 4.0
"""With less detail than this on the other date there is nothing that could have been lost."""
LIFT = (20.0, 50.0)
"""A veil lifts the darkest parts: by so many grey levels not a veil at all / surely one."""
VEIL_LEVEL = (70.0, 100.0)
"""The darkest parts under a veil: below the first it is water or shadow, above the second bright enough for a veil."""
WARM = (0.2, 0.35)
"""(red - blue) / brightest: up to the first the colour of smoke, from the second that of mud and sand."""
DARKEST_SHARE = 0.1
EDGE_DIRECTIONS = 16
EDGE_SHARE = 0.2
"""A veil's edge is looked for within so much of the building's breadth: what shows there does not tell its state."""
EDGE_GRAINS = 2.0
"""... and at least so many grains, for those on the edge are part veil, part scene."""
EDGE_FLAT_SHARE = 0.6
"""An edge is looked for where so much of the building has less than `LEAST_DETAIL`: opaque veils only."""
EDGE_DARKEST_SHARE = 0.03
EDGE_MOST = 30.0
"""Detail counts up to here, lest a few grains of an edge that is not quite straight outweigh all others."""


def veil_opacity(one: Appearance, other: Appearance) -> Floats:
    """Opacity, 0..1 [N], of a veil over the building and the half of its surroundings that has most of it."""
    opacity = _without_edge(one, other)
    rows = np.flatnonzero((_flat_share(one) >= EDGE_FLAT_SHARE) & one.areas.has_ring)
    if len(rows):
        opacity[rows] = np.maximum(opacity[rows], _beside_edge(one.grains.take(rows), other.grains.take(rows)))
    return opacity


def _without_edge(one: Appearance, other: Appearance) -> Floats:
    """Of a veil that goes on all around, or whose edge is a few metres beyond the building."""
    floor = np.where(one.areas.has_ring, np.float32(FLOOR_DETAIL), np.float32(0))[:, None]
    lowest = _darkest(one)
    lifted = _ramp(lowest - _darkest(other), *LIFT)
    opacity = np.ones_like(lowest)
    for area in (one.areas.halves, one.areas.around):
        here, there = averaged(one.detail, area), np.maximum(averaged(other.detail, area), floor)
        lost = np.where(there >= LEAST_DETAIL, 1 - here / np.maximum(there, LEAST_DETAIL), 0)
        # Where the other date is veiled as well nothing is lifted; then there must be next to no detail at all.
        lost_anyhow = np.where(floor > 0, 1 - here / FLOOR_DETAIL, 0)
        opacity = np.minimum(opacity, np.maximum(lost * lifted, lost_anyhow))
    colour = np.stack([averaged(one.bands[:, band], one.areas.around) for band in range(3)], axis=2)
    veil: Floats = (np.maximum(opacity, 0) * _veil_like(lowest, colour)).max(axis=1)
    return veil


def _beside_edge(one: Grains, other: Grains) -> Floats:
    """Of a veil that ends along one wall of the building and goes on beyond the others, [N].

    The building and the ground are judged together, less a strip along the wall where the veil may end, in the
    direction that leaves least detail. What stops at the building's own walls (a white roof) shows three of them.
    """
    area = _beyond_edges(one.inside) & ((one.inside | one.ring) & one.known & other.known)[:, None]
    energy, energy_then = (np.minimum(grains.energy, np.float32(EDGE_MOST**2)) for grains in (one, other))
    here = _mean(energy, area)
    best = (np.arange(len(area)), here.argmin(axis=1))
    area = area[best][:, None]
    ground, building = (np.count_nonzero(places, axis=(1, 2)) for places in (area[:, 0] & one.ring, one.inside))
    here, there = np.sqrt(here[best]), np.sqrt(_mean(energy_then, area))[:, 0]
    lost = 1 - here / np.maximum(there, np.float32(FLOOR_DETAIL))
    lowest, lowest_then = (_quantile(grains.lowest, area, EDGE_DARKEST_SHARE) for grains in (one, other))
    colour = np.stack([_mean(one.bands[:, band], area) for band in range(3)], axis=2)
    lifted = _ramp(lowest - lowest_then, *LIFT) * _veil_like(lowest, colour)
    goes_on = ground >= LEAST_RING * building  # else the white roof of a building that fills the patch would do
    veil: Floats = np.maximum(lost, 0) * lifted[:, 0] * goes_on
    return veil


def _beyond_edges(inside: Mask) -> Mask:
    """The side of the building of edges along its walls, by direction: [N, rows, columns] to [N, directions, …]."""
    down, across = (np.arange(count, dtype=np.float32) - (count - 1) / 2 for count in inside.shape[1:])
    angle = (np.arange(EDGE_DIRECTIONS) * 2 * np.pi / EDGE_DIRECTIONS).astype(np.float32)[:, None, None]
    along = np.cos(angle) * across + np.sin(angle) * down[:, None]
    endless = np.float32(np.inf)
    wall = np.where(inside[:, None], along, endless).min(axis=(2, 3), keepdims=True)
    breadth = np.where(inside[:, None], along, -endless).max(axis=(2, 3), keepdims=True) - wall
    return np.asarray(along >= wall + np.maximum(EDGE_SHARE * breadth, EDGE_GRAINS))


def _veil_like(lowest: Floats, colour: Floats) -> Floats:
    """How well the level of the darkest parts [N, areas] and the mean colour [N, areas, 3] go with cloud or smoke."""
    warm = (colour[:, :, 0] - colour[:, :, 2]) / np.maximum(colour.max(axis=2), 1)
    return _ramp(lowest, *VEIL_LEVEL) * (1 - _ramp(warm, *WARM))


def _darkest(one: Appearance) -> Floats:
    """What a tenth of the cells of each area stays below at its darkest, [N, areas]."""
    return _quantile(one.lowest, np.moveaxis(one.areas.around > 0, 1, 2), DARKEST_SHARE)


def _quantile(values: Floats, area: Mask, share: float) -> Floats:
    """What `share` of the values [N, …] within each area [N, areas, …] stay below, [N, areas] (0 where it is empty)."""
    within = np.where(area, values[:, None], np.float32(np.inf)).reshape(*area.shape[:2], -1)
    ordered = np.sort(within, axis=2)
    place = (share * np.isfinite(ordered).sum(axis=2)).astype(np.intp)
    found: Floats = np.take_along_axis(ordered, place[:, :, None], axis=2)[:, :, 0]
    return np.where(np.isfinite(found), found, np.float32(0))


def _flat_share(one: Appearance) -> Floats:
    """Share of the building's grains that hardly differ from the next, [N]."""
    inside = one.grains.inside
    flat = np.count_nonzero(inside & (one.grains.energy <= LEAST_DETAIL**2), axis=(1, 2))
    return np.asarray(flat / np.maximum(np.count_nonzero(inside, axis=(1, 2)), 1), dtype=np.float32)


def _mean(values: Floats, area: Mask) -> Floats:
    """Means of grain values [N, rows, columns] over areas [N, areas, rows, columns], [N, areas]."""
    total = np.einsum("nij,naij->na", values, area.astype(np.float32), optimize=True)
    return np.asarray(total / np.maximum(np.count_nonzero(area, axis=(2, 3)), 1), dtype=np.float32)


def _ramp(values: Floats, low: float, high: float) -> Floats:
    """0 up to `low`, 1 from `high`, linear between."""
    ramp: Floats = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return ramp
