"""Step 1: which event, and what is known of its imagery and buildings; its area, its position, its preparation."""

from collections.abc import Callable, Sequence

import streamlit as st

from app.auth.people import who
from app.components.widgets import bar, facts, go_to, note
from app.jobs import event_jobs, inbox, run_reports
from app.panels.area import area
from app.panels.job_progress import log_of, stop_button, watch, work_progress
from app.panels.model_choice import first_map
from app.panels.position import position
from app.state.event_view import EventView
from app.state.legend import dates_text
from damage_ssl.damage_scale import reason_words
from damage_ssl.errors import DamageSSLError

_BUILDINGS_A_MINUTE = 3000


def summary(view: EventView) -> str:
    """The state of this step in a few words."""
    count = len(view.footprints)
    if not view.event.has_footprints:
        return "no footprints yet"
    return f"{count:,} buildings" if view.index is not None else f"{count:,} buildings, not prepared"


def show(view: EventView, reports: Sequence[run_reports.RunReport]) -> None:
    """Hazard, dates, buildings assessed and not with the reasons; prepares the imagery where that is still to do."""
    pre, post = (dates_text([scene.datetime for scene in view.scenes[role]]) for role in ("pre", "post"))
    facts(
        [
            ("Hazard", (view.event.hazard or "not stated").capitalize()),
            ("Pre imagery", f"{pre} · {_scenes(len(view.scenes['pre']))}"),
            ("Post imagery", f"{post} · {_scenes(len(view.scenes['post']))}"),
            ("Buildings", f"{len(view.footprints):,}" if view.event.has_footprints else "not known yet"),
        ]
    )
    may_write = who().may_write
    if event_jobs.preparing(view.event):
        _wait(view, may_write=may_write)
        return
    if may_write:
        _failure(view)
        watch(view, reports)
    if view.index is not None:
        _coverage(view, reports, may_write=may_write)
    elif not may_write:
        note("It is not prepared yet; somebody with the right to change it has to go on.")
    elif not view.event.has_footprints:
        _footprints(view)
    else:
        _preparation(view)


def _scenes(count: int) -> str:
    return f"{count} scene{'' if count == 1 else 's'}"


def _coverage(view: EventView, reports: Sequence[run_reports.RunReport], *, may_write: bool) -> None:
    assessed = int(view.assessed.sum())
    total = len(view.footprints)
    bar([("#2f7d5b", assessed), ("#c3cad2", total - assessed)])
    rows = [("Can be assessed", f"{assessed:,}")]
    rows += [(f"Not: {reason_words(reason)}", f"{count:,}") for reason, count in view.not_assessed.items()]
    facts(rows)
    if assessed < total:
        note("Buildings that cannot be assessed stay on the map and in the download, with their reason.")
    if not may_write:
        return
    st.button("Start labelling", type="primary", width="stretch", key="to-label", on_click=go_to, args=("label",))
    if not any(report.phase == "finished" for report in reports):
        first_map(view, reports)
    area(view)
    position(view)


def _footprints(view: EventView) -> None:
    note("This event has imagery but no building outlines. Let them be found in the pre image, which takes minutes:")
    st.button(
        "Find buildings in the pre image",
        type="primary",
        width="stretch",
        key="detect",
        icon=":material/home_work:",
        on_click=_begin,
        args=(lambda: event_jobs.start_detection(view.event),),
    )
    note("Or get mapped ones (Overture Maps) from the internet:")
    st.button(
        "Get mapped buildings",
        width="stretch",
        key="fetch",
        icon=":material/cloud_download:",
        on_click=_begin,
        args=(lambda: event_jobs.start_fetch(view.event),),
    )
    files = [file.name for file in inbox.inbox_files("footprints")]
    if files:
        note("Or use files that were uploaded, or lie in the inbox:")
        st.multiselect(
            "Building outlines",
            files,
            key="own-footprints",
            format_func=lambda name: name.removeprefix("uploads/"),
            label_visibility="collapsed",
            placeholder="Choose one or several files",
        )
        st.button(
            "Use these outlines",
            width="stretch",
            key="use-footprints",
            disabled=not st.session_state["own-footprints"],
            on_click=_begin,
            args=(lambda: _use(view),),
        )
    else:
        note("Or upload a file of outlines with “Add an event”: it can then be chosen here.")


def _use(view: EventView) -> None:
    names = st.session_state["own-footprints"]
    event_jobs.start_footprints(view.event, [inbox.picked(name, "footprints") for name in names])


def _preparation(view: EventView) -> None:
    if area(view):
        return
    minutes = len(view.footprints) / _BUILDINGS_A_MINUTE
    about = "less than a minute" if minutes < 0.8 else f"about {max(minutes, 1):.0f} min"
    note(f"Do the outlines lie on the buildings? Then have their pictures cut from the imagery; this takes {about}.")
    report = event_jobs.preparation(view.event)
    again = report is not None and report.state in ("stopped", "interrupted")
    st.button(
        "Go on preparing" if again else "Prepare imagery",
        type="primary",
        width="stretch",
        key="prepare",
        on_click=_begin,
        args=(lambda: event_jobs.start_preparation(view.event),),
    )
    position(view)


def _begin(start: Callable[[], None]) -> None:
    """Start work on the event; somebody else may have been faster."""
    try:
        start()
    except (DamageSSLError, OSError) as error:
        st.session_state["event-error"] = inbox.plain(str(error))


def _failure(view: EventView) -> None:
    """What went wrong stays until it is dealt with: by another try, or by putting it away."""
    if error := st.session_state.pop("event-error", None):
        st.warning(error, icon=":material/info:")
    report = event_jobs.preparation(view.event)
    if report is not None and report.state == "stopped":
        note(f"{report.job.title or 'Preparing the imagery'} was stopped; what was finished is kept.")
        return
    ready = view.index is not None
    message = event_jobs.preparation_error(view.event, has_result=ready)
    if message is None or report is None:
        return
    title = "Cutting the pictures again" if ready else report.job.title or "Preparing the imagery"
    st.error(f"{title} failed: {inbox.plain(message)}", icon=":material/error:")
    st.button(
        "Put this message away", key="forget-preparation", type="tertiary", on_click=event_jobs.forget, args=(report,)
    )
    log_of(report)


@st.fragment(run_every="1s")
def _wait(view: EventView, *, may_write: bool) -> None:
    report = event_jobs.preparation(view.event)
    if report is None or not report.active:
        st.rerun()
    work_progress(report)
    note("You can close this page; it goes on.")
    if may_write:
        stop_button(report, lambda: event_jobs.stop(report.folder), key="stop-preparation")
    log_of(report)
