"""The upload box: files dropped or chosen go to the inbox in pieces, with progress, cancelling and going on."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent
_HTML = '<div class="up"></div>'


def uploader(
    on_done: Callable[[str], None],
    *,
    endings: Sequence[str],
    limit_bytes: int,
    free_bytes: int,
    partials: Sequence[dict[str, Any]],
) -> None:
    """Show the box.

    Args:
        on_done: is told the name, within the inbox, of each file that is complete.
        endings: what names of files may end with.
        limit_bytes: the largest file that is taken.
        free_bytes: what the disk has room for.
        partials: files that were not sent to their end: `name`, `key`, and `received` in bytes.
    """
    key = "uploader"

    def done() -> None:
        told = st.session_state.get("uploads-told", 0)
        for file in st.session_state[key].done or []:
            if file["at"] > told:
                on_done(f"uploads/{file['name']}")
                st.session_state["uploads-told"] = file["at"]

    _component()(
        key=key,
        data={
            "limit_bytes": limit_bytes,
            "free_bytes": free_bytes,
            "endings": list(endings),
            "partials": list(partials),
        },
        on_done_change=done,
    )


def page_style() -> str:
    """The style of the page around the box."""
    return (_HERE / "page.css").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _component() -> Any:
    js, css = ((_HERE / name).read_text(encoding="utf-8") for name in ("upload.js", "upload.css"))
    return st.components.v2.component("damage_ssl_upload", html=_HTML, css=css, js=js)
