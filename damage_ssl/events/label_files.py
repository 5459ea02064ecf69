"""Labels out of any file: a table that names buildings, or points and polygons with a grade, given to footprints by
place (Kobo, QField, HASTE, UNOSAT, Copernicus EMS).
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from damage_ssl.errors import InputError
from damage_ssl.events.event import Event, open_labels
from damage_ssl.labels.grade_words import GradeRules
from damage_ssl.labels.label_csv import ImportReport, LabelFile, LabelRow, ignored_columns, label_rows, labels_of
from damage_ssl.labels.label_table import ColumnNames, LabelTable, read_table, table_of

if TYPE_CHECKING:
    import geopandas as gpd

_TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm", ".xls", ".ods")
_LAYER = re.compile(r"(?P<path>.+)\|layername=(?P<layer>.+)")
_BESIDE_M = 15.0
_FEWEST_BESIDE = 5
_MOST_BESIDE = 1 / 7
CONTRADICTION = "other labels of the same building contradict it"


def import_labels(
    event: Event,
    file: str | Path,
    *,
    labeller: str,
    skip_unknown: bool = False,
    rules: GradeRules | None = None,
    columns: ColumnNames | None = None,
    near_m: float = 0.0,
) -> ImportReport:
    """Add labels of a file to the event's log; all of them or none. See `read_labels` for what is read, and how.

    Raises:
        InputError: the file cannot be read, or names buildings or grades that are not known.

    Examples:
        >>> file = Path("labels.csv")
        >>> _ = file.write_text("building_id,grade\\nsim-000000,no-damage\\n")
        >>> import_labels(event, file, labeller="truth").unchanged
        1
    """
    footprints = event.footprints()
    found = read_labels(file, footprints, labeller=labeller, rules=rules, columns=columns, near_m=near_m)
    known = set(footprints["building_id"])
    return open_labels(event).import_csv(found, known_ids=known, labeller=labeller, skip_unknown=skip_unknown)


def read_labels(
    given: str | Path,
    footprints: "gpd.GeoDataFrame",
    *,
    labeller: str,
    rules: GradeRules | None = None,
    columns: ColumnNames | None = None,
    near_m: float = 0.0,
) -> LabelFile:
    """Read a label file for an event with these footprints (EPSG:4326, with `building_id`).

    A table or layer with a column of ids is taken by these; one with places only (latitude and longitude, or shapes)
    is joined by place, see `footprints.placing`. `FILE|layername=NAME` names a sheet or a layer. What cannot be given
    to one building for certain is left out and counted in `unplaced`.

    Args:
        given: the file.
        footprints: the event's.
        labeller: who gave the labels, where the file does not say.
        rules: how grades in other words are read.
        columns: which columns hold ids and grades, where they have other names.
        near_m: how far the points may be off: each is of the only footprint within so many metres.

    Raises:
        InputError: the file cannot be read, a row is wrong, or no label lies on a footprint.
    """
    named = _LAYER.fullmatch(str(given))
    path, layer = Path(named["path"] if named else given), named["layer"] if named else None
    rules, columns = rules or GradeRules(), columns or ColumnNames()
    if _is_table(path):
        table = read_table(path, columns, sheet=layer)
        places = None if table.id is not None else _points(table)
    else:
        table, places = _layer_table(path, layer, columns)
    if table.id is not None or places is None:
        return labels_of(table, labeller=labeller, rules=rules)
    return _placed(table, places, footprints, labeller, rules, near_m)


def _is_table(path: Path) -> bool:
    """By its name: JSON of any name is a layer, and what cannot be read is said by the reader of tables."""
    if path.suffix.lower() not in _TABLES or not path.is_file():
        return path.suffix.lower() in _TABLES or not path.exists() or (path.is_dir() and path.suffix != ".gdb")
    with path.open("rb") as file:
        return not file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"["))


def _points(table: LabelTable) -> NDArray[np.object_]:
    """The places of a table's rows; None where a row has none.

    Raises:
        InputError: a place is no pair of degrees; the row is named.
    """
    import shapely

    assert table.latitude is not None and table.longitude is not None  # noqa: S101 - for the type checker
    found = np.full(len(table.rows), None, dtype=object)
    for n, (number, cells) in enumerate(table.rows):
        texts = [cells[at] if at < len(cells) else "" for at in (table.longitude, table.latitude)]
        if not all(texts):
            continue
        try:
            lon, lat = (float(text.replace(",", ".")) for text in texts)
        except ValueError:
            lon = lat = np.inf
        if not (abs(lon) <= 360 and abs(lat) <= 90):
            raise InputError(
                f"{table.where(number)}: {texts[1]}, {texts[0]} are no latitude and longitude in degrees; give the "
                "file with coordinates of EPSG:4326, or as a layer with its CRS"
            )
        found[n] = shapely.Point(lon, lat)
    return found


def _layer_table(path: Path, layer: str | None, columns: ColumnNames) -> tuple[LabelTable, NDArray[np.object_]]:
    from damage_ssl.footprints.cleaning import to_wgs84
    from damage_ssl.footprints.reader import read_vector

    frame = to_wgs84(read_vector(path, "labels", layer=layer, polygons=False), path)
    places = frame.geometry.to_numpy()
    values = frame.drop(columns=frame.geometry.name)
    names = [str(name).strip().lower() for name in values.columns]
    texts = [[_text(value) for value in values.iloc[:, column]] for column in range(len(names))]
    rows = [(n + 1, [each[n] for each in texts]) for n in range(len(frame))]
    return table_of(path, names, rows, columns, header=str(path), unit="feature"), places


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    if hasattr(value, "isoformat"):
        return "" if str(value) == "NaT" else str(value.isoformat())
    return "" if str(value) == "<NA>" else str(value).strip()


def _placed(
    table: LabelTable,
    places: NDArray[np.object_],
    footprints: "gpd.GeoDataFrame",
    labeller: str,
    rules: GradeRules,
    near_m: float,
) -> LabelFile:
    from damage_ssl.footprints.placing import OUTSIDE, place_on_footprints

    rows, unclassified = label_rows(table, labeller=labeller, rules=rules)
    at = {number: n for n, (number, _) in enumerate(table.rows)}
    here = np.array([places[at[row.row]] for row in rows], dtype=object)
    placement = place_on_footprints(here, footprints, near_m=near_m)
    ids = footprints["building_id"].to_numpy()
    given = [
        dataclasses.replace(row, building_id=str(ids[footprint]))
        for row, footprint in zip(rows, placement.footprint, strict=True)
        if footprint >= 0
    ]
    unplaced = Counter(str(reason) for reason in placement.reason if reason)
    if rows and not given:
        raise InputError(_nothing_placed(table, len(rows), unplaced))
    _check_not_shifted(table, here[placement.reason == OUTSIDE], len(given), footprints)
    once, contradicting = _agreeing(given)
    if contradicting:
        unplaced[CONTRADICTION] = contradicting
    return LabelFile(
        path=table.path,
        rows=tuple(once),
        repeated=len(given) - contradicting - len(once),
        unclassified=unclassified,
        ignored_columns=ignored_columns(table),
        unplaced=dict(unplaced),
    )


def _check_not_shifted(
    table: LabelTable, outside: NDArray[np.object_], inside: int, footprints: "gpd.GeoDataFrame"
) -> None:
    """Refuse points of which many lie just beside a footprint: of those inside one, some are then a neighbour's.

    Raises:
        InputError: more than a seventh of the points at the buildings are in none.
    """
    from damage_ssl.footprints.placing import OUTSIDE, place_on_footprints

    beside = int((place_on_footprints(outside, footprints, near_m=_BESIDE_M).reason != OUTSIDE).sum())
    if beside >= _FEWEST_BESIDE and beside > _MOST_BESIDE * (beside + inside):
        raise InputError(
            f"{table.path}: {beside:,} of {beside + inside:,} labels lie in no footprint, but within {_BESIDE_M:g} m "
            "of one: they seem to be shifted against the footprints, so that others may lie in a neighbour's; move "
            "them (QGIS: Translate), or say by how much they may be off: --near-m METRES"
        )


def _agreeing(rows: Sequence[LabelRow]) -> tuple[list[LabelRow], int]:
    """One row for each building and labeller; none where they contradict each other, and how many rows did."""
    said: dict[tuple[str, str], list[LabelRow]] = {}
    for row in rows:
        said.setdefault((row.building_id, row.labeller), []).append(row)
    agreed = [each[0] for each in said.values() if len({row.value for row in each}) == 1]
    return agreed, sum(len(each) for each in said.values() if len({row.value for row in each}) > 1)


def _nothing_placed(table: LabelTable, count: int, unplaced: Counter[str]) -> str:
    why = ", ".join(f"{times:,} {reason}" for reason, times in unplaced.most_common())
    return (
        f"{table.path}: none of its {count:,} labels can be given to a footprint ({why}); check that they are of this "
        "event and their CRS; points beside the footprints are taken with --near-m METRES"
    )
