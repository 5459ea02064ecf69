"""Of the scenes of one date, the best one for each building, its gaps filled from the next best ones.

A scene is as good as the share of the building that it shows. Where several scenes show one, a veil of cloud or smoke
that another of them proves takes from that share: a cloud is no data either.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damage_ssl.imagery.quality.appearance import look_at
from damage_ssl.imagery.quality.measures import share_within
from damage_ssl.imagery.quality.veil import veil_opacity
from damage_ssl.imagery.resampling import covered, cut_grids
from damage_ssl.mosaic.scene_windows import Layer, LayerWindow

Cut = tuple[NDArray[np.uint8], NDArray[np.bool_]]


@dataclass(frozen=True)
class Side:
    """One date of N buildings.

    `scene_id` [N] is the best scene (None where none holds any of the footprint), `covered_share` [N] the share of the
    footprint within any scene's extent, `failed` [N] what could not be read of the scenes that the building lies on
    (None where all could). Per view: `colour` uint8 [N, 3, H, W], 0 where not valid, and `valid` [N, H, W].
    """

    scene_id: NDArray[np.object_]
    covered_share: NDArray[np.float64]
    failed: NDArray[np.object_]
    colour: tuple[NDArray[np.uint8], ...]
    valid: tuple[NDArray[np.bool_], ...]


@dataclass(frozen=True)
class _Candidate:
    """One scene's pixels of some buildings (`rows` of the part that is cut), per view, and what ranks it."""

    scene_id: str
    days: float
    rows: NDArray[np.intp]
    holds_some: NDArray[np.bool_]
    share: NDArray[np.float64]
    whole: NDArray[np.float64]
    colour: list[NDArray[np.uint8]]
    valid: list[NDArray[np.bool_]]


def cut_side(
    layers: Sequence[tuple[Layer, Sequence[LayerWindow]]],
    rows: NDArray[np.intp],
    sizes_px: Sequence[int],
    footprint: NDArray[np.bool_],
    *,
    gsd_m: float,
    max_cloud: float,
) -> Side:
    """Cut the buildings `rows` (ascending) of a batch out of the windows that were read of the scenes of one side.

    Args:
        layers: the scenes in the order of their ids, each with its windows.
        rows: the buildings.
        sizes_px: width of the grids of each view.
        footprint: [N, H, W] of the first view, which decides what scene is best.
        gsd_m: metres a pixel of the first view.
        max_cloud: a veil more opaque than this, by what another of the scenes shows, counts against a scene.
    """
    count = len(rows)
    candidates = []
    inside = np.zeros(footprint.shape, dtype=bool)
    failed = np.full(count, None, dtype=object)
    for layer, windows in layers:
        usable = []
        for window in windows:
            first, last = np.searchsorted(window.rows, (rows[0], rows[-1] + 1))
            members = window.rows[first:last]
            if window.failure is not None:
                failed[np.searchsorted(rows, members)] = window.failure
            elif len(members):
                usable.append((members, window))
        if usable:
            candidates.append(_candidate(layer, usable, rows, footprint, inside))
    if len(candidates) == 1 and len(candidates[0].rows) == count:  # by far the most frequent case: nothing to choose
        only = candidates[0]
        named = np.full(count, None, dtype=object)
        named[only.holds_some] = only.scene_id
        return Side(named, valid_share(inside, footprint), failed, tuple(only.colour), tuple(only.valid))
    shares = _clear_shares(candidates, footprint, gsd_m, max_cloud)
    scene_id, colour, valid = _best_of(candidates, shares, count, sizes_px)
    return Side(scene_id, valid_share(inside, footprint), failed, colour, valid)


def valid_share(mask: NDArray[np.bool_], footprint: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`share_within`, without counting where the mask is True all over."""
    share: NDArray[np.float64] = footprint.reshape(len(footprint), -1).any(axis=1) * np.ones(len(footprint))
    partly = np.flatnonzero(~mask.reshape(len(mask), -1).all(axis=1))
    share[partly] = share_within(mask[partly], footprint[partly])
    return share


def _candidate(
    layer: Layer,
    windows: Sequence[tuple[NDArray[np.intp], LayerWindow]],
    rows: NDArray[np.intp],
    footprint: NDArray[np.bool_],
    inside: NDArray[np.bool_],
) -> _Candidate:
    """Cut one scene's pixels of the buildings that the windows hold; enter into `inside` which lie in its extent."""
    members = np.concatenate([these for these, _ in windows])
    here = np.searchsorted(rows, members)
    mine = footprint[here]
    cut = [
        _joined([cut_grids(window.chunks[view], place.take(these)) for these, window in windows])
        for view, place in enumerate(layer.places)
    ]
    whole = layer.whole[members]
    inside[here[whole]] = True
    holds_some = np.ones(len(here), dtype=bool)
    rim = np.flatnonzero(~whole)
    if len(rim):
        place = layer.places[0].take(members[rim])
        extent = covered(place.where, place.size_px, layer.scene.width, layer.scene.height)
        inside[here[rim]] |= extent
        holds_some[rim] = (extent & mine[rim]).any(axis=(1, 2))
    return _Candidate(
        scene_id=layer.scene.scene_id,
        days=layer.days,
        rows=here,
        holds_some=holds_some,
        share=np.round(valid_share(cut[0][1], mine), 3),
        whole=cut[0][1].reshape(len(here), -1).mean(axis=1),
        colour=[colour for colour, _ in cut],
        valid=[valid for _, valid in cut],
    )


def _joined(cuts: list[Cut]) -> Cut:
    if len(cuts) == 1:
        return cuts[0]
    return np.concatenate([colour for colour, _ in cuts]), np.concatenate([valid for _, valid in cuts])


def _clear_shares(
    candidates: Sequence[_Candidate], footprint: NDArray[np.bool_], gsd_m: float, max_cloud: float
) -> list[NDArray[np.float64]]:
    """Per candidate the share of each footprint that it shows, less what a veil hides that any other of them proves."""
    shares = [candidate.share.copy() for candidate in candidates]
    for first, one in enumerate(candidates):
        for second, other in enumerate(candidates[:first]):
            _, here, there = np.intersect1d(one.rows, other.rows, assume_unique=True, return_indices=True)
            both = (one.share[here] > 0) & (other.share[there] > 0)
            here, there = here[both], there[both]
            if not len(here):
                continue
            mine = footprint[one.rows[here]]
            looks = [look_at(c.colour[0][at], c.valid[0][at], mine, gsd_m) for c, at in ((one, here), (other, there))]
            for number, at, veil in (
                (first, here, veil_opacity(looks[0], looks[1])),
                (second, there, veil_opacity(looks[1], looks[0])),
            ):
                left = np.round(candidates[number].share[at] * (1 - veil), 3)
                shares[number][at] = np.where(
                    veil > max_cloud, np.minimum(shares[number][at], left), shares[number][at]
                )
    return shares


def _best_of(
    candidates: list[_Candidate], shares: Sequence[NDArray[np.float64]], count: int, sizes_px: Sequence[int]
) -> tuple[NDArray[np.object_], tuple[NDArray[np.uint8], ...], tuple[NDArray[np.bool_], ...]]:
    """The best scene's id for each building, and per view colour and validity, put together from best to worst."""
    order = _ranked(candidates, shares, count)
    colour = tuple(np.zeros((count, 3, size, size), dtype=np.uint8) for size in sizes_px)
    valid = tuple(np.zeros((count, size, size), dtype=bool) for size in sizes_px)
    scene_id = np.full(count, None, dtype=object)
    for place in range(order.shape[1]):
        for number, candidate in enumerate(candidates):
            chosen = np.flatnonzero(order[candidate.rows, place] == number)
            if not len(chosen):
                continue
            at = candidate.rows[chosen]
            new = at[candidate.holds_some[chosen] & (scene_id[at] == None)]  # noqa: E711 (elementwise)
            scene_id[new] = candidate.scene_id
            for view in range(len(sizes_px)):
                if place == 0:
                    colour[view][at], valid[view][at] = candidate.colour[view][chosen], candidate.valid[view][chosen]
                else:
                    _fill_gaps(colour[view], valid[view], at, candidate.colour[view], candidate.valid[view], chosen)
    return scene_id, colour, valid


def _ranked(candidates: list[_Candidate], shares: Sequence[NDArray[np.float64]], count: int) -> NDArray[np.intp]:
    """[N, scenes]: numbers of the candidates from the best to the worst; -1 where a building has no more."""
    share, whole = (np.full((count, len(candidates)), -1.0) for _ in range(2))
    days = np.broadcast_to([candidate.days for candidate in candidates], share.shape)
    for number, candidate in enumerate(candidates):  # in the order of their ids, which settles what is equal
        share[candidate.rows, number], whole[candidate.rows, number] = shares[number], candidate.whole
    order = np.lexsort((-whole, days, -share), axis=-1).astype(np.intp)
    return np.where(np.take_along_axis(share, order, axis=1) < 0, -1, order)


def _fill_gaps(
    colour: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    at: NDArray[np.intp],
    other_colour: NDArray[np.uint8],
    other_valid: NDArray[np.bool_],
    chosen: NDArray[np.intp],
) -> None:
    """Fill what is not valid at rows `at` from the rows `chosen` of another scene."""
    lacking = np.flatnonzero(~valid[at].all(axis=(1, 2)))
    at, chosen = at[lacking], chosen[lacking]
    gap = other_valid[chosen] & ~valid[at]
    colour[at] = np.where(gap[:, None], other_colour[chosen], colour[at])
    valid[at] |= gap
