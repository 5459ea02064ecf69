"""Several sources of footprints made one: a building that two of them drew is taken from the preferred one."""

import dataclasses
from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from damage_ssl.errors import InputError
from damage_ssl.footprints.footprint_set import FootprintSet, SourceReport

_PAIRS_AT_ONCE = 200_000


def merge_footprints(sets: Sequence[FootprintSet], *, duplicate_share: float = 0.5) -> FootprintSet:
    """Merge sets of footprints, the preferred one first.

    A footprint is a duplicate, and left out, where it shares at least `duplicate_share` of the smaller one's area with
    one of an earlier set. `left_out` says of which, and with what share; of several, the one it shares most with.
    Within a set nothing is compared. An id that is taken already gets the set's name before it. The result does not
    depend on anything but the sets and their order.

    Raises:
        InputError: no sets were given.
    """
    if not sets:
        raise InputError("footprints: there is nothing to merge")
    table = sets[0].table
    left_out = [sets[0].left_out]
    reports = list(sets[0].sources)
    for later in sets[1:]:
        added, dropped = _added(table, later.table, duplicate_share)
        name = later.sources[0].source.split(".")[0] if later.sources else "other"
        added = _with_free_ids(added, set(table["building_id"]), name)
        table = gpd.GeoDataFrame(pd.concat([table, added], ignore_index=True), geometry="geometry", crs="EPSG:4326")
        left_out += [later.left_out, dropped]
        reports += _recounted(later, added, dropped)
    there = [part for part in left_out if len(part)]
    return FootprintSet(
        table,
        sets[0].id_column,
        sum(each.repaired for each in sets),
        sum(each.outside_aoi for each in sets),
        pd.concat(there, ignore_index=True) if there else left_out[0],
        tuple(reports),
    )


def _added(
    kept: gpd.GeoDataFrame, later: gpd.GeoDataFrame, duplicate_share: float
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Those of `later` that are new, and the rows of `left_out` for the others."""
    partner, share = _best_partners(kept.geometry.to_numpy(), later.geometry.to_numpy(), duplicate_share)
    duplicate = partner >= 0
    dropped = pd.DataFrame(
        {
            "source": later["source"].to_numpy()[duplicate],
            "source_id": later["source_id"].to_numpy()[duplicate],
            "reason": "duplicate",
            "duplicate_of": kept["building_id"].to_numpy()[partner[duplicate]],
            "overlap": share[duplicate],
        }
    )
    return later[~duplicate].reset_index(drop=True), dropped


def _best_partners(
    kept: NDArray[np.object_], later: NDArray[np.object_], duplicate_share: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each of `later`, the row of `kept` that it is a duplicate of (−1: none), and the share of the smaller one."""
    partner, best = np.full(len(later), -1, dtype=np.int64), np.zeros(len(later))
    if not len(kept) or not len(later):
        return partner, best
    # Both areas are in square degrees of the same place, so that their ratio is that of square metres.
    kept_area, later_area = shapely.area(kept), shapely.area(later)
    new, old = shapely.STRtree(kept).query(later, predicate="intersects")
    share = np.empty(len(new))
    for start in range(0, len(new), _PAIRS_AT_ONCE):
        rows = slice(start, start + _PAIRS_AT_ONCE)
        common = shapely.area(shapely.intersection(later[new[rows]], kept[old[rows]]))
        share[rows] = common / np.minimum(later_area[new[rows]], kept_area[old[rows]])
    enough = share >= duplicate_share
    new, old, share = new[enough], old[enough], share[enough]
    order = np.lexsort((old, -share, new))  # ties go to the footprint that comes first
    first = np.unique(new[order], return_index=True)[1]
    chosen = order[first]
    partner[new[chosen]], best[new[chosen]] = old[chosen], share[chosen]
    return partner, best


def _with_free_ids(added: gpd.GeoDataFrame, taken: set[str], name: str) -> gpd.GeoDataFrame:
    ids = []
    own = set(added["building_id"])
    for building_id in added["building_id"]:
        free = building_id
        while free in taken or (free != building_id and free in own):
            free = f"{name}:{free}"
        ids.append(free)
    return added.assign(building_id=ids)


def _recounted(found: FootprintSet, added: gpd.GeoDataFrame, dropped: pd.DataFrame) -> list[SourceReport]:
    if len(found.sources) != 1:
        return list(found.sources)
    (report,) = found.sources
    left_out = report.left_out | ({"duplicate": len(dropped)} if len(dropped) else {})
    kinds = {str(kind): int(count) for kind, count in added["geometry_kind"].value_counts().items()}
    return [dataclasses.replace(report, left_out=left_out, kept=len(added), kinds=kinds)]
