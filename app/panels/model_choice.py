"""Which model the map shows, the choice of another one, and how the trained and the live one differ.

Before there is any label: the button that makes a first map without.
"""

import time
from collections.abc import Sequence

import streamlit as st

from app.auth.people import who
from app.components.widgets import note, progress
from app.jobs import event_jobs, run_jobs, run_reports
from app.jobs.event_jobs import features_work
from app.jobs.job import JobReport
from app.panels.job_progress import stop_button
from app.state.event_view import EventView
from app.state.legend import age_text, method_name
from app.state.shown_models import differing, live_model, needs_features, newest_left_out
from damage_ssl.errors import DamageSSLError
from damage_ssl.events.event import Event
from damage_ssl.runs.live import LiveModel
from damage_ssl.runs.model import MapModel

NOT_TAKEN = (
    "The newest training is not shown by itself: on held-out buildings it is not better than the older one, or too few "
    "were held out to tell."
)


def shown_model(models: Sequence[MapModel]) -> MapModel | None:
    """The model that was chosen on the page, else the default.

    A choice holds until a better run has been trained since: that one then replaces what was shown.
    """
    chosen, trained = st.session_state.get("model", (None, None))
    known = {each.model_id: each for each in models}
    if chosen in known and trained == _best_trained(models):
        return known[chosen]
    return next(iter(models), None)


def _best_trained(models: Sequence[MapModel]) -> str | None:
    return next((each.model_id for each in models if each.run is not None and each.kind.is_probability), None)


def model_choice(
    view: EventView, model: MapModel | None, models: Sequence[MapModel], reports: Sequence[run_reports.RunReport]
) -> None:
    """Name the shown model, offer the others, and say on how many buildings the trained and the live one differ."""
    if model is None:
        return
    if len(models) > 1:
        names = {each.model_id: _name(each, reports) for each in models}
        st.session_state["model-choice"] = model.model_id
        st.selectbox(
            "The map shows",
            list(names),
            format_func=lambda name: names.get(name, name),
            key="model-choice",
            on_change=_choose,
            args=(_best_trained(models),),
        )
    else:
        note(f"The map shows: {_name(model, reports)}.")
    if (newer := newest_left_out(models)) is not None and newer != model:
        note(NOT_TAKEN)
    live = next((each for each in models if isinstance(each, LiveModel)), None)
    trained = next((each for each in models if each.run is not None and each.kind.is_probability), None)
    if live is None or trained is None:
        return
    count, of = len(differing(view, trained, live)), int(view.assessed.sum())
    if not count:
        note(f"The trained and the live model agree on all {of:,} buildings.")
        return
    note(f"The trained and the live model differ on {count:,} of {of:,} buildings.")
    st.button("Look at where they differ", key="to-differ", width="stretch", on_click=_walk_differing)


def _choose(trained: str | None) -> None:
    st.session_state["model"] = (st.session_state["model-choice"], trained)


def _walk_differing() -> None:
    st.session_state["queue"] = "differ"
    st.session_state["map-part"] = "Check"
    st.query_params["step"] = "map"


def _name(model: MapModel, reports: Sequence[run_reports.RunReport]) -> str:
    if isinstance(model, LiveModel):
        learned = sum(model.prediction.learned_from.values())
        return f"{method_name(model.algorithm)}, from {learned:,} labels"
    report = next((each for each in reports if each.run.run_id == model.model_id), None)
    age = "" if report is None else f", {age_text(time.time() - report.updated)}"
    return f"{method_name(model.algorithm)}{age}"


def features_state(view: EventView, models: Sequence[MapModel], *, may_write: bool) -> None:
    """While the live model's features are missing: make them, and say how far that is or why it failed.

    Draws the page again where the live model has appeared since `models` were listed: nothing else would.
    """
    if needs_features(view):
        _make_features(view, may_write=may_write)
    if not any(isinstance(each, LiveModel) for each in models) and live_model(view) is not None:
        st.rerun()


def _make_features(view: EventView, *, may_write: bool) -> None:
    work = features_work(view)
    if event_jobs.preparing(view.event):
        _after_preparation(view)
    elif work is None and may_write:
        _start_live(view)
        work = features_work(view)
    if work is not None and work.active:
        _working(view, may_write=may_write)
    elif work is not None and may_write:
        _failed(view, work)
    if error := st.session_state.pop("features-error", None):
        st.error(error)


@st.fragment(run_every="2s")
def _after_preparation(view: EventView) -> None:
    if not event_jobs.preparing(view.event):
        st.rerun()
    note("The map is coloured while you label once the pictures have been cut.")


@st.fragment(run_every="1.5s")
def _working(view: EventView, *, may_write: bool) -> None:
    work = features_work(view)
    if work is None or not work.active:
        st.rerun()
    share = work.said.done / work.said.total if work.said.total else 0.0
    detail = f"{share:.0%}" if work.said.total else "starting"
    if work.seconds_left is not None and work.seconds_left > 60:
        detail += f", {work.seconds_left / 60:.0f} min left"
    progress("Getting ready to colour the map while you label", detail, share)
    if may_write:
        stop_button(work, lambda: event_jobs.stop_features(view.event), key="stop-features")


def _failed(view: EventView, work: JobReport) -> None:
    if work.state == "done":
        return  # finished a moment ago
    stopped = work.state == "stopped"
    if stopped:
        note("Stopped: the map is not coloured while you label.")
    else:
        st.error(f"The map cannot be coloured while you label. {work.message}", icon=":material/error:")
    title = "Go on" if stopped else "Try again"
    st.button(title, key="features-again", width="stretch", on_click=_start_live, args=(view,))


def _start_live(view: EventView) -> None:
    try:
        event_jobs.start_features(view.event)
    except (DamageSSLError, OSError) as error:
        st.session_state["features-error"] = str(error)


def first_map(view: EventView, reports: Sequence[run_reports.RunReport]) -> None:
    """Offer to compare pre and post without labels, where pairs are cut; say so while it runs or why it failed."""
    if view.index is None or not view.assessed.any():
        return
    if not who().may_write:
        return
    if reports and reports[0].active:
        note("A map is being made; step 3 shows how far it is.")
        return
    if reports and not reports[0].kind.learns and reports[0].phase in ("failed", "interrupted"):
        st.error(reports[0].message, icon=":material/error:")
    st.button(
        "First map without labels",
        width="stretch",
        key="first-map",
        icon=":material/compare:",
        on_click=_start_first_map,
        args=(view.event,),
    )
    if error := st.session_state.pop("first-map-error", None):
        st.error(error)
    note("Compares pre and post of every building and shows what changed most. A start, not a probability of damage.")


def _start_first_map(event: Event) -> None:
    try:
        run_jobs.start_first_map(event)
    except (DamageSSLError, OSError) as error:
        st.session_state["first-map-error"] = str(error)
