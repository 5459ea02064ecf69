"""Footprints × scenes → pre/post pairs in a patch store."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from damage_ssl.errors import WorkspaceError
from damage_ssl.event.catalog import Event
from damage_ssl.event.imagery import Role, Scene, measure_stretch
from damage_ssl.files import atomic_directory
from damage_ssl.grid import crs_of_epsg, transformer, utm_epsg
from damage_ssl.patches.cutting import Batch, CutBatch, centres, cut_batch, view_gsds
from damage_ssl.patches.store import PatchStore, StoreWriter
from damage_ssl.settings import PatchSettings, to_mapping

FORMAT_VERSION = 1
_CELL_PX = 1536
_BATCH_BUILDINGS = 128
_ABANDONED_S = 3600.0
Progress = Callable[[int, int], None]


def extract_patches(
    event: Event, settings: PatchSettings, *, progress: Progress | None = None, workers: int = 0
) -> PatchStore:
    """Cut the pair of every building, and write the store in one step.

    Returns at once where the store was cut from the same footprints, scenes and settings. A pair lies on a north-up
    grid in the building's own UTM zone, centred on the footprint's bounding box. Where several scenes of a side cover a
    building, the one with the best valid share of the footprint is taken; ties go to the scene nearest in date to the
    other side (pre: nearest to the earliest post scene; post: nearest to the latest pre scene), then to the larger
    valid share of the whole patch, then to the first id. Pixels that it lacks are filled from the next best. Buildings
    are worked off in square cells, so memory is bounded by the cell and not by the event, and each part of a scene is
    read once (but for the rims that neighbouring cells share).

    Args:
        event: where scenes and footprints are and the store will be.
        settings: grid size, views, what a building needs to be assessed.
        progress: called with the buildings done and all buildings.
        workers: processes that cut cells side by side; 0 cuts in this process. The result is the same.

    Raises:
        InputError: a scene cannot be read (any more).
        WorkspaceError: the event has no scenes or footprints.
        StorageError: the disk is full or read-only.
    """
    pre, post = (_stretched(event.scenes(role), settings) for role in _ROLES)
    if not pre or not post:
        raise WorkspaceError(f"{event.path}: has no {'post' if pre else 'pre'} scenes; create the event again")
    footprints = event.footprints()
    fingerprint = _fingerprint(footprints, pre + post, settings)
    try:
        store = PatchStore.open(event.patches_path)
        if store.fingerprint == fingerprint:
            return store
    except WorkspaceError:
        pass
    index = _empty_index(footprints, settings)
    tasks = _batches(footprints, pre + post, settings)
    _sweep(event.path)
    with atomic_directory(event.patches_path) as folder:
        writer = StoreWriter(folder, view_gsds(settings), settings.size_px)
        done = rows = 0
        if progress:
            progress(0, len(index))
        for cut in _cut_all(tasks, pre, post, settings, workers):
            rows = _enter(index, cut, rows)
            writer.append(cut.pairs)
            done += len(cut.number)
            if progress:
                progress(done, len(index))
        dates = {scene.scene_id: scene.datetime.isoformat() for scene in pre + post if scene.datetime}
        for role in _ROLES:
            index[f"{role}_datetime"] = (
                index[f"{role}_image_id"].map(dates).astype(object).where(lambda s: s.notna(), None)
            )
        writer.finish(index, fingerprint, settings)
    return PatchStore.open(event.patches_path)


_ROLES: tuple[Role, Role] = ("pre", "post")


def _sweep(folder: Path) -> None:
    """Remove what a killed process left behind: temporary stores that nothing has written to for an hour."""
    for left in [*folder.glob(".patches.*.tmp"), *folder.glob(".patches.*.old")]:
        newest = max((path.stat().st_mtime for path in left.rglob("*")), default=left.stat().st_mtime)
        if time.time() - newest > _ABANDONED_S:
            shutil.rmtree(left, ignore_errors=True)


def _stretched(scenes: list[Scene], settings: PatchSettings) -> list[Scene]:
    """Scenes with the stretch that the settings ask for (8-bit scenes have none)."""
    default = PatchSettings()
    low, high = settings.stretch_low_percent, settings.stretch_high_percent
    if (low, high) == (default.stretch_low_percent, default.stretch_high_percent):
        return scenes
    return [replace(scene, stretch=measure_stretch(scene, low, high)) for scene in scenes]


def _fingerprint(footprints: gpd.GeoDataFrame, scenes: list[Scene], settings: PatchSettings) -> str:
    """A hash of all that the store is made from."""
    digest = hashlib.sha256()
    digest.update("\0".join(footprints["building_id"]).encode())
    for wkb in shapely.to_wkb(footprints.geometry.to_numpy()):
        digest.update(wkb)
    described = [
        [scene.scene_id, scene.role, scene.href, *_file_state(scene.href), str(scene.datetime), scene.stretch]
        for scene in scenes
    ]
    values = {"format": FORMAT_VERSION, "scenes": described, "settings": to_mapping(settings)}
    digest.update(json.dumps(values, sort_keys=True).encode())
    return digest.hexdigest()


def _file_state(href: str) -> tuple[int, int]:
    path = Path(href)
    if not path.exists():
        return (0, 0)
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _empty_index(footprints: gpd.GeoDataFrame, settings: PatchSettings) -> pd.DataFrame:
    """One row a footprint, with what is known before any pixel is read."""
    centre = shapely.centroid(footprints.geometry.to_numpy())
    lon, lat = shapely.get_x(centre), shapely.get_y(centre)
    left, bottom, right, top = footprints.total_bounds
    event_crs = crs_of_epsg(utm_epsg((left + right) / 2, (bottom + top) / 2))
    x_m, y_m = transformer(crs_of_epsg(4326), event_crs).transform(lon, lat)
    count = len(footprints)
    text = {
        name: np.full(count, None, dtype=object) for name in ("not_assessed_reason", "pre_image_id", "post_image_id")
    }
    numbers = ("pre_valid_share", "post_valid_share", "shift_x_m", "shift_y_m", "align_score")
    return pd.DataFrame(
        {
            "building_id": footprints["building_id"].astype(str).to_numpy(dtype=object),
            "row": np.full(count, -1, dtype=np.int64),
            "assessed": np.zeros(count, dtype=bool),
            **text,
            "gsd_m": np.full(count, settings.gsd_m),
            **{name: np.full(count, np.nan) for name in numbers},
            "lon": lon,
            "lat": lat,
            "area_m2": footprints["area_m2"].to_numpy(dtype=float),
            "x_m": np.asarray(x_m),
            "y_m": np.asarray(y_m),
        }
    )


def _batches(footprints: gpd.GeoDataFrame, scenes: list[Scene], settings: PatchSettings) -> list[Batch]:
    """Buildings by UTM zone and square cell, in a fixed order; a cell is `_CELL_PX` pixels of the finest scene wide."""
    cell_m = max(_CELL_PX * min(scene.gsd_m for scene in scenes), settings.size_px * settings.gsd_m)
    bounds = footprints.geometry.bounds.to_numpy()
    lon, lat = (bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2
    zones = np.array([utm_epsg(*point) for point in zip(lon, lat, strict=True)])
    ids = footprints["building_id"].to_numpy(dtype=str)
    areas = footprints["area_m2"].to_numpy(dtype=float)
    batches = []
    for zone in np.unique(zones):
        numbers = np.flatnonzero(zones == zone)
        crs = crs_of_epsg(int(zone))
        geometry = footprints.geometry.iloc[numbers].to_crs(crs).to_numpy()
        x_m, y_m = centres(geometry)
        column, row = np.floor(x_m / cell_m).astype(int), np.floor(y_m / cell_m).astype(int)
        order = np.lexsort((numbers, column, -row))
        cells = np.stack([row[order], column[order]], axis=1)
        starts = np.flatnonzero(np.any(cells[1:] != cells[:-1], axis=1)) + 1
        for cell in np.split(order, starts):
            for part in _parts(cell):
                number = numbers[part]
                batches.append(Batch(number, ids[number], crs, x_m[part], y_m[part], geometry[part], areas[number]))
    return batches


def _parts(cell: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    return np.array_split(cell, -(-len(cell) // _BATCH_BUILDINGS))


def _cut_all(
    tasks: list[Batch], pre: list[Scene], post: list[Scene], settings: PatchSettings, workers: int
) -> Iterator[CutBatch]:
    """Cut the batches, in their order."""
    if workers <= 0:
        for task in tasks:
            yield cut_batch(task, pre, post, settings)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = []
        for task in tasks:
            waiting.append(pool.submit(cut_batch, task, pre, post, settings))
            if len(waiting) > 2 * workers:  # results wait in memory: no more than the workers need to stay busy
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def _enter(index: pd.DataFrame, cut: CutBatch, rows: int) -> int:
    """Enter a batch into the index; its pairs begin at row `rows`. Returns the next free row."""
    assessed = np.array([reason is None for reason in cut.reason])
    place = np.full(len(assessed), -1, dtype=np.int64)
    place[assessed] = rows + np.arange(int(assessed.sum()))
    columns = {
        "row": place,
        "assessed": assessed,
        "not_assessed_reason": np.array([None if r is None else str(r) for r in cut.reason], dtype=object),
        "pre_image_id": cut.pre_image,
        "post_image_id": cut.post_image,
        "pre_valid_share": cut.pre_valid_share,
        "post_valid_share": cut.post_valid_share,
        "shift_x_m": cut.shift_x_m,
        "shift_y_m": cut.shift_y_m,
        "align_score": cut.align_score,
    }
    for name, values in columns.items():
        index.iloc[cut.number, index.columns.get_loc(name)] = values  # type: ignore[index]
    return rows + int(assessed.sum())
