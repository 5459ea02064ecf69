"""`damage-ssl catalog`: events whose imagery and footprints are known."""

from pathlib import Path
from typing import Annotated

import typer

from damage_ssl.cli.console import Console
from damage_ssl.cli.options import WORKSPACE, Json, Workspace

catalog_cli = typer.Typer(help="Known events: where their imagery and footprints can be had.", no_args_is_help=True)

OwnCatalog = Annotated[
    Path | None,
    typer.Option(
        "--catalog", metavar="FILE", help="Your own catalogue (default: catalog/catalog.json of the workspace)."
    ),
]


@catalog_cli.command("list")
def list_events(
    hazard: Annotated[str | None, typer.Option(help="Only this hazard: earthquake, fire, flood, wind …")] = None,
    catalog: OwnCatalog = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """List the known events: those that come with damage-ssl, then your own."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import catalog_stage

        catalog_stage.list_events(console, workspace, catalog, hazard=hazard)


@catalog_cli.command()
def show(
    event_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the event, as `catalog list` shows it.")],
    catalog: OwnCatalog = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Show one event: what happened, where its imagery, footprints and labels are, and under which licence."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import catalog_stage

        catalog_stage.show(console, workspace, catalog, event_id)


@catalog_cli.command()
def add(
    target: Annotated[
        str, typer.Argument(metavar="EVENT|STAC", help="An event of the workspace, or a STAC collection or item.")
    ],
    catalog: OwnCatalog = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Register an event of the workspace, or a STAC collection or item (path or address), in your own catalogue."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import catalog_stage

        catalog_stage.add(console, workspace, catalog, target)
