"""Step 2: how many labels there are, what is still needed and what more would bring; labelling is beside the map."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from app import jobs, outlooks
from app.access import Person
from app.data import EventView, current_labels
from app.legend import colour_of, name_of
from app.live import SCHEME, features_stamp
from app.models import Model
from app.sections.import_labels import import_labels
from app.sections.shown_model import features_state, model_choice
from app.shares import Shares, keep_shares, shares_of
from app.ui import bars, go_to, note
from damage_ssl.assessment.guidance import Outlook, OutlookQuestion
from damage_ssl.errors import DamageSSLError
from damage_ssl.event.catalog import Event
from damage_ssl.grades import ClassScheme, DamageGrade, LabelValue, scheme_named
from damage_ssl.pipeline.live import read_features, usable_labels
from damage_ssl.settings import SplitSettings, TrainSettings

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


def needed(view: EventView, scheme: ClassScheme | None = None) -> Needed:
    """How the labels that training can use stand against its floor, under the default scheme or another."""
    scheme = scheme or scheme_named(TrainSettings().scheme)
    split = SplitSettings()
    counts = dict.fromkeys(scheme.class_names, 0)
    for value, count in label_counts(view).items():
        index = scheme.index_of(value)
        if index is not None:
            counts[scheme.class_names[index]] += count
    return Needed(counts, split.min_train_per_class + split.min_validation_per_class)


def label_counts(view: EventView) -> dict[LabelValue, int]:
    """How many buildings that can be assessed carry each label now; only these can be learned from."""
    labels = current_labels(view.event)[0]
    place, assessed = view.position_of, view.assessed
    usable = [row is not None and bool(assessed[row]) for row in map(place.get, labels["building_id"].tolist())]
    counted = labels["value"][np.array(usable, dtype=bool)].value_counts()
    return {LabelValue(str(value)): int(count) for value, count in counted.items()}


def summary(view: EventView) -> str:
    """The state of this step in a few words."""
    total = len(current_labels(view.event)[0])
    return f"{total:,} labelled" if total else "none yet"


def queue_settings(view: EventView) -> dict[str, str]:
    """Which queue the keys walk in this step; `mix` changes with its shares, so that a browser draws anew."""
    shares = shares_of(view.event)
    return {"kind": "label", "mix": f"{shares.random:g}-{shares.second:g}"}


def show(
    view: EventView, model: Model | None, models: Sequence[Model], reports: Sequence[jobs.RunReport], person: Person
) -> None:
    """Labels by grade, what is needed and what more would bring, the shown model, and the way to training."""
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
    told = outlooks.told(str(view.event.path), state, lambda: _question(view))
    return ("" if told.outlook is None else _sentence(told.outlook)), told.waiting


def _sentence(found: Outlook) -> str:
    if found.gain is None or found.score is None or found.gain_low is None or found.gain_high is None:
        return f"Not enough labels to tell yet what ten more would bring: {found.reason}."
    now = f"Away from your labels the live model is right for about {100 * found.score:.0f} %"
    if found.gain_high < 0.005:
        return f"{now}. Ten more labels would change little."
    low, high = round(100 * found.gain_low), round(100 * found.gain_high)
    return f"{now}. Ten more labels would add about {100 * found.gain:.1f} points ({low} to {high})."


def _question(view: EventView) -> OutlookQuestion:
    known = read_features(view.event)
    labels = usable_labels(known, current_labels(view.event)[0], scheme_named(SCHEME))
    at = view.pairs[["x_m", "y_m"]].loc[known.building_id[labels.rows].tolist()].to_numpy(float)
    return OutlookQuestion(features=known.values[labels.rows], classes=labels.classes, x_m=at[:, 0], y_m=at[:, 1])
