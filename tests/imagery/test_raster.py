"""Open rasters are kept and shared without harm, and GDAL's cache is bounded."""

import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from damage_ssl.errors import InputError, SourceError
from damage_ssl.imagery import raster
from damage_ssl.imagery.chunks import read_chunk
from damage_ssl.imagery.inspection import inspect_scene, side_by_side
from damage_ssl.imagery.raster import close_rasters, from_raster
from tests.conftest import texture, write_tiff


def test_a_raster_stays_open_for_the_next_reader(tmp_path: Path) -> None:
    path = str(write_tiff(tmp_path / "a.tif", texture(0)))
    first = from_raster(path, lambda source: source)
    assert from_raster(path, lambda source: source) is first
    close_rasters()
    assert first.closed
    assert from_raster(path, lambda source: source) is not first


def test_one_raster_is_never_in_two_hands(tmp_path: Path) -> None:
    path = str(write_tiff(tmp_path / "a.tif", texture(0)))
    both = threading.Barrier(2)

    def hold(source: object) -> object:
        both.wait(timeout=20)
        return source

    with ThreadPoolExecutor(2) as pool:
        one, other = (future.result() for future in [pool.submit(from_raster, path, hold) for _ in range(2)])
    assert one is not other


def test_so_many_rasters_are_kept_open_and_no_more(tmp_path: Path) -> None:
    paths = [str(write_tiff(tmp_path / f"{n}.tif", texture(n))) for n in range(raster.OPEN_RASTERS + 3)]
    opened = [from_raster(path, lambda source: source) for path in paths]
    assert [source.closed for source in opened] == [True] * 3 + [False] * raster.OPEN_RASTERS


def test_a_replaced_file_is_opened_anew(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", texture(0))
    assert from_raster(str(path), lambda source: source.read(1)[0, 0]) == texture(0)[0, 0, 0]
    write_tiff(tmp_path / "new.tif", texture(5)).replace(path)
    np.testing.assert_array_equal(from_raster(str(path), lambda source: source.read()), texture(5))


def test_a_raster_that_failed_is_closed(tmp_path: Path) -> None:
    path = str(write_tiff(tmp_path / "a.tif", texture(0)))
    held = []

    def fail(source: object) -> None:
        held.append(source)
        raise ValueError("not the raster's fault")

    with pytest.raises(ValueError, match="not the raster's fault"):
        from_raster(path, fail)
    assert held[0].closed
    assert from_raster(path, lambda source: source) is not held[0]


def test_a_scene_that_went_away_gives_a_source_error_that_names_it(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", texture(0))
    scene = inspect_scene(str(path), scene_id="pre-x", role="pre", acquired=None, sensor=None)
    path.unlink()
    with pytest.raises(SourceError, match=r"a\.tif: is not there"):
        read_chunk(scene, (0, 10), (0, 10))


def test_threads_read_the_right_pixels_of_many_scenes(tmp_path: Path) -> None:
    scenes = [
        inspect_scene(
            str(write_tiff(tmp_path / f"{n}.tif", texture(n))), scene_id=f"s{n}", role="pre", acquired=None, sensor=None
        )
        for n in range(5)
    ]

    def read(k: int) -> np.ndarray:
        place = 7 * k % 100
        return read_chunk(scenes[k % 5], (place, place + 100), (place, place + 90)).pixels[..., :3]

    with ThreadPoolExecutor(6) as pool:
        for k, pixels in enumerate(pool.map(read, range(100))):
            place = 7 * k % 100
            expected = texture(k % 5)[:, place : place + 90, place : place + 100].transpose(1, 2, 0)
            np.testing.assert_array_equal(pixels, expected)


def _child(path: str, parents: int, answers: "multiprocessing.Queue[tuple[bool, int]]") -> None:
    source = from_raster(path, lambda source: source)
    answers.put((id(source) == parents, int(source.read(1)[5, 5])))


def test_a_forked_process_opens_its_own(tmp_path: Path) -> None:
    path = str(write_tiff(tmp_path / "a.tif", texture(0)))
    parents = from_raster(path, lambda source: source)
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[tuple[bool, int]] = context.Queue()
    child = context.Process(target=_child, args=(path, id(parents), answers))
    child.start()
    same, value = answers.get(timeout=60)
    child.join()
    assert child.exitcode == 0
    assert not same
    assert value == texture(0)[0, 5, 5]
    assert not parents.closed


def test_side_by_side_keeps_the_order_and_raises_the_first_error() -> None:
    gate = threading.Event()

    def work(number: int) -> int:
        if number == 3:
            gate.wait(timeout=20)  # fails last
            raise InputError("third")
        if number == 5:
            gate.set()
            raise InputError("fifth")
        return number * 10

    assert side_by_side(work, [7, 1, 4]) == [70, 10, 40]
    with pytest.raises(InputError, match="third"):
        side_by_side(work, [1, 2, 3, 4, 5, 6])


CACHE = """
import ctypes, glob, os, threading
import rasterio
{0}
library = glob.glob(os.path.join(os.path.dirname(rasterio.__file__), "..", "rasterio.libs", "libgdal*"))
if not library:
    print("none")
else:
    gdal = ctypes.CDLL(library[0])
    gdal.GDALGetCacheMax64.restype = ctypes.c_int64
    thread = threading.Thread(target=lambda: print(gdal.GDALGetCacheMax64()))
    thread.start(); thread.join()
"""


@pytest.mark.parametrize(("given", "expected"), [(None, raster.GDAL_CACHE_BYTES), ("32", 32_000_000)])
def test_gdals_cache_is_bounded_in_every_thread_of_a_new_process(given: str | None, expected: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GDAL_CACHEMAX"}
    if given:
        environment["GDAL_CACHEMAX"] = given
    program = CACHE.format("import damage_ssl.imagery.raster")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    if done.stdout.strip() == "none":
        pytest.skip("rasterio uses the system's GDAL")
    assert int(done.stdout) == pytest.approx(expected, rel=0.05), "GDAL counts in MiB"
