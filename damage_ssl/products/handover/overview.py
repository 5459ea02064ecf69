"""Where the map of a pack lies, and small pictures of both dates of it.

Bounds are web mercator (EPSG:3857): locally true to shape, north is up, and what Leaflet lays pictures out in.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image

from damage_ssl.grid import crs_of_epsg, transformer
from damage_ssl.imagery.display import Bounds
from damage_ssl.imagery.map_tiles import crop
from damage_ssl.imagery.scene import Scene
from damage_ssl.products.handover.facts import HandoverFacts

if TYPE_CHECKING:
    import geopandas as gpd

_LEAST_M = 100.0
_QUALITIES = (75, 60, 45, 30)


def map_bounds(facts: HandoverFacts, *, margin: float = 0.03) -> Bounds:
    """What the map shows, EPSG:3857: the chosen buildings, else all, else the area of interest, with a margin."""
    shapes = facts.table.geometry.to_numpy()
    extents = [shapely.total_bounds(each) for each in (shapes[facts.rows], shapes) if len(each)]
    areas = [facts.aoi, *(scene.extent for scene in facts.post_scenes)]
    extents += [np.array(area.bounds) for area in areas if area is not None]
    extent = next((each for each in extents if np.isfinite(each).all()), np.zeros(4))
    left, bottom, right, top = to_mercator(extent[[0, 2]], extent[[1, 3]]).ravel()
    x, y = (left + right) / 2, (bottom + top) / 2
    half_x, half_y = (max(side, _LEAST_M) * (0.5 + margin) for side in (right - left, top - bottom))
    return float(x - half_x), float(y - half_y), float(x + half_x), float(y + half_y)


def to_mercator(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees to (x, y) [N, 2] in EPSG:3857."""
    project = transformer(crs_of_epsg(4326), crs_of_epsg(3857))
    return np.column_stack(project.transform(np.asarray(lon), np.asarray(lat)))


def degrees_of(bounds: Bounds) -> Bounds:
    """Web mercator bounds as (west, south, east, north)."""
    lon, lat = transformer(crs_of_epsg(3857), crs_of_epsg(4326)).transform(bounds[::2], bounds[1::2])
    return lon[0], lat[0], lon[1], lat[1]


def overview_picture(scenes: Sequence[Scene], bounds: Bounds, *, side_px: int, most_bytes: int) -> bytes | None:
    """The scenes within bounds as WebP of at most `side_px` a side and `most_bytes`; None where they have no pixels.

    Compressed harder first, then made smaller, until it fits; never finer than the finest scene. Scenes first in the
    list lie on top; each is read only where it lies, so that many small scenes cost no more than one big one.
    """
    left, bottom, right, top = bounds
    width_m, height_m = right - left, top - bottom
    _, south, _, north = degrees_of(bounds)
    true_m = max(width_m, height_m) * np.cos(np.radians((south + north) / 2))
    side_px = min(side_px, max(64, int(true_m / min((scene.gsd_m for scene in scenes), default=1.0))))
    metres = max(width_m, height_m) / side_px
    size = (max(1, round(width_m / metres)), max(1, round(height_m / metres)))
    image = Image.new("RGBA", size)
    for scene in reversed(scenes):
        west, south, east, north = scene.extent.bounds
        corners = to_mercator(np.array([west, east]), np.array([south, north]))
        (x0, y1), (x1, y0) = (corners - (left, top)) / (metres, -metres)
        x0, y0 = max(0, int(np.floor(x0))), max(0, int(np.floor(y0)))
        x1, y1 = min(size[0], int(np.ceil(x1))), min(size[1], int(np.ceil(y1)))
        if x0 >= x1 or y0 >= y1:
            continue
        part = (left + x0 * metres, top - y1 * metres, left + x1 * metres, top - y0 * metres)
        picture = crop([scene], part, degrees_of(part), width_px=x1 - x0, height_px=y1 - y0)
        if picture.data:
            with Image.open(io.BytesIO(picture.data)) as piece:
                image.alpha_composite(piece.convert("RGBA"), (x0, y0))
    if image.getbbox() is None:  # transparent all over
        return None
    while True:
        for quality in _QUALITIES:
            file = io.BytesIO()
            image.save(file, "WEBP", quality=quality)
            if file.tell() <= most_bytes:
                return file.getvalue()
        image = image.resize((max(1, image.width * 3 // 4), max(1, image.height * 3 // 4)), Image.Resampling.LANCZOS)


def shapes_in_mercator(table: "gpd.GeoDataFrame") -> NDArray[np.object_]:
    """The geometry of a table in EPSG:4326 as EPSG:3857."""
    shapes: NDArray[np.object_] = shapely.transform(
        table.geometry.to_numpy(), lambda xy: to_mercator(xy[:, 0], xy[:, 1])
    )
    return shapes
