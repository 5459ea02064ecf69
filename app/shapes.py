"""The footprints of a large event as they lie in the file: bytes that are made into geometry when they are asked for.

300,000 polygons take a second to be made into geometry and some hundred megabytes to be held so; as bytes they take a
tenth, and their boxes are read from the bytes at once.
"""

import json
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import ArrayLike, NDArray

from damage_ssl.event.catalog import Event

COLUMNS = ("building_id", "area_m2", "confidence")
_HEADER = 13
"""Bytes of a WKB polygon of one ring before its first point: byte order, type, number of rings, number of points."""


class Shapes:
    """Geometries [N] (EPSG:4326) as WKB."""

    def __init__(self, wkb: pa.LargeBinaryArray) -> None:
        """`wkb` is one array without gaps (not sliced), none of it missing."""
        self._wkb = wkb

    @classmethod
    def of(cls, geometries: Sequence[shapely.Geometry] | NDArray[np.object_]) -> "Shapes":
        """Of geometries that there are already."""
        return cls(pa.array(list(shapely.to_wkb(np.asarray(geometries, dtype=object))), pa.large_binary()))

    def __len__(self) -> int:
        return len(self._wkb)

    def at(self, rows: ArrayLike) -> NDArray[np.object_]:
        """The geometries of some rows."""
        taken = self._wkb.take(pa.array(np.asarray(rows, dtype=np.int64)))
        return np.asarray(shapely.from_wkb(taken.to_numpy(zero_copy_only=False)), dtype=object)

    @cached_property
    def boxes(self) -> NDArray[np.float64]:
        """West, south, east, north of each [N, 4]."""
        boxes = np.empty((len(self), 4))
        simple, points, starts = self._rings()
        if len(starts):
            boxes[simple, :2] = np.minimum.reduceat(points, starts)
            boxes[simple, 2:] = np.maximum.reduceat(points, starts)
        rest = np.flatnonzero(~simple)
        if len(rest):
            boxes[rest] = shapely.bounds(self.at(rest))
        return boxes

    @property
    def middles(self) -> NDArray[np.float64]:
        """Longitude and latitude of the middle of each box [N, 2]."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    def _rings(self) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.intp]]:
        """Which geometries are a polygon of one ring in two dimensions; the points of these, and where each begins."""
        _, offset_buffer, data_buffer = self._wkb.buffers()
        if not len(self):
            return np.zeros(0, dtype=bool), np.zeros((0, 2)), np.zeros(0, dtype=np.intp)
        offsets = np.frombuffer(offset_buffer, dtype=np.int64)[: len(self) + 1]
        data = np.frombuffer(data_buffer, dtype=np.uint8)
        sizes = np.diff(offsets)
        long_enough = sizes >= _HEADER
        at_header = np.where(long_enough, offsets[:-1], 0)[:, None] + np.arange(_HEADER)
        header = data[np.minimum(at_header, len(data) - 1)]
        of_type, rings, count = np.ascontiguousarray(header[:, 1:]).view("<u4").T.astype(np.int64)
        simple = long_enough & (header[:, 0] == 1) & (of_type == 3) & (rings == 1) & (count > 0)
        simple &= sizes == _HEADER + 16 * count
        keep = np.repeat(simple, sizes)
        keep[at_header[simple].ravel() - offsets[0]] = False
        points = np.ascontiguousarray(data[offsets[0] : offsets[-1]][keep]).view("<f8").reshape(-1, 2)
        return simple, points, np.cumsum(count[simple]) - count[simple]


def read_shapes(event: Event) -> tuple[pd.DataFrame, Shapes]:
    """The footprints of an event, `COLUMNS` as far as it has them, and their geometries; empty before it has some.

    Raises:
        WorkspaceError: the file is broken.
    """
    if not event.has_footprints:
        columns = {"building_id": pd.Series(dtype=object), "area_m2": pd.Series(dtype=float)}
        return pd.DataFrame(columns), Shapes(pa.array([], pa.large_binary()))
    try:
        file = pq.ParquetFile(event.footprints_path)
        geometry = json.loads(file.metadata.metadata[b"geo"])["columns"]["geometry"]
        names = [name for name in COLUMNS if name in file.schema_arrow.names]
        table = file.read([*names, "geometry"])
        if geometry["encoding"] != "WKB" or table["geometry"].null_count:
            raise ValueError("other footprints than this program writes")
    except (OSError, ValueError, KeyError, TypeError):
        return _by_geopandas(event)
    wkb = table["geometry"].cast(pa.large_binary()).combine_chunks()
    return table.select(names).to_pandas(), Shapes(wkb)


def _by_geopandas(event: Event) -> tuple[pd.DataFrame, Shapes]:
    footprints = event.footprints().reset_index(drop=True)
    known = pd.DataFrame(footprints[[name for name in COLUMNS if name in footprints]])
    return known, Shapes.of(footprints.geometry.to_numpy())
