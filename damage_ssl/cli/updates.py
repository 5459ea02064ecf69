"""`damage-ssl add-scene` and `diff`: a later acquisition of an event, and what changed between two of its runs."""

from pathlib import Path
from typing import Annotated

import typer

from damage_ssl import workflow
from damage_ssl.cli.console import Console, command
from damage_ssl.cli.events import date_remark
from damage_ssl.cli.options import WORKSPACE, EventName, Json, PostDate, PreDate, Rasters, Workspace
from damage_ssl.events.event import Event


def add_scene(
    event: EventName,
    post: Rasters = [],  # noqa: B006 (typer copies it)
    pre: Rasters = [],  # noqa: B006
    pre_date: PreDate = None,
    post_date: PostDate = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Add a new acquisition to an event; `patches` then takes, building by building, the scene that shows it best.

    Footprints, labels and runs stay; patches and maps are those of before until the patches are cut again.
    """
    with command(json=json) as console:
        opened = Event.open(workspace, event)
        added = workflow.add_scenes(opened, pre=pre, post=post, pre_datetime=pre_date, post_datetime=post_date)
        summary = workflow.event_status(opened)
        _say_addition(console, opened, added, summary)
        for note in (note for scene in added.added for note in scene.notes):
            console.warn(note)
        console.result(
            {
                "added": [
                    {
                        "scene_id": scene.scene_id,
                        "role": scene.role,
                        "href": scene.shown_href,
                        "datetime": None if scene.datetime is None else scene.datetime.isoformat(),
                        "gsd_m": scene.gsd_m,
                        "footprints": added.touched[scene.scene_id],
                    }
                    for scene in added.added
                ],
                "already": added.known,
                "next_step": summary.next_step,
            }
        )


def diff(
    event: EventName,
    run_a: Annotated[str, typer.Argument(metavar="RUN_A", help="The earlier run.")],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B", help="The later run.")],
    out: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Layer (.geojson with a QGIS style, .gpkg …) or table (.csv); repeat."),
    ] = None,
    changed_only: Annotated[bool, typer.Option("--changed-only", help="Only buildings that changed.")] = False,
    answers_now: Annotated[
        bool,
        typer.Option(
            "--answers-now",
            help="On the side of RUN_A take all answers of analysts, not only those given by the time it finished.",
        ),
    ] = False,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Say what changed between two runs: newly damaged, no longer damaged, newly or no longer assessed, building by
    building. Also of a run whose pictures were cut again since.
    """
    with command(json=json) as console:
        opened = Event.open(workspace, event)
        found = workflow.diff_runs(opened, run_a, run_b, answers="now" if answers_now else "then")
        for path in out or ():
            workflow.write_difference(found, path, changed_only=changed_only)
        console.say(found.sentence)
        console.say(found.definition.statement)
        for note in found.notes:
            console.warn(note)
        for path in out or ():
            console.say(f"written to {path}")
        console.result(found.to_json() | {"out": [str(path) for path in out or ()]})


def _say_addition(console: Console, event: Event, added: workflow.SceneAddition, summary: workflow.EventStatus) -> None:
    for href, scene_id in added.known.items():
        console.say(f"{href}: is the event's scene {scene_id} already")
    if not added.added:
        console.say("nothing to do")
        return
    for scene in added.added:
        day = "date unknown" if scene.datetime is None else f"{scene.datetime:%Y-%m-%d}"
        count = added.touched[scene.scene_id]
        console.say(
            f"{scene.scene_id}: {scene.role}, {day}, {scene.gsd_m:.2f} m a pixel, over {count:,} of "
            f"{summary.footprints:,} footprints"
        )
    if undated := [scene.scene_id for scene in added.added if scene.datetime is None]:
        console.warn(
            f"{', '.join(undated)}: its date is not known, so that it goes behind any scene with one that shows a "
            "building as well; give --post-date or --pre-date"
        )
    if remark := date_remark(event):
        console.warn(remark)
    if added.beyond:
        console.warn(
            f"{', '.join(added.beyond)}: reaches beyond the earlier imagery; footprints there are not the event's yet. "
            f"Get them with `damage-ssl footprints fetch {event.name}` or `damage-ssl footprints use {event.name}`"
        )
    runs = [run for run in summary.runs if run.state == "finished"]
    if summary.assessable is not None:
        kept = f"; {', '.join(run.run_id for run in runs)} stay, of the earlier pictures" if runs else ""
        console.say(f"patches and maps are those of before until the patches are cut again{kept}")
    console.say(f"next: {summary.next_step}")
