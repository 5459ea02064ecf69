"""What the formats that GDAL writes have in common: the check of a product, writing it by parts, counting it after."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd

from damage_ssl.errors import InputError, StorageError

LAYER = "buildings"
"""The one layer of every file: all buildings of the product, assessed or not."""

CHUNK = 20_000
"""Buildings that are converted at a time: memory does not grow with the event."""


def checked(product: gpd.GeoDataFrame, path: Path) -> gpd.GeoDataFrame:
    """The product in EPSG:4326, if it can be written to `path` at all.

    Raises:
        InputError: a folder, no CRS, or a feature without geometry.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of the file to write")
    if product.crs is None:
        raise InputError(f"{path}: the features have no CRS; set the one that they are in")
    missing = product.geometry.isna() | product.geometry.is_empty
    if missing.any():
        raise InputError(f"{path}: {int(missing.sum())} features have no geometry; leave them out or repair them")
    return product.to_crs(4326)


def parts(product: gpd.GeoDataFrame, size: int = CHUNK) -> Iterator[gpd.GeoDataFrame]:
    """The rows in their order, `size` at a time; one part without rows where there are none."""
    for start in range(0, max(len(product), 1), size):
        yield product.iloc[start : start + size]


def write_layer(
    table: gpd.GeoDataFrame,
    path: Path,
    driver: str,
    *,
    layer: str = LAYER,
    by_parts: bool = False,
    counted: bool = True,
    **options: Any,
) -> None:
    """Write a layer by GDAL to a file that its caller makes atomic, and count what lies there after.

    Args:
        table: features in EPSG:4326.
        path: the file.
        driver: GDAL's name of the format.
        layer: the layer; others of the file stay where the format has several.
        by_parts: append part after part, for formats that can.
        counted: False where a format holds no feature just once.
        options: of the driver.

    Raises:
        StorageError: the disk is full. InputError: GDAL cannot write this.
    """
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

    from damage_ssl.footprints.formats.drivers import pyogrio

    known = {"layer": layer, "driver": driver, **options}
    with gdal_errors(path, DataLayerError, DataSourceError, FeatureError, of_the_table=(FieldError, GeometryError)):
        for number, part in enumerate(parts(table, CHUNK if by_parts else max(len(table), 1))):
            pyogrio.write_dataframe(part, path, append=number > 0, use_arrow=by_parts, **known)
        written = pyogrio.read_info(path, layer=layer, force_feature_count=True)["features"] if counted else len(table)
    if written != len(table):
        raise StorageError(f"{path}: only {written:,} of {len(table):,} features could be written; is the disk full?")


@contextmanager
def gdal_errors(
    path: Path, *of_the_file: type[Exception], of_the_table: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn what GDAL's Python packages raise into a `StorageError`, of what is wrong with a table an `InputError`.

    GDAL seldom says that a disk is full: what it says is what failed because of it.
    """
    try:
        yield
    except of_the_table as error:
        raise InputError(f"{path}: GDAL cannot write this: {error}") from error
    except of_the_file as error:
        raise StorageError(f"{path}: could not be written; is the disk full? (GDAL: {error})") from error
