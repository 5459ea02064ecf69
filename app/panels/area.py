"""The area of interest: drawn on the map, typed or of a file; the count of buildings in it is said before it counts."""

from typing import Any

import streamlit as st

from app.components.widgets import facts, note
from app.jobs import event_jobs, inbox
from app.state import event_view
from app.state.event_view import EventView
from damage_ssl.errors import DamageSSLError
from damage_ssl.events import area as event_area
from damage_ssl.events.area import Area, set_area
from damage_ssl.footprints.reader import read_aoi

_DEALT = "area-dealt"
_BUILDINGS_A_SECOND = 60_000


def bench_area(view: EventView, *, may_write: bool) -> dict[str, Any]:
    """What the map needs to know of the area: its shape, whether one may draw, and which drawing is dealt with."""
    return {
        "shape": event_area.shape_of(view.event),
        "counts": view.index is not None,
        "editable": may_write and view.event.has_footprints and not event_jobs.preparing(view.event),
        "dealt": st.session_state.get(_DEALT),
    }


def area(view: EventView) -> bool:
    """What is drawn, with the count of buildings inside, to be taken or dropped; else the other ways to set an area.

    Returns:
        True where a drawing waits for that decision.
    """
    drawn = _drawn(view)
    if message := st.session_state.pop("area-message", None):
        st.error(message, icon=":material/error:")
    if drawn is not None:
        _offer(view, drawn)
        return True
    kept = view.event.aoi() is not None
    title = f"Area of interest: {len(view.footprints):,}" if kept else "Area of interest: all"
    with st.expander(title, key="area-of-interest"):
        note("Draw it on the map with the buttons below the picture, or:")
        st.text_input(
            "Bounds in degrees",
            key="area-bounds",
            placeholder="west,south,east,north",
            max_chars=120,
            on_change=_typed,
        )
        files = [file.name for file in inbox.inbox_files("area")]
        if files:
            st.selectbox(
                "Polygons of a file",
                [None, *files],
                key="area-file",
                format_func=lambda name: "Choose a file" if name is None else name.removeprefix("uploads/"),
                on_change=_from_file,
            )
        if kept:
            note("All buildings of the imagery come back; labels stay.")
            if st.button("Take the area away", width="stretch", key="area-remove"):
                _apply(view, None, len(view.footprints))
    return False


def _drawn(view: EventView) -> Area | None:
    """The area that waits for a decision: typed or of a file, else drawn on the map."""
    waiting = st.session_state.get("area-given")
    if isinstance(waiting, tuple) and waiting[0] == view.event.name:
        given: Area = waiting[1]
        return given
    value = (st.session_state.get(f"workbench-{view.event.name}") or {}).get("area")
    return None if event_area.drawn_to_count(value) else _read(view, value)


def _read(view: EventView, value: Any) -> Area | None:
    if not value or value.get("nonce") == st.session_state.get(_DEALT):
        return None
    try:
        return event_area.drawn_area(value)
    except DamageSSLError as error:
        st.session_state["area-message"] = str(error)
        drop(view)
        return None


def counted_area(view: EventView) -> Area | None:
    """The area that was drawn in the map step, to know how many buildings in it are damaged."""
    value = (st.session_state.get(f"workbench-{view.event.name}") or {}).get("area")
    return _read(view, value) if event_area.drawn_to_count(value) else None


def _offer(view: EventView, drawn: Area) -> None:
    try:
        count, total = event_view.count_inside(view, drawn)
    except DamageSSLError as error:
        st.session_state["area-message"] = inbox.plain(str(error))
        drop(view)
        st.rerun()
    facts([("Buildings in this area", f"{count:,} of {total:,}")])
    if view.index is not None and count:
        note("Maps made for another area are no longer shown until a model is trained again. Labels stay.")
    left, right = st.columns(2)
    use = left.button("Use this area", type="primary", width="stretch", key="area-apply", disabled=not count)
    right.button("Discard", width="stretch", key="area-discard", on_click=drop, args=(view,))
    if use:
        _apply(view, drawn, total)
    if not count:
        note("No building lies in it.")


def _apply(view: EventView, chosen: Area | None, buildings: int) -> None:
    seconds = buildings // _BUILDINGS_A_SECOND
    try:
        with st.spinner(f"Setting the area, about {seconds} s" if seconds else "Setting the area"):
            event_jobs.refuse_beside(view.event, *event_jobs.ALL_WORK)
            set_area(view.event, chosen)
    except (DamageSSLError, OSError) as error:
        st.session_state["area-message"] = inbox.plain(str(error))
    drop(view)
    st.rerun()


def drop(view: EventView) -> None:
    """The drawing is dealt with: the map clears it."""
    st.session_state.pop("area-given", None)
    value = (st.session_state.get(f"workbench-{view.event.name}") or {}).get("area")
    if value:
        st.session_state[_DEALT] = value.get("nonce")


def _typed() -> None:
    text = st.session_state["area-bounds"].strip()
    if not text:
        return
    try:
        st.session_state["area-given"] = (st.session_state["event"], event_area.typed_area(text))
    except DamageSSLError as error:
        st.session_state["area-message"] = str(error)


def _from_file() -> None:
    name = st.session_state["area-file"]
    if name is None:
        return
    try:
        st.session_state["area-given"] = (st.session_state["event"], read_aoi(inbox.picked(name, "area")))
    except (DamageSSLError, OSError) as error:
        st.session_state["area-message"] = inbox.plain(str(error))
