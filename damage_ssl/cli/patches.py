"""`damage-ssl register` and `patches`: shifts between the dates and footprints, measured or set; the pairs, cut."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import shapely
import typer

from damage_ssl import workflow
from damage_ssl.cli.console import Console, command
from damage_ssl.cli.events import reasons
from damage_ssl.cli.options import (
    MEMORY,
    WORKSPACE,
    Cluster,
    ContextGsdM,
    EventName,
    GsdM,
    Json,
    Memory,
    PostScene,
    SettingsFile,
    SizePx,
    Workers,
    Workspace,
    patch_settings,
    resources_of,
)
from damage_ssl.errors import InputError
from damage_ssl.events.event import Event
from damage_ssl.files import atomic_path
from damage_ssl.grid import crs_of_epsg, transformer, utm_epsg
from damage_ssl.registration.event_registration import Registration
from damage_ssl.registration.manual_shift import ManualShift, set_manual_shift
from damage_ssl.registration.shift_plot import Panel, compass, draw_fields
from damage_ssl.settings import PatchSettings, Resources


def register(
    event: EventName,
    nudge: Annotated[
        list[str],
        typer.Option(
            metavar="SCENE=DX,DY", help="Set a scene's shift by hand, metres east and north; may be repeated."
        ),
    ] = [],  # noqa: B006 (typer copies it)
    clear_nudge: Annotated[
        list[str], typer.Option(metavar="SCENE", help="Take a shift set by hand back; may be repeated.")
    ] = [],  # noqa: B006
    picture: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="Where to draw the arrows (default: the event's registration.png)."),
    ] = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", metavar="TOML", help="Settings file with a table [patches].")
    ] = None,
    workers: Workers = 0,
    memory: Memory = MEMORY,
    cluster: Cluster = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Measure how post, pre and footprints are shifted against each other, and draw it. `patches` undoes the shifts.

    A nudge of a pre scene says where the footprints are found in it; one of a post scene, how far it is off pre.
    """
    with command(json=json) as console:
        resources = resources_of(workers, memory, cluster)
        opened = Event.open(workspace, event)
        asked = patch_settings(opened, settings, {})
        given = [_parsed(text) for text in nudge]  # all of them are understood before any is kept
        for scene_id in clear_nudge:
            set_manual_shift(opened, scene_id, None)
        for scene_id, shift in given:
            set_manual_shift(opened, scene_id, shift)
        with console.progress("register", idle="nothing changed since the shifts were measured") as bar:
            found = workflow.register_event(opened, asked, bar, resources=resources)
        out = picture or opened.path / "registration.png"
        _draw(opened, found, out)
        pairs = _summary(found.table)
        for row in pairs:
            console.say(_sentence(row))
        misaligned = int(found.table["misaligned"].sum())
        unseen = int(found.table["registered_post_image"].isna().sum())
        console.say(
            f"{len(found.table):,} footprints: {misaligned:,} misaligned, {unseen:,} not in the imagery of both dates; "
            f"arrows in {out}"
        )
        values = {"pairs": pairs, "footprints": len(found.table), "misaligned": misaligned, "not_in_imagery": unseen}
        console.result({**values, "picture": str(out)})


def patches(
    event: EventName,
    gsd_m: GsdM = None,
    size_px: SizePx = None,
    context_gsd_m: ContextGsdM = None,
    post_scene: PostScene = None,
    settings: SettingsFile = None,
    workers: Workers = 0,
    memory: Memory = MEMORY,
    cluster: Cluster = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Cut a pre/post pair for every building; nothing is done when nothing changed."""
    with command(json=json) as console:
        resources = resources_of(workers, memory, cluster)
        opened = Event.open(workspace, event)
        given = {"gsd_m": gsd_m, "size_px": size_px, "context_gsd_m": context_gsd_m, "post_scene": post_scene}
        make_patches(console, opened, patch_settings(opened, settings, given), resources)


def make_patches(
    console: Console, event: Event, settings: PatchSettings | None, resources: Resources | None = None
) -> None:
    """Cut the pairs and say how many buildings can be assessed, and why others cannot."""
    cut(console, event, settings, resources)
    summary = workflow.event_status(event)
    console.say(
        f"{summary.assessable:,} of {summary.footprints:,} buildings can be assessed{reasons(summary.not_assessed)}"
    )
    if stale := [run.run_id for run in summary.runs if run.stale and run.state == "finished"]:
        console.warn(
            f"of patches that were cut before: {', '.join(stale)}. These runs stay, to be compared with later ones by "
            f"`damage-ssl diff {event.name}`; a map of the patches as they are now needs a new run"
        )
    console.say(f"next: {summary.next_step}")
    console.result(dataclasses.asdict(summary))


def cut(
    console: Console, event: Event, settings: PatchSettings | None = None, resources: Resources | None = None
) -> None:
    """Register and cut, where anything changed since the last time."""
    with console.progress("register", idle="nothing changed since the patches were cut") as bar:
        workflow.cut_patches(event, settings, registering=bar, progress=bar.then("patches"), resources=resources)


def _summary(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One mapping a pair of scenes, the largest first: shifts, where they come from, the median score."""
    seen = table[table["registered_pre_image"].notna() & table["registered_post_image"].notna()]
    rows = []
    for (pre, post), part in seen.groupby(["registered_pre_image", "registered_post_image"]):
        score = part["align_score"].median()
        rows.append(
            {
                "pre_image": str(pre),
                "post_image": str(post),
                "buildings": len(part),
                "shift_x_m": round(float(part["shift_x_m"].median()), 2),
                "shift_y_m": round(float(part["shift_y_m"].median()), 2),
                "footprint_shift_x_m": round(float(part["footprint_shift_x_m"].median()), 2),
                "footprint_shift_y_m": round(float(part["footprint_shift_y_m"].median()), 2),
                "sources": {str(name): int(count) for name, count in part["shift_source"].value_counts().items()},
                "misaligned": int(part["misaligned"].sum()),
                "median_score": None if np.isnan(score) else round(float(score), 2),
            }
        )
    return sorted(rows, key=lambda row: -row["buildings"])


def _sentence(row: Mapping[str, Any]) -> str:
    sources = ", ".join(f"{count:,} {source}" for source, count in row["sources"].items())
    score = "no match" if row["median_score"] is None else f"median score {row['median_score']:.2f}"
    misaligned = f", {row['misaligned']:,} misaligned" if row["misaligned"] else ""
    return (
        f"{row['post_image']} against {row['pre_image']}: {compass(row['shift_x_m'], row['shift_y_m'])}; footprints: "
        f"{compass(row['footprint_shift_x_m'], row['footprint_shift_y_m'])}; {row['buildings']:,} buildings "
        f"({sources}{misaligned}), {score}"
    )


def _parsed(text: str) -> tuple[str, ManualShift]:
    scene_id, equals, metres = text.rpartition("=")
    try:
        east, north = (float(value) for value in metres.split(","))
    except ValueError:
        equals = ""
    if not (equals and scene_id):
        raise InputError(f"--nudge {text}: give SCENE=DX,DY in metres east and north, e.g. post-a=1.5,-2")
    return scene_id, ManualShift(east, north)


def _draw(event: Event, found: Registration, out: Path) -> None:
    table = found.table
    seen = (table["registered_pre_image"].notna() & table["registered_post_image"].notna()).to_numpy()
    centre = shapely.centroid(event.footprints().geometry.to_numpy()[seen])
    lon, lat = shapely.get_x(centre), shapely.get_y(centre)
    zone = utm_epsg(float(np.median(lon)), float(np.median(lat))) if len(lon) else utm_epsg(0.0, 0.0)
    x_m, y_m = transformer(crs_of_epsg(4326), crs_of_epsg(zone)).transform(lon, lat)
    shown = table[seen]
    misaligned = shown["misaligned"].to_numpy(dtype=bool)
    panels = [
        Panel(
            title,
            shown[[f"{prefix}shift_x_m", f"{prefix}shift_y_m"]].to_numpy(dtype=float),
            np.where(misaligned, "misaligned", shown[f"{prefix}shift_source"].to_numpy(dtype=object)).astype(object),
        )
        for title, prefix in (("Post image against pre image", ""), ("Pre image against footprints", "footprint_"))
    ]
    with atomic_path(out) as temporary:
        draw_fields(np.asarray(x_m, dtype=float), np.asarray(y_m, dtype=float), panels).savefig(temporary, format="png")
