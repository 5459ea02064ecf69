"""What a picture of a scene costs, and that a copy shows what the scene does."""

import io
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from morecantile import Tile
from PIL import Image

from damage_ssl.grid import crs_of_epsg, transformer
from damage_ssl.imagery import display, display_copies, map_tiles
from damage_ssl.imagery.display_copies import DisplayCopies
from damage_ssl.imagery.scene import Scene
from tests.conftest import CORNER_X, CORNER_Y, UTM, write_tiff
from tests.imagery.test_map_tiles import inspect

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # within rasterio

LARGE_PX = 3328


def tile_over(scene: Scene, z: int) -> Tile:
    middle = scene.extent.centroid
    return map_tiles._WEB_MERCATOR.tile(middle.x, middle.y, z)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """3328 px a side in strips of one row, without overviews: red in the west, blue in the east, the north missing."""
    pixels = np.full((3, LARGE_PX, LARGE_PX), 30, dtype=np.uint8)
    pixels[0, :, : LARGE_PX // 2], pixels[2, :, LARGE_PX // 2 :] = 200, 200
    pixels += (np.arange(LARGE_PX, dtype=np.uint8) // 16 % 16)[:, None]
    pixels[:, : LARGE_PX // 4] = 0
    path = tmp_path_factory.mktemp("large") / "large.tif"
    transform = Affine(0.5, 0, CORNER_X, 0, -0.5, CORNER_Y)
    profile = {"driver": "GTiff", "width": LARGE_PX, "height": LARGE_PX, "count": 3, "dtype": "uint8", "nodata": 0}
    with rasterio.open(path, "w", **profile, crs=UTM, transform=transform, compress="deflate", blockysize=1) as target:
        target.write(pixels)
    return inspect(path)


def test_small_scene_is_shown_at_every_zoom_at_the_cost_of_a_tile(tmp_path: Path) -> None:
    """The issue's case: 530 × 619 px took 45 s at zoom 10, and 13.6 GB at zoom 1."""
    pixels = np.full((3, 619, 530), 120, dtype=np.uint8)
    scene = inspect(write_tiff(tmp_path / "small.tif", pixels, transform=Affine(0.3, 0, CORNER_X, 0, -0.3, CORNER_Y)))
    for z in (0, 1, 5, 10, 14, 19, 24):
        where = tile_over(scene, z)
        begun = time.process_time()
        picture = map_tiles.tile([scene], where.z, where.x, where.y)
        assert time.process_time() - begun < 1.0, z  # 0.1 s on a quiet machine; 45 s before
        if z >= 10:
            assert np.array(Image.open(io.BytesIO(picture.data)).convert("RGBA"))[..., :3].max() == pytest.approx(
                120, abs=2
            )


@pytest.fixture(scope="module")
def made(large: Scene, tmp_path_factory: pytest.TempPathFactory) -> DisplayCopies:
    """With the copy of the large scene, which a tile of it has begun."""
    copies = DisplayCopies(tmp_path_factory.mktemp("made") / "copies", 10**9)
    where = tile_over(large, 13)
    with pytest.raises(display.CostlyError, match="gdaladdo"):
        map_tiles.tile([large], where.z, where.x, where.y, copies)
    copies.wait()
    return copies


def whole_of(scene: Scene) -> tuple[float, float, float, float]:
    """Its bounds in EPSG:3857."""
    return transformer(crs_of_epsg(4326), crs_of_epsg(3857)).transform_bounds(*scene.extent.bounds)


def test_tile_of_a_large_raster_without_overviews_is_drawn_from_its_copy(large: Scene, made: DisplayCopies) -> None:
    assert len(list(made.folder.iterdir())) == 1
    where = tile_over(large, 13)
    assert map_tiles.tile([large], where.z, where.x, where.y, made).data


def test_copy_shows_what_the_scene_shows(large: Scene, made: DisplayCopies) -> None:
    copy = made.find(large)
    assert copy is not None
    bounds = whole_of(large)
    one, other = (display.read_part(scene, bounds, 256, 256) for scene in (large, copy))
    assert one is not None and other is not None
    assert np.mean(one.pixels[..., 3] != other.pixels[..., 3]) < 0.01
    both = (one.pixels[..., 3] > 0) & (other.pixels[..., 3] > 0)
    difference = np.abs(one.pixels[both].astype(int) - other.pixels[both])
    assert both.mean() > 0.3 and np.percentile(difference, 99) < 40 and difference.mean() < 4
    for picture in (one, other):
        west, east = picture.pixels[128, 60], picture.pixels[128, 200]
        assert west[0] > 180 > 90 > west[2] and east[2] > 180 > 90 > east[0]


def test_copies_keep_within_their_disk(large: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display_copies, "write_copy", lambda scene, path, shrink: path.write_bytes(b"copy"))
    none = DisplayCopies(tmp_path / "none", 0)
    none.find(large)
    none.wait()
    assert not (tmp_path / "none").exists()
    expected = int(LARGE_PX**2 * 0.5)
    folder = tmp_path / "some"
    copies = DisplayCopies(folder, expected + 1000)
    folder.mkdir()
    old = folder / "older.tif"
    old.write_bytes(b"x" * 2000)
    os.utime(old, (1, 1))
    copies.find(large)
    copies.wait()
    assert not old.exists() and len(list(folder.glob("*.tif"))) == 1


def test_copy_of_a_scene_that_cannot_be_read_is_tried_once(large: Scene, tmp_path: Path) -> None:
    copies = DisplayCopies(tmp_path, 10**9)
    gone = replace(large, href=str(tmp_path / "gone.tif"))
    for _ in range(3):
        assert copies.find(gone) is None
        copies.wait()
    assert list(tmp_path.iterdir()) == []


def test_picture_of_the_whole_scene_is_read_in_parts(large: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pack's picture may cost what it takes, in bounded memory."""
    bounds = whole_of(large)
    whole = display.read_part(large, bounds, 200, 200)
    monkeypatch.setattr(display, "_MOST_READ_PX", 3_000_000)
    read = []
    original = display.read_chunk

    def read_chunk(scene, columns, rows, **options):
        read.append((columns[1] - columns[0]) * (rows[1] - rows[0]))
        return original(scene, columns, rows, **options)

    monkeypatch.setattr(display, "read_chunk", read_chunk)
    parts = display.read_part(large, bounds, 200, 200)
    assert len(read) > 3 and max(read) <= 3_000_000
    assert whole is not None and parts is not None
    assert np.mean(np.abs(whole.pixels.astype(int) - parts.pixels) > 30) < 0.02


def test_copy_takes_no_detail_where_several_scenes_meet(tmp_path: Path) -> None:
    """At the scenes' own resolution each is read itself; zoomed out they share what is quick."""
    rng = np.random.default_rng(0)
    transform = Affine(0.5, 0, CORNER_X, 0, -0.5, CORNER_Y)
    sharp = rng.integers(20, 250, (3, 1500, 1500), dtype=np.uint8)
    scenes = [inspect(write_tiff(tmp_path / f"{n}.tif", sharp, transform=transform)) for n in range(6)]
    where = tile_over(scenes[0], 18)
    copies = DisplayCopies(tmp_path / "copies", 10**9)
    map_tiles.tile(scenes, where.z, where.x, where.y, copies)
    copies.wait()
    assert not copies.folder.exists()
    where = tile_over(scenes[0], 15)
    map_tiles.tile(scenes, where.z, where.x, where.y, copies)
    copies.wait()
    assert len(list(copies.folder.iterdir())) == 6
