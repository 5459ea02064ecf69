"""`damage-ssl zero-label`: a first map before any label."""

import dataclasses
from functools import partial
from pathlib import Path

from damage_ssl import pipeline
from damage_ssl.assessment.change import STATEMENT
from damage_ssl.assessment.prediction import read_predictions
from damage_ssl.cli.console import Console
from damage_ssl.event.catalog import Event


def zero_label(console: Console, workspace: Path, name: str, *, seed: int, run_id: str | None) -> None:
    """Cut the pairs where that is still to do, compare pre and post, and say what the map is and is not."""
    event = Event.open(workspace, name)
    with console.progress("patches") as bar:
        registering = partial(bar, remark="registering")
        pipeline.cut_patches(event, progress=bar, registering=registering)
    planned = pipeline.start_zero_label(event, seed=seed, run_id=run_id)
    if planned.done:
        console.say(f"run {planned.run.run_id} compared the same pixels before: nothing to do")
    else:
        with console.progress("compare") as bar:
            pipeline.score_changes(event, planned.run, progress=bar)
    summary = pipeline.run_summary(planned.run)
    table = read_predictions(planned.run)
    damaged = int((table["p_damaged"] >= summary.threshold).sum())
    console.say(f"run {summary.run_id}: {damaged:,} of {len(table):,} buildings changed enough to be called damaged")
    console.say(f"threshold {summary.threshold:.2f}: {summary.threshold_method}")
    console.say(STATEMENT)
    console.say(f"next: look at it in the app, or damage-ssl export {name} --out map.geojson --workspace {workspace}")
    console.result({**dataclasses.asdict(summary), "damaged": damaged, "compared": len(table), "statement": STATEMENT})
