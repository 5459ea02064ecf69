"""`damage-ssl pretrain` and `damage-ssl ensemble`: what trainings start from, and what is made of several."""

from pathlib import Path
from typing import Annotated

import typer

from damage_ssl.cli.console import Console
from damage_ssl.cli.options import WORKSPACE, EventName, Json, Workspace


def pretrain_command(
    event: EventName,
    also: Annotated[
        list[str], typer.Option(metavar="EVENT", help="Another event whose pairs are learned from too; repeat.")
    ] = [],  # noqa: B006 (typer copies it)
    loss: Annotated[str | None, typer.Option(help="vicreg, simclr or barlow-twins.")] = None,
    network: Annotated[
        str | None, typer.Option(help="efficientnet-lite0, small-cnn, timm:<model> or smp:<encoder>.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="Weights that the encoder starts from.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.05, help="Upper bound of the time.")] = None,
    batch: Annotated[int | None, typer.Option(min=4, help="Pairs a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the encoder, at its highest.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of network, batches and views.")] = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Pretrain an encoder on the event's pairs without any label, as a start for every algorithm."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli.network_stages import pretrain

        given = {
            "loss": loss,
            "network": network,
            "weights": None if weights is None else str(weights.resolve()),
            "steps": steps,
            "minutes": minutes,
            "batch": batch,
            "learning_rate": learning_rate,
            "seed": seed,
        }
        pretrain(console, workspace, event, also, given)


def ensemble_command(
    event: EventName,
    runs: Annotated[
        list[str],
        typer.Option("--runs", metavar="RUN...", help="Finished runs; without it, the newest of each method."),
    ] = [],  # noqa: B006
    truth: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV with building_id,grade: the gain on it too.")
    ] = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="Name of the new run.")] = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Average several finished runs as a run of its own, and say what that gains over the best of them."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli.network_stages import ensemble

        ensemble(console, workspace, event, runs, truth=truth, run_id=run_id)
