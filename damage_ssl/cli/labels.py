"""`damage-ssl label`: labels in and out, which building to look at next, how far analysts agree."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from damage_ssl import workflow
from damage_ssl.cli.console import Console, command
from damage_ssl.cli.options import WORKSPACE, EventName, Json, Workspace
from damage_ssl.cli.questions import can_ask
from damage_ssl.events.event import Event
from damage_ssl.labels.grade_map import grade_rules
from damage_ssl.labels.grade_words import GradeReading
from damage_ssl.labels.label_table import ColumnNames
from damage_ssl.processes import give_way

_SHOWN = 20

MapGrades = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|SCALE",
        help="What other words for grades mean: a CSV of lines like détruit,destroyed; or copernicus, unosat, ems-98, "
        "fema, xbd or binary.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Take the reading of grades in other words that is shown.")]


def import_file(
    event: EventName,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="CSV or XLSX with building_id,grade; or points or polygons with a grade, given to footprints by place "
            "(any vector format, or a table with latitude and longitude).",
        ),
    ],
    labeller: Annotated[str, typer.Option(help="Who gave these labels, where the file does not say.")] = "import",
    skip_unknown: Annotated[bool, typer.Option(help="Leave out labels of buildings that the event lacks.")] = False,
    map_grades: MapGrades = None,
    yes: Yes = False,
    id_column: Annotated[str | None, typer.Option(metavar="NAME", help="Column of the ids (building_id).")] = None,
    grade_column: Annotated[str | None, typer.Option(metavar="NAME", help="Column of the grades (grade).")] = None,
    near_m: Annotated[
        float,
        typer.Option(min=0, help="Metres that points may be off (GPS): each is of the only footprint within so many."),
    ] = 0.0,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Add labels from a file; all of them or none.

    What cannot be given to one building for certain is left out, and said.
    """
    with command(json=json) as console:
        rules = grade_rules(map_grades, partial(agreed_to, console, yes=yes))
        columns = ColumnNames(id=id_column, grade=grade_column)
        add_labels(
            console,
            Event.open(workspace, event),
            file,
            labeller=labeller,
            skip_unknown=skip_unknown,
            rules=rules,
            columns=columns,
            near_m=near_m,
        )


def export(
    event: EventName,
    out: Annotated[Path, typer.Option(metavar="FILE", help="CSV to write.")],
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Write the current labels as CSV."""
    with command(json=json) as console:
        count = workflow.open_labels(Event.open(workspace, event)).export_csv(out)
        console.say(f"{count:,} labels written to {out}")
        console.result({"out": str(out), "labels": count})


def propose(
    event: EventName,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many buildings.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the random draws.")] = 0,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Propose the buildings to label next: spread over the event, uncertain ones once there is a model."""
    import numpy as np

    with command(json=json) as console:
        table = workflow.next_to_label(Event.open(workspace, event), count, np.random.default_rng(seed))
        rows = table.astype(object).where(table.notna(), None).to_dict(orient="records")
        for row in rows:
            console.say(f"{row['building_id']}  ({row['drawn']})")
        console.result({"buildings": rows})


def outlook(
    event: EventName,
    out: Annotated[Path, typer.Option(metavar="FILE", help="JSON to write.")],
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Work out what the next labels would bring the live model; for the app, at low priority."""
    from damage_ssl.files import write_json
    from damage_ssl.runs.live import learning_curve_of

    with command(json=json):
        give_way()  # somebody labels meanwhile
        write_json(out, dataclasses.asdict(learning_curve_of(Event.open(workspace, event))))


def compare(
    event: EventName,
    scheme: Annotated[
        str | None, typer.Option(help="Compare classes of binary-major, binary-minor or grades, not the answers.")
    ] = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Say how far the analysts agree (Cohen's and Fleiss' kappa), and on which buildings somebody has to decide."""
    from damage_ssl.damage_scale import scheme_named
    from damage_ssl.labels.agreement import agreement, disputed, independent_answers

    with command(json=json) as console:
        log = workflow.open_labels(Event.open(workspace, event)).log()
        found = agreement(independent_answers(log), None if scheme is None else scheme_named(scheme))
        divided = disputed(log)
        if not found.buildings:
            console.say("no building was answered by two analysts yet")
        else:
            console.say(
                f"{found.buildings:,} buildings answered by two or more analysts: {found.agreed:.0%} of the answers "
                f"agree, Fleiss' kappa {_kappa(found.kappa)}"
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


def add_labels(console: Console, event: Event, file: str | Path, *, labeller: str = "import", **how: Any) -> None:
    """Import labels and say how many there are of each now; `how` as in `workflow.import_labels`."""
    report = workflow.import_labels(event, file, labeller=labeller, **how)
    counts = workflow.event_status(event).labels
    left_out = report.unclassified + len(report.unknown) + sum(report.unplaced.values())
    console.say(f"{report.added:,} labels added, {report.unchanged:,} already there, {left_out:,} left out")
    for reason, count in report.unplaced.items():
        console.say(f"  left out: {count:,}, {reason}")
    console.say("labels now: " + ", ".join(f"{count:,} {value}" for value, count in counts.items()))
    console.result({**dataclasses.asdict(report), "labels": counts})


def agreed_to(console: Console, reading: GradeReading, *, yes: bool) -> bool:
    """Show how grades in other words are read, and ask where somebody sits there."""
    if not yes and not can_ask(console):
        return False
    for line in reading.lines():
        console.say(line)
    return yes or typer.confirm("Is that right?", default=False)


def _kappa(value: float | None) -> str:
    return "not defined (all answers are alike, or too few)" if value is None else f"{value:.2f}"
