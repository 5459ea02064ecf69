"""Text in tables that people open in a spreadsheet: none of it is run there, and what was meant can be read back.

A cell that begins with `=`, `+`, `-` or `@` is a formula to Excel, LibreOffice and Google Sheets, also out of a CSV,
and a formula may start programs or send the table elsewhere (OWASP, "CSV Injection"). An apostrophe in front makes it
text.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

_RUNS = re.compile(r"(?='*[=+\-@\t\r\n＝＋－＠])")
_QUOTED = re.compile(r"'('*[=+\-@\t\r\n＝＋－＠])")


def inert(text: str) -> str:
    """Text that no spreadsheet takes for a formula; `meant` gives it back.

    Examples:
        >>> inert("=1+1"), inert("two=2"), inert("'=1")
        ("'=1+1", 'two=2', "''=1")
    """
    return f"'{text}" if _RUNS.match(text) else text


def meant(text: str) -> str:
    """The text that `inert` was given.

    Examples:
        >>> meant("'=1+1"), meant("'quoted'"), meant("''=1")
        ('=1+1', "'quoted'", "'=1")
    """
    return text[1:] if _QUOTED.match(text) else text


def inert_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a table, their texts made `inert`, names of columns included."""
    return [
        {inert(name): inert(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows
    ]
