"""Six pixels in every kind of raster: which colours come out, and which pixels are valid, worked out by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from damage_ssl.errors import InputError
from damage_ssl.imagery.chunks import read_chunk
from damage_ssl.imagery.inspection import inspect_scene
from damage_ssl.imagery.scene import Scene
from tests.conftest import texture, write_tiff

RED = np.array([[10, 20, 30], [40, 50, 60]])
GREEN, BLUE, INFRARED = RED + 100, RED + 150, RED + 60
RGB = np.stack([RED, GREEN, BLUE])
ALL = np.ones((2, 3), dtype=bool)
NOT_FIRST = np.array([[False, True, True], [True, True, True]])
NOT_LAST_TWO = np.array([[True, True, True], [True, False, False]])
UNTILED = {"tiled": False, "blockxsize": None, "blockysize": None}


def tiff(path: Path, bands: list[np.ndarray] | np.ndarray, dtype: str = "uint8", **profile: object) -> Path:
    return write_tiff(path, np.stack(list(bands)).astype(dtype), tiled=False, blockxsize=3, blockysize=1, **profile)


def tagged(path: Path, tags: tuple[ColorInterp, ...]) -> Path:
    with rasterio.open(path, "r+") as out:
        out.colorinterp = tags
    return path


def described(path: Path, names: tuple[str, ...]) -> Path:
    with rasterio.open(path, "r+") as out:
        out.descriptions = names
    return path


def masked(path: Path, valid: np.ndarray, *, inside: bool) -> Path:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside), rasterio.open(path, "r+") as out:
        out.write_mask(valid)
    assert path.with_name(path.name + ".msk").exists() is not inside
    return path


def palette(path: Path) -> Path:
    tiff(path, [np.array([[0, 1, 2], [2, 1, 0]])], photometric="palette")
    with rasterio.open(path, "r+") as out:
        out.write_colormap(1, {0: (10, 110, 160, 255), 1: (20, 120, 170, 255), 2: (30, 130, 180, 255)})
    return path


def band_masks_vrt(path: Path) -> Path:
    """Each band with a mask of its own: red lacks the first pixel, green the last, blue the last but one."""
    tiff(path.with_name("colours.tif"), RGB)
    holes = np.full((3, 2, 3), 255)
    holes[0, 0, 0] = holes[1, 1, 2] = holes[2, 1, 1] = 0
    tiff(path.with_name("holes.tif"), holes, photometric="minisblack")
    simple = (
        '<SimpleSource><SourceFilename relativeToVRT="1">{}</SourceFilename><SourceBand>{}</SourceBand></SimpleSource>'
    )
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><ColorInterp>{name}</ColorInterp>'
        f"{simple.format('colours.tif', band)}"
        f'<MaskBand><VRTRasterBand dataType="Byte">{simple.format("holes.tif", band)}</VRTRasterBand></MaskBand>'
        "</VRTRasterBand>"
        for band, name in ((1, "Red"), (2, "Green"), (3, "Blue"))
    )
    return vrt(path, path.with_name("colours.tif"), bands)


def vrt(path: Path, like: Path, bands: str) -> Path:
    with rasterio.open(like) as source:
        transform, crs = source.transform.to_gdal(), source.crs.to_wkt()
    place = f"<SRS>{crs}</SRS><GeoTransform>{', '.join(map(str, transform))}</GeoTransform>"
    path.write_text(f'<VRTDataset rasterXSize="3" rasterYSize="2">{place}{bands}</VRTDataset>')
    return path


def alpha(valid: np.ndarray, opaque: int = 255) -> np.ndarray:
    return np.where(valid, opaque, 0)


def with_zero(bands: np.ndarray, value: float = 0) -> np.ndarray:
    """The first pixel is `value` in all bands, the second in red only."""
    out = bands.astype(float)
    out[:, 0, 0] = out[0, 0, 1] = value
    return out


RED_TAGS = (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
RASTERS: dict[str, tuple[Callable[[Path], Path], np.ndarray, np.ndarray]] = {
    "rgb": (lambda p: tiff(p, RGB), RGB, ALL),
    "pan": (lambda p: tiff(p, [RED]), np.stack([RED] * 3), ALL),
    "grey and alpha": (
        lambda p: tiff(p, [RED, alpha(NOT_FIRST)], alpha="yes"),
        np.stack([RED] * 3),
        NOT_FIRST,
    ),
    "rgb and infrared without a tag": (
        lambda p: tiff(p, [*RGB, INFRARED], photometric="rgb", alpha="unspecified"),
        RGB,
        ALL,
    ),
    "rgb and infrared, all bands untagged": (
        lambda p: tiff(p, [*RGB, INFRARED], "uint16", photometric="minisblack"),
        RGB,
        ALL,
    ),
    "rgb and alpha": (
        lambda p: tiff(p, [*RGB, alpha(NOT_LAST_TWO)], photometric="rgb", alpha="yes"),
        RGB,
        NOT_LAST_TWO,
    ),
    "16-bit alpha up to 65535": (
        lambda p: tiff(p, [*RGB, alpha(NOT_FIRST, 65535)], "uint16", photometric="rgb", alpha="yes"),
        RGB,
        NOT_FIRST,
    ),
    "16-bit alpha up to 255": (
        lambda p: tiff(p, [*RGB, alpha(NOT_FIRST)], "uint16", photometric="rgb", alpha="yes"),
        RGB,
        NOT_FIRST,
    ),
    "alpha and nodata": (
        lambda p: tiff(p, [*with_zero(RGB), alpha(NOT_LAST_TWO)], photometric="rgb", alpha="yes", nodata=0),
        with_zero(RGB),
        NOT_FIRST & NOT_LAST_TWO,
    ),
    "tagged blue, green, red": (lambda p: tagged(tiff(p, RGB[::-1]), RED_TAGS), RGB, ALL),
    "alpha first": (
        lambda p: tagged(
            tiff(p, [alpha(NOT_FIRST), *RGB[::-1]], photometric="minisblack"), (ColorInterp.alpha, *RED_TAGS)
        ),
        RGB,
        NOT_FIRST,
    ),
    "described as blue, green, red, nir": (
        lambda p: described(
            tiff(p, [*RGB[::-1], INFRARED], photometric="rgb", alpha="unspecified"), ("Blue", "Green", "Red", "NIR")
        ),
        RGB,
        ALL,
    ),
    "16 bits with nodata 0": (lambda p: tiff(p, with_zero(RGB), "uint16", nodata=0), with_zero(RGB), NOT_FIRST),
    "16 bits with a mask": (
        lambda p: masked(tiff(p, RGB, "uint16"), NOT_LAST_TWO, inside=True),
        RGB,
        NOT_LAST_TWO,
    ),
    "signed with nodata": (lambda p: tiff(p, with_zero(RGB, -5), "int16", nodata=-5), with_zero(RGB, -5), NOT_FIRST),
    "float with NaN in one band": (
        lambda p: tiff(p, np.where(NOT_FIRST, RGB, [[[np.nan]], [[1]], [[1]]]), "float32"),
        RGB,
        NOT_FIRST,
    ),
    "float with nodata": (
        lambda p: tiff(p, with_zero(RGB, -9999), "float32", nodata=-9999),
        with_zero(RGB, 0),
        NOT_FIRST,
    ),
    "palette": (palette, np.stack([RED[0][[[0, 1, 2], [2, 1, 0]]] + add for add in (0, 100, 150)]), ALL),
    "mask inside": (lambda p: masked(tiff(p, RGB), NOT_LAST_TWO, inside=True), RGB, NOT_LAST_TWO),
    "mask beside": (lambda p: masked(tiff(p, RGB), NOT_LAST_TWO, inside=False), RGB, NOT_LAST_TWO),
    "a mask for each band": (band_masks_vrt, RGB, NOT_FIRST & NOT_LAST_TWO),
}


@pytest.mark.parametrize("kind", RASTERS)
def test_colours_and_valid_pixels(tmp_path: Path, kind: str) -> None:
    make, expected, valid = RASTERS[kind]
    path = make(tmp_path / ("a.vrt" if make is band_masks_vrt else "a.tif"))
    scene = inspect(path)
    if scene.stretch is not None:  # so that values come through as they are
        scene = replace(scene, stretch=((0, 255),) * 3)
    pixels = read_chunk(scene, (0, 3), (0, 2)).pixels
    np.testing.assert_array_equal(pixels[..., 3] == 255, valid)
    np.testing.assert_array_equal(pixels[..., :3], np.where(valid, np.maximum(expected, 0), 0).transpose(1, 2, 0))


def test_infrared_that_gdal_tagged_as_alpha_is_named(tmp_path: Path) -> None:
    pixels = np.concatenate([texture(0), texture(1)[:1]])
    path = write_tiff(tmp_path / "a.tif", pixels, photometric="rgb", alpha="yes")
    with pytest.raises(
        InputError, match=r"a\.tif: band 4 is tagged as alpha, but \d+% .* gdal_edit\.py -colorinterp_4"
    ):
        inspect(path)


def test_soft_edges_of_alpha_are_no_infrared(tmp_path: Path) -> None:
    opacity = np.full((1, 240, 240), 255, dtype=np.uint8)
    opacity[:, :, :40] = np.arange(40) * 6
    path = write_tiff(tmp_path / "a.tif", np.concatenate([texture(0), opacity]), photometric="rgb", alpha="yes")
    pixels = read_chunk(inspect(path), (0, 240), (0, 1)).pixels
    np.testing.assert_array_equal(pixels[0, :, 3] > 0, np.arange(240) * 6 > 127)


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.tif: its pixels are of type complex64"):
        inspect(tiff(tmp_path / "a.tif", RGB, "complex64", photometric="minisblack"))


def inspect(path: Path) -> Scene:
    return inspect_scene(str(path), scene_id="pre-x", role="pre", acquired=None, sensor=None)
