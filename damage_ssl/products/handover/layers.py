"""The layers beside the buildings: those not assessed, counts by 500 m and by unit, the area of interest, shifts."""

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from damage_ssl.damage_scale import reason_words
from damage_ssl.grid import crs_of_epsg, utm_epsg

if TYPE_CHECKING:
    from damage_ssl.products.handover.facts import HandoverFacts

GRID_M = 500.0
ARROWS_M = 50.0
"""One arrow a cell of this side: the median of its buildings, as neighbours are moved alike."""

_LEAST_SHIFT_M = 0.1


def pack_layers(facts: "HandoverFacts", chosen: gpd.GeoDataFrame) -> dict[str, gpd.GeoDataFrame]:
    """Every layer that has a feature, by name; the bottom one last.

    Args:
        facts: the hand-over: units, their totals, the area of interest.
        chosen: the buildings that the filter shows, EPSG:4326.
    """
    place = _places(chosen)
    changes = [] if facts.changes is None else facts.changes.table
    found = {
        "changes": changes,
        "not_assessed": not_assessed(chosen),
        "shift_arrows": shift_arrows(chosen, place),
        "grid": grid(chosen, place),
        "units": units(facts),
        "aoi": gpd.GeoDataFrame({"name": [facts.event_name]}, geometry=[facts.aoi], crs=4326).dropna(),
    }
    return {name: layer for name, layer in found.items() if len(layer)}


def not_assessed(chosen: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The buildings that could not be judged, with the reason as code and in words."""
    left = chosen.loc[~chosen["assessed"].to_numpy(bool), ["building_id", "not_assessed_reason", "geometry"]]
    return left.assign(
        reason_in_words=[reason_words(code if isinstance(code, str) else None) for code in left.iloc[:, 1]]
    )


def grid(chosen: gpd.GeoDataFrame, place: gpd.GeoSeries) -> gpd.GeoDataFrame:
    """Counts by cell of 500 m in UTM: a building counts where its inner point lies. Counts of the map, no estimates."""
    cell = np.floor(_xy(place) / GRID_M).astype(np.int64)
    table = pd.DataFrame(
        {
            "column": cell[:, 0],
            "row": cell[:, 1],
            "buildings": 1,
            "assessed": chosen["assessed"].to_numpy(bool),
            "damaged": chosen["damaged"].eq(True).fillna(False).to_numpy(bool),
        }
    )
    counts = table.groupby(["column", "row"], sort=True, as_index=False).sum().astype(np.int64)
    counts["not_assessed"] = counts["buildings"] - counts["assessed"]
    counts["damaged_share"] = (counts["damaged"] / counts["assessed"].where(counts["assessed"] > 0)).round(4)
    left, bottom = counts.pop("column") * GRID_M, counts.pop("row") * GRID_M
    squares = shapely.box(left, bottom, left + GRID_M, bottom + GRID_M)
    return gpd.GeoDataFrame(counts, geometry=squares, crs=place.crs).to_crs(4326)


def units(facts: "HandoverFacts") -> gpd.GeoDataFrame:
    """The units with their totals; without rows where none were given."""
    if facts.units is None or not len(facts.units):
        return gpd.GeoDataFrame({"unit_id": []}, geometry=[], crs=4326)
    areas = facts.units[["unit_id", "name", "geometry"]].to_crs(4326)
    totals = totals_table(facts)
    return areas.merge(totals[totals["level"] == "unit"].drop(columns=["level", "name"]), on="unit_id", how="left")


def totals_table(facts: "HandoverFacts") -> pd.DataFrame:
    """Event, grades and units, a row each: counts with their bounds, shares, method and answers."""
    levels = (("event", (facts.totals.total,)), ("grade", facts.totals.grades), ("unit", facts.totals.units))
    rows = [{"level": level, **_shares_named(total.to_json())} for level, totals in levels for total in totals]
    table = pd.DataFrame(rows)
    whole = ("assessed", "not_assessed", "damaged", "damaged_low", "damaged_high", "model_count", "answers")
    return table.astype({name: "Int64" for name in whole if name in table})


def _shares_named(values: dict[str, object]) -> dict[str, object]:
    return {
        name.replace("share", "damaged_share") if name.startswith("share") else name: value
        for name, value in values.items()
    }


def shift_arrows(chosen: gpd.GeoDataFrame, place: gpd.GeoSeries) -> gpd.GeoDataFrame:
    """How far the after image is shifted against the before image, at real length; only where it is 10 cm or more."""
    shift = np.column_stack([pd.to_numeric(_column(chosen, name)).astype(float) for name in ("shift_x_m", "shift_y_m")])
    known = np.isfinite(shift).all(axis=1)
    at = _xy(place)[known]
    cell = np.floor(at / ARROWS_M).astype(np.int64)
    table = pd.DataFrame(
        np.hstack([cell, at, shift[known]]), columns=["column", "row", "x", "y", "shift_x_m", "shift_y_m"]
    )
    mean = table.groupby(["column", "row"], sort=True)[["x", "y", "shift_x_m", "shift_y_m"]].median()
    mean = mean[np.hypot(mean["shift_x_m"], mean["shift_y_m"]) >= _LEAST_SHIFT_M].reset_index(drop=True)
    start = mean[["x", "y"]].to_numpy(float)
    ends = start + mean[["shift_x_m", "shift_y_m"]].to_numpy(float)
    lines = shapely.linestrings(np.stack([start, ends], axis=1))
    columns = {
        "shift_x_m": mean["shift_x_m"].round(3),
        "shift_y_m": mean["shift_y_m"].round(3),
        "shift_m": np.hypot(mean["shift_x_m"], mean["shift_y_m"]).round(3),
    }
    return gpd.GeoDataFrame(columns, geometry=lines, crs=place.crs).to_crs(4326)


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    return table[name] if name in table else pd.Series(np.nan, index=table.index)


def _places(chosen: gpd.GeoDataFrame) -> gpd.GeoSeries:
    """A point in every building, in the UTM zone of the first one."""
    points = gpd.GeoSeries(shapely.point_on_surface(chosen.geometry.to_numpy()), crs=4326)
    return points.to_crs(crs_of_epsg(utm_epsg(points.iloc[0].x, points.iloc[0].y)))


def _xy(place: gpd.GeoSeries) -> NDArray[np.float64]:
    return shapely.get_coordinates(place.to_numpy())
