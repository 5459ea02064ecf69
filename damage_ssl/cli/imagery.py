"""`damage-ssl imagery`: find open imagery."""

from typing import Annotated

import typer

from damage_ssl.cli.console import Console
from damage_ssl.cli.options import WORKSPACE, Json, Workspace

imagery_cli = typer.Typer(help="Open imagery: search STAC catalogues.", no_args_is_help=True)


@imagery_cli.callback()
def _group() -> None:
    """Open imagery: search STAC catalogues."""


@imagery_cli.command()
def search(
    event: Annotated[
        str | None, typer.Argument(metavar="[EVENT]", help="An event of the workspace, or of the catalogue.")
    ] = None,
    bbox: Annotated[str | None, typer.Option(metavar="W,S,E,N", help="An area in degrees, in place of EVENT.")] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="DAY", help="First day or time (UTC).")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="DAY", help="Last day or time (UTC).")] = None,
    catalog: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|URL|FILE",
            help="maxar, vantor, openaerialmap, naip, earth-search, or a STAC address (default: the one that the "
            "catalogue names for EVENT, else openaerialmap).",
        ),
    ] = None,
    collection: Annotated[list[str], typer.Option(help="Only this collection of the catalogue; repeatable.")] = [],  # noqa: B006
    max_cloud: Annotated[float | None, typer.Option(min=0, max=100, help="Largest cloud cover in percent.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many scenes.")] = 200,
    max_documents: Annotated[int, typer.Option(min=1, help="Of a static catalogue read at most so many files.")] = 3000,
    only: Annotated[
        str | None, typer.Option("--side", metavar="pre|post", help="Only scenes of before, or of after, the disaster.")
    ] = None,
    hrefs: Annotated[bool, typer.Option("--hrefs", help="Print the rasters' addresses only, one a line.")] = False,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """List open scenes of a place: date, GSD, cloud, licence and the address that `init --pre … --post …` takes."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import imagery_stage

        wanted = imagery_stage.Wanted(
            start=start,
            end=end,
            catalog=catalog,
            collections=tuple(collection),
            max_cloud=max_cloud,
            limit=limit,
            max_documents=max_documents,
            side=only,
        )
        imagery_stage.search(console, workspace, event, bbox, wanted, hrefs_only=hrefs)
