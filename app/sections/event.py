"""Step 1: which event, and what is known of its imagery and buildings."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app import jobs
from app.data import EventView
from app.legend import dates_text
from app.sections.first_map import first_map
from app.sections.position import position
from app.ui import bar, facts, go_to, note
from app.viewport import reason_text
from app.workspace import workspace_path


def summary(view: EventView) -> str:
    """The state of this step in a few words."""
    count = len(view.footprints)
    if not view.event.has_footprints:
        return "no footprints yet"
    return f"{count:,} buildings" if view.index is not None else f"{count:,} buildings, not prepared"


def show(view: EventView, reports: Sequence[jobs.RunReport]) -> None:
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
    if jobs.preparing(view.event):
        _wait(view)
    elif not view.event.has_footprints:
        _footprints(view)
    elif view.index is None:
        _preparation(view)
    else:
        _coverage(view, view.index, reports)


def _scenes(count: int) -> str:
    return f"{count} scene{'' if count == 1 else 's'}"


def _coverage(view: EventView, index: pd.DataFrame, reports: Sequence[jobs.RunReport]) -> None:
    if error := jobs.preparation_error(view.event, has_result=True):
        st.error(f"Cutting the pictures again failed: {error}", icon=":material/error:")
    assessed = int(view.assessed.sum())
    total = len(view.footprints)
    bar([("#2f7d5b", assessed), ("#c3cad2", total - assessed)])
    rows = [("Can be assessed", f"{assessed:,}")]
    reasons = index.loc[~view.assessed, "not_assessed_reason"].value_counts()
    rows += [(f"Not: {reason_text(str(reason))}", f"{count:,}") for reason, count in reasons.items()]
    facts(rows)
    if assessed < total:
        note("Buildings that cannot be assessed stay on the map and in the download, with their reason.")
    st.button("Start labelling", type="primary", width="stretch", key="to-label", on_click=go_to, args=("label",))
    if not any(report.phase == "finished" for report in reports):
        first_map(view, reports)
    position(view)


def _footprints(view: EventView) -> None:
    if error := jobs.preparation_error(view.event, has_result=False):
        st.error(f"Finding the buildings failed: {error}", icon=":material/error:")
    note("This event has imagery but no building outlines. Let them be found in the pre image, which takes minutes:")
    st.button(
        "Find buildings in the pre image",
        type="primary",
        width="stretch",
        key="detect",
        icon=":material/home_work:",
        on_click=jobs.start_detection,
        args=(view.event,),
    )
    note("Or get mapped ones from the internet, or give a file of your own; then reload this page:")
    name, workspace = view.event.name, workspace_path()
    st.code(
        f"damage-ssl footprints fetch {name} --workspace {workspace}\n\n"
        f"damage-ssl init {name} --pre … --post … --footprints FILE --overwrite --workspace {workspace}",
        language=None,
        wrap_lines=True,
    )


def _preparation(view: EventView) -> None:
    if error := jobs.preparation_error(view.event, has_result=False):
        st.error(f"Preparing the imagery failed: {error}", icon=":material/error:")
    note("The building pictures have to be cut from the imagery once; this takes about a minute for 3,000 buildings.")
    st.button(
        "Prepare imagery",
        type="primary",
        width="stretch",
        key="prepare",
        on_click=jobs.start_preparation,
        args=(view.event,),
    )


@st.fragment(run_every="1s")
def _wait(view: EventView) -> None:
    job = jobs.job_in(jobs.preparation_folder(view.event))
    if job is None or not jobs.is_alive(job):
        st.rerun()
    doing = "Preparing the imagery" if view.event.has_footprints else "Looking for buildings"
    seconds = pd.Timestamp.now().timestamp() - job.started
    st.info(
        f"{doing}, {seconds:.0f} s so far. You can close this page; it goes on.",
        icon=":material/hourglass_top:",
    )
