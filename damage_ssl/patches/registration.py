"""Shifts between footprints, pre and post imagery: measured on patches, made robust, kept in the event's folder.

Which building is `misaligned`, and so not assessed: one whose applied shift may be wrong by more than
`align_tolerance_m` along an axis, by what its match, its neighbours or its scene show, or one whose shift is beyond
`align_reach_m`. A scene in which nothing matches at all (water, forest, a burnt quarter) gives no evidence of a shift:
its buildings are assessed as the imagery is georeferenced, with source `none`. A scene whose matches contradict each
other does: there, a building without trusted neighbours is misaligned. What a person has nudged is never misaligned.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import geopandas as gpd
import pandas as pd

from damage_ssl.errors import WorkspaceError
from damage_ssl.event.catalog import Event
from damage_ssl.event.imagery import Scene
from damage_ssl.patches.batches import Batch, Batches, make_batches
from damage_ssl.patches.memory import reading_bytes
from damage_ssl.patches.nudges import Nudge, read_nudges
from damage_ssl.patches.registration_cache import (
    plain_text,
    read_cached,
    registration_fingerprint,
    write_cached,
)
from damage_ssl.patches.shift_measuring import (
    COARSER,
    NARROW_PX,
    Look,
    Measured,
    WindowTasks,
    measure_buildings,
    measure_windows,
)
from damage_ssl.patches.shift_settling import Found, Surroundings
from damage_ssl.patches.tasks import run_tasks
from damage_ssl.settings import PatchSettings, Resources

if TYPE_CHECKING:
    from distributed import Client

Progress = Callable[[int, int], None]

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
    (metres east and north; always finite: 0 where nothing is known). `align_score` is that of the building's own match,
    `footprint_align_score` that of the outlines around it, 0 to 1 (NaN if none was made); the sources say where the
    applied shift comes from: `own`, `neighbours`, `scene`, `nudge` or `none`. The images are those it was measured on.
    """

    table: pd.DataFrame
    fingerprint: str


def register(
    event: Event,
    settings: PatchSettings,
    *,
    resources: Resources | None = None,
    progress: Progress | None = None,
    client: "Client | None" = None,
) -> Registration:
    """Measure and settle the shifts of all buildings; returns at once where nothing changed since.

    First, wide windows spread over the event are matched: post with pre, and pre with the outlines of the footprints.
    A robust field through the matches says where to look for each building. Then each building is matched in a window
    of its own, and what is outlying or no better than an accident borrows from its neighbours.

    Args:
        event: with scenes and footprints.
        settings: `gsd_m` and the `align` settings are used.
        resources: how many processes, how much memory; changes no result.
        progress: called with (done, all) windows and buildings.
        client: a Dask client to use.

    Raises:
        InputError: a scene cannot be read.
        WorkspaceError: the event has no scenes or footprints.
        StorageError: the disk is full or read-only.
    """
    footprints = event.footprints()
    pre, post = event.scenes("pre"), event.scenes("post")
    if not pre or not post:
        raise WorkspaceError(f"{event.path}: has no {'post' if pre else 'pre'} scenes; create the event again")
    nudges = read_nudges(event)
    fingerprint = registration_fingerprint(footprints, pre + post, settings, nudges)
    path = event.path / "registration.parquet"
    table = read_cached(path, fingerprint, REGISTRATION_COLUMNS)
    if table is None:
        found = Found.nothing(len(footprints))
        if settings.align != "off" or nudges:
            found = _found(footprints, pre, post, settings, nudges, resources or Resources(), progress, client)
        table = _table(footprints, found)
        write_cached(path, table, fingerprint)
    return Registration(table, fingerprint)


def _found(
    footprints: gpd.GeoDataFrame,
    pre: list[Scene],
    post: list[Scene],
    settings: PatchSettings,
    nudges: dict[str, Nudge],
    resources: Resources,
    progress: Progress | None,
    client: "Client | None",
) -> Found:
    memory_bytes = reading_bytes(resources, len(footprints))
    look = Look(pre=pre, post=post, settings=settings, memory_bytes=memory_bytes)
    windows = WindowTasks(footprints, pre + post, settings)
    sizes = windows.batches.sizes()
    total = sum(sizes) + len(footprints)

    def told(before: int) -> Progress | None:
        return None if progress is None else lambda done, _: progress(before + done, total)

    wide = run_tasks(partial(measure_windows, look=look), windows, resources, told(0), sizes=sizes, client=client)
    surroundings = Surroundings(Measured.joined(list(wide)), settings, nudges)
    batches = make_batches(footprints, pre + post, NARROW_PX * COARSER * settings.gsd_m)
    if settings.align != "building":
        return surroundings.found(batches)
    placed = _Placed(batches, surroundings)
    narrow = run_tasks(
        partial(measure_buildings, look=look),
        placed,
        resources,
        told(sum(sizes)),
        sizes=batches.sizes(),
        client=client,
    )
    return surroundings.refined(Measured.joined(list(narrow)))


class _Placed(Sequence[Batch]):
    """Batches of buildings, each found where its surroundings say."""

    def __init__(self, batches: Batches, surroundings: Surroundings) -> None:
        self._batches, self._surroundings = batches, surroundings

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]  # slices are not needed
        return self._surroundings.placed(self._batches[index])


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
