"""`damage-ssl footprints fetch` and `use`: outlines of buildings from an open source, or from files of one's own."""

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated

import typer

from damage_ssl.cli.console import command
from damage_ssl.cli.events import footprint_lines, footprint_values
from damage_ssl.cli.options import WORKSPACE, IdColumn, Json, Workspace
from damage_ssl.cli.place import Place, find_place
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.coverage import extent_of
from damage_ssl.events.event import Event
from damage_ssl.files import atomic_path, write_json
from damage_ssl.footprints.footprint_set import FootprintSet
from damage_ssl.footprints.providers.download import Fetched, fetch_footprints, find_provider, note_path
from damage_ssl.footprints.reader import read_footprints

_OGR_SUFFIXES = {".geojson": "GeoJSON", ".gpkg": "GPKG"}


def fetch(
    event: Annotated[
        str | None, typer.Argument(metavar="[EVENT]", help="An event of the workspace, or of the catalogue.")
    ] = None,
    bbox: Annotated[str | None, typer.Option(metavar="W,S,E,N", help="An area in degrees, in place of EVENT.")] = None,
    source: Annotated[str, typer.Option(help="Where from: overture, open-buildings or osm.")] = "overture",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a file; without it they become the event's footprints.")
    ] = None,
    release: Annotated[str | None, typer.Option(help="Release of Overture (default: the latest).")] = None,
    date: Annotated[
        str | None, typer.Option(help="With osm: the map as it was on this day, e.g. the day before.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the footprints that the event has.")] = False,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Fetch the buildings of an event's imagery (or its AOI) from an open source; its licence is kept and shown."""
    with command(json=json) as console:
        provider = find_provider(source)
        if date is not None and source != "osm":
            raise InputError("--date: only --source osm can show the map of another day; Overture takes --release")
        if release is not None and source != "overture":
            raise InputError(f"--release: {provider.title} has none to choose from; it is for --source overture")
        place = find_place(workspace, event, bbox)
        if out is None and place.event is None:
            raise InputError(
                f"footprints fetch: '{event or bbox}' is no event of {workspace}; give --out FILE to write the "
                "buildings to"
            )
        if out is None and place.event is not None and place.event.has_footprints and not overwrite:
            raise InputError(
                f"event '{place.event.name}' has footprints already; replace them with --overwrite (labels stay with "
                "their building_id), or write a file with --out"
            )
        raw = _target(place, out, provider.name, provider.suffix)
        with console.progress(source) as bar:
            fetched = fetch_footprints(
                source,
                place.box,
                raw,
                release=date or release,
                move=lambda done, total, remark="": bar(done, max(done, total), remark),
            )
        if out is None and place.event is not None:
            found = read_footprints(raw, aoi=place.aoi, imagery=place.imagery)
            place.event.set_footprints(found)
            console.say(f"event '{place.event.name}': {len(found.table):,} footprints from {_origin(fetched)}")
            console.say(f"kept as fetched: {raw}")
        else:
            found = read_footprints(raw)
            written = _write(found, fetched, raw, out or raw)
            console.say(f"{written}: {len(found.table):,} footprints from {_origin(fetched)}")
        console.say(
            f'licence {fetched.licence}: credit "{fetched.attribution}" in what you make of them ({fetched.about})'
        )
        if out is not None:
            console.say(f"next: damage-ssl init EVENT --pre … --post … --footprints {shlex.quote(str(out))}")
        elif place.event is not None:
            console.say(f"next: damage-ssl patches {place.event.name}")
        console.result({**dataclasses.asdict(fetched), "path": str(out or raw), "footprints": len(found.table)})


def use(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="An event of the workspace.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of outlines, the preferred one first.")],
    id_column: IdColumn = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the footprints that the event has.")] = False,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Give an event the footprints of these files, as `init` would; imagery, labels and runs stay."""
    with command(json=json) as console:
        opened = Event.open(workspace, event)
        if opened.has_footprints and not overwrite:
            raise WorkspaceError(f"event '{event}': has footprints already; replace them with --overwrite")
        with console.progress("outlines"):
            scenes = [*opened.scenes("pre"), *opened.scenes("post")]
            settings = opened.footprint_settings().replace(id_column=id_column)
            found = read_footprints(files, aoi=opened.aoi(), imagery=extent_of(scenes), settings=settings)
        opened.set_footprints(found)
        console.say(f"event '{event}': {len(found.table):,} footprints")
        for line in footprint_lines(opened):
            console.say(line)
        console.say(f"next: damage-ssl patches {event} --workspace {workspace}")
        console.result({"event": event, "footprints": len(found.table), **footprint_values(opened)})


def _target(place: Place, out: Path | None, source: str, suffix: str) -> Path:
    """Where the provider's own file goes: under the event, to `--out`, or beside it where `--out` is another format."""
    if out is None:
        folder = place.event.path if place.event is not None else Path()
        return folder / "fetched" / f"{source}{suffix}"
    if out.name.lower().endswith(suffix):
        return out
    if out.suffix.lower() in _OGR_SUFFIXES:
        return out.with_name(f".{out.name}.fetched{suffix}")
    raise InputError(f"--out {out}: write {suffix} (as {source} gives it), {' or '.join(_OGR_SUFFIXES)}")


def _write(found: FootprintSet, fetched: Fetched, raw: Path, out: Path) -> Path:
    if out == raw:
        return out
    try:
        with atomic_path(out) as temporary:
            found.table.to_file(temporary, driver=_OGR_SUFFIXES[out.suffix.lower()], layer="footprints")
        write_json(note_path(out), {**dataclasses.asdict(fetched), "path": out.name})
    finally:
        raw.unlink(missing_ok=True)
        note_path(raw).unlink(missing_ok=True)
    return out


def _origin(fetched: Fetched) -> str:
    return fetched.title + (f" ({fetched.release})" if fetched.release and fetched.release not in fetched.title else "")
