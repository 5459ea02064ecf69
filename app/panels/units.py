"""How many are damaged in each unit, and in an area drawn on the map: table, file, and what the map shows of them."""

from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app.auth.people import who
from app.components.widgets import note
from app.panels import area
from app.state.event_view import EventView
from app.state.totals import (
    AREAS,
    MOST_SHOWN,
    SQUARES,
    bring_areas,
    has_areas,
    totals_of,
    unit_rows,
    unit_shapes,
    units_csv,
)
from damage_ssl.runs.model import MapModel


def bench_units(view: EventView, model: MapModel | None, step: str) -> list[dict[str, Any]]:
    """What the map draws of units: those chosen, and the area drawn, while the map step is open."""
    if step != "map" or view.index is None or st.session_state.get("map-part") == "Check":
        return []
    drawn = area.counted_area(view)
    chosen = unit_shapes(view, model, st.session_state.get("units-by"))
    return [*chosen, *([] if drawn is None else unit_shapes(view, model, drawn))]


def show(view: EventView, model: MapModel | None) -> None:
    """How many in each square or area, as a table and a file; and in the area that was drawn."""
    if message := st.session_state.pop("area-message", None):
        st.error(message, icon=":material/error:")
    if (drawn := area.counted_area(view)) is not None:
        row = totals_of(view, model, drawn).units[0]
        note(f"{row.name}: {row.words} damaged; {row.not_assessed:,} not assessed ({row.method}).")
        st.button("Clear the drawn area", width="stretch", key="units-clear", on_click=area.drop, args=(view,))
    with st.expander("How many, by unit", key="by-unit"):
        by = st.segmented_control("Units", [SQUARES, AREAS], key="units-by", label_visibility="collapsed")
        if by == AREAS and who().may_write:
            st.file_uploader("GeoJSON or GeoPackage of areas", type=["geojson", "json", "gpkg"], key="units-file")
            if (brought := st.session_state.get("units-file")) is not None:
                st.button("Take these areas", key="units-take", on_click=_take_areas, args=(view, brought))
            if wrong := st.session_state.get("units-wrong"):
                st.error(wrong)
        if by is None or (by == AREAS and not has_areas(view)):
            note("Each unit is estimated by itself; they need not add up to the total. Or draw an area on the map.")
            return
        found = totals_of(view, model, by)
        if len(found.units) > MOST_SHOWN:
            note(f"More than {MOST_SHOWN:,} units: they are not drawn on the map.")
        else:
            note("On the map they are filled by the share that is damaged, blue to dark red; the cursor says how many.")
        st.dataframe(unit_rows(found), hide_index=True, width="stretch")
        st.download_button("Table as CSV", units_csv(found), "units.csv", "text/csv", key="units-csv", width="stretch")


def _take_areas(view: EventView, brought: UploadedFile) -> None:
    st.session_state["units-wrong"] = bring_areas(view, brought.name, brought.getvalue())
