"""Own code against the kept library that could stand in its place, in one run: resampling, masks, footprints by place.

    python -m benchmarks.kept_libraries [--grids 2000] [--rows 1000000] [--folder benchmarks/scratch/kept]

Each pair takes turns, in one thread; a row holds the median seconds of processor time of either and how the results
differ. `cv2` (opencv-python-headless) is no dependency: without it the first table is left out. The last table says
what becomes of files that are not as they should be.
"""

import argparse
import importlib
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize
from scipy import ndimage

from benchmarks.footprints import corners
from damage_ssl.footprints.reader import read_footprints
from damage_ssl.grid import GridBatch
from damage_ssl.imagery.chunks import Chunk
from damage_ssl.imagery.resampling import Placement, cut_grids, place_grids
from damage_ssl.mosaic.footprint_masks import footprint_masks

ROUNDS = 7
SIZE_PX, GSD_M = 64, 0.5
CRS_M = CRS.from_epsg(32632)
IMAGERY = (10.0, 50.0, 10.02, 50.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grids", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/scratch/kept"))
    given = parser.parse_args()
    print("| What | ours, s | library, s | library / ours | results |\n|---|---|---|---|---|")
    resampling(given.grids)
    masks(given.grids)
    by_place(given.folder, given.rows)
    print("\n| Parquet file | ours | geopandas.read_parquet(bbox=…) |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        odd_files(Path(folder))


def paired(ours: Callable[[], Any], library: Callable[[], Any]) -> tuple[float, float, Any, Any]:
    """Median seconds of processor time of both, taking turns, and what they gave."""
    seconds: tuple[list[float], list[float]] = ([], [])
    found = [None, None]
    for number in range(ROUNDS + 1):
        for which, work in enumerate((ours, library)):
            start = time.process_time()
            found[which] = work()
            if number:  # the first time warms up
                seconds[which].append(time.process_time() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1]), found[0], found[1]


def row(what: str, ours: float, library: float, note: str) -> None:
    print(f"| {what} | {ours:.3f} | {library:.3f} | {library / ours:.2f} | {note} |", flush=True)


def resampling(count: int) -> None:
    """Grids at an angle to the scene, and twice as coarse, all valid, then with a tenth of the pixels invalid."""
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError:
        return
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(0, 1, (2048, 2048, 3)), (0.7, 0.7, 0))  # roofs have hard edges
    colour = np.clip(128 + 150 * smooth, 0, 255).astype(np.uint8)
    x, y = (500_000 + rng.uniform(40, 980, count) for _ in range(2))
    for step, holes in ((1.0, 0.0), (1.0, 0.1), (1.6, 0.0)):
        scene_gsd = GSD_M / step
        transform = (
            Affine.translation(500_000, 500_000 + 2048 * scene_gsd)
            @ Affine.rotation(-3)
            @ Affine.scale(scene_gsd, -scene_gsd)
        )
        alpha = np.where(ndimage.gaussian_filter(rng.normal(0, 1, (2048, 2048)), 20) < -1.28 * 0.014, 0, 255)
        valid = np.where(holes > 0, alpha, 255).astype(np.uint8)
        pixels = np.dstack([np.where(valid[..., None] > 0, colour, 0), valid])
        centre_x, centre_y = transform @ (1024, 1024)
        spread = 400 / step
        grids = GridBatch(
            CRS_M, centre_x + (x - x.mean()) / 980 * spread, centre_y + (y - y.mean()) / 980 * spread, SIZE_PX, GSD_M
        )
        place = place_grids(grids, CRS_M, transform, scene_gsd)
        chunk = Chunk(pixels, 0, 0)

        def ours(chunk: Chunk = chunk, place: Placement = place) -> NDArray[np.uint8]:
            return cut_grids(chunk, place)[0]

        def library(pixels: NDArray[np.uint8] = pixels, place: Placement = place) -> NDArray[np.uint8]:
            return remapped(cv2, pixels, place)

        mine, its, found, other = paired(ours, library)
        exact = exactly(pixels, place, range(0, count, 20))
        there = np.isfinite(exact)
        errors = [np.abs(each[::20].astype(float) - exact)[there] for each in (found, other)]
        what = f"bilinear, {count:,} grids at an angle, step {step:g}, {holes:.0%} invalid: cv2.remap"
        said = [f"{each.mean():.2f} (largest {each.max():.1f})" for each in errors]
        row(what, mine, its, f"mean deviation from float64 in levels: ours {said[0]}, cv2 {said[1]}")


def remapped(cv2: Any, pixels: NDArray[np.uint8], place: Placement) -> NDArray[np.uint8]:
    """What `cut_grids` does, by cv2.remap: four bytes a pixel, then divided by the weight of what is valid."""
    samples = 2 if place.step_px > 1.25 else 1
    across = SIZE_PX * samples
    centres = (2 * np.arange(across, dtype=np.float32) + 1) / across - 1
    out = np.empty((len(place.where.coefficients), 3, SIZE_PX, SIZE_PX), dtype=np.uint8)
    for number, axis in enumerate(place.where.coefficients.astype(np.float32)):
        columns, rows = (each[0] * centres + each[1] * centres[:, None] + (each[2] - 0.5) for each in axis)
        cut = cv2.remap(pixels, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if samples > 1:
            cut = cv2.resize(cut, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA)
        weight = cut[..., 3:]
        if weight.min() < 255:
            shade = np.rint(cut[..., :3] * (255 / np.maximum(weight, 1).astype(np.float32)))
            cut = np.where(weight >= 128, np.minimum(shade, 255), 0).astype(np.uint8)
        out[number] = np.moveaxis(cut[..., :3], -1, 0)
    return out


def exactly(pixels: NDArray[np.uint8], place: Placement, chosen: range) -> NDArray[np.float64]:
    """Some grids in float64 by scipy, not rounded: [n, 3, H, W], NaN where not valid."""
    samples = 2 if place.step_px > 1.25 else 1
    across = SIZE_PX * samples
    centres = (2 * np.arange(across) + 1) / across - 1
    out = np.empty((len(chosen), 4, SIZE_PX, SIZE_PX))
    for number, axis in enumerate(place.where.coefficients[chosen]):
        columns, rows = (each[0] * centres + each[1] * centres[:, None] + (each[2] - 0.5) for each in axis)
        for band in range(4):
            sampled = ndimage.map_coordinates(pixels[..., band].astype(float), [rows, columns], order=1, mode="nearest")
            out[number, band] = sampled.reshape(SIZE_PX, samples, SIZE_PX, samples).mean(axis=(1, 3))
    weight = out[:, 3:] / 255
    return np.where(weight >= 0.5, out[:, :3] / np.maximum(weight, 1e-9), np.nan)


def masks(count: int) -> None:
    """Footprints of one to three parts, some with a court, each on its own grid."""
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, 2000, (2, count))
    geometry = np.empty(count, dtype=object)
    for number in range(count):
        wide, high = rng.uniform(5, 18, 2)
        house = shapely.box(-wide / 2, -high / 2, wide / 2, high / 2)
        if number % 3 == 0:  # an L
            house = house.difference(shapely.box(0, 0, wide, high))
        if number % 5 == 0:
            house = house.difference(shapely.box(-wide / 4, -high / 4, -wide / 8, -high / 8))
        if number % 11 == 0:
            house = shapely.MultiPolygon([house, shapely.box(wide / 2 + 1, 0, wide / 2 + 3, 2)])
        turned = shapely.affinity.rotate(house, float(rng.uniform(0, 90)), origin=(0, 0))
        geometry[number] = shapely.affinity.translate(turned, x[number], y[number])
    half = SIZE_PX * GSD_M / 2

    def ours() -> NDArray[np.bool_]:
        return footprint_masks(geometry, x, y, size_px=SIZE_PX, gsd_m=GSD_M)

    def library() -> NDArray[np.bool_]:
        drawn = np.empty((count, SIZE_PX, SIZE_PX), dtype=bool)
        with rasterio.Env():
            for number in range(count):
                corner = Affine.translation(x[number] - half, y[number] + half) @ Affine.scale(GSD_M, -GSD_M)
                drawn[number] = rasterize(
                    [geometry[number]], out_shape=(SIZE_PX, SIZE_PX), transform=corner, dtype=np.uint8
                )
        return drawn

    mine, its, found, other = paired(ours, library)
    note = f"{np.count_nonzero(found != other):,} of {np.count_nonzero(other):,} pixels differ"
    row(f"masks of {count:,} footprints: rasterio.features.rasterize", mine, its, note)


READERS = {
    "ours": """
from damage_ssl.footprints.reader import read_footprints
work = lambda: len(read_footprints(Path(path), imagery=shapely.box(*box)).table)
""",
    "library": """
def work():
    table = geopandas.read_parquet(path, bbox=wide)
    return int(table.intersects(shapely.box(*wide)).sum())
""",
}
MEASURE = """
import json, re, sys, time
from pathlib import Path
import geopandas, shapely, damage_ssl.footprints.reader
path, box, wide = sys.argv[1], {box}, {wide}
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
before, start = peak(), time.process_time()
{reader}
count = work()
print(json.dumps([count, time.process_time() - start, peak() - before]))
"""


def by_place(folder: Path, rows: int) -> None:
    """The buildings of one town out of a country's GeoParquet, in a process each."""
    import subprocess

    path = country(folder, rows)
    found: dict[str, list[tuple[int, float, float]]] = {"ours": [], "library": []}
    wide = (9.986, 49.991, 10.034, 50.029)
    for _ in range(ROUNDS):
        for name, reader in READERS.items():
            code = MEASURE.format(box=IMAGERY, wide=wide, reader=reader)
            said = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
            found[name].append(tuple(json.loads(said.stdout.splitlines()[-1])))
    (count, mine, little), (other, its, much) = (
        sorted(each, key=lambda one: one[1])[ROUNDS // 2] for each in found.values()
    )
    note = f"{count:,} and {other:,} buildings; {little:,.0f} and {much:,.0f} MB above the imports"
    row(f"{count:,} of {rows:,} footprints of a GeoParquet file: geopandas.read_parquet(bbox=…)", mine, its, note)


def country(folder: Path, rows: int) -> Path:
    """A GeoParquet 1.1 file with a covering `bbox`, sorted by place within each hundred thousand rows."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{rows}.parquet"
    if not path.exists():
        places = np.concatenate([each[np.lexsort(each.T)] for _, each in corners(rows)])
        write(path, shapely.to_wkb(shapely.box(*places.T, *(places + 0.0001).T)), places)
    return path


def write(path: Path, wkb: Any, places: NDArray[np.float64], *, covering: bool = True, geo: bool = True) -> None:
    names = ("xmin", "ymin", "xmax", "ymax")
    sides = np.concatenate([places, places + 0.0001], axis=1).T
    bounds = pa.StructArray.from_arrays([pa.array(side, pa.float32()) for side in sides], names=list(names))
    columns = {"id": [str(number) for number in range(len(places))], "geometry": pa.array(wkb, pa.binary())}
    about: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["Polygon"]}
    if covering:
        about["covering"] = {"bbox": {name: ["bbox", name] for name in names}}
    said = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": about}}
    table = pa.table({**columns, "bbox": bounds})
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(said)} if geo else {}), path, row_group_size=10_000)


def odd_files(folder: Path) -> None:
    """Fifty houses in files that are not as they should be."""
    places = np.stack([np.linspace(10.001, 10.019, 50), np.linspace(50.001, 50.019, 50)], axis=1)
    wkb = shapely.to_wkb(shapely.box(*places.T, *(places + 0.0001).T)).tolist()
    unclosed = [*wkb]
    unclosed[7] = wkb[7][:-16] + np.array([10.5, 50.5]).tobytes()  # the last point is another than the first
    broken = [*wkb[:20], b"no geometry", *wkb[21:]]
    crossed = [*wkb]
    x, y = places[9]
    crossed[9] = shapely.to_wkb(shapely.Polygon([(x, y), (x + 1e-4, y + 1e-4), (x + 1e-4, y), (x, y + 1e-4)]))
    files: dict[str, tuple[Any, dict[str, bool]]] = {
        "as it should be": (wkb, {}),
        "a ring that does not close": (unclosed, {}),
        "a ring that crosses itself": (crossed, {}),
        "row 21 is no WKB": (broken, {}),
        "no covering in its metadata (GeoParquet 1.0)": (wkb, {"covering": False}),
        "no GeoParquet metadata": (wkb, {"geo": False}),
    }
    for what, (values, options) in files.items():
        path = folder / "houses.parquet"
        write(path, values, places, **options)
        said = [
            tried(lambda path=path: len(read_footprints(path, imagery=shapely.box(*IMAGERY)).table)),
            tried(lambda path=path: len(gpd.read_parquet(path, bbox=IMAGERY))),
        ]
        print(f"| {what} | {said[0]} | {said[1]} |", flush=True)


def tried(work: Callable[[], int]) -> str:
    try:
        return f"{work()} buildings"
    except Exception as error:
        return f"{type(error).__name__}: {re.sub(r'/[^ ]*/', '', str(error))[:110]}"


if __name__ == "__main__":
    main()
