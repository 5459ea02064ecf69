"""What reading footprints gives, and how an event keeps it: the buildings, a report a source, what was left out."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from damage_ssl.checksums import check, checked_path
from damage_ssl.errors import WorkspaceError
from damage_ssl.files import read_json, write_json
from damage_ssl.settings import FootprintSettings, from_mapping

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

GeometryKind = Literal["polygon", "box", "point"]
LeftOutReason = Literal["empty", "irreparable", "not_a_polygon", "repeated", "duplicate"]

TABLE_COLUMNS = ("building_id", "source", "source_id", "area_m2", "geometry_kind", "confidence", "geometry")
LEFT_OUT_COLUMNS = ("source", "source_id", "reason", "duplicate_of", "overlap")


@dataclass(frozen=True, kw_only=True)
class SourceReport:
    """What became of one source: features = outside + below_confidence + left_out + kept, where `features` is known.

    `features` and `outside` are None where only a full read of the file would tell. `id_column` gave the ids; None
    where they are hashes of the geometry. `kinds` counts the kept footprints by `geometry_kind`. `remarks` say why
    other columns of ids were not taken, and what was made of values that could mean another thing.
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
    remarks: tuple[str, ...] = ()


def no_left_out() -> "pd.DataFrame":
    """The table of footprints left out, with no row."""
    import pandas as pd

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

    table: "gpd.GeoDataFrame"
    id_column: str | None
    repaired: int
    outside_aoi: int
    left_out: "pd.DataFrame" = field(default_factory=no_left_out)
    sources: tuple[SourceReport, ...] = ()
    settings: FootprintSettings = field(default_factory=FootprintSettings)


FOOTPRINTS_FILE = "footprints.parquet"
LEFT_OUT_FILE = "footprints_left_out.parquet"
REPORT_FILE = "footprints_report.json"
FILES = (FOOTPRINTS_FILE, LEFT_OUT_FILE, REPORT_FILE)


def write_footprints(folder: Path, found: FootprintSet) -> None:
    """Write the footprints of an event, each file in one step; the buildings last, since they make the set count.

    Raises:
        StorageError: the disk is full or read-only.
    """
    with checked_path(folder / LEFT_OUT_FILE) as temporary:
        found.left_out.astype({"overlap": float}).to_parquet(temporary)
    report = {
        "settings": found.settings.model_dump(),
        "sources": [dataclasses.asdict(report) for report in found.sources],
    }
    write_json(folder / REPORT_FILE, report)
    with checked_path(folder / FOOTPRINTS_FILE) as temporary:
        found.table.to_parquet(temporary)


def read_reports(folder: Path) -> tuple[SourceReport, ...]:
    """The reports of an event's sources; none for an event made before there were any."""
    path = folder / REPORT_FILE
    return tuple(SourceReport(**values) for values in read_json(path)["sources"]) if path.is_file() else ()


def read_settings(folder: Path) -> FootprintSettings:
    """How an event's footprints were read."""
    path = folder / REPORT_FILE
    values = read_json(path)["settings"] if path.is_file() else {}
    return from_mapping(FootprintSettings, values, str(path))


def read_left_out(folder: Path) -> "pd.DataFrame":
    """The footprints that were left out: source, source_id, reason, duplicate_of, overlap."""
    import pandas as pd

    path = folder / LEFT_OUT_FILE
    return pd.read_parquet(path) if path.is_file() else no_left_out()


def read_footprints_file(path: Path) -> "gpd.GeoDataFrame":
    """The footprints that an event keeps, in EPSG:4326.

    Raises:
        WorkspaceError: the file is broken.
    """
    import geopandas as gpd

    check(path, "take it from a backup, or create the event again with `damage-ssl init … --overwrite`")
    try:
        return gpd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def footprints_in_file(path: Path) -> int:
    """How many footprints an event keeps, without reading them.

    Raises:
        WorkspaceError: the file is broken.
    """
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> WorkspaceError:
    return WorkspaceError(f"{path}: cannot be read ({error}); create the event again")
