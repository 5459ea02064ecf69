"""Labels from a CSV file, in the label step: checked row by row, and taken all or none."""

import tempfile
from pathlib import Path

import streamlit as st

from app.access import Person
from app.data import EventView
from app.ui import note
from damage_ssl import pipeline
from damage_ssl.errors import DamageSSLError
from damage_ssl.labelling.label_csv import ImportReport

_LIMIT_MB = 20


def import_labels(view: EventView, person: Person) -> None:
    """The form, and what came of the last file."""
    if not person.may_write or not view.event.has_footprints:
        return
    with st.expander("Labels from a file"):
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
            report = pipeline.import_labels(
                view.event, path, labeller=person.name, skip_unknown=bool(st.session_state.get("import-skip"))
            )
            outcome = (view.event.name, True, _sentence(report))
            st.session_state["import-generation"] += 1  # an empty field for the next file
        except (DamageSSLError, OSError) as error:
            text = str(error).replace(str(path), "The file")
            outcome = (view.event.name, False, f"{text}. No label was taken: mend the file and send it again.")
    st.session_state["import-outcome"] = outcome


def _sentence(report: ImportReport) -> str:
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
