"""Footprints × scenes → pre/post pairs in a patch store."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from damage_ssl.errors import DamageSSLError, SourceError, WorkerError, WorkspaceError
from damage_ssl.files import atomic_directory, locked, read_json, storage_errors, sweep, sync_tree, write_json
from damage_ssl.grid import crs_of_epsg, transformer, utm_epsg
from damage_ssl.imagery.inspection import measure_stretch
from damage_ssl.imagery.scene import Role, Scene, scene_state
from damage_ssl.mosaic.batches import Batches, make_batches
from damage_ssl.mosaic.read_plan import reading_bytes
from damage_ssl.parallel import run_tasks
from damage_ssl.patches.pair_cutting import CUT_COLUMNS, PairTask, do_task, views_of
from damage_ssl.patches.store import (
    CHUNK_BUILDINGS,
    FORMAT_VERSION,
    INDEX_COLUMNS,
    PatchStore,
    buffer_bytes,
    make_pairs,
    write_index,
)
from damage_ssl.progress import ProgressCallback
from damage_ssl.registration.event_registration import REGISTRATION_COLUMNS
from damage_ssl.settings import PatchSettings, Resources

if TYPE_CHECKING:
    from distributed import Client


_PLAN, _DONE = "plan.json", "done"


def extract_patches(
    folder: Path,
    footprints: gpd.GeoDataFrame,
    pre: list[Scene],
    post: list[Scene],
    shifts: pd.DataFrame,
    settings: PatchSettings,
    *,
    progress: ProgressCallback | None = None,
    resources: Resources | None = None,
    client: "Client | None" = None,
) -> PatchStore:
    """Cut the pair of every building, and put the store in place in one step.

    Returns at once where the store was cut from the same footprints, scenes, shifts and settings. A pair lies on a
    north-up grid in the building's own UTM zone, centred (to within half a pixel) on where the building is found in
    each date's imagery; `pair_mosaic.plan_reading` says which scene is taken. Buildings are worked off in square cells,
    whose parts of the scenes are read once (but for the rims that neighbouring cells share), within the memory that
    `resources` allows. The bytes of the store depend neither on the resources nor on which worker did what.

    An extraction that was interrupted or killed goes on where it was, if nothing changed since.

    Args:
        folder: the event's, where the store will be.
        footprints: the event's (EPSG:4326): building_id, area_m2, geometry.
        pre: its scenes of before, at least one.
        post: its scenes of after, at least one.
        shifts: `Registration.table` of these footprints: where each is found in the imagery.
        settings: grid size, views, what a building needs to be assessed.
        progress: called with the buildings done and all buildings.
        resources: processes, memory, cluster (default: this process, 1 GB).
        client: a Dask client to use instead of local processes; its workers must see the event's folder and imagery.

    Raises:
        SourceError: no pair could be cut because a scene cannot be read (any more). Where other buildings can be
            assessed, those that depend on the scene get the reason `source_failed` instead, and the next call tries
            again.
        InputError: a scene's CRS cannot be used, or the cluster cannot.
        SettingsError: `resources` allows less memory than its processes need.
        WorkspaceError: another process is cutting the event's patches.
        WorkerError: worker processes were killed again and again.
        StorageError: the disk is full or read-only.
    """
    resources = resources or Resources()
    path = folder / "patches"
    sweep(folder)
    pre, post = _stretched(pre, settings), _stretched(post, settings)
    fingerprint = _fingerprint(footprints, pre + post, settings, shifts)
    try:
        store = PatchStore.open(path)
        if store.fingerprint == fingerprint and not store.sources_failed:
            return store
    except WorkspaceError:
        pass
    memory_bytes = reading_bytes(resources, len(footprints), store_bytes=buffer_bytes(settings))
    index = _index_of(footprints, shifts, settings)
    size_m = settings.size_px * max(settings.gsd_m, settings.context_gsd_m or 0.0)
    tasks = _Tasks(make_batches(footprints, pre + post, size_m), shifts)
    with _partial_store(folder, fingerprint) as partial_store:
        if resources.cluster is not None or client is not None:
            from damage_ssl.parallel import check_shared_folder

            check_shared_folder(partial_store, address=resources.cluster, client=client)
        if not (partial_store / _PLAN).exists():
            make_pairs(partial_store, list(views_of(settings)), settings.size_px, tasks.rows)
            sync_tree(partial_store)
            write_json(partial_store / _PLAN, {"fingerprint": fingerprint})
        work = partial(
            do_task,
            done=partial_store / _DONE,
            folder=partial_store,
            pre=pre,
            post=post,
            settings=settings,
            memory_bytes=memory_bytes,
        )
        if progress:
            progress(0, len(index))
        tables = list(run_tasks(work, tasks, resources, progress, sizes=tasks.sizes, client=client))
        _enter(index, tables, pre + post)
        _check_sources(index)
        with atomic_directory(path, synced=True) as finished:  # chunks by their writers, the rest as it is written
            _sweep_chunks(partial_store / "pairs.zarr")
            (partial_store / "pairs.zarr").replace(finished / "pairs.zarr")
            views = {name: view.gsd_m for name, view in views_of(settings).items()}
            write_index(finished, index, fingerprint, settings, views, [scene.scene_id for scene in pre + post])
        shutil.rmtree(partial_store, ignore_errors=True)
    return PatchStore.open(path)


_ROLES: tuple[Role, Role] = ("pre", "post")


class _Tasks(Sequence[tuple[int, PairTask]]):
    """The event's batches, each with its number and its rows of the store."""

    def __init__(self, batches: Batches, shifts: pd.DataFrame) -> None:
        self._batches = batches
        self.sizes = batches.sizes()
        chunks = -(-np.array(self.sizes, dtype=np.int64) // CHUNK_BUILDINGS)
        self._first_rows = (np.cumsum(chunks) - chunks) * CHUNK_BUILDINGS
        self.rows = int(chunks.sum()) * CHUNK_BUILDINGS
        pre = shifts[["footprint_shift_x_m", "footprint_shift_y_m"]].to_numpy(dtype=float)
        self._pre_m = pre
        self._post_m = pre + shifts[["shift_x_m", "shift_y_m"]].to_numpy(dtype=float)
        self._misaligned = shifts["misaligned"].to_numpy(dtype=bool)

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> tuple[int, PairTask]:  # type: ignore[override]  # slices are not needed
        batch = self._batches[number]
        found = batch.with_offsets(self._pre_m[batch.number], self._post_m[batch.number])
        return number, PairTask(found, self._misaligned[batch.number], int(self._first_rows[number]))


@contextmanager
def _partial_store(event: Path, fingerprint: str) -> Iterator[Path]:
    """The folder of a store in the making: it is kept where the extraction was interrupted, for the next one to go on.

    What was cut from anything else is removed first, and so is all after an error.
    """
    folder = event / ".patches.partial"
    busy = f"{event}: another process is cutting its patches; wait for it to end"
    with storage_errors(event / "patches"), locked(event / ".patches.lock", busy):
        try:
            kept = read_json(folder / _PLAN)["fingerprint"] == fingerprint and (folder / "pairs.zarr").is_dir()
        except (OSError, ValueError, KeyError, TypeError):
            kept = False
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        try:
            yield folder
        except (DamageSSLError, OSError) as error:
            if not isinstance(error, WorkerError):
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _sweep_chunks(pairs: Path) -> None:
    """Remove the chunks that a killed worker had begun: zarr writes each under another name first, and renames it."""
    for begun in pairs.rglob("*.partial"):
        begun.unlink(missing_ok=True)


def _enter(index: pd.DataFrame, tables: list[pd.DataFrame], scenes: list[Scene]) -> None:
    """Enter into the index what the tasks found out."""
    found = pd.concat(tables).sort_index() if tables else pd.DataFrame(columns=list(CUT_COLUMNS))
    for name in CUT_COLUMNS:
        index[name] = found[name].to_numpy()
    dates = {scene.scene_id: scene.datetime.isoformat() for scene in scenes if scene.datetime}
    for role in _ROLES:
        known = index[f"{role}_image_id"].map(dates).astype(object)
        index[f"{role}_datetime"] = known.where(known.notna(), None)


def _check_sources(index: pd.DataFrame) -> None:
    """An extraction that yields nothing but failures is one."""
    failed = index["not_assessed_reason"] == "source_failed"
    if failed.any() and not index["assessed"].any():
        raise SourceError(str(index.loc[failed, "not_assessed_detail"].iloc[0]))


def _stretched(scenes: list[Scene], settings: PatchSettings) -> list[Scene]:
    """Scenes with the stretch that the settings ask for (8-bit scenes have none)."""
    default = PatchSettings()
    low, high = settings.stretch_low_percent, settings.stretch_high_percent
    if (low, high) == (default.stretch_low_percent, default.stretch_high_percent):
        return scenes
    return [replace(scene, stretch=measure_stretch(scene, low, high)) for scene in scenes]


def _fingerprint(
    footprints: gpd.GeoDataFrame, scenes: list[Scene], settings: PatchSettings, shifts: pd.DataFrame
) -> str:
    """A hash of all that the store is made from."""
    digest = hashlib.sha256()
    digest.update("\0".join(footprints["building_id"]).encode())
    for wkb in shapely.to_wkb(footprints.geometry.to_numpy()):
        digest.update(wkb)
    values = {
        "format": FORMAT_VERSION,
        "scenes": [scene_state(scene) for scene in scenes],
        "settings": settings.model_dump(exclude={"post_scene"}) | settings.scene_choice,
        "registration": _table_hash(shifts),
    }
    digest.update(json.dumps(values, sort_keys=True).encode())
    return digest.hexdigest()


def _table_hash(table: pd.DataFrame) -> str:
    """The same for the same shifts, whatever they were measured with."""
    return hashlib.sha256(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes()).hexdigest()


def _index_of(footprints: gpd.GeoDataFrame, shifts: pd.DataFrame, settings: PatchSettings) -> pd.DataFrame:
    """One row a footprint, with what is known before any pixel is read."""
    centre = shapely.centroid(footprints.geometry.to_numpy())
    lon, lat = shapely.get_x(centre), shapely.get_y(centre)
    left, bottom, right, top = footprints.total_bounds
    event_crs = crs_of_epsg(utm_epsg((left + right) / 2, (bottom + top) / 2))
    x_m, y_m = transformer(crs_of_epsg(4326), event_crs).transform(lon, lat)
    found = {name: shifts[name].to_numpy() for name in REGISTRATION_COLUMNS if name in INDEX_COLUMNS}
    values = {
        "building_id": footprints["building_id"].astype(str).to_numpy(dtype=object),
        "gsd_m": np.full(len(footprints), settings.gsd_m),
        "lon": lon,
        "lat": lat,
        "area_m2": footprints["area_m2"].to_numpy(dtype=float),
        "x_m": np.asarray(x_m),
        "y_m": np.asarray(y_m),
    }
    return pd.DataFrame({**found, **values})
