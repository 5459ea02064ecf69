"""Step 4: what the map says, and what of it to show; or what of it to check."""

import time

import streamlit as st

from app.auth.people import who
from app.components.widgets import bar, caution, go_to, headline, note
from app.jobs import run_reports
from app.panels import changes, review, units
from app.panels.model_choice import first_map, model_choice
from app.state.event_view import EventView
from app.state.legend import age_text, class_names_of, method_name
from app.state.map_assessment import assessment_of
from app.state.totals import totals_of
from damage_ssl.products.map_style import colour_of, name_of
from damage_ssl.products.selection import Selection, without_idle
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.plan import plan_of
from damage_ssl.runs.spatial_stack import stack_statement

_ORDER = ("damaged", "destroyed", "major-damage", "minor-damage", "intact", "no-damage")


def summary(reports: list[run_reports.RunReport], model: MapModel | None) -> str:
    """The state of this step in a few words."""
    if model is None:
        return "labels only"
    return f"map from {_age(reports, model)}" if model.run is not None else method_name(model.algorithm)


def _age(reports: list[run_reports.RunReport], model: MapModel) -> str:
    shown = next((report for report in reports if report.run.run_id == model.model_id), None)
    return "now" if shown is None else age_text(time.time() - shown.updated)


FILTER_KEYS = ("filter-classes", "filter-p", "filter-not-assessed")


def read_filter() -> Selection:
    """The filter that the widgets of this step stand at, in whichever step; all buildings before they were shown."""
    classes = st.session_state.get("filter-classes")
    p_min, p_max = st.session_state.get("filter-p", (0, 100))
    return Selection(
        classes=None if classes is None else tuple(classes),
        p_min=p_min / 100,
        p_max=p_max / 100,
        not_assessed=st.session_state.get("filter-not-assessed", True),
    )


PARTS = ("Result", "Check")


def show(
    view: EventView, model: MapModel | None, models: list[MapModel], reports: list[run_reports.RunReport]
) -> Selection:
    """What the map says with its filter, which is returned for the map; or what of it to check."""
    if view.index is None:
        note("Prepare the imagery first (step 1).")
        return Selection()
    st.session_state.setdefault("map-part", PARTS[0])
    part = st.segmented_control(
        "Part",
        PARTS,
        key="map-part",
        required=True,
        label_visibility="collapsed",
        on_change=_part_chosen,
        width="stretch",
    )
    if part == "Check":
        review.show(view, model, who().name)
        return read_filter()
    model_choice(view, model, models, reports)
    return _result(view, model, reports)


def _part_chosen() -> None:
    """The queue that is walked belongs to Check."""
    if st.session_state.get("map-part") != "Check":
        review.walk(None)


def _result(view: EventView, model: MapModel | None, reports: list[run_reports.RunReport]) -> Selection:
    if model is None:
        finished = any(report.phase == "finished" for report in reports)
        note(
            "The pictures were cut again since the last model was made, so its map no longer fits. Make it again."
            if finished
            else "No model yet: the map shows your labels and what can be assessed."
        )
        first_map(view, reports)
    standing = assessment_of(view, model)
    assessed = int(standing.assessed.sum())
    found = totals_of(view, model)
    if found.total.damaged_low is not None:
        headline(
            f"{found.total.damaged:,}",
            f"({found.total.damaged_low:,}–{found.total.damaged_high:,}) of {assessed:,} buildings damaged",
        )
        note(found.statement)
    if model is not None:
        damaged = standing.damaged
        if not model.kind.is_probability:
            if found.total.damaged_low is None:
                headline(f"{damaged:,}", f"of {assessed:,} buildings changed strongly")
            caution(model.statement or "")
            note(
                f"Exported as damaged from a score of {model.threshold:.2f}; your labels override it. "
                "Label some buildings and train a model to get probabilities."
            )
        else:
            if found.total.damaged_low is None:
                headline(f"{damaged:,}", f"of {assessed:,} buildings damaged")
                note(f"A count of the model's verdicts, not an estimate. {found.next_step or ''}")
            statement = model.scheme.statement.replace("-damage", " damage")
            note(
                f"{statement[0].upper()}{statement[1:]}. The model says so from {model.threshold:.0%}; "
                "your labels override it."
            )
            if model.run is not None and (elsewhere := plan_of(model.run).statement):
                caution(elsewhere)
            if places := stack_statement(model.stack):
                caution(places)
    counts = standing.counts()
    classes = [name for name in _ORDER if counts.get(name, 0)]
    bar([(colour_of(name), counts[name]) for name in classes])
    units.show(view, model)
    measure = None
    if model is not None:
        measure = "Probability of damage, %" if model.kind.is_probability else "Change score × 100"
    not_assessed = len(standing.assessed) - assessed
    wanted = _filter(counts, names=class_names_of(model), measure=measure, not_assessed=not_assessed)
    changes.show(view, model, reports)
    st.button(
        "Hand over this map", type="primary", width="stretch", key="to-handover", on_click=go_to, args=("handover",)
    )
    return wanted


def _filter(counts: dict[str, int], *, names: dict[str, str], measure: str | None, not_assessed: int) -> Selection:
    classes = [name for name in _ORDER if counts.get(name, 0)]
    if classes:
        kept = st.session_state.get("filter-classes", classes)
        st.session_state["filter-classes"] = [name for name in kept if name in classes]
        st.pills(
            "Show on the map and in the download",
            classes,
            selection_mode="multi",
            format_func=lambda name: f"{names.get(name) or name_of(name)} {counts[name]:,}",
            key="filter-classes",
        )
    if measure is not None:
        st.session_state.setdefault("filter-p", (0, 100))
        st.slider(measure, 0, 100, key="filter-p")
    if not_assessed:
        st.session_state.setdefault("filter-not-assessed", True)
        st.checkbox(f"Also the {not_assessed:,} not assessed", key="filter-not-assessed")
    return without_idle(read_filter(), classes, not_assessed=not_assessed)
