"""`damage-ssl features`: what the live model stands on."""

import os
from pathlib import Path
from typing import Any

from damage_ssl.cli.console import Console
from damage_ssl.event.catalog import Event
from damage_ssl.files import read_json
from damage_ssl.pipeline.live import features_path, features_start, make_features
from damage_ssl.progress import reporter


def features(
    console: Console, workspace: Path, name: str, *, weights: str | None = None, network: str | None = None
) -> None:
    """Make an event's features where they are missing, out of date or of other weights, and say so."""
    if reporter() is not None:
        os.nice(10)  # started by the app, in which somebody labels meanwhile
    event = Event.open(workspace, name)
    before = _notes(event)
    with console.progress("features") as bar:
        count = make_features(event, progress=bar, weights=weights, network=network)
    had = before == _notes(event)
    start = features_start(event)
    of = "" if start is None else f" by the weights {start.path}"
    if had:
        console.say(f"features of {count:,} buildings are there from the same patches{of}: nothing to do")
    else:
        console.say(f"features of {count:,} buildings{of}: the app now colours the map while you label")
    console.result(
        {
            "event": name,
            "buildings": count,
            "made": not had,
            "weights": None if start is None else str(start.path),
            "path": str(features_path(event)),
        }
    )


def _notes(event: Event) -> Any:
    """What the features are of; None where there are none."""
    path = features_path(event) / "features.json"
    return read_json(path) if path.exists() else None
