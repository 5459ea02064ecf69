"""GeoPackage: layers in one SQLite file, each with a default style that QGIS applies by itself (`layer_styles`)."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd

from damage_ssl.errors import StorageError
from damage_ssl.files import atomic_path
from damage_ssl.products.formats import Metadata, ProductWriter
from damage_ssl.products.formats.ogr import LAYER, checked, write_layer
from damage_ssl.products.qgis_style import layer_qml

_STYLES = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT, f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256),
    f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN,
    description TEXT, owner TEXT(30), ui TEXT(30), update_time DATETIME DEFAULT CURRENT_TIMESTAMP);
INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES ('layer_styles', 'attributes', 'layer_styles');
"""
"""The table as QGIS makes it itself."""


def write_geopackage(
    product: gpd.GeoDataFrame,
    path: Path,
    *,
    metadata: Metadata | None = None,
    layers: Mapping[str, gpd.GeoDataFrame] | None = None,
) -> None:
    """Write the layer `buildings`, and `layers` behind it, each with its style.

    Args:
        product: polygons with their properties.
        path: the file, replaced if it is there.
        metadata: goes into the file's own metadata.
        layers: further ones by name, of those in `qgis_style.RENDERERS`; in any CRS, written in EPSG:4326.

    Raises:
        InputError: see `checked`. StorageError: the disk is full or not writable.
    """
    path = Path(path)
    said = {name: str(value) for name, value in (metadata or {}).items() if value is not None}
    with atomic_path(path) as temporary:
        for name, table in {LAYER: product, **(layers or {})}.items():
            known: dict[str, Any] = {"dataset_metadata": said} if name == LAYER and said else {}
            single = _one_kind(checked(table, path))
            write_layer(
                single, temporary, "GPKG", layer=name, by_parts=True, SPATIAL_INDEX="YES", VERSION="1.2", **known
            )
        _add_styles(temporary, [LAYER, *(layers or {})])


def _one_kind(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """All polygons, or all multipolygons where one of them is: a layer has one type of geometry."""
    import shapely

    kinds = table.geom_type.unique()
    if len(kinds) < 2 or set(kinds) != {"Polygon", "MultiPolygon"}:
        return table
    many = [shapely.MultiPolygon([each]) if each.geom_type == "Polygon" else each for each in table.geometry]
    return table.set_geometry(gpd.GeoSeries(many, index=table.index, crs=table.crs))


def _add_styles(path: Path, layers: list[str]) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    try:
        with closing(sqlite3.connect(path)) as database, database:
            database.executescript(_STYLES)
            for layer in layers:
                geometry = database.execute(
                    "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (layer,)
                ).fetchone()[0]
                database.execute(
                    "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, "
                    "styleName, styleQML, styleSLD, useAsDefault, description, owner, update_time) "
                    "VALUES ('', '', ?, ?, ?, ?, '', 1, 'damage_ssl', '', ?)",
                    (layer, geometry, layer, layer_qml(layer), now),
                )
    except sqlite3.OperationalError as error:
        raise StorageError(f"{path}: the styles could not be written ({error}); is the disk full?") from error


FORMATS: Mapping[str, ProductWriter] = {".gpkg": write_geopackage}
