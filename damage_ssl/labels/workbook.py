"""The sheets of an XLSX workbook as text: numbers as they are kept, zeros as they are shown, merged cells filled.

openpyxl reads it; pandas would turn ids into floats and drop the format that holds their zeros.
"""

import re
import zipfile
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from damage_ssl.errors import InputError

_MOST_BYTES = 300_000_000
_KEPT_DIGITS = 15  # a spreadsheet keeps no more of a number


def sheets_of(path: Path) -> dict[str, list[tuple[int, list[str]]]]:
    """(row number, cells) of every row that is not blank, for each sheet that is not hidden.

    Raises:
        InputError: it is no XLSX workbook, is damaged, or is too large for one.
    """
    import openpyxl

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            size = sum(member.file_size for member in archive.infolist())
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: is no whole workbook ({error}); save it anew, or the sheet as CSV UTF-8") from error
    if "xl/workbook.xml" not in names:
        raise InputError(
            f"{path}: is a zip file, but no XLSX workbook; save the sheet as XLSX or as CSV UTF-8, and give that file"
        )
    if size > _MOST_BYTES:
        raise InputError(f"{path}: holds {size:,} bytes unpacked; save the sheet as CSV UTF-8 and give that file")
    try:
        book = openpyxl.load_workbook(path, data_only=True)
        return {sheet.title: _rows(sheet) for sheet in book.worksheets if sheet.sheet_state == "visible"}
    except Exception as error:  # openpyxl raises whatever a damaged part leads to
        raise InputError(
            f"{path}: cannot be read as a workbook ({error}); save it anew, or the sheet as CSV UTF-8"
        ) from error


def _rows(sheet: Any) -> list[tuple[int, list[str]]]:
    merged = {
        (row, column): (area.min_row, area.min_col)
        for area in sheet.merged_cells.ranges
        for row in range(area.min_row, area.max_row + 1)
        for column in range(area.min_col, area.max_col + 1)
    }
    out = []
    for number, cells in enumerate(sheet.iter_rows(), start=1):
        texts = [
            _text(cell if (number, place) not in merged else sheet.cell(*merged[number, place]))
            for place, cell in enumerate(cells, start=1)
        ]
        if any(texts):
            out.append((number, texts))
    return out


def _text(cell: Any) -> str:
    """A cell as its reader sees it, as far as that decides what it says."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**_KEPT_DIGITS:
        value = int(value)
    if isinstance(value, int):
        if abs(value) >= 10**_KEPT_DIGITS:
            return f"{value:.14E}"  # its last digits are lost
        zeros = re.fullmatch(r"0+", cell.number_format or "")
        return str(value).zfill(len(zeros[0])) if zeros else str(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value).strip()
