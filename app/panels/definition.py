"""What counts as damaged in the event: said where people label, asked there once, and the one place to change it."""

import streamlit as st

from app.auth.people import who, writers_only
from app.components.widgets import caution, note
from app.state.event_view import EventView
from damage_ssl.damage_scale import ClassScheme
from damage_ssl.errors import DamageSSLError
from damage_ssl.events.definition import SHORT_WORDS, state_scheme, stated_scheme
from damage_ssl.events.event import Event
from damage_ssl.products.definition_report import definition_report
from damage_ssl.products.map_style import name_of


def words_of(name: str) -> str:
    """A scheme for somebody who chooses."""
    words = SHORT_WORDS[name]
    return words[:1].upper() + words[1:]


def sentence_of(scheme: ClassScheme) -> str:
    """Which grades count as damaged, in the names of the label buttons."""
    names = [name_of(grade.label).lower() for grade in sorted(scheme.damaged_grades)]
    told = "; the map tells the four grades apart" if scheme.has_grades else ""
    return f"Damaged means {', '.join(names[:-1])} and {names[-1]}{told}."


def definition(view: EventView, *, may_write: bool) -> None:
    """Which grades count; while nobody has said, the question; then a way to change it, and what is stale."""
    asked = stated_scheme(view.event) is None
    note(sentence_of(view.scheme))
    if not may_write:
        return
    if asked:
        caution("Nobody has said yet what counts as damaged in this event. Say it before you label.")
    with st.expander("What counts as damaged", expanded=asked, key="definition"):
        st.radio(
            "Damaged means",
            list(SHORT_WORDS),
            index=list(SHORT_WORDS).index(view.scheme.name),
            format_func=words_of,
            key=f"definition-{view.event.name}-{view.scheme.name}",
            label_visibility="collapsed",
        )
        note("Give the grade that you see: which grades count is worked out from it, and can be changed later.")
        st.button(
            "Use this" if asked else "Change it for the event",
            key="definition-state",
            width="stretch",
            on_click=_state,
            args=(view.event, f"definition-{view.event.name}-{view.scheme.name}"),
        )
    if error := st.session_state.pop("definition-error", None):
        st.error(error, icon=":material/error:")
    for line in st.session_state.pop("definition-stale", ()):
        note(line)


@writers_only
def _state(event: Event, key: str) -> None:
    try:
        state_scheme(event, st.session_state[key], by=who().name)
        st.session_state["definition-stale"] = [
            line[:1].upper() + line[1:] + "." for line in definition_report(event).stale_lines()
        ]
    except DamageSSLError as error:
        st.session_state["definition-error"] = str(error)
