"""Label import, export, next, agreement.

`damage-ssl label`: labels in and out, which building to look at next, how far analysts agree.

What the `label` commands do.
"""

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from damage_ssl import workflow
from damage_ssl.cli.console import Console
from damage_ssl.cli.options import WORKSPACE, EventName, Json, Workspace
from damage_ssl.damage_scale import scheme_named
from damage_ssl.events.event import Event
from damage_ssl.files import write_json
from damage_ssl.labels.agreement import agreement, disputed, independent_answers

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
        import_labels(console, workspace, event, file, labeller=labeller, skip_unknown=skip_unknown)


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
        export_labels(console, workspace, event, out)


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
        next_labels(console, workspace, event, count=count, seed=seed)


@label_cli.command("outlook", hidden=True)
def label_outlook(
    event: EventName,
    out: Annotated[Path, typer.Option(metavar="FILE", help="JSON to write.")],
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Work out what the next labels would bring the live model; for the app, at low priority."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.runs.live import learning_curve_of

        os.nice(10)  # somebody labels meanwhile
        write_json(out, dataclasses.asdict(learning_curve_of(Event.open(workspace, event))))


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
        compare_analysts(console, workspace, event, scheme)


_SHOWN = 20


def import_labels(
    console: Console, workspace: Path, name: str, file: Path, *, labeller: str, skip_unknown: bool = False
) -> None:
    """Import labels and say how many of each."""
    event = Event.open(workspace, name)
    report = workflow.import_labels(event, file, labeller=labeller, skip_unknown=skip_unknown)
    counts = workflow.event_status(event).labels
    left_out = report.unclassified + len(report.unknown)
    console.say(f"{report.added:,} labels added, {report.unchanged:,} already there, {left_out:,} left out")
    console.say("labels now: " + ", ".join(f"{count:,} {value}" for value, count in counts.items()))
    console.result({**dataclasses.asdict(report), "labels": counts})


def export_labels(console: Console, workspace: Path, name: str, out: Path) -> None:
    """Write the current labels."""
    labels = workflow.open_labels(Event.open(workspace, name))
    labels.export_csv(out)
    count = sum(labels.counts().values())
    console.say(f"{count:,} labels written to {out}")
    console.result({"out": str(out), "labels": count})


def next_labels(console: Console, workspace: Path, name: str, *, count: int, seed: int) -> None:
    """Print the buildings to look at next, one a line."""
    table = workflow.next_to_label(Event.open(workspace, name), count, np.random.default_rng(seed))
    rows = table.astype(object).where(table.notna(), None).to_dict(orient="records")
    for row in rows:
        console.say(f"{row['building_id']}  ({row['drawn']})")
    console.result({"buildings": rows})


def compare_analysts(console: Console, workspace: Path, name: str, scheme: str | None) -> None:
    """Say how far the analysts agree, and list the buildings on which they are divided."""
    log = workflow.open_labels(Event.open(workspace, name)).log()
    found = agreement(independent_answers(log), None if scheme is None else scheme_named(scheme))
    divided = disputed(log)
    if not found.buildings:
        console.say("no building was answered by two analysts yet")
    else:
        console.say(
            f"{found.buildings:,} buildings answered by two or more analysts: {found.agreed:.0%} of the answers agree, "
            f"Fleiss' kappa {_kappa(found.kappa)}"
        )
        for pair in found.pairs:
            console.say(
                f"  {pair.first} and {pair.second}: {pair.agreed:.0%} of {pair.buildings:,} agree, Cohen's kappa "
                f"{_kappa(pair.kappa)}"
            )
    if len(divided):
        console.say(f"{len(divided):,} buildings wait for somebody to decide:")
        for building, said in zip(divided["building_id"][:_SHOWN], divided["answers"][:_SHOWN], strict=True):
            console.say(f"  {building}  ({said})")
    console.result({**dataclasses.asdict(found), "divided": divided.to_dict(orient="records")})


def _kappa(value: float | None) -> str:
    return "not defined (all answers are alike, or too few)" if value is None else f"{value:.2f}"
