"""Step 3: start a run, watch it, stop it. The run is a process of its own; this page only reads what it wrote."""

import time
from collections.abc import Collection
from typing import Any

import streamlit as st

from app import jobs
from app.data import EventView
from app.legend import METHODS, age_text, method_name
from app.sections.label import needed
from app.ui import facts, note, progress, spark
from damage_ssl.assessment.change import ALGORITHM as CHANGE
from damage_ssl.errors import DamageSSLError
from damage_ssl.event.catalog import Event
from damage_ssl.grades import SCHEMES
from damage_ssl.settings import TrainSettings

NETWORKS = {
    "efficientnet-lite0": "EfficientNet-Lite0, pretrained",
    "small-cnn": "Small network from scratch",
}
SCHEME_NAMES = {
    "binary-major": "Major damage or worse",
    "binary-minor": "Minor damage or worse",
    "grades": "Four grades",
}
_STATES = {
    "preparing": "Getting ready",
    "training": "Training",
    "comparing": "Comparing pre and post",
    "predicting": "Predicting every building",
    "finished": "Finished",
    "failed": "Failed",
    "cancelled": "Stopped",
}


def summary(reports: list[jobs.RunReport]) -> str:
    """The state of this step in a few words."""
    if not reports:
        return "no run yet"
    newest = reports[0]
    if newest.active:
        share = f" {newest.step / newest.steps:.0%}" if newest.steps else ""
        return f"{_state(newest).lower()}{share}"
    return f"{_STATES[newest.phase].lower()} {age_text(time.time() - newest.updated)}"


def show(view: EventView, reports: list[jobs.RunReport]) -> None:
    """The running job with its progress, or the form that starts one; then the runs there are."""
    if reports and reports[0].active:
        _progress(view)
    else:
        if reports and reports[0].phase == "failed":
            st.error(reports[0].message or "The last run failed.", icon=":material/error:")
        elif reports and reports[0].phase == "cancelled":
            note("The last run was stopped.")
        _form(view)
    _history(reports)


def _form(view: EventView) -> None:
    default = TrainSettings()
    method = st.selectbox(
        "Method", list(METHODS), format_func=method_name, key="train-method", index=_at(METHODS, default.algorithm)
    )
    note(METHODS[method][1])
    with st.expander("More settings"):
        scheme = st.selectbox(
            "Damaged means",
            list(SCHEME_NAMES),
            format_func=SCHEME_NAMES.__getitem__,
            key="train-scheme",
            index=_at(SCHEME_NAMES, default.scheme),
        )
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
    state = needed(view, SCHEMES[scheme])
    ready = state.enough and view.index is not None
    st.button(
        "Train",
        type="primary",
        width="stretch",
        key="train",
        disabled=not ready,
        icon=":material/model_training:",
        on_click=_start,
        args=(view.event,),
    )
    if error := st.session_state.pop("train-error", None):
        st.error(error)
    note(state.sentence, good=state.enough)


def _start(event: Event) -> None:
    """Start a run with what the form holds at the moment of the click."""
    form = st.session_state
    options = [f"--{name}={form[f'train-{name}']}" for name in ("scheme", "network", "steps", "minutes", "seed")]
    try:
        jobs.start_training(event, form["train-method"], options)
    except (DamageSSLError, OSError) as error:
        form["train-error"] = str(error)


def _at(options: Collection[str], name: str) -> int:
    return list(options).index(name) if name in options else 0


@st.fragment(run_every="1s")
def _progress(view: EventView) -> None:
    report = next(iter(jobs.reports(view.event)), None)
    if report is None or not report.active:
        st.rerun()
    change = report.algorithm == CHANGE
    unit = "building" if change else "step"
    progress(
        _state(report),
        f"{unit} {report.step:,} of {report.steps:,}" if report.step else "loading",
        report.step / report.steps if report.steps else 0.0,
    )
    rows = [("Method", method_name(report.algorithm)), ("Running for", _duration(time.time() - report.started))]
    metrics = report.run.metrics()
    if (left := _seconds_left(report, metrics)) is not None:
        rows.append(("Still about", _duration(left)))
    rows += _latest(metrics)
    facts(rows)
    losses = [float(line["loss"]) for line in metrics if line.get("loss") is not None]
    if len(losses) > 5:
        spark(losses, f"Loss over {len(losses)} readings")
    note(f"You can close or reload this page; {'it' if change else 'training'} goes on.")
    st.button(
        "Stop" if change else "Stop training",
        key="cancel",
        width="stretch",
        icon=":material/stop_circle:",
        on_click=jobs.cancel,
        args=(report.run,),
    )


def _state(report: jobs.RunReport) -> str:
    comparing = report.algorithm == CHANGE and report.phase == "training"
    return _STATES["comparing" if comparing else report.phase]


def _seconds_left(report: jobs.RunReport, metrics: list[dict[str, Any]]) -> float | None:
    """From the pace of the steps so far; None while there is none or the training is over."""
    timed = [line for line in metrics if line.get("seconds") and line.get("step")]
    if report.phase != "training" or not timed:
        return None
    return float(timed[-1]["seconds"]) / timed[-1]["step"] * (report.steps - report.step)


def _latest(metrics: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The newest of each number that a run logs."""
    rows = []
    for name, title, form in (
        ("loss", "Loss", "{:.3f}"),
        ("mask_rate", "Unlabelled in use", "{:.0%}"),
        ("validation_auroc", "Validation AUROC", "{:.2f}"),
    ):
        values = [line[name] for line in metrics if line.get(name) is not None]
        if values:
            rows.append((title, form.format(values[-1])))
    return rows


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _history(reports: list[jobs.RunReport]) -> None:
    past = [report for report in reports if not report.active]
    if not past:
        return
    with st.expander(f"Runs so far ({len(past)})"):
        for report in past[:8]:
            name = method_name(report.algorithm)
            facts([(f"{name}, {_STATES[report.phase].lower()}", age_text(time.time() - report.updated))])
        log = jobs.log_tail(past[0].run.path)
        if log:
            st.caption("Log of the newest")
            st.code(log[-1500:], language=None, wrap_lines=True)
