"""Who sits at this page."""

from dataclasses import dataclass

import streamlit as st

UNNAMED = "analyst"


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody at the page: the name kept with each label, and whether they may change anything."""

    name: str
    may_write: bool = True


def who() -> Person:
    """The person by the name typed, which survives steps and reloads in the page's address."""
    typed = (st.session_state.get("labeller") or st.query_params.get("name") or UNNAMED).strip() or UNNAMED
    if st.query_params.get("name", UNNAMED) != typed:
        st.query_params["name"] = typed
    return Person(name=typed)


def name_field() -> None:
    """Ask for the name."""
    st.session_state.setdefault("labeller", st.query_params.get("name", ""))
    st.text_input(
        "Your name, kept with each label",
        key="labeller",
        max_chars=80,
        placeholder="Your name, kept with each label",
        label_visibility="collapsed",
    )
