"""Web map tiles and crops for the browser, mosaicked from the scenes of one side."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from morecantile import Tile
from morecantile.defaults import tms as grids
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer
from shapely import box
from shapely.geometry.base import BaseGeometry

from damage_ssl.grid import crs_of_epsg, transformer
from damage_ssl.imagery.display import (
    MOST_BYTES,
    MOST_CROP_BYTES,
    QUICK_BYTES,
    RGBA,
    Bounds,
    CostlyError,
    Part,
    read_part,
)
from damage_ssl.imagery.display_copies import DisplayCopies
from damage_ssl.imagery.scene import Scene

TILE_PX = 512
_WEB_MERCATOR = grids.get("WebMercatorQuad")
MAX_ZOOM = 24
_EARTH_M = 6_378_137.0
"""The radius of EPSG:3857, where a metre of the ground is cosh(y / radius) metres of the map."""


@dataclass(frozen=True)
class Picture:
    """An encoded image and its media type; `data` is empty where no scene has pixels."""

    data: bytes
    media_type: str


NOTHING = Picture(b"", "image/png")


def tile(scenes: Sequence[Scene], z: int, x: int, y: int, copies: DisplayCopies | None = None) -> Picture:
    """One web map tile of `TILE_PX`; scenes first in the list lie on top. Transparent where there are no data.

    Args:
        scenes: of one side.
        z: zoom.
        x: column.
        y: row.
        copies: stand for scenes that no tile could be read from at a bounded cost, and are begun for those.

    Raises:
        CostlyError: a scene has no overviews, and no copy of it is there (yet).
    """
    address = Tile(x, y, z)
    wgs84, mercator = _WEB_MERCATOR.bounds(address), _WEB_MERCATOR.xy_bounds(address)
    over = _overlapping(scenes, (wgs84.left, wgs84.bottom, wgs84.right, wgs84.top))
    return _mosaic(
        over,
        (TILE_PX, TILE_PX),
        _bounded((mercator[0], mercator[1], mercator[2], mercator[3]), TILE_PX, TILE_PX, copies, len(over), MOST_BYTES),
    )


def crop(
    scenes: Sequence[Scene],
    bounds: Bounds,
    wgs84: Bounds,
    *,
    width_px: int,
    height_px: int,
    copies: DisplayCopies | None = None,
) -> Picture:
    """The imagery within `bounds` (web mercator, metres), which is `wgs84` in degrees.

    With `copies` at a bounded cost, as of a `tile`; else at any, in bounded memory.

    Raises:
        CostlyError: with `copies`: a scene has no overviews, and no copy of it is there (yet).
    """
    over = _overlapping(scenes, wgs84)
    if copies is not None:
        return _mosaic(
            over, (width_px, height_px), _bounded(bounds, width_px, height_px, copies, len(over), MOST_CROP_BYTES)
        )
    return _mosaic(over, (width_px, height_px), lambda scene: read_part(scene, bounds, width_px, height_px))


def _bounded(
    bounds: Bounds, width: int, height: int, copies: DisplayCopies | None, scenes: int, most_bytes: int
) -> Callable[[Scene], Part | None]:
    """How one of some scenes of a picture is read; zoomed out they share what is quick, else none may lose detail."""
    ground_m = (bounds[2] - bounds[0]) / width / np.cosh((bounds[1] + bounds[3]) / 2 / _EARTH_M)

    def read(scene: Scene) -> Part | None:
        if copies is not None:
            quick = QUICK_BYTES // scenes if ground_m >= 2 * scene.gsd_m else most_bytes
            try:
                return read_part(scene, bounds, width, height, most_bytes=quick)
            except CostlyError:
                copy = copies.find(scene)
            if copy is not None:
                return read_part(copy, bounds, width, height, most_bytes=most_bytes)
        return read_part(scene, bounds, width, height, most_bytes=most_bytes)

    return read


def native_zoom(gsd_m: float, latitude: float) -> int:
    """The zoom whose tiles are at least as fine as the imagery."""
    metres_at_zero = 156543.034 * np.cos(np.radians(latitude))
    return int(np.clip(np.ceil(np.log2(metres_at_zero / gsd_m)), 0, MAX_ZOOM))


def _overlapping(scenes: Sequence[Scene], wgs84: Bounds) -> list[Scene]:
    area = box(*wgs84)
    return [scene for scene in scenes if scene.extent.intersects(area)]


def _mosaic(scenes: Sequence[Scene], size: tuple[int, int], read: Callable[[Scene], Part | None]) -> Picture:
    """The scenes over one another in a picture of `size` (width, height), until nothing is missing any more."""
    picture: RGBA = np.zeros((*size[::-1], 4), dtype=np.uint8)
    for scene in scenes:
        part = read(scene)
        if part is None:
            continue
        height, width = part.pixels.shape[:2]
        place = picture[part.top : part.top + height, part.left : part.left + width]
        np.copyto(place, part.pixels, where=place[..., 3:] == 0)
        if picture[..., 3].all():
            return _encoded(picture[..., :3], "JPEG", quality=88)
    return _encoded(picture, "PNG", compress_level=3) if picture[..., 3].any() else NOTHING


def _encoded(pixels: NDArray[np.uint8], image_format: str, **options: int) -> Picture:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, image_format, **options)
    return Picture(file.getvalue(), f"image/{image_format.lower()}")


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
