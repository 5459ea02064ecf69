"""What reading saves: overviews, files kept open, threads at `init`; each against the obvious way, in one run.

    python -m benchmarks.reading [--wait-ms 20] [--side 8192] [--folder DIR]

The remote figures come from a web server on this computer that waits before each answer, as a distant one would.
"""

import argparse
import contextlib
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.shutil import copy
from scipy import ndimage

from damage_ssl.imagery import inspection
from damage_ssl.imagery.chunks import read_chunk
from damage_ssl.imagery.inspection import inspect_scene, side_by_side
from damage_ssl.imagery.raster import close_rasters
from damage_ssl.imagery.scene import Scene
from tests.web import serve

_ROUNDS = 3
_CHUNK_PX = 2048
_SMALL_PX = 256


@dataclass(frozen=True)
class Row:
    """One comparison: seconds of the obvious way and of ours (medians), and what differs in the result."""

    what: str
    obvious_s: float
    ours_s: float
    note: str = ""

    def text(self) -> str:
        """A line of the markdown table."""
        ratio = self.obvious_s / self.ours_s
        return f"| {self.what} | {self.obvious_s:.3f} | {self.ours_s:.3f} | {ratio:.1f} × | {self.note} |"


def main() -> None:
    """Run all comparisons and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wait-ms", type=float, default=20)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name, served(Path(name), given.wait_ms / 1000) as url:
        folder = Path(name)
        print("| what | obvious, s | ours, s | ratio | note |\n|---|---|---|---|---|")
        for kind, options in (("deflate", {}), ("jpeg", {"COMPRESS": "JPEG", "QUALITY": "85"})):
            draw(folder / f"{kind}.tif", given.side, **({"COMPRESS": "DEFLATE"} | options))
            for where, href in (("local", str(folder / f"{kind}.tif")), ("http", f"{url}/{kind}.tif")):
                print(overview(f"grid 4 × coarser, {kind} COG, {where}", inspected(href)).text(), flush=True)
        for where, href in (("local", str(folder / "jpeg.tif")), ("http", f"{url}/jpeg.tif")):
            print(kept_open(f"{_SMALL_PX} px chunks of one scene, {where}", inspected(href)).text(), flush=True)
        draw(folder / "small.tif", 1024, COMPRESS="JPEG", QUALITY="85")
        for number in range(given.scenes):
            (folder / f"s{number}.tif").hardlink_to(folder / "small.tif")
        print(inspections(f"init of {given.scenes} scenes of 1024 px, http", url, given.scenes).text(), flush=True)


def overview(what: str, scene: Scene) -> Row:
    """Chunks at a quarter of the resolution: all pixels averaged, or the file's own overview."""
    full = replace(scene, overviews=())
    corners = [(c, r) for r in range(0, scene.height, _CHUNK_PX) for c in range(0, scene.width, _CHUNK_PX)][:4]

    def read(one: Scene) -> list[np.ndarray[Any, Any]]:
        return [read_chunk(one, (c, c + _CHUNK_PX), (r, r + _CHUNK_PX), reduction=4).pixels for c, r in corners]

    difference = np.concatenate([(a.astype(float) - b).ravel() for a, b in zip(read(full), read(scene), strict=True)])
    note = f"overviews {[o.factor for o in scene.overviews]}, RMS difference {np.sqrt((difference**2).mean()):.2f}"
    return Row(what, *alternating(lambda: read(full), lambda: read(scene)), note)


def kept_open(what: str, scene: Scene) -> Row:
    """Small chunks here and there: the file opened for each, or kept open."""
    rng = np.random.default_rng(0)
    corners = rng.integers(0, min(scene.width, scene.height) - _SMALL_PX, size=(24, 2))

    def read(*, forget: bool) -> None:
        for column, row in corners.tolist():
            if forget:
                close_rasters()
            read_chunk(scene, (column, column + _SMALL_PX), (row, row + _SMALL_PX))

    return Row(what, *alternating(lambda: read(forget=True), lambda: read(forget=False)), "24 chunks")


def inspections(what: str, url: str, scenes: int) -> Row:
    """All scenes of an event looked at, one after the other or side by side."""
    hrefs = [f"{url}/s{number}.tif" for number in range(scenes)]

    def one_by_one() -> None:
        for href in hrefs:
            inspected(href)

    return Row(
        what,
        *alternating(one_by_one, lambda: side_by_side(inspected, hrefs), rounds=1),
        f"{inspection.THREADS} threads",
    )


def alternating(obvious: Callable[[], Any], ours: Callable[[], Any], rounds: int = _ROUNDS) -> tuple[float, float]:
    """Median seconds of both, taken in turns with no file open at the start."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for work, times in zip((obvious, ours), taken, strict=True):
            close_rasters()
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
    return statistics.median(taken[0]), statistics.median(taken[1])


def inspected(href: str) -> Scene:
    """The scene of a raster."""
    return inspect_scene(href, scene_id="pre-x", role="pre", acquired=None, sensor=None)


def draw(path: Path, side: int, **options: str) -> None:
    """A COG of smooth noise with detail of two pixels, repeated, with average overviews."""
    rng = np.random.default_rng(0)
    tile = 1024
    fine, coarse = (ndimage.gaussian_filter(rng.normal(size=(tile, tile)), sigma, mode="wrap") for sigma in (1, 8))
    grey = 130 + np.clip(fine / fine.std() * 15 + coarse / coarse.std() * 30, -90, 90)
    tile_rgb = np.stack([grey, grey * 0.9, grey * 0.8 + 20]).astype(np.uint8)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": "EPSG:32610", "height": side, "width": side}
    place = {"transform": Affine(0.5, 0, 520000, 0, -0.5, 4258000), "tiled": True, "blockxsize": 512, "blockysize": 512}
    plain = path.with_name("plain.tif")
    with rasterio.open(plain, "w", **profile, **place) as out:
        out.write(np.tile(tile_rgb, (1, -(-side // tile), -(-side // tile)))[:, :side, :side])
    copy(str(plain), str(path), driver="COG", OVERVIEW_RESAMPLING="average", BLOCKSIZE="512", **options)
    plain.unlink()


@contextlib.contextmanager
def served(folder: Path, wait_s: float) -> Iterator[str]:
    """The URL of a web server in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(folder, wait_s, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        close_rasters()
        process.terminate()
        process.join()


def _serve(folder: Path, wait_s: float, pipe: Any) -> None:
    with serve(folder) as web:
        web.wait_s = wait_s
        pipe.send(web.url)
        while True:
            time.sleep(60)


if __name__ == "__main__":
    main()
