"""Both dates of neighbouring buildings on their grids: the scenes around them are read once, the best one is chosen.

The grids lie on the pixels of the scenes wherever that is possible.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from damage_ssl.grid import GridBatch
from damage_ssl.imagery.resampling import shares_pixels
from damage_ssl.imagery.scene import Scene
from damage_ssl.mosaic.batches import BuildingBatch
from damage_ssl.mosaic.best_scene import Side, cut_side
from damage_ssl.mosaic.footprint_masks import footprint_masks
from damage_ssl.mosaic.read_plan import reading_groups
from damage_ssl.mosaic.scene_windows import Layer, layer_of, read_windows
from damage_ssl.settings import PatchSettings

Points = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class GridCentres:
    """Centres x [N], y [N] of N buildings' grids, metres in their UTM zone.

    `pre` and `post` are where the scenes are cut; `drawn` is where the grid of `pre` lies around the polygon as it is
    drawn in the footprints file, without its offset.
    """

    pre: Points
    post: Points
    drawn: Points


def grid_centres(batch: BuildingBatch, scenes: Sequence[Scene], size_px: int, gsd_m: float) -> GridCentres:
    """Centre the grids on the buildings, to within half a pixel.

    The first scene of the list that has the batch's CRS and the grid's pixel size lends its pixel lattice: pre grids
    are moved onto it, by up to half a pixel on each axis, and post grids by just as much, so that the two keep their
    offset. A scene on that lattice is then cut out, not interpolated. Without such a scene, nothing is moved.
    """
    x_m, y_m = batch.x_m + batch.pre_offset_m[:, 0], batch.y_m + batch.pre_offset_m[:, 1]
    move_x, move_y = np.zeros(len(batch)), np.zeros(len(batch))
    lattice = next((s.transform for s in scenes if shares_pixels(batch.crs, gsd_m, s.crs, s.transform)), None)
    if lattice is not None:
        half_px = size_px / 2
        column, row = (x_m - lattice.c) / lattice.a - half_px, (y_m - lattice.f) / lattice.e - half_px
        move_x, move_y = (np.rint(column) - column) * lattice.a, (np.rint(row) - row) * lattice.e
    return GridCentres(
        pre=(x_m + move_x, y_m + move_y),
        post=(batch.x_m + batch.post_offset_m[:, 0] + move_x, batch.y_m + batch.post_offset_m[:, 1] + move_y),
        drawn=(batch.x_m + move_x, batch.y_m + move_y),
    )


CUT_TOGETHER = 128
"""Buildings cut in one go: enough to leave Python's own time behind, few enough that they stay in the processor's
cache."""
_PIXELS_TOGETHER = 128 * 64**2
"""Fewer, where patches are larger: buffers are counted as memory that does not depend on their size."""


@dataclass(frozen=True)
class View:
    """The size and the metres a pixel of a grid around each building."""

    size_px: int
    gsd_m: float


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
class Reading:
    """What there is to read for a batch: `in_pre` and `in_post` [N] say whose grid touches a scene of that side."""

    batch: BuildingBatch
    views: tuple[View, ...]
    in_pre: NDArray[np.bool_]
    in_post: NDArray[np.bool_]
    _centred: GridCentres
    _layers: tuple[list[Layer], list[Layer]]
    _max_cloud: float

    def sides(self, memory_bytes: int = 400_000_000) -> Iterator[BothSides]:
        """Cut the buildings that lie in a scene of both sides, up to `CUT_TOGETHER` neighbours at a time.

        A scene that cannot be read is named in `Side.failed`; the others still serve. `memory_bytes` bounds what is
        read at a time, and changes no result.
        """
        wanted = np.flatnonzero(self.in_pre & self.in_post)
        if not len(wanted):
            return
        pixels = sum(view.size_px**2 for view in self.views)
        most = max(1, min(CUT_TOGETHER, _PIXELS_TOGETHER // pixels))
        boxes = [layer.box_px[wanted] for side in self._layers for layer in side]
        for groups in reading_groups(self.batch.fine_cell[wanted], boxes, memory_bytes, most_together=most):
            together = wanted[groups[0] : groups[-1]]
            starts = groups[:-1] - groups[0]
            read = [[(layer, read_windows(layer, together, starts)) for layer in side] for side in self._layers]
            for start in range(0, len(together), most):
                rows = together[start : start + most]
                masks = tuple(self._masks(rows, view) for view in self.views)
                sizes_px = [view.size_px for view in self.views]
                pre, post = (
                    cut_side(side, rows, sizes_px, masks[0], gsd_m=self.views[0].gsd_m, max_cloud=self._max_cloud)
                    for side in read
                )
                yield BothSides(rows, pre, post, masks)

    def _masks(self, rows: NDArray[np.intp], view: View) -> NDArray[np.bool_]:
        x_m, y_m = (axis[rows] for axis in self._centred.drawn)
        return footprint_masks(self.batch.geometry[rows], x_m, y_m, size_px=view.size_px, gsd_m=view.gsd_m)


def plan_reading(
    batch: BuildingBatch,
    pre: Sequence[Scene],
    post: Sequence[Scene],
    views: Sequence[View],
    settings: PatchSettings | None = None,
) -> Reading:
    """Work out where a batch's grids lie in the scenes; no pixel is read yet.

    A building is looked for at its centre + `pre_offset_m` in the pre scenes, and at + `post_offset_m` in the post
    scenes. Where a scene of the event has the building's UTM zone and the pixel size of the first view, grids are moved
    by up to half a pixel onto its pixels, so that they are cut out and not interpolated.

    Of several scenes, the one with the best valid share of the footprint is taken; ties go to the scene nearest in
    date to the other side (pre: nearest to the earliest post scene; post: nearest to the latest pre scene, or with
    `post_scene` = `latest` the latest of its own side), then to the larger valid share of the whole patch, then to the
    first id. Pixels that it lacks are filled from the next best. Where another scene of the side shows that a veil of
    cloud or smoke more opaque than `max_cloud` lies over the building, the veil's opacity is taken off the share: a
    clear scene goes before, whatever its date.

    Args:
        batch: the buildings.
        pre: all pre scenes of the event, in the order of their ids.
        post: all post scenes of the event, likewise.
        views: the grids to cut; the first one's footprint decides which scene is best.
        settings: `max_cloud` and `post_scene` are used; None: the defaults.

    Raises:
        InputError: a scene's CRS bends too much over a patch.
    """
    settings = settings or PatchSettings()
    newest = settings.post_scene == "latest"
    centred = grid_centres(batch, [*pre, *post], views[0].size_px, views[0].gsd_m)
    layers: list[list[Layer]] = []
    within = []
    sides = ((pre, post, centred.pre, False), (post, post if newest else pre, centred.post, True))
    for scenes, others, (x_m, y_m), latest in sides:
        grids = [GridBatch(batch.crs, x_m, y_m, view.size_px, view.gsd_m) for view in views]
        near = _nearest_date([scene.datetime for scene in others], latest=latest)
        found = (layer_of(grids, scene, _days_between(scene.datetime, near)) for scene in scenes)
        side = [layer for layer in found if layer is not None]
        layers.append(side)
        within.append(np.any([layer.touched for layer in side], axis=0) if side else np.zeros(len(batch), dtype=bool))
    return Reading(batch, tuple(views), within[0], within[1], centred, (layers[0], layers[1]), settings.max_cloud)


def _nearest_date(dates: list[datetime | None], *, latest: bool) -> datetime | None:
    known = [date for date in dates if date is not None]
    return None if not known else max(known) if latest else min(known)


def _days_between(one: datetime | None, other: datetime | None) -> float:
    return float("inf") if one is None or other is None else abs((one - other).total_seconds()) / 86400
