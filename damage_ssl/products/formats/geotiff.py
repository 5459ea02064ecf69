"""The map as a raster: a Cloud-Optimised GeoTIFF with overviews, one class number and colour a pixel.

Strips of the raster are drawn one after the other, so that memory does not grow with the event; GDAL's COG driver then
orders them and makes the overviews.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from damage_ssl.errors import StorageError
from damage_ssl.files import atomic_path
from damage_ssl.grid import crs_of_epsg, utm_epsg
from damage_ssl.products.formats import Metadata, ProductWriter
from damage_ssl.products.formats.ogr import checked, gdal_errors
from damage_ssl.products.map_style import LEGEND, NO_RESULT, NOT_ASSESSED, legend_keys

CODES: Mapping[str, int] = {
    key: code
    for code, key in enumerate(
        [NO_RESULT, NOT_ASSESSED, *(key for key in LEGEND if key not in (NO_RESULT, NOT_ASSESSED))], start=1
    )
}
"""Pixel value by key of the legend, the worst last, which is drawn over the others; 0 is no building."""

RESOLUTIONS_M = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
MOST_PIXELS = 200_000_000
"""The finest of these resolutions is taken that needs no more pixels."""

_MARGIN_M = 50.0
_STRIP_PX = 1024
_BLOCK_PX = 256


def write_geotiff(product: gpd.GeoDataFrame, path: Path, *, metadata: Metadata | None = None) -> None:
    """Draw every building in the UTM zone of the first one; each covers at least a pixel.

    The resolution in metres stands in the file's tags (`resolution_m`), beside `classes` and what `metadata` says.

    Raises:
        InputError: see `checked`. StorageError: the disk is full or not writable.
    """
    import rasterio
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError
    from rasterio.shutil import copy

    table = checked(product, Path(path))
    shapes, codes, epsg = _drawn(table)
    transform, height, width = _frame(shapes)
    tags = {name: str(value) for name, value in (metadata or {}).items() if value is not None}
    tags |= {"resolution_m": f"{transform.a:g}"}
    tags |= {"classes": "0 no building; " + "; ".join(f"{code} {LEGEND[key].title}" for key, code in CODES.items())}
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": 0, "crs": crs_of_epsg(epsg).to_wkt()}
    profile |= {
        "tiled": True,
        "blockxsize": _BLOCK_PX,
        "blockysize": _BLOCK_PX,
        "compress": "deflate",
        "sparse_ok": True,
        "nbits": 4,
    }
    with (
        atomic_path(Path(path)) as temporary,
        tempfile.TemporaryDirectory(prefix=f".{Path(path).name}.", dir=temporary.parent) as folder,
        gdal_errors(Path(path), RasterioError, CPLE_BaseError),
        rasterio.Env(GDAL_CACHEMAX=64),
    ):
        strips = Path(folder) / "strips.tif"
        with rasterio.open(strips, "w", width=width, height=height, transform=transform, **profile) as file:
            file.write_colormap(1, {0: (0, 0, 0, 0), **{code: _colour(key) for key, code in CODES.items()}})
            file.update_tags(**tags)
            _draw(file, shapes, codes, transform)
        halvings = max(1, int(np.ceil(np.log2(max(height, width) / _BLOCK_PX))))  # of a small event one as well
        cog = {"compress": "DEFLATE", "blocksize": _BLOCK_PX, "nbits": 4, "overview_count": halvings}
        copy(strips, temporary, driver="COG", overview_resampling="MODE", **cog)
        _read_all(temporary, Path(path))


def _drawn(table: gpd.GeoDataFrame) -> tuple[NDArray[np.object_], NDArray[np.uint8], int]:
    """The shapes in UTM, their codes, and the zone; in the order in which they are drawn."""
    first = shapely.point_on_surface(table.geometry.iloc[0]) if len(table) else shapely.Point(0, 0)
    epsg = utm_epsg(first.x, first.y)
    codes = np.array([CODES[key] for key in legend_keys(table)], dtype=np.uint8)
    order = np.argsort(codes, kind="stable")
    return table.geometry.to_crs(crs_of_epsg(epsg)).to_numpy()[order], codes[order], epsg


def _frame(shapes: NDArray[np.object_]) -> tuple[Affine, int, int]:
    left, bottom, right, top = shapely.total_bounds(shapes) if len(shapes) else (0.0, 0.0, 1.0, 1.0)
    left, bottom, right, top = left - _MARGIN_M, bottom - _MARGIN_M, right + _MARGIN_M, top + _MARGIN_M
    area = (right - left) * (top - bottom)
    gsd_m = next((each for each in RESOLUTIONS_M if area / each**2 <= MOST_PIXELS), RESOLUTIONS_M[-1])
    left, top = np.floor(left / gsd_m) * gsd_m, np.ceil(top / gsd_m) * gsd_m
    return Affine(gsd_m, 0, left, 0, -gsd_m, top), int((top - bottom) // gsd_m) + 1, int((right - left) // gsd_m) + 1


def _draw(file: Any, shapes: NDArray[np.object_], codes: NDArray[np.uint8], transform: Affine) -> None:
    from rasterio.features import rasterize
    from rasterio.windows import Window

    rows = np.floor((shapely.bounds(shapes)[:, [3, 1]] - transform.f) / transform.e)
    for top in range(0, file.height, _STRIP_PX):
        height = min(_STRIP_PX, file.height - top)
        inside = np.flatnonzero((rows[:, 0] < top + height) & (rows[:, 1] >= top))
        if not len(inside):
            continue
        pixels = rasterize(
            zip(shapes[inside], codes[inside].tolist(), strict=True),
            out_shape=(height, file.width),
            transform=transform @ Affine.translation(0, top),
            all_touched=True,
            dtype="uint8",
        )
        file.write(pixels, 1, window=Window(0, top, file.width, height))


def _read_all(made: Path, path: Path) -> None:
    """GDAL says nothing of what a full disk did not take; the pixels lie at the end of the file."""
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    try:
        with rasterio.open(made) as file:
            for top in range(0, file.height, _STRIP_PX):
                file.read(1, window=Window(0, top, file.width, min(_STRIP_PX, file.height - top)))
    except RasterioError as error:
        raise StorageError(f"{path}: could not be written whole; is the disk full?") from error


def _colour(key: str) -> tuple[int, int, int, int]:
    colour = LEGEND[key].colour
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return red, green, blue, 255


FORMATS: Mapping[str, ProductWriter] = {".tif": write_geotiff, ".tiff": write_geotiff}
