"""Step 3: start a run, watch it, stop it, go on. The run is a process of its own; this page reads what it wrote."""

import time
from collections.abc import Collection
from typing import Any

import streamlit as st

from app.auth.people import who
from app.components.widgets import caution, facts, note, progress, spark
from app.jobs import run_jobs, run_reports
from app.panels.definition import sentence_of
from app.panels.job_progress import duration, watch
from app.panels.labels import needed
from app.panels.model_choice import NOT_TAKEN
from app.panels.runs import history, outcome
from app.state.event_view import EventView
from app.state.legend import METHODS, age_text, method_name
from app.state.shown_models import newest_left_out, shown_models
from damage_ssl.errors import DamageSSLError
from damage_ssl.events.event import Event
from damage_ssl.learning.settings import TrainSettings

NETWORKS = {
    "cached-lite0": "EfficientNet-Lite0 as it is (minutes)",
    "efficientnet-lite0": "EfficientNet-Lite0, fine-tuned (slow)",
    "small-cnn": "Small network from scratch",
}
STATES = {
    "preparing": "Getting ready",
    "training": "Training",
    "comparing": "Comparing pre and post",
    "predicting": "Predicting every building",
    "stopping": "Stopping…",
    "finished": "Finished",
    "failed": "Failed",
    "cancelled": "Stopped",
    "interrupted": "Interrupted",
}


def summary(reports: list[run_reports.RunReport]) -> str:
    """The state of this step in a few words."""
    if not reports:
        return "no run yet"
    newest = reports[0]
    if newest.active:
        share = f" {newest.step / newest.steps:.0%}" if newest.steps and newest.phase == "training" else ""
        return f"{_state(newest).lower()}{share}"
    if not newest.kind.learns and newest.phase == "finished":
        return "no model yet"
    return f"{STATES[newest.phase].lower()} {age_text(time.time() - newest.updated)}"


def show(view: EventView, reports: list[run_reports.RunReport]) -> None:
    """The running job with its progress, or the form that starts one; then the runs there are."""
    may_write = who().may_write
    if error := st.session_state.pop("train-error", None):
        st.warning(error, icon=":material/info:")
    if reports and reports[0].active:
        _progress(view, may_write=may_write)
    else:
        watch(view, reports)
        if reports:
            _newest(view, reports[0], may_write=may_write)
        if may_write:
            _form(view)
    history(view, reports, may_write=may_write)


def _newest(view: EventView, report: run_reports.RunReport, *, may_write: bool) -> None:
    """What came of the last run, and the way on."""
    if report.phase == "finished":
        left_out = newest_left_out(shown_models(view))
        if left_out is not None and left_out.run == report.run:
            caution(NOT_TAKEN)
        outcome(report)
        return
    if report.phase == "failed":
        st.error(report.message or "The last run failed.", icon=":material/error:")
    elif report.phase == "interrupted":
        st.warning(report.message[:1].upper() + report.message[1:], icon=":material/power_off:")
    else:
        done = f" after {report.step:,} of {report.steps:,} steps" if report.step and report.steps else ""
        note(f"The last run was stopped{done}; what it had learned is kept.")
    if may_write and report.resumable:
        st.button(
            "Go on",
            key="go-on",
            width="stretch",
            icon=":material/play_circle:",
            on_click=_go_on,
            args=(view.event, report),
        )
        if report.kind.learns:
            note("It goes on with the labels that it was begun with; with newer ones train anew.")


def _go_on(event: Event, report: run_reports.RunReport) -> None:
    try:
        run_jobs.go_on(event, report)
    except (DamageSSLError, OSError) as error:
        st.session_state["train-error"] = str(error)


def _form(view: EventView) -> None:
    default = TrainSettings()
    method = st.selectbox(
        "Method", list(METHODS), format_func=method_name, key="train-method", index=_at(METHODS, default.algorithm)
    )
    note(METHODS[method][1])
    note(f"{sentence_of(view.scheme)} It is set for the whole event, in step 2.")
    with st.expander("More settings", key="more-settings"):
        st.selectbox(
            "Network",
            list(NETWORKS),
            format_func=NETWORKS.__getitem__,
            key="train-network",
            index=_at(NETWORKS, default.network),
            disabled=method.startswith("frozen"),
        )
        left, right = st.columns(2)
        left.number_input("Steps", 1, 20000, default.steps, step=50, key="train-steps")
        right.number_input("At most, min", 1, 600, 10, key="train-minutes")
        st.number_input("Seed", 0, 9999, default.seed, key="train-seed")
    state = needed(view)
    prepared = view.index is not None
    note(
        state.sentence if prepared else "The imagery is not prepared yet: do that in step 1.",
        good=state.enough and prepared,
    )
    st.button(
        "Train",
        type="primary",
        width="stretch",
        key="train",
        disabled=not (state.enough and prepared),
        icon=":material/model_training:",
        on_click=_start,
        args=(view.event,),
    )


def _start(event: Event) -> None:
    """Start a run with what the form holds at the moment of the click."""
    form = st.session_state
    options = [f"--{name}={form[f'train-{name}']}" for name in ("network", "steps", "minutes", "seed")]
    try:
        run_jobs.start_training(event, form["train-method"], options)
    except (DamageSSLError, OSError) as error:
        form["train-error"] = str(error)


def _at(options: Collection[str], name: str) -> int:
    return list(options).index(name) if name in options else 0


@st.fragment(run_every="1s")
def _progress(view: EventView, *, may_write: bool) -> None:
    report = next(iter(run_reports.reports(view.event)), None)
    if report is None or not report.active:
        st.rerun()
    change = not report.kind.learns
    metrics = report.run.metrics()
    done, total, unit, left = _how_far(report, metrics)
    progress(
        _state(report),
        f"{unit} {done:,} of {total:,}" if done else "",
        done / total if done and total else None,
    )
    rows = [("Method", method_name(report.algorithm)), ("Running for", duration(time.time() - report.started))]
    if left is not None:
        rows.append(("Still about", duration(left)))
    facts(rows)
    if sentence := _so_far(metrics):
        note(sentence)
    _details(metrics)
    note(f"You can close or reload this page; {'it' if change else 'training'} goes on.")
    if may_write:
        stopping = report.phase == "stopping"
        st.button(
            "Stop at once" if stopping else "Stop" if change else "Stop training",
            key="cancel",
            width="stretch",
            icon=":material/stop_circle:",
            on_click=run_jobs.cancel,
            args=(report.run,),
        )
        if stopping:
            note("It stops after the step that it is at, and keeps what it has learned.")


def _state(report: run_reports.RunReport) -> str:
    comparing = not report.kind.learns and report.phase == "training"
    stage = "" if report.work is None else report.work.said.stage
    counted = report.work is not None and 0 < report.work.said.done < report.work.said.total
    cutting = report.phase == "preparing" and stage in ("patches", "register") and counted
    return "Cutting the pictures" if cutting else STATES["comparing" if comparing else report.phase]


def _how_far(report: run_reports.RunReport, metrics: list[dict[str, Any]]) -> tuple[int, int, str, float | None]:
    """Done, total, of what, and seconds left: the run's own steps while it trains, else what its process says."""
    if report.phase in ("preparing", "predicting") and report.work is not None and report.work.said.total:
        return report.work.said.done, report.work.said.total, "building", report.work.seconds_left
    return report.step, report.steps, report.kind.unit, _seconds_left(report, metrics)


def _seconds_left(report: run_reports.RunReport, metrics: list[dict[str, Any]]) -> float | None:
    """From the pace of the steps so far; None while there is none or the training is over."""
    timed = [line for line in metrics if line.get("seconds") and line.get("step")]
    if report.phase != "training" or not timed:
        return None
    return float(timed[-1]["seconds"]) / float(timed[-1]["step"]) * (report.steps - report.step)


def _so_far(metrics: list[dict[str, Any]]) -> str:
    """How good it is by now, in a sentence; empty before it was first checked."""
    scores = [float(line["validation_auroc"]) for line in metrics if line.get("validation_auroc") is not None]
    if not scores:
        return ""
    return (
        f"So far it puts a damaged building above an intact one in {100 * scores[-1]:.0f} of 100 pairs of labels that "
        "it has not learned from; guessing would give 50."
    )


def _details(metrics: list[dict[str, Any]]) -> None:
    """The numbers that a run logs, for whoever knows them."""
    rows = _latest(metrics)
    if not rows:
        return
    with st.expander("Details", key="training-details"):
        facts(rows)
        losses = [float(line["loss"]) for line in metrics if line.get("loss") is not None]
        if len(losses) > 5:
            spark(losses, f"Loss over {len(losses)} readings")


def _latest(metrics: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The newest of each number that a run logs."""
    rows = []
    for name, title, form in (
        ("loss", "Loss (should fall)", "{:.3f}"),
        ("mask_rate", "Unlabelled buildings in use", "{:.0%}"),
        ("validation_auroc", "Score on held-out labels (0.5–1)", "{:.2f}"),
    ):
        values = [line[name] for line in metrics if line.get(name) is not None]
        if values:
            rows.append((title, form.format(values[-1])))
    return rows
