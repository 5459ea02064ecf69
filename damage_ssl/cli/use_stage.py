"""What `damage-ssl footprints use` does: files of outlines become the footprints of an event that is there."""

from collections.abc import Sequence
from pathlib import Path

from damage_ssl.cli.console import Console
from damage_ssl.cli.footprints_report import footprint_lines, footprint_values
from damage_ssl.errors import WorkspaceError
from damage_ssl.event.catalog import Event, extent_of
from damage_ssl.event.footprints import read_footprints


def use_files(console: Console, workspace: Path, name: str, files: Sequence[Path], *, overwrite: bool) -> None:
    """Read the files within the event's area or imagery, and set them; the event is as it was if one cannot be used.

    Raises:
        WorkspaceError: there are footprints already, and they are not to be replaced.
        InputError: a file cannot be used, or holds nothing where the imagery is.
    """
    event = Event.open(workspace, name)
    if event.has_footprints and not overwrite:
        raise WorkspaceError(f"event '{name}': has footprints already; replace them with --overwrite")
    with console.progress("outlines"):
        scenes = [*event.scenes("pre"), *event.scenes("post")]
        found = read_footprints(files, aoi=event.aoi(), imagery=extent_of(scenes), settings=event.footprint_settings())
    event.set_footprints(found)
    console.say(f"event '{name}': {len(found.table):,} footprints")
    for line in footprint_lines(event):
        console.say(line)
    console.say(f"next: damage-ssl patches {name} --workspace {workspace}")
    console.result({"event": name, "footprints": len(found.table), **footprint_values(event)})
