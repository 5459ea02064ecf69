"""Extraction on a generated pair of 20,000 × 20,000 px: speed against the decoder, memory, workers, a Dask cluster.

    python -m benchmarks.patch_extraction                       # all parts, under 10 minutes and 6 GB in a temp folder
    python -m benchmarks.patch_extraction --parts dense sparse --side 8000 --buildings 20000

Speeds of one process are by its processor time (imagery lies in the page cache, nothing waits), the best of `--repeat`
runs taken in turns with what they are compared to, so that other load on the machine does not count; speeds of several
processes are by the clock.
Registration has its own benchmark: shifts are switched off here, but for the line that says so.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from benchmarks.large_event import Imagery, make_event, write_footprints, write_scene
from damage_ssl.events.event import Event
from damage_ssl.imagery.bands import FILL_REACH_PX
from damage_ssl.imagery.raster import close_rasters
from damage_ssl.imagery.scene import Scene
from damage_ssl.mosaic import pair_mosaic, scene_windows
from damage_ssl.mosaic.batches import make_batches
from damage_ssl.mosaic.pair_mosaic import View, plan_reading
from damage_ssl.patches import pair_cutting
from damage_ssl.settings import PatchSettings, Resources
from damage_ssl.workflow import cut_patches

SETTINGS = PatchSettings(align="off")
VIEW = View(64, 0.5)
PARTS = ("dense", "sparse", "foreign", "memory", "workers", "flat", "cluster")


class Timer:
    """Processor time spent in a function of a module or class while the block runs."""

    def __init__(self, module: Any, name: str) -> None:
        self._module, self._name, self.seconds = module, name, 0.0

    def __enter__(self) -> "Timer":
        self._function = getattr(self._module, self._name)

        def timed(*args: Any, **options: Any) -> Any:
            start = time.process_time()
            result = self._function(*args, **options)
            self.seconds += time.process_time() - start
            return result

        setattr(self._module, self._name, timed)
        return self

    def __exit__(self, *_: object) -> None:
        setattr(self._module, self._name, self._function)


def cut_all(event: Event) -> int:
    """Read and cut every pair, keep none."""
    pre, post = event.scenes("pre"), event.scenes("post")
    batches = make_batches(event.footprints(), pre + post, 32.0)
    return sum(len(part.rows) for batch in batches for part in plan_reading(batch, pre, post, [VIEW]).sides())


def best(function: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """Least seconds of processor time of some runs, each with cold block caches, and the last result."""
    seconds = []
    for _ in range(repeat):
        close_rasters()
        start = time.process_time()
        result = function()
        seconds.append(time.process_time() - start)
    return min(seconds), result


def blocks_read(event: Event) -> dict[str, set[tuple[int, int]]]:
    """The file blocks of each scene that extraction touches."""
    touched: dict[str, set[tuple[int, int]]] = {}
    read = scene_windows.read_chunks

    def noting(scene: Scene, windows: Sequence[Any], **more: Any) -> Any:
        with rasterio.open(scene.href) as source:
            size = source.block_shapes[0][0]
        blocks = touched.setdefault(scene.href, set())
        for columns, rows in windows:
            left, right = max(0, columns[0] - FILL_REACH_PX), min(scene.width, columns[1] + FILL_REACH_PX)
            top, bottom = max(0, rows[0] - FILL_REACH_PX), min(scene.height, rows[1] + FILL_REACH_PX)
            blocks |= set(product(range(top // size, -(-bottom // size)), range(left // size, -(-right // size))))
        return read(scene, windows, **more)

    scene_windows.read_chunks = noting
    try:
        cut_all(event)
    finally:
        scene_windows.read_chunks = read
    return touched


def decode(blocks: dict[str, set[tuple[int, int]]]) -> int:
    """Decode these blocks and do nothing with them."""
    count = 0
    for href, places in blocks.items():
        with rasterio.open(href) as source:
            size = source.block_shapes[0][0]
            for row, column in sorted(places):
                height, width = min(size, source.height - row * size), min(size, source.width - column * size)
                source.read([1, 2, 3], window=Window(column * size, row * size, width, height))
                count += 1
    return count


def against_decoding(event: Event, repeat: int) -> dict[str, float]:
    """Pairs a second, and the share of the time that the decoder alone needs for the same blocks."""
    blocks = blocks_read(event)
    ours, theirs, masks = [], [], []
    for _ in range(repeat):  # in turns, so that other load on the machine meets both
        close_rasters()
        with Timer(pair_mosaic, "footprint_masks") as drawing:
            seconds, pairs = best(lambda: cut_all(event), 1)
        ours.append(seconds)
        masks.append(drawing.seconds)
        theirs.append(best(lambda: decode(blocks), 1)[0])
    least = int(np.argmin(ours))
    return {
        "pairs": pairs,
        "read_and_cut_pairs_s": round(pairs / (ours[least] - masks[least])),
        "with_masks_pairs_s": round(pairs / ours[least]),
        "blocks": sum(map(len, blocks.values())),
        "decode_s": round(min(theirs), 2),
        "ours_s": round(min(ours), 2),
        "share_of_decode_limit": round(min(theirs) / min(ours), 3),
    }


def each_building(event: Event) -> dict[str, float]:
    """Microseconds of a building: from the footprints file to both dates cut and masks drawn."""
    seconds, pairs = best(lambda: cut_all(event), 1)
    return {"footprints": pairs, "us_a_building": round(1e6 * seconds / pairs, 1)}


def stages(event: Event) -> dict[str, float]:
    """Microseconds a pair of each part of a whole extraction with the store on disk, in this process."""
    names = [(pair_mosaic, "footprint_masks"), (pair_cutting, "measure_quality")]
    timers = [Timer(*name) for name in names]
    for timer in timers:
        timer.__enter__()
    writing = Timer(pair_cutting.RowWriter, "write")
    closing = Timer(pair_cutting.RowWriter, "close")
    try:
        with writing, closing:
            seconds, store = best(lambda: _afresh(event, Resources()), 1)
    finally:
        for timer in timers:
            timer.__exit__()
    pairs = len(store)
    each = {"masks": timers[0].seconds, "quality": timers[1].seconds, "store": writing.seconds + closing.seconds}
    each["read, cut and the rest"] = seconds - sum(each.values())
    size = sum(path.stat().st_size for path in store.path.rglob("*") if path.is_file())
    return {
        "pairs_s_all_on_disk": round(pairs / seconds),
        **{f"us_{name}": round(1e6 * spent / pairs, 1) for name, spent in each.items()},
        "store_bytes_a_pair": round(size / pairs),
    }


def against_warped_vrt(event: Event, repeat: int) -> dict[str, float]:
    """Pairs a second from scenes in other CRSs, against one WarpedVRT a building and against one a scene."""
    pre, post = event.scenes("pre"), event.scenes("post")
    batch = max(make_batches(event.footprints(), pre + post, 32.0), key=len)
    some = np.arange(min(300, len(batch)))

    def each_its_own() -> int:
        with rasterio.open(pre[0].href) as one, rasterio.open(post[0].href) as other:
            for row in some:
                corner = Affine(0.5, 0, batch.x_m[row] - 16, 0, -0.5, batch.y_m[row] + 16)
                for source in (one, other):
                    options = {"crs": f"EPSG:{batch.epsg}", "transform": corner, "width": 64, "height": 64}
                    with WarpedVRT(source, resampling=Resampling.bilinear, **options) as warped:
                        warped.read([1, 2, 3])
        return len(some)

    def one_a_scene() -> int:
        options = {"crs": f"EPSG:{batch.epsg}", "resampling": Resampling.bilinear}
        with (
            rasterio.open(pre[0].href) as one,
            rasterio.open(post[0].href) as other,
            WarpedVRT(one, **options) as first,
            WarpedVRT(other, **options) as second,
        ):
            for row in some:
                x, y = batch.x_m[row], batch.y_m[row]
                for warped in (first, second):
                    window = warped.window(x - 16, y - 16, x + 16, y + 16)
                    warped.read([1, 2, 3], window=window, out_shape=(3, 64, 64))
        return len(some)

    speeds: dict[str, list[float]] = {"ours": [], "vrt_a_building": [], "vrt_a_scene": []}
    for _ in range(repeat):
        for name, work in (
            ("ours", lambda: cut_all(event)),
            ("vrt_a_building", each_its_own),
            ("vrt_a_scene", one_a_scene),
        ):
            seconds, pairs = best(work, 1)
            speeds[name].append(pairs / seconds)
    found = {f"{name}_pairs_s": round(max(values)) for name, values in speeds.items()}
    found["times_vrt_a_building"] = round(max(speeds["ours"]) / max(speeds["vrt_a_building"]), 1)
    found["times_vrt_a_scene"] = round(max(speeds["ours"]) / max(speeds["vrt_a_scene"]), 1)
    return found


def _afresh(event: Event, resources: Resources, **more: Any) -> Any:
    (event.patches_path / "store.json").unlink(missing_ok=True)
    return cut_patches(event, SETTINGS, resources=resources, **more)


def apart(event: Event, workers: int) -> dict[str, float]:
    """An extraction in a process of its own: by the clock, and the peaks of resident memory of all its processes."""
    (event.patches_path / "store.json").unlink(missing_ok=True)
    options = [str(event.path.parent), event.name, str(workers)]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.patch_extraction", "--child", *options], stdout=subprocess.PIPE, text=True
    )
    peaks: dict[int, int] = {}
    while process.poll() is None:
        try:
            for each in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
                peaks[each.pid] = max(peaks.get(each.pid, 0), most_resident(each.pid))
        except psutil.Error:
            pass
        time.sleep(0.05)
    own = json.loads(process.communicate()[0])
    return {
        "workers": workers,
        "allowed_mib": round(Resources(workers=workers).allowed_bytes / 2**20),
        "peak_mib": round(sum(peaks.values()) / 2**20),
        "seconds": own["seconds"],
        "pairs_s": round(own["pairs"] / own["seconds"]),
    }


def most_resident(pid: int) -> int:
    """Peak of a process's resident memory so far, in bytes (Linux)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def child(workspace: str, name: str, workers: str) -> None:
    """What `apart` starts."""
    start = time.perf_counter()
    store = cut_patches(Event.open(Path(workspace), name), SETTINGS, resources=Resources(workers=int(workers)))
    print(json.dumps({"pairs": len(store), "seconds": round(time.perf_counter() - start, 2)}))


def on_a_cluster(event: Event) -> dict[str, Any]:
    """Two Dask workers, then again with one of them killed in the middle: are the bytes those of this process?"""
    from distributed import Client, LocalCluster

    def content(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    alone = content(_afresh(event, Resources()).path)
    found: dict[str, Any] = {}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as local,
        Client(local, set_as_default=False) as client,
    ):
        found["same_bytes"] = content(_afresh(event, Resources(), client=client).path) == alone
        victim = next(iter(client.run(os.getpid).values()))
        killed: list[int] = []

        def kill(done: int, total: int) -> None:
            if done > total / 3 and not killed:
                os.kill(victim, signal.SIGKILL)
                killed.append(done)

        found["same_bytes_one_killed"] = (
            content(_afresh(event, Resources(), client=client, progress=kill).path) == alone
        )
        found["killed_after_buildings"] = killed[0] if killed else None
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--side", type=int, default=20_000, help="pixels along each side of the scenes")
    parser.add_argument("--buildings", type=int, default=100_000)
    parser.add_argument("--compress", default="deflate", help="none, deflate, zstd, lzw or jpeg")
    parser.add_argument("--block", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--imagery", type=Path, help="folder in which the scenes are kept for the next run")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        child(*given.child)
        return
    with tempfile.TemporaryDirectory(prefix="damage-ssl-bench-") as folder:
        for line in measured(given.imagery or Path(folder), Path(folder), given):
            print(json.dumps(line), flush=True)


def measured(kept: Path, folder: Path, given: argparse.Namespace) -> Any:
    imagery = Imagery(compress=given.compress, block_px=given.block)
    here = [kept / f"{date}_{given.side}_{given.compress}_{given.block}.tif" for date in ("pre", "post")]
    for number, path in enumerate(here):
        if not path.exists():
            write_scene(path, given.side, number, imagery)
    yield {"side_px": given.side, "imagery": given.compress, "block_px": given.block, "cpus": os.cpu_count()}

    def event(
        name: str, count: int, spacing_px: float | None, scenes: list[Path] = here, side: int = given.side
    ) -> Event:
        footprints = write_footprints(folder / f"{name}.parquet", side, count, spacing_px=spacing_px)
        return make_event(folder / "ws", name, scenes[0], scenes[1], footprints)

    if "dense" in given.parts:
        dense = event("dense", given.buildings, 20.0)
        yield {"part": "dense, 10 m apart"} | against_decoding(dense, given.repeat)
        yield {"part": "dense, 16 m apart"} | against_decoding(event("town", given.buildings, 32.0), given.repeat)
        yield {"part": "dense, whole extraction"} | stages(dense)
    if "sparse" in given.parts:
        sparse = event("sparse", max(50, round(given.side**2 / 400_000)), None)
        yield {"part": "sparse"} | against_decoding(sparse, given.repeat)
        yield {"part": "spread evenly"} | against_decoding(event("even", given.buildings, None), 1)
    if "foreign" in given.parts:
        side = min(given.side, 6000)
        other = [
            write_scene(folder / "pre_3857.tif", side, 0, replace(imagery, epsg=3857, gsd=0.9)),
            write_scene(folder / "post_4326.tif", side, 1, replace(imagery, epsg=4326, gsd=6e-6)),
        ]
        foreign = event("foreign", 20_000, 32.0, other, side)
        yield {"part": "other CRS and resolution"} | against_warped_vrt(foreign, given.repeat)
    if "memory" in given.parts:
        spread = event("spread", given.buildings, given.side / np.sqrt(given.buildings) * 0.99)
        for workers in (0, 2):
            yield {"part": "memory, whole scenes"} | apart(spread, workers)
    if "workers" in given.parts:
        some = event("some", min(given.buildings, 30_000), 20.0)
        turns = [(apart(some, 1)["seconds"], apart(some, 2)["seconds"]) for _ in range(2)]
        one_s, two_s = (min(seconds) for seconds in zip(*turns, strict=True))
        yield {"part": "workers", "one_s": one_s, "two_s": two_s, "times": round(one_s / two_s, 2)}
    if "flat" in given.parts:
        for count in (10_000, 100_000, 1_000_000):  # equally dense: a million fill 20,000 px squared
            if 20 * np.sqrt(count) <= given.side:
                yield {"part": "flat"} | each_building(event(f"n{count}", count, 20.0))
    if "cluster" in given.parts:
        yield {"part": "cluster"} | on_a_cluster(event("cluster", min(given.buildings, 10_000), 64.0))


if __name__ == "__main__":
    main()
