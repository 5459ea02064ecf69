"""The one screen: steps and their panel on the left, the map and the selected building beside them."""

from pathlib import Path

import streamlit as st

from app.auth.access import Person
from app.auth.people import admit, head, take_name
from app.components.map.map import workbench
from app.components.widgets import caution, go_to
from app.jobs import run_reports
from app.panels import event, handover, labels, map, new_event, training
from app.panels.model_choice import shown_model
from app.panels.workbench import workbench_data
from app.state.configuration import without_paths, workspace_path
from app.state.event_view import EventView, view_of
from app.state.queues import QUEUES
from app.state.shown_models import shown_models
from damage_ssl.errors import DamageSSLError
from damage_ssl.events.event import list_events
from damage_ssl.products.selection import Selection
from damage_ssl.runs.model import MapModel

TITLES = {
    "event": "1 · Event",
    "label": "2 · Label",
    "train": "3 · Train",
    "map": "4 · Map",
    "handover": "5 · Hand over",
}
STEPS = tuple(TITLES)
VIEWED = ("event", "map", "handover")


# (Comments, not docstrings: Streamlit shows a text that stands alone in its main script on the page.)

# VIEWED: the steps of somebody who may look and download only.

KEPT = ("model", "queue", "map-part", "changes-since", *handover.ANSWER_KEYS, *map.FILTER_KEYS)


# KEPT: choices that belong to the event, forgotten with another one.


def main() -> None:
    """Lay the screen out."""
    st.set_page_config(
        page_title="damage_ssl",
        page_icon=str(Path(__file__).parent / "icon.png"),
        layout="wide",
        initial_sidebar_state="locked",
    )
    st.html(f"<style>{(Path(__file__).parent / 'style.css').read_text(encoding='utf-8')}</style>")
    try:
        person = admit()
        names = list_events(workspace_path())
        if not names or (person.may_write and new_event.wanted()):
            new_event.page(names, person)
            return
        _keep_choices()
        map.filter_from_address()
        _screen(names, person)
    except DamageSSLError as error:
        st.error(without_paths(str(error)), icon=":material/error:")


def _keep_choices() -> None:
    """Streamlit forgets a widget's value once a run does not draw it; what was chosen in one step holds in all."""
    for key in KEPT:
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]


def _screen(names: list[str], person: Person) -> None:
    with st.sidebar:
        st.html('<div class="ds-brand">damage_ssl <span>building damage map</span></div>')
        chosen = _choose_event(names)
        _say_missing()
        with st.container(key="head"):
            head(person)
            if person.may_write:
                new_event.entry()
        view = view_of(chosen)
        step = _current_step(person)
        models = shown_models(view)
        model = shown_model(models)
        wanted = _steps(view, step, model, models, person)
    data = workbench_data(view, model, step, wanted, person, _queue(view, step))
    workbench(chosen, data, take_name)


def _queue(view: EventView, step: str) -> dict[str, str]:
    """Which queue the arrow keys walk: in the map step the one that was chosen there, else the one for labelling."""
    kind = st.session_state.get("queue", "label") if step == "map" else "label"
    return {"kind": kind} if kind in QUEUES and kind != "label" else labels.queue_settings(view)


def _choose_event(names: list[str]) -> str:
    asked = st.query_params.get("event")
    if asked is not None and asked not in names:
        st.session_state["event-missing"] = asked
    index = names.index(asked) if asked in names else 0
    chosen = st.selectbox("Event", names, index=index, key="event", label_visibility="collapsed")
    if asked != chosen:
        st.query_params["event"] = chosen
        if asked is not None:
            for name in ("building", *map.FILTER_PARAMETERS):
                st.query_params.pop(name, None)
        for key in KEPT:
            st.session_state.pop(key, None)
    return chosen


def _say_missing() -> None:
    """A link to an event that is not here must not pass for one to the event that is shown instead."""
    missing = st.session_state.get("event-missing")
    if missing is None:
        return
    with st.container(key="event-missing-said"):
        caution(
            f"There is no event '{missing}' here: it was renamed or deleted, or the link is of another server. This is "
            "another event."
        )
        st.button("Put this message away", key="event-missing-away", type="tertiary", on_click=_forget_missing)


def _forget_missing() -> None:
    st.session_state.pop("event-missing", None)


def _current_step(person: Person) -> str:
    step = st.query_params.get("step")
    return step if step in (STEPS if person.may_write else VIEWED) else "event"


def _steps(view: EventView, active: str, model: MapModel | None, models: list[MapModel], person: Person) -> Selection:
    reports = run_reports.reports(view.event)
    wanted = Selection()
    states = {
        "event": event.summary(view),
        "label": labels.summary(view),
        "train": training.summary(reports),
        "map": map.summary(reports, model),
        "handover": handover.summary(view),
    }
    for step in STEPS if person.may_write else VIEWED:
        if step == "train" and reports and reports[0].active:
            _live_header(view, active=active == step)
        else:
            _header(step, states[step], active=step == active)
        if step != active:
            continue
        with st.container(key=f"body-{step}"):
            match step:
                case "event":
                    event.show(view, reports)
                case "label":
                    labels.show(view, model, models, reports, person)
                case "train":
                    training.show(view, reports)
                case "map":
                    wanted = map.show(view, model, models, reports)
                case _:
                    wanted = handover.show(view, model)
    return wanted


def _header(step: str, state: str, *, active: bool, live: bool = False) -> None:
    with st.container(key=f"step-{step}-{'on' if active else 'off'}"):
        clicked = st.button(
            f"**{TITLES[step]}** :gray[{state}]",
            key=f"go-{step}",
            type="tertiary",
            width="stretch",
            on_click=go_to,
            args=(step,),
        )
    if clicked and live:
        st.rerun()


@st.fragment(run_every="2s")
def _live_header(view: EventView, *, active: bool) -> None:
    """While a run works: its progress, whichever step is open, and the new map as soon as it is done."""
    reports = run_reports.reports(view.event)
    if not reports or not reports[0].active:
        st.rerun()
    _header("train", training.summary(reports), active=active, live=True)


main()
