"""`damage-ssl label`: labels in and out, which building to look at next, how far analysts agree."""

from pathlib import Path
from typing import Annotated

import typer

from damage_ssl.cli.console import Console
from damage_ssl.cli.options import WORKSPACE, EventName, Json, Workspace

label_cli = typer.Typer(help="Labels in, out, which building is next, how far analysts agree.", no_args_is_help=True)


@label_cli.command("import")
def label_import(
    event: EventName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with building_id,grade.")],
    labeller: Annotated[str, typer.Option(help="Who gave these labels.")] = "import",
    skip_unknown: Annotated[bool, typer.Option(help="Leave out labels of buildings that the event lacks.")] = False,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Add labels from a CSV file; all of them or none."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import label_stages

        label_stages.import_labels(console, workspace, event, file, labeller=labeller, skip_unknown=skip_unknown)


@label_cli.command("export")
def label_export(
    event: EventName,
    out: Annotated[Path, typer.Option(metavar="FILE", help="CSV to write.")],
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Write the current labels as CSV."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import label_stages

        label_stages.export_labels(console, workspace, event, out)


@label_cli.command("next")
def label_next(
    event: EventName,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many buildings.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the random draws.")] = 0,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Propose the buildings to label next: spread over the event, uncertain ones once there is a model."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import label_stages

        label_stages.next_labels(console, workspace, event, count=count, seed=seed)


@label_cli.command("agreement")
def label_agreement(
    event: EventName,
    scheme: Annotated[
        str | None, typer.Option(help="Compare classes of binary-major, binary-minor or grades, not the answers.")
    ] = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Say how far the analysts agree (Cohen's and Fleiss' kappa), and on which buildings somebody has to decide."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import label_stages

        label_stages.compare_analysts(console, workspace, event, scheme)
