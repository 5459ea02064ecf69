from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from damage_ssl.errors import InputError
from damage_ssl.imagery import inspection
from damage_ssl.imagery.chunks import read_chunk
from damage_ssl.imagery.inspection import inspect_scene, measure_stretch
from damage_ssl.imagery.scene import Scene
from tests.conftest import CORNER_X, CORNER_Y, GSD_M, texture, write_tiff


def inspect(path: Path) -> Scene:
    return inspect_scene(str(path), scene_id="pre-x", role="pre", acquired=None, sensor=None)


def whole(scene: Scene) -> np.ndarray:
    return read_chunk(scene, (0, scene.width), (0, scene.height)).pixels


def test_eight_bit_rgb_is_taken_as_it_is(tmp_path: Path) -> None:
    pixels = texture(0)
    scene = inspect(write_tiff(tmp_path / "a.tif", pixels))
    assert scene.stretch is None
    assert scene.gsd_m == pytest.approx(0.5, rel=1e-3)
    chunk = whole(scene)
    np.testing.assert_array_equal(np.moveaxis(chunk[..., :3], -1, 0), pixels)
    assert (chunk[..., 3] == 255).all()


def test_grey_is_repeated_and_of_five_bands_the_first_three_are_taken(tmp_path: Path) -> None:
    pixels = texture(0)
    grey = whole(inspect(write_tiff(tmp_path / "grey.tif", pixels[0])))
    for band in range(3):
        np.testing.assert_array_equal(grey[..., band], pixels[0])
    five = np.concatenate([pixels, pixels[:2] // 2])
    chunk = whole(inspect(write_tiff(tmp_path / "five.tif", five, photometric="minisblack")))
    np.testing.assert_array_equal(np.moveaxis(chunk[..., :3], -1, 0), pixels)


def test_bands_tagged_blue_green_red_are_put_in_order(tmp_path: Path) -> None:
    pixels = texture(0)
    path = write_tiff(tmp_path / "bgr.tif", pixels[::-1].copy())
    with rasterio.open(path, "r+") as out:
        out.colorinterp = (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
    np.testing.assert_array_equal(np.moveaxis(whole(inspect(path))[..., :3], -1, 0), pixels)


def test_sixteen_bits_are_stretched_between_the_recorded_percentiles(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.uniform(200, 2200, size=(3, 200, 200)).astype(np.uint16)
    pixels[:, :50] = 0
    scene = inspect(write_tiff(tmp_path / "a.tif", pixels, nodata=0))
    assert scene.stretch is not None
    for low, high in scene.stretch:
        assert low == pytest.approx(220, abs=10)
        assert high == pytest.approx(2180, abs=10)
    chunk = whole(scene)
    assert not chunk[:50].any()
    assert (chunk[50:, :, 3] == 255).all()
    low, high = scene.stretch[0]
    expected = np.clip((pixels[0, 50:] - low) / (high - low) * 255, 0, 255)
    assert np.abs(chunk[50:, :, 0] - expected).max() <= 0.51
    wide = measure_stretch(scene, 0, 100)
    assert wide is not None
    assert wide[0] == (200, 2199)


def test_float_imagery_with_nan_is_masked_there(tmp_path: Path) -> None:
    pixels = texture(0).astype(np.float32) / 255
    pixels[:, 100:140, 20:60] = np.nan
    chunk = whole(inspect(write_tiff(tmp_path / "a.tif", pixels)))
    expected = np.full(pixels.shape[1:], 255)
    expected[100:140, 20:60] = 0
    np.testing.assert_array_equal(chunk[..., 3], expected)


def test_alpha_nodata_and_internal_mask_all_mask(tmp_path: Path) -> None:
    pixels = texture(0)
    hole = np.zeros(pixels.shape[1:], dtype=bool)
    hole[30:90, 40:100] = True
    alpha = np.where(hole, 0, 255).astype(np.uint8)
    with_alpha = write_tiff(
        tmp_path / "alpha.tif", np.concatenate([pixels, alpha[None]]), photometric="rgb", alpha="yes"
    )
    filled = np.where(hole, 7, np.maximum(pixels, 41)).astype(np.uint8)
    with_nodata = write_tiff(tmp_path / "nodata.tif", filled, nodata=7)
    with_mask = write_tiff(tmp_path / "mask.tif", pixels)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(with_mask, "r+") as out:
        out.write_mask(~hole)
    for path in (with_alpha, with_nodata, with_mask):
        np.testing.assert_array_equal(whole(inspect(path))[..., 3] == 0, hole, err_msg=path.name)


def test_jpeg_black_without_a_mask_is_nodata_and_a_dark_roof_is_not(tmp_path: Path) -> None:
    pixels = texture(0)
    pixels[:, :, :100] = 0  # 100 is within a block of the compression
    pixels[:, 150:175, 150:175] = 3
    path = write_tiff(tmp_path / "a.tif", pixels, compress="jpeg", photometric="ycbcr", jpeg_quality=90)
    with rasterio.open(path) as source:
        assert source.read()[:, :, :100].max() > 0, "JPEG must have left the black not exactly 0"
    valid = whole(inspect(path))[..., 3] > 0
    assert not valid[:, :96].any()
    assert valid[:, 96:100].mean() < 0.25, "ringing in the last block may rise above the fringe level here and there"
    assert valid[:, 112:].all()


def test_fill_is_the_same_whichever_chunk_is_read(tmp_path: Path) -> None:
    pixels = texture(3, 400, 400)
    pixels[:, 120:260, 90:300] = 2
    pixels[:, 300:310, 0:400] = 1
    scene = inspect(write_tiff(tmp_path / "a.tif", pixels))
    everything = whole(scene)
    assert (everything[150:250, 100:290, 3] == 0).all()
    assert (everything[303:307, :, 3] == 255).all()
    for columns, rows in (((100, 140), (130, 170)), ((280, 400), (0, 400)), ((0, 95), (100, 300))):
        part = read_chunk(scene, columns, rows)
        np.testing.assert_array_equal(part.pixels, everything[slice(*rows), slice(*columns)])


def test_extent_leaves_out_the_part_without_data(tmp_path: Path) -> None:
    pixels = texture(0)
    pixels[:, :, :120] = 0
    full = inspect(write_tiff(tmp_path / "full.tif", texture(0)))
    half = inspect(write_tiff(tmp_path / "half.tif", pixels))
    assert half.extent.area / full.extent.area == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("tiles", [{}, {"tiled": False, "blockxsize": 400, "blockysize": 16}])
def test_description_does_not_depend_on_the_size_of_the_pieces_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiles: dict[str, Any]
) -> None:
    pixels = texture(0, 400, 700).astype(np.uint16) * 7
    pixels[:, :, 300:420] = 0
    path = write_tiff(tmp_path / "a.tif", pixels, nodata=0, **tiles)
    whole_rows = inspect(path)
    monkeypatch.setattr(inspection, "_PIECE_PX", 64 * 64)
    pieces = inspect(path)
    assert pieces.stretch == whole_rows.stretch
    assert pieces.extent.equals(whole_rows.extent)
    assert whole_rows.extent.area < 0.9 * whole_rows.extent.envelope.area


def test_missing_crs_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.tif: has no CRS; set it with `gdal_edit"):
        inspect(write_tiff(tmp_path / "a.tif", texture(0), crs=None))


def test_rotated_or_upside_down_axes_are_refused(tmp_path: Path) -> None:
    turned = Affine(GSD_M, 0.1, CORNER_X, 0.1, -GSD_M, CORNER_Y)
    with pytest.raises(InputError, match=r"a\.tif: its axes are rotated .* gdalwarp"):
        inspect(write_tiff(tmp_path / "a.tif", texture(0), transform=turned))
    with pytest.raises(InputError, match=r"b\.tif: is not north up"):
        inspect(write_tiff(tmp_path / "b.tif", texture(0), transform=Affine(GSD_M, 0, CORNER_X, 0, GSD_M, CORNER_Y)))


def test_raster_without_georeferencing_is_refused(tmp_path: Path) -> None:
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        path = write_tiff(tmp_path / "a.tif", texture(0), transform=Affine.identity())
    with pytest.raises(InputError, match=r"a\.tif: has no georeferencing"):
        inspect(path)


def test_text_file_is_not_a_raster(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_text("not an image")
    with pytest.raises(InputError, match=r"a\.tif: cannot be read as a raster"):
        inspect(path)


@pytest.mark.parametrize("profile", [{}, {"compress": "deflate"}, {"compress": "jpeg", "photometric": "ycbcr"}])
@pytest.mark.parametrize("kept", [0.2, 0.6, 0.97])
def test_truncated_tiff_is_found(tmp_path: Path, profile: dict[str, str], kept: float) -> None:
    path = write_tiff(tmp_path / "a.tif", texture(0), **profile)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match=r"a\.tif: .*truncated.*copy or download it again"):
        inspect(path)


def test_all_black_raster_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.tif: every pixel is nodata or black"):
        inspect(write_tiff(tmp_path / "a.tif", np.zeros((3, 80, 80), dtype=np.uint8)))
