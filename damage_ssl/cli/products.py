"""`damage-ssl export` and `assess`: the map and its pack; all steps in one, from rasters to the map."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from damage_ssl import workflow
from damage_ssl.cli.console import Console, SilentConsole, command
from damage_ssl.cli.events import make_event
from damage_ssl.cli.labels import add_labels
from damage_ssl.cli.learning import train_event
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
    patch_settings,
)
from damage_ssl.cli.patches import make_patches
from damage_ssl.cli.questions import settle_licence, settle_run
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.event import Event, list_events
from damage_ssl.events.inputs import EventInputs
from damage_ssl.products.handover.pack import LABELS_ONLY, hand_over
from damage_ssl.products.selection import Selection, classes_in
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.live import LIVE, live_model_of
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.run import named_run


def export(
    event: EventName,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="GeoJSON to write, with a QGIS style.")] = None,
    pack: Annotated[
        bool, typer.Option("--pack", help="All a receiver needs, as a ZIP in the event's products.")
    ] = False,
    classes: Annotated[list[str] | None, typer.Option("--class", help="Only this class in the pack; repeat.")] = None,
    p_min: Annotated[float, typer.Option(help="Least p_damaged of a building in the pack.")] = 0.0,
    p_max: Annotated[float, typer.Option(help="Largest p_damaged of a building in the pack.")] = 1.0,
    assessed_only: Annotated[
        bool, typer.Option("--assessed-only", help="Leave buildings that were not assessed out of the pack.")
    ] = False,
    licence: Annotated[
        str | None, typer.Option(help="Licence and source that the receiver is told; default: what the catalogue says.")
    ] = None,
    run_id: RunId = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Write the damage map: every footprint once; before any training, its coverage and reasons only."""
    with command(json=json) as console:
        chosen = Selection(classes=classes_in(classes or ()), p_min=p_min, p_max=p_max, not_assessed=not assessed_only)
        if out is None and not pack:
            raise InputError("export: give --out FILE for the GeoJSON alone, or --pack for all that a receiver needs")
        if not pack and not chosen.is_open:
            raise InputError("export: a selection goes with --pack; --out alone writes the whole map")
        opened = Event.open(workspace, event)
        if pack:
            _write_pack(console, opened, out, run_id, chosen, licence)
        elif out is not None:
            write_map(console, opened, out, run_id, licence)


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
    """Go from rasters, footprints and labels to a GeoJSON damage map at once. Stages already done are kept."""
    inputs = EventInputs(
        pre=pre,
        post=post,
        footprints=footprints,
        aoi=aoi,
        hazard=hazard,
        pre_datetime=pre_date,
        post_datetime=post_date,
    )
    with command(json=json) as console:
        quiet = SilentConsole(json_output=True) if json else console
        if event not in list_events(workspace):
            make_event(quiet, workspace, event, inputs)
        elif workflow.made_from(
            Event.open(workspace, event), pre=inputs.pre, post=inputs.post, footprints=inputs.footprints, aoi=inputs.aoi
        ):
            quiet.say(f"event '{event}' is there already, from the same inputs")
        else:
            raise WorkspaceError(
                f"{workspace / event}: was made from other imagery or footprints; choose another event name, or "
                "replace them with `damage-ssl init --overwrite` (labels and runs are kept)"
            )
        opened = Event.open(workspace, event)
        make_patches(quiet, opened, patch_settings(opened, settings, {}))
        add_labels(quiet, opened, labels)
        given: dict[str, Any] = {
            "algorithm": algorithm,
            "scheme": scheme,
            "network": network,
            "seed": seed,
            "steps": steps,
        }
        given |= {"minutes": minutes}
        train_event(quiet, workspace, event, settings, given)
        write_map(console, opened, out, None, None)


def write_map(console: Console, event: Event, out: Path, run_id: str | None, licence: str | None) -> None:
    """Write the map and say what is in it, what damaged means there, why it is of this run, and the licence."""
    why = None
    if run_id is None:
        run, why = settle_run(console, event)
        run_id = None if run is None else run.run_id
    licence = settle_licence(console, event, licence)
    summary = workflow.export_event(event, out, run_id=run_id, licence=licence)
    summary = dataclasses.replace(summary, why=why or summary.why)
    console.say(summary.sentence)
    console.say(summary.scheme)
    for remark in (summary.remark, summary.statement):
        if remark is not None:
            console.warn(remark)
    console.say(f"written to {out}")
    console.result(dataclasses.asdict(summary))


def _write_pack(
    console: Console, event: Event, out: Path | None, run_id: str | None, selection: Selection, licence: str | None
) -> None:
    """Write the pack under the event's products, and the whole map to `out` where that is asked for too."""
    model = model_of(console, event, run_id)
    run = None if model is None else model.run
    if isinstance(model, FinishedRun) and (remark := workflow.question_remark(event, model)):
        console.warn(remark)
    written = hand_over(event, model, selection=selection, licence=licence)
    console.say(f"{written.buildings:,} buildings ({selection.words}), run {None if run is None else run.run_id}")
    console.say(f"hand over {written.zip_path}")
    if out is not None:  # after the pack, which may refuse the selection: then nothing is written
        workflow.export_event(event, out, run_id=None if run is None else run.run_id)
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


def model_of(console: Console, event: Event, run_id: str | None) -> MapModel | None:
    """The model of a pack: a run's, `live`, or `labels-only` for none."""
    if run_id == LABELS_ONLY:
        return None
    if run_id == LIVE.name:
        return live_model_of(event)
    run = named_run(event, run_id) if run_id is not None else settle_run(console, event)[0]
    return None if run is None else FinishedRun.of_event(event, run)
