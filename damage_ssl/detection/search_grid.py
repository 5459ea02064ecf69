"""The pixel grid that buildings are looked for on: one UTM grid over all pre scenes, in squares that are read alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from damage_ssl.detection.settings import STRIDE_PX
from damage_ssl.errors import InputError
from damage_ssl.grid import GridBatch, PixelGrid, crs_of_epsg, utm_epsg
from damage_ssl.imagery.chunks import read_chunk
from damage_ssl.imagery.resampling import MAX_FIT_ERROR_PX, cut_grids, place_grids
from damage_ssl.imagery.scene import Scene


@dataclass(frozen=True)
class Square:
    """A square of the area: its upper-left pixel, which may lie outside of it, and its side in pixels."""

    row: int
    column: int
    size_px: int


@dataclass(frozen=True)
class Area:
    """The extent of some scenes on a UTM grid.

    `grid` begins at a multiple of 32 pixels of the UTM zone, so that the same imagery gives the same pixels whatever
    lies beside it. `extent` is the area with imagery in the grid's CRS.
    """

    grid: PixelGrid
    extent: BaseGeometry

    @classmethod
    def of(cls, scenes: Sequence[Scene], gsd_m: float) -> "Area":
        """The area of these scenes, in the UTM zone of its middle.

        Raises:
            InputError: there are no scenes.
        """
        if not scenes:
            raise InputError("detection: there is no pre imagery to look at")
        extent = shapely.union_all([scene.extent for scene in scenes])
        middle = shapely.box(*extent.bounds).centroid
        crs = crs_of_epsg(utm_epsg(middle.x, middle.y))
        projected = gpd.GeoSeries([extent], crs="EPSG:4326").to_crs(crs).iloc[0]
        left, bottom, right, top = projected.bounds
        step = STRIDE_PX * gsd_m
        west, north = np.floor(left / step) * step, np.ceil(top / step) * step
        width, height = (int(np.ceil(length / step)) * STRIDE_PX for length in (right - west, north - bottom))
        transform = Affine(gsd_m, 0.0, float(west), 0.0, -gsd_m, float(north))
        return cls(PixelGrid(crs, transform, height, width), projected)

    @property
    def crs(self) -> CRS:
        """The UTM zone."""
        return self.grid.crs

    def box_of(self, square: Square) -> BaseGeometry:
        """A square's outline in the grid's CRS."""
        left, top = self.grid.transform @ (square.column, square.row)
        side = square.size_px * self.grid.gsd_m
        return shapely.box(left, top - side, left + side, top)

    def squares(self, size_px: int, *, step_px: int, start_px: int = 0) -> Iterator[Square]:
        """Squares with imagery, row by row, from pixel `start_px` (0 or less) on in steps of `step_px`."""
        shapely.prepare(self.extent)
        for row in range(start_px, self.grid.height, step_px):
            for column in range(start_px, self.grid.width, step_px):
                square = Square(row, column, size_px)
                if self.extent.intersects(self.box_of(square)):
                    yield square

    def transform_of(self, square: Square) -> Affine:
        """(column, row) within the square → (x, y) in the grid's CRS."""
        return self.grid.transform @ Affine.translation(square.column, square.row)


def read_square(area: Area, square: Square, scenes: Sequence[Scene]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Pixels [3, H, W] of a square and where they are valid [H, W]; the scene that covers most of it comes first.

    Gaps are filled from the other scenes, so that the choice does not depend on the order in which they are listed.

    Raises:
        SourceError: a scene cannot be read. InputError: its CRS bends too much over the square.
    """
    left, top = area.grid.transform @ (square.column, square.row)
    half = square.size_px * area.grid.gsd_m / 2
    grids = GridBatch(area.crs, np.array([left + half]), np.array([top - half]), square.size_px, area.grid.gsd_m)
    colour = np.zeros((3, square.size_px, square.size_px), dtype=np.uint8)
    valid = np.zeros((square.size_px, square.size_px), dtype=bool)
    candidates = [found for scene in scenes if (found := _read(grids, scene)) is not None]
    for _, _, candidate, usable in sorted(candidates, key=lambda found: found[:2]):
        gap = usable & ~valid
        colour[:, gap] = candidate[:, gap]
        valid |= gap
        if valid.all():
            break
    return colour, valid


def _read(grids: GridBatch, scene: Scene) -> tuple[float, str, NDArray[np.uint8], NDArray[np.bool_]] | None:
    place = place_grids(grids, scene.crs, scene.transform, scene.gsd_m)
    left, right, top, bottom = place.where.boxes()[0]
    if not (left < scene.width and right > 0 and top < scene.height and bottom > 0):
        return None
    fit_error_px = float(place.where.fit_error_px[0])
    if fit_error_px > 10 * MAX_FIT_ERROR_PX:  # half a pixel: a square is far larger than a patch
        raise InputError(
            f"{scene.shown_href}: its CRS bends too much over {grids.size_px} pixels ({fit_error_px:.2f} pixels); "
            "warp it to UTM with gdalwarp first"
        )
    rim = 2 * place.factor
    chunk = read_chunk(
        scene,
        (int(np.floor(left)) - rim, int(np.ceil(right)) + rim),
        (int(np.floor(top)) - rim, int(np.ceil(bottom)) + rim),
        multiple=place.factor,
        reduction=place.factor,
    )
    colour, valid = cut_grids(chunk, place)
    return -float(valid[0].mean().round(3)), scene.scene_id, colour[0], valid[0]
