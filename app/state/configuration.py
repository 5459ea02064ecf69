"""Which folder of events this app serves; chosen once, when the server starts."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from damage_ssl.errors import SettingsError, WorkspaceError
from damage_ssl.events.event import Event, list_events
from damage_ssl.imagery.display_copies import DisplayCopies

VARIABLE = "DAMAGE_SSL_WORKSPACE"


def choose_workspace(arguments: Sequence[str] | None = None) -> Path:
    """Read `--workspace DIR` (else the environment, else `workspace`) and keep it for the pages and routes."""
    parser = argparse.ArgumentParser(prog="streamlit run app/main.py --", add_help=False)
    parser.add_argument("--workspace", type=Path, default=Path(os.environ.get(VARIABLE, "workspace")))
    known, _ = parser.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    chosen: Path = known.workspace.resolve()
    os.environ[VARIABLE] = str(chosen)
    return chosen


def workspace_path() -> Path:
    """The folder of events."""
    return Path(os.environ.get(VARIABLE, "workspace")).resolve()


_A_PATH = re.compile(r"(?<![\w:/.])(?:/|[A-Za-z]:\\)(?:[^\s/\\:;,'\"()]+[/\\])+([^\s/\\:;,'\"()]*)")


def without_paths(message: str) -> str:
    """A message as the browser gets it: files by their names in the workspace, else by their last name alone."""
    for folder in dict.fromkeys((str(workspace_path()), os.environ.get(VARIABLE, "workspace"))):
        if Path(folder).is_absolute():
            message = message.replace(f"{folder}{os.sep}", "").replace(folder, "the workspace")
    return _A_PATH.sub(r"\1", message)


def open_event(name: str) -> Event:
    """Open an event by its name, which must be one of the workspace's: no path can be smuggled in.

    Raises:
        WorkspaceError: no such event.
    """
    workspace = workspace_path()
    if name not in list_events(workspace):
        raise WorkspaceError(f"{workspace}: has no event of that name; choose one of the list")
    return Event.open(workspace, name)


COPIES_VARIABLE = "DAMAGE_SSL_MAP_COPIES_GB"
_COPIES_GB = 10.0


def display_copies() -> DisplayCopies:
    """Copies of rasters without overviews that the map is drawn from: `.map_copies/` in the workspace.

    Raises:
        SettingsError: `$DAMAGE_SSL_MAP_COPIES_GB`, what they may take of the disk in GB (10⁹ bytes), is no such number.
    """
    text = os.environ.get(COPIES_VARIABLE, "").strip()
    try:
        limit_gb = float(text) if text else _COPIES_GB
    except ValueError:
        limit_gb = -1.0
    if not 0 <= limit_gb < 1e6:
        raise SettingsError(f"${COPIES_VARIABLE}: '{text}' is not a number of GB; 0 makes none")
    return _copies_in(workspace_path() / ".map_copies", int(limit_gb * 1e9))


@lru_cache(maxsize=4)
def _copies_in(folder: Path, limit_bytes: int) -> DisplayCopies:
    return DisplayCopies(folder, limit_bytes)


BASEMAP_ZOOM = 19


def basemap() -> dict[str, str | int] | None:
    """An online map to lie below the imagery, if one is configured; it is off until somebody switches it on.

    `$DAMAGE_SSL_BASEMAP` is an address with {z}, {x} and {y}, `$DAMAGE_SSL_BASEMAP_ATTRIBUTION` whom it is owed to (by
    default its host is named).

    Raises:
        SettingsError: the address is not one of map tiles.
    """
    address = os.environ.get("DAMAGE_SSL_BASEMAP", "").strip()
    if not address:
        return None
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not all(name in address for name in ("{z}", "{x}", "{y}")):
        raise SettingsError(
            f"DAMAGE_SSL_BASEMAP: '{address}' is not an address of map tiles; write https://…/{{z}}/{{x}}/{{y}}.png"
        )
    owed = os.environ.get("DAMAGE_SSL_BASEMAP_ATTRIBUTION", "").strip() or f"Map: {parts.hostname}"
    return {"url": address, "attribution": owed, "max_zoom": BASEMAP_ZOOM}


def basemap_origin() -> str:
    """Where the online map's pictures come from, as a Content-Security-Policy names it; empty without one."""
    configured = basemap()
    if configured is None:
        return ""
    parts = urlsplit(str(configured["url"]))
    return f"{parts.scheme}://{parts.netloc.replace('{s}', '*')}"
