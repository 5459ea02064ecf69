"""`damage-ssl evaluate` and `views`: how good a run is; what augmentation does to an event's own pairs."""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from damage_ssl import workflow
from damage_ssl.cli.console import Console, command
from damage_ssl.cli.options import WORKSPACE, EventName, Json, RunId, Scheme, Workspace
from damage_ssl.errors import WorkspaceError
from damage_ssl.events.definition import training_scheme
from damage_ssl.events.event import Event
from damage_ssl.files import atomic_path, write_json
from damage_ssl.learning.augmentation.affinity import DEFAULT, PolicyMeasure, Report, policies
from damage_ssl.learning.augmentation.affinity import measure as measure_policies
from damage_ssl.learning.augmentation.contact_sheet import SHOWN, draw_sheet, sheet_rows
from damage_ssl.learning.augmentation.frozen_scorer import LabelledPairs
from damage_ssl.learning.device import keep_freed_memory
from damage_ssl.learning.pair_tensor import pair_bytes
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.patches.store import PatchStore
from damage_ssl.products.groupings import groupings
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.settings import SplitSettings

PAIRS_SHOWN = 6
_STEPS = 1000


def evaluate(
    event: EventName,
    truth: Annotated[Path, typer.Option(metavar="FILE", help="CSV with building_id,grade.")],
    by: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Measure groups too, and say where the map is worse: any of size, scene, unit, source, quality, with "
            "commas between.",
        ),
    ] = None,
    units: Annotated[Path | None, typer.Option(metavar="FILE", help="The areas of --by unit: any vector file.")] = None,
    run_id: RunId = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Measure a run against known grades, leaving out every building that it was trained or calibrated on."""
    with command(json=json) as console:
        opened = Event.open(workspace, event)
        words = [word.strip() for word in (by or "").split(",") if word.strip()]
        groups_of = groupings(opened, words, units) if words or units else None
        run = workflow.chosen_run(opened, run_id)
        report = workflow.evaluate_event(opened, truth, run, groups_of=groups_of)
        for line in report.lines():
            console.say(line)
        if remark := workflow.question_remark(opened, FinishedRun.of_event(opened, run)):
            console.warn(remark)
        console.result(report.to_json())


def views(
    event: EventName,
    out: Annotated[Path | None, typer.Option(metavar="PNG", help="Where to draw (default: the event's views.png).")] = (
        None
    ),
    operations: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Only these, with spaces between, e.g. 'blur noise@context'.")
    ] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Measure affinity and diversity; needs labels.")] = False,
    budget: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="Time for measuring; the policies come first.")
    ] = 120.0,
    scheme: Scheme = None,
    seed: Annotated[int, typer.Option(help="Seed of the pairs shown, the split and the views.")] = 0,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Draw what augmentation does to this event's pairs, and measure it."""
    with command(json=json) as console:
        opened = Event.open(workspace, event)
        store = PatchStore.open(opened.patches_path)
        keep_freed_memory()
        pairs = _labelled_pairs(opened, store, scheme, seed) if measure else None
        sheet = out or opened.path / "views.png"
        shown = tuple(operations.split()) if operations else SHOWN
        _draw(opened, store, shown, sheet, seed)
        console.say(f"sheet of {len(shown)} operations and {len(policies())} policies: {sheet}")
        values: dict[str, object] = {"sheet": str(sheet)}
        if pairs is not None:
            with console.progress("measure") as bar:
                report = measure_policies(
                    pairs, seconds=budget, seed=seed, progress=lambda share: bar(int(share * _STEPS), _STEPS)
                )
            table = opened.path / "views.json"
            write_json(table, {"event": opened.name, "seed": seed, **report.to_json()})
            _report(console, report)
            console.say(f"table: {table}")
            values |= {"table": str(table), **report.to_json()}
        console.result(values)


def _labelled_pairs(event: Event, store: PatchStore, scheme: str | None, seed: int) -> LabelledPairs:
    """The labelled buildings as a fine-tuning would divide them: some to train on, some of other blocks to validate.

    Raises:
        LabelsError: there are not enough.
    """
    wanted = training_scheme(event, scheme).name
    settings = TrainSettings(scheme=wanted, seed=seed, network="efficientnet-lite0")
    plan = workflow.plan_run(event, store, settings, SplitSettings())
    return LabelledPairs(
        train=pair_bytes(store.load(np.array(plan.train_id, dtype=str))),
        train_class=np.array(plan.train_class, dtype=np.int64),
        validation=pair_bytes(store.load(np.array(plan.validation_id, dtype=str))),
        validation_class=np.array(plan.validation_class, dtype=np.int64),
    )


def _draw(event: Event, store: PatchStore, operations: tuple[str, ...], out: Path, seed: int) -> None:
    index = store.index()
    assessed = index.loc[index["assessed"], "building_id"].to_numpy(str)
    if not len(assessed):
        raise WorkspaceError(f"event '{event.name}': no building can be assessed, so there is no pair to show")
    drawn = np.random.default_rng(seed).permutation(len(assessed))[:PAIRS_SHOWN]
    pixels = pair_bytes(store.load(assessed[np.sort(drawn)]))
    rows = sheet_rows(pixels, operations, policies(), torch.Generator().manual_seed(seed))
    title = f"{event.name}: views by strength, pre above post; the footprint is outlined"
    with atomic_path(out) as temporary:
        draw_sheet(rows, title).save(temporary, format="PNG")


def _report(console: Console, report: Report) -> None:
    console.say(
        f"frozen features, trained on {report.trained_on:,} buildings, validated on {report.validated_on:,} "
        f"({report.seconds:.0f} s)"
    )
    console.say(f"{'views':<16}{'affinity':>9}{'diversity':>10}{'accuracy':>9}{'loss':>7}  against {DEFAULT}")
    for row in report.rows:
        console.say(_line(row))
    if report.left_out:
        console.say(f"not measured within the time: {', '.join(report.left_out)}")
    console.say(f"chosen: {report.chosen} ([train.options] strong_policy = '{report.chosen}')")


def _line(row: PolicyMeasure) -> str:
    against = "" if row.better_by is None else f"{row.better_by:+.1f} standard errors"
    name = row.name if row.is_policy or row.name == "untouched" else f"  {row.name}"
    return f"{name:<16}{row.affinity:>9.3f}{row.diversity:>10.2f}{row.accuracy:>9.3f}{row.loss:>7.3f}  {against}"
