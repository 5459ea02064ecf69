"""The one screen: steps and their panel on the left, the map and the selected building beside them."""

from pathlib import Path
from typing import Any

import streamlit as st

from app import jobs
from app.components.map.map import workbench
from app.data import EventView, MapFilter, run_stamp, shown_runs, view_of
from app.legend import RAMP, date_text, dates_text, legend_rows, model_words, palette
from app.sections import event, label, results, train
from app.tiles import native_zoom
from app.ui import go_to
from app.workspace import workspace_path
from damage_ssl.errors import DamageSSLError
from damage_ssl.event.catalog import list_events
from damage_ssl.learning.runs import Run
from damage_ssl.pipeline import plan_of

STEPS = ("event", "label", "train", "results")
TITLES = {"event": "1 · Event", "label": "2 · Label", "train": "3 · Train", "results": "4 · Results"}


def main() -> None:
    """Lay the screen out."""
    st.set_page_config(
        page_title="damage_ssl",
        page_icon=str(Path(__file__).parent / "icon.png"),
        layout="wide",
        initial_sidebar_state="locked",
    )
    st.html(f"<style>{_style()}</style>")
    names = list_events(workspace_path())
    if not names:
        _no_events()
        return
    try:
        _screen(names)
    except DamageSSLError as error:
        st.error(str(error), icon=":material/error:")


def _screen(names: list[str]) -> None:
    with st.sidebar:
        st.html('<div class="ds-brand">damage_ssl <span>building damage map</span></div>')
        chosen = _choose_event(names)
        view = view_of(chosen)
        step = _current_step()
        runs = shown_runs(view)
        run = next((run for run in runs if run.run_id == st.session_state.get("run")), runs[0] if runs else None)
        wanted = _steps(view, step, run, runs)
    labeller = _labeller()
    state = workbench(chosen, workbench_data(view, run, step, wanted, labeller))
    if state.selected:
        st.session_state["selected"] = state.selected


def _choose_event(names: list[str]) -> str:
    asked = st.query_params.get("event")
    index = names.index(asked) if asked in names else 0
    chosen = st.selectbox("Event", names, index=index, key="event", label_visibility="collapsed")
    if asked != chosen:
        st.query_params["event"] = chosen
        for key in ("run", "filter-classes", "filter-p", "filter-not-assessed"):
            st.session_state.pop(key, None)
    return chosen


def _current_step() -> str:
    step = st.query_params.get("step")
    return step if step in STEPS else "event"


def _steps(view: EventView, active: str, run: Run | None, runs: list[Run]) -> MapFilter:
    reports = jobs.reports(view.event)
    wanted = MapFilter()
    states = {
        "event": event.summary(view),
        "label": label.summary(view),
        "train": train.summary(reports),
        "results": results.summary(reports, run),
    }
    for step in STEPS:
        if step == "train" and reports and reports[0].active:
            _live_header(view, active=active == step)
        else:
            _header(step, states[step], active=step == active)
        if step != active:
            continue
        with st.container(key=f"body-{step}"):
            match step:
                case "event":
                    event.show(view, reports)
                case "label":
                    label.show(view)
                case "train":
                    train.show(view, reports)
                case _:
                    wanted = results.show(view, run, runs, reports)
    return wanted


def _header(step: str, state: str, *, active: bool, live: bool = False) -> None:
    with st.container(key=f"step-{step}-{'on' if active else 'off'}"):
        clicked = st.button(
            f"**{TITLES[step]}** :gray[{state}]",
            key=f"go-{step}",
            type="tertiary",
            width="stretch",
            on_click=go_to,
            args=(step,),
        )
    if clicked and live:
        st.rerun()


@st.fragment(run_every="2s")
def _live_header(view: EventView, *, active: bool) -> None:
    """While a run works: its progress, whichever step is open, and the new map as soon as it is done."""
    reports = jobs.reports(view.event)
    if not reports or not reports[0].active:
        st.rerun()
    _header("train", train.summary(reports), active=active, live=True)


def _labeller() -> str:
    """The name given in the label step; it survives steps and reloads in the page's address."""
    typed = (st.session_state.get("labeller") or st.query_params.get("name") or "analyst").strip() or "analyst"
    if st.query_params.get("name", "analyst") != typed:
        st.query_params["name"] = typed
    return typed


def workbench_data(view: EventView, run: Run | None, step: str, wanted: MapFilter, labeller: str) -> dict[str, Any]:
    """What the workbench needs to know; all else it asks the routes for."""
    west, south, east, north = view.bounds
    scenes = [scene for role in ("pre", "post") for scene in view.scenes[role]]
    finest = min(scene.gsd_m for scene in scenes)
    native = native_zoom(finest, (south + north) / 2)
    return {
        "event": view.event.name,
        "stamp": view.stamp,
        "bounds": [west, south, east, north],
        "native_zoom": native,
        "max_zoom": native + 3,
        "min_zoom": max(native - 9, 0),
        "dates": {
            role: {
                "text": dates_text([scene.datetime for scene in view.scenes[role]]),
                "of": {scene.scene_id: date_text(scene.datetime) for scene in view.scenes[role]},
            }
            for role in ("pre", "post")
        },
        "palette": palette(),
        "legend": legend_rows(None if run is None else plan_of(run).scheme),
        "ramp": list(RAMP),
        "model": model_words(run),
        "run_id": None if run is None else run.run_id,
        "run_stamp": run_stamp(run),
        "filter": wanted.query(),
        "step": step,
        "labeller": labeller,
    }


def _no_events() -> None:
    with st.container(key="no-events"):
        st.markdown("### No event yet")
        st.markdown("Set one up from your imagery and footprints, then reload this page:")
        st.code(
            "damage-ssl init EVENT --pre PRE.tif --post POST.tif --footprints BUILDINGS.geojson "
            f"--workspace {workspace_path()}",
            language=None,
            wrap_lines=True,
        )
        st.markdown("To try it without data of your own, run `make demo`.")


def _style() -> str:
    return (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


main()
