"""One batch of neighbouring buildings: read the scenes around them once, and cut every building's pair."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize
from rasterio.transform import Affine

from damage_ssl.errors import InputError
from damage_ssl.event.imagery import Scene, read_chunk
from damage_ssl.event.quality import not_assessed_reason, share_within
from damage_ssl.event.registration import measure_shifts
from damage_ssl.event.resample import MAX_FIT_ERROR_PX, GridBatch, SourceMap, covered, resample, source_map
from damage_ssl.patches.pairs import PairSet, PairViews
from damage_ssl.settings import PatchSettings


@dataclass(frozen=True)
class Batch:
    """Neighbouring buildings in one UTM zone: `number` [N] is their place in the footprints file.

    `geometry` [N] are polygons in `crs`; (`x_m`, `y_m`) the centres of their bounding boxes, and of the grids.
    """

    number: NDArray[np.intp]
    building_id: NDArray[np.str_]
    crs: CRS
    x_m: NDArray[np.float64]
    y_m: NDArray[np.float64]
    geometry: NDArray[np.object_]
    area_m2: NDArray[np.float64]


@dataclass(frozen=True)
class CutBatch:
    """The assessed pairs of a batch (in the batch's order), and for all its buildings what the index says of them."""

    pairs: PairSet
    number: NDArray[np.intp]
    reason: NDArray[np.object_]
    pre_image: NDArray[np.object_]
    post_image: NDArray[np.object_]
    pre_valid_share: NDArray[np.float64]
    post_valid_share: NDArray[np.float64]
    shift_x_m: NDArray[np.float64]
    shift_y_m: NDArray[np.float64]
    align_score: NDArray[np.float64]


@dataclass(frozen=True)
class _Side:
    """One date of a batch: the chosen scene and its pixels per view [N, 3, H, W] with their masks [N, H, W]."""

    scene_id: NDArray[np.object_]
    covered_share: NDArray[np.float64]
    colour: list[NDArray[np.uint8]]
    valid: list[NDArray[np.bool_]]


@dataclass(frozen=True)
class _Candidate:
    """One scene's pixels of the buildings `rows` of a batch, per view."""

    scene: Scene
    rows: NDArray[np.intp]
    colour: list[NDArray[np.uint8]]
    valid: list[NDArray[np.bool_]]
    covered: NDArray[np.bool_]


def view_gsds(settings: PatchSettings) -> dict[str, float]:
    """Metres a pixel of each view that the settings ask for."""
    views = {"close": settings.gsd_m}
    if settings.context_gsd_m is not None:
        views["context"] = settings.context_gsd_m
    return views


def cut_batch(batch: Batch, pre: list[Scene], post: list[Scene], settings: PatchSettings) -> CutBatch:
    """Cut all pairs of a batch.

    Raises:
        InputError: a scene cannot be read.
    """
    gsds = view_gsds(settings)
    grids = [GridBatch(batch.crs, batch.x_m, batch.y_m, settings.size_px, gsd_m) for gsd_m in gsds.values()]
    footprints = [_footprint_masks(batch, grid) for grid in grids]
    first = _cut_side(grids, footprints[0], pre, _nearest_date([s.datetime for s in post], latest=False))
    second = _cut_side(grids, footprints[0], post, _nearest_date([s.datetime for s in pre], latest=True))
    both = [one & other for one, other in zip(first.valid, second.valid, strict=True)]
    pre_share, post_share, both_share = (
        share_within(valid, footprints[0]) for valid in (first.valid[0], second.valid[0], both[0])
    )
    reason = np.array(
        [
            not_assessed_reason(
                area_m2=batch.area_m2[n],
                pre_covered=first.covered_share[n],
                post_covered=second.covered_share[n],
                pre_valid=pre_share[n],
                post_valid=post_share[n],
                both_valid=both_share[n],
                min_area_m2=settings.min_area_m2,
                min_valid_share=settings.min_valid_share,
            )
            for n in range(len(batch.number))
        ],
        dtype=object,
    )
    assessed = np.flatnonzero([value is None for value in reason])
    shift_x, shift_y, score = (np.full(len(reason), np.nan) for _ in range(3))
    shifts = measure_shifts(first.colour[0][assessed], second.colour[0][assessed], both[0][assessed], settings.gsd_m)
    shift_x[assessed], shift_y[assessed], score[assessed] = shifts.shift_x_m, shifts.shift_y_m, shifts.align_score
    views = [
        PairViews(
            pre=first.colour[k][assessed],
            post=second.colour[k][assessed],
            footprint=footprints[k][assessed].astype(np.uint8),
            valid=both[k][assessed].astype(np.uint8),
            gsd_m=gsd_m,
        )
        for k, gsd_m in enumerate(gsds.values())
    ]
    return CutBatch(
        pairs=PairSet(
            building_id=batch.building_id[assessed], close=views[0], context=views[1] if len(views) > 1 else None
        ),
        number=batch.number,
        reason=reason,
        pre_image=first.scene_id,
        post_image=second.scene_id,
        pre_valid_share=pre_share,
        post_valid_share=post_share,
        shift_x_m=shift_x,
        shift_y_m=shift_y,
        align_score=score,
    )


def _cut_side(
    grids: list[GridBatch], footprint: NDArray[np.bool_], scenes: list[Scene], near: datetime | None
) -> _Side:
    """For each building the best scene of one side, its gaps filled from the next best ones."""
    count, size_px = len(footprint), grids[0].size_px
    candidates = [cut for scene in scenes if (cut := _cut_scene(grids, scene)) is not None]
    colour = [np.zeros((count, 3, size_px, size_px), dtype=np.uint8) for _ in grids]
    valid = [np.zeros((count, size_px, size_px), dtype=bool) for _ in grids]
    scene_id = np.full(count, None, dtype=object)
    inside = np.zeros((count, size_px, size_px), dtype=bool)
    ranked: list[list[tuple[tuple[float, float, float, str], _Candidate, int]]] = [[] for _ in range(count)]
    for candidate in candidates:
        inside[candidate.rows] |= candidate.covered
        share = share_within(candidate.valid[0], footprint[candidate.rows])
        whole = candidate.valid[0].mean(axis=(1, 2))
        distance = _days_between(candidate.scene.datetime, near)
        for place, row in enumerate(candidate.rows):
            rank = (-round(float(share[place]), 3), distance, -float(whole[place]), candidate.scene.scene_id)
            ranked[row].append((rank, candidate, place))
    for row, found in enumerate(ranked):
        found.sort(key=lambda entry: entry[0])
        for _, candidate, place in found:
            if scene_id[row] is None and (candidate.covered[place] & footprint[row]).any():
                scene_id[row] = candidate.scene.scene_id
            for view in range(len(grids)):
                if candidate is found[0][1]:
                    colour[view][row] = candidate.colour[view][place]
                    valid[view][row] = candidate.valid[view][place]
                    continue
                if valid[view][row].all():
                    continue
                gap = ~valid[view][row] & candidate.valid[view][place]
                if gap.any():
                    colour[view][row][:, gap] = candidate.colour[view][place][:, gap]
                    valid[view][row] |= gap
    return _Side(scene_id, share_within(inside, footprint), colour, valid)


def _cut_scene(grids: list[GridBatch], scene: Scene) -> _Candidate | None:
    """Pixels of the grids that touch a scene; None if none does."""
    if not _may_touch(max(grids, key=lambda grid: grid.half_m), scene):
        return None
    maps = [source_map(grid, scene.crs, scene.transform) for grid in grids]
    boxes = np.stack([where.boxes() for where in maps])  # [views, N, 4]
    touches = (boxes[..., 0] < scene.width) & (boxes[..., 1] > 0) & (boxes[..., 2] < scene.height) & (boxes[..., 3] > 0)
    rows = np.flatnonzero(touches.any(axis=0))
    if not len(rows):
        return None
    _check_fit(maps, rows, scene)
    boxes = boxes[:, rows]
    factors = [max(1, int(where.step_px(grid.size_px) + 1e-6)) for where, grid in zip(maps, grids, strict=True)]
    multiple = int(np.lcm.reduce(factors))
    margin = 2 * max(factors)
    chunk = read_chunk(
        scene,
        (int(np.floor(boxes[..., 0].min())) - margin, int(np.ceil(boxes[..., 1].max())) + margin),
        (int(np.floor(boxes[..., 2].min())) - margin, int(np.ceil(boxes[..., 3].max())) + margin),
        multiple=multiple,
    )
    cut = [resample(chunk, where.take(rows), grid.size_px) for where, grid in zip(maps, grids, strict=True)]
    return _Candidate(
        scene=scene,
        rows=rows,
        colour=[colour for colour, _ in cut],
        valid=[valid for _, valid in cut],
        covered=covered(maps[0].take(rows), grids[0].size_px, scene.width, scene.height),
    )


def _may_touch(grids: GridBatch, scene: Scene) -> bool:
    """Whether one square around all grids reaches the scene: spares most scenes the exact look."""
    x, y = (grids.x_m.min() + grids.x_m.max()) / 2, (grids.y_m.min() + grids.y_m.max()) / 2
    reach_m = 2 * max(np.ptp(grids.x_m), np.ptp(grids.y_m)) + 4 * grids.half_m  # twice of what is needed
    around = GridBatch(grids.crs, np.array([x]), np.array([y]), 1, float(reach_m))
    left, right, top, bottom = source_map(around, scene.crs, scene.transform).boxes()[0]
    return bool(left < scene.width and right > 0 and top < scene.height and bottom > 0)


def _check_fit(maps: list[SourceMap], rows: NDArray[np.intp], scene: Scene) -> None:
    worst = max(float(where.fit_error_px[rows].max(initial=0.0)) for where in maps)
    if worst > MAX_FIT_ERROR_PX:
        raise InputError(
            f"{scene.href}: its CRS bends too much over a patch ({worst:.2f} pixels); "
            "warp it to UTM with gdalwarp first"
        )


def _footprint_masks(batch: Batch, grid: GridBatch) -> NDArray[np.bool_]:
    """[N, H, W], True inside each building; a building that holds no pixel centre takes the pixels that it touches."""
    masks = np.zeros((len(grid), grid.size_px, grid.size_px), dtype=bool)
    scale = Affine.scale(grid.gsd_m, -grid.gsd_m)
    with rasterio.Env():  # one environment for all: setting one up costs more than drawing a footprint
        for row, geometry in enumerate(batch.geometry):
            corner = Affine.translation(grid.x_m[row] - grid.half_m, grid.y_m[row] + grid.half_m)
            for all_touched in (False, True):
                mask = rasterize(
                    [geometry],
                    out_shape=masks.shape[1:],
                    transform=corner @ scale,
                    dtype=np.uint8,
                    all_touched=all_touched,
                )
                if mask.any():
                    break
            masks[row] = mask > 0
    return masks


def _nearest_date(dates: list[datetime | None], *, latest: bool) -> datetime | None:
    known = [date for date in dates if date is not None]
    return None if not known else max(known) if latest else min(known)


def _days_between(one: datetime | None, other: datetime | None) -> float:
    return float("inf") if one is None or other is None else abs((one - other).total_seconds()) / 86400


def centres(geometry: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres of bounding boxes: x [N], y [N]."""
    bounds = shapely.bounds(geometry)
    return (bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2
