"""Step 5: what to look at before the map goes out, and the map of the filter as a pack or as GeoJSON alone."""

import time
from collections.abc import Sequence
from html import escape
from urllib.parse import quote, urlencode

import streamlit as st

from app.auth.people import who
from app.components.widgets import caution, headline, note
from app.jobs import handover_jobs
from app.jobs.handover_jobs import HandoverJob
from app.panels.map import read_filter
from app.state.event_view import EventView
from app.state.label_evidence import label_log
from app.state.legend import age_text
from app.state.map_assessment import assessment_of, screen_table, validation
from damage_ssl.events.licence import recorded_licence
from damage_ssl.products.handover.checks import HandoverCheck, State, handover_checks
from damage_ssl.products.handover.pages import language_names
from damage_ssl.products.selection import Selection, query_of, without_idle
from damage_ssl.runs.model import MapModel

ANSWER_KEYS = ("licence", "licence-not-stated", "pack-language")
"""What was answered here once: it stays while other steps are looked at."""

_LISTED = 6
_MARKS: dict[State, tuple[str, str]] = {"good": ("✓", "fine"), "look": ("!", "note"), "bad": ("✗", "problem")}


def summary(view: EventView) -> str:
    """The state of this step in a few words."""
    if view.index is None:
        return "not yet"
    made = len(handover_jobs.made(view.event))
    return f"{made} pack{'s' if made > 1 else ''} made" if made else "nothing yet"


def show(view: EventView, model: MapModel | None) -> Selection:
    """The check list and the downloads of what the map step shows; returns that filter for the map."""
    if view.index is None:
        note("Prepare the imagery first (step 1).")
        return Selection()
    standing = assessment_of(view, model)
    wanted = without_idle(read_filter(), standing.counts(), not_assessed=standing.not_assessed)
    count = int(standing.passes(wanted).sum())
    if wanted.is_open:
        headline(f"{count:,}", "buildings to hand over, as on the map")
    else:
        headline(f"{count:,}", f"of {len(view.footprints):,} buildings")
        note(f"Only what the map's filter shows: {wanted.words}.")
    if model is not None and model.statement:
        caution(model.statement)
    log = label_log(view.event, standing.revision)
    _checks(handover_checks(screen_table(view, model), model, log, validation(view, model)))
    if not count:
        note("The filter leaves no building; open it in step 4.")
        return wanted
    licence, settled = _licence(view)
    names = language_names()
    language = st.selectbox(
        "Language of report and offline map", list(names), format_func=names.__getitem__, key="pack-language"
    )
    if settled:
        _downloads(HandoverJob(view, model, wanted, licence, language), count)
    else:
        note("Say first what the receiver may do with it.")
    _made(view)
    return wanted


def _licence(view: EventView) -> tuple[str | None, bool]:
    """What the receiver may do with the map, None for what the catalogue says; and whether that is settled."""
    known = recorded_licence(view.event)
    given = st.text_input(
        "Licence and source that the receiver is told",
        key="licence",
        max_chars=400,
        placeholder=known or "© imagery provider, CC BY …",
    ).strip()
    if given or known:
        return given or None, True
    return None, st.checkbox("Nobody knows: hand it over as “not stated”", key="licence-not-stated")


@st.fragment(run_every="3s")
def _made(view: EventView) -> None:
    """The packs that were made, each as soon as it is there."""
    rows = [
        f'<li><a href="ds/{quote(view.event.name, safe="")}/handover/made/{quote(pack.folder.parent.name, safe="")}/'
        f'{quote(pack.folder.name, safe="")}.zip" download>{escape(pack.folder.parent.name)}</a> '
        f"{pack.buildings:,} buildings, {_size(pack.bytes)}, {escape(age_text(time.time() - pack.written))}</li>"
        for pack in handover_jobs.made(view.event)[:_LISTED]
    ]
    if rows:
        st.html(f'<ul class="ds-packs" aria-label="Packs made">{"".join(rows)}</ul>')


def _checks(checks: Sequence[HandoverCheck]) -> None:
    rows = "".join(
        f'<li class="{check.state}"><i role="img" aria-label="{_MARKS[check.state][1]}">{_MARKS[check.state][0]}</i>'
        f"<span><b>{escape(check.title)}</b> {escape(check.text)}</span></li>"
        for check in checks
    )
    st.html(f'<ul class="ds-checks" aria-label="Before you hand over">{rows}</ul>')


def _downloads(asked: HandoverJob, count: int) -> None:
    with st.container(key="pack"):
        pack = handover_jobs.ready(asked)
        if pack is not None:
            _link(asked, "pack.zip", f"Download the pack · ZIP, {_size(pack.bytes)}", first=True)
        elif asked.at_once:
            _link(asked, "pack.zip", "Download the pack · ZIP", first=True)
        elif handover_jobs.working(asked):
            _wait(asked)
        else:
            if error := handover_jobs.failure(asked):
                caution(f"The pack could not be written: {error}")
            st.button(
                "Write the pack",
                type="primary",
                width="stretch",
                key="write-pack",
                on_click=_begin,
                args=(asked,),
            )
    note("Offline map, report, Excel, QGIS project and every GIS format, labels, card, and a hash of every file.")
    with st.container(key="download"):
        _link(asked, "map.geojson", f"GeoJSON alone · {count:,} buildings")


def _begin(asked: HandoverJob) -> None:
    handover_jobs.start(asked)


@st.fragment(run_every="1s")
def _wait(asked: HandoverJob) -> None:
    if not handover_jobs.working(asked):
        st.rerun()
    st.info("Writing the pack. You can go on; it will be here.", icon=":material/hourglass_top:")
    if who().may_write and not asked.at_once:
        st.button("Stop", key="stop-pack", width="stretch", on_click=handover_jobs.cancel, args=(asked,))


def _link(asked: HandoverJob, kind: str, text: str, *, first: bool = False) -> None:
    parameters: dict[str, object] = {**query_of(asked.wanted)}
    if asked.model is not None:
        parameters["run"] = asked.model.model_id
    if asked.licence:
        parameters["licence"] = asked.licence
    if asked.language != "en":
        parameters["language"] = asked.language
    address = f"ds/{quote(asked.view.event.name, safe='')}/handover/{kind}?{urlencode(parameters, doseq=True)}"
    st.html(f'<a class="ds-download{" first" if first else ""}" href="{escape(address)}" download>{escape(text)}</a>')


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.0f} kB"
