"""`damage-ssl footprints detect`: what to learn from is chosen, a detector trained or loaded, buildings found."""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import geopandas as gpd
import typer

from damage_ssl.cli.console import Console, command
from damage_ssl.cli.options import WORKSPACE, Json, Workspace
from damage_ssl.detection.building_detection import (
    Detection,
    detect_buildings,
    simulated_sources,
    sources_in,
    train_for,
)
from damage_ssl.detection.detector import Detector
from damage_ssl.detection.settings import DetectionSettings, DetectionTraining
from damage_ssl.detection.training_tiles import TrainingSource
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.files import atomic_path

_DRIVERS = {".geojson": "GeoJSON", ".json": "GeoJSON", ".gpkg": "GPKG"}
_PARQUET = {".parquet", ".geoparquet"}


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
        str,
        typer.Option(
            help="Encoder: efficientnet-lite0 (ImageNet weights), efficientnet-lite0-scratch or smp:<encoder>."
        ),
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
    with command(json=json) as console:
        settings = DetectionSettings(gsd_m=gsd_m, min_confidence=min_confidence, min_area_m2=min_area_m2)
        training = DetectionTraining(encoder=encoder, minutes=minutes, seed=seed)
        opened = Event.open(workspace, event)
        _refuse(opened, out, overwrite=overwrite)
        if model is None:
            detector = _trained(console, workspace, opened, train_on, training, simulated=simulated, gsd_m=gsd_m)
        elif train_on or simulated:
            raise InputError("footprints detect: --model is used as it is; leave out --from and --simulated")
        else:
            detector = Detector.load(model, device=training.device)
            console.say(f"model {model}, trained on {', '.join(detector.card.trained_on)}")
        if save_model is not None:
            detector.save(save_model)
            console.say(f"model written to {save_model}")
        with console.progress("detect") as bar:
            detection = detect_buildings(opened.scenes("pre"), detector, settings, aoi=opened.aoi(), progress=bar)
        console.say(f"{len(detection.table):,} buildings detected (median confidence {_median(detection):.2f})")
        if out is not None:
            _write(detection.table, out)
            console.say(f"written to {out}")
        else:
            opened.set_footprints(detection.footprint_set())
            console.say(f"they are the footprints of event '{event}' now: look at them before you label")
            console.say(f"next: damage-ssl patches {event} --workspace {workspace}")
        console.result(
            {
                "event": event,
                "buildings": len(detection.table),
                "median_confidence": _median(detection),
                "out": out,
                "model": dataclasses.asdict(detector.card),
            }
        )


def _write(table: gpd.GeoDataFrame, path: Path) -> None:
    """Write footprints as GeoParquet, GeoJSON or GeoPackage, by the name's ending, atomically.

    Raises:
        InputError: another ending. StorageError: the disk is full or read-only.
    """
    _check_ending(path)
    with atomic_path(path) as temporary:
        if path.suffix.lower() in _PARQUET:
            table.to_parquet(temporary)
        else:
            table.to_file(temporary, driver=_DRIVERS[path.suffix.lower()], layer="footprints")


def _refuse(event: Event, out: Path | None, *, overwrite: bool) -> None:
    """Everything that can be refused is refused before minutes are spent."""
    if out is not None:
        _check_ending(out)
    elif event.has_footprints and not overwrite:
        raise WorkspaceError(
            f"{event.path}: has footprints already; give --out FILE to write the detected ones beside them, or "
            "--overwrite to replace them (labels of buildings that are not found again lose their place)"
        )


def _check_ending(path: Path) -> None:
    if path.suffix.lower() not in {*_DRIVERS, *_PARQUET}:
        raise InputError(f"{path}: give a name that ends in .geojson, .gpkg, .parquet or .geoparquet")


def _trained(
    console: Console,
    workspace: Path,
    event: Event,
    train_on: Sequence[str],
    training: DetectionTraining,
    *,
    simulated: bool,
    gsd_m: float,
) -> Detector:
    """Train on the named events, else on all others that have footprints, else on simulated towns."""
    if train_on:
        sources = [TrainingSource.of(Event.open(workspace, other)) for other in train_on]
    else:
        sources = [] if simulated else sources_in(workspace, but=event.name)
    with tempfile.TemporaryDirectory(prefix="damage-ssl-towns-") as folder:
        if not sources:
            console.warn(
                "no event with footprints to learn from: the detector is trained on simulated towns, which real "
                "imagery resembles only roughly; look at the result closely"
            )
            sources = simulated_sources(Path(folder), seed=training.seed)
        console.say(f"training on {', '.join(source.name for source in sources)}")
        with console.progress("train") as bar:
            return train_for(event.scenes("pre"), event.name, sources, training, gsd_m=gsd_m, progress=bar)


def _median(detection: Detection) -> float:
    return round(float(detection.table["confidence"].median()), 3)
