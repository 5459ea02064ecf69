"""In step 4: what changed on the map since an earlier run, with counts and downloads."""

import time
from collections.abc import Sequence
from html import escape
from urllib.parse import quote, urlencode

import streamlit as st

from app.components.widgets import bars, caution, note
from app.jobs.run_reports import RunReport
from app.state.changes import changes_since, earlier_runs
from app.state.event_view import EventView
from app.state.legend import age_text, method_name
from damage_ssl.errors import DamageSSLError
from damage_ssl.products.difference import CHANGES
from damage_ssl.runs.model import MapModel


def show(view: EventView, model: MapModel | None, reports: Sequence[RunReport]) -> None:
    """Offer the earlier runs, where there are any, and say what changed since the one that is chosen."""
    runs = [] if model is None else [run.run_id for run in earlier_runs(view, model)]
    if model is None or not runs:
        return
    named = {report.run.run_id: report for report in reports}

    def name(run_id: str) -> str:
        report = named.get(run_id)
        if report is None:
            return run_id
        return f"{method_name(report.algorithm)}, {age_text(time.time() - report.updated)} ({run_id})"

    with st.expander("What changed since an earlier run", key="changes"):
        since = st.selectbox(
            "Earlier run", runs, index=None, format_func=name, key="changes-since", placeholder="Choose a run"
        )
        if since is None:
            note("Compares that run's map, as it was when it finished, with the map shown.")
            return
        try:
            found = changes_since(view, since, model)
        except DamageSSLError as error:
            caution(str(error))
            return
        counts = found.counts
        bars([(entry.title, entry.colour, counts[key]) for key, entry in CHANGES.items() if counts[key]])
        if counts["newly-assessed"]:
            note(f"Of the newly assessed, {counts['newly-assessed-damaged']:,} are damaged.")
        for text in found.notes:
            caution(text)
        address = f"ds/{quote(view.event.name, safe='')}/changes/{quote(since, safe='')}"
        asked = urlencode({"run": model.model_id})
        for kind, text in (("changes.geojson", "Layer · GeoJSON"), ("changes.csv", "Table · CSV")):
            st.html(f'<a class="ds-download" href="{escape(f"{address}/{kind}?{asked}")}" download>{text}</a>')
