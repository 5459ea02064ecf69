"""A new event, from nothing: its files uploaded or picked on the server, checked and described by `damage-ssl init`."""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app.auth.access import Person
from app.components.upload.uploader import page_style, uploader
from app.components.widgets import note
from app.jobs import event_jobs, inbox, job, upload
from app.jobs.file_kinds import UPLOAD_ENDINGS
from app.jobs.inbox import InboxFile, Purpose
from app.panels import sample
from app.panels.definition import words_of
from app.panels.job_progress import log_of, stop_button, work_progress
from app.state.configuration import workspace_path
from app.state.legend import age_text
from damage_ssl.damage_scale import DEFAULT_SCHEME
from damage_ssl.errors import DamageSSLError
from damage_ssl.events.definition import SHORT_WORDS
from damage_ssl.events.event import list_events

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MAX_NAME = 80
_ARRIVING_S = 5.0
HAZARDS = (
    *("", "earthquake", "fire", "flood", "tsunami", "wind", "tornado", "hurricane", "volcano"),
    *("conflict", "landslide", "explosion"),
)
"""What is offered; each leads to a prior model (`learning.prior.hazards`)."""
_WHY_HAZARD = "Says which prior model orders the first map, before any label."
_FIELDS = ("name", "hazard", "scheme", "pre", "post", "footprints", "pre_date", "post_date", "aoi")
_EMPTY: dict[str, Any] = {
    "name": "",
    "hazard": "",
    "scheme": DEFAULT_SCHEME,
    "pre": [],
    "post": [],
    "footprints": [],
    "pre_date": "",
    "post_date": "",
    "aoi": None,
}
_PRE = re.compile(r"(?:^|[^a-z])(?:pre|before)(?:[^a-z]|$)", re.IGNORECASE)
_POST = re.compile(r"(?:^|[^a-z])(?:post|after)(?:[^a-z]|$)", re.IGNORECASE)


def wanted() -> bool:
    """Whether the page of a new event is asked for in the address."""
    return st.query_params.get("step") == "new"


def entry() -> None:
    """In the side panel of an event: the way to a new one, and how those that are being made stand."""
    newest = next(iter(event_jobs.new_events()), None)
    st.button("Add an event", key="add-event-open", type="tertiary", icon=":material/add:", on_click=_open)
    if newest is not None:
        note(f"{newest.job.name} {'is being made' if newest.active else 'could not be made: see Add an event'}.")


def page(names: Sequence[str], person: Person) -> None:
    """The page of a new event."""
    st.html(f"<style>{page_style()}</style>")
    with st.sidebar:
        st.html('<div class="ds-brand">damage_ssl <span>building damage map</span></div>')
        if names:
            st.button("Back to the events", key="add-event-close", icon=":material/arrow_back:", on_click=_close)
        note(
            "An event is one disaster seen from above: imagery from before (pre) and after (post), and the outlines of "
            "its buildings."
        )
        note("Next: look at it on the map, set its area, prepare the imagery, label.")
    with st.container(key="add-event"):
        if not person.may_write:
            st.markdown("### No event yet")
            note("You may look and download here. Whoever runs this server can add an event.")
            return
        st.markdown("### Add an event" if names else "### Your first event")
        _open_made()
        report = _shown_work()
        if report is not None and report.active:
            _progress(report)
            return
        if report is not None:
            _failure(report)
        sample.offer(names, _begin_sample)
        _form(person)


def _shown_work() -> job.JobReport | None:
    return next(iter(event_jobs.new_events()), None)


# While it is being made ------------------------------------------------------------------------------------------


@st.fragment(run_every="1s")
def _progress(report: job.JobReport) -> None:
    now = event_jobs.new_event(report.job.name)
    st.session_state["new-event-watched"] = report.job.name
    if now is None or not now.active:
        st.rerun()
    work_progress(now)
    note("You can close this page; it goes on.")
    stop_button(now, lambda: event_jobs.stop(now.folder), key="stop-new-event")
    log_of(now)


def _open_made() -> None:
    """Open the event whose making this page has shown, as soon as it is made; whichever run of the page sees it."""
    name = st.session_state.get("new-event-watched")
    if name is None:
        return
    now = event_jobs.new_event(name)
    if now is not None and now.active:
        return
    del st.session_state["new-event-watched"]
    if now is None and name not in list_events(workspace_path()):
        return  # put away in another window
    if now is None or now.state == "done":
        if now is not None:
            event_jobs.forget(now)
        sample.prepare(name)
        _show(name)
        st.rerun()


def _begin_sample(name: str) -> None:
    """Make the sample event, and open it once it is there."""
    try:
        sample.start(name)
        st.session_state["new-event-watched"] = name
    except (DamageSSLError, OSError) as error:
        st.session_state["new-event-error"] = inbox.plain(str(error))


def _show(name: str) -> None:
    """Open the event that was just made."""
    for key in ("new-event", *(f"new-{field}" for field in _FIELDS), "event"):
        st.session_state.pop(key, None)
    st.query_params["event"] = name
    st.query_params["step"] = "event"


def _failure(report: job.JobReport) -> None:
    """What went wrong stays until it is dealt with: by another try, or by putting it away."""
    name = report.job.name
    if report.state == "stopped":
        st.info(f"Making '{name}' was stopped. What you had chosen is below.", icon=":material/info:")
    else:
        st.error(f"'{name}' could not be made. {_plain(report.message)}", icon=":material/error:")
    if st.session_state.get("new-event-of") != report.job.started and not st.session_state.get("new-event"):
        _fill(report.job.form)
        st.session_state["new-event-of"] = report.job.started
    st.button(
        "Put this message away", key="forget-new-event", type="tertiary", on_click=event_jobs.forget, args=(report,)
    )
    log_of(report)


def _plain(message: str) -> str:
    """The library's message without the server's folders and without the names of its options."""
    text = inbox.plain(message)
    text = re.sub(r"--(pre|post) ", lambda match: f"{match[1]} imagery ", text)
    is_file = "." in text.split(":")[0].split(" ")[0]
    return text if is_file else text[:1].upper() + text[1:]


def _fill(form: Mapping[str, Any]) -> None:
    for field in _FIELDS:
        st.session_state[f"new-{field}"] = form.get(field, _EMPTY[field])


# The form --------------------------------------------------------------------------------------------------------


def _form(person: Person) -> None:
    files = {purpose: inbox.inbox_files(purpose) for purpose in inbox.ENDINGS}
    _keep(files)
    owner = person.name if person.signed_in else ""
    st.markdown("**Files**")
    uploader(
        _arrived,
        endings=UPLOAD_ENDINGS,
        limit_bytes=inbox.limit_bytes(),
        free_bytes=inbox.free_bytes(),
        partials=[{"name": each.name, "key": each.key, "received": each.received} for each in upload.partials(owner)],
    )
    note(
        "Files that lie in the folder “inbox” of the workspace on the server, or in its sub-folders, "
        "can be chosen without uploading."
    )
    imagery, outlines, areas = files["imagery"], files["footprints"], files["area"]
    left, right = st.columns(2)
    with left:
        _choice("Pre imagery (before)", "pre", imagery)
    with right:
        _choice("Post imagery (after)", "post", imagery)
    _choice("Building outlines (can also be found later)", "footprints", outlines)
    left, right = st.columns([3, 2])
    left.text_input("Name of the event", key="new-name", max_chars=_MAX_NAME, placeholder="e.g. santa-rosa-2017")
    right.selectbox(
        "Hazard",
        HAZARDS,
        key="new-hazard",
        format_func=lambda name: name.capitalize() or "Not stated",
        help=_WHY_HAZARD,
    )
    st.selectbox(
        "Damaged means (labels, models and maps of the event use it)",
        list(SHORT_WORDS),
        key="new-scheme",
        format_func=words_of,
    )
    with st.expander("Dates and area", key="dates-and-area"):
        left, right = st.columns(2)
        hint = "Only where the files do not say: 2017-10-11"
        left.text_input("Pre imagery taken on", key="new-pre_date", placeholder=hint, max_chars=40)
        right.text_input("Post imagery taken on", key="new-post_date", placeholder=hint, max_chars=40)
        by_name = {file.name: file for file in areas}
        st.selectbox(
            "Only buildings within the area of this file (it can also be drawn on the map later)",
            [None, *by_name],
            key="new-aoi",
            format_func=lambda name: "The whole imagery" if name is None else _file_text(by_name[name]),
        )
    _uploaded(files)
    problem = _problem()
    st.button("Create the event", type="primary", key="create-event", on_click=_create, disabled=problem is not None)
    if problem:
        note(problem)
    if error := st.session_state.pop("new-event-error", None):
        st.error(error, icon=":material/error:")


def _uploaded(files: Mapping[Purpose, Sequence[InboxFile]]) -> None:
    """The files that were uploaded, each with the way to delete it."""
    by_name = {file.name: file for listed in files.values() for file in listed}
    own = [file for file in by_name.values() if file.name.startswith("uploads/")]
    if not own:
        return
    with st.expander(f"Uploaded files ({len(own)})", key="uploaded-files"):
        for file in own:
            left, right = st.columns([5, 1], vertical_alignment="center")
            left.text(_file_text(file))
            right.button(
                "Delete", key=f"delete-{file.name}", type="tertiary", on_click=_delete_upload, args=(file.name,)
            )


def _delete_upload(name: str) -> None:
    try:
        inbox.delete_file(name)
    except (DamageSSLError, OSError) as error:
        st.session_state["new-event-error"] = inbox.plain(str(error))


def _keep(files: Mapping[Purpose, Sequence[InboxFile]]) -> None:
    """Hold what was chosen: Streamlit forgets widgets that a run did not draw, and files may have gone meanwhile."""
    kept = st.session_state.setdefault("new-event", {})
    there = {purpose: {file.name for file in listed} for purpose, listed in files.items()}
    for field in _FIELDS:
        value = st.session_state.get(f"new-{field}", kept.get(field, _EMPTY[field]))
        # A page that had not yet been told of an arrival sends its older choice with the next one.
        arrived = [name for at, to, name in st.session_state.get("new-arrived", []) if to == field and _is_new(at)]
        if arrived:
            value = [*value, *(name for name in dict.fromkeys(arrived) if name not in value)]
        if field in ("pre", "post"):
            value = [name for name in value if name in there["imagery"]]
        elif field == "footprints":
            value = [name for name in value if name in there["footprints"]]
        elif field == "aoi" and value not in there["area"]:
            value = None
        elif field == "hazard" and value not in HAZARDS:
            value = ""
        elif field == "scheme" and value not in SHORT_WORDS:
            value = DEFAULT_SCHEME
        st.session_state[f"new-{field}"] = kept[field] = value


def _is_new(moment: float) -> bool:
    return time.time() - moment < _ARRIVING_S


def _choice(title: str, field: str, files: Sequence[InboxFile]) -> None:
    by_name = {file.name: file for file in files}
    st.multiselect(
        title,
        list(by_name),
        key=f"new-{field}",
        format_func=lambda name: _file_text(by_name[name]),
        placeholder="Choose one or several files" if by_name else "No file yet: upload one above",
        disabled=not by_name,
    )


def _file_text(file: InboxFile) -> str:
    amount = f"{file.size / 1e9:.1f} GB" if file.size >= 1e9 else f"{max(file.size / 1e6, 0.1):,.1f} MB"
    return f"{file.name.removeprefix('uploads/')} · {amount} · {age_text(time.time() - file.modified)}"


def _arrived(name: str) -> None:
    """A file is uploaded: choose it where its name says what it is."""
    try:
        fields = []
        for purpose, guess in (("imagery", _side(name)), ("footprints", "footprints")):
            if guess and any(file.name == name for file in inbox.inbox_files(_purpose(purpose))):
                fields.append(guess)
        for field in fields[:1]:
            chosen = list(st.session_state.get(f"new-{field}", []))
            if name not in chosen:
                st.session_state[f"new-{field}"] = [*chosen, name]
            st.session_state.setdefault("new-arrived", []).append((time.time(), field, name))
    except DamageSSLError as error:
        st.session_state["new-event-error"] = str(error)


def _purpose(text: str) -> Purpose:
    return "imagery" if text == "imagery" else "footprints"


def _side(name: str) -> str | None:
    stem = name.rpartition("/")[2]
    pre, post = bool(_PRE.search(stem)), bool(_POST.search(stem))
    return None if pre == post else ("pre" if pre else "post")


def _problem() -> str | None:
    """What the form still lacks, in the order of its fields; None where nothing."""
    form = st.session_state
    if not form["new-pre"] or not form["new-post"]:
        missing = [side for side in ("pre", "post") if not form[f"new-{side}"]]
        return f"Choose the {' and the '.join(missing)} imagery."
    if both := set(form["new-pre"]) & set(form["new-post"]):
        return f"{min(both)} is chosen as pre and as post; it can be only one of them."
    name = form["new-name"].strip()
    if not name:
        return "Give the event a name."
    if not _NAME.fullmatch(name):
        return "A name has letters (a–z), digits, dots, dashes and underscores, and begins with a letter or digit."
    if name in list_events(workspace_path()):
        return f"There is an event '{name}' already; choose another name."
    if (workspace_path() / name).exists() or name.lower() == inbox.inbox_path().name:
        return f"'{name}' is taken by another folder of the workspace; choose another name."
    return None


def _create() -> None:
    """Start the work with what the form holds at the moment of the click."""
    _keep({purpose: inbox.inbox_files(purpose) for purpose in inbox.ENDINGS})
    form = {field: st.session_state[f"new-{field}"] for field in _FIELDS}
    form["name"] = form["name"].strip()
    try:
        problem = _problem()
        if problem:
            st.session_state["new-event-error"] = problem
            return
        event_jobs.start_new_event(form["name"], _options(form), form)
        st.session_state["new-event-watched"] = form["name"]
    except (DamageSSLError, OSError) as error:
        st.session_state["new-event-error"] = inbox.plain(str(error))


def _options(form: Mapping[str, Any]) -> list[str]:
    """The form as options of `damage-ssl init`."""
    options: list[str] = []
    purposes: tuple[tuple[str, Purpose], ...] = (("pre", "imagery"), ("post", "imagery"), ("footprints", "footprints"))
    for field, purpose in purposes:
        for name in form[field]:
            options += [f"--{field}", str(inbox.picked(name, purpose))]
    if form["aoi"]:
        options += ["--aoi", str(inbox.picked(form["aoi"], "area"))]
    for option, field in (
        ("hazard", "hazard"),
        ("scheme", "scheme"),
        ("pre-date", "pre_date"),
        ("post-date", "post_date"),
    ):
        if str(form[field]).strip():
            options.append(f"--{option}={str(form[field]).strip()}")
    return options


def _open() -> None:
    st.session_state.pop("new-event-watched", None)
    st.query_params["step"] = "new"


def _close() -> None:
    st.session_state.pop("new-event-watched", None)
    st.query_params["step"] = "event"
