"""Scenes as the map shows them: any part of one in web mercator, at a cost that depends on the picture alone.

GDAL's warper, also below rio-tiler, makes a virtual raster of the whole target at the scene's own resolution: a tile of
half the world over a picture of 500 pixels took gigabytes. Here the target is first clipped to the scene, the scene
is read once at about the target's resolution, from its overviews, and laid over a mesh by Pillow, which takes half of
the time of GDAL's warper.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from PIL import Image

from damage_ssl.errors import InputError
from damage_ssl.grid import crs_of_epsg, transformer
from damage_ssl.imagery.bands import FILL_REACH_PX
from damage_ssl.imagery.chunks import read_chunk
from damage_ssl.imagery.raster import from_raster
from damage_ssl.imagery.scene import Overview, Scene

Bounds = tuple[float, float, float, float]
RGBA = NDArray[np.uint8]
Patch = tuple[tuple[int, int, int, int], tuple[float, ...]]

QUICK_BYTES = 10_000_000
"""What is decompressed for a map tile in well under 100 ms; beyond it a copy of the scene is made for the map."""
MOST_BYTES = 20_000_000
"""What may be decompressed for one, where there is no copy (yet); a block of a file is decompressed whole."""
MOST_CROP_BYTES = 200_000_000
"""The same for the crop of a building, which an analyst waits for: long strips are read whole for it."""
_MOST_READ_PX = 4_000_000
"""What is held at once of a picture that may cost what it will; it is read in parts."""
_MERCATOR_LATITUDE = 85.05
_MERCATOR = crs_of_epsg(3857)
_EDGE_PX = 2
_MESH, _PATCH_PX = 16, 32


@dataclass(frozen=True)
class Part:
    """What a scene shows of a picture: [h, w, 4], 0 where it has no pixels, from column `left` and row `top` on."""

    pixels: RGBA
    left: int
    top: int


class CostlyError(InputError):
    """The scene has no overviews that a part of it could be read from at a bounded cost."""


def read_part(scene: Scene, bounds: Bounds, width: int, height: int, *, most_bytes: int | None = None) -> Part | None:
    """A scene within `bounds` (EPSG:3857, metres), stretched to 8 bits and smoothed.

    Args:
        scene: what is shown; all its file's overviews serve, also those that are no averages.
        bounds: left, bottom, right, top.
        width: pixels across.
        height: pixels down.
        most_bytes: what may be decompressed for it; None: as much as it takes, in parts, so that memory is bounded.

    Returns:
        what of it the scene reaches; None where it has no pixels at all.

    Raises:
        CostlyError: it would take more than `most_bytes`.
        SourceError: the raster cannot be read.
    """
    place = _clipped(scene, bounds, width, height)
    if place is None:
        return None
    left, top, right, bottom = place
    step_x, step_y = (bounds[2] - bounds[0]) / width, (bounds[3] - bounds[1]) / height
    transform = Affine(step_x, 0, bounds[0] + left * step_x, 0, -step_y, bounds[3] - top * step_y)
    part = _warped(_with_all_overviews(scene), transform, right - left, bottom - top, most_bytes)
    return Part(part, left, top) if part[..., 3].any() else None


def _clipped(scene: Scene, bounds: Bounds, width: int, height: int) -> tuple[int, int, int, int] | None:
    """Columns and rows (left, top, right, bottom) of the picture that the scene reaches; None where it does not."""
    west, south, east, north = _degrees(scene)
    latitudes = np.clip([south, north], -_MERCATOR_LATITUDE, _MERCATOR_LATITUDE)
    x, y = transformer(crs_of_epsg(4326), _MERCATOR).transform(np.array([west, east]), latitudes)
    columns = (np.asarray(x) - bounds[0]) / (bounds[2] - bounds[0]) * width
    rows = (bounds[3] - np.asarray(y)[::-1]) / (bounds[3] - bounds[1]) * height
    left, right = int(np.clip(np.floor(columns[0]) - 1, 0, width)), int(np.clip(np.ceil(columns[1]) + 1, 0, width))
    top, bottom = int(np.clip(np.floor(rows[0]) - 1, 0, height)), int(np.clip(np.ceil(rows[1]) + 1, 0, height))
    return (left, top, right, bottom) if left < right and top < bottom else None


def _degrees(scene: Scene) -> Bounds:
    """West, south, east, north of the whole raster; all longitudes where it crosses the date line."""
    found = transformer(scene.crs, crs_of_epsg(4326)).transform_bounds(*scene.bounds, densify_pts=5)
    if not np.isfinite(found).all():
        found = scene.extent.bounds
    west, south, east, north = found
    return (west, south, east, north) if west <= east else (-180.0, south, 180.0, north)


def _warped(scene: Scene, transform: Affine, width: int, height: int, most_bytes: int | None) -> RGBA:
    """The scene on a grid of EPSG:3857 [height, width, 4]; in halves where it would be too much at once."""
    picture = np.zeros((height, width, 4), dtype=np.uint8)
    window = _window(scene, transform, width, height)
    if window is None:
        return picture
    columns, rows, finer = window
    factor = max(1, min(round(finer), columns[1] - columns[0], rows[1] - rows[0]))
    area = (columns[1] - columns[0]) * (rows[1] - rows[0])
    if most_bytes is not None:
        _check_cost(scene, columns, rows, factor, most_bytes)
    elif area / _served(scene, factor) ** 2 > _MOST_READ_PX and max(width, height) > 1:
        return _halves(scene, transform, width, height)
    chunk = read_chunk(scene, columns, rows, reduction=factor)
    if not chunk.pixels.size:
        return picture
    to_chunk = ~(scene.transform @ Affine.translation(chunk.column, chunk.row) @ Affine.scale(*chunk.steps))
    return _drawn(chunk.pixels, _mesh(scene, transform, to_chunk, width, height), width, height)


def _mesh(scene: Scene, transform: Affine, to_chunk: Affine, width: int, height: int) -> list[Patch]:
    """Rectangles of the grid and where their corners lie in the pixels read: the way between is as good as straight."""
    x, y = (np.linspace(0, side, min(_MESH, -(-side // _PATCH_PX)) + 1).round().astype(int) for side in (width, height))
    across, down = np.meshgrid(x, y)
    east, north = _applied(transform, across.ravel(), down.ravel())
    there = transformer(_MERCATOR, scene.crs).transform(east, north)
    columns, rows = _applied(to_chunk, np.asarray(there[0]), np.asarray(there[1]))
    corner = np.stack([columns, rows], axis=1).reshape(len(y), len(x), 2)
    patches: list[Patch] = []
    for i in range(len(y) - 1):
        for j in range(len(x) - 1):
            quad = np.concatenate([corner[i, j], corner[i + 1, j], corner[i + 1, j + 1], corner[i, j + 1]])
            if np.isfinite(quad).all():
                box = int(x[j]), int(y[i]), int(x[j + 1]), int(y[i + 1])
                patches.append((box, tuple(quad.tolist())))
    return patches


def _applied(to: Affine, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return to.a * x + to.b * y + to.c, to.d * x + to.e * y + to.f


def _drawn(pixels: RGBA, mesh: list[Patch], width: int, height: int) -> RGBA:
    """The pixels over the mesh, smoothed; at the border of missing ones the colour is that of those that are there."""
    if not mesh:
        return np.zeros((height, width, 4), dtype=np.uint8)
    # what is missing is 0 in colour too, as Pillow's premultiplied mode has it
    image = Image.frombytes("RGBa", pixels.shape[1::-1], pixels.tobytes())
    drawn = np.array(image.transform((width, height), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR))
    share = drawn[..., 3:].astype(np.uint16)
    if share.min() == 255:
        return drawn
    there = share > 127
    colours = np.minimum(drawn[..., :3].astype(np.uint16) * 255 // np.maximum(share, 1), 255)
    return np.concatenate([np.where(there, colours, 0), np.where(there, 255, 0)], axis=2).astype(np.uint8)


def _halves(scene: Scene, transform: Affine, width: int, height: int) -> RGBA:
    if width >= height:
        cut = width // 2
        right = transform @ Affine.translation(cut, 0)
        parts = [
            _warped(scene, transform, cut, height, None),
            _warped(scene, right, width - cut, height, None),
        ]
        return np.concatenate(parts, axis=1)
    cut = height // 2
    below = transform @ Affine.translation(0, cut)
    return np.concatenate(
        [_warped(scene, transform, width, cut, None), _warped(scene, below, width, height - cut, None)]
    )


def _window(
    scene: Scene, transform: Affine, width: int, height: int
) -> tuple[tuple[int, int], tuple[int, int], float] | None:
    """Columns and rows of the scene that a grid of EPSG:3857 covers, and scene pixels a pixel of the grid."""
    left, top = transform @ (0, 0)
    right, bottom = transform @ (width, height)
    area = transformer(_MERCATOR, scene.crs).transform_bounds(left, bottom, right, top, densify_pts=5)
    inverse = ~scene.transform
    x0, y0 = inverse @ (area[0], area[3])
    x1, y1 = inverse @ (area[2], area[1])
    if not np.isfinite([x0, y0, x1, y1]).all():
        return None
    finer = max(1.0, min((x1 - x0) / width, (y1 - y0) / height))
    edge = _EDGE_PX * finer
    columns = max(0, int(np.floor(x0 - edge))), min(scene.width, int(np.ceil(x1 + edge)))
    rows = max(0, int(np.floor(y0 - edge))), min(scene.height, int(np.ceil(y1 + edge)))
    return (columns, rows, finer) if columns[0] < columns[1] and rows[0] < rows[1] else None


def _with_all_overviews(scene: Scene) -> Scene:
    """The scene read from any overview of its file: nearest pixels look rougher than averages and show the same."""
    factors = stored(scene.href).factors
    found = {factor: Overview(level, factor) for level, factor in reversed(list(enumerate(factors))) if factor >= 2}
    trusted = {overview.factor: overview for overview in scene.overviews}
    return replace(scene, overviews=tuple(sorted((found | trusted).values(), key=lambda each: each.factor)))


def _overview_for(scene: Scene, factor: int) -> Overview | None:
    serving = [overview for overview in scene.overviews if overview.factor <= factor]
    return max(serving, key=lambda overview: overview.factor, default=None)


def _served(scene: Scene, factor: int) -> int:
    """How much smaller the finest file is that serves `factor`."""
    overview = _overview_for(scene, factor)
    return 1 if overview is None else overview.factor


def _check_cost(scene: Scene, columns: tuple[int, int], rows: tuple[int, int], factor: int, most_bytes: int) -> None:
    overview = _overview_for(scene, factor)
    cost = decoded_bytes(stored(scene.href, None if overview is None else overview.level), scene, columns, rows)
    if cost > most_bytes:
        raise CostlyError(f"{scene.scene_id}: has no overviews for this zoom; `gdaladdo` makes them, or zoom in")


@dataclass(frozen=True)
class Stored:
    """How a raster or one of its overviews lies in its file; `factors` of its overviews, in GDAL's order."""

    width: int
    height: int
    block: tuple[int, int]
    bytes_a_px: int
    factors: tuple[int, ...]


def stored(href: str, level: int | None = None) -> Stored:
    """How a raster, or its overview of that number, is stored; looked up once for as long as the file is the same."""
    try:
        state = Path(href).stat()
    except OSError:
        return _stored(href, level, (0, 0))
    return _stored(href, level, (state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=10_000)
def _stored(href: str, level: int | None, _state: tuple[int, int]) -> Stored:
    def describe(source: Any) -> Stored:
        together = source.interleaving is not None and source.interleaving.value.lower() == "pixel"
        bytes_a_px = (source.count if together else 3) * int(np.dtype(source.dtypes[0]).itemsize)
        tall, wide = source.block_shapes[0]
        factors = tuple(round(each) for each in source.overviews(1))
        return Stored(source.width, source.height, (tall, wide), bytes_a_px, factors)

    return from_raster(href, describe, overview=level)


def decoded_bytes(file: Stored, scene: Scene, columns: tuple[int, int], rows: tuple[int, int]) -> int:
    """What is decompressed of a scene's file or overview to read a window of scene pixels."""
    across = _decoded(columns, scene.width / file.width, file.width, file.block[1])
    down = _decoded(rows, scene.height / file.height, file.height, file.block[0])
    return across * down * file.bytes_a_px


def _decoded(span: tuple[int, int], step: float, size: int, block: int) -> int:
    """How many pixels of a file's axis are decompressed for a span of scene pixels: whole blocks, with the halo."""
    first = max(0, int(span[0] / step) - FILL_REACH_PX) // block
    last = min(size, int(span[1] / step) + 1 + FILL_REACH_PX)
    return (-(-last // block) - first) * block
