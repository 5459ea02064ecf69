"""FlatGeobuf: one binary file with a spatial index, which web maps read by parts over HTTP."""

from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd

from damage_ssl.files import atomic_path
from damage_ssl.products.formats import Metadata, ProductWriter
from damage_ssl.products.formats.ogr import checked, write_layer


def write_flatgeobuf(product: gpd.GeoDataFrame, path: Path, *, metadata: Metadata | None = None) -> None:
    """Write the layer `buildings` with its index; features then lie in the order of the index, not of the table.

    Raises:
        InputError: see `checked`. StorageError: the disk is full or not writable.
    """
    said = {name: str(value) for name, value in (metadata or {}).items() if value is not None}
    table = checked(product, path)
    with atomic_path(path) as temporary:
        write_layer(table, temporary, "FlatGeobuf", layer_metadata=said or None)


FORMATS: Mapping[str, ProductWriter] = {".fgb": write_flatgeobuf}
