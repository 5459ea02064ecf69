"""`damage-ssl register`: shifts between footprints, pre and post imagery."""

from pathlib import Path
from typing import Annotated

import typer

from damage_ssl.cli.console import Console
from damage_ssl.cli.options import WORKSPACE, EventName, Json, Workspace
from damage_ssl.cli.resources import MEMORY, Cluster, Memory, Workers, resources_of


def register_command(
    event: EventName,
    nudge: Annotated[
        list[str],
        typer.Option(
            metavar="SCENE=DX,DY", help="Set a scene's shift by hand, metres east and north; may be repeated."
        ),
    ] = [],  # noqa: B006 (typer copies it)
    clear_nudge: Annotated[list[str], typer.Option(metavar="SCENE", help="Take a nudge back; may be repeated.")] = [],  # noqa: B006
    picture: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Where to draw the arrows (default: registration.png).")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", metavar="TOML", help="Settings file with a table [patches].")
    ] = None,
    workers: Workers = 0,
    memory: Memory = MEMORY,
    cluster: Cluster = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Measure how post, pre and footprints are shifted against each other, and draw it. `patches` undoes the shifts.

    A nudge of a pre scene says where the footprints are found in it; one of a post scene, how far it is off pre.
    """
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli.register_stage import register_event

        resources = resources_of(workers, memory, cluster)
        register_event(
            console,
            workspace,
            event,
            settings_file=settings,
            resources=resources,
            nudges=nudge,
            clear=clear_nudge,
            picture=picture,
        )
