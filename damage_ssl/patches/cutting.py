"""Both dates of neighbouring buildings on their grids: the scenes around them are read once, the best one is chosen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from damage_ssl.errors import InputError, SourceError
from damage_ssl.event.imagery import Chunk, Scene, read_chunk
from damage_ssl.event.quality import share_within
from damage_ssl.event.resample import (
    MAX_FIT_ERROR_PX,
    GridBatch,
    Placement,
    covered,
    cut_grids,
    place_grids,
    source_map,
)
from damage_ssl.patches.batches import Batch
from damage_ssl.patches.grouping import reading_groups
from damage_ssl.patches.lattice import GridCentres, grid_centres
from damage_ssl.patches.masks import footprint_masks

CUT_TOGETHER = 128
"""Buildings cut in one go: enough to leave Python's own time behind, few enough that they stay in the processor's
cache."""


@dataclass(frozen=True)
class View:
    """The size and the metres a pixel of a grid around each building."""

    size_px: int
    gsd_m: float


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
class BothSides:
    """Buildings `rows` of a batch (neighbours, ascending) on both dates, and per view `footprint` [N, H, W]: True where
    they lie in the pre patch (and, as the post grid is moved by the shift between the dates, in the post patch).
    """

    rows: NDArray[np.intp]
    pre: Side
    post: Side
    footprint: tuple[NDArray[np.bool_], ...]


@dataclass(frozen=True)
class _Layer:
    """One scene that a batch touches: which buildings, where their grids lie in it per view, and the pixels around
    them ([N, 4] least and greatest column, least and greatest row; NaN where it is not touched).
    """

    scene: Scene
    days: float
    touched: NDArray[np.bool_]
    places: tuple[Placement, ...]
    box_px: NDArray[np.float64]


@dataclass(frozen=True)
class _Window:
    """What was read of a layer for a group of buildings, per view; or why it could not be read."""

    layer: _Layer
    chunks: tuple[Chunk, ...]
    failure: str | None


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


@dataclass(frozen=True)
class Reading:
    """What there is to read for a batch: `in_pre` and `in_post` [N] say whose grid touches a scene of that side."""

    batch: Batch
    views: tuple[View, ...]
    in_pre: NDArray[np.bool_]
    in_post: NDArray[np.bool_]
    _centred: GridCentres
    _layers: tuple[list[_Layer], list[_Layer]]

    def sides(self, memory_bytes: int = 400_000_000) -> Iterator[BothSides]:
        """Cut the buildings that lie in a scene of both sides, up to `CUT_TOGETHER` neighbours at a time.

        A scene that cannot be read is named in `Side.failed`; the others still serve. `memory_bytes` bounds what is
        read at a time, and changes no result.
        """
        wanted = np.flatnonzero(self.in_pre & self.in_post)
        if not len(wanted):
            return
        boxes = [layer.box_px[wanted] for side in self._layers for layer in side]
        for group in reading_groups(self.batch.fine_cell[wanted], boxes, memory_bytes):
            together = wanted[group]
            sides = [
                [_read(layer, together) for layer in side if layer.touched[together].any()] for side in self._layers
            ]
            for start in range(0, len(together), CUT_TOGETHER):
                rows = together[start : start + CUT_TOGETHER]
                drawn_x, drawn_y = (axis[rows] for axis in self._centred.drawn)
                masks = tuple(
                    footprint_masks(self.batch.geometry[rows], drawn_x, drawn_y, size_px=view.size_px, gsd_m=view.gsd_m)
                    for view in self.views
                )
                earlier, later = (_cut_side(side, rows, self.views, masks[0]) for side in sides)
                yield BothSides(rows, earlier, later, masks)


def plan_reading(batch: Batch, pre: Sequence[Scene], post: Sequence[Scene], views: Sequence[View]) -> Reading:
    """Work out where a batch's grids lie in the scenes; no pixel is read yet.

    A building is looked for at its centre + `pre_offset_m` in the pre scenes, and at + `post_offset_m` in the post
    scenes. Where a scene of the event has the building's UTM zone and the pixel size of the first view, grids are moved
    by up to half a pixel onto its pixels, so that they are cut out and not interpolated.

    Of several scenes, the one with the best valid share of the footprint is taken; ties go to the scene nearest in
    date to the other side (pre: nearest to the earliest post scene; post: nearest to the latest pre scene), then to the
    larger valid share of the whole patch, then to the first id. Pixels that it lacks are filled from the next best.

    Args:
        batch: the buildings.
        pre: all pre scenes of the event, in the order of their ids.
        post: all post scenes of the event, likewise.
        views: the grids to cut; the first one's footprint decides which scene is best.

    Raises:
        InputError: a scene's CRS bends too much over a patch.
    """
    centred = grid_centres(batch, [*pre, *post], views[0].size_px, views[0].gsd_m)
    layers: list[list[_Layer]] = []
    within = []
    for scenes, others, (x_m, y_m), latest in ((pre, post, centred.pre, False), (post, pre, centred.post, True)):
        grids = [GridBatch(batch.crs, x_m, y_m, view.size_px, view.gsd_m) for view in views]
        near = _nearest_date([scene.datetime for scene in others], latest=latest)
        side = [layer for scene in scenes if (layer := _layer(grids, scene, near)) is not None]
        layers.append(side)
        within.append(np.any([layer.touched for layer in side], axis=0) if side else np.zeros(len(batch), dtype=bool))
    return Reading(batch, tuple(views), within[0], within[1], centred, (layers[0], layers[1]))


def read_sides(
    batch: Batch,
    pre: Sequence[Scene],
    post: Sequence[Scene],
    views: Sequence[View],
    *,
    memory_bytes: int = 400_000_000,
) -> Iterator[BothSides]:
    """`plan_reading` and `Reading.sides` in one: buildings that no scene of a side touches are left out."""
    return plan_reading(batch, pre, post, views).sides(memory_bytes)


def _layer(grids: list[GridBatch], scene: Scene, near: datetime | None) -> _Layer | None:
    """Where a batch's grids lie in a scene; None if none touches it."""
    if not _may_touch(max(grids, key=lambda grid: grid.half_m), scene):
        return None
    places = tuple(place_grids(grid, scene.crs, scene.transform, scene.gsd_m) for grid in grids)
    boxes = np.stack([place.where.boxes() for place in places])  # [views, N, 4]
    around = np.stack([boxes[..., 0].min(0), boxes[..., 1].max(0), boxes[..., 2].min(0), boxes[..., 3].max(0)], axis=1)
    touched = (around[:, 0] < scene.width) & (around[:, 1] > 0) & (around[:, 2] < scene.height) & (around[:, 3] > 0)
    if not touched.any():
        return None
    worst = max(float(place.where.fit_error_px[touched].max()) for place in places)
    if worst > MAX_FIT_ERROR_PX:
        raise InputError(
            f"{scene.href}: its CRS bends too much over a patch ({worst:.2f} pixels); "
            "warp it to UTM with gdalwarp first"
        )
    around[~touched] = np.nan
    return _Layer(scene, _days_between(scene.datetime, near), touched, places, around)


def _read(layer: _Layer, group: NDArray[np.intp]) -> _Window:
    """The window of a scene that holds the grids of a group of buildings, averaged as each view needs it."""
    box = layer.box_px[group]
    factors = [place.factor for place in layer.places]
    shared = int(np.gcd.reduce(factors))
    margin = 2 * max(factors)
    columns = int(np.floor(np.nanmin(box[:, 0]))) - margin, int(np.ceil(np.nanmax(box[:, 1]))) + margin
    rows = int(np.floor(np.nanmin(box[:, 2]))) - margin, int(np.ceil(np.nanmax(box[:, 3]))) + margin
    try:
        chunk = read_chunk(layer.scene, columns, rows, multiple=int(np.lcm.reduce(factors)), reduction=shared)
    except SourceError as error:
        return _Window(layer, (), f"{layer.scene.scene_id}: {error}")
    # An overview may have served only a part of the reduction that was asked for.
    return _Window(layer, tuple(chunk.reduced(factor // chunk.reduction) for factor in factors), None)


def _cut_side(
    windows: list[_Window], rows: NDArray[np.intp], views: Sequence[View], footprint: NDArray[np.bool_]
) -> Side:
    """For each building the best scene of one side, its gaps filled from the next best ones."""
    count = len(footprint)
    candidates = []
    inside = np.zeros(footprint.shape, dtype=bool)
    failed = np.full(count, None, dtype=object)
    for window in windows:
        here = np.flatnonzero(window.layer.touched[rows])
        if window.failure is not None:
            failed[here] = window.failure
        elif len(here):
            candidates.append(_candidate(window, rows, here, footprint, inside))
    if len(candidates) == 1 and len(candidates[0].rows) == count:  # by far the most frequent case: nothing to choose
        only = candidates[0]
        named = np.full(count, None, dtype=object)
        named[only.holds_some] = only.scene_id
        return Side(named, valid_share(inside, footprint), failed, tuple(only.colour), tuple(only.valid))
    order = _ranked(candidates, count)
    colour = tuple(np.zeros((count, 3, view.size_px, view.size_px), dtype=np.uint8) for view in views)
    valid = tuple(np.zeros((count, view.size_px, view.size_px), dtype=bool) for view in views)
    scene_id = np.full(count, None, dtype=object)
    for place in range(order.shape[1]):
        for number, candidate in enumerate(candidates):
            chosen = np.flatnonzero(order[candidate.rows, place] == number)
            if not len(chosen):
                continue
            at = candidate.rows[chosen]
            new = at[candidate.holds_some[chosen] & (scene_id[at] == None)]  # noqa: E711 (elementwise)
            scene_id[new] = candidate.scene_id
            for view in range(len(views)):
                if place == 0:
                    colour[view][at], valid[view][at] = candidate.colour[view][chosen], candidate.valid[view][chosen]
                else:
                    _fill_gaps(colour[view], valid[view], at, candidate.colour[view], candidate.valid[view], chosen)
    return Side(scene_id, valid_share(inside, footprint), failed, colour, valid)


def _candidate(
    window: _Window,
    rows: NDArray[np.intp],
    here: NDArray[np.intp],
    footprint: NDArray[np.bool_],
    inside: NDArray[np.bool_],
) -> _Candidate:
    """Cut one scene's pixels of the buildings `here`, and enter into `inside` which pixels lie in its extent."""
    layer, mine = window.layer, footprint[here]
    places = [place.take(rows[here]) for place in layer.places]
    cut = [cut_grids(chunk, place) for chunk, place in zip(window.chunks, places, strict=True)]
    box = places[0].where.boxes()
    whole = (box[:, 0] >= 0) & (box[:, 1] <= layer.scene.width) & (box[:, 2] >= 0) & (box[:, 3] <= layer.scene.height)
    inside[here[whole]] = True
    holds_some = np.ones(len(here), dtype=bool)
    rim = np.flatnonzero(~whole)
    if len(rim):
        extent = covered(places[0].where.take(rim), places[0].size_px, layer.scene.width, layer.scene.height)
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


def valid_share(mask: NDArray[np.bool_], footprint: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`share_within`, without counting where the mask is True all over."""
    share: NDArray[np.float64] = footprint.reshape(len(footprint), -1).any(axis=1) * np.ones(len(footprint))
    partly = np.flatnonzero(~mask.reshape(len(mask), -1).all(axis=1))
    share[partly] = share_within(mask[partly], footprint[partly])
    return share


def _ranked(candidates: list[_Candidate], count: int) -> NDArray[np.intp]:
    """[N, scenes]: numbers of the candidates from the best to the worst; -1 where a building has no more."""
    share, whole = (np.full((count, len(candidates)), -1.0) for _ in range(2))
    days = np.broadcast_to([candidate.days for candidate in candidates], share.shape)
    for number, candidate in enumerate(candidates):  # in the order of their ids, which settles what is equal
        share[candidate.rows, number], whole[candidate.rows, number] = candidate.share, candidate.whole
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


def _may_touch(grids: GridBatch, scene: Scene) -> bool:
    """Whether one square around all grids reaches the scene: spares most scenes the exact look."""
    x, y = (grids.x_m.min() + grids.x_m.max()) / 2, (grids.y_m.min() + grids.y_m.max()) / 2
    reach_m = 2 * max(np.ptp(grids.x_m), np.ptp(grids.y_m)) + 4 * grids.half_m  # twice of what is needed
    around = GridBatch(grids.crs, np.array([x]), np.array([y]), 1, float(reach_m))
    left, right, top, bottom = source_map(around, scene.crs, scene.transform).boxes()[0]
    return bool(left < scene.width and right > 0 and top < scene.height and bottom > 0)


def _nearest_date(dates: list[datetime | None], *, latest: bool) -> datetime | None:
    known = [date for date in dates if date is not None]
    return None if not known else max(known) if latest else min(known)


def _days_between(one: datetime | None, other: datetime | None) -> float:
    return float("inf") if one is None or other is None else abs((one - other).total_seconds()) / 86400
