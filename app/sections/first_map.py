"""The button that makes a first map before there is any label."""

from collections.abc import Sequence

import streamlit as st

from app import jobs
from app.data import EventView
from app.people import who
from app.ui import note
from damage_ssl.assessment.change import ALGORITHM
from damage_ssl.errors import DamageSSLError
from damage_ssl.event.catalog import Event


def first_map(view: EventView, reports: Sequence[jobs.RunReport]) -> None:
    """Offer to compare pre and post without labels, where pairs are cut; say so while it runs or why it failed."""
    if view.index is None or not view.assessed.any():
        return
    if not who().may_write:
        return
    if reports and reports[0].active:
        note("A map is being made; step 3 shows how far it is.")
        return
    if reports and reports[0].algorithm == ALGORITHM and reports[0].phase in ("failed", "interrupted"):
        st.error(reports[0].message, icon=":material/error:")
    st.button(
        "First map without labels",
        width="stretch",
        key="first-map",
        icon=":material/compare:",
        on_click=_start,
        args=(view.event,),
    )
    if error := st.session_state.pop("first-map-error", None):
        st.error(error)
    note("Compares pre and post of every building and shows what changed most. A start, not a probability of damage.")


def _start(event: Event) -> None:
    try:
        jobs.start_first_map(event)
    except (DamageSSLError, OSError) as error:
        st.session_state["first-map-error"] = str(error)
