"""Coarser grids from a file's overviews: only where those are averages, and then the same as averaging all pixels."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.shutil import copy
from scipy import ndimage

from damage_ssl.events.event import Event
from damage_ssl.events.stac import read_scenes, write_collection
from damage_ssl.files import read_json, write_json
from damage_ssl.imagery.chunks import read_chunk
from damage_ssl.imagery.inspection import inspect_scene
from damage_ssl.imagery.scene import Overview, Scene
from damage_ssl.settings import PatchSettings
from damage_ssl.workflow import cut_patches
from tests.conftest import CORNER_X, CORNER_Y, GSD_M, square, write_polygons, write_tiff


def roofs(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """Grey imagery with detail down to two pixels, [3, h, w] from 40 to 220."""
    rng = np.random.default_rng(seed)
    fine, coarse = (ndimage.gaussian_filter(rng.normal(size=(height, width)), sigma) for sigma in (1, 6))
    grey = 130 + np.clip(fine / fine.std() * 15 + coarse / coarse.std() * 30, -90, 90)
    return np.stack([grey, grey * 0.9, grey * 0.8 + 20]).astype(np.uint8)


def cog(
    path: Path, pixels: NDArray[np.generic], resampling: str = "average", nodata: float | None = None, **options: str
) -> Path:
    plain = write_tiff(path.with_name("plain_" + path.name), pixels, nodata=nodata)
    copy(str(plain), str(path), driver="COG", OVERVIEW_RESAMPLING=resampling, BLOCKSIZE="128", **options)
    return path


def inspect(path: Path) -> Scene:
    return inspect_scene(str(path), scene_id="pre-x", role="pre", acquired=None, sensor=None)


def factors(scene: Scene) -> list[int]:
    return [overview.factor for overview in scene.overviews]


def full(scene: Scene) -> Scene:
    return replace(scene, overviews=())


def boxes(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.float64]:
    """Plain averages of [3, h, w] over factor × factor pixels, [h, w, 3]."""
    bands, height, width = pixels.shape
    cut = pixels.reshape(bands, height // factor, factor, width // factor, factor)
    return cut.mean(axis=(2, 4)).transpose(1, 2, 0)


def test_average_overviews_are_read_instead_of_the_full_resolution(tmp_path: Path) -> None:
    pixels = roofs(0, 512, 768)
    scene = inspect(cog(tmp_path / "a.tif", pixels))
    assert factors(scene) == [2, 4, 8]
    chunk = read_chunk(scene, (128, 640), (64, 448), reduction=4)
    assert (chunk.reduction, chunk.column, chunk.row, chunk.steps) == (4, 128, 64, (4, 4))
    expected = boxes(pixels, 4)[16:112, 32:160]
    assert np.abs(chunk.pixels[..., :3] - expected).max() <= 1.5, "GDAL rounds at each of two levels"
    assert (chunk.pixels[..., 3] == 255).all()


def test_overview_is_what_the_pixels_come_from(tmp_path: Path) -> None:
    """Full-resolution blocks are destroyed after inspection: a coarse chunk does not miss them, a fine one does."""
    path = tmp_path / "a.tif"
    pixels = roofs(0, 512, 512)
    scene = inspect(cog(path, pixels, COMPRESS="deflate"))
    with rasterio.open(path) as source:
        offset = int(source.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
        length = int(source.get_tag_item("BLOCK_SIZE_1_1", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[offset : offset + length] = bytes(length)
    path.write_bytes(content)
    assert np.abs(read_chunk(scene, (0, 512), (0, 512), reduction=2).pixels[..., :3] - boxes(pixels, 2)).max() <= 1
    with pytest.raises(Exception, match=r"a\.tif: cannot be read as a raster"):
        read_chunk(scene, (0, 512), (0, 512))


@pytest.mark.parametrize("options", [{}, {"COMPRESS": "JPEG", "QUALITY": "85"}])
def test_nearest_overviews_are_not_trusted_and_the_full_resolution_is_averaged(
    tmp_path: Path, options: dict[str, str]
) -> None:
    pixels = roofs(0, 512, 512)
    scene = inspect(cog(tmp_path / "a.tif", pixels, "nearest", **options))
    assert scene.overviews == ()
    chunk = read_chunk(scene, (0, 512), (0, 512), reduction=4)
    assert chunk.reduction == 4
    assert np.abs(chunk.pixels[..., :3] - boxes(pixels, 4)).mean() <= (4 if options else 0.5)


def test_jpeg_overviews_that_are_averages_are_trusted_despite_their_noise(tmp_path: Path) -> None:
    assert factors(inspect(cog(tmp_path / "a.tif", roofs(0, 512, 512), COMPRESS="JPEG", QUALITY="85"))) == [2, 4]


def test_overviews_of_older_content_are_not_trusted(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", roofs(0, 512, 512))
    with rasterio.open(path, "r+") as out:
        out.build_overviews([2, 4], Resampling.average)
    assert factors(inspect(path)) == [2, 4]
    with rasterio.open(path, "r+") as out:
        out.write(roofs(1, 512, 512))
    assert inspect(path).overviews == ()


def test_overviews_beside_the_file_and_of_a_vrt_serve_too(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", roofs(0, 512, 512))
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as out:
        out.build_overviews([2], Resampling.average)
    assert (tmp_path / "a.tif.ovr").exists()
    assert factors(inspect(path)) == [2]
    copy(str(path), str(tmp_path / "a.vrt"), driver="VRT")
    assert factors(inspect(tmp_path / "a.vrt")) == [2]


@pytest.mark.parametrize(
    ("wanted", "came"), [(1, 1), (2, 2), (3, 2), (4, 4), (6, 4), (7, 4), (8, 8), (11, 8), (12, 12), (16, 16)]
)
def test_reduction_is_the_largest_multiple_of_the_coarsest_fitting_overview(
    tmp_path: Path, wanted: int, came: int
) -> None:
    pixels = roofs(0, 768, 768)
    scene = replace(inspect(cog(tmp_path / "a.tif", pixels)), overviews=(Overview(0, 2), Overview(1, 4)))
    chunk = read_chunk(scene, (48, 720), (96, 672), reduction=wanted)
    assert chunk.reduction == came
    expected = boxes(pixels, came)[96 // came : 672 // came, 48 // came : 720 // came]
    assert np.abs(chunk.pixels[..., :3] - expected).max() <= 2


def test_without_overviews_the_chunk_is_averaged_to_exactly_the_reduction(tmp_path: Path) -> None:
    pixels = roofs(0, 300, 300)
    chunk = read_chunk(inspect(write_tiff(tmp_path / "a.tif", pixels)), (30, 270), (30, 270), reduction=3)
    assert chunk.reduction == 3
    assert np.abs(chunk.pixels[..., :3] - boxes(pixels, 3)[10:90, 10:90]).max() <= 0.51


@pytest.mark.parametrize(("height", "width"), [(1001, 1303), (515, 517)])
def test_overviews_of_odd_sizes_lie_where_they_say(tmp_path: Path, height: int, width: int) -> None:
    """Values tell the place of every pixel: GDAL stretches an overview over the whole scene, by up to its own pixel."""
    noise = np.random.default_rng(0).normal(0, 80, size=(height, width))
    place = np.stack([np.tile(np.arange(width), (height, 1)), np.tile(np.arange(height)[:, None], (1, width))])
    ramps = np.concatenate([place * 40 + 1000 + noise, place[:1] * 0])
    scene = inspect(cog(tmp_path / "a.tif", ramps.astype(np.uint16)))
    assert 4 in factors(scene)
    limits = [((size - 230) * 40.0 + 1000, size * 40.0 + 1000) for size in (width, height)]
    scene = replace(scene, stretch=(*limits, (0.0, 1.0)))
    chunk = read_chunk(scene, (width - 200, width - 8), (height - 200, height - 8), reduction=4)
    assert chunk.reduction == 4
    assert chunk.steps != (4, 4)
    for axis, corner, step in ((1, chunk.column, chunk.steps[0]), (0, chunk.row, chunk.steps[1])):
        size = (height, width)[axis]
        said = corner + (np.arange(chunk.pixels.shape[axis]) + 0.5) * step
        band = chunk.pixels[..., 1 - axis].astype(float).mean(axis=1 - axis)
        found = band / 255 * 230 + size - 230 + 0.5  # pixel k spans k to k + 1
        assert abs(np.mean(found - said)) < 0.3


def hole(side: int) -> NDArray[np.bool_]:
    out = np.zeros((side, side), dtype=bool)
    out[100:300, 140:333] = True
    return out


def masked(path: Path, pixels: NDArray[np.uint8], missing: NDArray[np.bool_]) -> Path:
    plain = write_tiff(path.with_name("plain.tif"), pixels)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(plain, "r+") as out:
        out.write_mask(~missing)
    copy(str(plain), str(path), driver="COG", OVERVIEW_RESAMPLING="average", BLOCKSIZE="128")
    return path


def with_alpha(path: Path, pixels: NDArray[np.uint8], missing: NDArray[np.bool_]) -> Path:
    alpha = np.where(missing, 0, 255).astype(np.uint8)[None]
    plain = write_tiff(path.with_name("plain.tif"), np.concatenate([pixels, alpha]), photometric="rgb", alpha="yes")
    copy(str(plain), str(path), driver="COG", OVERVIEW_RESAMPLING="average", BLOCKSIZE="128")
    return path


MISSING = {
    "mask": masked,
    "alpha": with_alpha,
    "nodata": lambda path, pixels, missing: cog(path, np.where(missing, 0, pixels), nodata=0),
    "16 bits, nodata": lambda path, pixels, missing: cog(
        path, np.where(missing, 0, pixels.astype(np.uint16) * 40), nodata=0
    ),
    "undeclared black": lambda path, pixels, missing: cog(path, np.where(missing, 0, pixels)),
}


@pytest.mark.parametrize("kind", MISSING)
def test_missing_pixels_are_missing_in_overviews_and_do_not_darken_their_neighbours(tmp_path: Path, kind: str) -> None:
    pixels, missing = roofs(0, 512, 512), hole(512)
    scene = inspect(MISSING[kind](tmp_path / "a.tif", pixels, missing))
    assert factors(scene) == [2, 4]
    if scene.stretch is not None:  # clipping before or after averaging differs
        scene = replace(scene, stretch=((0, 255 * 40),) * 3)
    coarse = read_chunk(scene, (0, 512), (0, 512), reduction=4).pixels
    fine = read_chunk(full(scene), (0, 512), (0, 512), reduction=4).pixels
    different = coarse[..., 3] != fine[..., 3]
    rim = ndimage.binary_dilation(fine[..., 3] == 0, np.ones((3, 3))) & ~ndimage.binary_erosion(fine[..., 3] == 0)
    assert not (different & ~rim).any(), "validity may differ by one pixel of the overview"
    both = (coarse[..., 3] > 0) & (fine[..., 3] > 0)
    difference = np.abs(coarse[both].astype(int) - fine[both])
    assert np.percentile(difference, 99) <= 3
    assert difference.max() <= 12, "beside the hole, fewer pixels are averaged"
    assert (coarse[30:70, 40:80] == 0).all()


def test_a_broken_overview_is_not_trusted(tmp_path: Path) -> None:
    path = cog(tmp_path / "a.tif", roofs(0, 512, 512), COMPRESS="deflate")
    content = bytearray(path.read_bytes())
    with rasterio.open(path, OVERVIEW_LEVEL=0) as source:
        blocks = source.block_shapes[0]
    assert blocks == (128, 128)
    with rasterio.open(path) as source:
        first = min(
            int(source.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=1)) for x in range(4) for y in range(4)
        )
    content[2000 : first - 64] = bytes(first - 64 - 2000)  # a COG keeps its overviews in front of the full resolution
    path.write_bytes(content)
    assert inspect(path).overviews == ()


def test_overviews_are_kept_with_the_event(tmp_path: Path) -> None:
    scene = inspect(cog(tmp_path / "a.tif", roofs(0, 512, 512)))
    write_collection(tmp_path / "e", name="e", scenes=[scene], hazard=None, source=None, created=datetime.now(UTC))
    (kept,) = read_scenes(tmp_path / "e")
    assert kept.overviews == (Overview(0, 2), Overview(1, 4))


def test_patches_from_overviews_are_those_from_all_pixels(tmp_path: Path) -> None:
    finer = Affine(GSD_M / 4, 0, CORNER_X, 0, -GSD_M / 4, CORNER_Y)
    for side, seed in (("pre", 1), ("post", 2)):
        plain = write_tiff(tmp_path / "plain.tif", roofs(seed, 960, 960), transform=finer)
        copy(str(plain), str(tmp_path / f"{side}.tif"), driver="COG", OVERVIEW_RESAMPLING="average", BLOCKSIZE="128")
    footprints = write_polygons(tmp_path / "f.geojson", [square(90, 90), square(141.3, 77.7)], building_id=["a", "b"])
    pairs = []
    for name in ("overviews", "full"):
        event = Event.create(
            tmp_path / "w", name, pre=[tmp_path / "pre.tif"], post=[tmp_path / "post.tif"], footprints=footprints
        )
        for item in (event.path / "items").glob("*.json"):
            values = read_json(item)
            assert values["properties"]["damage_ssl:overviews"] == [[0, 2], [1, 4], [2, 8]]
            values["properties"]["damage_ssl:overviews"] *= name == "overviews"
            write_json(item, values)
        pairs.append(cut_patches(event, PatchSettings(align="off")).load().close)
    for one, other in ((pairs[0].pre, pairs[1].pre), (pairs[0].post, pairs[1].post)):
        assert one.shape == (2, 3, 64, 64)
        difference = one.astype(float) - other
        assert np.sqrt((difference**2).mean()) < 1
        assert np.abs(difference).max() > 0, "the two are read in different ways"
