"""Neighbouring buildings, in a fixed order: the unit of work of every stage that reads pixels building by building."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from damage_ssl.grid import crs_of_epsg, transformer, utm_epsg
from damage_ssl.imagery.scene import Scene

if TYPE_CHECKING:
    import geopandas as gpd


CELL_PX = 4096
"""Width of a batch's square in pixels of the finest scene: wide enough that its rim, which its neighbours read too, is
small; small enough that an event has work for many workers."""
MOST_BUILDINGS = 16_384
FINE_CELLS = 8
"""Fine cells along a batch's square; inside it, buildings are in the Z-order of these, so that a run of neighbours in
the order are neighbours on the ground."""


@dataclass(frozen=True)
class BuildingBatch:
    """Neighbouring buildings in one UTM zone: `number` [N] is their place in the footprints file.

    `geometry` [N] are polygons in `crs` as they are drawn; (`x_m`, `y_m`) the centres of their bounding boxes.
    `pre_offset_m` and `post_offset_m` [N, 2] (metres east, north) say how far from there each building is found in the
    pre and in the post imagery. `fine_cell` [N] ascends: the building's place in the Z-order of the fine cells.
    """

    number: NDArray[np.intp]
    building_id: NDArray[np.str_]
    epsg: int
    x_m: NDArray[np.float64]
    y_m: NDArray[np.float64]
    geometry: NDArray[np.object_]
    area_m2: NDArray[np.float64]
    fine_cell: NDArray[np.int64]
    pre_offset_m: NDArray[np.float64]
    post_offset_m: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.number)

    @property
    def crs(self) -> CRS:
        """The UTM zone of the building's grids."""
        return crs_of_epsg(self.epsg)

    def take(self, rows: NDArray[np.intp] | slice) -> "BuildingBatch":
        """The buildings at these rows."""
        return BuildingBatch(
            number=self.number[rows],
            building_id=self.building_id[rows],
            epsg=self.epsg,
            x_m=self.x_m[rows],
            y_m=self.y_m[rows],
            geometry=self.geometry[rows],
            area_m2=self.area_m2[rows],
            fine_cell=self.fine_cell[rows],
            pre_offset_m=self.pre_offset_m[rows],
            post_offset_m=self.post_offset_m[rows],
        )

    def with_offsets(self, pre_m: NDArray[np.float64], post_m: NDArray[np.float64]) -> "BuildingBatch":
        """The same buildings, found at these offsets ([N, 2], metres east and north) from where they are drawn."""
        return replace(self, pre_offset_m=pre_m, post_offset_m=post_m)


class Batches(Sequence[BuildingBatch]):
    """The batches of an event, each projected when it is asked for, so that memory holds no second set of polygons."""

    def __init__(
        self,
        footprints: "gpd.GeoDataFrame",
        zones: NDArray[np.int64],
        order: NDArray[np.intp],
        fine_cell: NDArray[np.int64],
        starts: NDArray[np.intp],
    ) -> None:
        self._geometry = footprints.geometry.to_numpy()
        self._ids = footprints["building_id"].to_numpy()
        self._areas = footprints["area_m2"].to_numpy(dtype=float)
        self._zones, self._order, self._fine_cell = zones, order, fine_cell
        self._ends = np.append(starts, len(order))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def sizes(self) -> list[int]:
        """Buildings in each batch."""
        return [int(size) for size in np.diff(self._ends)]

    def numbers(self, index: int) -> NDArray[np.intp]:
        """Places in the footprints file of one batch's buildings."""
        return self._order[self._ends[index] : self._ends[index + 1]]

    def __getitem__(self, index: int) -> BuildingBatch:  # type: ignore[override]  # slices are not needed
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = self.numbers(index)
        epsg = int(self._zones[number[0]])
        geometry = _projected(self._geometry[number], epsg)
        x_m, y_m = centres(geometry)
        nowhere = np.zeros((len(number), 2))
        return BuildingBatch(
            number=number,
            building_id=self._ids[number].astype(str),
            epsg=epsg,
            x_m=x_m,
            y_m=y_m,
            geometry=geometry,
            area_m2=self._areas[number],
            fine_cell=self._fine_cell[number],
            pre_offset_m=nowhere,
            post_offset_m=nowhere,
        )

    def __iter__(self) -> Iterator[BuildingBatch]:
        return (self[index] for index in range(len(self)))


def make_batches(
    footprints: "gpd.GeoDataFrame",
    scenes: Sequence[Scene],
    size_m: float,
    *,
    cell_px: int | None = None,
    most_buildings: int | None = None,
) -> Batches:
    """Buildings by UTM zone and square cell, in an order that depends on nothing but footprints, scenes and `size_m`.

    Args:
        footprints: an event's footprints (EPSG:4326).
        scenes: all scenes that will be read; the finest one gives the size of the cells.
        size_m: width of the widest grid that will be cut around a building.
        cell_px: width of a cell in pixels of the finest scene.
        most_buildings: a cell with more is divided.
    """
    most = most_buildings or MOST_BUILDINGS
    cell_m = max((cell_px or CELL_PX) * min(scene.gsd_m for scene in scenes), size_m)
    fine_m = cell_m / FINE_CELLS
    bounds = footprints.geometry.bounds.to_numpy()
    lon, lat = (bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2
    zones = _zones(lon, lat)
    count = len(lon)
    column, row = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    for epsg in np.unique(zones):
        here = np.flatnonzero(zones == epsg)
        x_m, y_m = transformer(crs_of_epsg(4326), crs_of_epsg(int(epsg))).transform(lon[here], lat[here])
        column[here], row[here] = np.floor(x_m / fine_m), np.floor(-y_m / fine_m)
    fine_cell = _z_order(column % FINE_CELLS, row % FINE_CELLS)
    cells = np.stack([zones, row // FINE_CELLS, column // FINE_CELLS])
    order = np.lexsort((np.arange(count), fine_cell, cells[2], cells[1], cells[0]))
    cells = cells[:, order]
    changes = np.flatnonzero(np.any(cells[:, 1:] != cells[:, :-1], axis=0)) + 1
    edges = np.concatenate([[0], changes, [count]])
    starts = [start for a, b in pairwise(edges) for start in range(a, b, most)]
    return Batches(footprints, zones, order, fine_cell, np.array(starts, dtype=np.intp))


def centres(geometry: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres of bounding boxes: x [N], y [N]."""
    bounds = shapely.bounds(geometry)
    return (bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2


def _projected(geometry: NDArray[np.object_], epsg: int) -> NDArray[np.object_]:
    """Polygons from EPSG:4326 into a zone."""
    project = transformer(crs_of_epsg(4326), crs_of_epsg(epsg))
    moved: NDArray[np.object_] = shapely.transform(
        geometry, lambda lon_lat: np.column_stack(project.transform(lon_lat[:, 0], lon_lat[:, 1]))
    )
    return moved


def _zones(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.int64]:
    """`utm_epsg` of each point: worked out once a zone."""
    rough = np.stack([np.floor((lon + 180) / 6), lat >= 0])
    _, first, where = np.unique(rough, axis=1, return_index=True, return_inverse=True)
    return np.array([utm_epsg(lon[n], lat[n]) for n in first], dtype=np.int64)[where.ravel()]


def _z_order(column: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.int64]:
    """Interleaved bits of column and row (0 to `FINE_CELLS` - 1): four consecutive, aligned codes are a square."""
    code = np.zeros_like(column)
    for bit in range(FINE_CELLS.bit_length() - 1):
        code |= ((column >> bit) & 1) << (2 * bit) | ((row >> bit) & 1) << (2 * bit + 1)
    return code
