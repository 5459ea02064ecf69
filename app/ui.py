"""Small pieces of the side panel. All text is escaped: nothing that a user or a file supplied is rendered as HTML."""

from collections.abc import Sequence
from html import escape

import streamlit as st


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Name and value, line by line."""
    cells = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    st.html(f'<dl class="ds-facts">{cells}</dl>')


def bars(rows: Sequence[tuple[str, str, int]]) -> None:
    """(name, colour, count): a labelled bar each, as long as its count."""
    most = max((count for _, _, count in rows), default=0) or 1
    st.html(
        '<div class="ds-bars">'
        + "".join(
            f'<span class="ds-name"><i style="background:{escape(colour)}"></i>{escape(name)}</span>'
            f'<span class="ds-track"><i style="width:{100 * count / most:.1f}%;background:{escape(colour)}"></i></span>'
            f'<span class="ds-count">{count:,}</span>'
            for name, colour, count in rows
        )
        + "</div>"
    )


def bar(parts: Sequence[tuple[str, int]]) -> None:
    """(colour, count): one bar in shares."""
    st.html(
        '<div class="ds-bar">'
        + "".join(f'<i style="flex:{count};background:{escape(colour)}"></i>' for colour, count in parts if count)
        + "</div>"
    )


def keys(rows: Sequence[tuple[str, str]]) -> None:
    """Keys and what they do."""
    st.html(
        '<div class="ds-keys">'
        + "".join(f"<span><kbd>{escape(key)}</kbd> {escape(text)}</span>" for key, text in rows)
        + "</div>"
    )


def note(text: str, *, good: bool = False) -> None:
    """A line of guidance."""
    st.html(f'<p class="ds-note{" good" if good else ""}">{escape(text)}</p>')
