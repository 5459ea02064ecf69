"""Imagery as the other stages see it: scenes, how they are inspected, and their pixels by chunk.

Behind this face: `hrefs` (names), `raster` (opening, trying again), `bands` (colours and masks), `scene`, `reading`
(chunks), `overviews` and `inspection`.
"""

from damage_ssl.event.bands import rgb_indexes
from damage_ssl.event.hrefs import gdal_path, raster_stem, shown_href
from damage_ssl.event.inspection import WGS84, inspect_scene, measure_stretch, side_by_side
from damage_ssl.event.raster import GDAL_CACHE_BYTES, close_rasters, from_raster, gdal_environment, open_raster
from damage_ssl.event.reading import Chunk, Window, read_chunk, read_chunks
from damage_ssl.event.scene import Overview, Role, Scene, Stretch

__all__ = [
    "GDAL_CACHE_BYTES",
    "WGS84",
    "Chunk",
    "Overview",
    "Role",
    "Scene",
    "Stretch",
    "Window",
    "close_rasters",
    "from_raster",
    "gdal_environment",
    "gdal_path",
    "inspect_scene",
    "measure_stretch",
    "open_raster",
    "raster_stem",
    "read_chunk",
    "read_chunks",
    "rgb_indexes",
    "shown_href",
    "side_by_side",
]
