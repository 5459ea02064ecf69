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
    write_tiff(tmp_path / "post" / "old_grey.tif", COLOUR[0])
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


HALF = np.where(np.arange(SIDE)[None, :] < 64, 0, 1).astype(np.uint8) * np.ones((SIDE, 1), dtype=np.uint8)


def read(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [3, h, w] and where they are valid [h, w]."""
    chunk = read_chunk(scene, (0, SIDE), (0, SIDE))
    return np.moveaxis(chunk.pixels[..., :3], -1, 0), chunk.pixels[..., 3] > 0


@pytest.mark.parametrize("opaque", [1, 255])
@pytest.mark.parametrize("kind", ["alpha", "alpha of 16 bits", "internal mask", "mask beside it"])
def test_masks_and_alpha_of_0_and_1(opaque: int, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "post" / "post.tif"
    if kind.startswith("alpha"):
        dtype = np.uint16 if "16" in kind else np.uint8
        bands = np.concatenate([COLOUR, HALF[None] * opaque]).astype(dtype)
        write_tiff(path, bands, photometric="rgb", alpha="yes")
    else:
        write_tiff(path, COLOUR)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind == "internal mask"), rasterio.open(path, "r+") as out:
            out.write_mask(HALF * opaque)
    (scene,) = sides(tmp_path)
    _, valid = read(scene)
    assert not valid[:, :60].any() and valid[:, 68:].all()


def test_opaque_alpha_of_1_is_no_near_infrared(tmp_path: Path) -> None:
    write_tiff(
        tmp_path / "post" / "post.tif", np.concatenate([COLOUR, HALF[None] * 0 + 1]), photometric="rgb", alpha="yes"
    )
    (scene,) = sides(tmp_path)
    assert read(scene)[1].all()


def test_picture_in_inks_is_read_as_colours(tmp_path: Path) -> None:
    black = np.full((1, SIDE, SIDE), 51, dtype=np.uint8)
    write_tiff(tmp_path / "post" / "post.tif", np.concatenate([255 - COLOUR, black]), photometric="cmyk")
    (scene,) = sides(tmp_path)
    assert scene.notes == ()
    pixels, _ = read(scene)
    assert np.abs(pixels.astype(float) - COLOUR * 0.8).max() <= 1


def test_jpeg_in_luminance_and_chroma_is_read_as_colours(tmp_path: Path) -> None:
    smooth = np.stack([np.add.outer(np.arange(SIDE), np.arange(SIDE)) // 2 + shift for shift in (0, 40, 80)])
    path = tmp_path / "post" / "post.tif"
    write_tiff(path, smooth.clip(20, 240).astype(np.uint8), photometric="ycbcr", compress="jpeg")
    (scene,) = sides(tmp_path)
    assert scene.notes == ()
    assert np.abs(read(scene)[0].astype(float) - smooth.clip(20, 240)).mean() < 4


def test_transparent_colour_of_a_palette_is_no_picture(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "post" / "post.tif", np.where(HALF == 0, 255, COLOUR[0] // 2).astype(np.uint8))
    with rasterio.open(path, "r+") as out:
        out.write_colormap(1, {value: (value, 255 - value, 90, 255) for value in range(255)} | {255: (9, 99, 9, 0)})
        out.colorinterp = [ColorInterp.palette]
    (scene,) = sides(tmp_path)
    pixels, valid = read(scene)
    assert valid[:, 64:].all()
    assert np.array_equal(pixels[1][:, 64:], 255 - COLOUR[0][:, 64:] // 2)


def test_second_of_two_bands_is_said_not_to_be_used(tmp_path: Path) -> None:
    write_tiff(tmp_path / "post" / "post.tif", COLOUR[:2])
    (scene,) = sides(tmp_path)
    assert "has two bands; the first is taken as grey" in scene.notes[0]
    assert np.array_equal(read(scene)[0], COLOUR[[0, 0, 0]])


@pytest.mark.parametrize(
    ("name", "factor", "left_out"),
    [("a_PAN.tif", 2, True), ("a_grey.tif", 4, True), ("a_grey.tif", 2, False), ("a_panorama.tif", 1, False)],
)
def test_panchromatic_image_beside_a_colour_one(name: str, factor: int, left_out: bool, tmp_path: Path) -> None:
    coarse = Affine(GSD_M * factor, 0, CORNER_X, 0, -GSD_M * factor, CORNER_Y)
    write_tiff(tmp_path / "post" / name, COLOUR[0])
    write_tiff(tmp_path / "post" / "colour.tif", texture(2, SIDE, SIDE), transform=coarse)
    found = sides(tmp_path)
    assert [scene.scene_id for scene in found] == (
        ["post-colour"] if left_out else [f"post-{name[:-4]}", "post-colour"]
    )
    assert any("is panchromatic, and shown in colour" in note for note in found[0].notes) == left_out


def test_panchromatic_image_alone_or_of_another_place_stays(tmp_path: Path) -> None:
    write_tiff(tmp_path / "post" / "a_pan.tif", COLOUR[0])
    assert len(sides(tmp_path)) == 1
    away = Affine(GSD_M, 0, CORNER_X + SIDE * GSD_M / 2, 0, -GSD_M, CORNER_Y)
    write_tiff(tmp_path / "post" / "colour.tif", COLOUR, transform=away)
    assert len(sides(tmp_path)) == 2


@pytest.mark.parametrize(
    ("transform", "crs", "problem"),
    [
        (
            Affine(GSD_M, 0.1, CORNER_X, 0.1, -GSD_M, CORNER_Y),
            32618,
            "its axes are rotated .*gdalwarp -r bilinear IN OUT",
        ),
        (Affine(GSD_M, 0, CORNER_X, 0, GSD_M, CORNER_Y), 32618, "is not north up .*gdalwarp IN OUT"),
        (
            Affine(GSD_M, 0, 0, 0, -GSD_M, 0),
            'LOCAL_CS["site grid",UNIT["metre",1]]',
            "its CRS 'site grid' is of a site .*gdal_edit.py -a_srs EPSG:... FILE",
        ),
    ],
    ids=["rotated", "south up", "engineering"],
)
def test_place_that_cannot_be_used_names_the_command(transform: Affine, crs: str, problem: str, tmp_path: Path) -> None:
    write_tiff(tmp_path / "post" / "post.tif", COLOUR, transform=transform, crs=crs)
    with pytest.raises(InputError, match=problem):
        sides(tmp_path)


@pytest.mark.parametrize(
    ("crs", "transform", "gsd_m"),
    [
        ("EPSG:2263", Affine(3, 0, 980_000, 0, -3, 200_000), 0.9144),
        ("EPSG:32618+5773", Affine(GSD_M, 0, CORNER_X, 0, -GSD_M, CORNER_Y), GSD_M),
        ("EPSG:4326", Affine(1e-5, 0, -75, 0, -1e-5, 0.0006), 1.11),
        ("EPSG:3031", Affine(1, 0, 100_000, 0, -1, 1_000_000), 1.0),
    ],
    ids=["feet", "compound", "degrees", "polar"],
)
def test_other_units_and_reference_systems(crs: str, transform: Affine, gsd_m: float, tmp_path: Path) -> None:
    import pyproj

    wkt = pyproj.CRS.from_user_input(crs).to_wkt()
    write_tiff(tmp_path / "post" / "post.tif", COLOUR, transform=transform, crs=rasterio.crs.CRS.from_wkt(wkt))
    (scene,) = sides(tmp_path)
    assert scene.gsd_m == pytest.approx(gsd_m, rel=0.03)
    assert read(scene)[1].all()


def warm_and_cold(seed: int) -> np.ndarray:
    """Bands [3, h, w] whose red and blue differ from place to place, as roofs and streets do."""
    tint = texture(seed + 50, SIDE, SIDE)[0].astype(float) - 128
    grey = texture(seed, SIDE, SIDE)[0] / 2 + 64
    return np.stack([grey + tint / 3, grey, grey - tint / 3]).clip(1, 250)


@pytest.mark.parametrize(
    ("order", "tagged", "bands", "said"),
    [
        ([2, 1, 0], False, None, True),
        ([0, 1, 2], False, None, False),
        ([2, 1, 0], False, {"post": (3, 2, 1)}, False),
        ([0, 1, 2], False, {"post": (3, 2, 1)}, True),
        ([2, 1, 0], True, None, False),
    ],
    ids=["swapped", "not swapped", "put right", "made wrong by hand", "file says so"],
)
def test_red_and_blue_swapped_between_the_dates(
    order: list[int], tagged: bool, bands: object, said: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    town = warm_and_cold(3)
    write_tiff(tmp_path / "pre" / "pre.tif", town.astype(np.uint16) * 8, photometric="rgb")
    later = (town + rng.normal(0, 6, town.shape)).clip(1, 250)[order]
    write_tiff(
        tmp_path / "post" / "post.tif", later.astype(np.uint16) * 5, photometric="rgb" if tagged else "minisblack"
    )
    found, _ = inspect_sides(
        [tmp_path / "pre"],
        [tmp_path / "post"],
        pre_datetime=None,
        post_datetime=None,
        bands=bands,  # type: ignore[arg-type]
    )
    assert any("red and blue of one date seem to be swapped" in note for note in found[1].notes) == said
