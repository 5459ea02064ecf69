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
    "globalid": ("globalid", "guid", "uuid"),
    "objectid": ("objectid", "fid", "gid"),
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
ID_NAMES = ("building_id", "id", "uid", "plus_code", "osm_id", "osm_way_id", "globalid", "objectid")
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
    closed; `extent` is that of all features, as far as it is known. `id_column` is the file's column that was asked for
    as the ids; `columns` are all that the file has, as far as that was looked at. `remarks` say what was made of values
    that could mean another thing.
    """

    path: Path
    region: Region | None
    min_confidence: float | None = None
    id_column: str | None = None
    columns: tuple[str, ...] = ()
    own_names: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    format: str = ""
    features: int | None = 0
    below_confidence: int = 0
    outside: int = 0
    closed: int = 0
    extent: tuple[float, float, float, float] | None = None
    _parts: list[gpd.GeoDataFrame] = field(default_factory=list)
    _per_cent: bool = False
    _unread_confidence: int = 0
    _corners: NDArray[np.float64] = field(default_factory=lambda: np.array([np.inf, np.inf, -np.inf, -np.inf]))

    def find(self, available: "list[str]", wanted: tuple[str, ...] = tuple(NAMES)) -> dict[str, str]:
        """`find_columns`, where the column that was asked for is `building_id`."""
        found = find_columns(available, wanted)
        self.columns = tuple(dict.fromkeys([*self.columns, *available]))
        if self.id_column is not None:
            asked = self.id_column.lower()
            exact = [name for name in available if name.lower() == asked]
            cut = [name for name in available if len(asked) > _DBF_NAME and name.lower() == asked[:_DBF_NAME]]
            if named := exact or cut:
                found["building_id"] = named[0]
        self.own_names |= found
        return found

    @property
    def has_asked_ids(self) -> bool:
        """Whether the column that was asked for as the ids was found."""
        name = self.own_names.get("building_id")
        return self.id_column is not None and name is not None and self.id_column.lower().startswith(name.lower())

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
        """Keep those of a batch that may lie in the region.

        Args:
            geometry: shapely geometries in EPSG:4326; None where there is none.
            columns: values a feature, by the keys of `NAMES`, `geometry_kind` and `dataset`.
            rows: the place of each in the file, from 1.
        """
        bounds = shapely.bounds(geometry)
        self.saw_at(bounds)
        confidence, per_cent, unread = _confidence(columns.get("confidence"), len(geometry))
        self._unread_confidence += unread
        self._per_cent |= per_cent
        inside = np.ones(len(geometry), dtype=bool) if self.region is None else self.region.may_hold(bounds)
        self.outside += int(np.count_nonzero(~inside))
        if not inside.any():
            return
        values = {
            name: np.asarray(value, dtype=object)[inside] for name, value in columns.items() if name != "confidence"
        }
        table = pd.DataFrame({**values, "confidence": confidence[inside], "row": rows[inside]})
        self._parts.append(gpd.GeoDataFrame(table, geometry=geometry[inside], crs="EPSG:4326"))

    def frame(self) -> gpd.GeoDataFrame:
        """All that was kept and is confident enough, in the order of the file."""
        if not self._parts:
            return gpd.GeoDataFrame({"row": np.zeros(0, dtype=np.int64)}, geometry=[], crs="EPSG:4326")
        table = gpd.GeoDataFrame(pd.concat(self._parts, ignore_index=True), geometry="geometry", crs="EPSG:4326")
        return _with_ids(_with_sizes(self._confident(table)))

    def _confident(self, table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """Confidence from 0 to 1; only the whole file tells whether it is in per cent."""
        if self._unread_confidence:
            self.remarks.append(
                f"{self._unread_confidence:,} values of confidence are no numbers from 0 to 1: not known"
            )
        if self._per_cent:
            self.remarks.append("its confidence is taken as per cent")
            table["confidence"] /= 100
        if self.min_confidence is None:
            return table
        below = table["confidence"] < self.min_confidence
        self.below_confidence += int(below.sum())
        return table[~below].reset_index(drop=True)


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


_PER_CENT = 100.0


def _confidence(values: Any, count: int) -> tuple[NDArray[np.float64], bool, int]:
    """As given, from 0 to 1 or to 100, NaN where unknown, as Microsoft's −1 says; whether it is certainly per cent, and
    how many values were not understood.

    `87 %` and `0,87` are read; text without a number is not.
    """
    if values is None:
        return np.full(count, np.nan), False, 0
    column = pd.Series(values)
    numbers = np.array(pd.to_numeric(column, errors="coerce"), dtype=np.float64)
    text = np.isnan(numbers) & column.notna().to_numpy()
    signed = unread = 0
    if text.any():
        said = column[text].astype(str).str.strip()
        plain = said.str.rstrip("% ").str.replace(",", ".", regex=False)
        numbers[text] = pd.to_numeric(plain, errors="coerce")
        signed = int(said.str.endswith("%").sum())
        unread = int(((said != "") & np.isnan(numbers[text])).sum())
    known = (numbers >= 0) & (numbers <= _PER_CENT)
    unread += int((numbers > _PER_CENT).sum())
    return np.where(known, numbers, np.nan), bool(signed or (numbers[known] > 1).any()), unread


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
