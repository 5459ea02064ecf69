"""Step 3: start a run, watch it, stop it. The run is a process of its own; this page only reads what it wrote."""

import time

import pandas as pd
import streamlit as st

from app import jobs
from app.data import EventView
from app.legend import age_text
from app.sections.label import needed
from app.ui import facts, note
from damage_ssl.errors import DamageSSLError
from damage_ssl.grades import SCHEMES
from damage_ssl.settings import TrainSettings

METHODS = {
    "fixmatch": "FixMatch: labels and all unlabelled buildings",
    "mixmatch": "MixMatch: labels and all unlabelled buildings",
    "supervised-strong": "Supervised: labels only",
    "frozen-lite0": "Quick: frozen features, in seconds",
}
NETWORKS = {
    "efficientnet-lite0": "EfficientNet-Lite0, pretrained",
    "small-cnn": "Small network from scratch",
}
SCHEME_NAMES = {
    "binary-major": "Damaged = major damage or worse",
    "binary-minor": "Damaged = minor damage or worse",
    "grades": "Four grades",
}
_STATES = {
    "preparing": "Getting ready",
    "training": "Training",
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
        return f"{_STATES[newest.phase].lower()}{share}"
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
    method = st.selectbox("Method", list(METHODS), format_func=METHODS.__getitem__, key="train-method", index=_at(METHODS, default.algorithm))
    with st.expander("More settings"):
        scheme = st.selectbox(
            "Classes", list(SCHEME_NAMES), format_func=SCHEME_NAMES.__getitem__, key="train-scheme", index=_at(SCHEME_NAMES, default.scheme)
        )
        network = st.selectbox(
            "Network", list(NETWORKS), format_func=NETWORKS.__getitem__, key="train-network", index=_at(NETWORKS, default.network),
            disabled=method.startswith("frozen"),
        )
        steps = st.number_input("Steps", 1, 20000, default.steps, key="train-steps")
        minutes = st.number_input("At most, minutes", 0.5, 600.0, 10.0, step=0.5, key="train-minutes")
        seed = st.number_input("Seed", 0, 9999, default.seed, key="train-seed")
    state = needed(view, SCHEMES[scheme])
    ready = state.enough and view.index is not None
    if st.button("Train", type="primary", width="stretch", key="train", disabled=not ready, icon=":material/model_training:"):
        options = ["--scheme", scheme, "--network", network, "--steps", str(steps), "--minutes", str(minutes), "--seed", str(seed)]
        try:
            jobs.start_training(view.event, method, options)
        except (DamageSSLError, OSError) as error:
            st.error(str(error))
            return
        st.rerun()
    note(state.sentence, good=state.enough)


def _at(options: dict[str, str], name: str) -> int:
    return list(options).index(name) if name in options else 0


@st.fragment(run_every="1s")
def _progress(view: EventView) -> None:
    report = next(iter(jobs.reports(view.event)), None)
    if report is None or not report.active:
        st.rerun()
    share = report.step / report.steps if report.steps else 0.0
    text = f"**{_STATES[report.phase]}**"
    st.progress(min(share, 1.0), text=text + (f" · step {report.step:,} of {report.steps:,}" if report.steps else " · loading"))
    elapsed = time.time() - report.started
    rows = [("Method", METHODS.get(report.algorithm, report.algorithm).split(":")[0]), ("Running for", _duration(elapsed))]
    if report.phase == "training" and report.step >= 5:
        rows.append(("Still about", _duration((report.updated - report.started) / report.step * (report.steps - report.step))))
    metrics = pd.DataFrame(report.run.metrics())
    rows += _latest(metrics)
    facts(rows)
    if len(metrics) > 2 and "loss" in metrics:
        st.line_chart(metrics.set_index("step")[["loss"]], height=110, color="#0b5cad", x_label="", y_label="loss")
    note("You can close or reload this page; training goes on.")
    if st.button("Stop training", key="cancel", width="stretch", icon=":material/stop_circle:"):
        jobs.cancel(report.run)
        st.rerun()


def _latest(metrics: pd.DataFrame) -> list[tuple[str, str]]:
    rows = []
    for column, title, form in (
        ("loss", "Loss", "{:.3f}"),
        ("mask_rate", "Unlabelled in use", "{:.0%}"),
        ("validation_score", "Validation AUROC", "{:.2f}"),
    ):
        values = metrics[column].dropna() if column in metrics else ()
        if len(values):
            rows.append((title, form.format(values.iloc[-1])))
    return rows


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _history(reports: list[jobs.RunReport]) -> None:
    past = [report for report in reports if not report.active]
    if not past:
        return
    with st.expander(f"Runs so far ({len(past)})"):
        for report in past[:8]:
            name = METHODS.get(report.algorithm, report.algorithm).split(":")[0]
            facts([(f"{name}, {_STATES[report.phase].lower()}", age_text(time.time() - report.updated))])
        log = jobs.log_tail(past[0].run.path)
        if log:
            st.caption("Log of the newest")
            st.code(log[-1500:], language=None, wrap_lines=True)
