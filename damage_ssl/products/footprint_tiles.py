"""Map tiles of the footprints themselves, for views that hold more of them than a browser should draw.

Far out every building is a small square at its place, never less than two pixels; nearer it is its polygon. The worst
damaged are drawn last, so that they are seen.
"""

import io
from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

from damage_ssl.products.map_style import STYLES
from damage_ssl.registration.placement import OnMap, mercator_of

TILE_PX = 512
"""Tiles are drawn at twice the usual side: fewer requests, and the squares stay small."""

_POLYGONS_FROM_PX = 4.5
_RANKS = np.array([style.rank for style in STYLES], dtype=np.uint8)
_CLEAR = 0
_SQUARE_OPACITY = 0.92

Geometry = Callable[[NDArray[np.intp]], NDArray[np.object_]]


def tile(
    address: tuple[int, int, int],
    places: OnMap,
    codes: NDArray[np.uint8],
    geometry: Geometry,
    shown: NDArray[np.bool_] | None = None,
) -> bytes:
    """A PNG of `TILE_PX` for the web map tile (z, x, y); empty where no building lies on it.

    Args:
        address: zoom, column and row of the tile.
        places: where all buildings lie [N].
        codes: index of each building's style in `STYLES` [N].
        geometry: the polygons (EPSG:4326) of given rows.
        shown: which buildings to draw [N]; None: all.
    """
    z, x, y = address
    scale = TILE_PX * 2.0**z
    corner = np.array([x, y]) / 2.0**z
    reach = max(3 / scale, float(places.sizes.max(initial=0)) / 2)
    (west, north), (east, south) = corner - reach, corner + 2.0**-z + reach
    across, down = places.centres.T
    near = (across > west) & (across < east) & (down > north) & (down < south)
    rows = np.flatnonzero(near if shown is None else near & shown)
    if not len(rows):
        return b""
    rows = rows[np.argsort(_RANKS[codes[rows]], kind="stable")]
    typical_px = float(np.median(places.sizes[rows])) * scale
    if typical_px >= _POLYGONS_FROM_PX:
        return _polygons(geometry(rows), codes[rows], corner, scale)
    side = int(np.clip(np.rint(typical_px), 2, 4))
    return _squares((places.centres[rows] - corner) * scale, codes[rows], side)


def _squares(places: NDArray[np.float64], codes: NDArray[np.uint8], side: int) -> bytes:
    pixels = np.full((TILE_PX + 2 * side, TILE_PX + 2 * side), _CLEAR, dtype=np.uint8)
    column, row = np.clip(np.rint(places - side / 2).astype(np.int64) + side, 0, TILE_PX + side - 1).T
    for down in range(side):
        for right in range(side):
            pixels[row + down, column + right] = 1 + codes
    inner = pixels[side : side + TILE_PX, side : side + TILE_PX]
    return _png(Image.fromarray(np.ascontiguousarray(inner)), _SQUARES)


def _polygons(
    shapes: NDArray[np.object_], codes: NDArray[np.uint8], corner: NDArray[np.float64], scale: float
) -> bytes:
    image = Image.new("L", (TILE_PX, TILE_PX), _CLEAR)
    draw = ImageDraw.Draw(image)
    parts, owner = shapely.get_parts(shapes, return_index=True)
    rings = shapely.get_exterior_ring(parts)
    points, ring_of = shapely.get_coordinates(rings, return_index=True)
    flat = ((mercator_of(points) - corner) * scale).ravel().tolist()
    ends = (2 * np.searchsorted(ring_of, np.arange(len(rings)), side="right")).tolist()
    start = 0
    for end, code in zip(ends, codes[owner].tolist(), strict=True):
        if end - start >= 6:
            draw.polygon(flat[start:end], fill=1 + code, outline=1 + len(STYLES) + code)
        start = end
    return _png(image, _OUTLINED)


def _png(image: Image.Image, palette: tuple[bytes, bytes]) -> bytes:
    colours, opacities = palette
    image.putpalette(colours)
    file = io.BytesIO()
    image.save(file, "PNG", transparency=opacities, compress_level=3)
    return file.getvalue()


def _palette(*entries: tuple[str, float]) -> tuple[bytes, bytes]:
    colours = b"".join(bytes(ImageColor.getrgb(colour)[:3]) for colour, _ in entries)
    return colours, bytes(round(255 * opacity) for _, opacity in entries)


_FILLS = [(style.fill, style.fill_opacity) for style in STYLES]
_LINES = [(style.line, style.line_opacity) for style in STYLES]
_DOTS = [(style.fill, min(_SQUARE_OPACITY, 0.35 + 0.2 * style.rank)) for style in STYLES]
_SQUARES = _palette(("#000000", 0.0), *_DOTS)
_OUTLINED = _palette(("#000000", 0.0), *_FILLS, *_LINES)
