"""Commands that make or use a model: `pretrain`, `zero-label`, `features`, `train`, `predict` and `ensemble`."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from damage_ssl import workflow
from damage_ssl.cli.console import Console, command, stop_requested
from damage_ssl.cli.options import (
    MEMORY,
    WORKSPACE,
    Algorithm,
    Cluster,
    EncoderWeights,
    EventName,
    Json,
    Memory,
    Minutes,
    Network,
    PriorModelName,
    RunId,
    Scheme,
    Seed,
    SettingsFile,
    Steps,
    Workers,
    Workspace,
    all_settings,
    resources_of,
)
from damage_ssl.cli.patches import cut
from damage_ssl.cli.questions import settle_definition
from damage_ssl.errors import SettingsError
from damage_ssl.events.event import Event
from damage_ssl.files import read_json
from damage_ssl.processes import give_way
from damage_ssl.progress import reporter
from damage_ssl.settings import Resources, from_mapping

if TYPE_CHECKING:
    from damage_ssl.learning.trainer.data import TrainProgress


def pretrain(
    event: EventName,
    also: Annotated[
        list[str], typer.Option(metavar="EVENT", help="Another event whose pairs are learned from too; repeat.")
    ] = [],  # noqa: B006 (typer copies it)
    loss: Annotated[
        str | None, typer.Option(help="What is learned from: vicreg (default), simclr or barlow-twins.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="efficientnet-lite0, small-cnn, timm:<model> or smp:<encoder>.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="Weights that the encoder starts from.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.05, help="Upper bound of the time.")] = None,
    batch: Annotated[int | None, typer.Option(min=4, help="Pairs a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate of the encoder, at its highest.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of network, batches and views.")] = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Pretrain an encoder on the event's pairs without any label, as a start for every algorithm."""
    from damage_ssl.learning.pretraining import PretrainSettings
    from damage_ssl.runs.pretraining import pretrain_event

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
    with command(json=json) as console:
        values = {key: value for key, value in given.items() if value is not None}
        settings = from_mapping(PretrainSettings, values, "command line")
        opened, others = Event.open(workspace, event), [Event.open(workspace, each) for each in also]
        with console.progress("pretrain") as bar, stop_requested() as should_stop:
            made = pretrain_event(
                opened,
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
            f"next: damage-ssl train {event} --network {settings.network} --weights {made.path} --workspace {workspace}"
        )
        console.result({"event": event, **dataclasses.asdict(made)})


def zero_label(
    event: EventName,
    seed: Annotated[int, typer.Option(help="Seed of the sample of unrelated buildings.")] = 0,
    prior_model: PriorModelName = None,
    run_id: RunId = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Make a first map without any label: how much each building changed, and what looks like damage elsewhere.

    The score is not a probability. A prior model, of simulated towns unless another is named, helps to rank.
    """
    from damage_ssl.runs.finished_run import FinishedRun
    from damage_ssl.runs.predictions import read_predictions

    with command(json=json) as console:
        opened = Event.open(workspace, event)
        cut(console, opened)
        planned = workflow.start_zero_label(opened, seed=seed, run_id=run_id, prior_model=prior_model)
        if planned.done:
            console.say(f"run {planned.run.run_id} compared the same pixels before: nothing to do")
        else:
            with console.progress("compare") as bar:
                workflow.predict_event(opened, planned.run, progress=bar)
        summary = workflow.run_summary(planned.run)
        table = read_predictions(planned.run)
        damaged = int((table["p_damaged"] >= summary.threshold).sum())
        console.say(
            f"run {summary.run_id}: {damaged:,} of {len(table):,} buildings changed enough to be called damaged"
        )
        console.say(f"threshold {summary.threshold:.2f}: {summary.threshold_method}")
        statement = FinishedRun(planned.run).statement or ""
        console.say(statement)
        console.say(
            f"next: look at it in the app, or damage-ssl export {event} --out map.geojson --workspace {workspace}"
        )
        values = {"damaged": damaged, "compared": len(table), "statement": statement}
        console.result({**dataclasses.asdict(summary), **values})


def features(
    event: EventName,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Weights of the frozen network, as pretrain writes them; 'packaged': those of EfficientNet-Lite0. "
            "Default: as the last time.",
        ),
    ] = None,
    network: Annotated[str | None, typer.Option(help="What the weights are of, where the file does not say.")] = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Describe every building by frozen features, so that the app's map follows your labels. Goes on where stopped."""
    from damage_ssl.runs.live import features_path, features_start, make_features

    with command(json=json) as console:
        if reporter() is not None:
            give_way()  # started by the app, in which somebody labels meanwhile
        opened = Event.open(workspace, event)
        before = _feature_notes(opened)
        with console.progress("features") as bar:
            count = make_features(opened, progress=bar, weights=weights, network=network)
        had = before == _feature_notes(opened)
        start = features_start(opened)
        of = "" if start is None else f" by the weights {start.path}"
        if had:
            console.say(f"features of {count:,} buildings are there from the same patches{of}: nothing to do")
        else:
            console.say(f"features of {count:,} buildings{of}: the app now colours the map while you label")
        console.result(
            {
                "event": event,
                "buildings": count,
                "made": not had,
                "weights": None if start is None else str(start.path),
                "path": str(features_path(opened)),
            }
        )


def train(
    event: EventName,
    algorithm: Algorithm = None,
    scheme: Scheme = None,
    network: Network = None,
    seed: Seed = None,
    steps: Steps = None,
    minutes: Minutes = None,
    weights: EncoderWeights = None,
    settings: SettingsFile = None,
    run_id: RunId = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with this run just as it was begun.")] = None,
    source: Annotated[
        list[str],
        typer.Option(
            metavar="EVENT",
            help="Another event of the workspace whose labels are learned from too; repeat. Try --algorithm adamatch.",
        ),
    ] = [],  # noqa: B006 (typer copies it)
    prior_model: PriorModelName = None,
    workers: Workers = 0,
    memory: Memory = MEMORY,
    cluster: Cluster = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Train on the labels and all unlabelled buildings, then predict every building. Goes on where it was stopped."""
    given: dict[str, Any] = {"algorithm": algorithm, "scheme": scheme, "network": network, "seed": seed, "steps": steps}
    given |= {"minutes": minutes, "weights": None if weights is None else str(weights.resolve())}
    with command(json=json) as console:
        train_event(
            console,
            workspace,
            event,
            settings,
            given,
            run_id=run_id,
            resume=resume,
            sources=source,
            prior_model=prior_model,
            resources=resources_of(workers, memory, cluster),
        )


def predict(
    event: EventName,
    run_id: RunId = None,
    workers: Workers = 0,
    memory: Memory = MEMORY,
    cluster: Cluster = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Predict every building again with a finished run."""
    with command(json=json) as console:
        resources = resources_of(workers, memory, cluster)
        opened = Event.open(workspace, event)
        run = workflow.chosen_run(opened, run_id)
        with console.progress("predict") as bar:
            table = workflow.predict_event(opened, run, progress=bar, resources=resources)
        console.say(f"{len(table):,} buildings predicted with run {run.run_id}")
        summary = workflow.run_summary(run)
        if summary.stack is not None:
            console.say(summary.stack)
        if summary.statement is not None:
            console.warn(summary.statement)
        console.result({"run_id": run.run_id, "predicted": len(table), "statement": summary.statement})


def ensemble(
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
    from damage_ssl.runs.predictions import read_predictions

    with command(json=json) as console:
        opened = Event.open(workspace, event)
        planned = workflow.start_ensemble(opened, runs or None, run_id=run_id)
        if planned.done:
            console.say(f"run {planned.run.run_id} averages the same runs already: nothing to do")
        else:
            with console.progress("ensemble") as bar:
                workflow.predict_event(opened, planned.run, progress=bar)
        summary, gain = workflow.run_summary(planned.run), workflow.common_gain(planned.run)
        table = read_predictions(planned.run)
        damaged = int((table["p_damaged"] >= summary.threshold).sum())
        members = [member.run_id for member in workflow.members_of(opened, planned.run)]
        console.say(f"run {summary.run_id}: mean of {', '.join(members)}; {damaged:,} of {len(table):,} damaged")
        console.say(f"held out by all members: {gain.sentence}")
        result = {**dataclasses.asdict(summary), "members": members, "gain": dataclasses.asdict(gain)}
        if truth is not None:
            held_out = workflow.gain_on_truth(opened, planned.run, truth)
            console.say(f"on {truth.name}, unseen by all: {held_out.sentence}")
            result["gain_on_truth"] = dataclasses.asdict(held_out)
        console.say(
            f"next: damage-ssl export {event} --run-id {summary.run_id} --out map.geojson --workspace {workspace}"
        )
        console.result(result)


def train_event(
    console: Console,
    workspace: Path,
    name: str,
    settings_file: Path | None,
    given: Mapping[str, Any],
    *,
    run_id: str | None = None,
    resume: str | None = None,
    sources: Sequence[str] = (),
    prior_model: str | None = None,
    resources: Resources | None = None,
) -> None:
    """Train, calibrate and predict; a run that was stopped goes on, a run that is done is not done again.

    `resume` names a run that goes on as it was planned, whatever was labelled since; then nothing else may be given.
    `sources` are other events of the workspace whose labels are learned from too, `prior_model` is stacked after it.
    """
    event = Event.open(workspace, name)
    if resume is not None:
        if settings_file or run_id or sources or prior_model or any(value is not None for value in given.values()):
            raise SettingsError("--resume: the run goes on with its own settings; leave the others out")
        planned = workflow.resumed_run(event, resume)
    else:
        settings = all_settings(event, settings_file, given)
        workflow.named_sources(event, sources)  # a misspelt name is said before any work
        settle_definition(
            console, event, settings.train.scheme if "scheme" in settings.train.model_fields_set else None
        )
        cut(console, event, settings.patches, resources)
        planned = workflow.start_run(
            event,
            settings.train,
            settings.split,
            run_id=run_id,
            sources=sources,
            source_settings=settings.sources,
            prior_model=prior_model,
        )
    if planned.done:
        console.say(f"run {planned.run.run_id} was trained with the same labels, pixels and settings: nothing to do")
    else:
        with console.progress("train") as bar, stop_requested() as should_stop:
            workflow.train_run(event, planned.run, lambda p: bar(p.step, p.steps, _remark(p)), should_stop)
        if planned.run.status().state == "cancelled":
            raise KeyboardInterrupt
        with console.progress("predict") as bar:
            workflow.predict_event(event, planned.run, progress=bar, resources=resources)
    summary = workflow.run_summary(planned.run)
    console.say(
        f"run {summary.run_id}: {summary.algorithm}, trained on {summary.trained_on}{_of_others(summary)} and "
        f"validated on {summary.validated_on} labelled buildings{_without(summary)}; damaged from "
        f"p = {summary.threshold:.2f} ({summary.threshold_method})"
    )
    by_em = workflow.share_by_em(planned.run)
    if summary.share is not None and by_em is not None:
        console.say(
            f"probabilities are calibrated for {summary.share:.0%} damaged; by themselves they speak for {by_em:.0%} "
            "(EM, Saerens 2002: a check, applied nowhere)"
        )
    if summary.stack is not None:
        console.say(summary.stack)
    if summary.statement is not None:
        console.warn(summary.statement)
    console.say(f"next: damage-ssl export {name} --out map.geojson --workspace {workspace}")
    console.result({**dataclasses.asdict(summary), "share_by_em": by_em})


def _feature_notes(event: Event) -> Any:
    """What the features are of; None where there are none."""
    from damage_ssl.runs.live import features_path

    path = features_path(event) / "features.json"
    return read_json(path) if path.exists() else None


def _without(summary: workflow.RunSummary) -> str:
    return " (the same, each by a training without it)" if summary.cross_fitted else ""


def _of_others(summary: workflow.RunSummary) -> str:
    counts = ", ".join(f"{count} of event {name}" for name, count in summary.trained_on_sources.items())
    return f" ({counts})" if counts else ""


def _remark(progress: "TrainProgress") -> str:
    parts = [] if progress.loss is None else [f"loss {progress.loss:.3f}"]
    if progress.mask_rate is not None:
        parts.append(f"mask {progress.mask_rate:.0%}")
    if progress.validation_score is not None:
        parts.append(f"validation AUROC {progress.validation_score:.3f}")
    return ", ".join(parts)
