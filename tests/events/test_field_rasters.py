"""Folders of rasters as people send them: what is no photograph is left out by name and for a reason."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC

from damage_ssl.errors import InputError
from damage_ssl.events.inputs import inspect_sides
from damage_ssl.imagery.chunks import read_chunk
from damage_ssl.imagery.scene import Scene
from tests.conftest import CORNER_X, CORNER_Y, GSD_M, texture, write_tiff

SIDE = 128
COLOUR = texture(1, SIDE, SIDE)
CODES = np.where(np.arange(SIDE)[:, None] < 50, 1, 0).astype(np.uint8) * np.ones((1, SIDE), dtype=np.uint8)
HEIGHTS = (100 + np.add.outer(np.arange(SIDE), np.arange(SIDE)) * 0.01).astype(np.float32)


def sides(tmp_path: Path, **options: object) -> list[Scene]:
    write_tiff(tmp_path / "pre" / "pre.tif", COLOUR)
    found, _ = inspect_sides(
        [tmp_path / "pre"],
        [tmp_path / "post"],
        pre_datetime=None,
        post_datetime=None,
        **options,  # type: ignore[arg-type]
    )
    return [scene for scene in found if scene.role == "post"]


@pytest.mark.parametrize(
    ("name", "pixels", "reason"),
    [
        ("a_cloudmask.tif", CODES * 255, "a mask by its name"),
        ("a_cloudmask.tif", CODES * 0, "a mask by its name"),
        ("a_udm2.tif", np.stack([CODES] * 8), "a mask by its name"),
        ("a_classes.tif", CODES + 1, "every pixel is nodata or black"),
        ("a_classes.tif", CODES * 90 + 60, "one band of few values"),
        ("dsm.tif", HEIGHTS, "heights: one band"),
        ("a_dem.tif", HEIGHTS.astype(np.int16), "heights: one band"),
        ("a_ndvi.tif", HEIGHTS / 200, "one band of float32 beside other images"),
        ("hillshade.tif", COLOUR[0], "one band named hillshade"),
    ],
)
def test_what_is_no_photograph_is_left_out(name: str, pixels: np.ndarray, reason: str, tmp_path: Path) -> None:
    other = write_tiff(tmp_path / "post" / name, pixels)
    write_tiff(tmp_path / "post" / "z_visual.tif", COLOUR)
    (scene,) = sides(tmp_path)
    assert scene.scene_id == "post-z_visual"
    assert scene.left_out == (str(other.resolve()),)
    (note,) = scene.notes
    assert note.startswith("left out: ")
    assert name in note
    assert reason in note


def test_coarse_browse_image_beside_the_photograph(tmp_path: Path) -> None:
    coarse = Affine(GSD_M * 8, 0, CORNER_X, 0, -GSD_M * 8, CORNER_Y)
    write_tiff(tmp_path / "post" / "a_browse.tif", COLOUR[:, ::8, ::8], transform=coarse)
    (alone,) = sides(tmp_path)
    assert alone.notes == ()
    write_tiff(tmp_path / "post" / "z_preview.tif", COLOUR)
    (scene,) = sides(tmp_path)
    assert scene.scene_id == "post-z_preview"
    assert "a_browse.tif: is a preview by its name" in scene.notes[0]


def test_alone_it_is_refused(tmp_path: Path) -> None:
    write_tiff(tmp_path / "post" / "dsm.tif", HEIGHTS)
    with pytest.raises(InputError, match=r"dsm\.tif: is no photograph of the ground \(heights.*give the image"):
        sides(tmp_path)


def test_grey_photographs_and_odd_names_stay(tmp_path: Path) -> None:
    write_tiff(tmp_path / "post" / "pan.tif", COLOUR[0])
    write_tiff(tmp_path / "post" / "clouds_8bands.tif", np.concatenate([COLOUR] * 3), photometric="minisblack")
    write_tiff(tmp_path / "post" / "damask_street.tif", COLOUR)
    write_tiff(tmp_path / "post" / "mask_of_zorro.tif", COLOUR)
    assert [scene.notes for scene in sides(tmp_path)][1:] == [(), (), ()]


@pytest.mark.parametrize(
    ("pixels", "value", "everywhere"),
    [
        (COLOUR.astype(np.float32) / 255, -9999, True),
        (COLOUR.astype(np.float32) / 255, -3.4028234663852886e38, True),
        (COLOUR.astype(np.uint16) * 8 + 200, 65535, True),
        (COLOUR.astype(np.int16) * 8, -32768, True),
        (COLOUR, 255, False),
        (COLOUR.astype(np.uint16) * 8 + 200, 1, False),
    ],
)
def test_undeclared_fill_is_found_said_and_kept_out(
    pixels: np.ndarray, value: float, everywhere: bool, tmp_path: Path
) -> None:
    pixels = pixels.copy()
    pixels[:, :, :40] = value
    write_tiff(tmp_path / "post" / "image.tif", pixels)
    (scene,) = sides(tmp_path)
    assert scene.fill is not None
    assert scene.fill.everywhere is everywhere
    said = next(note for note in scene.notes if "missing pixels" in note)
    assert f"{value:g} is taken for missing pixels (31% of the image)" in said
    assert "gdal_edit.py -a_nodata" in said
    chunk = read_chunk(scene, (0, SIDE), (0, SIDE))
    valid = chunk.pixels[..., 3] > 0
    assert not valid[:, :40].any()
    assert valid[:, 40:].mean() > 0.99
    seen, true = chunk.pixels[:, 40:, :3].astype(float), np.moveaxis(COLOUR, 0, -1)[:, 40:].astype(float)
    assert np.corrcoef(seen.ravel(), true.ravel())[0, 1] > 0.99


def test_white_roofs_and_clouds_are_no_fill(tmp_path: Path) -> None:
    roofs = COLOUR.copy()
    roofs[:, 20:30, 20:40] = 255
    roofs[:, 60:70, :10] = 255
    write_tiff(tmp_path / "post" / "roofs.tif", roofs)
    brightness = np.clip((60 - np.arange(SIDE)) * 8, 0, 255)[None, None, :]
    write_tiff(tmp_path / "post" / "cloud.tif", np.maximum(COLOUR, brightness).astype(np.uint8))
    assert [scene.fill for scene in sides(tmp_path)] == [None, None]


def test_band_order(tmp_path: Path) -> None:
    bgrn = np.concatenate([COLOUR[::-1], COLOUR[:1]]).astype(np.uint16) * 8
    path = write_tiff(tmp_path / "post" / "bgrn.tif", bgrn, photometric="minisblack")
    with rasterio.open(path, "r+") as out:
        out.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * 3
    (guessed,) = sides(tmp_path)
    assert "bands 1, 2, 3 are taken for red, green, blue: a guess" in guessed.notes[0]
    assert "--bands 3,2,1" in guessed.notes[0]
    (given,) = sides(tmp_path, bands={"post": (3, 2, 1)})
    assert (given.bands, given.notes) == ((3, 2, 1), ())
    with pytest.raises(InputError, match="has 4 bands; --bands asks for band 5"):
        sides(tmp_path, bands={"post": (5, 2, 1)})
    with rasterio.open(path, "r+") as out:
        for index, nanometres in enumerate((490, 565, 665, 865), start=1):
            out.update_tags(index, WAVELENGTH=str(nanometres))
    (told,) = sides(tmp_path)
    assert told.notes == ()
    red = [read_chunk(scene, (0, SIDE), (0, SIDE)).pixels[..., 0].astype(float) for scene in (given, told)]
    assert np.array_equal(*red)
    assert np.corrcoef(red[0].ravel(), COLOUR[0].ravel())[0, 1] > 0.99
    (contrary,) = sides(tmp_path, bands={"post": (1, 2, 3)})
    assert "bands 1, 2, 3 were asked for, the file says 3, 2, 1" in contrary.notes[0]


@pytest.mark.parametrize(
    "names",
    [("Blue", "Green", "Red", "Red Edge"), ("B02", "B03", "B04", "B08"), ("b", "g", "r", "nir"),
     ("Band 1 (Blue, 485 nm)", "Band 2 (Green, 545 nm)", "Band 3 (Red, 660 nm)", "NIR")],
)  # fmt: skip
def test_band_names_tell(names: tuple[str, ...], tmp_path: Path) -> None:
    bgrn = np.concatenate([COLOUR[::-1], COLOUR[:1]]).astype(np.uint16)
    path = write_tiff(tmp_path / "post" / "bgrn.tif", bgrn, photometric="minisblack")
    with rasterio.open(path, "r+") as out:
        out.descriptions = names
    (scene,) = sides(tmp_path)
    assert scene.notes == ()
    red = read_chunk(scene, (0, SIDE), (0, SIDE)).pixels[..., 0]
    assert np.corrcoef(red.ravel(), COLOUR[0].ravel())[0, 1] > 0.99


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_raw_scene_with_polynomials_only(tmp_path: Path) -> None:
    (tmp_path / "post").mkdir()
    zero = [0.0] * 20
    one, line, sample = [1.0, *zero[1:]], [0.0, 0.0, -1.0, *zero[3:]], [0.0, 1.0, *zero[2:]]
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 3, "dtype": "uint8"}
    with rasterio.open(tmp_path / "post" / "rpc.tif", "w", **profile) as out:
        out.write(COLOUR)
        out.rpcs = RPC(
            height_off=0, height_scale=1, lat_off=3.0, lat_scale=0.001, long_off=2.3, long_scale=0.001, line_off=64,
            line_scale=64, samp_off=64, samp_scale=64, line_num_coeff=line, line_den_coeff=one, samp_num_coeff=sample,
            samp_den_coeff=one, err_bias=None, err_rand=None,
        )  # fmt: skip
    with pytest.raises(InputError) as error:
        sides(tmp_path)
    assert "gdalwarp -rpc -to RPC_DEM=dem.tif" in str(error.value)
    assert "gdal_edit" not in str(error.value)
