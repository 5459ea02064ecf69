"""`damage-ssl benchmark`: the command and its options."""

from pathlib import Path
from typing import Annotated

import typer

from damage_ssl.cli.console import Console
from damage_ssl.cli.options import WORKSPACE, EventName, Json, Workspace


def benchmark_command(
    event: EventName,
    truth: Annotated[Path, typer.Option(metavar="FILE", help="CSV with building_id,grade of all that is known.")],
    experiments: Annotated[
        str, typer.Option(metavar="A,B", help="Of labels, unlabelled, mismatch, imbalance, validation.")
    ] = "labels,unlabelled,mismatch,imbalance,validation",
    methods: Annotated[str | None, typer.Option(metavar="A,B", help="Algorithms (default: all).")] = None,
    labels: Annotated[
        str, typer.Option(metavar="N,N", help="Labels a class; tuning takes the middle one.")
    ] = "5,25,100",
    seeds: Annotated[str, typer.Option(metavar="N,N", help="Three at least.")] = "0,1,2",
    trials: Annotated[int, typer.Option(min=1, help="Settings tried for each method, the first its defaults.")] = 4,
    mismatch_event: Annotated[
        str | None,
        typer.Option(metavar="EVENT", help="Take foreign pairs from this event, not from between buildings."),
    ] = None,
    scheme: Annotated[str | None, typer.Option(help="binary-major, binary-minor or grades.")] = None,
    network: Annotated[str | None, typer.Option(help="The network that is trained, as in `damage-ssl train`.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.")] = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", metavar="TOML", help="Settings file; [train] holds for all methods.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.05, help="Stop after this time; the same command goes on.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say how many trainings there are and how long.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Do failed trainings again.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processor threads of the one training at a time (default: torch's).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The report (default: in the event's benchmark folder).")
    ] = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Compare learning methods on an event with known grades: labels, unlabelled data, mismatch, imbalance, tuning."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.benchmarking.settings import WINDOWS
        from damage_ssl.cli import benchmark_stage

        benchmark_stage.benchmark(
            console,
            workspace,
            event,
            truth,
            benchmark_stage.Asked(
                experiments=experiments,
                methods=methods,
                labels=labels,
                seeds=seeds,
                trials=trials,
                foreign=mismatch_event or WINDOWS,
                settings_file=settings,
                train={"scheme": scheme, "network": network, "steps": steps},
            ),
            minutes=minutes,
            plan_only=plan,
            retry_failed=retry_failed,
            threads=threads,
            out=out,
        )
