"""`damage-ssl export --pack`: the folder and ZIP that go to whoever uses the map."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from damage_ssl import workflow
from damage_ssl.cli.console import Console, _Silent
from damage_ssl.cli.events import run_init
from damage_ssl.cli.labels import import_labels
from damage_ssl.cli.learning import run_train
from damage_ssl.cli.options import (
    WORKSPACE,
    Algorithm,
    Aoi,
    EventName,
    Footprints,
    Hazard,
    Json,
    Minutes,
    Network,
    PostDate,
    PreDate,
    Rasters,
    RunId,
    Scheme,
    Seed,
    SettingsFile,
    Steps,
    Workspace,
    _train_options,
)
from damage_ssl.cli.patches import run_patches
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.event import Event, list_events
from damage_ssl.events.inputs import EventInputs
from damage_ssl.products.handover.map_export import export_table
from damage_ssl.products.handover.pack import LABELS_ONLY, hand_over
from damage_ssl.products.selection import Selection
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.live import LIVE, live_model_of
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.run import Run, latest_finished

if TYPE_CHECKING:
    import geopandas as gpd


def run_export_files(
    console: Console,
    workspace: Path,
    name: str,
    out: Path | None,
    *,
    run_id: str | None,
    pack: bool,
    selection: Selection,
    licence: str | None,
) -> None:
    """Write the map to `out`, or its pack under the event's products, or both."""
    if out is None and not pack:
        raise InputError("export: give --out FILE for the GeoJSON alone, or --pack for all that a receiver needs")
    if not pack and (licence or not selection.is_open):
        raise InputError("export: a selection or a licence goes with --pack; --out alone writes the whole map")
    if not pack and out is not None:
        run_export(console, workspace, name, out, run_id=run_id)
        return
    event = Event.open(workspace, name)
    model, table = _map_of(event, run_id)
    run = None if model is None else model.run
    written = hand_over(event, model, selection=selection, licence=licence, table=table)
    console.say(f"{written.buildings:,} buildings ({selection.words}), run {None if run is None else run.run_id}")
    console.say(f"hand over {written.zip_path}")
    if out is not None:  # after the pack, which may refuse the selection: then nothing is written
        workflow.export_event(event, out, run_id=run_id)
        console.say(f"the whole map written to {out}")
    console.result(
        {
            "out": None if out is None else str(out),
            "folder": str(written.folder),
            "zip": str(written.zip_path),
            "buildings": written.buildings,
            "filter": selection.words,
            "run_id": None if run is None else run.run_id,
        }
    )


def _map_of(event: Event, run_id: str | None) -> "tuple[MapModel | None, gpd.GeoDataFrame | None]":
    """The model of a pack, and its map where that is not a run's: `live`, or `labels-only` for none."""
    if run_id == LABELS_ONLY:
        return None, None
    if run_id == LIVE.name:
        live = live_model_of(event)
        return live, export_table(event, live)
    run = workflow.chosen_run(event, run_id) if run_id is not None else _newest(event)
    return (None if run is None else FinishedRun(run)), None


def _newest(event: Event) -> Run | None:
    try:
        return latest_finished(event.runs_path)
    except WorkspaceError:
        return None


def export(
    event: EventName,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="GeoJSON to write, with a QGIS style.")] = None,
    pack: Annotated[
        bool, typer.Option("--pack", help="All a receiver needs, as a ZIP in the event's products.")
    ] = False,
    classes: Annotated[list[str] | None, typer.Option("--class", help="Only this class in the pack; repeat.")] = None,
    p_min: Annotated[float, typer.Option(help="Only from this p_damaged on in the pack.")] = 0.0,
    p_max: Annotated[float, typer.Option(help="Only up to this p_damaged in the pack.")] = 1.0,
    assessed_only: Annotated[bool, typer.Option("--assessed-only", help="None that was not assessed.")] = False,
    licence: Annotated[str | None, typer.Option(help="Licence and source that the pack's README names.")] = None,
    run_id: RunId = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Write the damage map: every footprint once; before any training, its coverage and reasons only."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.products.selection import Selection, classes_in

        chosen = Selection(classes=classes_in(classes or ()), p_min=p_min, p_max=p_max, not_assessed=not assessed_only)
        run_export_files(console, workspace, event, out, run_id=run_id, pack=pack, selection=chosen, licence=licence)


def assess(
    event: EventName,
    pre: Rasters,
    post: Rasters,
    footprints: Footprints,
    labels: Annotated[Path, typer.Option(metavar="FILE", help="CSV with building_id,grade.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="GeoJSON to write.")],
    aoi: Aoi = None,
    hazard: Hazard = None,
    pre_date: PreDate = None,
    post_date: PostDate = None,
    algorithm: Algorithm = None,
    scheme: Scheme = None,
    network: Network = None,
    seed: Seed = None,
    steps: Steps = None,
    minutes: Minutes = None,
    settings: SettingsFile = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """All stages in one: from rasters, footprints and labels to a GeoJSON damage map. Stages already done are kept."""
    console = Console(json_output=json)
    with console.errors():
        inputs = EventInputs(
            pre=pre,
            post=post,
            footprints=footprints,
            aoi=aoi,
            hazard=hazard,
            pre_datetime=pre_date,
            post_datetime=post_date,
        )
        given = _train_options(algorithm, scheme, network, seed, steps, minutes)
        run_assess(console, workspace, event, inputs, labels, out, settings, given)


def run_export(console: Console, workspace: Path, name: str, out: Path, *, run_id: str | None = None) -> None:
    """Write the map and say what is in it."""
    event = Event.open(workspace, name)
    summary = workflow.export_event(event, out, run_id=run_id)
    console.say(summary.sentence)
    if summary.statement is not None:
        console.warn(summary.statement)
    console.say(f"written to {out}")
    console.result(dataclasses.asdict(summary))


def run_assess(
    console: Console,
    workspace: Path,
    name: str,
    inputs: EventInputs,
    labels: Path,
    out: Path,
    settings_file: Path | None,
    given: Mapping[str, Any],
) -> None:
    """Run every stage. Text is printed stage by stage; in JSON mode only the last stage's object is."""
    quiet = Console(json_output=False) if not console.json_output else _Silent(json_output=True)
    if name not in list_events(workspace):
        run_init(quiet, workspace, name, inputs, overwrite=False)
    elif workflow.made_from(
        Event.open(workspace, name), pre=inputs.pre, post=inputs.post, footprints=inputs.footprints, aoi=inputs.aoi
    ):
        quiet.say(f"event '{name}' is there already, from the same inputs")
    else:
        raise WorkspaceError(
            f"{workspace / name}: was made from other imagery or footprints; choose another event name, or replace "
            "them with `damage-ssl init --overwrite` (labels and runs are kept)"
        )
    run_patches(quiet, workspace, name, settings_file, {})
    import_labels(quiet, workspace, name, labels, labeller="import")
    run_train(quiet, workspace, name, settings_file, given)
    run_export(console, workspace, name, out)
