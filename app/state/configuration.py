"""Which folder of events this app serves; chosen once, when the server starts."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from damage_ssl.errors import WorkspaceError
from damage_ssl.event.catalog import Event, list_events

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


def open_event(name: str) -> Event:
    """Open an event by its name, which must be one of the workspace's: no path can be smuggled in.

    Raises:
        WorkspaceError: no such event.
    """
    workspace = workspace_path()
    if name not in list_events(workspace):
        raise WorkspaceError(f"{workspace}: has no event of that name; choose one of the list")
    return Event.open(workspace, name)
