"""Known shifts put into the post scenes and the footprints of events: are they found, and what do they cost?

    python -m benchmarks.registration                                   # recovered error on all events
    python -m benchmarks.registration --events simulated-wind_101_0.8   # with this seed and pixel size
    python -m benchmarks.registration --auroc santa-rosa-wildfire       # training with 4 m shifts, with and without

Protocol of the errors. An event is registered as it is, then with each post scene turned about its centre and moved,
and all footprints moved: angle, lengths and directions are drawn anew for each scene, up to 1° and 8 m. A building's
error is how far the difference of the two registrations is from what was put in, in pixels of 0.5 m. Scenes that are
only moved get another geotransform, turned ones are resampled (cubic) onto their old grid. That measures
repeatability: with real events, and with leaning roofs, there is no one true shift.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from damage_ssl.damage_scale import LabelValue
from damage_ssl.events.event import Event
from damage_ssl.grid import crs_of_epsg, transformer, utm_epsg
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.registration.event_registration import Registration
from damage_ssl.settings import PatchSettings
from damage_ssl.simulation.event import simulate
from damage_ssl.simulation.settings import SimulationSettings
from damage_ssl.workflow import cut_patches, register_event

SIMULATED = ("simulated-earthquake", "simulated-fire", "simulated-flood", "simulated-wind")
REAL = (
    "santa-rosa-wildfire",
    "hurricane-harvey",
    "hurricane-florence",
    "mexico-earthquake",
    "joplin-tornado-mixed-crs",
)
PIXEL_M = 0.5
MOST_M = 8.0
MOST_DEGREES = 1.0


@dataclass(frozen=True)
class Inputs:
    """Files of an event."""

    pre: list[Path]
    post: list[Path]
    footprints: Path

    def create(self, workspace: Path, name: str) -> Event:
        return Event.create(workspace, name, pre=self.pre, post=self.post, footprints=self.footprints)


@dataclass(frozen=True)
class Motion:
    """What is done to a scene: a turn about (x, y), radians counter-clockwise, then a shift in metres."""

    x: float
    y: float
    angle: float
    shift_m: NDArray[np.float64]

    def moved(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where what lies at `points` [N, 2] comes to lie."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        centre = np.array([self.x, self.y])
        out: NDArray[np.float64] = centre + (points - centre) @ np.array([[c, s], [-s, c]]) + self.shift_m
        return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", nargs="+", default=[*SIMULATED, *REAL])
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", default=["moved", "moved-and-turned"])
    parser.add_argument("--out", type=Path, help="CSV of all buildings")
    parser.add_argument("--scratch", type=Path, help="where inputs and events are kept (default: a temporary folder)")
    parser.add_argument("--auroc", nargs="*", default=None, metavar="EVENT", help="train on shifted events instead")
    parser.add_argument("--algorithm", default="frozen-start")
    parser.add_argument("--labels", type=int, default=25, help="labels a class")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    arguments = parser.parse_args()
    if arguments.auroc is not None:
        for name in arguments.auroc:
            measure_auroc(name, arguments.algorithm, arguments.labels, arguments.seeds)
        return
    with tempfile.TemporaryDirectory() as temporary:
        scratch = arguments.scratch or Path(temporary)
        tables = [
            table for name in arguments.events for table in errors_of(name, arguments.kinds, arguments.draws, scratch)
        ]
    report(pd.concat(tables))
    if arguments.out:
        pd.concat(tables).to_csv(arguments.out, index=False)


def inputs_of(name: str, scratch: Path) -> Inputs:
    """The files of a real event, or of a simulated one, drawn now."""
    hazard, *drawn = name.split("_")
    if hazard in SIMULATED:
        seed, gsd_m = drawn or ("3", str(PIXEL_M))
        folder = scratch / "inputs" / name
        if not (folder / "event.json").exists():
            kind = hazard.removeprefix("simulated-")
            simulate(folder, SimulationSettings(hazard=kind, seed=int(seed), gsd_m=float(gsd_m)))
        return Inputs([folder / "pre.tif"], [folder / "post.tif"], folder / "footprints.geojson")
    folder = Path(os.environ.get("DAMAGE_SSL_SHARED", "../shared")) / "data" / "events" / name
    sides = [sorted((folder / role).glob("*.tif")) for role in ("pre", "post")]
    return Inputs(sides[0], sides[1], folder / "footprints.geojson")


def errors_of(name: str, kinds: Sequence[str], draws: int, scratch: Path) -> list[pd.DataFrame]:
    """One row a building, draw and kind: pixels between what was put in and what was found."""
    given = inputs_of(name, scratch)
    settings = PatchSettings()
    event = (
        given.create(scratch / "events", name)
        if not (scratch / "events" / name).exists()
        else Event.open(scratch / "events", name)
    )
    (event.path / "registration.parquet").unlink(missing_ok=True)
    started = time.process_time()
    base = register_event(event, settings)
    seconds = time.process_time() - started
    print(f"{name}: {len(base.table)} buildings in {seconds:.1f} s of processor time; {sources(base)}", flush=True)
    tables = []
    for kind in kinds:
        for seed in range(draws):
            rng = np.random.default_rng([seed, len(kind)])
            folder = Path(tempfile.mkdtemp(dir=scratch))
            try:
                changed, motions, footprint_m = disturbed(given, folder, rng, turned=kind != "moved")
                other = register_event(changed.create(folder / "events", name), settings)
                table = compared(event, base, other, motions, footprint_m)
            finally:
                shutil.rmtree(folder)
            tables.append(table.assign(event=name, kind=kind, seed=seed))
            seen = table[table["seen"]]
            print(
                f"  {kind} {seed}: pair {quantiles(seen['pair_px'])}; footprints {quantiles(seen['footprint_px'])}; "
                f"{sources(other)}",
                flush=True,
            )
    return tables


def disturbed(
    given: Inputs, folder: Path, rng: np.random.Generator, *, turned: bool, length_m: float | None = None
) -> tuple[Inputs, dict[str, Motion], NDArray[np.float64]]:
    """The inputs with known shifts, what was done to each post scene, and how far the footprints were moved."""
    folder.mkdir(parents=True, exist_ok=True)
    table = gpd.read_file(given.footprints)
    left, bottom, right, top = table.total_bounds
    crs = crs_of_epsg(utm_epsg((left + right) / 2, (bottom + top) / 2))
    footprint_m = drawn_shift(rng, length_m)
    moved = table.to_crs(crs)
    moved["geometry"] = moved.geometry.translate(*footprint_m)
    moved.to_crs(4326).to_file(folder / "footprints.geojson")
    motions, paths = {}, []
    for path in given.post:
        motion = write_disturbed(path, folder / "post" / path.name, crs, rng, turned=turned, length_m=length_m)
        motions[path.stem] = motion
        paths.append(folder / "post" / path.name)
    return Inputs(given.pre, paths, folder / "footprints.geojson"), motions, footprint_m


def drawn_shift(rng: np.random.Generator, length_m: float | None = None) -> NDArray[np.float64]:
    """A shift in any direction, of this length or any up to the longest."""
    way, length = rng.uniform(0, 2 * np.pi), rng.uniform(0, MOST_M)
    length = length if length_m is None else length_m
    return np.array([length * np.cos(way), length * np.sin(way)])


def write_disturbed(
    path: Path, out: Path, crs: object, rng: np.random.Generator, *, turned: bool, length_m: float | None
) -> Motion:
    """Copy a scene, moved and perhaps turned about its centre."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path) as source:
        pixels, valid, profile = source.read([1, 2, 3]), source.dataset_mask() > 127, source.profile
        transform = source.transform
        to_metres = transformer(crs_of_epsg(source.crs.to_epsg()), crs)
    corners = [(0, 0), (source.width, 0), (0, source.height), (source.width / 2, source.height / 2)]
    x, y = to_metres.transform(*zip(*(transform @ corner for corner in corners), strict=True))
    # Metres a pixel to the right and down: [2, 2], columns (right, down).
    step = np.array(
        [
            [(x[1] - x[0]) / source.width, (x[2] - x[0]) / source.height],
            [(y[1] - y[0]) / source.width, (y[2] - y[0]) / source.height],
        ]
    )
    angle = float(np.radians(rng.uniform(-MOST_DEGREES, MOST_DEGREES))) if turned else 0.0
    motion = Motion(float(x[3]), float(y[3]), angle, drawn_shift(rng, length_m))
    shift_px = np.linalg.solve(step, motion.shift_m)
    if turned:
        c, s = np.cos(angle), np.sin(angle)
        # An output pixel takes what lay at the place that the turn brings there.
        back = np.linalg.inv(step) @ np.array([[c, s], [-s, c]]) @ step  # in (column, row)
        matrix = back[::-1, ::-1]  # in (row, column)
        middle = np.array([(source.height - 1) / 2, (source.width - 1) / 2])
        offset = middle - matrix @ middle
        bands = [
            ndimage.affine_transform(band.astype(np.float32), matrix, offset, order=3, mode="nearest")
            for band in pixels
        ]
        inside = ndimage.affine_transform(valid.astype(np.float32), matrix, offset, order=1, cval=0.0) > 0.99
        pixels, valid = np.clip(np.rint(bands), 1, 255).astype(np.uint8), inside
    else:
        pixels = np.maximum(pixels, 1)
    pixels[:, ~valid] = 0
    for key in ("photometric", "compress", "interleave"):
        profile.pop(key, None)
    profile |= {
        "driver": "GTiff", "count": 3, "nodata": 0, "compress": "deflate",
        "transform": transform @ rasterio.Affine.translation(*shift_px),
    }  # fmt: skip
    with rasterio.open(out, "w", **profile) as target:
        target.write(pixels)
    return motion


def compared(
    event: Event, base: Registration, other: Registration, motions: dict[str, Motion], footprint_m: NDArray[np.float64]
) -> pd.DataFrame:
    """Error of each building in pixels: found less what was found before, less what was put in."""
    geometry = event.footprints().geometry
    left, bottom, right, top = geometry.total_bounds
    crs = crs_of_epsg(utm_epsg((left + right) / 2, (bottom + top) / 2))
    boxes = shapely.bounds(geometry.to_crs(crs).to_numpy())
    drawn = np.column_stack([(boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2])
    one, two = base.table, other.table.set_index("building_id").loc[base.table["building_id"]].reset_index()
    pair, footprint = ["shift_x_m", "shift_y_m"], ["footprint_shift_x_m", "footprint_shift_y_m"]
    in_pre = drawn + one[footprint].to_numpy()
    in_post = in_pre + one[pair].to_numpy()
    expected = np.full((len(one), 2), np.nan)
    for scene, motion in motions.items():
        rows = np.asarray([table["registered_post_image"] == f"post-{scene}" for table in (one, two)]).all(axis=0)
        expected[rows] = motion.moved(in_post[rows]) - in_pre[rows]
    seen = np.isfinite(expected[:, 0])
    pair_px = np.hypot(*(two[pair].to_numpy() - expected).T) / PIXEL_M
    footprint_px = np.hypot(*(two[footprint].to_numpy() - one[footprint].to_numpy() + footprint_m).T) / PIXEL_M
    both = two[pair].to_numpy() + two[footprint].to_numpy() - expected - one[footprint].to_numpy() + footprint_m
    return pd.DataFrame(
        {
            "building_id": one["building_id"],
            "seen": seen,
            "put_in_m": np.hypot(*(expected - one[pair].to_numpy()).T),
            "pair_px": pair_px,
            "footprint_px": np.where(seen, footprint_px, np.nan),
            "both_px": np.hypot(*both.T) / PIXEL_M,
            "source": two["shift_source"],
            "footprint_source": two["footprint_shift_source"],
            "misaligned": two["misaligned"],
        }
    )


def measure_auroc(name: str, algorithm: str, labels: int, seeds: Sequence[int]) -> None:
    """AUROC on held-out blocks: as delivered, and with post scenes and footprints moved by 4 m, registered or not."""
    from benchmarks.accuracy import SCHEME, Buildings, Case, measure

    settings = {"as delivered": "building", "moved 4 m, registered": "building", "moved 4 m, as it is": "off"}
    given = inputs_of(name, Path())
    grades = pd.read_csv(given.footprints.parent / "labels.csv").set_index("building_id")["grade"]
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        moved, _, _ = disturbed(given, scratch / "moved", np.random.default_rng(0), turned=False, length_m=4.0)
        pairs, place = {}, None
        for number, (variant, align) in enumerate(settings.items()):
            files = given if variant == "as delivered" else moved
            store = cut_patches(files.create(scratch / str(number), name), PatchSettings(align=align))
            pairs[variant] = store.load()
            place = store.index().set_index("building_id") if place is None else place
            reasons = store.index()["not_assessed_reason"].value_counts().to_dict()
            print(f"{name}, {variant}: {len(pairs[variant])} pairs, {json.dumps(reasons)}", flush=True)
        shared = set.intersection(*(set(each.building_id.tolist()) for each in pairs.values()))
        known = {each: SCHEME.index_of(LabelValue(grades[each])) for each in shared if each in grades.index}
        ids = np.array(sorted(each for each, index in known.items() if index is not None))
        for variant, each in pairs.items():
            buildings = Buildings(
                pairs=each.take(each.rows_of(ids)),
                class_index=np.array([known[building] for building in ids.tolist()]),
                x_m=place.loc[ids, "x_m"].to_numpy(float),
                y_m=place.loc[ids, "y_m"].to_numpy(float),
            )
            rows = [measure(Case(name, algorithm, labels, seed), buildings, TrainSettings()) for seed in seeds]
            values = [row["auroc"] for row in rows]
            print(
                f"| {name} | {variant} | {np.mean(values):.3f} | {', '.join(f'{v:.3f}' for v in values)} |", flush=True
            )


def sources(registration: Registration) -> str:
    table = registration.table[registration.table["registered_post_image"].notna()]
    counts = table["shift_source"].value_counts().to_dict()
    return json.dumps(counts | {"misaligned": int(table["misaligned"].sum())})


def quantiles(error_px: pd.Series) -> str:
    return f"median {error_px.median():.2f} px, 90 % {error_px.quantile(0.9):.2f}"


def report(table: pd.DataFrame) -> None:
    """A Markdown table: one line an event and kind."""
    columns = (
        "event",
        "kind",
        "buildings",
        "put in, median m",
        "post against pre: median px",
        "90 %",
        "99 %",
        "footprints: median px",
        "90 %",
        "own match",
        "misaligned",
    )
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for (event, kind), rows in table[table["seen"]].groupby(["event", "kind"], sort=False):
        pair, foot = rows["pair_px"], rows["footprint_px"]
        print(
            f"| {event} | {kind} | {len(rows)} | {rows['put_in_m'].median():.1f} | {pair.median():.2f} | "
            f"{pair.quantile(0.9):.2f} | {pair.quantile(0.99):.2f} | {foot.median():.2f} | {foot.quantile(0.9):.2f} | "
            f"{(rows['source'] == 'own').mean():.0%} | {rows['misaligned'].mean():.1%} |"
        )


if __name__ == "__main__":
    main()
