"""The area of interest of an event that is there already: drawn, typed or of a file; set, changed, taken back.

No footprint is lost by it. Before the first area is set, the event's footprints are kept as they are in
`footprints_whole/`; every area is a choice of those. An event that was made with an area has never kept the others:
they are read again from its files.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.coverage import check_overlap, extent_of
from damage_ssl.events.event import AREA_FILE, WHOLE_FOLDER, Event
from damage_ssl.files import atomic_directory, storage_errors, write_json
from damage_ssl.footprints.footprint_set import (
    FOOTPRINTS_FILE,
    FootprintSet,
    read_left_out,
    read_reports,
    read_settings,
    write_footprints,
)
from damage_ssl.footprints.reader import read_footprints
from damage_ssl.geography import cut_at_antimeridian

Area = BaseGeometry
"""An area of interest: polygons in EPSG:4326, cut at the antimeridian."""

_LARGEST_VERTICES = 20_000


def rectangle(west: float, south: float, east: float, north: float) -> BaseGeometry:
    """The area between two meridians and two parallels, in degrees.

    Raises:
        InputError: the bounds are not in this order, or not degrees.
    """
    values = (west, south, east, north)
    if not (np.isfinite(values).all() and -180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise InputError(
            f"area {west:g},{south:g},{east:g},{north:g}: give west,south,east,north in degrees, west < east and "
            "south < north"
        )
    return shapely.box(*values)


def polygon(ring: list[tuple[float, float]]) -> BaseGeometry:
    """The area within a ring of (longitude, latitude), as somebody draws it; it need not be closed.

    Raises:
        InputError: fewer than three different corners, lines that cross each other, or corners that are no degrees.
    """
    corners = np.asarray(ring, dtype=float)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(np.unique(corners, axis=0)) < 3:
        raise InputError("area: draw at least three corners")
    if len(corners) > _LARGEST_VERTICES:
        raise InputError(f"area: has {len(corners):,} corners, up to {_LARGEST_VERTICES:,} are taken")
    if not (np.isfinite(corners).all() and (np.abs(corners) <= (180, 90)).all()):
        raise InputError("area: its corners must be longitude and latitude in degrees")
    drawn = shapely.Polygon(corners)
    if not drawn.is_valid or drawn.area == 0:
        raise InputError("area: its lines cross each other; draw it again")
    return cut_at_antimeridian(drawn)


def whole_footprints(event: Event) -> FootprintSet:
    """The footprints of the event without any area of interest.

    Raises:
        WorkspaceError: there are none, or the event was made with an area and its files are gone.
        InputError: one of its files can no longer be read.
    """
    kept = event.path / WHOLE_FOLDER
    if (kept / FOOTPRINTS_FILE).is_file():
        return _stored(kept)
    if event.aoi() is None:
        event.footprints()  # says what is wrong where there are none
        return _stored(event.path)
    paths = [Path(report.path) for report in event.footprint_sources() if report.path]
    if not paths or any(not path.exists() for path in paths):
        names = ", ".join(str(path) for path in paths if not path.exists()) or "unknown"
        raise WorkspaceError(
            f"event '{event.name}': was made with an area of interest, and the buildings outside it are in files that "
            f"are gone ({names}); put them back"
        )
    scenes = [*event.scenes("pre"), *event.scenes("post")]
    return read_footprints(paths, imagery=extent_of(scenes), settings=event.footprint_settings())


def inside(footprints: NDArray[np.object_], area: BaseGeometry | None) -> NDArray[np.bool_]:
    """Which footprints [N] belong to an area: those whose inner point lies in it; all of them where there is none.

    An inner point is looked for only where the area's edge cuts a footprint; the others are decided by all of them.
    """
    if area is None:
        return np.ones(len(footprints), dtype=bool)
    shapely.prepare(area)
    chosen = np.asarray(shapely.intersects(area, footprints), dtype=bool)
    touched = np.flatnonzero(chosen)
    cut = touched[~shapely.covers(area, footprints[touched])]
    chosen[cut] = shapely.intersects(area, shapely.point_on_surface(footprints[cut]))
    return chosen


def set_area(event: Event, area: BaseGeometry | None) -> int:
    """Keep only the footprints whose inner point lies in an area (EPSG:4326), or with None all of them again.

    Labels, pairs and runs stay as they are. Of a change that is interrupted, nothing is lost: do it again.

    Returns:
        How many footprints the event has now.

    Raises:
        InputError: no footprint lies in the area, or none of those in it has imagery of both dates.
        WorkspaceError: the footprints outside an earlier area cannot be had any more.
        StorageError: the disk is full or read-only.
    """
    whole = whole_footprints(event)
    chosen = inside(whole.table.geometry.to_numpy(), area)
    if not chosen.any():
        raise InputError(f"area: none of the event's {len(whole.table):,} buildings lies in it; draw it over some")
    table = whole.table[chosen].reset_index(drop=True)
    found = dataclasses.replace(whole, table=table, outside_aoi=int((~chosen).sum()))
    check_overlap([*event.scenes("pre"), *event.scenes("post")], found)
    kept, area_path = event.path / WHOLE_FOLDER, event.path / AREA_FILE
    if area is not None and not (kept / FOOTPRINTS_FILE).is_file():
        with atomic_directory(kept) as folder:
            write_footprints(folder, whole)
    with storage_errors(event.path):
        if area is None:
            # in this order an interruption leaves an area without its copy of the whole only where all are there again
            write_footprints(event.path, whole)
            area_path.unlink(missing_ok=True)
            shutil.rmtree(kept, ignore_errors=True)
        else:
            feature = {"type": "Feature", "properties": {}, "geometry": mapping(area)}
            write_json(area_path, {"type": "FeatureCollection", "features": [feature]})
            write_footprints(event.path, found)
    return len(table)


def _stored(folder: Path) -> FootprintSet:
    table = gpd.read_parquet(folder / FOOTPRINTS_FILE)
    return FootprintSet(table, None, 0, 0, read_left_out(folder), read_reports(folder), read_settings(folder))


def drawn_area(value: object) -> BaseGeometry:
    """The area that the browser sent: an object with the `ring` of its corners, longitude and latitude.

    Raises:
        InputError: it is none.
    """
    ring = value.get("ring") if isinstance(value, Mapping) else None
    if not isinstance(ring, list):
        raise InputError("area: draw it again")
    try:
        corners = [(float(lon), float(lat)) for lon, lat in ring]
    except (TypeError, ValueError):
        raise InputError("area: its corners must be pairs of numbers; draw it again") from None
    return polygon(corners)


def drawn_to_count(value: object) -> bool:
    """Whether the browser's drawing is to count the buildings in it, not to be the event's area."""
    return isinstance(value, Mapping) and value.get("step") == "map"


def typed_area(text: str) -> BaseGeometry:
    """The area of `west,south,east,north` in degrees.

    Raises:
        InputError: the text is not of that form.
    """
    try:
        west, south, east, north = (float(part) for part in text.replace(";", ",").split(","))
    except ValueError:
        raise InputError(f"'{text[:60]}': give four numbers, west,south,east,north, in degrees") from None
    return rectangle(west, south, east, north)


def shape_of(event: Event) -> dict[str, Any] | None:
    """The event's area as GeoJSON, for the map."""
    area = event.aoi()
    if area is None:
        return None
    shape: dict[str, Any] = json.loads(json.dumps(mapping(shapely.simplify(area, 1e-6))))
    return shape
