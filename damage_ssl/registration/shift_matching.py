"""Measuring shifts on patches: first in wide windows spread over the event, then around every building."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from damage_ssl.grid import crs_of_epsg, transformer
from damage_ssl.imagery.scene import Scene
from damage_ssl.mosaic.batches import Batches, BuildingBatch, centres, make_batches
from damage_ssl.mosaic.pair_mosaic import BothSides, View, grid_centres, plan_reading
from damage_ssl.registration.correlation import Matches, gradient_field, match_fields
from damage_ssl.registration.outline_matching import draw_coverage, match_outlines
from damage_ssl.settings import PatchSettings

WIDE_PX = 128
"""Pixels of a wide window, twice as coarse as the patches: 128 m at 0.5 m. Nearly every window that holds any part of
a town gives a match that is no accident; smaller ones often do not."""
CLOSE_PX = 64
"""A close window is 64 m wide at 0.5 m, twice as coarse too (which averages whole pixels and spares most of the
resampling). Its taper makes it a weighted mean over about half of that: a building and what stands around it."""
COARSER = 2.0
WIDE_SPACING, WIDE_MANY_SPACING, CLOSE_SPACING = 0.5, 0.75, 0.5
"""Of a window's width. Where windows overlap by half, all ground has a say; a large event (`MANY_BUILDINGS`) has so
many wide ones to average over that it can do with fewer."""
MANY_BUILDINGS = 20_000
CLOSE_REACH_M = 3.0
"""How far a place may be from where the wide windows say: lean, and what they miss."""
BEYOND_REACH_M = 4.0
_METRES_PER_DEGREE = 111_195.0


@dataclass(frozen=True)
class WindowMatches:
    """N places: where they lie, which scenes were compared there, and what was found.

    `number` [N] is the place in the list of windows. `pairs` is the shift of post against pre beyond
    what `expected_m` [N, 2] had taken into account. `outlines` is None where footprints were not compared.
    """

    number: NDArray[np.intp]
    epsg: NDArray[np.int64]
    x_m: NDArray[np.float64]
    y_m: NDArray[np.float64]
    pre_image: NDArray[np.object_]
    post_image: NDArray[np.object_]
    expected_m: NDArray[np.float64]
    pairs: Matches
    outlines: Matches | None

    @classmethod
    def nothing(cls, batch: BuildingBatch, *, outlines: bool) -> "WindowMatches":
        """No match yet at any place of a batch."""
        nobody = np.full(len(batch), None, dtype=object)
        return cls(
            number=batch.number,
            epsg=np.full(len(batch), batch.epsg, dtype=np.int64),
            x_m=batch.x_m,
            y_m=batch.y_m,
            pre_image=nobody,
            post_image=nobody.copy(),
            expected_m=batch.post_offset_m - batch.pre_offset_m,
            pairs=Matches.none(len(batch)),
            outlines=Matches.none(len(batch)) if outlines else None,
        )

    def enter(self, cut: BothSides, pairs: Matches, outlines: Matches | None) -> None:
        """Enter what was found in one cut of the batch."""
        self.pre_image[cut.rows], self.post_image[cut.rows] = cut.pre.scene_id, cut.post.scene_id
        self.pairs.enter(cut.rows, pairs)
        if self.outlines is not None and outlines is not None:
            self.outlines.enter(cut.rows, outlines)

    @classmethod
    def joined(cls, parts: Sequence["WindowMatches"]) -> "WindowMatches":
        """All places of several batches."""
        outlines = [part.outlines for part in parts if part.outlines is not None]
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS},
            pairs=Matches.joined([part.pairs for part in parts]),
            outlines=Matches.joined(outlines) if len(outlines) == len(parts) else None,
        )


_ARRAYS = ("number", "epsg", "x_m", "y_m", "pre_image", "post_image", "expected_m")


@dataclass(frozen=True, kw_only=True)
class MatchingInputs:
    """What is looked at, and how; the same for all batches."""

    pre: list[Scene]
    post: list[Scene]
    settings: PatchSettings
    memory_bytes: int


@dataclass(frozen=True)
class WindowTask:
    """A batch of wide windows, and the footprints in and around them, in the batch's CRS."""

    batch: BuildingBatch
    polygons: NDArray[np.object_]


class WindowTasks(Sequence[WindowTask]):
    """The wide windows of an event; each batch's footprints are looked up when it is asked for."""

    def __init__(self, footprints: gpd.GeoDataFrame, scenes: Sequence[Scene], settings: PatchSettings) -> None:
        self._polygons = footprints.geometry.to_numpy()
        self._tree = shapely.STRtree(self._polygons)
        self._width_m = WIDE_PX * wide_gsd_m(settings)
        lon, lat = centres(self._polygons)
        spacing_m = self._width_m * (WIDE_SPACING if len(footprints) <= MANY_BUILDINGS else WIDE_MANY_SPACING)
        self.batches: Batches = make_batches(lattice_windows(lon, lat, spacing_m), scenes, self._width_m)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> WindowTask:  # type: ignore[override]  # slices are not needed
        batch = self.batches[index]
        half_m = self._width_m / 2
        to_degrees = transformer(batch.crs, crs_of_epsg(4326))
        west, south, east, north = to_degrees.transform_bounds(
            batch.x_m.min() - half_m, batch.y_m.min() - half_m, batch.x_m.max() + half_m, batch.y_m.max() + half_m
        )
        near = self._polygons[self._tree.query(shapely.box(west, south, east, north))]
        project = transformer(crs_of_epsg(4326), batch.crs)
        moved = shapely.transform(near, lambda xy: np.column_stack(project.transform(xy[:, 0], xy[:, 1])))
        return WindowTask(batch, moved)

    def __iter__(self) -> Iterator[WindowTask]:
        return (self[index] for index in range(len(self)))


def wide_gsd_m(settings: PatchSettings) -> float:
    """Metres a pixel of the wide windows: four of them hold the reach, or the search would leave the window."""
    return max(COARSER * settings.gsd_m, 4 * (settings.align_reach_m + BEYOND_REACH_M) / WIDE_PX)


def measure_windows(task: WindowTask, *, look: MatchingInputs) -> WindowMatches:
    """Shift of post against pre, and of pre against the outlines, in each wide window."""
    gsd_m = wide_gsd_m(look.settings)
    reach_m = look.settings.align_reach_m + BEYOND_REACH_M
    half_m = WIDE_PX * gsd_m / 2
    x_m, y_m = grid_centres(task.batch, [*look.pre, *look.post], WIDE_PX, gsd_m).drawn
    tree = shapely.STRtree(task.polygons)
    found = WindowMatches.nothing(task.batch, outlines=True)
    reading = plan_reading(task.batch, look.pre, look.post, [View(WIDE_PX, gsd_m)], look.settings)
    for cut in reading.sides(look.memory_bytes):
        first = gradient_field(cut.pre.colour[0], cut.pre.valid[0])
        second = gradient_field(cut.post.colour[0], cut.post.valid[0])
        x, y = x_m[cut.rows], y_m[cut.rows]
        near = [task.polygons[tree.query(box)] for box in shapely.box(x - half_m, y - half_m, x + half_m, y + half_m)]
        coverage = draw_coverage(near, x, y, size_px=WIDE_PX, gsd_m=gsd_m)
        found.enter(
            cut,
            match_fields(first, second, gsd_m=gsd_m, reach_m=reach_m),
            match_outlines(coverage, first, gsd_m=gsd_m, reach_m=reach_m),
        )
    return found


def measure_close(batch: BuildingBatch, *, look: MatchingInputs) -> WindowMatches:
    """What is left of the shift of post against pre in each close window, found at the batch's offsets."""
    view = View(CLOSE_PX, COARSER * look.settings.gsd_m)
    found = WindowMatches.nothing(batch, outlines=False)
    for cut in plan_reading(batch, look.pre, look.post, [view], look.settings).sides(look.memory_bytes):
        first = gradient_field(cut.pre.colour[0], cut.pre.valid[0])
        second = gradient_field(cut.post.colour[0], cut.post.valid[0])
        found.enter(cut, match_fields(first, second, gsd_m=view.gsd_m, reach_m=CLOSE_REACH_M), None)
    return found


def close_spacing_m(settings: PatchSettings) -> float:
    """Metres between the close windows."""
    return CLOSE_SPACING * CLOSE_PX * COARSER * settings.gsd_m


def lattice_windows(
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    spacing_m: float,
    *,
    corners: bool = False,
    middle: float = 1.0,
) -> gpd.GeoDataFrame:
    """The cells of a lattice that is fixed to the ground and holds these points, as boxes with what batches need.

    Windows that are fixed to the ground compare the same ground however the footprints are drawn, and there are never
    more of them than the ground has room for.

    Args:
        lon: [N], degrees.
        lat: [N].
        spacing_m: width of the cells, which is the distance of their middles.
        corners: take the four cells whose middles are around each point, not only the one that holds it.
        middle: the boxes' share of the cells' width; what lies in a box decides which scene its window shows.
    """
    # Rows of cells by latitude, each with its own width in degrees: neither zones nor the antimeridian matter here.
    high = spacing_m / _METRES_PER_DEGREE
    steps = (-0.5, 0.5) if corners else (0.0,)
    cells = []
    for down in steps:
        row = np.floor(lat / high + down)
        wide = high / _shrink((row + 0.5) * high)
        cells += [np.stack([row, np.floor(lon / wide + across)]) for across in steps]
    row, column = np.unique(np.concatenate(cells, axis=1), axis=1)
    wide = high / _shrink((row + 0.5) * high)
    start, end = 0.5 - middle / 2, 0.5 + middle / 2
    return gpd.GeoDataFrame(
        {"building_id": np.arange(len(row)).astype(str), "area_m2": np.full(len(row), (middle * spacing_m) ** 2)},
        geometry=shapely.box((column + start) * wide, (row + start) * high, (column + end) * wide, (row + end) * high),
        crs="EPSG:4326",
    )


def moved_degrees(
    lon: NDArray[np.float64], lat: NDArray[np.float64], shift_m: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points moved by metres east and north [N, 2], well enough to find their cells."""
    return lon + shift_m[:, 0] / (_METRES_PER_DEGREE * _shrink(lat)), lat + shift_m[:, 1] / _METRES_PER_DEGREE


def _shrink(lat: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.cos(np.radians(np.clip(lat, -89.0, 89.0))))
