"""What `damage-ssl pretrain` and `damage-ssl ensemble` do."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from damage_ssl import pipeline
from damage_ssl.assessment.prediction import read_predictions
from damage_ssl.cli.console import Console
from damage_ssl.cli.stages import stop_requested
from damage_ssl.event.catalog import Event
from damage_ssl.settings import from_mapping


def pretrain(console: Console, workspace: Path, name: str, also: Sequence[str], given: Mapping[str, Any]) -> None:
    """Pretrain on one event's pairs and others', and say how to start from what was learned."""
    from damage_ssl.learning.pretraining import PretrainSettings
    from damage_ssl.pipeline.pretrain import pretrain_event

    values = {key: value for key, value in given.items() if value is not None}
    settings = from_mapping(PretrainSettings, values, "command line")
    event, others = Event.open(workspace, name), [Event.open(workspace, each) for each in also]
    with console.progress("pretrain") as bar, stop_requested() as should_stop:
        made = pretrain_event(
            event,
            settings,
            also=others,
            progress=lambda p: bar(p.step, p.steps, f"loss {p.loss:.3f}"),
            should_stop=should_stop,
        )
    if not made.done:
        raise KeyboardInterrupt
    if made.had:
        console.say("pretrained before with the same pixels and settings: nothing to do")
    console.say(f"{settings.loss} on {made.pairs:,} pairs, {made.steps:,} steps: {made.path}")
    console.say(
        f"next: damage-ssl train {name} --network {settings.network} --weights {made.path} --workspace {workspace}"
    )
    console.result({"event": name, **dataclasses.asdict(made)})


def ensemble(
    console: Console, workspace: Path, name: str, runs: Sequence[str], *, truth: Path | None, run_id: str | None
) -> None:
    """Average runs, predict, and report the gain over the best member, positive or not."""
    event = Event.open(workspace, name)
    planned = pipeline.start_ensemble(event, runs or None, run_id=run_id)
    if planned.done:
        console.say(f"run {planned.run.run_id} averages the same runs already: nothing to do")
    else:
        with console.progress("ensemble") as bar:
            pipeline.combine(event, planned.run, bar)
    summary, gain = pipeline.run_summary(planned.run), pipeline.common_gain(planned.run)
    table = read_predictions(planned.run)
    damaged = int((table["p_damaged"] >= summary.threshold).sum())
    members = [member.run_id for member in pipeline.members_of(event, planned.run)]
    console.say(f"run {summary.run_id}: mean of {', '.join(members)}; {damaged:,} of {len(table):,} damaged")
    console.say(f"held out by all members: {gain.sentence}")
    result = {**dataclasses.asdict(summary), "members": members, "gain": dataclasses.asdict(gain)}
    if truth is not None:
        held_out = pipeline.gain_on_truth(event, planned.run, truth)
        console.say(f"on {truth.name}, unseen by all: {held_out.sentence}")
        result["gain_on_truth"] = dataclasses.asdict(held_out)
    console.say(f"next: damage-ssl export {name} --run-id {summary.run_id} --out map.geojson --workspace {workspace}")
    console.result(result)
