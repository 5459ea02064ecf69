"""`damage-ssl views`: augmentation, seen and measured on an event's own pairs."""

from pathlib import Path
from typing import Annotated

import typer

from damage_ssl.cli.console import Console
from damage_ssl.cli.options import WORKSPACE, EventName, Json, Workspace


def views_command(
    event: EventName,
    out: Annotated[Path | None, typer.Option(metavar="PNG", help="Where to draw (default: the event's views.png).")] = (
        None
    ),
    operations: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Only these, with spaces between, e.g. 'blur noise@context'.")
    ] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Measure affinity and diversity; needs labels.")] = False,
    search: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=1.0, help="Find an AutoAugment policy for this event first; needs labels."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="JSON", help="Policy to read or write (default: views_policy.json).")
    ] = None,
    budget: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="Time for measuring; the policies come first.")
    ] = 120.0,
    scheme: Annotated[str, typer.Option(help="binary-major, binary-minor or grades.")] = "binary-major",
    seed: Annotated[int, typer.Option(help="Seed of the pairs shown, the split and the views.")] = 0,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Draw what augmentation does to this event's pairs; measure it; find a policy for it."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli.views_stage import views

        views(
            console,
            workspace,
            event,
            out=out,
            operations=operations,
            measuring=measure,
            search_s=search,
            policy=policy,
            budget_s=budget,
            scheme=scheme,
            seed=seed,
        )
