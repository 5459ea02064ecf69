"""CSV in UTF-8: the header, a row of HXL hashtags, then a row a building. The place is in `lon` and `lat`."""

import csv
from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd
import pandas as pd

from damage_ssl.files import atomic_path
from damage_ssl.products.formats import Metadata, ProductWriter
from damage_ssl.products.formats.hxl import as_text, hxl_tag
from damage_ssl.products.formats.ogr import parts
from damage_ssl.spreadsheet import inert


def write_csv(product: pd.DataFrame, path: Path, *, metadata: Metadata | None = None) -> None:
    """Write all columns but the geometry. Unknown is empty, booleans are `true` and `false`, text starts no formula.

    Raises:
        StorageError: the disk is full or not writable.
    """
    with atomic_path(Path(path)) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = without_geometry(product)
        csv.writer(file, lineterminator="\n").writerows(
            [[inert(str(name)) for name in table], [hxl_tag(str(name)) for name in table]]
        )
        for part in parts(table):
            shown = pd.DataFrame({name: _words(as_text(part[name])) for name in part.columns})
            shown.to_csv(file, header=False, index=False, lineterminator="\n")


def without_geometry(product: pd.DataFrame) -> pd.DataFrame:
    """The columns that a table without geometry has."""
    if not isinstance(product, gpd.GeoDataFrame):
        return product
    return pd.DataFrame(product.drop(columns=product.geometry.name))


def _words(column: pd.Series) -> pd.Series:
    return column.map({True: "true", False: "false"}) if pd.api.types.is_bool_dtype(column.dtype) else column


FORMATS: Mapping[str, ProductWriter] = {".csv": write_csv}
