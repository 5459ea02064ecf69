"""Step 5: the download of exactly what the map shows."""

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import streamlit as st

from app.data import EventView, MapFilter, assessment
from app.models import Model
from app.sections.map import read_filter
from app.ui import note
from damage_ssl.assessment.change import STATEMENT
from damage_ssl.products.geojson import write_geojson


def summary(view: EventView) -> str:
    """The state of this step in a few words."""
    return "GeoJSON" if view.index is not None else "not yet"


def show(view: EventView, model: Model | None) -> MapFilter:
    """The download of what the map step shows; returns that filter for the map."""
    if view.index is None:
        note("Prepare the imagery first (step 1).")
        return MapFilter()
    table = assessment(view, model)
    classes = {str(name) for name in table["damage_class"].dropna().unique()}
    wanted = read_filter().without_idle(classes, not_assessed=int((~table["assessed"].to_numpy(bool)).sum()))
    shown = table[wanted.mask(table)]
    st.download_button(
        f"Download GeoJSON · {len(shown):,} buildings",
        data=_file(view.event.name, model, shown, wanted),
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


def _file(event: str, model: Model | None, shown: pd.DataFrame, wanted: MapFilter) -> Callable[[], bytes]:
    metadata: dict[str, str | float | int | None] = {
        "event": event,
        "run_id": None if model is None else model.model_id,
        "scheme": None if model is None else model.scheme.statement,
        "threshold": None if model is None else model.threshold,
        "statement": STATEMENT if model is not None and model.is_change_score else None,
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
