"""Excel: a sheet `buildings` with header, HXL row and a row a building, and a sheet `about` that says what it is.

XlsxWriter writes row by row; openpyxl takes twice the time, GDAL's driver keeps all cells in memory.
"""

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from damage_ssl.errors import InputError
from damage_ssl.files import atomic_path
from damage_ssl.products.formats import Metadata, ProductWriter
from damage_ssl.products.formats.csv import without_geometry
from damage_ssl.products.formats.hxl import as_text, hxl_tag
from damage_ssl.products.formats.ogr import LAYER, parts
from damage_ssl.spreadsheet import inert

ROWS = 1_048_574
"""Buildings that fit on a sheet of Excel below header and hashtags."""

_CELL = 32_767


def write_xlsx(product: pd.DataFrame, path: Path, *, metadata: Metadata | None = None) -> None:
    """Write all columns but the geometry. Unknown is empty; text starts no formula and is cut where Excel has to.

    Raises:
        InputError: more buildings than a sheet holds. StorageError: the disk is full or not writable.
    """
    import xlsxwriter  # type: ignore[import-untyped]
    from xlsxwriter.exceptions import FileCreateError  # type: ignore[import-untyped]

    table = without_geometry(product)
    if len(table) > ROWS:
        raise InputError(f"{path}: Excel holds {ROWS:,} buildings, not {len(table):,}; take the CSV, or a selection")
    with (
        atomic_path(Path(path)) as temporary,
        tempfile.TemporaryDirectory(prefix=f".{Path(path).name}.", dir=temporary.parent) as folder,
    ):
        # cells go to a file beside the result, whose disk is the one to have room
        options = {"constant_memory": True, "tmpdir": folder}
        book = xlsxwriter.Workbook(str(temporary), options)
        try:
            _fill(book, table, metadata or {})
            book.close()
        except FileCreateError as error:
            raise error.args[0] from error  # the system's own error, which says whether the disk is full
        finally:
            for sheet in book.worksheets():
                with suppress(OSError, ValueError):
                    sheet.row_data_fh.close()


def _fill(book: Any, table: pd.DataFrame, metadata: Metadata) -> None:
    sheet = book.add_worksheet(LAYER)
    bold = book.add_format({"bold": True})
    sheet.freeze_panes(2, 1)
    for column, name in enumerate(table.columns):
        sheet.write_string(0, column, inert(str(name)), bold)
    for column, name in enumerate(table.columns):
        sheet.write_string(1, column, hxl_tag(str(name)))
    row = 2
    for part in parts(table):
        columns = [_cells(part[name]) for name in part.columns]
        for values in zip(*columns, strict=True):
            for column, value in enumerate(values):
                if value is not None:
                    _WRITE[type(value)](sheet, row, column, value)
            row += 1
    about = book.add_worksheet("about")
    for number, (name, value) in enumerate(metadata.items()):
        about.write_string(number, 0, name)
        about.write_string(number, 1, "" if value is None else str(value)[:_CELL])


def _cells(column: pd.Series) -> list[Any]:
    column = as_text(column)
    values = column.astype(object).where(column.notna(), None).tolist()
    return [value[:_CELL] if isinstance(value, str) else value for value in values]


def _number(sheet: Any, row: int, column: int, value: float) -> None:
    sheet.write_number(row, column, value)


_WRITE: Mapping[type, Any] = {
    str: lambda sheet, row, column, value: sheet.write_string(row, column, value),
    bool: lambda sheet, row, column, value: sheet.write_boolean(row, column, value),
    float: _number,
    int: _number,
}

FORMATS: Mapping[str, ProductWriter] = {".xlsx": write_xlsx}
