"""The pairs of one batch: what can be assessed is written, and of every building the index learns what is known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import Reason
from damage_ssl.files import atomic_path
from damage_ssl.imagery.quality.measures import QUALITY_COLUMNS, measure_quality, quality_reason
from damage_ssl.imagery.scene import Scene
from damage_ssl.mosaic.batches import BuildingBatch
from damage_ssl.mosaic.best_scene import valid_share
from damage_ssl.mosaic.pair_mosaic import BothSides, Reading, View, plan_reading
from damage_ssl.patches.pairs import PairViews
from damage_ssl.patches.store import RowWriter
from damage_ssl.settings import PatchSettings

CUT_COLUMNS = (
    "row",
    "assessed",
    "not_assessed_reason",
    "not_assessed_detail",
    "pre_image_id",
    "post_image_id",
    "pre_valid_share",
    "post_valid_share",
    *QUALITY_COLUMNS,
)
_TEXTS = ("not_assessed_detail", "pre_image_id", "post_image_id")
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class PairTask:
    """A batch and the rows of the store that are its own: the building at place n has row `first_row` + n."""

    batch: BuildingBatch
    misaligned: NDArray[np.bool_]
    first_row: int


@dataclass(frozen=True)
class CutPart:
    """Buildings `rows` of a batch, cut: their pairs per view, and per column what the index says of them."""

    rows: NDArray[np.intp]
    pairs: tuple[PairViews, ...]
    columns: Columns


def views_of(settings: PatchSettings) -> dict[str, View]:
    """The views that the settings ask for, by name."""
    views = {"close": View(settings.size_px, settings.gsd_m)}
    if settings.context_gsd_m is not None:
        views["context"] = View(settings.size_px, settings.context_gsd_m)
    return views


def do_task(
    task: tuple[int, PairTask],
    *,
    done: Path,
    folder: Path,
    pre: Sequence[Scene],
    post: Sequence[Scene],
    settings: PatchSettings,
    memory_bytes: int,
) -> pd.DataFrame:
    """`write_pairs` for a numbered task, unless its table lies in the folder `done`: it was done before."""
    number, pairs = task
    table_path = done / f"{number}.parquet"
    if table_path.exists():
        return pd.read_parquet(table_path)
    table = write_pairs(pairs, folder=folder, pre=pre, post=post, settings=settings, memory_bytes=memory_bytes)
    with atomic_path(table_path) as temporary:
        table.to_parquet(temporary)
    return table


def write_pairs(
    task: PairTask,
    *,
    folder: Path,
    pre: Sequence[Scene],
    post: Sequence[Scene],
    settings: PatchSettings,
    memory_bytes: int,
) -> pd.DataFrame:
    """Cut a batch and write its pairs into the task's rows of the store in `folder`.

    Returns:
        `CUT_COLUMNS` of every building of the batch; the table's index is the building's place in the footprints file.
    """
    batch, views = task.batch, views_of(settings)
    plan = plan_reading(batch, pre, post, list(views.values()), settings)
    table = _unread(batch, plan.in_pre, plan.in_post, settings)
    writer = RowWriter(folder, list(views), task.first_row)
    for part in cut_parts(batch, task.misaligned, plan, settings, memory_bytes=memory_bytes):
        for name, values in part.columns.items():
            table[name][part.rows] = values
        kept = np.flatnonzero(part.columns["assessed"])
        table["row"][part.rows[kept]] = task.first_row + part.rows[kept]
        pairs = part.pairs if len(kept) == len(part.rows) else [view.take(kept) for view in part.pairs]
        writer.write(part.rows[kept], pairs)
    writer.close()
    return pd.DataFrame(table, index=batch.number)


def cut_parts(
    batch: BuildingBatch,
    misaligned: NDArray[np.bool_],
    plan: Reading,
    settings: PatchSettings,
    *,
    memory_bytes: int,
) -> Iterator[CutPart]:
    """Cut the buildings of a batch that scenes of both sides touch, and judge which can be assessed."""
    for sides in plan.sides(memory_bytes):
        yield _judged(sides, batch.area_m2[sides.rows], misaligned[sides.rows], plan.views, settings)


def _judged(
    sides: BothSides,
    area_m2: NDArray[np.float64],
    misaligned: NDArray[np.bool_],
    views: Sequence[View],
    settings: PatchSettings,
) -> CutPart:
    pre, post, footprint = sides.pre, sides.post, sides.footprint
    both = [one & other for one, other in zip(pre.valid, post.valid, strict=True)]
    pre_share, post_share, both_share = (valid_share(v, footprint[0]) for v in (pre.valid[0], post.valid[0], both[0]))
    quality = measure_quality(pre.colour[0], pre.valid[0], post.colour[0], post.valid[0], footprint[0], settings.gsd_m)
    least = settings.min_valid_share
    seen = both_share >= least
    cut_off = ((pre_share < least) & (pre.covered_share < least)) | (
        (post_share < least) & (post.covered_share < least)
    )
    failure = np.where(pre.failed != None, pre.failed, post.failed)  # noqa: E711 (elementwise)
    # The first that holds is the reason. What could not be read may be all that a building lacks.
    reason = quality_reason(quality, settings)
    reason[misaligned] = Reason.MISALIGNED
    reason[~seen] = Reason.NODATA
    reason[~seen & cut_off] = Reason.EDGE
    reason[post.covered_share == 0] = Reason.NO_POST
    reason[pre.covered_share == 0] = Reason.NO_PRE
    failed = (failure != None) & ~seen  # noqa: E711
    reason[failed] = Reason.SOURCE_FAILED
    reason[area_m2 < settings.min_area_m2] = Reason.TOO_SMALL
    detail = np.full(len(reason), None, dtype=object)
    detail[reason == Reason.SOURCE_FAILED] = failure[reason == Reason.SOURCE_FAILED]
    columns: Columns = {
        "assessed": reason == None,  # noqa: E711
        "not_assessed_reason": np.array([None if r is None else str(r) for r in reason], dtype=object),
        "not_assessed_detail": detail,
        "pre_image_id": pre.scene_id,
        "post_image_id": post.scene_id,
        "pre_valid_share": pre_share,
        "post_valid_share": post_share,
        **{name: np.asarray(quality[name], dtype=np.float32) for name in QUALITY_COLUMNS},
    }
    pairs = tuple(
        PairViews(
            pre=pre.colour[n],
            post=post.colour[n],
            footprint=footprint[n].astype(np.uint8),
            valid=both[n].astype(np.uint8),
            gsd_m=view.gsd_m,
        )
        for n, view in enumerate(views)
    )
    return CutPart(sides.rows, pairs, columns)


def _unread(
    batch: BuildingBatch, in_pre: NDArray[np.bool_], in_post: NDArray[np.bool_], settings: PatchSettings
) -> Columns:
    """What is known without reading: buildings that no scene of a side touches are settled."""
    count = len(batch)
    reason = np.full(count, None, dtype=object)
    reason[~in_post] = str(Reason.NO_POST)
    reason[~in_pre] = str(Reason.NO_PRE)
    reason[(batch.area_m2 < settings.min_area_m2)] = str(Reason.TOO_SMALL)
    empty: Columns = {
        "row": np.full(count, -1, dtype=np.int64),
        "assessed": np.zeros(count, dtype=bool),
        "not_assessed_reason": reason,
    }
    empty |= {name: np.full(count, None, dtype=object) for name in _TEXTS}
    empty |= {name: np.full(count, np.nan) for name in ("pre_valid_share", "post_valid_share")}
    return empty | {name: np.full(count, np.nan, dtype=np.float32) for name in QUALITY_COLUMNS}
