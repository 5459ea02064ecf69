"""Scenes: what a raster is, whether it can be used, and its pixels by chunk."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError, ProjError
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.features import shapes
from rasterio.windows import Window
from shapely import box, get_coordinates, make_valid, set_coordinates
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from damage_ssl.errors import InputError
from damage_ssl.event.quality import FILL_REACH_PX, FILL_WINDOW_PX, black_fill
from damage_ssl.grid import crs_of_epsg, transformer, utm_epsg

Role = Literal["pre", "post"]
Stretch = tuple[tuple[float, float], ...]

_SAMPLE_PX = 512
_SAMPLE_FROM_PX = 2048
_SAMPLE_HUGE_PX = 64
_SAMPLE_ALL_UP_TO = 400_000_000
_CHECKED_BLOCKS = 4096
_GDAL_CACHE_MB = 128
WGS84 = crs_of_epsg(4326)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One acquisition of one side.

    `transform` maps (column, row) of a pixel's corner to (x, y) in `crs`, north up. `extent` is the area with data in
    EPSG:4326. `stretch` holds (low, high) per red, green, blue that become 0 and 255; None for 8-bit imagery, which is
    taken as it is. `gsd_m` is metres a pixel on the ground.
    """

    scene_id: str
    role: Role
    href: str
    datetime: datetime | None
    sensor: str | None
    crs: CRS
    transform: Affine
    width: int
    height: int
    gsd_m: float
    extent: BaseGeometry
    stretch: Stretch | None
    nodata: float | None

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of the whole raster in `crs`."""
        left, top = self.transform @ (0, 0)
        right, bottom = self.transform @ (self.width, self.height)
        return left, bottom, right, top


@contextmanager
def open_raster(href: str, **options: Any) -> Iterator[rasterio.DatasetReader]:
    """Open a raster with a bounded block cache.

    Raises:
        InputError: it cannot be opened, or reading from it failed within the block.
    """
    with rasterio.Env(GDAL_CACHEMAX=_GDAL_CACHE_MB), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.open(href, **options) as source:
                yield source
        except RasterioIOError as error:
            cause = error.__cause__ or error
            raise InputError(
                f"{href}: cannot be read as a raster ({cause}); the file may be truncated or not an image: "
                "copy or download it again"
            ) from error


def inspect_scene(
    href: str,
    *,
    scene_id: str,
    role: Role,
    acquired: datetime | None,
    sensor: str | None,
    low_percent: float = 1.0,
    high_percent: float = 99.0,
) -> Scene:
    """Check that a raster can be used, and describe it.

    Raises:
        InputError: unreadable or truncated, without CRS or georeferencing, rotated or upside down, without any data.
    """
    with open_raster(href) as source:
        crs = _usable_crs(source, href)
        _check_transform(source.transform, href)
        _check_complete(source, href)
        sample, valid = _sample(source, href)
        if not valid.any():
            raise InputError(f"{href}: every pixel is nodata or black; give another raster")
        try:
            gsd_m = _ground_gsd_m(source, crs)
            extent = _data_extent(source, crs, valid)
        except ProjError as error:
            raise InputError(f"{href}: its CRS cannot be related to longitude and latitude ({error})") from error
        stretch = None
        if source.dtypes[0] != "uint8":
            stretch = _percentiles(sample, valid, low_percent, high_percent)
        return Scene(
            scene_id=scene_id,
            role=role,
            href=href,
            datetime=acquired,
            sensor=sensor,
            crs=crs,
            transform=source.transform,
            width=source.width,
            height=source.height,
            gsd_m=gsd_m,
            extent=extent,
            stretch=stretch,
            nodata=None if source.nodata is None or not np.isfinite(source.nodata) else float(source.nodata),
        )


def measure_stretch(scene: Scene, low_percent: float, high_percent: float) -> Stretch | None:
    """The percentiles of a scene's valid pixels per band, from a coarse sample; None for 8-bit imagery.

    Raises:
        InputError: the raster cannot be read.
    """
    if scene.stretch is None:
        return None
    with open_raster(scene.href) as source:
        sample, valid = _sample(source, scene.href)
    return _percentiles(sample, valid, low_percent, high_percent)


@dataclass(frozen=True)
class Chunk:
    """A window of a scene in memory, at the scene's resolution or box-averaged by `reduction`.

    `pixels` is uint8 [h, w, 4]: red, green, blue, and 255 where the pixel is valid. (`column`, `row`) is the
    scene pixel at its upper-left corner.
    """

    pixels: NDArray[np.uint8]
    column: int
    row: int
    reduction: int = 1

    def reduced(self, factor: int) -> "Chunk":
        """The chunk averaged over `factor` × `factor` valid pixels; its corner must be a multiple of `factor`."""
        if factor == 1:
            return self
        height, width = (-(-size // factor) for size in self.pixels.shape[:2])
        padded = np.zeros((height * factor, width * factor, 4), dtype=np.uint8)
        padded[: self.pixels.shape[0], : self.pixels.shape[1]] = self.pixels
        boxes = padded.reshape(height, factor, width, factor, 4)
        sums = boxes.astype(np.uint32).sum(axis=(1, 3))  # [h, w, 4]; invalid pixels are 0 and do not add
        count = sums[..., 3:] // 255
        colour = (sums[..., :3] + count // 2) // np.maximum(count, 1)
        valid = np.where(2 * count >= factor**2, 255, 0)
        out = np.concatenate([np.where(valid > 0, colour, 0), valid], axis=2).astype(np.uint8)
        return Chunk(out, self.column, self.row, self.reduction * factor)


def read_chunk(scene: Scene, columns: tuple[int, int], rows: tuple[int, int], *, multiple: int = 1) -> Chunk:
    """Read scene pixels `columns` × `rows` (half-open, clipped to the scene), each block of the file once.

    The corner is moved outwards to a multiple of `multiple` pixels. Grey imagery is repeated over three bands, bands
    tagged red, green and blue are found by their tag, otherwise the first three are taken. Pixels are invalid by an
    alpha band, an internal or external mask, a nodata value, NaN, or as black fill (`black_fill`).

    Raises:
        InputError: the raster cannot be read.
    """
    inner = [
        max(0, columns[0]) // multiple * multiple,
        min(scene.width, columns[1]),
        max(0, rows[0]) // multiple * multiple,
        min(scene.height, rows[1]),
    ]
    if inner[1] <= inner[0] or inner[3] <= inner[2]:
        return Chunk(np.zeros((0, 0, 4), dtype=np.uint8), inner[0], inner[2])
    outer = [
        max(0, inner[0] - FILL_REACH_PX),
        min(scene.width, inner[1] + FILL_REACH_PX),
        max(0, inner[2] - FILL_REACH_PX),
        min(scene.height, inner[3] + FILL_REACH_PX),
    ]
    window = Window(outer[0], outer[2], outer[1] - outer[0], outer[3] - outer[2])
    with open_raster(scene.href) as source:
        bands, valid = _read_bands(source, window=window)
    valid &= ~_fill(bands, FILL_WINDOW_PX)
    pixels = np.empty((*valid.shape, 4), dtype=np.uint8)
    for index, band in enumerate(bands):
        pixels[..., index] = band if scene.stretch is None else _stretched(band, scene.stretch[index])
    pixels[..., 3] = valid * np.uint8(255)
    pixels[~valid] = 0
    crop_rows = slice(inner[2] - outer[2], inner[3] - outer[2])
    crop_columns = slice(inner[0] - outer[0], inner[1] - outer[0])
    return Chunk(np.ascontiguousarray(pixels[crop_rows, crop_columns]), inner[0], inner[2])


def _read_bands(source: Any, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Red, green, blue [3, h, w] in the file's own type, and where the file says that they are valid [h, w]."""
    indexes = _rgb_indexes(source)
    bands = source.read(indexes, window=window)
    valid = source.dataset_mask(window=window) > 127
    if len(indexes) == 1 and source.colorinterp[0] == ColorInterp.palette:
        table = source.colormap(1)
        lookup = np.array([table.get(value, (0, 0, 0, 0))[:3] for value in range(256)], dtype=np.uint8)
        bands = np.moveaxis(lookup[bands[0]], -1, 0)
    elif len(indexes) == 1:
        bands = np.repeat(bands, 3, axis=0)
    if bands.dtype.kind == "f":
        finite = np.isfinite(bands).all(axis=0)
        valid &= finite
        bands = np.where(finite, bands, 0)
    return bands, valid


def _fill(bands: NDArray[Any], window_px: int) -> NDArray[np.bool_]:
    """Undeclared black fill: near 0 in 8 bits, exactly 0 in all bands else."""
    if bands.dtype == np.uint8:
        return black_fill(bands.max(axis=0), window_px=window_px)
    return black_fill((bands != 0).any(axis=0).astype(np.uint8) * np.uint8(255), level=0, window_px=window_px)


def _rgb_indexes(source: Any) -> list[int]:
    tags = list(source.colorinterp)
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if all(tag in tags for tag in wanted):
        return [tags.index(tag) + 1 for tag in wanted]
    colours = [index for index, tag in enumerate(tags, start=1) if tag != ColorInterp.alpha]
    return colours[:3] if len(colours) >= 3 else colours[:1]


def _stretched(band: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.uint8]:
    low, high = limits
    scaled = (band.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    out: NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return out


def _usable_crs(source: Any, href: str) -> CRS:
    if source.crs is None:
        hint = " (it has ground control points only: warp it with gdalwarp)" if source.gcps[0] else ""
        raise InputError(f"{href}: has no CRS{hint}; set it with `gdal_edit.py -a_srs EPSG:... FILE`")
    try:
        crs = CRS.from_wkt(source.crs.to_wkt())
    except CRSError as error:
        raise InputError(f"{href}: its CRS is not understood ({error})") from error
    if not (crs.is_geographic or crs.is_projected):
        raise InputError(f"{href}: its CRS '{crs.name}' is neither geographic nor projected; assign the right one")
    return crs


def _check_transform(transform: Affine, href: str) -> None:
    if transform == Affine.identity() or transform.a == 0 or transform.e == 0:
        raise InputError(f"{href}: has no georeferencing (no pixel size and corner); export it as a GeoTIFF")
    # An inclination below a hundredth of a pixel over 10,000 pixels is rounding, not rotation.
    if abs(transform.b) > 1e-6 * abs(transform.a) or abs(transform.d) > 1e-6 * abs(transform.e):
        raise InputError(
            f"{href}: its axes are rotated (geotransform {transform.to_gdal()}); warp it with gdalwarp first"
        )
    if transform.a < 0 or transform.e > 0:
        raise InputError(f"{href}: is not north up (geotransform {transform.to_gdal()}); warp it with gdalwarp first")


def _check_complete(source: Any, href: str) -> None:
    """Find a truncated file: blocks that should lie beyond its end, or ends that cannot be decoded."""
    if source.count < 1:
        raise InputError(f"{href}: has no bands")
    block_height, block_width = source.block_shapes[0]
    blocks_down, blocks_across = -(-source.height // block_height), -(-source.width // block_width)
    if source.driver in {"GTiff", "COG"} and not source.name.startswith(("/vsi", "http")):
        size = _file_size(source)
        total = blocks_down * blocks_across
        step = max(1, total // _CHECKED_BLOCKS)
        for number in {*range(0, total, step), total - 1} if size else ():
            key = f"{number % blocks_across}_{number // blocks_across}"
            offset = source.get_tag_item(f"BLOCK_OFFSET_{key}", "TIFF", bidx=source.count)
            length = source.get_tag_item(f"BLOCK_SIZE_{key}", "TIFF", bidx=source.count)
            if offset and length and int(offset) + int(length) > size:
                raise InputError(
                    f"{href}: is truncated: it has {size:,} bytes, but pixels are stored up to byte "
                    f"{int(offset) + int(length):,}; copy or download it again"
                )
    for down, across in {(0, 0), (blocks_down - 1, blocks_across - 1)}:
        window = Window(
            across * block_width,
            down * block_height,
            min(block_width, source.width - across * block_width),
            min(block_height, source.height - down * block_height),
        )
        source.read(window=window)
        source.dataset_mask(window=window)


def _file_size(source: Any) -> int:
    path = Path(source.name)
    return path.stat().st_size if path.is_file() else 0


def _sample(source: Any, href: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Pixels on a regular coarse grid: bands [3, h, w] in the file's own type, and where they are valid [h, w]."""
    largest = max(source.width, source.height)
    levels = [level for level, factor in enumerate(source.overviews(1)) if largest / factor <= _SAMPLE_FROM_PX]
    if levels and largest > _SAMPLE_FROM_PX:
        with open_raster(href, OVERVIEW_LEVEL=levels[0]) as smaller:
            return _sampled(smaller)
    return _sampled(source)


def _sampled(source: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Whole rows of blocks are read and thinned here: GDAL's own thinning decodes a block anew for every line."""
    most = _SAMPLE_PX if source.width * source.height <= _SAMPLE_ALL_UP_TO else _SAMPLE_HUGE_PX
    columns, rows = (
        np.floor((np.arange(min(most, size)) + 0.5) * size / min(most, size)).astype(int)
        for size in (source.width, source.height)
    )
    block_height = source.block_shapes[0][0]
    bands, valid = [], []
    for block in np.unique(rows // block_height):
        here = rows[rows // block_height == block]
        window = Window(0, here[0], source.width, here[-1] - here[0] + 1)
        strip, usable = _read_bands(source, window=window)
        bands.append(strip[:, here - here[0]][:, :, columns])
        valid.append(usable[here - here[0]][:, columns])
    joined = np.concatenate(bands, axis=1)
    step = max(1.0, source.height / len(rows))
    return joined, np.concatenate(valid) & ~_fill(joined, max(3, round(FILL_WINDOW_PX / step)))


def _percentiles(bands: NDArray[Any], valid: NDArray[np.bool_], low: float, high: float) -> Stretch:
    limits = []
    for band in bands:
        bottom, top = np.percentile(band[valid].astype(np.float64), (low, high))
        limits.append((float(bottom), float(top) if top > bottom else float(bottom) + 1.0))
    return tuple(limits)


def _ground_gsd_m(source: Any, crs: CRS) -> float:
    """Geometric mean of a pixel's ground width and height at the raster's centre."""
    column, row = source.width / 2, source.height / 2
    x, y = zip(
        *(source.transform @ point for point in ((column, row), (column + 1, row), (column, row + 1))), strict=True
    )
    lon, lat = transformer(crs, WGS84).transform(x, y, errcheck=True)
    east, north = transformer(WGS84, crs_of_epsg(utm_epsg(lon[0], lat[0]))).transform(lon, lat, errcheck=True)
    across = float(np.hypot(east[1] - east[0], north[1] - north[0]))
    down = float(np.hypot(east[2] - east[0], north[2] - north[0]))
    return float(np.sqrt(across * down))


def _data_extent(source: Any, crs: CRS, valid: NDArray[np.bool_]) -> BaseGeometry:
    """The area with data in EPSG:4326, from the coarse sample."""
    cell = source.transform @ Affine.scale(source.width / valid.shape[1], source.height / valid.shape[0])
    if valid.all():
        left, top = source.transform @ (0, 0)
        right, bottom = source.transform @ (source.width, source.height)
        area = box(left, bottom, right, top).segmentize(max(right - left, top - bottom) / 8)
    else:
        pieces = (shape(piece) for piece, value in shapes(valid.astype(np.uint8), transform=cell) if value == 1)
        area = unary_union(list(pieces)).simplify(abs(cell.a))
    xy = get_coordinates(area)
    lon, lat = transformer(crs, WGS84).transform(xy[:, 0], xy[:, 1], errcheck=True)
    on_globe: BaseGeometry = make_valid(set_coordinates(area, np.column_stack([lon, lat])))
    return on_globe
