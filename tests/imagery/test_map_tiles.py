"""Tiles and crops: several scenes of one side, missing data, 16 bit."""

import io
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from PIL import Image
from pyproj import CRS

from damage_ssl.grid import transformer
from damage_ssl.imagery import map_tiles
from damage_ssl.imagery.inspection import inspect_scene
from damage_ssl.imagery.scene import Scene
from tests.conftest import CORNER_X, CORNER_Y, GSD_M, UTM, write_tiff

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # within rasterio

SIDE_M = 200 * GSD_M


def scene(path: Path, colour: tuple[int, int, int], *, east_m: float = 0.0, dtype: str = "uint8", **profile) -> Scene:
    pixels = np.empty((3, 200, 200), dtype=dtype)
    pixels[:] = np.array(colour, dtype=dtype)[:, None, None]
    return inspect(
        write_tiff(path, pixels, transform=Affine(GSD_M, 0, CORNER_X + east_m, 0, -GSD_M, CORNER_Y), **profile)
    )


def inspect(path: Path) -> Scene:
    return inspect_scene(str(path), scene_id=path.stem, role="pre", acquired=datetime(2030, 1, 1), sensor=None)


def picture_of(scenes: list[Scene], east_m: float, width_m: float) -> np.ndarray:
    """A crop as RGBA, `width_m` wide, that begins `east_m` east of the corner and 20 m south of it."""
    size = {"width_px": 40, "height_px": 20}
    left, right = CORNER_X + east_m, CORNER_X + east_m + width_m
    top, bottom = CORNER_Y - 20, CORNER_Y - 40
    to = {code: transformer(CRS.from_user_input(UTM), CRS.from_epsg(code)) for code in (3857, 4326)}
    mercator = to[3857].transform_bounds(left, bottom, right, top)
    picture = map_tiles.crop(scenes, mercator, to[4326].transform_bounds(left, bottom, right, top), **size)
    return np.array(Image.open(io.BytesIO(picture.data)).convert("RGBA"))


def test_neighbouring_scenes_are_mosaicked(tmp_path: Path) -> None:
    red = scene(tmp_path / "red.tif", (200, 40, 40))
    blue = scene(tmp_path / "blue.tif", (40, 40, 200), east_m=SIDE_M)
    picture = picture_of([red, blue], SIDE_M - 20, 40)
    assert np.allclose(picture[10, 5, :3], (200, 40, 40), atol=6)
    assert np.allclose(picture[10, 34, :3], (40, 40, 200), atol=6)


def test_the_first_of_two_overlapping_scenes_lies_on_top(tmp_path: Path) -> None:
    red, blue = scene(tmp_path / "red.tif", (200, 40, 40)), scene(tmp_path / "blue.tif", (40, 40, 200))
    assert np.allclose(picture_of([red, blue], 20, 40)[10, 20, :3], (200, 40, 40), atol=6)
    assert np.allclose(picture_of([blue, red], 20, 40)[10, 20, :3], (40, 40, 200), atol=6)


def test_pixels_missing_from_the_first_scene_come_from_the_next(tmp_path: Path) -> None:
    pixels = np.full((3, 200, 200), 200, dtype=np.uint8)
    pixels[:, :, 100:] = 0
    holey = inspect(write_tiff(tmp_path / "holey.tif", pixels, nodata=0))
    blue = scene(tmp_path / "blue.tif", (40, 40, 190))
    picture = picture_of([holey, blue], 30, 40)
    assert np.allclose(picture[10, 5, :3], 200, atol=6)
    assert np.allclose(picture[10, 34, :3], (40, 40, 190), atol=6)


def test_place_without_data_is_transparent(tmp_path: Path) -> None:
    picture = picture_of([scene(tmp_path / "red.tif", (200, 40, 40))], SIDE_M - 20, 40)
    assert picture[10, 5, 3] == 255
    assert picture[10, 34, 3] == 0


def test_black_fill_without_a_mask_is_transparent(tmp_path: Path) -> None:
    pixels = np.full((3, 240, 240), 120, dtype=np.uint8)
    pixels[:, :, 120:] = 3
    filled = inspect(write_tiff(tmp_path / "filled.tif", pixels))
    to = {code: transformer(CRS.from_user_input(UTM), CRS.from_epsg(code)) for code in (3857, 4326)}
    area = (CORNER_X, CORNER_Y - 120, CORNER_X + 120, CORNER_Y)
    mercator, wgs84 = (to[code].transform_bounds(*area) for code in (3857, 4326))
    picture = map_tiles.crop([filled], mercator, wgs84, width_px=240, height_px=240)
    alpha = np.array(Image.open(io.BytesIO(picture.data)).convert("RGBA"))[..., 3]
    assert alpha[120, 60] == 255
    assert alpha[120, 200] == 0


def test_sixteen_bit_imagery_is_shown_with_the_recorded_stretch(tmp_path: Path) -> None:
    ramp = np.linspace(1000, 3000, 200).astype(np.uint16)
    path = write_tiff(tmp_path / "deep.tif", np.broadcast_to(ramp, (3, 200, 200)).copy())
    deep = inspect(path)
    assert deep.stretch is not None
    low, high = deep.stretch[0]
    picture = picture_of([deep], 30, 40)
    # the middle of the crop lies 50 m east of the corner: pixel 100 of 200
    expected = (ramp[100] - low) / (high - low) * 255
    assert picture[10, 20, 0] == pytest.approx(expected, abs=6)


def test_grey_imagery_is_shown_in_three_equal_bands(tmp_path: Path) -> None:
    grey = inspect(write_tiff(tmp_path / "grey.tif", np.full((200, 200), 90, dtype=np.uint8)))
    assert np.allclose(picture_of([grey], 20, 40)[10, 20, :3], 90, atol=3)


def test_no_scene_gives_no_picture() -> None:
    assert map_tiles.tile([], 10, 1, 1) == map_tiles.NOTHING
