"""Footprints fetch, use, detect.

`damage-ssl footprints`: fetch footprints, detect them where there are none, look at the damage of each.

What `damage-ssl footprints fetch` does.

What `damage-ssl footprints use` does: files of outlines become the footprints of an event that is there.

What `damage-ssl footprints detect` does: chooses what to learn from, trains or loads, looks, hands over.
"""

import dataclasses
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import geopandas as gpd
import typer

from damage_ssl.cli.console import Console
from damage_ssl.cli.events import footprint_lines, footprint_values
from damage_ssl.cli.options import WORKSPACE, Json, Workspace
from damage_ssl.cli.place import Place, find_place
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
from damage_ssl.events.event import Event, extent_of
from damage_ssl.files import atomic_path, write_json
from damage_ssl.footprints.footprint_set import FootprintSet
from damage_ssl.footprints.providers.download import Fetched, fetch_footprints, find_provider, note_path
from damage_ssl.footprints.reader import read_footprints

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
        run_fetch(
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
        from damage_ssl.detection.settings import DetectionSettings, DetectionTraining

        request = DetectRequest(
            train_on=train_on, simulated=simulated, model=model, save_model=save_model, out=out, overwrite=overwrite
        )
        run_detect(
            console,
            workspace,
            event,
            request,
            DetectionSettings(gsd_m=gsd_m, min_confidence=min_confidence, min_area_m2=min_area_m2),
            DetectionTraining(encoder=encoder, minutes=minutes, seed=seed),
        )


_OGR_SUFFIXES = {".geojson": "GeoJSON", ".gpkg": "GPKG"}


def run_fetch(
    console: Console,
    workspace: Path,
    name: str | None,
    bbox: str | None,
    *,
    source: str,
    out: Path | None,
    release: str | None,
    date: str | None,
    overwrite: bool,
) -> None:
    """Fetch footprints into the event, or into a file."""
    provider = find_provider(source)
    if date is not None and source != "osm":
        raise InputError("--date: only --source osm can show the map of another day; Overture takes --release")
    if release is not None and source != "overture":
        raise InputError(f"--release: {provider.title} has none to choose from; it is for --source overture")
    place = find_place(workspace, name, bbox)
    if out is None and place.event is None:
        raise InputError(
            f"footprints fetch: '{name or bbox}' is no event of {workspace}; give --out FILE to write the buildings to"
        )
    if out is None and place.event is not None and place.event.has_footprints and not overwrite:
        raise InputError(
            f"event '{place.event.name}' has footprints already; replace them with --overwrite (labels stay with their "
            "building_id), or write a file with --out"
        )
    raw = _target(place, out, provider.name, provider.suffix)
    with console.progress(source) as bar:

        def move(done: int, total: int, remark: str = "") -> None:
            bar(done, max(done, total), remark)

        fetched = fetch_footprints(source, place.box, raw, release=date or release, move=move)
    if out is None and place.event is not None:
        found = read_footprints(raw, aoi=place.aoi, imagery=place.imagery)
        place.event.set_footprints(found)
        console.say(f"event '{place.event.name}': {len(found.table):,} footprints from {_origin(fetched)}")
        console.say(f"kept as fetched: {raw}")
    else:
        found = read_footprints(raw)
        written = _write(found, fetched, raw, out or raw)
        console.say(f"{written}: {len(found.table):,} footprints from {_origin(fetched)}")
    console.say(f'licence {fetched.licence}: credit "{fetched.attribution}" in what you make of them ({fetched.about})')
    if out is not None:
        console.say(f"next: damage-ssl init EVENT --pre … --post … --footprints {shlex.quote(str(out))}")
    elif place.event is not None:
        console.say(f"next: damage-ssl patches {place.event.name}")
    console.result({**dataclasses.asdict(fetched), "path": str(out or raw), "footprints": len(found.table)})


def _target(place: Place, out: Path | None, source: str, suffix: str) -> Path:
    """Where the provider's own file goes: under the event, to `--out`, or beside it where `--out` is another format."""
    if out is None:
        folder = place.event.path if place.event is not None else Path()
        return folder / "fetched" / f"{source}{suffix}"
    if out.name.lower().endswith(suffix):
        return out
    if out.suffix.lower() in _OGR_SUFFIXES:
        return out.with_name(f".{out.name}.fetched{suffix}")
    raise InputError(f"--out {out}: write {suffix} (as {source} gives it), {' or '.join(_OGR_SUFFIXES)}")


def _write(found: FootprintSet, fetched: Fetched, raw: Path, out: Path) -> Path:
    if out == raw:
        return out
    try:
        with atomic_path(out) as temporary:
            found.table.to_file(temporary, driver=_OGR_SUFFIXES[out.suffix.lower()], layer="footprints")
        write_json(note_path(out), {**dataclasses.asdict(fetched), "path": out.name})
    finally:
        raw.unlink(missing_ok=True)
        note_path(raw).unlink(missing_ok=True)
    return out


def _origin(fetched: Fetched) -> str:
    return fetched.title + (f" ({fetched.release})" if fetched.release and fetched.release not in fetched.title else "")


def use_files(console: Console, workspace: Path, name: str, files: Sequence[Path], *, overwrite: bool) -> None:
    """Read the files within the event's area or imagery, and set them; the event is as it was if one cannot be used.

    Raises:
        WorkspaceError: there are footprints already, and they are not to be replaced.
        InputError: a file cannot be used, or holds nothing where the imagery is.
    """
    event = Event.open(workspace, name)
    if event.has_footprints and not overwrite:
        raise WorkspaceError(f"event '{name}': has footprints already; replace them with --overwrite")
    with console.progress("outlines"):
        scenes = [*event.scenes("pre"), *event.scenes("post")]
        found = read_footprints(files, aoi=event.aoi(), imagery=extent_of(scenes), settings=event.footprint_settings())
    event.set_footprints(found)
    console.say(f"event '{name}': {len(found.table):,} footprints")
    for line in footprint_lines(event):
        console.say(line)
    console.say(f"next: damage-ssl patches {name} --workspace {workspace}")
    console.result({"event": name, "footprints": len(found.table), **footprint_values(event)})


_DRIVERS = {".geojson": "GeoJSON", ".json": "GeoJSON", ".gpkg": "GPKG"}
_PARQUET = {".parquet", ".geoparquet"}


@dataclass(frozen=True, kw_only=True)
class DetectRequest:
    """What the command line gave. `train_on` names events; `model` is a file to use in place of training."""

    train_on: Sequence[str] = ()
    simulated: bool = False
    model: Path | None = None
    save_model: Path | None = None
    out: Path | None = None
    overwrite: bool = False


def run_detect(
    console: Console,
    workspace: Path,
    name: str,
    request: DetectRequest,
    settings: DetectionSettings,
    training: DetectionTraining,
) -> Detection:
    """Detect buildings on the event's pre imagery; the event's own footprints are set or left, never half."""
    event = Event.open(workspace, name)
    _check(event, request)
    detector = _detector(console, workspace, event, request, settings, training)
    if request.save_model is not None:
        detector.save(request.save_model)
        console.say(f"model written to {request.save_model}")
    with console.progress("detect") as bar:
        detection = detect_buildings(event.scenes("pre"), detector, settings, aoi=event.aoi(), progress=bar)
    console.say(f"{len(detection.table):,} buildings detected (median confidence {_median(detection):.2f})")
    if request.out is not None:
        write_table(detection.table, request.out)
        console.say(f"written to {request.out}")
    else:
        event.set_footprints(detection.footprint_set())
        console.say(f"they are the footprints of event '{name}' now: look at them before you label")
        console.say(f"next: damage-ssl patches {name} --workspace {workspace}")
    console.result(
        {
            "event": name,
            "buildings": len(detection.table),
            "median_confidence": _median(detection),
            "out": request.out,
            "model": dataclasses.asdict(detector.card),
        }
    )
    return detection


def write_table(table: gpd.GeoDataFrame, path: Path) -> None:
    """Write footprints as GeoParquet, GeoJSON or GeoPackage, by the name's ending, atomically.

    Raises:
        InputError: another ending. StorageError: the disk is full or read-only.
    """
    check_ending(path)
    with atomic_path(path) as temporary:
        if path.suffix.lower() in _PARQUET:
            table.to_parquet(temporary)
        else:
            table.to_file(temporary, driver=_DRIVERS[path.suffix.lower()], layer="footprints")


def _check(event: Event, request: DetectRequest) -> None:
    """Everything that can be refused is refused before minutes are spent."""
    if request.out is not None:
        check_ending(request.out)
    elif event.has_footprints and not request.overwrite:
        raise WorkspaceError(
            f"{event.path}: has footprints already; give --out FILE to write the detected ones beside them, or "
            "--overwrite to replace them (labels of buildings that are not found again lose their place)"
        )
    if request.model is not None and (request.train_on or request.simulated):
        raise InputError("footprints detect: --model is used as it is; leave out --from and --simulated")


def check_ending(path: Path, *, also: Sequence[str] = ()) -> None:
    """Refuse a name that says no format `write_table` knows.

    Raises:
        InputError: another ending than these, or those in `also`.
    """
    known = [".geojson", ".gpkg", ".parquet", ".geoparquet", *also]
    if path.suffix.lower() not in {*known, ".json"}:
        raise InputError(f"{path}: give a name that ends in {', '.join(known[:-1])} or {known[-1]}")


def _detector(
    console: Console,
    workspace: Path,
    event: Event,
    request: DetectRequest,
    settings: DetectionSettings,
    training: DetectionTraining,
) -> Detector:
    if request.model is not None:
        detector = Detector.load(request.model, device=training.device)
        console.say(f"model {request.model}, trained on {', '.join(detector.card.trained_on)}")
        return detector
    if request.train_on:
        sources = [TrainingSource.of(Event.open(workspace, other)) for other in request.train_on]
    else:
        sources = [] if request.simulated else sources_in(workspace, but=event.name)
    with tempfile.TemporaryDirectory(prefix="damage-ssl-towns-") as folder:
        if not sources:
            console.warn(
                "no event with footprints to learn from: the detector is trained on simulated towns, which real "
                "imagery resembles only roughly; look at the result closely"
            )
            sources = simulated_sources(Path(folder), seed=training.seed)
        console.say(f"training on {', '.join(source.name for source in sources)}")
        with console.progress("train") as bar:
            return train_for(event.scenes("pre"), event.name, sources, training, gsd_m=settings.gsd_m, progress=bar)


def _median(detection: Detection) -> float:
    return round(float(detection.table["confidence"].median()), 3)
