"""The footprints of a large event as they lie in the file: bytes that are made into geometry when they are asked for.

300,000 polygons take a second to be made into geometry and some hundred megabytes to be held so; as bytes they take a
tenth, and their boxes are read from the bytes at once.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import ArrayLike, NDArray

from damage_ssl.footprints.footprint_set import read_footprints_file

COLUMNS = ("building_id", "area_m2", "confidence")
_HEADER = 13
"""Bytes of a WKB polygon of one ring before its first point: byte order, type, number of rings, number of points."""
_POINT = 16
"""Bytes of a point."""
_AT_ONCE = 8192


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
        rest = np.ones(len(self), dtype=bool)
        for rows, points in self._rings():
            low, high = points[:, 0].copy(), points[:, 0].copy()
            for point in points.transpose(1, 0, 2)[1:]:  # a third of the time of `min` along so short an axis
                np.minimum(low, point, out=low)
                np.maximum(high, point, out=high)
            boxes[rows, :2], boxes[rows, 2:] = low, high
            rest[rows] = False
        if rest.any():
            boxes[rest] = shapely.bounds(self.at(np.flatnonzero(rest)))
        return boxes

    @property
    def middles(self) -> NDArray[np.float64]:
        """Longitude and latitude of the middle of each box [N, 2]."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    def _rings(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
        """The geometries that are a polygon of one ring in two dimensions, thousands of equally many points at a time:
        their rows [n] and points [n, P, 2]."""
        if not len(self):
            return
        _, offset_buffer, data_buffer = self._wkb.buffers()
        offsets = np.frombuffer(offset_buffer, dtype=np.int64)[: len(self) + 1]
        data = np.frombuffer(data_buffer, dtype=np.uint8)
        sizes = np.diff(offsets)
        long_enough = np.flatnonzero(sizes >= _HEADER)
        header = _slices(data, offsets[long_enough], _HEADER)
        of_type, rings, count = np.ascontiguousarray(header[:, 1:]).view("<u4").T.astype(np.int64)
        simple = (header[:, 0] == 1) & (of_type == 3) & (rings == 1) & (count > 0)
        simple &= sizes[long_enough] == _HEADER + _POINT * count
        rows, count = long_enough[simple], count[simple]
        for each in np.unique(count).tolist():
            alike = rows[count == each]
            for part in np.array_split(alike, len(alike) // _AT_ONCE + 1):
                points = _slices(data, offsets[part] + _HEADER, _POINT * each)
                yield part, points.view("<f8").reshape(len(part), each, 2)


def _slices(data: NDArray[np.uint8], starts: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """`size` bytes from each start [n, size], copied whole instead of byte by byte."""
    if not len(starts):
        return np.empty((0, size), dtype=np.uint8)
    whole: NDArray[np.void] = np.ndarray((len(data) - size + 1,), dtype=f"V{size}", buffer=data, strides=(1,))
    return whole[starts].view(np.uint8).reshape(len(starts), size)


def read_shapes(path: Path) -> tuple[pd.DataFrame, Shapes]:
    """The footprints in a file, `COLUMNS` as far as it has them, and their geometries; empty where there is none yet.

    Raises:
        WorkspaceError: the file is broken.
    """
    if not path.is_file():
        columns = {"building_id": pd.Series(dtype=object), "area_m2": pd.Series(dtype=float)}
        return pd.DataFrame(columns), Shapes(pa.array([], pa.large_binary()))
    try:
        file = pq.ParquetFile(path)
        geometry = json.loads(file.metadata.metadata[b"geo"])["columns"]["geometry"]
        names = [name for name in COLUMNS if name in file.schema_arrow.names]
        table = file.read([*names, "geometry"])
        if geometry["encoding"] != "WKB" or table["geometry"].null_count:
            raise ValueError("other footprints than this program writes")
    except (OSError, ValueError, KeyError, TypeError):
        return _by_geopandas(path)
    wkb = table["geometry"].cast(pa.large_binary()).combine_chunks()
    return table.select(names).to_pandas(), Shapes(wkb)


def _by_geopandas(path: Path) -> tuple[pd.DataFrame, Shapes]:
    footprints = read_footprints_file(path).reset_index(drop=True)
    known = pd.DataFrame(footprints[[name for name in COLUMNS if name in footprints]])
    return known, Shapes.of(footprints.geometry.to_numpy())
