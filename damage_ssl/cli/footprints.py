"""`damage-ssl footprints`: fetch footprints, detect them where there are none, look at the damage of each."""

from pathlib import Path
from typing import Annotated

import typer

from damage_ssl.cli.console import Console
from damage_ssl.cli.options import WORKSPACE, Json, Workspace

footprints_cli = typer.Typer(
    help="Building footprints: fetch them, or detect them where there are none.", no_args_is_help=True
)


@footprints_cli.command()
def fetch(
    event: Annotated[
        str | None, typer.Argument(metavar="[EVENT]", help="An event of the workspace, or of the catalogue.")
    ] = None,
    bbox: Annotated[str | None, typer.Option(metavar="W,S,E,N", help="An area in degrees, in place of EVENT.")] = None,
    source: Annotated[str, typer.Option(help="overture, open-buildings or osm.")] = "overture",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a file; without it they become the event's footprints.")
    ] = None,
    release: Annotated[str | None, typer.Option(help="Release of Overture (default: the latest).")] = None,
    date: Annotated[
        str | None, typer.Option(help="With osm: the map as it was on this day, e.g. the day before.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the footprints that the event has.")] = False,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Fetch the buildings of an event's imagery (or its AOI) from an open source; its licence is kept and shown."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import fetch_stage

        fetch_stage.fetch(
            console, workspace, event, bbox, source=source, out=out, release=release, date=date, overwrite=overwrite
        )


@footprints_cli.command()
def use(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="An event of the workspace.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of outlines, the preferred one first.")],
    overwrite: Annotated[bool, typer.Option(help="Replace the footprints that the event has.")] = False,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Give an event the footprints of these files, as `init` would; imagery, labels and runs stay."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli.use_stage import use_files

        use_files(console, workspace, event, files, overwrite=overwrite)


@footprints_cli.command()
def detect(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="An event of the workspace; its pre imagery is used.")],
    train_on: Annotated[
        list[str],
        typer.Option("--from", metavar="EVENT2", help="Event with footprints to learn from (default: all there are)."),
    ] = [],  # noqa: B006 (typer copies it)
    simulated: Annotated[bool, typer.Option("--simulated", help="Learn from simulated towns only.")] = False,
    model: Annotated[Path | None, typer.Option(metavar="FILE", help="Use this trained model; do not train.")] = None,
    save_model: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep the trained model.")] = None,
    encoder: Annotated[
        str, typer.Option(help="efficientnet-lite0 (ImageNet), efficientnet-lite0-scratch or smp:<encoder>.")
    ] = "efficientnet-lite0",
    minutes: Annotated[float, typer.Option(min=0.05, help="Upper bound of the training time.")] = 10.0,
    min_confidence: Annotated[float, typer.Option(min=0.0, max=1.0, help="Least confidence of a building.")] = 0.5,
    min_area_m2: Annotated[float, typer.Option(min=0.0, help="Least area of a building, square metres.")] = 12.0,
    gsd_m: Annotated[float, typer.Option(min=0.05, help="Metres a pixel that the network works at.")] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the network and of the crops.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a file; without it they become the event's footprints.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the footprints that the event has.")] = False,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Find the buildings on the pre imagery of an event that has no footprints."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import detect_stage
        from damage_ssl.detection.settings import DetectionSettings, DetectionTraining

        request = detect_stage.DetectRequest(
            train_on=train_on, simulated=simulated, model=model, save_model=save_model, out=out, overwrite=overwrite
        )
        detect_stage.detect(
            console,
            workspace,
            event,
            request,
            DetectionSettings(gsd_m=gsd_m, min_confidence=min_confidence, min_area_m2=min_area_m2),
            DetectionTraining(encoder=encoder, minutes=minutes, seed=seed),
        )


@footprints_cli.command()
def damage(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="An event with footprints and some labels.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write: .csv, .geojson, .gpkg or .parquet.")],
    scheme: Annotated[str, typer.Option(help="What counts as damaged: binary-major, binary-minor or grades.")] = (
        "binary-major"
    ),
    encoder: Annotated[
        str, typer.Option(help="efficientnet-lite0 (ImageNet), efficientnet-lite0-scratch or smp:<encoder>.")
    ] = "efficientnet-lite0",
    minutes: Annotated[float, typer.Option(min=0.05, help="Upper bound of the training time.")] = 10.0,
    gsd_m: Annotated[float, typer.Option(min=0.05, help="Metres a pixel that the network works at.")] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the network and of the crops.")] = 0,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """The damaged share of every footprint, by segmenting pre and post imagery; learnt from the event's labels."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import damage_stage
        from damage_ssl.detection.settings import DetectionSettings, DetectionTraining

        damage_stage.damage(
            console,
            workspace,
            event,
            scheme=scheme,
            out=out,
            settings=DetectionSettings(gsd_m=gsd_m),
            training=DetectionTraining(encoder=encoder, minutes=minutes, seed=seed),
        )
