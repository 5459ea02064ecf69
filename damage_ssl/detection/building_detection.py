"""Footprints for an event that has none: train or load a detector, look at its pre imagery, name what is found."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from openlocationcode import openlocationcode
from shapely.geometry.base import BaseGeometry

from damage_ssl.detection.detector import Detector
from damage_ssl.detection.polygons import extract_buildings
from damage_ssl.detection.probability_map import map_probabilities
from damage_ssl.detection.search_grid import Area, read_square
from damage_ssl.detection.settings import DetectionSettings, DetectionTraining
from damage_ssl.detection.trainer import train_detector
from damage_ssl.detection.training_tiles import Tiles, TrainingSource, training_tiles
from damage_ssl.detection.unet import CHANNELS
from damage_ssl.errors import InputError
from damage_ssl.events.event import Event, list_events
from damage_ssl.footprints.footprint_set import FootprintSet, SourceReport
from damage_ssl.imagery.inspection import inspect_scene
from damage_ssl.imagery.scene import Scene
from damage_ssl.progress import StageCallback
from damage_ssl.simulation.event import simulate
from damage_ssl.simulation.settings import HAZARDS, SimulationSettings

SOURCE_NAME = "detected"
_CODE_LENGTH = 11
_SIMULATED_BUILDINGS = 300
_TRAINING_TILE_PX = 512
_TARGET_TILES_SHARE = 0.5


@dataclass(frozen=True)
class Detection:
    """Detected footprints in EPSG:4326 (`building_id`, `source`, `source_id`, `area_m2`, `geometry_kind`,
    `confidence`, `geometry`) and the detector that found them."""

    table: gpd.GeoDataFrame
    detector: Detector

    def footprint_set(self) -> FootprintSet:
        """The buildings as the footprints of an event."""
        report = SourceReport(
            source=SOURCE_NAME,
            format="detection",
            features=len(self.table),
            kept=len(self.table),
            id_column="building_id",
            kinds={"polygon": len(self.table)},
        )
        return FootprintSet(self.table, "building_id", repaired=0, outside_aoi=0, sources=(report,))


def sources_in(workspace: Path, *, but: str) -> list[TrainingSource]:
    """Every event of a workspace that has footprints of its own, that is not detected ones; `but` is left out."""
    sources = []
    for name in list_events(workspace):
        event = Event.open(workspace, name)
        if name == but or not event.has_footprints:
            continue
        source = TrainingSource.of(event)
        if not (source.footprints["source"] == SOURCE_NAME).all():
            sources.append(source)
    return sources


def simulated_sources(folder: Path, *, seed: int, buildings: int = _SIMULATED_BUILDINGS) -> list[TrainingSource]:
    """One drawn town a hazard (its picture of before), written into `folder`: training data where there are none."""
    sources = []
    for number, hazard in enumerate(HAZARDS):
        settings = SimulationSettings(buildings=buildings, hazard=hazard, seed=seed * len(HAZARDS) + number)
        town = simulate(folder / f"town-{number}", settings)
        scene = inspect_scene(str(town.pre), scene_id=f"pre-{number}", role="pre", acquired=None, sensor=None)
        sources.append(TrainingSource(f"simulated-{hazard}", [scene], gpd.read_file(town.footprints)))
    return sources


def train_for(
    target: Sequence[Scene],
    target_name: str,
    sources: Sequence[TrainingSource],
    training: DetectionTraining,
    *,
    gsd_m: float,
    progress: StageCallback | None = None,
) -> Detector:
    """Train on the sources, and by self-training on the target's imagery (unless its share is 0).

    Raises:
        InputError: no source has a building on its imagery, or imagery cannot be read.
    """
    rng = np.random.default_rng([training.seed, 11])
    labelled = training_tiles(sources, gsd_m=gsd_m, size_px=_TRAINING_TILE_PX, most=training.max_tiles, rng=rng)
    unlabelled = None
    if training.self_training_share > 0:
        most = max(1, round(training.max_tiles * _TARGET_TILES_SHARE))
        unlabelled = _unlabelled_tiles(target, gsd_m=gsd_m, most=most, rng=rng)
    return train_detector(
        labelled,
        training,
        gsd_m=gsd_m,
        trained_on=tuple(source.name for source in sources),
        target=unlabelled,
        target_name=target_name,
        progress=progress,
    )


def detect_buildings(
    scenes: Sequence[Scene],
    detector: Detector,
    settings: DetectionSettings,
    *,
    aoi: BaseGeometry | None = None,
    scratch: Path | None = None,
    progress: StageCallback | None = None,
) -> Detection:
    """Find the buildings on pre scenes, in the AOI (EPSG:4326) where one is given.

    Memory is bounded by tile and window, disk by the area (4 bytes a pixel).
    Ids are Open Location Codes of the buildings' middles (about 3 m), so that the same building keeps its id when it
    is detected again. `scratch` holds the map of probabilities for the time of the call (default: the system's own).

    Raises:
        InputError: a scene cannot be read, the detector works on another ground sampling distance, or nothing is found.
    """
    if abs(detector.card.gsd_m - settings.gsd_m) > 0.01 * settings.gsd_m:
        raise InputError(
            f"detection: the model was trained at {detector.card.gsd_m:g} m a pixel and cannot look at "
            f"{settings.gsd_m:g} m; use the same, or train another model"
        )
    area = Area.of(scenes, settings.gsd_m)

    def told(remark: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, total: progress(done, total, remark)

    with tempfile.TemporaryDirectory(prefix="damage-ssl-", dir=scratch) as folder:
        probabilities = map_probabilities(
            detector.probabilities,
            area,
            scenes,
            Path(folder) / "probabilities.zarr",
            settings,
            channels=len(CHANNELS),
            progress=told("looking"),
        )
        table = extract_buildings(probabilities, area, settings, progress=told("drawing outlines"))
    if aoi is not None:
        shapely.prepare(aoi)
        inside = shapely.covers(aoi, shapely.point_on_surface(table.geometry.to_numpy()))
        table = table[inside].reset_index(drop=True)
    if table.empty:
        raise InputError(
            f"detection: no building of {settings.min_area_m2:g} m² or more was found with a confidence of "
            f"{settings.min_confidence:g}; train on an event that looks more alike, or lower --min-confidence"
        )
    ids = _ids(table)
    table.insert(0, "building_id", ids)
    table.insert(1, "source", SOURCE_NAME)
    table.insert(2, "source_id", ids)
    table["geometry_kind"] = "polygon"
    columns = ["building_id", "source", "source_id", "area_m2", "geometry_kind", "confidence", "geometry"]
    return Detection(table[columns], detector)


def _unlabelled_tiles(scenes: Sequence[Scene], *, gsd_m: float, most: int, rng: np.random.Generator) -> Tiles | None:
    """Squares of the target's imagery without a building known; None where it has none with pixels."""
    area = Area.of(scenes, gsd_m)
    squares = list(area.squares(_TRAINING_TILE_PX, step_px=_TRAINING_TILE_PX))
    parts = []
    for index in np.sort(rng.permutation(len(squares))[:most]):
        pixels, valid = read_square(area, squares[index], scenes)
        if valid.any():
            nothing = np.zeros((1, *valid.shape), dtype=np.int32)
            parts.append(Tiles(pixels[None], valid[None], nothing, np.zeros_like(valid)[None]))
    return Tiles.joined(parts) if parts else None


def _ids(table: gpd.GeoDataFrame) -> list[str]:
    seen: dict[str, int] = {}
    ids = []
    for point in table.geometry.representative_point():
        code = "det-" + openlocationcode.encode(point.y, point.x, _CODE_LENGTH).replace("+", "")
        seen[code] = seen.get(code, 0) + 1
        ids.append(code if seen[code] == 1 else f"{code}-{seen[code]}")
    return ids
