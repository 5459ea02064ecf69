"""The table in a label file: text as spreadsheets write it, or the sheet of a workbook; where its header is, which
columns name building, place and grade.

pandas and Arrow guess types, which costs ids their zeros; `csv` and openpyxl give what is written.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from damage_ssl.errors import InputError, nearest_name
from damage_ssl.labels.grade_words import plain

ID, GRADE = "building_id", "grade"
OTHER_COLUMNS = (
    "labeller",
    "time",
    "drawn",
    "inclusion_probability",
    "comment",
    "stratum",
    "cluster_id",
    "cluster_probability",
)
_SEPARATOR_LINE = re.compile(r'"?sep=(,|;|\t)"?[ \t]*\r?(?:\n|$)', re.IGNORECASE)
_HEADER_WITHIN = 20
_DBF_NAME = 10
# What the column of grades is called by other tools and surveys: Copernicus EMS, UNOSAT, HASTE, xBD, Kobo and QField.
_GRADE_COLUMN = re.compile(
    r"damage gra\w*|damage (?:grading|class|level|state|status|category)|main damag\w*(?: site class)?(?: \d+)?"
    r"|damages?|damaged|damage|subtype|ems ?98(?: grade)?|grading"
    r"|degats?|dommages?|niveau de (?:dommage|degat)s?|etat|dano|danos|nivel de danos?|grado(?: de danos?)?"
    r"|الضرر|مستوي الضرر|درجه الضرر|حاله المبني"
)
_LATITUDE = re.compile(r"(?:\w+ )?latitude|lat|y")
_LONGITUDE = re.compile(r"(?:\w+ )?longitude|lon|lng|long|x")

Row = tuple[int, list[str]]


@dataclass(frozen=True, kw_only=True)
class ColumnNames:
    """The names of the columns of ids and grades, where they were said."""

    id: str | None = None
    grade: str | None = None


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """Header and rows of a label file, each cell a stripped text.

    `names` are in lower case; `id`, `grade`, `latitude` and `longitude` are places among them, None where there is no
    such column. `unit` is what one of `rows` is called in messages; its number is as the user sees it.
    """

    path: Path
    header: str
    names: tuple[str, ...]
    rows: tuple[Row, ...]
    id: int | None
    grade: int
    latitude: int | None = None
    longitude: int | None = None
    unit: str = "row"

    def where(self, number: int) -> str:
        """File and row for a message."""
        return f"{self.path}, {self.unit} {number}"


def read_table(path: Path, columns: ColumnNames | None = None, *, sheet: str | None = None) -> LabelTable:
    """The table of a text file (comma, semicolon, tab; UTF-8, UTF-16, Windows-1252) or an XLSX workbook.

    The header is the first row, or pair of rows (a merged header), among the first twenty that names a column of
    grades and one of ids or two of places.

    Raises:
        InputError: the file cannot be read, several of its columns or sheets could be meant, or one is missing.
    """
    columns = columns or ColumnNames()
    rows = []
    if _is_workbook(path):
        from damage_ssl.labels.workbook import sheets_of

        sheets = {name: rows for name, rows in sheets_of(path).items() if sheet in (None, name)}
        if not sheets:
            raise InputError(f"{path}: has no sheet '{sheet}'; it has {', '.join(sheets_of(path))}")
        able = [name for name, rows in sheets.items() if _header_of(rows[:_HEADER_WITHIN], columns) is not None]
        if len(able) > 1:
            raise InputError(
                f"{path}: several sheets hold labels: {', '.join(able)}; say which: '{path.name}|layername=NAME'"
            )
        rows = sheets[able[0]] if able else next((rows for rows in sheets.values() if rows), [])
    else:
        rows = list(_text_rows(path))
    if not rows:
        raise InputError(f"{path}: is empty; a label file starts with the header {ID},{GRADE}")
    found = _header_of(rows[:_HEADER_WITHIN], columns)
    at, names = found if found is not None else (0, _lowered(rows[0][1]))
    return table_of(path, names, rows[at + 1 :], columns, header=f"{path}, row {rows[at][0]}")


def table_of(
    path: Path, names: Sequence[str], rows: Sequence[Row], columns: ColumnNames, *, header: str, unit: str = "row"
) -> LabelTable:
    """Say which columns are meant.

    Raises:
        InputError: one is missing, is there twice, or several could be meant.
    """
    ids, grades = _ids(names, columns), _grades(names, columns)
    latitude, longitude = _one(names, _LATITUDE), _one(names, _LONGITUDE)
    placed = latitude is not None and longitude is not None
    if not ids and not placed and unit == "row":
        raise _missing(columns.id or ID, names, header, "--id-column")
    if not grades:
        raise _missing(columns.grade or GRADE, names, header, "--grade-column")
    for name in (names[grades[0]], *([names[ids[0]]] if ids else []), *OTHER_COLUMNS):
        if names.count(name) > 1:
            raise InputError(f"{header}: the column '{name}' is there {names.count(name)} times; keep one")
    if len(grades) > 1:
        listed = ", ".join(names[each] for each in grades)
        raise InputError(f"{header}: several columns could hold the grade: {listed}; say which with --grade-column")
    return LabelTable(
        path=path,
        header=header,
        names=tuple(names),
        rows=tuple(rows),
        id=ids[0] if ids else None,
        grade=grades[0],
        latitude=latitude,
        longitude=longitude,
        unit=unit,
    )


def rows_of(path: Path) -> list[Row]:
    """The rows of a text file, or of a workbook's first sheet that has some.

    Raises:
        InputError: the file cannot be read.
    """
    if not _is_workbook(path):
        return list(_text_rows(path))
    from damage_ssl.labels.workbook import sheets_of

    return next((rows for rows in sheets_of(path).values() if rows), [])


def _lowered(cells: Sequence[str]) -> list[str]:
    return [cell.strip().lower() for cell in cells]


def _header_of(rows: Sequence[Row], columns: ColumnNames) -> tuple[int, list[str]] | None:
    """The header's last row among the first rows, and its names; those with the product's own names first."""
    made = [(at, _lowered(cells)) for at, (_, cells) in enumerate(rows)]
    pairs = [(at + 1, _joined(made[at][1], made[at + 1][1])) for at in range(len(made) - 1)]
    tried = sorted([*made, *pairs], key=lambda each: each[0])
    able = [(at, names) for at, names in tried if _is_header(names, columns)]
    return next((each for each in able if {ID, GRADE} <= set(each[1])), able[0] if able else None)


def _joined(upper: Sequence[str], lower: Sequence[str]) -> list[str]:
    """The names of a header of two rows: the lower one, and the upper one where that is empty."""
    width = max(len(upper), len(lower))
    both = ([*row, *[""] * (width - len(row))] for row in (upper, lower))
    return [below or above for above, below in zip(*both, strict=True)]


def _is_header(names: Sequence[str], columns: ColumnNames) -> bool:
    placed = _one(names, _LATITUDE) is not None and _one(names, _LONGITUDE) is not None
    return bool(_grades(names, columns)) and (bool(_ids(names, columns)) or placed)


def _ids(names: Sequence[str], columns: ColumnNames) -> list[int]:
    wanted = [columns.id.strip().lower()] if columns.id else [ID, ID[:_DBF_NAME]]
    return next((found for name in wanted if (found := [n for n, each in enumerate(names) if each == name])), [])


def _grades(names: Sequence[str], columns: ColumnNames) -> list[int]:
    """The column that is named so or was asked for; else all that other tools' names fit."""
    wanted = (columns.grade or GRADE).strip().lower()
    if (exact := [n for n, name in enumerate(names) if name == wanted]) or columns.grade:
        return exact
    return [n for n, name in enumerate(names) if _GRADE_COLUMN.fullmatch(plain(name.rpartition("/")[2]))]


def _one(names: Sequence[str], pattern: re.Pattern[str]) -> int | None:
    """The only column of a name, the plain `latitude` before others; Kobo puts the question's name before it."""
    found = [n for n, name in enumerate(names) if pattern.fullmatch(plain(name.rpartition("/")[2]))]
    first = [n for n in found if plain(names[n]) in {"latitude", "longitude"}]
    found = first or found
    return found[0] if len(found) == 1 else None


def _missing(name: str, names: Sequence[str], where: str, option: str) -> InputError:
    others = [other for other in names if other not in (ID, GRADE, *OTHER_COLUMNS)] or list(names)
    return InputError(
        f"{where}: the column '{name}' is missing among {', '.join(names)}; {nearest_name(name, others)}; name it "
        f"with {option}"
    )


def _is_workbook(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        return False  # said when it is read as text
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise InputError(
            f"{path}: is a spreadsheet of the old kind (.xls), or one with a password; save it as XLSX without a "
            "password, or the sheet as CSV UTF-8"
        )
    return head.startswith(b"PK\x03\x04")


def _text_rows(path: Path) -> Iterator[Row]:
    """(row number, values) of every row that is not blank; a blank row counts, as it does in a spreadsheet."""
    number = 0
    try:
        text = _decoded(path)
        declared = _SEPARATOR_LINE.match(text)
        rest = text if declared is None else " \n" + text[declared.end() :]  # the row counts, as in the spreadsheet
        separator = _separator(text) if declared is None else declared[1]
        for number, record in enumerate(csv.reader(io.StringIO(rest, newline=""), delimiter=separator, strict=True), 1):
            if any(value.strip() for value in record):
                yield number, [value.strip() for value in record]
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
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        if b"\0" in content:
            raise
        return content.decode("cp1252")


def _separator(text: str) -> str:
    """The mark that parts one of the first lines into most of the known columns; of equals a comma before others.

    The header need not be the first line: a title may stand above it.
    """
    lines = text.splitlines()[:_HEADER_WITHIN]

    def known(mark: str) -> int:
        return max((_known(line, mark) for line in lines), default=0)

    marks = [mark for mark in (",", ";", "\t") if any(mark in line for line in lines[:1])]
    marks += [mark for mark in (",", ";", "\t") if mark not in marks and known(mark)]
    return max(marks or [","], key=known)


def _known(line: str, mark: str) -> int:
    names = {name.strip().strip('"').strip().lower() for name in line.split(mark)}
    wanted = {ID, ID[:_DBF_NAME], GRADE, *OTHER_COLUMNS}
    return sum(
        name in wanted
        or any(pattern.fullmatch(plain(name)) is not None for pattern in (_GRADE_COLUMN, _LATITUDE, _LONGITUDE))
        for name in names
    )
