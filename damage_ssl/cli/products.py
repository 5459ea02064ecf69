"""`damage-ssl export` and `assess`: the map and its pack; all steps in one, from rasters to the map."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from damage_ssl import workflow
from damage_ssl.cli.console import Console, SilentConsole, command
from damage_ssl.cli.events import make_event, read_as_asked
from damage_ssl.cli.labels import MapGrades, Yes, add_labels, agreed_to
from damage_ssl.cli.learning import train_event
from damage_ssl.cli.options import (
    WORKSPACE,
    Algorithm,
    Aoi,
    Bands,
    EventName,
    Footprints,
    Hazard,
    IdColumn,
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
    band_numbers,
    patch_settings,
)
from damage_ssl.cli.patches import make_patches
from damage_ssl.cli.questions import settle_licence, settle_run
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.event import Event, list_events
from damage_ssl.events.inputs import EventInputs
from damage_ssl.labels.grade_map import grade_rules
from damage_ssl.products.handover.pack import LABELS_ONLY, PackOptions, write_event_pack
from damage_ssl.products.handover.pack_files import refuse_foreign
from damage_ssl.products.selection import Selection, classes_in
from damage_ssl.products.units import read_units
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.live import LIVE, live_model_of
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.run import named_run
from damage_ssl.settings import FootprintSettings


def export(
    event: EventName,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One file of the whole map; its ending names the format.")
    ] = None,
    pack: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder to write with all a receiver needs.")] = None,
    with_zip: Annotated[bool, typer.Option("--zip", help="The pack as DIR.zip too.")] = False,
    classes: Annotated[list[str] | None, typer.Option("--class", help="Only this class in the pack; repeat.")] = None,
    p_min: Annotated[float, typer.Option(help="Least p_damaged of a building in the pack.")] = 0.0,
    p_max: Annotated[float, typer.Option(help="Largest p_damaged of a building in the pack.")] = 1.0,
    assessed_only: Annotated[
        bool, typer.Option("--assessed-only", help="Leave buildings that were not assessed out of the pack.")
    ] = False,
    licence: Annotated[
        str | None, typer.Option(help="Licence and source that the receiver is told; default: what the catalogue says.")
    ] = None,
    language: Annotated[str, typer.Option(help="Of report and offline map in the pack: en, fr, es or ar.")] = "en",
    template: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with an organisation's logo and wording for the pack.")
    ] = None,
    units: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Areas by which the pack gives totals, e.g. districts.")
    ] = None,
    shapefile: Annotated[bool, typer.Option("--shapefile", help="A Shapefile in the pack too.")] = False,
    imagery: Annotated[
        bool | None,
        typer.Option(
            "--imagery/--no-imagery", help="Pictures of the images in the offline map; default: by an open licence."
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="RUN_ID", help="Say in the pack what changed since this earlier run.")
    ] = None,
    run_id: RunId = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Write the damage map: every footprint once; before any training, its coverage and reasons only."""
    with command(json=json) as console:
        chosen = Selection(classes=classes_in(classes or ()), p_min=p_min, p_max=p_max, not_assessed=not assessed_only)
        if out is None and pack is None:
            raise InputError("export: give --out FILE for one file, or --pack DIR for all that a receiver needs")
        for_pack = (template, units, shapefile, with_zip, imagery is not None, language != "en", since)
        if pack is None and (any(for_pack) or not chosen.is_open):
            raise InputError(
                "export: a selection and a pack's options go with --pack; --out alone writes the whole map"
            )
        opened = Event.open(workspace, event)
        if pack is not None:
            options = PackOptions(
                licence=licence,
                language=language,
                template=template,
                units=None if units is None else read_units(units),
                shapefile=shapefile,
                imagery=imagery,
                since=since,
            )
            _write_pack(console, opened, pack, run_id, chosen, options, out=out, with_zip=with_zip)
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
    bands: Bands = None,
    pre_bands: Bands = None,
    post_bands: Bands = None,
    id_column: IdColumn = None,
    map_grades: MapGrades = None,
    yes: Yes = False,
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
    with command(json=json) as console:
        inputs = EventInputs(
            pre=pre,
            post=post,
            footprints=footprints,
            aoi=aoi,
            hazard=hazard,
            pre_datetime=pre_date,
            post_datetime=post_date,
            bands=band_numbers(bands, pre=pre_bands, post=post_bands),
            footprint_settings=FootprintSettings(id_column=id_column),
        )
        rules = grade_rules(map_grades, partial(agreed_to, console, yes=yes))
        quiet = SilentConsole(json_output=True) if json else console
        if event not in list_events(workspace):
            make_event(quiet, workspace, event, inputs)
        elif workflow.made_from(
            Event.open(workspace, event), pre=inputs.pre, post=inputs.post, footprints=inputs.footprints, aoi=inputs.aoi
        ) and read_as_asked(Event.open(workspace, event), inputs):
            quiet.say(f"event '{event}' is there already, from the same inputs")
        else:
            raise WorkspaceError(
                f"{workspace / event}: was made from other imagery or footprints; choose another event name, or "
                "replace them with `damage-ssl init --overwrite` (labels and runs are kept)"
            )
        opened = Event.open(workspace, event)
        make_patches(quiet, opened, patch_settings(opened, settings, {}))
        add_labels(quiet, opened, labels, rules=rules)
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
    console: Console,
    event: Event,
    folder: Path,
    run_id: str | None,
    selection: Selection,
    options: PackOptions,
    *,
    out: Path | None,
    with_zip: bool,
) -> None:
    """Write the pack, and the whole map to `out` where that is asked for too."""
    refuse_foreign(folder.resolve())
    options.check()  # before anybody is asked anything
    model = model_of(console, event, run_id)
    run = None if model is None else model.run
    if isinstance(model, FinishedRun) and (remark := workflow.question_remark(event, model)):
        console.warn(remark)
    options = dataclasses.replace(options, licence=settle_licence(console, event, options.licence))
    with console.progress("pack") as bar:
        written = write_event_pack(
            folder, event, model, selection=selection, options=options, with_zip=with_zip, progress=bar
        )
    console.say(f"{written.buildings:,} buildings ({selection.words}), run {None if run is None else run.run_id}")
    console.say(written.statement)
    console.say(f"hand over {written.folder if written.zip_path is None else written.zip_path}")
    if out is not None:  # after the pack, which may refuse the selection: then nothing is written
        workflow.export_event(event, out, run_id=None if run is None else run.run_id, licence=options.licence)
        console.say(f"the whole map written to {out}")
    console.result(
        {
            "out": None if out is None else str(out),
            "folder": str(written.folder),
            "zip": None if written.zip_path is None else str(written.zip_path),
            "buildings": written.buildings,
            "statement": written.statement,
            "filter": selection.words,
            "licence": options.licence,
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
