"""Where the grids around buildings lie: on the pixels of the scenes wherever that is possible."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damage_ssl.event.imagery import Scene
from damage_ssl.event.resample import shares_pixels
from damage_ssl.patches.batches import Batch

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


def grid_centres(batch: Batch, scenes: Sequence[Scene], size_px: int, gsd_m: float) -> GridCentres:
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
