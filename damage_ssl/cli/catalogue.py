"""`damage-ssl catalog`: events whose imagery and footprints are known; what `init --from-catalog` takes from them."""

import dataclasses
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from damage_ssl.cli.console import Console, command
from damage_ssl.cli.options import WORKSPACE, Json, Workspace
from damage_ssl.errors import InputError
from damage_ssl.events.catalogue import PACKAGED, OpenEvent, add_to_catalogue, find_event, known_events, user_catalogue
from damage_ssl.events.inputs import EventInputs
from damage_ssl.files import read_json

OwnCatalog = Annotated[
    Path | None,
    typer.Option(
        "--catalog", metavar="FILE", help="Your own catalogue (default: catalog/catalog.json of the workspace)."
    ),
]


DRAWN = "_drawn"  # no event can have this name
_OSM_HISTORY_BEGINS = date(2012, 9, 13)  # older states of the map are not kept (OpenStreetMap's change of licence)


def list_events(
    hazard: Annotated[
        str | None, typer.Option(help="Only events of this hazard: earthquake, fire, flood, wind …")
    ] = None,
    catalog: OwnCatalog = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """List the known events: those that come with damage-ssl, then your own."""
    with command(json=json) as console:
        own = catalog or user_catalogue(workspace)
        events = [event for event in known_events(PACKAGED, own) if hazard in {None, event.hazard}]
        if not events:
            console.say("no such event; next: damage-ssl catalog list")
        rows = [
            (
                event.id,
                event.date.isoformat() if event.date and not event.synthetic else "-",
                event.hazard or "-",
                ("own: " if event.catalog == own else "") + (event.place or event.title),
            )
            for event in events
        ]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
        for row in rows:
            console.say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if events:
            console.say(f"{len(events)} events; next: damage-ssl catalog show ID")
        console.result({"events": [_values(event) for event in events]})


def show(
    event_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the event, as `catalog list` shows it.")],
    catalog: OwnCatalog = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Show one event: what happened, where its imagery, footprints and labels are, and under which licence."""
    with command(json=json) as console:
        event = find_event(event_id, PACKAGED, catalog or user_catalogue(workspace))
        west, south, east, north = event.bbox
        rough = "; approximate" if event.catalog == PACKAGED and not event.synthetic else ""
        console.say(f"{event.title} ({event.id})")
        console.say(event.description)
        console.say(f"hazard  {event.hazard or '?'}")
        if event.date and not event.synthetic:
            console.say(f"date    {event.date.isoformat()} (UTC)")
        console.say(f"area    {west:g},{south:g},{east:g},{north:g} (W,S,E,N{rough})")
        for source in event.sources:
            sides = f" [{' and '.join(source.sides)}]" if source.sides else ""
            console.say(f"\n{source.kind}{sides}: {source.title} - {source.licence}")
            console.say(f"  {source.href}")
            if source.note:
                console.say(f"  {source.note}")
        console.say("")
        for line in _next(event):
            console.say(f"next: {line}")
        console.result(_values(event))


def add(
    target: Annotated[
        str, typer.Argument(metavar="EVENT|STAC", help="An event of the workspace, or a STAC collection or item.")
    ],
    catalog: OwnCatalog = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Register an event of the workspace, or a STAC collection or item (path or address), in your own catalogue."""
    with command(json=json) as console:
        own = catalog or user_catalogue(workspace)
        event = add_to_catalogue(target, workspace, own)
        console.say(f"{event.id}: {event.title}, in {own}")
        console.say(f"next: damage-ssl catalog show {event.id}")
        console.result(_values(event))


@dataclass(frozen=True, kw_only=True)
class _Sides:
    pre: list[str]
    post: list[str]
    footprints: list[Path]
    aoi: Path | None = None


def inputs_from_catalog(console: Console, workspace: Path, event_id: str, inputs: EventInputs) -> EventInputs:
    """What `init` is to make an event from; what the command line gave itself goes before the catalogue.

    The sample event is drawn. Of other entries the rasters are taken that their STAC items name.

    Raises:
        InputError: the entry names no rasters of both sides; the message says where they can be had.
    """
    event = find_event(event_id, PACKAGED, user_catalogue(workspace))
    if inputs.from_xbd is not None:
        raise InputError("init: give --from-catalog or --from-xbd, not both")
    if event.synthetic and event.catalog == PACKAGED:
        found = _draw(console, workspace, event)
    elif inputs.pre and inputs.post:
        found = _Sides(pre=[], post=[], footprints=[])
    else:
        found = _named(event)
    pre, post = inputs.pre or found.pre, inputs.post or found.post
    if not pre or not post:
        raise InputError(_how_to_get(event, [name for name, hrefs in (("pre", pre), ("post", post)) if not hrefs]))
    return replace(
        inputs,
        pre=pre,
        post=post,
        footprints=inputs.footprints or found.footprints,
        aoi=inputs.aoi or found.aoi,
        hazard=inputs.hazard or event.hazard,
        licence=None if inputs.pre or inputs.post else event.licence,  # of other rasters it says nothing
    )


def _draw(console: Console, workspace: Path, event: OpenEvent) -> _Sides:
    from damage_ssl.simulation.event import simulate
    from damage_ssl.simulation.settings import SimulationSettings

    settings = read_json(event.path)["damage_ssl:simulation"]
    folder = workspace / DRAWN / event.id
    console.say(f"drawing {settings['buildings']:,} buildings into {folder}")
    drawn = simulate(folder, SimulationSettings(**settings))
    console.say(f"the true grades, for practice: {drawn.truth}")
    return _Sides(pre=[str(drawn.pre)], post=[str(drawn.post)], footprints=[drawn.footprints])


def _named(event: OpenEvent) -> _Sides:
    """The rasters of the entry's own STAC items, and the footprints that lie beside it."""
    values = read_json(event.path)
    if not any(link.get("rel") in {"item", "child"} for link in values.get("links", [])):
        return _Sides(pre=[], post=[], footprints=[])
    from damage_ssl.cli.imagery import side
    from damage_ssl.events.imagery_search import scenes_below

    scenes, complete = scenes_below(str(event.path), values)
    if not complete:
        raise InputError(f"{event.id}: has too many scenes; choose with `damage-ssl imagery search {event.id}`")
    struck = datetime.combine(event.date, time(), UTC) if event.date else None
    beside, aoi = event.path.with_name("footprints.parquet"), event.path.with_name("aoi.geojson")
    return _Sides(
        pre=[scene.href for scene in scenes if scene.href and side(scene, struck) == "pre"],
        post=[scene.href for scene in scenes if scene.href and side(scene, struck) == "post"],
        footprints=[beside] if beside.is_file() else [],
        aoi=aoi if aoi.is_file() else None,
    )


def _how_to_get(event: OpenEvent, missing: list[str]) -> str:
    lines = [f"{event.id}: the catalogue names no {' and '.join(missing)} rasters of it file by file. To get them:"]
    for source in event.sources:
        if source.kind == "imagery" and (not source.sides or set(source.sides) & set(missing)):
            sides = f" ({' and '.join(source.sides)})" if source.sides else ""
            lines.append(f"  {source.title}{sides}, {source.licence}: {source.href}")
            lines += [f"    {source.note}"] if source.note else []
    if len(lines) == 1:
        lines.append("  it knows of none that is open; data hubs may have some")
    lines.append("then:")
    lines += [f"  {line}" for line in _next(event)]
    return "\n".join(lines)


def _next(event: OpenEvent) -> list[str]:
    if event.synthetic:
        return [f"damage-ssl init {event.id} --from-catalog {event.id}"]
    if event.catalog != PACKAGED:
        return [f"damage-ssl init {event.id}-2 --from-catalog {event.id}"]
    lines = [
        f"damage-ssl imagery search {event.id}",
        f"damage-ssl init {event.id} --from-catalog {event.id} --pre PATH... --post PATH...",
        f"damage-ssl footprints fetch {event.id}",
    ]
    if event.date and event.date > _OSM_HISTORY_BEGINS:
        before = event.date - timedelta(days=1)
        lines.append(f"or, as mapped before: damage-ssl footprints fetch {event.id} --source osm --date {before}")
    return lines


def _values(event: OpenEvent) -> dict[str, Any]:
    return {**dataclasses.asdict(event), "path": str(event.path), "catalog": str(event.catalog)}
