"""`damage-ssl features`: what the live model stands on."""

import os
from pathlib import Path

from damage_ssl.cli.console import Console
from damage_ssl.event.catalog import Event
from damage_ssl.pipeline.live import features_path, features_ready, make_features
from damage_ssl.progress import reporter


def features(console: Console, workspace: Path, name: str) -> None:
    """Make an event's features where they are missing or out of date, and say so."""
    if reporter() is not None:
        os.nice(10)  # started by the app, in which somebody labels meanwhile
    event = Event.open(workspace, name)
    had = features_ready(event)
    with console.progress("features") as bar:
        count = make_features(event, progress=bar)
    if had:
        console.say(f"features of {count:,} buildings are there from the same patches: nothing to do")
    else:
        console.say(f"features of {count:,} buildings: the app now colours the map while you label")
    console.result({"event": name, "buildings": count, "made": not had, "path": str(features_path(event))})
