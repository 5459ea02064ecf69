"""GeoParquet 1.1: WKB in EPSG:4326 with a bounding box a row, written row group by row group.

Looked at and not used: `GeoDataFrame.to_parquet`, which turns the whole table into Arrow at once.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import shapely
from pyarrow import parquet

from damage_ssl.files import atomic_path
from damage_ssl.products.formats import Metadata, ProductWriter
from damage_ssl.products.formats.ogr import checked, parts

_BBOX = ("xmin", "ymin", "xmax", "ymax")


def write_geoparquet(product: gpd.GeoDataFrame, path: Path, *, metadata: Metadata | None = None) -> None:
    """Write all rows in their order; the file's own metadata has `geo` and `damage_ssl` (both JSON).

    Raises:
        InputError: see `checked`. StorageError: the disk is full or not writable.
    """
    table = checked(product, path)
    columns = table.columns.drop(table.geometry.name)
    schema = pa.schema(
        [
            *(pa.field(name, _arrow_type(table[name])) for name in columns),
            pa.field("geometry", pa.binary()),
            pa.field("bbox", pa.struct([pa.field(name, pa.float64()) for name in _BBOX])),
        ],
        metadata={"geo": json.dumps(_geo(table)), "damage_ssl": json.dumps(dict(metadata or {}))},
    )
    with (
        atomic_path(path) as temporary,
        parquet.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for part in parts(table):
            shapes = shapely.force_2d(part.geometry.to_numpy())
            bounds = pa.StructArray.from_arrays([pa.array(side) for side in shapely.bounds(shapes).T], names=_BBOX)
            arrays = [pa.array(part[name], type=schema.field(name).type, from_pandas=True) for name in columns]
            writer.write_table(pa.Table.from_arrays([*arrays, pa.array(shapely.to_wkb(shapes)), bounds], schema=schema))


def _arrow_type(column: pd.Series) -> pa.DataType:
    if column.dtype == object:
        return pa.string()
    return pa.array(column.iloc[:0], from_pandas=True).type


def _geo(table: gpd.GeoDataFrame) -> dict[str, Any]:
    """The member `geo` of the GeoParquet specification, 1.1.0."""
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": sorted(table.geometry.geom_type.unique()),
        "crs": table.crs.to_json_dict(),
        "covering": {"bbox": {name: ["bbox", name] for name in _BBOX}},
    }
    if len(table):
        column["bbox"] = [float(bound) for bound in table.total_bounds]
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


FORMATS: Mapping[str, ProductWriter] = {".parquet": write_geoparquet}
