"""The part "Check" of the map: queues of buildings that deserve a second look, what the audit says, who agrees.

Of the agreement of analysts: who has answered how much, kappa with its meaning in words, where two of them differ.
"""

from html import escape

import streamlit as st

from app.components.widgets import facts, note
from app.state.event_view import EventView
from app.state.label_evidence import agreement_of, answer_counts, audit_of, confusion_of
from app.state.review_queues import CHECKS, QueueState, case_of, queue_states
from app.state.totals import totals_of
from damage_ssl.evaluation.audit import AuditReport, Share
from damage_ssl.labels.agreement import Confusion, kappa_words
from damage_ssl.products.map_style import colour_of, name_of
from damage_ssl.runs.model import MapModel

RECOMMENDED = ("audit", "adjudicate", "contradicted", "second", "unsure")
"""The order in which checking is worth most: first the total, then what is wrong for sure, then what may be."""

GOALS = {
    "adjudicate": "settle the {count} buildings on which analysts differ.",
    "contradicted": "look again at the {count} labels that models contradict.",
    "second": "give {count} second opinions, so that you know how far you agree.",
    "unsure": "answer the most uncertain buildings; twenty are enough to see whether the map changes.",
}
"""What each is to reach; the random audit says its own."""


def walk(kind: str | None) -> None:
    """Let the arrow keys walk a queue of checking; None: the queue for labelling again."""
    if kind is None:
        st.session_state.pop("queue", None)
    else:
        st.session_state["queue"] = kind


def show(view: EventView, model: MapModel | None, labeller: str) -> None:
    """The queues with what waits in each; the chosen one is walked with the arrow keys."""
    case = case_of(view, model, labeller)
    chosen = st.session_state.get("queue")
    states = queue_states(case)
    _recommended(view, model, states, chosen)
    with st.container(key="checks"):
        for kind, state in states.items():
            _queue(kind, state, chosen=kind == chosen)
            if kind == "audit" and (kind == chosen or state.done):
                with st.container(key="audit-says"):
                    if model is not None and state.done:
                        _audit(audit_of(view, model, case.revision), model)
                    note(totals_of(view, model).next_step or "")
    if chosen is None:
        note("Choose a queue. Its first building opens beside the map; answer with the keys, → skips.")
    with st.expander("Agreement between analysts", key="agreement"):
        show_agreement(view, model, case.revision)


def _recommended(view: EventView, model: MapModel | None, states: dict[str, QueueState], chosen: str | None) -> None:
    """What to do next, and how far to go: the first of `RECOMMENDED` in which something waits."""
    asked = totals_of(view, model).next_step
    for kind in RECOMMENDED:
        waiting = states[kind].waiting
        if not waiting or (kind == "audit" and not asked):
            continue
        goal = str(asked) if kind == "audit" else GOALS[kind].format(count=f"{waiting:,}")
        with st.container(key="recommended"):
            note(f"Next: {goal}")
            if chosen != kind:
                st.button(
                    CHECKS[kind].title,
                    key="go-recommended",
                    type="primary",
                    width="stretch",
                    on_click=walk,
                    args=(kind,),
                )
        return
    note("All that is recommended is done.", good=True)


def _queue(kind: str, state: QueueState, *, chosen: bool) -> None:
    check = CHECKS[kind]
    with st.container(key=f"check-{kind}-{'on' if chosen else 'off'}"):
        st.button(
            f"**{check.title}** :gray[{_state(kind, state)}]",
            key=f"walk-{kind}",
            type="tertiary",
            width="stretch",
            disabled=not state.waiting and not chosen,
            on_click=walk,
            args=(None if chosen else kind,),
        )
        if chosen:
            note(check.purpose if state.waiting else "Nothing more waits here.", good=not state.waiting)


def _state(kind: str, state: QueueState) -> str:
    done = f"{state.done:,} done" if state.done else ""
    if kind == "audit":
        return done or "not begun"
    waiting = f"{state.waiting:,}" if state.waiting else state.needs or ("" if done else "none")
    return " · ".join(part for part in (waiting, done) if part)


def _audit(report: AuditReport, model: MapModel) -> None:
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


KEYS = {"no-damage": "1", "minor-damage": "2", "major-damage": "3", "destroyed": "4"}


def show_agreement(view: EventView, model: MapModel | None, revision: int) -> None:
    """The part "Agreement" of checking."""
    given = answer_counts(view.event, revision)
    if not given:
        note("Nobody has labelled yet.")
        return
    facts([(name, f"{count:,} answers") for name, count in given.items()])
    scheme = model.scheme if model is not None else view.scheme
    every, coarse = (agreement_of(view.event, revision, each) for each in (None, scheme))
    if not every.buildings:
        note("No building has been answered by two analysts yet. The queue “Second opinions” asks for that.")
        return
    note(f"{every.buildings:,} buildings were answered by two or more. Agreement beyond chance (kappa):")
    facts(
        [
            ("On the exact answer", kappa_words(every.kappa, every.buildings)),
            ("On damaged or not", kappa_words(coarse.kappa, coarse.buildings)),
        ]
    )
    pairs = {f"{pair.first} and {pair.second}": pair for pair in every.pairs}
    names = list(pairs)
    if st.session_state.get("agreement-pair") not in names:
        st.session_state["agreement-pair"] = names[0]
    chosen = names[0] if len(names) == 1 else st.selectbox("Two analysts", names, key="agreement-pair")
    pair = pairs[chosen]
    note(
        f"{pair.first} and {pair.second} gave the same answer to {pair.agreed:.0%} of {pair.buildings:,} buildings; "
        f"Cohen's kappa {kappa_words(pair.kappa, pair.buildings)}."
    )
    st.html(_table(confusion_of(view.event, revision, pair.first, pair.second), pair.first, pair.second))


def _table(found: Confusion, first: str, second: str) -> str:
    """A small table of counts: one analyst down, the other across; where they agree is set off."""
    head = "".join(
        f'<th scope="col" title="{escape(name_of(each))}">{_swatch(each)}<br>{_short(each)}</th>'
        for each in found.answers
    )
    body = "".join(
        f'<tr><th scope="row">{_swatch(given)}{_short(given)} {escape(name_of(given))}</th>'
        + "".join(
            f'<td class="{"same" if given == other else "apart" if count else "none"}">{count or "·"}</td>'
            for other, count in zip(found.answers, row, strict=True)
        )
        + "</tr>"
        for given, row in zip(found.answers, found.counts, strict=True)
    )
    return (
        f'<table class="ds-confusion"><caption>Down: {escape(first)}. Across: {escape(second)}.</caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _short(value: str) -> str:
    """The key with which an answer is given; the first letter of one that has none."""
    return KEYS.get(value, name_of(value)[0])


def _swatch(value: str) -> str:
    return f'<i style="background:{escape(colour_of(value))}" aria-hidden="true"></i>'
