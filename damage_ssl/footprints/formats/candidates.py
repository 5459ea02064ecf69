"""What a reader collects while a file streams past: only the features that may belong to the event."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyproj
import shapely
from numpy.typing import NDArray

from damage_ssl.errors import InputError
from damage_ssl.footprints.region import Region

# What a column may be called in the files of the common providers, the more telling name first; case does not matter.
NAMES: Mapping[str, tuple[str, ...]] = {
    "building_id": ("building_id",),
    "id": ("id",),
    "uid": ("uid",),
    "plus_code": ("full_plus_code", "plus_code"),
    "osm_id": ("osm_id",),
    "osm_way_id": ("osm_way_id",),
    "confidence": ("confidence",),
    "area_m2": ("area_in_meters", "area_m2"),
    "width_m": ("width_m", "width"),
    "latitude": ("latitude", "lat", "y"),
    "longitude": ("longitude", "lon", "lng", "long", "x"),
    "west": ("xmin", "minx", "min_x", "west", "left"),
    "south": ("ymin", "miny", "min_y", "south", "bottom"),
    "east": ("xmax", "maxx", "max_x", "east", "right"),
    "north": ("ymax", "maxy", "max_y", "north", "top"),
    "geometry": ("geometry", "wkt", "geom", "the_geom", "wkb_geometry", "wkb"),
    "sources": ("sources",),
    "bbox": ("bbox",),
}
ID_NAMES = ("building_id", "id", "uid", "plus_code", "osm_id", "osm_way_id")
FEATURE_NAMES = (*ID_NAMES, "confidence", "area_m2", "width_m")
_DBF_NAME = 10
BOX_NAMES = ("west", "south", "east", "north")


def find_columns(available: "list[str]", wanted: tuple[str, ...] = tuple(NAMES)) -> dict[str, str]:
    """The file's own name of each wanted column that it has; a Shapefile keeps only ten characters of a name."""
    by_lower = {name.strip().lower(): name for name in reversed(available)}
    found = {}
    for key in wanted:
        cut = (name[:_DBF_NAME] for name in NAMES[key] if len(name) > _DBF_NAME)
        name = next((name for name in (*NAMES[key], *cut) if name in by_lower), None)
        if name is not None:
            found[key] = by_lower[name]
    return found


@dataclass
class FootprintCandidates:
    """The features of one file that may belong to the region, and the count of all that were seen.

    `features` is None where the whole file was not counted; `closed` counts polygons whose rings did not close and were
    closed; `extent` is that of all features, as far as it is known.
    """

    path: Path
    region: Region | None
    min_confidence: float | None = None
    format: str = ""
    features: int | None = 0
    below_confidence: int = 0
    outside: int = 0
    closed: int = 0
    extent: tuple[float, float, float, float] | None = None
    _parts: list[gpd.GeoDataFrame] = field(default_factory=list)
    _corners: NDArray[np.float64] = field(default_factory=lambda: np.array([np.inf, np.inf, -np.inf, -np.inf]))

    def saw(self, count: int) -> None:
        """Count features of the file, whether or not they are added."""
        if self.features is not None:
            self.features += count

    def saw_at(self, bounds: NDArray[np.float64]) -> None:
        """Widen the extent by boxes [N, 4], whether or not they are added."""
        known = bounds[np.isfinite(bounds).all(axis=1)]
        if len(known):
            self._corners[:2] = np.minimum(self._corners[:2], known[:, :2].min(axis=0))
            self._corners[2:] = np.maximum(self._corners[2:], known[:, 2:].max(axis=0))
            west, south, east, north = (float(value) for value in self._corners)
            self.extent = west, south, east, north

    def add(self, geometry: NDArray[np.object_], columns: Mapping[str, Any], rows: NDArray[np.int64]) -> None:
        """Keep those of a batch that may lie in the region and are confident enough.

        Args:
            geometry: shapely geometries in EPSG:4326; None where there is none.
            columns: values a feature, by the keys of `NAMES`, `geometry_kind` and `dataset`.
            rows: the place of each in the file, from 1.
        """
        bounds = shapely.bounds(geometry)
        self.saw_at(bounds)
        confidence = _confidence(columns.get("confidence"), len(geometry))
        inside = np.ones(len(geometry), dtype=bool) if self.region is None else self.region.may_hold(bounds)
        self.outside += int(np.count_nonzero(~inside))
        if self.min_confidence is not None:
            below = inside & (confidence < self.min_confidence)
            self.below_confidence += int(np.count_nonzero(below))
            inside &= ~below
        if not inside.any():
            return
        values = {
            name: np.asarray(value, dtype=object)[inside] for name, value in columns.items() if name != "confidence"
        }
        table = pd.DataFrame({**values, "confidence": confidence[inside], "row": rows[inside]})
        self._parts.append(gpd.GeoDataFrame(table, geometry=geometry[inside], crs="EPSG:4326"))

    def frame(self) -> gpd.GeoDataFrame:
        """All that was kept, in the order of the file."""
        if not self._parts:
            return gpd.GeoDataFrame({"row": np.zeros(0, dtype=np.int64)}, geometry=[], crs="EPSG:4326")
        table = gpd.GeoDataFrame(pd.concat(self._parts, ignore_index=True), geometry="geometry", crs="EPSG:4326")
        return _with_ids(_with_sizes(table))


def values_of(column: pa.Array) -> NDArray[Any]:
    """A column's values; whole numbers stay whole also where some are missing (as floats, long ids would collide)."""
    if pa.types.is_integer(column.type) and column.null_count:
        return np.asarray(column.to_pandas(integer_object_nulls=True), dtype=object)
    return np.asarray(column.to_numpy(zero_copy_only=False))


def number_or_nan(values: Any) -> NDArray[np.float64]:
    """Numbers of a column, NaN where there is none."""
    return np.asarray(pd.to_numeric(pd.Series(values), errors="coerce"), dtype=np.float64)


def decode_wkb(wkb: Any, into: FootprintCandidates, rows: NDArray[np.int64]) -> NDArray[np.object_]:
    """Geometries of WKB values; rings that do not close are closed and counted.

    Raises:
        InputError: a value is not WKB; the message gives its row.
    """
    return _decoded(shapely.from_wkb, np.asarray(wkb, dtype=object), into, rows, "WKB")


def decode_wkt(wkt: Any, into: FootprintCandidates, rows: NDArray[np.int64]) -> NDArray[np.object_]:
    """Geometries of WKT values; an empty text is no geometry; rings that do not close are closed and counted.

    Raises:
        InputError: a value is not WKT; the message gives its row.
    """
    texts = np.array([None if text is None or not text.strip() else text for text in wkt], dtype=object)
    return _decoded(shapely.from_wkt, texts, into, rows, "WKT")


def to_lon_lat(geometry: NDArray[np.object_], crs: pyproj.CRS) -> NDArray[np.object_]:
    """Geometries of any CRS in EPSG:4326."""
    return gpd.GeoSeries(geometry, crs=crs).to_crs("EPSG:4326").to_numpy()  # type: ignore[no-any-return]


def _decoded(
    decode: Any, values: NDArray[np.object_], into: FootprintCandidates, rows: NDArray[np.int64], what: str
) -> NDArray[np.object_]:
    try:
        return np.asarray(decode(values), dtype=object)
    except (shapely.errors.ShapelyError, TypeError, UnicodeError):
        out = np.empty(len(values), dtype=object)
        for number, (value, row) in enumerate(zip(values, rows, strict=True)):
            try:
                out[number] = decode(value)
            except (shapely.errors.ShapelyError, TypeError, UnicodeError) as error:
                if "ParseException" in str(error) or not isinstance(error, shapely.errors.ShapelyError):
                    reason = re.sub(r"\s+", " ", str(error))
                    raise InputError(
                        f"{into.path}, row {row:,}: its geometry is not valid {what} ({reason}); found "
                        f"{str(value)[:60]!r}; mend or remove the row"
                    ) from error
                out[number] = decode(value, on_invalid="fix")  # None where closing its rings does not help
                into.closed += out[number] is not None
        return out


def _confidence(values: Any, count: int) -> NDArray[np.float64]:
    """0 to 1; NaN where unknown, as Microsoft's −1 says."""
    if values is None:
        return np.full(count, np.nan)
    numbers = number_or_nan(values)
    return np.where((numbers >= 0) & (numbers <= 1), numbers, np.nan)


def _with_sizes(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """`size_m`, the side of a square for a point, from the area or the width that the file gives."""
    sizes = np.full(len(table), np.nan)
    if "width_m" in table:
        sizes = number_or_nan(table["width_m"])
    if "area_m2" in table:
        area = number_or_nan(table["area_m2"])
        sizes = np.where(area > 0, np.sqrt(np.maximum(area, 0)), sizes)
    return table.assign(size_m=sizes).drop(columns=["width_m", "area_m2"], errors="ignore")


def _with_ids(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Ids of OpenStreetMap and plus codes as `id`, where the file has none of its own."""
    out = table
    if "id" not in out and {"osm_id", "osm_way_id"} <= set(out.columns):
        relation, way = out["osm_id"], out["osm_way_id"]
        out = out.assign(id=np.where(relation.notna(), "relation/" + relation.astype(str), "way/" + way.astype(str)))
    elif "id" not in out and "osm_id" in out:
        out = out.assign(id=out["osm_id"])
    elif "id" not in out and "plus_code" in out:
        out = out.assign(id=out["plus_code"])
    return out.drop(columns=["osm_id", "osm_way_id", "plus_code"], errors="ignore")
