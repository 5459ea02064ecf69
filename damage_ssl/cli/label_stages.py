"""What the `label` commands do."""

import dataclasses
from pathlib import Path

import numpy as np

from damage_ssl import pipeline
from damage_ssl.cli.console import Console
from damage_ssl.event.catalog import Event
from damage_ssl.grades import scheme_named
from damage_ssl.labelling.agreement import agreement, disputed, independent_answers

_SHOWN = 20


def import_labels(
    console: Console, workspace: Path, name: str, file: Path, *, labeller: str, skip_unknown: bool = False
) -> None:
    """Import labels and say how many of each."""
    event = Event.open(workspace, name)
    report = pipeline.import_labels(event, file, labeller=labeller, skip_unknown=skip_unknown)
    counts = pipeline.event_status(event).labels
    left_out = report.unclassified + len(report.unknown)
    console.say(f"{report.added:,} labels added, {report.unchanged:,} already there, {left_out:,} left out")
    console.say("labels now: " + ", ".join(f"{count:,} {value}" for value, count in counts.items()))
    console.result({**dataclasses.asdict(report), "labels": counts})


def export_labels(console: Console, workspace: Path, name: str, out: Path) -> None:
    """Write the current labels."""
    labels = pipeline.open_labels(Event.open(workspace, name))
    labels.export_csv(out)
    count = sum(labels.counts().values())
    console.say(f"{count:,} labels written to {out}")
    console.result({"out": str(out), "labels": count})


def next_labels(console: Console, workspace: Path, name: str, *, count: int, seed: int) -> None:
    """Print the buildings to look at next, one a line."""
    table = pipeline.next_to_label(Event.open(workspace, name), count, np.random.default_rng(seed))
    rows = table.astype(object).where(table.notna(), None).to_dict(orient="records")
    for row in rows:
        console.say(f"{row['building_id']}  ({row['drawn']})")
    console.result({"buildings": rows})


def compare_analysts(console: Console, workspace: Path, name: str, scheme: str | None) -> None:
    """Say how far the analysts agree, and list the buildings on which they are divided."""
    log = pipeline.open_labels(Event.open(workspace, name)).log()
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
