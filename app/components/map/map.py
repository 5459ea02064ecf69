"""The workbench component: the map, the selected building and the queue; its code is the scripts beside this file."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st

from damage_ssl.products.assets import LEAFLET

_HERE = Path(__file__).parent

ASSETS: dict[str, tuple[Path, str]] = {
    **{path.name: (path, "text/javascript") for path in sorted(_HERE.rglob("*.js"))},
    "leaflet.js": (LEAFLET / "leaflet.js", "text/javascript"),
}
"""The scripts that the browser may ask for, by their own name, which is unique; nothing else is served."""

_HTML = """
<div class="wb">
  <div class="wb-stage" data-view="swipe">
    <div class="wb-map" role="region" aria-label="Map of the event"></div>
    <div class="wb-second" role="region" aria-label="Map of the event, post imagery"></div>
    <div class="wb-swipe" role="slider" tabindex="0" aria-label="Swipe between pre and post imagery"
      aria-valuemin="0" aria-valuemax="100" aria-valuenow="50"></div>
    <div class="wb-over wb-chip pre"><b>Pre</b><span></span></div>
    <div class="wb-over wb-chip post"><b>Post</b><span></span></div>
    <div class="wb-over wb-switch" role="group" aria-label="Imagery">
      <button type="button" data-view-mode="pre" aria-pressed="false">Pre</button>
      <button type="button" data-view-mode="swipe" aria-pressed="true">Swipe</button>
      <button type="button" data-view-mode="post" aria-pressed="false">Post</button>
      <button type="button" data-view-mode="flicker" aria-pressed="false"
        title="Pre and post in turn; F or space by hand">Flicker</button>
      <button type="button" data-view-mode="side" aria-pressed="false"
        title="Pre and post beside each other">Side by side</button>
    </div>
    <div class="wb-over wb-tools" role="toolbar" aria-label="Map" aria-orientation="vertical">
      <button type="button" class="wb-nearer" title="Zoom in" aria-label="Zoom in">+</button>
      <button type="button" class="wb-farther" title="Zoom out" aria-label="Zoom out">−</button>
      <button type="button" class="wb-fit" title="Show all" aria-label="Show the whole event">⤢</button>
      <button type="button" class="wb-display" title="Find a building, brightness, contrast (key /)"
        aria-label="Find and display" aria-expanded="false">☰</button>
      <button type="button" class="wb-box" title="Choose several buildings with a box (or drag with Shift)"
        aria-label="Choose several buildings with a box" aria-pressed="false"><i></i></button>
      <span class="wb-north" role="img" aria-label="North is up" title="North is up">▲<b>N</b></span>
    </div>
    <div class="wb-over wb-panel" role="group" aria-label="Find and display" hidden></div>
    <div class="wb-over wb-chosen" role="group" aria-label="Answer for all chosen buildings" hidden></div>
    <button type="button" class="wb-over wb-place" title="Position of the cursor; click or key P copies"
      hidden></button>
    <div class="wb-over wb-legend"></div>
    <div class="wb-over wb-model-name" hidden></div>
    <div class="wb-over wb-count" hidden></div>
    <div class="wb-over wb-toasts"></div>
  </div>
  <aside class="wb-inspector" aria-label="Selected building"></aside>
  <aside class="wb-tiles" aria-label="Labelling by tiles" hidden></aside>
</div>
"""


def workbench(event: str, data: dict[str, Any], on_name: Callable[[str], None]) -> None:
    """Mount the workbench of one event; `data` is what `app.panels.workbench.workbench_data` returns.

    The page's script runs again when labels were saved, never on panning, zooming or selecting.
    `on_name` is called, before the script runs again, with the name that was asked for: empty where none was given.
    """
    key = f"workbench-{event}"
    _component()(
        key=key,
        data=data,
        on_name_change=lambda: on_name(str((st.session_state[key].get("name") or {}).get("text") or "")),
        on_revision_change=_ignore,
        on_area_change=_ignore,
    )


def assets_version() -> str:
    """Changes whenever a script changes, so that no browser keeps an old one."""
    digest = hashlib.sha256()
    for path, _ in ASSETS.values():
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@lru_cache(maxsize=1)
def _component() -> Any:
    version = assets_version()
    loader = f"""
    let code;
    export default function(component) {{
      code ??= import(new URL('ds/assets/{version}/map.js', document.baseURI).href);
      return code.then((module) => module.mount(component));
    }}"""
    sheets = [
        LEAFLET / "leaflet.css",
        _HERE / "map.css",
        *sorted(set(_HERE.rglob("*.css")) - {_HERE / "map.css"}, key=lambda p: p.name),
    ]
    css = "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets)
    return st.components.v2.component("damage_ssl_workbench", html=_HTML, css=css, js=loader, isolate_styles=False)


def _ignore() -> None:
    """A state value needs a callback to exist; that it changed is all that the page wants to know."""
