"""Step 2: how many labels there are and how many are still needed; labelling itself happens beside the map."""

from dataclasses import dataclass

import streamlit as st

from app.data import EventView, label_counts
from app.legend import colour_of, name_of
from app.ui import bars, go_to, note
from damage_ssl.grades import ClassScheme, DamageGrade, LabelValue, scheme_named
from damage_ssl.settings import SplitSettings, TrainSettings

COMFORTABLE_PER_CLASS = 20


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
        """What is missing, or that nothing is."""
        missing = [
            f"{self.floor - count} more {name_of(name).lower()}"
            for name, count in self.counts.items()
            if count < self.floor
        ]
        if missing:
            return f"To train, label {' and '.join(missing)} (at least {self.floor} of each)."
        least = min(self.counts, key=lambda name: self.counts[name])
        if self.counts[least] < COMFORTABLE_PER_CLASS:
            return (
                f"Enough to train. {COMFORTABLE_PER_CLASS} of each make the result steadier: "
                f"{self.counts[least]} {name_of(least).lower()} so far."
            )
        return "Enough to train."


def needed(view: EventView, scheme: ClassScheme | None = None) -> Needed:
    """How the labels stand against the floor, under the scheme of the default settings or another."""
    scheme = scheme or scheme_named(TrainSettings().scheme)
    split = SplitSettings()
    counts = dict.fromkeys(scheme.class_names, 0)
    for value, count in label_counts(view.event).items():
        index = scheme.index_of(value)
        if index is not None:
            counts[scheme.class_names[index]] += count
    return Needed(counts, split.min_train_per_class + split.min_validation_per_class)


def summary(view: EventView) -> str:
    """The state of this step in a few words."""
    total = sum(label_counts(view.event).values())
    return f"{total:,} labelled" if total else "none yet"


def show(view: EventView) -> None:
    """Labels by grade, what is needed, the keys, and the way to training."""
    counts = label_counts(view.event)
    values = [LabelValue(grade.label) for grade in DamageGrade]
    values += [value for value in (LabelValue.INTACT, LabelValue.DAMAGED) if counts.get(value)]
    bars([(name_of(value), colour_of(value), counts.get(value, 0)) for value in values])
    others = {value: count for value, count in counts.items() if value not in values}
    if others:
        note(" · ".join(f"{name_of(value)} {count:,}" for value, count in others.items()))
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
    note(
        "Answer with the keys shown on the buttons; the next building follows by itself. "
        "Or click any building on the map."
    )
