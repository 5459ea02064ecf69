"""The part "Check" of the map: queues of buildings that deserve a second look, what the audit says, who agrees."""

import streamlit as st

from app.checking import CHECKS, Standing, audit_rows, case_of, standings
from app.data import EventView
from app.evidence import audit_of
from app.models import Model
from app.sections import agreement
from app.ui import facts, note
from damage_ssl.assessment.audit import AuditReport


def walk(kind: str | None) -> None:
    """Let the arrow keys walk a queue of checking; None: the queue for labelling again."""
    if kind is None:
        st.session_state.pop("queue", None)
    else:
        st.session_state["queue"] = kind


def show(view: EventView, model: Model | None, labeller: str) -> None:
    """The queues with what waits in each; the chosen one is walked with the arrow keys."""
    case = case_of(view, model, labeller)
    chosen = st.session_state.get("queue")
    with st.container(key="checks"):
        for kind, standing in standings(case).items():
            _queue(kind, standing, chosen=kind == chosen)
            if kind == "audit" and model is not None and (standing.done or kind == chosen):
                _audit(audit_of(view, model, audit_rows(view), case.revision), model)
    if chosen is None:
        note("Choose a queue. Its first building opens beside the map; answer with the keys, → skips.")
    with st.expander("Agreement between analysts"):
        agreement.show(view, model, case.revision)


def _queue(kind: str, standing: Standing, *, chosen: bool) -> None:
    check = CHECKS[kind]
    with st.container(key=f"check-{kind}-{'on' if chosen else 'off'}"):
        st.button(
            f"**{check.title}** :gray[{_state(kind, standing)}]",
            key=f"walk-{kind}",
            type="tertiary",
            width="stretch",
            disabled=not standing.waiting and not chosen,
            on_click=walk,
            args=(None if chosen else kind,),
        )
        if chosen:
            note(check.purpose if standing.waiting else "Nothing more waits here.", good=not standing.waiting)


def _state(kind: str, standing: Standing) -> str:
    done = f"{standing.done:,} done" if standing.done else ""
    if kind == "audit":
        return done or "not begun"
    waiting = f"{standing.waiting:,}" if standing.waiting else standing.needs or ("" if done else "none")
    return " · ".join(part for part in (waiting, done) if part)


def _audit(report: AuditReport, model: Model) -> None:
    measured = [
        ("Right", report.accuracy.sentence),
        ("Called damaged, and is", report.precision.sentence),
        ("Damaged, and called so", report.recall.sentence),
    ]
    if report.accuracy.n:
        facts(measured if not report.accuracy.tells_little else measured[:1])
    left_out = [
        (report.no_grade, "without a grade"),
        (report.learned, "that taught this model"),
        (report.skipped, "skipped: answer these too, or the sample is no longer random"),
    ]
    words = "; ".join(f"{count:,} {what}" for count, what in left_out if count)
    about = "The live model is asked as if it had not learned from the answer." if model.run is None else ""
    text = " ".join(
        part for part in (f"Left out: {words}." if words else "", about if report.accuracy.n else "") if part
    )
    if text:
        note(text)
