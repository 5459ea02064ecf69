"""Where an event's registration says that its buildings are found in the imagery."""

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from damage_ssl.event.catalog import Event
from damage_ssl.grid import crs_of_epsg, utm_epsg
from damage_ssl.patches.nudges import read_nudges
from damage_ssl.patches.registration import REGISTRATION_COLUMNS
from damage_ssl.patches.registration_cache import read_cached, registration_fingerprint
from damage_ssl.patches.store import PatchStore
from damage_ssl.settings import PatchSettings


@dataclass(frozen=True)
class PlacedFootprints:
    """An event's footprints in EPSG:4326 where they are found in the pre imagery, in the order of their file.

    `shift_m` float64 [N, 2]: how far east and north of there they are found in the post imagery.
    """

    table: gpd.GeoDataFrame
    shift_m: NDArray[np.float64]


def placed_footprints(event: Event) -> PlacedFootprints:
    """Footprints moved by the event's registration; as drawn where it has none, or was changed since it was made.

    Raises:
        WorkspaceError: the event has no footprints.
    """
    table = event.footprints()
    settings = PatchStore.kept_settings(event.patches_path) or PatchSettings()
    scenes = event.scenes("pre") + event.scenes("post")
    fingerprint = registration_fingerprint(table, scenes, settings, read_nudges(event))
    found = read_cached(event.path / "registration.parquet", fingerprint, REGISTRATION_COLUMNS)
    if found is None:
        return PlacedFootprints(table, np.zeros((len(table), 2)))
    shift_m = found[["shift_x_m", "shift_y_m"]].to_numpy(dtype=np.float64)
    return PlacedFootprints(
        moved(table, found[["footprint_shift_x_m", "footprint_shift_y_m"]].to_numpy(dtype=np.float64)), shift_m
    )


def moved(table: gpd.GeoDataFrame, shift_m: NDArray[np.float64]) -> gpd.GeoDataFrame:
    """Footprints (EPSG:4326) each moved by metres east and north [N, 2] of the UTM zone of their middle."""
    middle = shapely.box(*table.total_bounds).centroid
    projected = table.geometry.to_crs(crs_of_epsg(utm_epsg(middle.x, middle.y)))
    points, owner = shapely.get_coordinates(projected.to_numpy(), return_index=True)
    geometry = shapely.set_coordinates(projected.to_numpy().copy(), points + shift_m[owner])
    return table.set_geometry(gpd.GeoSeries(geometry, index=table.index, crs=projected.crs).to_crs(table.crs))
