"""PMTiles: vector tiles in one file, for web maps without a server. GDAL makes them; tippecanoe is no package."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd

from damage_ssl.files import atomic_path
from damage_ssl.products.formats import Metadata, ProductWriter
from damage_ssl.products.formats.ogr import checked, write_layer

FIELDS = ("building_id", "damage_class", "damaged", "p_damaged", "assessed", "not_assessed_reason", "label_source")
"""What a tile carries of a building: a web map needs no more."""

MIN_ZOOM, MAX_ZOOM = 8, 14


def write_pmtiles(product: gpd.GeoDataFrame, path: Path, *, metadata: Metadata | None = None) -> None:
    """Write the layer `buildings` as tiles of zoom 8 to 14 (viewers enlarge the last); about 1.5 s a thousand.

    Raises:
        InputError: see `checked`. StorageError: the disk is full or not writable.
    """
    table = checked(product, path)
    table = table[[*(name for name in FIELDS if name in table), table.geometry.name]]
    name = str((metadata or {}).get("event") or path.stem)
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At least one tile exceeded", RuntimeWarning)
        write_layer(table, temporary, "PMTiles", counted=False, MINZOOM=MIN_ZOOM, MAXZOOM=MAX_ZOOM, NAME=name)


FORMATS: Mapping[str, ProductWriter] = {".pmtiles": write_pmtiles}
