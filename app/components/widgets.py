"""Small pieces of the side panel. All text is escaped: nothing that a user or a file supplied is rendered as HTML."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape

import streamlit as st


def go_to(step: str) -> None:
    """Open a step. Used as a callback: these run before everything else, so that no click is lost to a rerun."""
    st.query_params["step"] = step


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


def note(text: str, *, good: bool = False) -> None:
    """A line of guidance."""
    st.html(f'<p class="ds-note{" good" if good else ""}">{escape(text)}</p>')


def caution(text: str) -> None:
    """What the analyst must not overlook."""
    st.html(f'<p class="ds-caution">{escape(text)}</p>')


def progress(title: str, detail: str, share: float | None) -> None:
    """A progress bar with what is going on and how far it is; `share` in 0..1, None: it cannot be counted, it moves."""
    bar = '<i class="moving"></i>' if share is None else f'<i style="width:{100 * min(max(share, 0.0), 1.0):.1f}%"></i>'
    st.html(f'<div class="ds-progress"><b>{escape(title)}</b><span>{escape(detail)}</span><div>{bar}</div></div>')


def spark(values: Sequence[float], title: str) -> None:
    """A small line of values over time, without axes; the numbers beside it say the latest."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = 100 / max(len(values) - 1, 1)
    points = " L".join(f"{row * step:.2f},{2 + 36 * (high - value) / span:.2f}" for row, value in enumerate(values))
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 40" preserveAspectRatio="none">'
        f'<path d="M{points}" fill="none" stroke="#0b5cad" stroke-width="1.6" vector-effect="non-scaling-stroke"/>'
        "</svg>"
    )
    source = f"data:image/svg+xml;base64,{b64encode(drawing.encode()).decode()}"
    st.html(f'<img class="ds-spark" src="{source}" alt="{escape(title)}">')


def headline(number: str, text: str) -> None:
    """The one number of a step."""
    st.html(f'<div class="ds-headline"><b>{escape(number)}</b> {escape(text)}</div>')
