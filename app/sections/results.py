"""Step 4: what the map says, what of it to show, and the download of exactly that."""

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import streamlit as st

from app import jobs
from app.data import EventView, MapFilter, assessment
from app.legend import age_text, class_names_of, colour_of, method_name, name_of
from app.sections.first_map import first_map
from app.ui import bar, caution, headline, note
from damage_ssl.assessment.change import STATEMENT
from damage_ssl.learning.runs import Run
from damage_ssl.pipeline import plan_of, run_summary
from damage_ssl.products.geojson import write_geojson

_ORDER = ("damaged", "destroyed", "major-damage", "minor-damage", "intact", "no-damage")


def summary(reports: list[jobs.RunReport], run: Run | None) -> str:
    """The state of this step in a few words."""
    shown = next((report for report in reports if run is not None and report.run.run_id == run.run_id), None)
    return "labels only" if shown is None else f"map from {age_text(time.time() - shown.updated)}"


def read_filter() -> MapFilter:
    """The filter that the widgets stand at; all buildings before they were shown."""
    classes = st.session_state.get("filter-classes")
    p_min, p_max = st.session_state.get("filter-p", (0, 100))
    return MapFilter(
        classes=None if classes is None else tuple(classes),
        p_min=p_min / 100,
        p_max=p_max / 100,
        not_assessed=st.session_state.get("filter-not-assessed", True),
    )


def show(view: EventView, run: Run | None, runs: list[Run], reports: list[jobs.RunReport]) -> MapFilter:
    """Counts by class, the filter, the download; returns the filter for the map."""
    if view.index is None:
        note("Prepare the imagery first (step 1).")
        return MapFilter()
    if run is None:
        finished = any(report.phase == "finished" for report in reports)
        note(
            "The pictures were cut again since the last model was made, so its map no longer fits. Make it again."
            if finished
            else "No model yet: the map shows your labels and what can be assessed."
        )
        first_map(view, reports)
    elif len(runs) > 1:
        ages = {
            report.run.run_id: f"{method_name(report.algorithm)}, {age_text(time.time() - report.updated)}"
            for report in reports
        }
        st.selectbox("Run", [each.run_id for each in runs], format_func=lambda name: ages.get(name, name), key="run")
    table = assessment(view, run)
    damaged = int(table["damaged"].eq(True).sum())
    assessed = int(table["assessed"].sum())
    if run is not None and run_summary(run).is_change_score:
        headline(f"{damaged:,}", f"of {assessed:,} buildings changed strongly")
        caution(STATEMENT)
        note(
            f"Exported as damaged from a score of {_threshold(table):.2f}; your labels override it. "
            "Label some buildings and train a model to get probabilities."
        )
    elif run is not None:
        headline(f"{damaged:,}", f"of {assessed:,} buildings damaged")
        statement = plan_of(run).scheme.statement
        note(
            f"{statement[0].upper()}{statement[1:]}. The model says so from {_threshold(table):.0%}; "
            "your labels override it."
        )
    counts = {str(name): int(count) for name, count in table["damage_class"].value_counts().items()}
    classes = [name for name in _ORDER if counts.get(name, 0)]
    bar([(colour_of(name), counts[name]) for name in classes])
    measure = None
    if run is not None:
        measure = "Change score × 100" if run_summary(run).is_change_score else "Probability of damage, %"
    wanted = _filter(counts, names=class_names_of(run), measure=measure, not_assessed=len(table) - assessed)
    shown = table[wanted.mask(table)]
    st.download_button(
        f"Download GeoJSON · {len(shown):,} buildings",
        data=_file(view.event.name, run, shown, wanted),
        file_name=f"{view.event.name}-damage.geojson",
        mime="application/geo+json",
        type="primary",
        width="stretch",
        icon=":material/download:",
        on_click="ignore",
        key="download",
        disabled=shown.empty,
    )
    note(
        "Exactly the buildings on the map now, with all fields."
        if not wanted.is_open
        else "Every building, with all fields."
    )
    return wanted


def _threshold(table: pd.DataFrame) -> float:
    return float(table["threshold"].iloc[0])


def _filter(counts: dict[str, int], *, names: dict[str, str], measure: str | None, not_assessed: int) -> MapFilter:
    classes = [name for name in _ORDER if counts.get(name, 0)]
    if classes:
        kept = st.session_state.get("filter-classes")
        if kept is not None:
            st.session_state["filter-classes"] = [name for name in kept if name in classes]
        st.pills(
            "Show on the map and in the download",
            classes,
            selection_mode="multi",
            default=None if kept is not None else classes,
            format_func=lambda name: f"{names.get(name) or name_of(name)} {counts[name]:,}",
            key="filter-classes",
        )
    if measure is not None:
        st.slider(measure, 0, 100, (0, 100), key="filter-p")
    if not_assessed:
        st.checkbox(f"Also the {not_assessed:,} not assessed", value=True, key="filter-not-assessed")
    wanted = read_filter()
    chosen = wanted.classes
    if chosen is not None and set(chosen) >= set(classes):
        chosen = None
    return MapFilter(
        classes=chosen, p_min=wanted.p_min, p_max=wanted.p_max, not_assessed=wanted.not_assessed or not not_assessed
    )


def _file(event: str, run: Run | None, shown: pd.DataFrame, wanted: MapFilter) -> Callable[[], bytes]:
    metadata: dict[str, str | float | int | None] = {
        "event": event,
        "run_id": None if run is None else run.run_id,
        "scheme": None if run is None else plan_of(run).scheme.statement,
        "threshold": None if run is None else run_summary(run).threshold,
        "statement": STATEMENT if run is not None and run_summary(run).is_change_score else None,
        "buildings": len(shown),
        "filter": "none" if wanted.is_open else str(wanted.query()),
    }

    def write() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "map.geojson"
            write_geojson(
                shown, path, metadata={**metadata, "created": datetime.now(UTC).isoformat(timespec="seconds")}
            )
            return path.read_bytes()

    return write
