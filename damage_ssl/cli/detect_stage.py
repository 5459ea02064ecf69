"""What `damage-ssl footprints detect` does: chooses what to learn from, trains or loads, looks, hands over."""

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd

from damage_ssl.cli.console import Console
from damage_ssl.detection.detect import Detection, detect_buildings, simulated_sources, sources_in, train_for
from damage_ssl.detection.model import Detector
from damage_ssl.detection.samples import TrainingSource
from damage_ssl.detection.settings import DetectionSettings, DetectionTraining
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.event.catalog import Event
from damage_ssl.files import atomic_path

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


def detect(
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
