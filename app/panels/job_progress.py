"""How long work is shown, whatever it is: what it does, how far it is, time left, the way to stop it, its log."""

import time
from collections.abc import Callable, Sequence

import streamlit as st

from app.components.widgets import facts, progress
from app.jobs import event_jobs, job, run_reports
from app.state.event_view import EventView

_STAGES = {
    "register": ("Measuring how the images lie", "buildings"),
    "patches": ("Cutting the pictures", "buildings"),
    "train": ("Training", "steps"),
    "predict": ("Predicting", "buildings"),
    "compare": ("Comparing pre and post", "buildings"),
    "detect": ("Looking for buildings", "parts"),
    "features": ("Learning what the buildings look like", "buildings"),
}


def work_progress(report: job.JobReport) -> None:
    """What is being done, how much of it, since when and for how long still."""
    title, unit = _STAGES.get(report.said.stage, (report.job.title or "Working", ""))
    if report.state == "stopping":
        title = "Stopping…"
    done, total = report.said.done, report.said.total
    share = done / total if total else 0.0
    detail = f"{done:,} of {total:,} {unit}".strip() if total else "please wait"
    progress(title, detail, share)
    rows = [("Running for", duration(time.time() - report.job.started))]
    if report.seconds_left is not None:
        rows.append(("Still about", duration(report.seconds_left)))
    facts(rows)


def stop_button(report: job.JobReport, on_click: Callable[[], None], *, key: str, title: str = "Stop") -> None:
    """Ask the work to stop; once asked, the button ends it by force."""
    stopping = report.state == "stopping"
    st.button(
        "Stop at once" if stopping else title,
        key=key,
        width="stretch",
        icon=":material/stop_circle:",
        on_click=on_click,
    )


@st.fragment(run_every="4s")
def watch(view: EventView, reports: Sequence[run_reports.RunReport]) -> None:
    """Draw the page again when work was begun or ended in another window."""
    now = run_reports.reports(view.event)
    here = [(report.run.run_id, report.active) for report in reports]
    if event_jobs.preparing(view.event) or [(report.run.run_id, report.active) for report in now] != here:
        st.rerun()


def log_of(report: job.JobReport) -> None:
    """The last lines of the work's log, for whoever wants them."""
    log = job.log_tail(report.folder)
    if log:
        with st.expander("Log", key=f"log-{report.folder.name}"):
            st.code(log[-1500:], language=None, wrap_lines=True)


def duration(seconds: float) -> str:
    """Seconds in words."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
