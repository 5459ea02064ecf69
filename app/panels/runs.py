"""What came of runs: the last one in plain words, and the list of all with the way to delete one."""

import time

import streamlit as st

from app.components.widgets import caution, facts, go_to, note
from app.jobs import job, run_jobs, run_reports
from app.panels.model_choice import shown_model
from app.state.event_view import EventView
from app.state.legend import age_text, method_name
from app.state.shown_models import shown_models
from damage_ssl.errors import DamageSSLError
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.events.event import Event
from damage_ssl.runs.finished_run import run_summary
from damage_ssl.runs.run import Run

_STEADY_FROM = 40
_LISTED = 12
_ENDED = {
    "finished": "finished",
    "failed": "failed",
    "cancelled": "stopped",
    "interrupted": "interrupted",
}


def outcome(report: run_reports.RunReport) -> None:
    """How good a finished run is on labels that it has not seen, with how many those are, and the way to the map."""
    if not report.kind.learns:
        note("The first map without labels is done. It says what changed most, not how likely damage is.", good=True)
    else:
        summary = run_summary(report.run)
        score = validation_score(report.run)
        calibration = Calibration.read(report.run.calibration_path)
        damaged = calibration.n_damaged
        pairs = damaged * (calibration.n_validation - damaged)
        whose = "of them, each by a training without it" if summary.cross_fitted else "others"
        rows = [
            ("Trained on", f"{summary.trained_on:,} labels"),
            ("Checked on", f"{summary.validated_on:,} {whose}, {damaged:,} damaged"),
        ]
        if score is not None:
            rows.insert(0, ("Score on unseen labels", f"{score:.2f}"))
        note("The last training is finished.", good=True)
        facts(rows)
        if score is not None and pairs:
            note(
                f"Of a damaged and an intact building that it has not learned from, it puts the damaged one higher in "
                f"{score * pairs:,.0f} of {pairs:,} pairs (AUROC {score:.2f}; 0.50 is guessing)."
            )
        if summary.statement is not None:
            caution(summary.statement[:1].upper() + summary.statement[1:])
        elif summary.validated_on < _STEADY_FROM:
            caution(f"This rests on {summary.validated_on:,} labels only: the true score may well be another.")
    st.button("Show the map", type="primary", width="stretch", key="to-map", on_click=go_to, args=("map",))


def validation_score(run: Run) -> float | None:
    """The newest AUROC on held-out labels that a run logged; None where it logged none."""
    scores = [line["validation_auroc"] for line in run.metrics() if line.get("validation_auroc") is not None]
    return float(scores[-1]) if scores else None


def history(view: EventView, reports: list[run_reports.RunReport], *, may_write: bool) -> None:
    """The runs there were; each can be deleted, after being asked."""
    past = [report for report in reports if not report.active]
    if not past:
        return
    model = shown_model(shown_models(view))
    shown = None if model is None else model.model_id
    with st.expander(f"Runs so far ({len(past)})", key="runs-so-far"):
        for report in past[:_LISTED]:
            _line(view.event, report, shown=report.run.run_id == shown, may_write=may_write)
        if len(past) > _LISTED:
            note(f"… and {len(past) - _LISTED} older ones.")
        if error := st.session_state.pop("delete-error", None):
            st.error(error, icon=":material/error:")
        log = job.log_tail(past[0].run.path)
        if log:
            st.caption("Log of the newest")
            st.code(log[-1500:], language=None, wrap_lines=True)


def _line(event: Event, report: run_reports.RunReport, *, shown: bool, may_write: bool) -> None:
    run_id = report.run.run_id
    title = f"{method_name(report.algorithm)}, {_ENDED.get(report.phase, report.phase)}"
    score = validation_score(report.run) if report.phase == "finished" else None
    value = " · ".join(
        part for part in (f"{score:.2f}" if score is not None else "", age_text(time.time() - report.updated)) if part
    )
    facts([(title, value)])
    if not may_write:
        return
    asked = st.session_state.get("delete-asked") == run_id
    if not asked:
        st.button("Delete…", key=f"delete-{run_id}", type="tertiary", on_click=_ask, args=(run_id,))
        return
    if shown:
        caution("This run is the map that is shown. What was handed over of it stays, the map itself goes.")
    else:
        note("Its predictions and weights go; what was handed over of it stays.")
    left, right = st.columns(2)
    left.button("Delete", key=f"really-{run_id}", width="stretch", on_click=_delete, args=(event, report.run))
    right.button("Keep it", key=f"keep-{run_id}", width="stretch", on_click=_ask, args=(None,))


def _ask(run_id: str | None) -> None:
    st.session_state["delete-asked"] = run_id


def _delete(event: Event, run: Run) -> None:
    _ask(None)
    try:
        run_jobs.delete(event, run)
    except (DamageSSLError, OSError) as error:
        st.session_state["delete-error"] = str(error)
