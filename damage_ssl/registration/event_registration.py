"""Registering an event: the shifts between footprints, pre and post, measured, made robust, kept in its folder.

The registration on disk is a Parquet file that knows what it was made from: unchanged, it is read, not made again.

Which building is `misaligned`, and so not assessed: one whose applied shift may be wrong by more than
`align_tolerance_m` along an axis, by what its match, its neighbours or its scene show, or one whose shift is beyond
`align_reach_m`. A scene in which nothing matches at all (water, forest, a burnt quarter) gives no evidence of a shift:
its buildings are assessed as the imagery is georeferenced, with source `none`. A scene whose matches contradict each
other does: there, a building without trusted neighbours is misaligned. What a person has shifted never is.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from damage_ssl.files import atomic_path
from damage_ssl.imagery.scene import Role, Scene, scene_state
from damage_ssl.mosaic.batches import Batches, BuildingBatch, centres, make_batches
from damage_ssl.mosaic.read_plan import reading_bytes
from damage_ssl.parallel import run_tasks
from damage_ssl.progress import ProgressCallback
from damage_ssl.registration.manual_shift import ManualShift
from damage_ssl.registration.shift_matching import (
    CLOSE_SPACING,
    WIDE_PX,
    MatchingInputs,
    WindowMatches,
    WindowTasks,
    close_spacing_m,
    lattice_windows,
    measure_close,
    measure_windows,
    moved_degrees,
)
from damage_ssl.registration.shift_model import DrawnPlaces, Found, Surroundings
from damage_ssl.settings import PatchSettings, Resources

if TYPE_CHECKING:
    from distributed import Client


REGISTRATION_COLUMNS = (
    "building_id",
    "footprint_shift_x_m",
    "footprint_shift_y_m",
    "footprint_align_score",
    "footprint_shift_source",
    "shift_x_m",
    "shift_y_m",
    "align_score",
    "shift_source",
    "misaligned",
    "registered_pre_image",
    "registered_post_image",
)


@dataclass(frozen=True)
class Registration:
    """Where every building is found in the imagery.

    `table` has one row a footprint, in the order of the footprints file, with `REGISTRATION_COLUMNS`. A building drawn
    at p is found in the pre imagery at p + footprint_shift, and in the post imagery at p + footprint_shift + shift
    (metres east and north; always finite: 0 where nothing is known). `align_score` is that of the match of the
    window closest to the building, `footprint_align_score` that of the outlines around it, 0 to 1 (NaN if none was
    made); the sources say where the applied shift comes from: `own` (matches right around the building), `neighbours`
    (farther ones), `scene`, `nudge` or `none`. The images are those it was measured on.
    """

    table: pd.DataFrame
    fingerprint: str


def register(
    folder: Path,
    footprints: gpd.GeoDataFrame,
    pre: list[Scene],
    post: list[Scene],
    settings: PatchSettings,
    *,
    manual_shifts: Mapping[str, ManualShift],
    resources: Resources | None = None,
    progress: ProgressCallback | None = None,
    client: "Client | None" = None,
) -> Registration:
    """Find the shifts of all buildings; returns at once where nothing changed since.

    First, wide windows on a lattice over the event are matched: post with pre, and pre with the outlines of the
    footprints. A robust field through the matches says where each place of pre is found in post. Then closer windows
    around the buildings, on a finer lattice, are matched there, which shows what the wide ones average out (lean above
    all); a building takes what the close windows around it agree on, and borrows from farther ones where they do not.

    Args:
        folder: the event's, where the registration is kept.
        footprints: the event's (EPSG:4326), N.
        pre: its scenes of before, at least one.
        post: its scenes of after, at least one.
        settings: `gsd_m` and the `align` settings are used.
        manual_shifts: what a person has set, by scene id.
        resources: how many processes, how much memory; changes no result.
        progress: called with (done, all) windows and buildings.
        client: a Dask client to use.

    Raises:
        InputError: a scene cannot be read.
        StorageError: the disk is full or read-only.
    """
    fingerprint = registration_fingerprint(footprints, pre + post, settings, manual_shifts)
    path = folder / "registration.parquet"
    table = read_cached(path, fingerprint, REGISTRATION_COLUMNS)
    if table is None:
        found = Found.nothing(len(footprints))
        if settings.align != "off" or manual_shifts:
            found = _found(footprints, pre, post, settings, manual_shifts, resources or Resources(), progress, client)
        table = _table(footprints, found)
        write_cached(path, table, fingerprint)
    return Registration(table, fingerprint)


def _found(
    footprints: gpd.GeoDataFrame,
    pre: list[Scene],
    post: list[Scene],
    settings: PatchSettings,
    manual_shifts: Mapping[str, ManualShift],
    resources: Resources,
    progress: ProgressCallback | None,
    client: "Client | None",
) -> Found:
    scenes = pre + post
    memory_bytes = reading_bytes(resources, len(footprints))
    look = MatchingInputs(pre=pre, post=post, settings=settings, memory_bytes=memory_bytes)
    windows = WindowTasks(footprints, scenes, settings)
    sizes = windows.batches.sizes()
    # How many close windows there are is known only when the wide ones are done; buildings stand for them till then.
    told = _Told(progress, sum(sizes) + len(footprints))
    wide = run_tasks(partial(measure_windows, look=look), windows, resources, told.of(0, 1), sizes=sizes, client=client)
    surroundings = Surroundings(WindowMatches.joined(list(wide)), settings, manual_shifts)
    places = DrawnPlaces.of(make_batches(footprints, scenes, WIDE_PX * settings.gsd_m))
    found = surroundings.found(places)
    if settings.align == "building":
        spacing_m = close_spacing_m(settings)
        lon, lat = centres(footprints.geometry.to_numpy())
        lon, lat = moved_degrees(lon, lat, found.footprint.shift_m)
        boxes = lattice_windows(lon, lat, spacing_m, corners=True, middle=0.25)
        placed = _Placed(make_batches(boxes, scenes, spacing_m / CLOSE_SPACING), surroundings)
        close = run_tasks(
            partial(measure_close, look=look),
            placed,
            resources,
            told.of(sum(sizes), len(footprints) / len(boxes)),
            sizes=placed.batches.sizes(),
            client=client,
        )
        found = surroundings.refined(places, found, WindowMatches.joined(list(close)), spacing_m)
    return surroundings.checked(found)


class _Told:
    """Progress of the two parts as one."""

    def __init__(self, progress: ProgressCallback | None, total: int) -> None:
        self._progress, self._total = progress, total

    def of(self, already: int, each: float) -> ProgressCallback | None:
        """Progress of a part that begins when `already` is done, and counts `each` for one of its windows."""
        progress = self._progress
        if progress is None:
            return None
        return lambda done, _: progress(already + round(done * each), self._total)


class _Placed(Sequence[BuildingBatch]):
    """Batches of close windows, each found in post where its surroundings say."""

    def __init__(self, batches: Batches, surroundings: Surroundings) -> None:
        self.batches, self._surroundings = batches, surroundings

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> BuildingBatch:  # type: ignore[override]  # slices are not needed
        return self._surroundings.placed(self.batches[index])


def _table(footprints: gpd.GeoDataFrame, found: Found) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "building_id": footprints["building_id"].astype(str).to_numpy(dtype=object),
            "footprint_shift_x_m": found.footprint.shift_m[:, 0],
            "footprint_shift_y_m": found.footprint.shift_m[:, 1],
            "footprint_align_score": found.footprint_score,
            "footprint_shift_source": found.footprint.source,
            "shift_x_m": found.pair.shift_m[:, 0],
            "shift_y_m": found.pair.shift_m[:, 1],
            "align_score": found.pair_score,
            "shift_source": found.pair.source,
            "misaligned": found.misaligned,
            "registered_pre_image": found.pre_image,
            "registered_post_image": found.post_image,
        }
    )
    return plain_text(table[list(REGISTRATION_COLUMNS)])


_SHIFT_COLUMNS = {"pre": ["footprint_shift_x_m", "footprint_shift_y_m"], "post": ["shift_x_m", "shift_y_m"]}
"""What was applied: of the pre image against the footprints, of the post image against the pre image."""


def typical_shift_m(index: pd.DataFrame, role: Role) -> float | None:
    """Median length, in metres, of the shifts of the assessed buildings of a patch index; None where none is known."""
    shifts = index.loc[index["assessed"].to_numpy(bool), _SHIFT_COLUMNS[role]].dropna().to_numpy(np.float64)
    return float(np.median(np.hypot(*shifts.T))) if len(shifts) else None


def median_shift_m(index: pd.DataFrame, scene: Scene) -> tuple[float, float]:
    """Median shift, metres east and north, of the assessed buildings that a scene shows; 0, 0 where none is known."""
    of_scene = index["assessed"].to_numpy(bool) & index[f"{scene.role}_image_id"].eq(scene.scene_id).to_numpy(bool)
    shifts = index.loc[of_scene, _SHIFT_COLUMNS[scene.role]].dropna().to_numpy(np.float64)
    east_m, north_m = np.median(shifts, axis=0) if len(shifts) else (0.0, 0.0)
    return float(east_m), float(north_m)


FORMAT_VERSION = 2
_KEY = b"damage_ssl:fingerprint"
_USED = ("gsd_m", "align", "align_reach_m", "align_radius_m", "align_tolerance_m")


def registration_fingerprint(
    footprints: gpd.GeoDataFrame,
    scenes: Sequence[Scene],
    settings: PatchSettings,
    manual_shifts: Mapping[str, ManualShift],
) -> str:
    """A hash of all that a registration is made from."""
    digest = hashlib.sha256()
    digest.update("\0".join(footprints["building_id"].astype(str)).encode())
    for wkb in shapely.to_wkb(footprints.geometry.to_numpy()):
        digest.update(wkb)
    values = {
        "format": FORMAT_VERSION,
        "scenes": [scene_state(scene) for scene in scenes],
        "settings": {name: getattr(settings, name) for name in _USED} | settings.scene_choice,
        "nudges": {scene_id: [shift.east_m, shift.north_m] for scene_id, shift in manual_shifts.items()},
    }
    digest.update(json.dumps(values, sort_keys=True).encode())
    return digest.hexdigest()


def read_cached(path: Path, fingerprint: str, columns: Sequence[str]) -> pd.DataFrame | None:
    """The table that was written with this fingerprint; None if there is none, or it cannot be read."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException):
        return None
    if (table.schema.metadata or {}).get(_KEY) != fingerprint.encode() or table.column_names != list(columns):
        return None
    return plain_text(table.to_pandas())


def plain_text(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with text as Python strings and None, whatever pandas made of it."""
    for name in frame.columns[[not pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes]]:
        text = frame[name].astype(object)
        frame[name] = pd.Series(text.where(text.notna(), None), index=frame.index, dtype=object)
    return frame


def write_cached(path: Path, table: pd.DataFrame, fingerprint: str) -> None:
    """Write the table atomically.

    Raises:
        StorageError: the disk is full or read-only.
    """
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), _KEY: fingerprint.encode()})
    with atomic_path(path) as temporary:
        pq.write_table(arrow, temporary)


SHIFT_SOURCE_WORDS: Mapping[str, str] = {
    "own": "measured here",
    "neighbours": "from neighbours",
    "scene": "from the whole scene",
    "nudge": "set by hand",
}


def shift_source_words(source: str | None) -> str | None:
    """Where an applied shift comes from; None where none was applied."""
    return SHIFT_SOURCE_WORDS.get(source or "")
