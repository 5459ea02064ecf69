"""Footprints where the imagery of a date shows them: their drawn position moved by what registration says.

`placed_footprints` moves a whole table, for the detector; `PlacedShapes` moves what is asked for, for the map.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from damage_ssl.events.event import Event
from damage_ssl.footprints.lazy_shapes import Shapes
from damage_ssl.grid import crs_of_epsg, utm_epsg
from damage_ssl.imagery.scene import Role, Scene
from damage_ssl.registration.event_registration import REGISTRATION_COLUMNS, read_cached, registration_fingerprint
from damage_ssl.registration.manual_shift import ManualShift, read_manual_shifts
from damage_ssl.settings import PatchSettings


@dataclass(frozen=True)
class PlacedFootprints:
    """An event's footprints in EPSG:4326 where they are found in the pre imagery, in the order of their file.

    `shift_m` float64 [N, 2]: how far east and north of there they are found in the post imagery.
    """

    table: gpd.GeoDataFrame
    shift_m: NDArray[np.float64]


def placed_footprints(event: Event, settings: PatchSettings) -> PlacedFootprints:
    """Footprints moved by the event's registration; as drawn where it has none, or was changed since it was made.

    `settings` are those that the event's pairs are cut with.

    Raises:
        WorkspaceError: the event has no footprints.
    """
    table = event.footprints()
    pre, post = event.pre_and_post()
    scenes = pre + post
    fingerprint = registration_fingerprint(table, scenes, settings, read_manual_shifts(event, scenes))
    found = read_cached(event.path / "registration.parquet", fingerprint, REGISTRATION_COLUMNS)
    if found is None:
        return PlacedFootprints(table, np.zeros((len(table), 2)))
    shift_m = found[["shift_x_m", "shift_y_m"]].to_numpy(dtype=np.float64)
    return PlacedFootprints(
        moved(table, found[["footprint_shift_x_m", "footprint_shift_y_m"]].to_numpy(dtype=np.float64)), shift_m
    )


def moved(table: gpd.GeoDataFrame, shift_m: NDArray[np.float64]) -> gpd.GeoDataFrame:
    """Footprints (EPSG:4326) each moved by metres east and north [N, 2] of the UTM zone of their middle."""
    middle = shapely.box(*table.total_bounds).centroid
    projected = table.geometry.to_crs(crs_of_epsg(utm_epsg(middle.x, middle.y)))
    points, owner = shapely.get_coordinates(projected.to_numpy(), return_index=True)
    geometry = shapely.set_coordinates(projected.to_numpy().copy(), points + shift_m[owner])
    return table.set_geometry(gpd.GeoSeries(geometry, index=table.index, crs=projected.crs).to_crs(table.crs))


_METRES_PER_DEGREE = 111_320.0


def shifts_on(index: pd.DataFrame | None, count: int, role: str) -> NDArray[np.float64]:
    """Metres east and north [N, 2], in each building's UTM grid, from the drawn footprint to the image of one side.

    In pre a building stands at its footprint's shift, in post also at the shift of post against pre. Zero where nothing
    is known, and in events whose pairs were cut before shifts were undone (the index then lacks the footprint's shift).
    """
    if index is None or "footprint_shift_x_m" not in index:
        return np.zeros((count, 2))
    names = [("footprint_shift_x_m", "footprint_shift_y_m")]
    if role == "post":
        names.append(("shift_x_m", "shift_y_m"))
    shifts = sum(index[list(pair)].to_numpy(dtype=np.float64, na_value=0.0) for pair in names)
    return np.nan_to_num(np.asarray(shifts, dtype=np.float64))


def manually_shifted(
    middles: NDArray[np.float64], scenes: Mapping[Role, Sequence[Scene]], manual_shifts: Mapping[str, ManualShift]
) -> dict[Role, NDArray[np.float64]]:
    """Metres east and north [N, 2] for each side by what was set by hand alone, before anything was measured.

    A footprint follows the first scene with a manual shift that covers its middle (longitude and latitude, [N, 2]); in
    post it also follows its pre scene.
    """
    shifts: dict[Role, NDArray[np.float64]] = {role: np.zeros((len(middles), 2)) for role in ("pre", "post")}
    if not manual_shifts or not len(middles):
        return shifts
    points = shapely.points(middles)
    for role, own in shifts.items():
        for scene in reversed(scenes[role]):
            if manual_shift := manual_shifts.get(scene.scene_id):
                own[shapely.intersects(scene.extent, points)] = manual_shift.east_m, manual_shift.north_m
    shifts["post"] = shifts["post"] + shifts["pre"]
    return shifts


@dataclass(frozen=True)
class OnMap:
    """Where footprints lie in the web mercator square of side 1: middles [N, 2] and longer sides [N] of their boxes."""

    centres: NDArray[np.float64]
    sizes: NDArray[np.float32]


def mercator_of(lon_lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitude and latitude in degrees [..., 2] as shares 0..1 of the web mercator square, from its upper left."""
    latitude = np.radians(np.clip(lon_lat[..., 1], -85.0511, 85.0511))
    return np.stack([(lon_lat[..., 0] + 180) / 360, (1 - np.arcsinh(np.tan(latitude)) / np.pi) / 2], axis=-1)


class PlacedShapes:
    """Footprints [N] in EPSG:4326 at the place where one side's imagery shows them.

    They are moved when they are asked for, so that a large event is not held once more for each side.
    """

    def __init__(self, drawn: Shapes, shift_m: NDArray[np.float64]) -> None:
        """`shift_m` as `shifts_on` gives it."""
        self._drawn = drawn
        boxes = drawn.boxes
        self.moves = degrees_of(drawn.middles, shift_m)
        """Degrees east and north from the drawn footprint to its place [N, 2]."""
        self.boxes = boxes + np.tile(self.moves, 2)
        """West, south, east, north of each [N, 4]."""

    def __len__(self) -> int:
        return len(self._drawn)

    def __getitem__(self, row: int | np.integer[Any]) -> BaseGeometry:
        """One footprint at its place."""
        place: BaseGeometry = self.at(np.array([row]))[0]
        return place

    def at(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.object_]:
        """Footprints at their places."""
        return translated(self._drawn.at(rows), self.moves[rows])

    @property
    def centres(self) -> NDArray[np.float64]:
        """Longitude and latitude of the middle of each box [N, 2]."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    @cached_property
    def on_map(self) -> "OnMap":
        """Where they lie on a web map, for drawing many."""
        corners = mercator_of(self.boxes.reshape(-1, 2, 2))  # [N, corner, axis]
        sizes = np.abs(corners[:, 1] - corners[:, 0]).max(axis=1, initial=0)
        return OnMap(np.ascontiguousarray(corners.mean(axis=1)), sizes.astype(np.float32))

    def within(self, box: tuple[float, float, float, float]) -> NDArray[np.intp]:
        """Rows whose box touches the given one (west, south, east, north); a million take some milliseconds."""
        west, south, east, north = box
        boxes = self.boxes
        inside = (boxes[:, 0] <= east) & (boxes[:, 2] >= west) & (boxes[:, 1] <= north) & (boxes[:, 3] >= south)
        return np.flatnonzero(inside)


def degrees_of(lon_lat: NDArray[np.float64], shift_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Metres east and north of the UTM grid at a position [N, 2] as degrees [N, 2]; to a centimetre in 10 m."""
    if not shift_m.any():
        return np.zeros_like(lon_lat)
    lon, lat = np.radians(lon_lat).T
    meridian = np.radians(6 * np.floor(lon_lat[:, 0] / 6) + 3)
    turn = (lon - meridian) * np.sin(lat)  # grid north lies this far clockwise of true north (meridian convergence)
    east, north = shift_m.T
    true_east = east * np.cos(turn) + north * np.sin(turn)
    true_north = north * np.cos(turn) - east * np.sin(turn)
    return np.column_stack([true_east / np.cos(lat), true_north]) / _METRES_PER_DEGREE


def translated(geometry: NDArray[np.object_], degrees: NDArray[np.float64]) -> NDArray[np.object_]:
    """Geometries [N] moved by degrees east and north [N, 2]."""
    if not degrees.any():
        return geometry
    points, owner = shapely.get_coordinates(geometry, return_index=True)
    return np.asarray(shapely.set_coordinates(shapely.force_2d(geometry), points + degrees[owner]), dtype=object)
