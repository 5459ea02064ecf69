"""Held-out building detection: F1 at IoU 0.5 and pixel IoU, on the events at hand.

    python -m benchmarks.detection --shared ../shared --out FOLDER [--part NAME …] [--steps 200] [--judge-only]

Parts: `imagenet` and `scratch` train on 20 Santa Rosa pre scenes and look at the other 8 and at three other events;
`simulated` trains on drawn towns and looks at all of them; `self-training` takes half of each batch of the last third
of the steps from Mexico's imagery without its footprints. Held-out scenes are whole groups of touching scenes, drawn by
a fixed seed before anything was trained; nothing was tuned on them. `--judge-only` scores the models that an earlier
run left in FOLDER, after a change of what follows the network. Pictures of real imagery and models go to FOLDER,
which must lie outside the repository.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from PIL import Image, ImageDraw

from damage_ssl.detection.building_detection import detect_buildings, simulated_sources, train_for
from damage_ssl.detection.detector import Detector
from damage_ssl.detection.scores import score_footprints
from damage_ssl.detection.search_grid import Area, Square, read_square
from damage_ssl.detection.settings import DetectionSettings, DetectionTraining
from damage_ssl.detection.training_tiles import TrainingSource
from damage_ssl.imagery.inspection import inspect_scene
from damage_ssl.imagery.scene import Scene
from damage_ssl.simulation.event import simulate
from damage_ssl.simulation.settings import SimulationSettings

HELD_OUT_SCENES = 8
TRAINED_ON = "santa-rosa-wildfire"
OTHERS = ("hurricane-harvey", "hurricane-florence", "mexico-earthquake")
PARTS = ("imagenet", "scratch", "simulated", "self-training")
PICTURE_PX = 1024


def event_source(folder: Path) -> TrainingSource:
    """An event's pre scenes and footprints, straight from its folder."""
    scenes = [
        inspect_scene(str(path), scene_id=path.stem, role="pre", acquired=None, sensor=None)
        for path in sorted((folder / "pre").glob("*.tif"))
    ]
    return TrainingSource(folder.name, scenes, gpd.read_file(folder / "footprints.geojson"))


def split_by_place(scenes: Sequence[Scene], held_out: int, seed: int) -> tuple[list[Scene], list[Scene]]:
    """Training and held-out scenes; scenes that touch (within about 30 m) go the same way."""
    boxes = np.array([scene.extent for scene in scenes], dtype=object)
    groups = shapely.get_parts(shapely.union_all(shapely.buffer(boxes, 1.5e-4)))
    members = [[scene for scene in scenes if scene.extent.intersects(group)] for group in groups]
    out: list[Scene] = []
    for index in np.random.default_rng(seed).permutation(len(members)):
        if len(out) + len(members[index]) <= held_out:
            out += members[index]
    names = {scene.scene_id for scene in out}
    return [scene for scene in scenes if scene.scene_id not in names], out


def judge(detector: Detector, source: TrainingSource, picture: Path, settings: DetectionSettings) -> dict[str, float]:
    """Detect on a source's scenes, compare with its footprints, and draw one scene."""
    start = time.monotonic()
    area = Area.of(source.scenes, settings.gsd_m)
    found = detect_buildings(source.scenes, detector, settings).table.to_crs(area.crs)
    drawn = source.footprints.to_crs(area.crs)
    scores = score_footprints(found, drawn, within=area.extent)
    _draw(source, area, found, drawn, picture)
    values = {name: round(getattr(scores, name), 3) for name in ("f1", "precision", "recall", "pixel_iou")}
    return values | {"found": scores.found, "drawn": scores.drawn, "seconds": round(time.monotonic() - start, 1)}


def _draw(source: TrainingSource, area: Area, found: gpd.GeoDataFrame, drawn: gpd.GeoDataFrame, path: Path) -> None:
    """The scene with most buildings: drawn footprints in cyan, detected ones in red."""
    counts = [int(source.footprints.intersects(scene.extent).sum()) for scene in source.scenes]
    scene = source.scenes[int(np.argmax(counts))]
    middle = gpd.GeoSeries([scene.extent], crs="EPSG:4326").to_crs(area.crs).iloc[0].centroid
    column, row = (int(value) for value in ~area.grid.transform @ (middle.x, middle.y))
    square = Square(row - PICTURE_PX // 2, column - PICTURE_PX // 2, PICTURE_PX)
    pixels, _ = read_square(area, square, source.scenes)
    image = Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, 2)))
    pen, inverse = ImageDraw.Draw(image), ~area.transform_of(square)
    for table, colour in ((drawn, (0, 230, 255)), (found, (255, 40, 40))):
        for polygon in table.geometry[table.intersects(area.box_of(square))].explode():
            pen.line([inverse @ point[:2] for point in polygon.exterior.coords], fill=colour, width=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=85)


def run_part(part: str, events: Path, out: Path, steps: int, *, judge_only: bool) -> dict[str, object]:
    """Train one detector and judge it everywhere; its model and pictures go to `out`."""
    santa_rosa = event_source(events / TRAINED_ON)
    train_scenes, test_scenes = split_by_place(santa_rosa.scenes, HELD_OUT_SCENES, seed=0)
    others = [event_source(events / name) for name in OTHERS]
    settings = DetectionSettings()
    start = time.monotonic()
    if judge_only:
        detector = Detector.load(out / f"{part}.safetensors")
    else:
        sources = [TrainingSource(TRAINED_ON, train_scenes, santa_rosa.footprints)]
        detector = train_part(part, sources, others[-1], out, steps, gsd_m=settings.gsd_m)
        detector.save(out / f"{part}.safetensors")
    minutes = (time.monotonic() - start) / 60
    tests = [TrainingSource("santa-rosa-held-out", test_scenes, santa_rosa.footprints), *others, _town(out)]
    scores = {test.name: judge(detector, test, out / part / f"{test.name}.jpg", settings) for test in tests}
    return {"card": asdict(detector.card), "training_minutes": round(minutes, 1), "scores": scores}


def train_part(
    part: str, sources: list[TrainingSource], unlabelled: TrainingSource, out: Path, steps: int, *, gsd_m: float
) -> Detector:
    """The detector of one part; `unlabelled` is where self-training looks."""
    encoder = "efficientnet-lite0-scratch" if part == "scratch" else "efficientnet-lite0"
    share = 0.33 if part == "self-training" else 0.0
    training = DetectionTraining(encoder=encoder, steps=steps, minutes=None, self_training_share=share)
    if part == "simulated":
        sources = simulated_sources(out / "towns", seed=0)
    target = unlabelled if part == "self-training" else sources[0]
    return train_for(target.scenes, target.name, sources, training, gsd_m=gsd_m, progress=_tell)


def _town(out: Path) -> TrainingSource:
    """A drawn town that no part has learnt from."""
    folder = out / "test-town"
    if not (folder / "event.json").is_file():
        simulate(folder, SimulationSettings(buildings=300, hazard="earthquake", seed=9001))
    scene = inspect_scene(str(folder / "pre.tif"), scene_id="pre", role="pre", acquired=None, sensor=None)
    return TrainingSource("simulated-held-out", [scene], gpd.read_file(folder / "footprints.geojson"))


def _tell(done: int, total: int, remark: str) -> None:
    if done % 100 == 0:
        print(f"  {done / total:.0%} {remark}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--judge-only", action="store_true")
    given = parser.parse_args()
    for part in given.part or PARTS:
        result = run_part(part, given.shared / "data" / "events", given.out, given.steps, judge_only=given.judge_only)
        (given.out / f"{part}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(part, json.dumps(result, indent=1), flush=True)


if __name__ == "__main__":
    main()
