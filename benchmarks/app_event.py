"""A large event for the app: one simulated town laid side by side until there are enough footprints.

`python -m benchmarks.app_event DIR --footprints 300000` makes `DIR/workspace/large` (open it with
`make app WORKSPACE=DIR/workspace`) and `DIR/truth.csv`. What is honest and what is repeated:

- Imagery: one raster a side over the whole event (JPEG in tiles of 512 pixels, with overviews), whose pixels are those
  of the town again and again. Set up, inspected and read by the product like any other.
- Footprints: the town's, moved, each with an id of its own; read and checked by the product.
- Patches: the town's are cut by the product; the store of the event has an index row for every footprint, and its
  chunks are hard links to the town's, so that pairs are real but disk and time are those of one town.
- Features: the town's, made by the product, with reproducible noise on top, so that no two buildings are the same.
- A finished run: probabilities drawn around the truth, reproducible. It has no weights: nothing was trained.

Memory is bounded by a strip of imagery and the tables (300,000 footprints: about 1.5 GB).
"""

import argparse
import csv
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray

from damage_ssl import workflow
from damage_ssl.damage_scale import LabelValue, scheme_named
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.events.event import Event
from damage_ssl.files import atomic_directory, write_json
from damage_ssl.grid import crs_of_epsg, transformer
from damage_ssl.labels.label_log import LabelStore, NewLabel
from damage_ssl.learning.features.event_features import write_features
from damage_ssl.learning.features.linear_probe import FORMAT_VERSION, EventFeatures
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.patches.store import CHUNK_BUILDINGS, PatchStore, make_pairs, write_index
from damage_ssl.runs.predictions import prediction_table
from damage_ssl.runs.run import Run
from damage_ssl.settings import SplitSettings
from damage_ssl.simulation.event import SimulatedEvent, simulate
from damage_ssl.simulation.settings import SimulationSettings

NAME = "large"
TOWN_BUILDINGS = 1200
DAMAGED = (LabelValue.MAJOR_DAMAGE.value, LabelValue.DESTROYED.value)
_BLOCK_PX = 512


@dataclass(frozen=True)
class Layout:
    """How many towns lie side by side, and how far apart (pixels and metres)."""

    towns: int
    across: int
    width_px: int
    height_px: int
    gsd_m: float
    west_m: float
    north_m: float
    epsg: int

    @property
    def down(self) -> int:
        return -(-self.towns // self.across)

    def offset_m(self, town: int) -> tuple[float, float]:
        """How far east and north a town lies of the first one."""
        return (
            town % self.across * self.width_px * self.gsd_m,
            -(town // self.across) * self.height_px * self.gsd_m,
        )


def make_event(folder: Path, footprints: int, *, seed: int = 5, labels: int = 40, features: bool = True) -> Event:
    """Make the event in `folder/workspace`, in place of an older one of this script."""
    folder.mkdir(parents=True, exist_ok=True)
    workspace = folder / "workspace"
    drawn = _timed("town", lambda: simulate(folder / "town", SimulationSettings(buildings=TOWN_BUILDINGS, seed=seed)))
    town = _timed("town's patches", lambda: _town_event(folder / "town-workspace", drawn))
    truth = _truth(drawn, town)
    layout = _layout(drawn, -(-footprints // len(truth)))
    for role, source in (("pre", drawn.pre), ("post", drawn.post)):
        _timed(f"{role} imagery", lambda role=role, source=source: write_mosaic(folder / f"{role}.tif", source, layout))
    table = _timed("footprints", lambda: _moved_footprints(town, layout, footprints))
    table.to_parquet(folder / "footprints.parquet")
    shutil.rmtree(workspace / NAME, ignore_errors=True)
    event = _timed(
        "event",
        lambda: Event.create(
            workspace,
            NAME,
            pre=[folder / "pre.tif"],
            post=[folder / "post.tif"],
            footprints=folder / "footprints.parquet",
            hazard="earthquake",
            pre_datetime="2031-03-04T10:42:00Z",
            post_datetime="2031-08-19T13:57:00Z",
        ),
    )
    source = _timed("patch store", lambda: _write_store(event, town))
    grade = truth.loc[source["town_id"], "grade"].to_numpy(str)
    _write_truth(folder / "truth.csv", source["building_id"].to_numpy(str), grade)
    rng = np.random.default_rng(seed)
    _timed("run", lambda: _write_run(event, source, np.isin(grade, DAMAGED), rng))
    if features:
        _timed("features", lambda: _write_features(event, town, source, rng))
    _write_labels(event, source, grade, labels, rng)
    return event


def write_mosaic(path: Path, source: Path, layout: Layout) -> None:
    """The town's picture `layout.across` × `layout.down` times, strip by strip, with overviews."""
    with rasterio.open(source) as raster:
        pixels = raster.read()
    width, height = layout.across * layout.width_px, layout.down * layout.height_px
    profile = {
        "driver": "GTiff",
        "count": 3,
        "dtype": "uint8",
        "width": width,
        "height": height,
        "crs": f"EPSG:{layout.epsg}",
        "transform": Affine(layout.gsd_m, 0, layout.west_m, 0, -layout.gsd_m, layout.north_m),
        "tiled": True,
        "blockxsize": _BLOCK_PX,
        "blockysize": _BLOCK_PX,
        "compress": "jpeg",
        "photometric": "ycbcr",
        "jpeg_quality": 85,
        "interleave": "pixel",
        "BIGTIFF": "IF_SAFER",
    }
    with rasterio.open(path, "w", **profile) as out:
        for top in range(0, height, _BLOCK_PX):
            rows = np.arange(top, min(top + _BLOCK_PX, height)) % layout.height_px
            strip = np.tile(pixels[:, rows], (1, 1, layout.across))
            out.write(strip, window=rasterio.windows.Window(0, top, width, len(rows)))
    factors = [2**k for k in range(1, 12) if max(width, height) / 2**k >= _BLOCK_PX / 2]
    with (
        rasterio.Env(COMPRESS_OVERVIEW="JPEG", PHOTOMETRIC_OVERVIEW="YCBCR", INTERLEAVE_OVERVIEW="PIXEL"),
        rasterio.open(path, "r+") as out,
    ):
        out.build_overviews(factors, rasterio.enums.Resampling.average)


def _town_event(workspace: Path, drawn: SimulatedEvent) -> Event:
    shutil.rmtree(workspace, ignore_errors=True)
    inputs = {"pre": [drawn.pre], "post": [drawn.post], "footprints": drawn.footprints}
    event = Event.create(workspace, "town", **inputs)
    workflow.cut_patches(event)
    return event


def _truth(drawn: SimulatedEvent, town: Event) -> pd.DataFrame:
    truth = pd.read_csv(drawn.truth).set_index("building_id")
    return truth.loc[town.footprints()["building_id"]]


def _layout(drawn: SimulatedEvent, towns: int) -> Layout:
    with rasterio.open(drawn.pre) as raster:
        return Layout(
            towns=towns,
            across=int(np.ceil(np.sqrt(towns * raster.height / raster.width))),
            width_px=raster.width,
            height_px=raster.height,
            gsd_m=raster.transform.a,
            west_m=raster.transform.c,
            north_m=raster.transform.f,
            epsg=raster.crs.to_epsg(),
        )


def _moved_footprints(town: Event, layout: Layout, count: int) -> gpd.GeoDataFrame:
    there = town.footprints()
    flat = there.geometry.to_crs(layout.epsg).to_numpy()
    ids, shapes = [], []
    for number in range(layout.towns):
        shapes.append(shapely.transform(flat, lambda xy, by=layout.offset_m(number): xy + np.array(by)))
        ids += [f"t{number:04d}-{name}" for name in there["building_id"]]
    table = gpd.GeoDataFrame({"building_id": ids}, geometry=np.concatenate(shapes), crs=layout.epsg)
    return table.iloc[:count].to_crs(4326)


def _write_store(event: Event, town: Event) -> pd.DataFrame:
    """Every footprint's index row from the town's; returns building_id and town_id in the index's order."""
    store = PatchStore.open(town.patches_path)
    small = store.index().set_index("building_id", drop=False)
    table = event.footprints()
    ids = table["building_id"].astype(str).to_numpy()
    number = np.array([int(name[1:5]) for name in ids])
    town_id = np.array([name[6:] for name in ids])
    index = small.loc[town_id].reset_index(drop=True)
    chunks = -(-(int(small["row"].max()) + 1) // CHUNK_BUILDINGS)
    row = index["row"].to_numpy()
    index["row"] = np.where(row >= 0, row + number * chunks * CHUNK_BUILDINGS, -1)
    index["building_id"] = ids
    centre = shapely.centroid(table.geometry.to_numpy())
    index["lon"], index["lat"] = shapely.get_x(centre), shapely.get_y(centre)
    epsg = event.scenes("pre")[0].crs.to_epsg()
    index["x_m"], index["y_m"] = transformer(crs_of_epsg(4326), crs_of_epsg(epsg)).transform(index["lon"], index["lat"])
    for role in ("pre", "post"):
        (scene,) = event.scenes(role)
        index[f"{role}_image_id"] = index[f"{role}_image_id"].where(index[f"{role}_image_id"].isna(), scene.scene_id)
        index[f"{role}_datetime"] = None if scene.datetime is None else scene.datetime.isoformat()
    with atomic_directory(event.patches_path) as folder:
        towns = int(number.max()) + 1
        make_pairs(folder, list(store.views), store.settings.size_px, towns * chunks * CHUNK_BUILDINGS)
        _link_chunks(store.path / "pairs.zarr", folder / "pairs.zarr", towns, chunks)
        write_index(folder, index, f"{store.fingerprint}-{len(ids)}", store.settings, store.views)
    return pd.DataFrame({"building_id": ids, "town_id": town_id, "assessed": index["assessed"].to_numpy(bool)})


def _link_chunks(source: Path, target: Path, towns: int, chunks: int) -> None:
    for chunk in source.rglob("c.*"):
        number, rest = chunk.name.removeprefix("c.").split(".", 1)
        for town in range(towns):
            os.link(chunk, target / chunk.parent.relative_to(source) / f"c.{town * chunks + int(number)}.{rest}")


def _write_run(event: Event, source: pd.DataFrame, damaged: NDArray[np.bool_], rng: np.random.Generator) -> None:
    run = Run(event.runs_path / "20310820T060000000-fixmatch")
    run.path.mkdir(parents=True)
    plan = workflow.RunPlan(
        train=TrainSettings(algorithm="fixmatch"),
        split=SplitSettings(),
        train_id=(),
        train_class=(),
        validation_id=(),
        validation_class=(),
        block_m=150.0,
        patches_fingerprint=PatchStore.open(event.patches_path).fingerprint,
    )
    write_json(run.settings_path, plan.to_json())
    assessed = source["assessed"].to_numpy(bool)
    logit = np.where(damaged, 1.5, -1.5) + rng.normal(scale=1.2, size=len(damaged))
    p = 1 / (1 + np.exp(-logit[assessed]))
    ids = source.loc[assessed, "building_id"].to_numpy(str)
    table = prediction_table(ids, np.column_stack([1 - p, p]), scheme_named("binary-major"))
    table.to_parquet(run.predictions_path)
    calibration = Calibration(threshold=0.5, temperature=1.0, n_validation=0, n_damaged=0, method="drawn at random")
    calibration.write(run.calibration_path)
    run.set_status("finished", step=1, steps=1)


def _write_features(event: Event, town: Event, source: pd.DataFrame, rng: np.random.Generator) -> None:
    store = PatchStore.open(town.patches_path)
    index = store.index()
    write_features(
        store, index.loc[index["assessed"].to_numpy(bool), "building_id"].to_numpy(str), town.path / "features"
    )
    small = EventFeatures.read(town.path / "features")
    row_of = {name: row for row, name in enumerate(small.building_id.tolist())}
    there = source[source["assessed"].to_numpy(bool)]
    rows = np.array([row_of[name] for name in there["town_id"]])
    values = np.empty((len(rows), small.values.shape[1]), dtype=np.float32)
    spread = 0.1 * small.values.std(axis=0)
    for start in range(0, len(rows), 20_000):
        part = small.values[rows[start : start + 20_000]]
        values[start : start + len(part)] = part + rng.normal(size=part.shape).astype(np.float32) * spread
    fingerprint = PatchStore.open(event.patches_path).fingerprint
    ids = there["building_id"].to_numpy(str)
    with atomic_directory(event.path / "features") as folder:
        features = EventFeatures(ids, values, small.cluster[rows], fingerprint)
        features.write(folder, fingerprint=f"{FORMAT_VERSION}-{fingerprint}-64-0-{len(ids)}")


def _write_labels(
    event: Event, source: pd.DataFrame, grade: NDArray[np.str_], count: int, rng: np.random.Generator
) -> None:
    """`count` labels drawn at random over the event, as from the truth."""
    rows = rng.choice(np.flatnonzero(source["assessed"].to_numpy(bool)), size=count, replace=False)
    share = count / int(source["assessed"].sum())
    LabelStore(event.labels_path).add_many(
        NewLabel(
            building_id=str(source["building_id"].iloc[row]),
            value=LabelValue(str(grade[row])),
            labeller="truth",
            drawn="random",
            inclusion_probability=share,
        )
        for row in rows
    )


def _write_truth(path: Path, building_id: NDArray[np.str_], grade: NDArray[np.str_]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["building_id", "grade"])
        rows.writerows(zip(building_id.tolist(), grade.tolist(), strict=True))


def _timed(name: str, work):
    started = time.monotonic()
    result = work()
    print(f"{name}: {time.monotonic() - started:.1f} s", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--footprints", type=int, default=300_000)
    parser.add_argument("--labels", type=int, default=40, help="labels given already")
    parser.add_argument(
        "--no-features", action="store_true", help="leave the live model's features out (needs no torch)"
    )
    arguments = parser.parse_args()
    features = not arguments.no_features
    event = make_event(arguments.directory, arguments.footprints, labels=arguments.labels, features=features)
    print(f"{event.path}: {len(event.footprints()):,} footprints")


if __name__ == "__main__":
    main()
