"""The part "Check" of the map: queues of buildings that deserve a second look, what the audit says, who agrees."""

import streamlit as st

from app.checking import CHECKS, Standing, audit_rows, case_of, standings
from app.data import EventView
from app.evidence import audit_of
from app.models import Model
from app.sections import agreement
from app.ui import facts, note
from damage_ssl.assessment.audit import AuditReport, Share


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
            if kind == "audit" and model is not None and standing.done:
                with st.container(key="audit-says"):
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
    right = report.accuracy
    if right.tells_little and right.n:
        answers = "1 answer tells" if right.n == 1 else f"{right.n:,} answers tell"
        note(f"{answers} little: the map is right for between {right.low:.0%} and {right.high:.0%} of the buildings.")
    elif right.n:
        facts(
            [
                ("Right", _figure(right)),
                ("Called damaged, and is", _figure(report.precision)),
                ("Damaged, and called so", _figure(report.recall)),
                ("Audited with a grade", f"{right.n:,} of {report.population:,}"),
            ]
        )
    left_out = [
        (report.no_grade, "without a grade"),
        (report.learned, "that taught this model"),
    ]
    parts = ["Left out: " + "; ".join(f"{count:,} {what}" for count, what in left_out if count) + "."]
    if not any(count for count, _ in left_out):
        parts = []
    if report.skipped:
        parts.append(f"{report.skipped:,} skipped: answer these too, or the sample is not quite random.")
    if model.run is None and right.n:
        parts.append("The live model is asked as if it had not learned from the answer.")
    if parts:
        note(" ".join(parts))


def _figure(share: Share) -> str:
    """`90% (85% to 93%)`, or that there is too little to say."""
    if share.value is None:
        return "none yet"
    interval = f"{share.low:.0%} to {share.high:.0%}"
    return f"{interval}: too few" if share.tells_little else f"{share.value:.0%} ({interval})"
