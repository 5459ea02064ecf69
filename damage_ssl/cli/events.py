"""`damage-ssl init`, `status` and `simulate`: an event is made, looked at, drawn."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from damage_ssl import workflow
from damage_ssl.cli.console import Console, command
from damage_ssl.cli.options import (
    WORKSPACE,
    Aoi,
    Bands,
    EventName,
    Footprints,
    Hazard,
    IdColumn,
    Json,
    PostDate,
    PreDate,
    Rasters,
    Workspace,
    band_numbers,
)
from damage_ssl.cli.questions import settle_definition
from damage_ssl.damage_scale import scheme_named
from damage_ssl.events.definition import state_scheme
from damage_ssl.events.event import Event, list_events

if TYPE_CHECKING:
    from damage_ssl.events.inputs import EventInputs
    from damage_ssl.footprints.footprint_set import SourceReport

_SHOWN = 5
_NOTES_SHOWN = 12


def init(
    event: EventName,
    pre: Rasters = [],  # noqa: B006 (typer copies it)
    post: Rasters = [],  # noqa: B006
    footprints: Footprints = [],  # noqa: B006
    aoi: Aoi = None,
    hazard: Hazard = None,
    pre_date: PreDate = None,
    post_date: PostDate = None,
    bands: Bands = None,
    pre_bands: Bands = None,
    post_bands: Bands = None,
    from_xbd: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An xBD folder with images/ and labels/.")
    ] = None,
    from_catalog: Annotated[
        str | None, typer.Option(metavar="ID", help="An event of `damage-ssl catalog list`; the sample is drawn.")
    ] = None,
    min_confidence: Annotated[
        float | None, typer.Option(help="Leave out footprints that are less sure (0 to 1).")
    ] = None,
    point_size_m: Annotated[
        float, typer.Option(help="Side of the square for a building known as a point, in metres.")
    ] = 10.0,
    id_column: IdColumn = None,
    scheme: Annotated[
        str | None,
        typer.Option(help="What counts as damaged in this event: binary-major, binary-minor or grades."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option(help="Replace imagery and footprints of an event of this name; labels and runs stay.")
    ] = False,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Describe an event: check imagery and footprints, and write its STAC catalogue and footprints."""
    from damage_ssl.events.inputs import EventInputs
    from damage_ssl.settings import FootprintSettings

    with command(json=json) as console:
        if scheme is not None:
            scheme_named(scheme)  # a misspelt name is said before any work
        inputs = EventInputs(
            pre=pre,
            post=post,
            footprints=footprints,
            aoi=aoi,
            hazard=hazard,
            pre_datetime=pre_date,
            post_datetime=post_date,
            bands=band_numbers(bands, pre=pre_bands, post=post_bands),
            from_xbd=from_xbd,
            footprint_settings=FootprintSettings(
                min_confidence=min_confidence, point_size_m=point_size_m, id_column=id_column
            ),
        )
        if from_catalog is not None:
            from damage_ssl.cli.catalogue import inputs_from_catalog

            inputs = inputs_from_catalog(console, workspace, from_catalog, inputs)
        make_event(console, workspace, event, inputs, scheme=scheme, overwrite=overwrite)
        settle_definition(console, Event.open(workspace, event))


def define(
    event: EventName,
    scheme: Annotated[
        str | None,
        typer.Option(
            help="binary-major (major damage or worse), binary-minor (minor or worse) or grades; without it, what is "
            "stated now."
        ),
    ] = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Say or show what counts as damaged in an event, and what of its labels, runs and packs answers it."""
    from damage_ssl.products.definition_report import definition_report

    with command(json=json) as console:
        opened = Event.open(workspace, event)
        if scheme is not None:
            state_scheme(opened, scheme)
        report = definition_report(opened)
        for line in report.lines():
            console.say(line)
        console.result(report.to_json())


def status(
    event: Annotated[str | None, typer.Argument(metavar="[EVENT]", help="An event; without it, all of them.")] = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Say where an event stands and what comes next."""
    with command(json=json) as console:
        names = [event] if event is not None else list_events(workspace)
        if not names:
            console.say(f"no events in {workspace}; begin with damage-ssl init")
        summaries = [workflow.event_status(Event.open(workspace, each)) for each in names]
        for summary in summaries:
            _say_status(console, summary)
        values = [dataclasses.asdict(summary) | {"next_step": summary.next_step} for summary in summaries]
        console.result(values[0] if event is not None else {"events": values})


def simulate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write the simulated event to.")],
    buildings: Annotated[int, typer.Option(min=1, help="How many buildings.")] = 600,
    hazard: Annotated[str, typer.Option(help="Kind of disaster: earthquake, fire, flood or wind.")] = "earthquake",
    seed: Annotated[int, typer.Option(help="The same seed draws the same town.")] = 0,
    json: Json = False,
) -> None:
    """Draw a synthetic town before and after a disaster, with known truth."""
    from damage_ssl.simulation import event as simulation
    from damage_ssl.simulation.settings import SimulationSettings

    with command(json=json) as console:
        settings = SimulationSettings(buildings=buildings, hazard=hazard, seed=seed)
        event = simulation.simulate(directory, settings)
        console.say(f"{buildings:,} buildings, {hazard}: {event.pre}, {event.post}, {event.footprints}, {event.truth}")
        console.say(
            f"next: damage-ssl init {directory.name} --pre {event.pre} --post {event.post} --footprints "
            f"{event.footprints}"
        )
        console.result({field.name: getattr(event, field.name) for field in dataclasses.fields(event)})


def make_event(
    console: Console,
    workspace: Path,
    name: str,
    inputs: "EventInputs",
    *,
    scheme: str | None = None,
    overwrite: bool = False,
) -> None:
    """Create the event and say what was found; `scheme` states what counts as damaged."""
    event = workflow.create_event(workspace, name, inputs, overwrite=overwrite)
    if scheme is not None:
        state_scheme(event, scheme)
    summary = workflow.event_status(event)
    scenes = f"{summary.pre_scenes} pre and {summary.post_scenes} post scenes"
    console.say(f"event '{name}': {summary.footprints:,} footprints, {scenes}")
    for line in footprint_lines(event):
        console.say(line)
    for note in scene_notes(event):
        console.warn(note)
    if remark := date_remark(event):
        console.warn(remark)
    console.say(f"next: {summary.next_step}")
    console.result(dataclasses.asdict(summary) | footprint_values(event))


def read_as_asked(event: Event, inputs: "EventInputs") -> bool:
    """Whether the event's bands and ids are those that are asked for."""
    scenes = [*event.scenes("pre"), *event.scenes("post")]
    asked = inputs.bands or {}
    same_bands = all(scene.bands == asked[scene.role] for scene in scenes if scene.role in asked)
    return same_bands and event.footprint_settings().id_column == inputs.footprint_settings.id_column


def footprint_lines(event: Event) -> list[str]:
    """What was read of each source of footprints, a line each, and those that were left out as far as they fit."""
    from damage_ssl.footprints.footprint_set import LEFT_OUT_FILE

    lines = [_sentence(report) for report in event.footprint_sources()]
    left_out = event.footprints_left_out()
    for reason, rows in left_out.groupby("reason", sort=True):
        names = ", ".join(rows["source_id"].head(_SHOWN)) + (", …" if len(rows) > _SHOWN else "")
        lines.append(f"  left out as {str(reason).replace('_', ' ')}: {len(rows):,} ({names})")
    if len(left_out):
        lines.append(f"  all that were left out: {event.path / LEFT_OUT_FILE}")
    return lines


def scene_notes(event: Event) -> list[str]:
    """What was guessed of the scenes, contradicts itself or was left out; of many, the first and how many more."""
    notes = list(dict.fromkeys(note for scene in (*event.scenes("pre"), *event.scenes("post")) for note in scene.notes))
    more = len(notes) - _NOTES_SHOWN
    rest = [f"{more} more notes on the imagery: see `damage_ssl:notes` in {event.path / 'items'}"] if more > 0 else []
    return notes[:_NOTES_SHOWN] + rest


def footprint_values(event: Event) -> dict[str, Any]:
    """The same for a machine."""
    return {"footprint_sources": [dataclasses.asdict(report) for report in event.footprint_sources()]}


def reasons(not_assessed: dict[str, int]) -> str:
    """How many buildings cannot be assessed and why, behind how many can; nothing where all can."""
    if not not_assessed:
        return ""
    return "; not: " + ", ".join(f"{count:,} {reason}" for reason, count in not_assessed.items())


def _say_status(console: Console, summary: workflow.EventStatus) -> None:
    assessable = "not cut yet" if summary.assessable is None else f"{summary.assessable:,} assessable"
    console.say(f"{summary.name}: {summary.footprints:,} footprints ({assessable}){reasons(summary.not_assessed)}")
    console.say(f"  {summary.damaged_means}{'' if summary.damaged_stated else ' (the default; not stated)'}")
    if summary.labels:
        console.say("  labels: " + ", ".join(f"{count:,} {value}" for value, count in summary.labels.items()))
    for run in summary.runs:
        stale = ", of patches that were cut again since" if run.stale else ""
        console.say(f"  run {run.run_id}: {run.state}{stale}, step {run.step} of {run.steps} {run.message}")
    console.say(f"  next: {summary.next_step}")


def date_remark(event: Event) -> str | None:
    """What is odd about the times of the scenes: pre images that are younger than post images."""
    pre = [(scene.datetime, scene.scene_id) for scene in event.scenes("pre") if scene.datetime]
    post = [(scene.datetime, scene.scene_id) for scene in event.scenes("post") if scene.datetime]
    if not pre or not post or max(pre)[0] <= min(post)[0]:
        return None
    return (
        f"{max(pre)[1]} ({max(pre)[0]:%Y-%m-%d %H:%M}) is younger than {min(post)[1]} ({min(post)[0]:%Y-%m-%d %H:%M}): "
        "are --pre and --post the right way round? If the times in files or names are wrong, give --pre-date and "
        "--post-date"
    )


def _sentence(report: "SourceReport") -> str:
    parts = [f"{report.kept:,} footprints"]
    if report.features is not None:
        parts[0] += f" of {report.features:,}"
    parts += [f"{count:,} {kind}s" for kind, count in report.kinds.items() if kind != "polygon"]
    counts = {
        "outside the area": report.outside,
        "below the confidence": report.below_confidence,
        "left out": sum(report.left_out.values()),
        "repaired": report.repaired,
    }
    parts += [f"{count:,} {what}" for what, count in counts.items() if count]
    made = (
        f"{report.kept:,} ids made of the shapes (no building_id, id or uid is complete and unique; --id-column NAME "
        "takes another column)"
    )
    ids = f"ids from '{report.id_column}'" if report.id_column else made
    return "; ".join([f"  {report.source} ({report.format}): {', '.join(parts)}", ids, *report.remarks])
