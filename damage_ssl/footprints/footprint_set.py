"""What reading footprints gives: the buildings, what each source was, and what was left out of it."""

from dataclasses import dataclass, field
from typing import Literal

import geopandas as gpd
import pandas as pd

from damage_ssl.settings import FootprintSettings

GeometryKind = Literal["polygon", "box", "point"]
LeftOutReason = Literal["empty", "irreparable", "not_a_polygon", "repeated", "duplicate"]

TABLE_COLUMNS = ("building_id", "source", "source_id", "area_m2", "geometry_kind", "confidence", "geometry")
LEFT_OUT_COLUMNS = ("source", "source_id", "reason", "duplicate_of", "overlap")


@dataclass(frozen=True, kw_only=True)
class SourceReport:
    """What became of one source: features = outside + below_confidence + left_out + kept, where `features` is known.

    `features` and `outside` are None where only a full read of the file would tell. `id_column` gave the ids; None
    where they are hashes of the geometry. `kinds` counts the kept footprints by `geometry_kind`.
    """

    source: str
    format: str
    path: str | None = None
    size_bytes: int | None = None
    modified_ns: int | None = None
    features: int | None = None
    outside: int | None = None
    below_confidence: int = 0
    repaired: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    kept: int = 0
    id_column: str | None = None
    kinds: dict[str, int] = field(default_factory=dict)


def no_left_out() -> pd.DataFrame:
    """The table of footprints left out, with no row."""
    return pd.DataFrame({name: pd.Series(dtype=float if name == "overlap" else object) for name in LEFT_OUT_COLUMNS})


@dataclass(frozen=True)
class FootprintSet:
    """The footprints of an event, and what was done to them.

    `table` is in EPSG:4326: `building_id` (unique), `source`, `source_id`, `area_m2`, `geometry_kind` (`polygon` as
    drawn, `box` a bounding box, `point` a square around a point), `confidence` (0 to 1 as its source gives it, NaN
    where it gives none), `geometry`. `left_out` names every footprint that is not in it though it lies in the event:
    `source`, `source_id`, `reason`, and for duplicates `duplicate_of` (a building_id) and `overlap` (share of the
    smaller one's area).

    `id_column` is the column that gave the ids of the first source; None where they are hashes of the geometry.
    """

    table: gpd.GeoDataFrame
    id_column: str | None
    repaired: int
    outside_aoi: int
    left_out: pd.DataFrame = field(default_factory=no_left_out)
    sources: tuple[SourceReport, ...] = ()
    settings: FootprintSettings = field(default_factory=FootprintSettings)
