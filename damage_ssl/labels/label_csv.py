"""Labels as CSV: what analysts bring from a spreadsheet and take back to one."""

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from damage_ssl.damage_scale import ClassScheme, LabelValue
from damage_ssl.errors import InputError, nearest_name
from damage_ssl.files import atomic_path
from damage_ssl.spreadsheet import inert, meant

if TYPE_CHECKING:
    import pandas as pd

_SEPARATOR_LINE = re.compile(r'"?sep=(,|;|\t)"?[ \t]*\r?(?:\n|$)', re.IGNORECASE)
_ROUNDED = re.compile(r"\d+([.,]\d+)?[eE]\+?\d+")
REQUIRED = ("building_id", "grade")
OPTIONAL = (
    "labeller",
    "time",
    "drawn",
    "inclusion_probability",
    "comment",
    "stratum",
    "cluster_id",
    "cluster_probability",
)


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import did.

    `added` rows are new in the log; `unchanged` ones repeat their labeller's last word; `repeated` ones say again what
    an earlier row of the file says; `unclassified` ones carry no grade. `unknown` are the buildings left out because
    the event does not have them, `ignored_columns` the columns that were not used.
    """

    added: int
    unchanged: int
    repeated: int
    unclassified: int
    unknown: tuple[str, ...]
    ignored_columns: tuple[str, ...]

    @property
    def skipped(self) -> int:
        """Rows left out on purpose: no grade, said twice, or of unknown buildings."""
        return self.repeated + self.unclassified + len(self.unknown)


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

    rows: tuple[LabelRow, ...]
    repeated: int
    unclassified: int
    ignored_columns: tuple[str, ...]


def read_label_csv(path: Path, *, labeller: str) -> LabelFile:
    """Read a label file; see `LabelStore.import_csv` for its columns.

    As spreadsheets write it: separated by comma, semicolon or tab (the one that gives the known columns; a first line
    `sep=;` names it), UTF-8, UTF-16 with a byte order mark or Windows-1252, decimal commas where the separator is
    another, rows that end early. An apostrophe before `=`, `+`, `-` or `@` is none of the text (`spreadsheet.meant`).

    Raises:
        InputError: file and row of the first thing that is wrong.
    """
    records = _records(path)
    header_row, header = next(records, (1, []))
    if not header:
        raise InputError(f"{path}: is empty; a label file starts with the header {','.join(REQUIRED)}")
    names = [name.strip().lower() for name in header]
    _check_header(names, f"{path}, row {header_row}")
    rows: list[LabelRow] = []
    unclassified = 0
    for number, record in records:
        where = f"{path}, row {number}"
        early = any(name in names[len(record) :] for name in REQUIRED)
        if early or any(value.strip() for value in record[len(names) :]):
            raise InputError(f"{where}: {len(record)} values under {len(names)} columns; quote values with separators")
        values = [meant(value.strip()) for value in record[: len(names)]]
        values += [""] * (len(names) - len(values))  # a row that ends early
        row = _parse_row(dict(zip(names, values, strict=True)), number, where, labeller)
        if row.value is LabelValue.UNCLASSIFIED:
            unclassified += 1
        else:
            rows.append(row)
    once = _said_once(rows, path)
    return LabelFile(
        rows=tuple(once),
        repeated=len(rows) - len(once),
        unclassified=unclassified,
        ignored_columns=tuple(name for name in names if name not in (*REQUIRED, *OPTIONAL)),
    )


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
    else:
        return None
    return f"{what}; write the labels anew with the column building_id as text"


def _as_spreadsheet(name: str) -> str:
    """A number as a spreadsheet keeps it: without leading zeros, `.0` behind it and capitals."""
    text = name.strip().lower()
    digits = re.fullmatch(r"0*(\d+)(?:[.,]0+)?", text)
    return digits[1] if digits else text


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(row number, values) of every row that is not blank; a blank row counts, as it does in a spreadsheet."""
    number = 0
    try:
        text = _decoded(path)
        declared = _SEPARATOR_LINE.match(text)
        rest = text if declared is None else " \n" + text[declared.end() :]  # the row counts, as in the spreadsheet
        separator = _separator(text.partition("\n")[0]) if declared is None else declared[1]
        for number, record in enumerate(csv.reader(io.StringIO(rest, newline=""), delimiter=separator, strict=True), 1):
            if any(value.strip() for value in record):
                yield number, record
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; give the path of a CSV of labels") from None
    except (IsADirectoryError, PermissionError) as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of a CSV of labels") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: is neither UTF-8, UTF-16 nor Windows-1252 text (byte {error.start}); save it as CSV UTF-8"
        ) from None
    except csv.Error as error:
        raise InputError(f"{path}, row {number + 1}: is not valid CSV ({error}); check the quotes") from None


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    if content.startswith(b"PK\x03\x04") or content.startswith(b"\xd0\xcf\x11\xe0"):
        raise InputError(f"{path}: is a spreadsheet, not text; save the sheet as CSV UTF-8 and give that file")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        if b"\0" in content:
            raise
        return content.decode("cp1252")


def _separator(header: str) -> str:
    """The mark that parts the header into most of the known columns; of equals the first, a comma before others."""

    def known(mark: str) -> int:
        names = {name.strip().strip('"').strip().lower() for name in header.split(mark)}
        return len(names & {*REQUIRED, *OPTIONAL})

    marks = [mark for mark in (",", ";", "\t") if mark in header] or [","]
    return max(marks, key=known)


def _check_header(names: Sequence[str], where: str) -> None:
    for name in REQUIRED:
        if name not in names:
            others = [other for other in names if other not in (*REQUIRED, *OPTIONAL)] or list(names)
            raise InputError(
                f"{where}: the column '{name}' is missing among {', '.join(names)}; {nearest_name(name, others)}"
            )
    repeated = next((name for name in (*REQUIRED, *OPTIONAL) if names.count(name) > 1), None)
    if repeated is not None:
        raise InputError(f"{where}: the column '{repeated}' is there {names.count(repeated)} times; keep one")


def _parse_row(values: dict[str, str], number: int, where: str, labeller: str) -> LabelRow:
    if not values["building_id"]:
        raise InputError(f"{where}: building_id is empty; every label names its building")
    return LabelRow(
        row=number,
        building_id=values["building_id"],
        value=LabelValue.parse(values["grade"], where),
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


def _said_once(rows: Sequence[LabelRow], path: Path) -> list[LabelRow]:
    """Rows without repetitions; a labeller who says two things of one building is an error."""
    first: dict[tuple[str, str], LabelRow] = {}
    for row in rows:
        earlier = first.setdefault((row.building_id, row.labeller), row)
        if earlier.value is not row.value:
            raise InputError(
                f"{path}, row {row.row}: building '{row.building_id}' is {row.value.value} here and "
                f"{earlier.value.value} in row {earlier.row}; keep one of the two"
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
