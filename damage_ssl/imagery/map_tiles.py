"""Web map tiles and crops for the browser, mosaicked from the scenes of one side."""

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from morecantile import Tile
from morecantile.defaults import tms as grids
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer
from rio_tiler.errors import EmptyMosaicError, NoOverviewWarning, TileOutsideBounds
from rio_tiler.io import Reader
from rio_tiler.models import ImageData
from rio_tiler.mosaic import mosaic_reader
from shapely import box
from shapely.geometry.base import BaseGeometry

from damage_ssl.grid import crs_of_epsg, transformer
from damage_ssl.imagery.bands import FILL_LEVEL, black_fill, is_fill, rgb_indexes
from damage_ssl.imagery.href import gdal_path
from damage_ssl.imagery.raster import gdal_environment
from damage_ssl.imagery.scene import Scene

TILE_PX = 512
_WEB_MERCATOR = grids.get("WebMercatorQuad")
MAX_ZOOM = 24


Bounds = tuple[float, float, float, float]
Read = Callable[[Reader, tuple[int, ...]], ImageData]


# A scene without overviews is slower to show when zoomed out, which the user can do nothing about here.
warnings.filterwarnings("ignore", category=NoOverviewWarning)


@dataclass(frozen=True)
class Picture:
    """An encoded image and its media type; `data` is empty where no scene has pixels."""

    data: bytes
    media_type: str


NOTHING = Picture(b"", "image/png")


def tile(scenes: Sequence[Scene], z: int, x: int, y: int) -> Picture:
    """One web map tile of `TILE_PX`; scenes first in the list lie on top. Transparent where there are no data."""
    wgs84 = _WEB_MERCATOR.bounds(Tile(x, y, z))
    over = _overlapping(scenes, (wgs84.left, wgs84.bottom, wgs84.right, wgs84.top))
    return _mosaic(over, lambda reader, bands: reader.tile(x, y, z, tilesize=TILE_PX, indexes=bands, **_SMOOTH))


def crop(scenes: Sequence[Scene], bounds: Bounds, wgs84: Bounds, *, width_px: int, height_px: int) -> Picture:
    """The imagery within `bounds` (web mercator, metres), which is `wgs84` in degrees."""
    size: dict[str, Any] = {"width": width_px, "height": height_px}
    crs = _WEB_MERCATOR.rasterio_crs
    return _mosaic(
        _overlapping(scenes, wgs84),
        lambda reader, bands: reader.part(bounds, dst_crs=crs, bounds_crs=crs, indexes=bands, **size, **_SMOOTH),
    )


_SMOOTH: dict[str, Any] = {"resampling_method": "bilinear", "reproject_method": "bilinear"}


def native_zoom(gsd_m: float, latitude: float) -> int:
    """The zoom whose tiles are at least as fine as the imagery."""
    metres_at_zero = 156543.034 * np.cos(np.radians(latitude))
    return int(np.clip(np.ceil(np.log2(metres_at_zero / gsd_m)), 0, MAX_ZOOM))


def _overlapping(scenes: Sequence[Scene], wgs84: Bounds) -> list[Scene]:
    area = box(*wgs84)
    return [scene for scene in scenes if scene.extent.intersects(area)]


def _mosaic(scenes: list[Scene], read: Read) -> Picture:
    if not scenes:
        return NOTHING
    try:
        image, _ = mosaic_reader(
            scenes, lambda scene: _eight_bit(scene, read), threads=0, allowed_exceptions=(TileOutsideBounds,)
        )
    except (EmptyMosaicError, TileOutsideBounds):
        return NOTHING
    missing = np.ma.getmaskarray(image.array).any(axis=0)
    if missing.all():
        return NOTHING
    pixels = np.moveaxis(np.ma.getdata(image.array), 0, -1)  # [H, W, 3]
    if not missing.any():
        return _encoded(pixels, "JPEG", quality=88)
    return _encoded(np.dstack([pixels, np.where(missing, 0, 255).astype(np.uint8)]), "PNG", compress_level=3)


def _encoded(pixels: NDArray[np.uint8], image_format: str, **options: int) -> Picture:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, image_format, **options)
    return Picture(file.getvalue(), f"image/{image_format.lower()}")


def _eight_bit(scene: Scene, read: Read) -> ImageData:
    """Red, green, blue as uint8 with the recorded stretch; black fill of files without a mask counts as missing."""
    with gdal_environment(scene.href), Reader(gdal_path(scene.href)) as reader:
        image = read(reader, tuple(scene.bands or rgb_indexes(reader.dataset)))
        if reader.colormap:
            image = image.apply_colormap(reader.colormap)
    array = image.array
    if array.shape[0] == 1:
        array = np.ma.repeat(array, 3, axis=0)
    pixels = np.ma.getdata(array)
    missing: NDArray[np.bool_] = np.asarray(np.ma.getmaskarray(array).any(axis=0))
    if pixels.dtype.kind == "f":
        missing = missing | ~np.isfinite(pixels).all(axis=0)
        pixels = np.where(np.isfinite(pixels), pixels, 0)
    missing = missing | _fill(pixels, missing)
    if scene.fill is not None:
        missing = missing | is_fill(pixels, scene.fill)
        pixels = np.where(missing, 0, pixels)
    if scene.stretch is not None:
        low, high = np.array(scene.stretch, dtype=np.float32).T[:, :, None, None]
        pixels = np.clip(np.rint((pixels.astype(np.float32) - low) * (255 / (high - low))), 0, 255).astype(np.uint8)
    mask = np.broadcast_to(missing, pixels.shape)
    return ImageData(np.ma.MaskedArray(pixels, mask=mask), crs=image.crs, bounds=image.bounds, assets=[scene.scene_id])


def _fill(pixels: NDArray[np.generic], missing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Black fill; pixels already known to be missing count as black, so that fill beside them is found too."""
    peak = pixels.max(axis=0)
    if pixels.dtype != np.uint8:
        return black_fill(((peak != 0) & ~missing).astype(np.uint8) * np.uint8(255), level=0)
    return black_fill(np.where(missing, np.uint8(0), peak), level=FILL_LEVEL)


WIDTH_PX, HEIGHT_PX = 380, 500
_MARGIN = {"close": 1.7, "wide": 4.5}
_LEAST_M = {"close": 30.0, "wide": 110.0}

VIEWS = tuple(_MARGIN)


@dataclass(frozen=True)
class Frame:
    """A crop: `mercator` bounds in metres of EPSG:3857, the same in degrees, its true width on the ground."""

    mercator: Bounds
    wgs84: Bounds
    width_m: float


def frame_around(footprint: BaseGeometry, view: str) -> Frame:
    """The crop of `WIDTH_PX` × `HEIGHT_PX` pixels around a footprint (EPSG:4326), close or wide."""
    to_mercator = _to_mercator()
    west, south, east, north = footprint.bounds
    left, bottom = to_mercator.transform(west, south)
    right, top = to_mercator.transform(east, north)
    stretch = 1 / np.cos(np.radians((south + north) / 2))
    aspect = HEIGHT_PX / WIDTH_PX
    width = max(_LEAST_M[view] * stretch, _MARGIN[view] * max(right - left, (top - bottom) / aspect))
    x, y = (left + right) / 2, (bottom + top) / 2
    mercator = (x - width / 2, y - width * aspect / 2, x + width / 2, y + width * aspect / 2)
    lon, lat = to_mercator.transform(mercator[::2], mercator[1::2], direction="INVERSE")
    return Frame(mercator, (lon[0], lat[0], lon[1], lat[1]), float(width / stretch))


def outline_in(footprint: BaseGeometry, frame: Frame) -> list[list[list[float]]]:
    """Outer rings of the footprint as (x, y) shares of the crop's width and height, from its upper left corner."""
    left, bottom, right, top = frame.mercator
    rings = []
    for part in shapely.get_parts(footprint):
        lon, lat = shapely.get_coordinates(part.exterior).T
        x, y = _to_mercator().transform(lon, lat)
        shares = np.column_stack([(x - left) / (right - left), (top - y) / (top - bottom)])
        rings.append(np.round(shares, 4).tolist())
    return rings


@lru_cache(maxsize=1)  # to look it up by its systems takes as long as to use it
def _to_mercator() -> Transformer:
    return transformer(crs_of_epsg(4326), crs_of_epsg(3857))
