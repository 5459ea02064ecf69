"""Labels as CSV: what analysts bring from a spreadsheet and take back to one."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from damage_ssl.damage_scale import ClassScheme, LabelValue
from damage_ssl.errors import InputError
from damage_ssl.files import atomic_path
from damage_ssl.labels.grade_words import GradeRules, read_grades, settle_grades, unknown_grade_error
from damage_ssl.labels.label_table import GRADE, ID, OTHER_COLUMNS, ColumnNames, LabelTable, read_table
from damage_ssl.spreadsheet import inert, meant

if TYPE_CHECKING:
    import pandas as pd

_ROUNDED = re.compile(r"\d+([.,]\d+)?[eE]\+?\d+")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT00:00:00")
REQUIRED = (ID, GRADE)
OPTIONAL = OTHER_COLUMNS


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import did.

    `added` rows are new in the log; `unchanged` ones repeat their labeller's last word; `repeated` ones say again what
    an earlier row of the file says; `unclassified` ones carry no grade. `unknown` are the buildings left out because
    the event does not have them, `ignored_columns` the columns that were not used, `unplaced` how many labels were left
    out because no building, or not one alone, lies where they lie, by that reason.
    """

    added: int
    unchanged: int
    repeated: int
    unclassified: int
    unknown: tuple[str, ...]
    ignored_columns: tuple[str, ...]
    unplaced: dict[str, int] = field(default_factory=dict)

    @property
    def skipped(self) -> int:
        """Rows left out on purpose: no grade, said twice, or of unknown buildings."""
        return self.repeated + self.unclassified + len(self.unknown) + sum(self.unplaced.values())


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """One row of a label file; `row` counts from the header, which is row 1."""

    row: int
    building_id: str
    value: LabelValue
    labeller: str
    drawn: str
    inclusion_probability: float | None
    comment: str
    time: str | None
    stratum: str
    cluster_id: str
    cluster_probability: float | None


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """A label file, read and checked: rows with a grade or answer, each said once."""

    path: Path
    rows: tuple[LabelRow, ...]
    repeated: int
    unclassified: int
    ignored_columns: tuple[str, ...]
    unplaced: dict[str, int] = field(default_factory=dict)


def read_label_csv(
    path: Path, *, labeller: str, rules: GradeRules | None = None, columns: ColumnNames | None = None
) -> LabelFile:
    """Read a label file of text or an XLSX workbook; see `LabelStore.import_csv` for its columns.

    As spreadsheets write it: separated by comma, semicolon or tab (the one that gives the known columns; a first line
    `sep=;` names it), UTF-8, UTF-16 with a byte order mark or Windows-1252, decimal commas where the separator is
    another, rows that end early, titles above the header, merged headers. An apostrophe before `=`, `+`, `-` or `@` is
    none of the text (`spreadsheet.meant`).

    Args:
        path: the file.
        labeller: who gave the labels, where the file does not say.
        rules: how grades in other words are read; without it they are refused.
        columns: which columns hold ids and grades, where they have other names.

    Raises:
        InputError: file and row of the first thing that is wrong.
    """
    return labels_of(read_table(Path(path), columns), labeller=labeller, rules=rules or GradeRules())


def labels_of(table: LabelTable, *, labeller: str, rules: GradeRules) -> LabelFile:
    """The labels of a table that names each building.

    Raises:
        InputError: file and row of the first thing that is wrong.
    """
    rows, unclassified = label_rows(table, labeller=labeller, rules=rules)
    once = _said_once(rows, table)
    return LabelFile(
        path=table.path,
        rows=tuple(once),
        repeated=len(rows) - len(once),
        unclassified=unclassified,
        ignored_columns=ignored_columns(table),
    )


def label_rows(table: LabelTable, *, labeller: str, rules: GradeRules) -> tuple[list[LabelRow], int]:
    """Every row with a grade or answer, and how many have none: an empty cell, or a word that says so.

    Raises:
        InputError: file and row of the first thing that is wrong.
    """
    width = len(table.names)
    needed = max(table.grade, table.id or 0)
    full: list[tuple[int, list[str]]] = []
    for number, cells in table.rows:
        if len(cells) <= needed or any(cells[width:]):
            raise InputError(
                f"{table.where(number)}: {len(cells)} values under {width} columns; quote values with separators"
            )
        row = [meant(cell) for cell in cells[:width]]
        full.append((number, row + [""] * (width - len(row))))  # a row may end early
    reading = read_grades(table.names[table.grade], [cells[table.grade] for _, cells in full], rules)
    for number, cells in full:
        if cells[table.grade] in reading.unknown:
            raise unknown_grade_error(cells[table.grade], table.where(number))
    settle_grades(reading, rules, table.path)
    rows: list[LabelRow] = []
    unclassified = 0
    for number, cells in full:
        if table.id is not None and not cells[table.id]:
            raise InputError(f"{table.where(number)}: building_id is empty; every label names its building")
        value = reading.values.get(cells[table.grade], LabelValue.UNCLASSIFIED)
        if value is LabelValue.UNCLASSIFIED:
            unclassified += 1
        else:
            rows.append(_row(table, number, cells, value, labeller))
    return rows, unclassified


def ignored_columns(table: LabelTable) -> tuple[str, ...]:
    """The columns that were not used."""
    used = {table.id, table.grade}
    return tuple(name for n, name in enumerate(table.names) if n not in used and name not in OPTIONAL)


def write_label_csv(labels: "pd.DataFrame", path: Path) -> None:
    """Write labels (`LabelStore.current`) atomically, none as a formula; `read_label_csv` reads them back as they are.

    Raises:
        StorageError: the disk is full or not writable.
    """
    table = labels.rename(columns={"value": "grade"})[[*REQUIRED, *OPTIONAL]]
    with atomic_path(path) as temporary:
        table.map(lambda value: inert(value) if isinstance(value, str) else value).to_csv(
            temporary, index=False, lineterminator="\n"
        )


def unknown_buildings_error(path: Path, unknown: Sequence[LabelRow], known: Collection[str] = ()) -> InputError:
    """The error for labels of buildings that are not among the event's `known` ids: the first five, and why."""
    names = list(dict.fromkeys(row.building_id for row in unknown))
    listed = ", ".join(f"'{name}'" for name in names[:5]) + (", …" if len(names) > 5 else "")
    buildings = "1 building is" if len(names) == 1 else f"{len(names)} buildings are"
    cure = mangled_ids(names, known) or "check that the labels belong to this event, or skip unknown buildings"
    return InputError(f"{path}, row {unknown[0].row}: {buildings} not among the event's footprints: {listed}; {cure}")


def mangled_ids(unknown: Sequence[str], known: Collection[str]) -> str | None:
    """What a spreadsheet did to ids that the event does not have, and the cure; None where it did nothing known.

    It takes leading zeros, and writes long numbers as 7.1E+11; a table with gaps makes 7.0 of 7.
    """
    plain = {_as_spreadsheet(each): each for each in known}
    example = next(((name, plain[key]) for name in unknown if (key := _as_spreadsheet(name)) in plain), None)
    if example is not None:
        name, meant = example
        what = f"the file's '{name}' seems to be the event's '{meant}', changed by a spreadsheet or table program"
    elif rounded := next((name for name in unknown if _ROUNDED.fullmatch(name)), None):
        what = f"'{rounded}' is a number that a spreadsheet has rounded: its digits are lost"
    elif dated := next((name for name in unknown if _DATE.fullmatch(name)), None):
        what = f"'{dated}' is a date that a spreadsheet has made of the id"
    else:
        return None
    return f"{what}; write the labels anew with the column building_id as text"


def _as_spreadsheet(name: str) -> str:
    """A number as a spreadsheet keeps it: without leading zeros, `.0` behind it and capitals."""
    text = name.strip().lower()
    digits = re.fullmatch(r"0*(\d+)(?:[.,]0+)?", text)
    return digits[1] if digits else text


def _row(table: LabelTable, number: int, cells: Sequence[str], value: LabelValue, labeller: str) -> LabelRow:
    values, where = dict(zip(table.names, cells, strict=True)), table.where(number)
    return LabelRow(
        row=number,
        building_id="" if table.id is None else cells[table.id],
        value=value,
        labeller=values.get("labeller") or labeller,
        drawn=values.get("drawn") or "import",
        inclusion_probability=_probability(values, "inclusion_probability", where),
        comment=values.get("comment", ""),
        time=_time(values.get("time", ""), where),
        stratum=values.get("stratum", ""),
        cluster_id=values.get("cluster_id", ""),
        cluster_probability=_probability(values, "cluster_probability", where),
    )


def _probability(values: dict[str, str], name: str, where: str) -> float | None:
    text = values.get(name, "")
    if not text:
        return None
    try:
        probability = float(text.replace(",", "."))
    except ValueError:
        probability = -1.0
    if not 0.0 < probability <= 1.0:
        raise InputError(f"{where}: {name} '{text}' is not a number in (0, 1]; leave it empty if unknown")
    return probability


def _time(text: str, where: str) -> str | None:
    if not text:
        return None
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{where}: time '{text}' is not ISO 8601, e.g. 2025-01-31T12:00:00Z") from None
    return text


def _said_once(rows: Sequence[LabelRow], table: LabelTable) -> list[LabelRow]:
    """Rows without repetitions; a labeller who says two things of one building is an error."""
    first: dict[tuple[str, str], LabelRow] = {}
    for row in rows:
        earlier = first.setdefault((row.building_id, row.labeller), row)
        if earlier.value is not row.value:
            raise InputError(
                f"{table.where(row.row)}: building '{row.building_id}' is {row.value.value} here and "
                f"{earlier.value.value} in {table.unit} {earlier.row}; keep one of the two"
            )
    return list(first.values())


def known_grades(truth: Path, scheme: ClassScheme) -> "pd.DataFrame":
    """building_id, class_index (-1: no class of the scheme), damaged (True, False, None: no grade)."""
    import pandas as pd

    by_building = {row.building_id: row for row in read_label_csv(truth, labeller="truth").rows}
    rows = list(by_building.values())
    return pd.DataFrame(
        {
            "building_id": [row.building_id for row in rows],
            "class_index": [-1 if (i := scheme.index_of(row.value)) is None else i for row in rows],
            "damaged": pd.array([scheme.is_damaged(row.value) for row in rows], dtype="boolean"),
        }
    )
