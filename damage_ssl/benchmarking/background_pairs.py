"""Pairs that show no building: windows between an event's footprints, cut from its imagery as a building's are."""

from functools import partial

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from damage_ssl.errors import WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.grid import crs_of_epsg, utm_epsg
from damage_ssl.mosaic.batches import make_batches
from damage_ssl.mosaic.pair_mosaic import plan_reading
from damage_ssl.patches.pair_cutting import cut_parts, views_of
from damage_ssl.patches.pairs import PairSet, PairViews
from damage_ssl.patches.store import PatchStore

AROUND_M = 150.0
"""How far from a building windows are looked for, along each axis."""
_TRIES = 60
_MEMORY_BYTES = 200_000_000
_SHIFTS = ("footprint_shift_x_m", "footprint_shift_y_m", "shift_x_m", "shift_y_m")


class Windows:
    """Pairs without a building [n], and their centres `where` [n, 2] in the CRS of the event's index, metres."""

    def __init__(self, pairs: PairSet, where: NDArray[np.float64]) -> None:
        self.pairs = pairs
        self.where = where

    def __len__(self) -> int:
        return len(self.pairs)

    def take(self, rows: NDArray[np.intp]) -> "Windows":
        """The windows at these rows."""
        return Windows(self.pairs.take(rows), self.where[rows])


def free_places(
    footprints: NDArray[np.object_], *, wanted: int, size_m: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Centres [n, 2] of squares of `size_m`, n up to `wanted`, in which no part of any footprint lies.

    They are drawn at random within `AROUND_M` of buildings, a quarter of their size apart at least. An event built up
    densely has few, or none.
    """
    tree = shapely.STRtree(footprints)
    bounds = shapely.bounds(footprints)
    centres = (bounds[:, :2] + bounds[:, 2:]) / 2
    near = centres[rng.integers(len(centres), size=wanted * _TRIES)]
    candidates = near + rng.uniform(-AROUND_M, AROUND_M, size=near.shape)
    half = size_m / 2
    squares = shapely.box(*(candidates - half).T, *(candidates + half).T)
    built = np.unique(tree.query(squares, predicate="intersects")[0])
    candidates = np.delete(candidates, built, axis=0)
    kept: list[NDArray[np.float64]] = []
    taken: set[tuple[int, int]] = set()
    for place in candidates:
        cell = (int(place[0] // (size_m / 4)), int(place[1] // (size_m / 4)))
        if cell not in taken and len(kept) < wanted:
            taken.add(cell)
            kept.append(place)
    return np.array(kept).reshape(-1, 2)


def cut_windows(event: Event, store: PatchStore, wanted: int, rng: np.random.Generator) -> Windows | None:
    """Cut up to `wanted` windows, each with the outline of a building drawn at random as its footprint.

    They are cut with the store's settings, moved as the nearest building is, and judged as buildings are (clouds,
    missing pixels). Holds what the footprints file knows: a building that it lacks may be in a window. None where
    there is no room for any.

    Raises:
        WorkspaceError: the event has no imagery any more.
    """
    pre, post = event.scenes("pre"), event.scenes("post")
    if not pre or not post:
        raise WorkspaceError(f"{event.path}: has no imagery of both dates; create the event again")
    settings, index = store.settings, store.index()
    footprints = event.footprints()
    left, bottom, right, top = footprints.total_bounds
    crs = crs_of_epsg(utm_epsg((left + right) / 2, (bottom + top) / 2))
    outlines = footprints.to_crs(crs).geometry.to_numpy()
    size_m = settings.size_px * max(settings.gsd_m, settings.context_gsd_m or 0.0)
    places = free_places(outlines, wanted=wanted, size_m=size_m, rng=rng)
    if not len(places):
        return None
    chosen = outlines[rng.integers(len(outlines), size=len(places))]
    bounds = shapely.bounds(chosen)
    move = places - (bounds[:, :2] + bounds[:, 2:]) / 2
    moved = np.array([shapely.transform(shape, partial(np.add, by)) for shape, by in zip(chosen, move, strict=True)])
    table = gpd.GeoDataFrame(
        {"building_id": [f"no-building-{n}" for n in range(len(moved))], "area_m2": shapely.area(moved)},
        geometry=moved,
        crs=crs,
    ).to_crs("EPSG:4326")
    nearest = cKDTree(index[["x_m", "y_m"]].to_numpy(float)).query(places)[1]
    shift = np.nan_to_num(index[list(_SHIFTS)].to_numpy(float)[nearest])
    numbers, parts = [], []
    views = views_of(settings)
    for batch in make_batches(table, [*pre, *post], size_m):
        own = shift[batch.number]
        batch = batch.with_offsets(own[:, :2], own[:, :2] + own[:, 2:])
        plan = plan_reading(batch, pre, post, list(views.values()), settings)
        nowhere = np.zeros(len(batch), dtype=bool)
        for part in cut_parts(batch, nowhere, plan, settings, memory_bytes=_MEMORY_BYTES):
            good = np.flatnonzero(part.columns["assessed"])
            numbers.append(batch.number[part.rows[good]])
            parts.append([view.take(good) for view in part.pairs])
    number = np.concatenate([*numbers, np.zeros(0, dtype=np.intp)])
    if not len(number):
        return None
    cut = {name: _stacked([part[n] for part in parts]) for n, name in enumerate(views)}
    ids = table["building_id"].to_numpy(str)[number]
    pairs = PairSet(building_id=ids, close=cut["close"], context=cut.get("context"))
    return Windows(pairs, places[number])


def _stacked(parts: list[PairViews]) -> PairViews:
    planes = {
        name: np.concatenate([getattr(each, name) for each in parts]) for name in ("pre", "post", "footprint", "valid")
    }
    return PairViews(**planes, gsd_m=parts[0].gsd_m)
