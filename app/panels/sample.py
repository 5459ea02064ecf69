"""The first start: a sample event at one click, and what the five steps are."""

import re
from collections.abc import Callable, Sequence
from html import escape

import streamlit as st

from app.components.widgets import note
from app.jobs import event_jobs
from app.state.configuration import open_event
from damage_ssl.errors import DamageSSLError

SAMPLE = "sample-town"
"""The name of the sample event; with a number behind it where there is one already."""

_CATALOGUE_ENTRY = "simulated-earthquake"
_STEPS = (
    ("Event", "Look at the imagery from before and after, and cut a pair of pictures for each building."),
    (
        "Label",
        "Say what some buildings are: keys 1 to 4, a few seconds each, or whole tiles of ground. The map learns.",
    ),
    ("Train", "From a few dozen labels a model judges all other buildings."),
    ("Map", "How many are damaged and where, and which buildings deserve a second look."),
    ("Hand over", "A folder for others: map, report, tables, for people with and without a GIS."),
)


def offer(names: Sequence[str], begin: Callable[[str], None]) -> None:
    """The button, and the five steps in a line each; beside other events only the button, closed away."""
    if names:
        with st.expander("New here? Try the sample event", key="sample"):
            _offered(names, begin)
    else:
        with st.container(key="sample"):
            _offered(names, begin)


def _offered(names: Sequence[str], begin: Callable[[str], None]) -> None:
    note("A drawn town after an earthquake, to try everything with. No real place; nothing is downloaded.")
    st.button(
        "Try the sample event",
        key="try-sample",
        type="secondary" if names else "primary",
        icon=":material/play_circle:",
        on_click=begin,
        args=(free_name(names),),
    )
    rows = "".join(f"<li><b>{escape(title)}.</b> {escape(text)}</li>" for title, text in _STEPS)
    st.html(f'<ol class="ds-tour" aria-label="The five steps">{rows}</ol>')


def free_name(names: Sequence[str]) -> str:
    """`sample-town`, or `sample-town-2` and so on where there is one."""
    return next(
        name
        for name in (SAMPLE if number == 1 else f"{SAMPLE}-{number}" for number in range(1, len(names) + 2))
        if name not in names
    )


def start(name: str) -> None:
    """Draw the town and describe it as an event, in the background.

    Raises:
        WorkspaceError: it is being made already.
    """
    event_jobs.start_new_event(name, ["--from-catalog", _CATALOGUE_ENTRY], {"name": name})


def prepare(name: str) -> None:
    """Cut the pictures of a sample event that was just made: it can be labelled at once. Of others do nothing."""
    if not re.fullmatch(rf"{SAMPLE}(-\d+)?", name):
        return
    try:
        event_jobs.start_preparation(open_event(name))
    except (DamageSSLError, OSError):
        return  # step 1 offers it
