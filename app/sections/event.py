"""Step 1: which event, and what is known of its imagery and buildings."""

import pandas as pd
import streamlit as st

from app import jobs
from app.data import EventView
from app.legend import dates_text
from app.ui import bar, facts, go_to, note
from app.viewport import reason_text


def summary(view: EventView) -> str:
    """The state of this step in a few words."""
    count = len(view.footprints)
    return f"{count:,} buildings" if view.index is not None else f"{count:,} buildings, not prepared"


def show(view: EventView) -> None:
    """Hazard, dates, buildings assessed and not with the reasons; prepares the imagery where that is still to do."""
    pre, post = (dates_text([scene.datetime for scene in view.scenes[role]]) for role in ("pre", "post"))
    facts(
        [
            ("Hazard", (view.event.hazard or "not stated").capitalize()),
            ("Pre imagery", f"{pre} · {_scenes(len(view.scenes['pre']))}"),
            ("Post imagery", f"{post} · {_scenes(len(view.scenes['post']))}"),
            ("Buildings", f"{len(view.footprints):,}"),
        ]
    )
    if view.index is None:
        _preparation(view)
    else:
        _coverage(view)


def _scenes(count: int) -> str:
    return f"{count} scene{'' if count == 1 else 's'}"


def _coverage(view: EventView) -> None:
    assessed = int(view.assessed.sum())
    total = len(view.footprints)
    bar([("#2f7d5b", assessed), ("#c3cad2", total - assessed)])
    rows = [("Can be assessed", f"{assessed:,}")]
    reasons = view.index.loc[~view.assessed, "not_assessed_reason"].value_counts()
    rows += [(f"Not: {reason_text(str(reason))}", f"{count:,}") for reason, count in reasons.items()]
    facts(rows)
    if assessed < total:
        note("Buildings that cannot be assessed stay on the map and in the download, with their reason.")
    st.button("Start labelling", type="primary", width="stretch", key="to-label", on_click=go_to, args=("label",))


def _preparation(view: EventView) -> None:
    job = jobs.job_in(jobs.preparation_folder(view.event))
    if job is not None and jobs.is_alive(job):
        _wait(view)
        return
    if job is not None:
        st.error("Preparing the imagery failed. Its last lines:", icon=":material/error:")
        st.code(jobs.log_tail(jobs.preparation_folder(view.event))[-800:], language=None, wrap_lines=True)
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
    seconds = pd.Timestamp.now().timestamp() - job.started
    st.info(
        f"Preparing the imagery, {seconds:.0f} s so far. You can close this page; it goes on.",
        icon=":material/hourglass_top:",
    )
