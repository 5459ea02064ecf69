"""Step 2: how many labels there are, what is still needed and what more would bring; labelling is beside the map.

Labels can also come from a CSV file: checked row by row, and taken all or none.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from app.auth.access import Person
from app.components.widgets import bars, go_to, note
from app.jobs import outlook_jobs, run_reports
from app.panels.definition import definition
from app.panels.model_choice import features_state, model_choice
from app.state.event_view import EventView, current_labels, label_counts
from app.state.sampling_shares import Shares, keep_shares, shares_of
from app.state.shown_models import features_stamp
from damage_ssl import workflow
from damage_ssl.damage_scale import DamageGrade, LabelValue
from damage_ssl.errors import DamageSSLError
from damage_ssl.evaluation.learning_curve import LearningCurve
from damage_ssl.events.event import Event
from damage_ssl.labels.label_csv import ImportReport
from damage_ssl.products.map_style import colour_of, name_of
from damage_ssl.runs.model import MapModel
from damage_ssl.settings import SplitSettings

COMFORTABLE_PER_CLASS = 20
_TOLD_EVERY = 5
"""Answers after which the outlook is worked out again: it moves little with each."""


@dataclass(frozen=True)
class Needed:
    """Labels per class of a scheme, against the floor below which training is refused."""

    counts: dict[str, int]
    floor: int

    @property
    def enough(self) -> bool:
        """True where training is possible."""
        return all(count >= self.floor for count in self.counts.values())

    @property
    def sentence(self) -> str:
        """What is missing and why training waits for it, or that nothing is."""
        missing = [
            f"{self.floor - count} more {name_of(name).lower()}"
            for name, count in self.counts.items()
            if count < self.floor
        ]
        if missing:
            return (
                f"To train, label {' and '.join(missing)}. With fewer than {self.floor} of each there would be none to "
                "check the result by."
            )
        least = min(self.counts, key=lambda name: self.counts[name])
        if self.counts[least] < COMFORTABLE_PER_CLASS:
            return (
                f"Enough to train. {COMFORTABLE_PER_CLASS} of each make the result steadier: "
                f"{self.counts[least]} {name_of(least).lower()} so far."
            )
        return "Enough to train."


def needed(view: EventView) -> Needed:
    """How the labels that training can use stand against its floor, under what the event calls damaged."""
    scheme, split = view.scheme, SplitSettings()
    counts = dict.fromkeys(scheme.class_names, 0)
    for value, count in label_counts(view).items():
        index = scheme.index_of(value)
        if index is not None:
            counts[scheme.class_names[index]] += count
    return Needed(counts, split.min_train_per_class + split.min_validation_per_class)


def summary(view: EventView) -> str:
    """The state of this step in a few words."""
    total = len(current_labels(view.event)[0])
    return f"{total:,} labelled" if total else "none yet"


def queue_settings(view: EventView) -> dict[str, str]:
    """Which queue the keys walk in this step; `mix` changes with its shares, so that a browser draws anew."""
    shares = shares_of(view.event)
    return {"kind": "label", "mix": f"{shares.random:g}-{shares.second:g}"}


def show(
    view: EventView,
    model: MapModel | None,
    models: Sequence[MapModel],
    reports: Sequence[run_reports.RunReport],
    person: Person,
) -> None:
    """Labels by grade, what is needed and what more would bring, the shown model, and the way to training."""
    definition(view, may_write=person.may_write)
    counts = label_counts(view)
    values = [LabelValue(grade.label) for grade in DamageGrade]
    values += [value for value in (LabelValue.INTACT, LabelValue.DAMAGED) if counts.get(value)]
    bars([(name_of(value), colour_of(value), counts.get(value, 0)) for value in values])
    others = {value: count for value, count in counts.items() if value not in values}
    if others:
        note(" · ".join(f"{name_of(value)} {count:,}" for value, count in others.items()))
    if unusable := len(current_labels(view.event)[0]) - sum(counts.values()):
        noun = "label" if unusable == 1 else "labels"
        note(f"Not counted: {unusable:,} {noun} of buildings that cannot be assessed.")
    state = needed(view)
    note(state.sentence, good=state.enough)
    st.button(
        "Train a model",
        type="primary" if state.enough else "secondary",
        width="stretch",
        key="to-train",
        disabled=not state.enough,
        on_click=go_to,
        args=("train",),
    )
    features_state(view, models, may_write=person.may_write)
    st.fragment(_promise, run_every="2s" if promise_of(view)[1] else None)(view)
    model_choice(view, model, models, reports)
    with st.expander("Which buildings you are asked about", key="queue-settings"):
        _shares(view.event)
    import_labels(view, person)


def _shares(event: Event) -> None:
    """Sliders that stand at what the event keeps, whoever moved them last, in whichever browser."""
    if error := st.session_state.pop("shares-error", None):
        st.error(error, icon=":material/error:")
    shares = shares_of(event)
    st.session_state["random-share"] = round(100 * shares.random)
    st.session_state["second-share"] = round(100 * shares.second)
    settings: dict[str, Any] = {"step": 5, "on_change": _keep_shares, "args": (event,)}
    st.slider(
        "Drawn at random, %",
        0,
        100,
        key="random-share",
        help="Totals can be estimated from these alone. The others are those that the model learns most from.",
        **settings,
    )
    st.slider(
        "Answered by two analysts, %",
        0,
        100,
        key="second-share",
        help="Of all labelled buildings. The second analyst does not see the first answer: so you learn how far you "
        "agree.",
        **settings,
    )
    note("The same for everybody who labels this event.")


def _keep_shares(event: Event) -> None:
    chosen = st.session_state
    try:
        keep_shares(event, Shares(random=chosen["random-share"] / 100, second=chosen["second-share"] / 100))
    except DamageSSLError as error:
        chosen["shares-error"] = str(error)


def _promise(view: EventView) -> None:
    if sentence := promise_of(view)[0]:
        note(sentence)


def promise_of(view: EventView) -> tuple[str, bool]:
    """What the next ten labels would bring, in a sentence, and whether a newer one is being worked out.

    The sentence is empty without any labels or features, and until it is first known.
    """
    features, (labels, revision) = features_stamp(view), current_labels(view.event)
    if not features or labels.empty:
        return "", False
    state = f"{view.stamp}-{features}-{revision // _TOLD_EVERY}"
    told = outlook_jobs.told(view.event, state)
    return ("" if told.outlook is None else _sentence(told.outlook)), told.waiting


def _sentence(found: LearningCurve) -> str:
    if found.gain is None or found.score is None or found.gain_low is None or found.gain_high is None:
        return f"Not enough labels to tell yet what ten more would bring: {found.reason}."
    now = f"Away from your labels the live model is right for about {100 * found.score:.0f} %"
    if found.gain_high < 0.005:
        return f"{now}. Ten more labels would change little."
    low, high = round(100 * found.gain_low), round(100 * found.gain_high)
    return f"{now}. Ten more labels would add about {100 * found.gain:.1f} points ({low} to {high})."


_LIMIT_MB = 20


def import_labels(view: EventView, person: Person) -> None:
    """The form, and what came of the last file."""
    if not person.may_write or not view.event.has_footprints:
        return
    with st.expander("Labels from a file", key="labels-from-file"):
        note("A CSV file with the columns building_id and grade; a column labeller is optional.")
        generation = st.session_state.setdefault("import-generation", 0)
        st.file_uploader(
            "CSV file", type=["csv", "txt", "tsv"], key=f"import-{generation}", max_upload_size=_LIMIT_MB,
            label_visibility="collapsed",
        )  # fmt: skip
        st.checkbox("Leave out buildings that this event does not have", key="import-skip")
        st.button(
            "Take these labels",
            key="import-take",
            width="stretch",
            disabled=st.session_state.get(f"import-{generation}") is None,
            on_click=_take,
            args=(view, person, f"import-{generation}"),
        )
        outcome = st.session_state.get("import-outcome")
        if outcome is not None and outcome[0] == view.event.name:
            _, good, text = outcome
            (st.success if good else st.error)(text)


def _take(view: EventView, person: Person, key: str) -> None:
    sent = st.session_state.get(key)
    if sent is None:
        return
    with tempfile.TemporaryDirectory(prefix="damage-ssl-labels-") as folder:
        path = Path(folder) / "labels.csv"
        path.write_bytes(sent.getvalue())
        try:
            report = workflow.import_labels(
                view.event, path, labeller=person.name, skip_unknown=bool(st.session_state.get("import-skip"))
            )
            outcome = (view.event.name, True, _import_sentence(report))
            st.session_state["import-generation"] += 1  # an empty field for the next file
        except (DamageSSLError, OSError) as error:
            text = str(error).replace(str(path), "The file")
            outcome = (view.event.name, False, f"{text}. No label was taken: mend the file and send it again.")
    st.session_state["import-outcome"] = outcome


def _import_sentence(report: ImportReport) -> str:
    parts = [f"{report.added:,} label{'' if report.added == 1 else 's'} taken"]
    if report.unchanged:
        parts.append(f"{report.unchanged:,} were there already")
    if report.repeated:
        parts.append(f"{report.repeated:,} were said twice")
    if report.unclassified:
        parts.append(f"{report.unclassified:,} without a grade left out")
    if report.unknown:
        parts.append(f"{len(report.unknown):,} of unknown buildings left out")
    return "; ".join(parts) + "."
