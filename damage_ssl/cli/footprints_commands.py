"""`damage-ssl footprints`: fetch footprints, or detect them where there are none."""

from pathlib import Path
from typing import Annotated

import typer

from damage_ssl.cli.console import Console
from damage_ssl.cli.options import WORKSPACE, Json, Workspace

footprints_cli = typer.Typer(
    help="Building footprints: fetch them, or detect them where there are none.", no_args_is_help=True
)


@footprints_cli.command()
def fetch(
    event: Annotated[
        str | None, typer.Argument(metavar="[EVENT]", help="An event of the workspace, or of the catalogue.")
    ] = None,
    bbox: Annotated[str | None, typer.Option(metavar="W,S,E,N", help="An area in degrees, in place of EVENT.")] = None,
    source: Annotated[str, typer.Option(help="overture, open-buildings or osm.")] = "overture",
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
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import fetch_stage

        fetch_stage.fetch(
            console, workspace, event, bbox, source=source, out=out, release=release, date=date, overwrite=overwrite
        )
