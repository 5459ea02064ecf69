"""The pixel grid: one immutable value instead of loose bounds, transform and shape."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer


@dataclass(frozen=True)
class PixelGrid:
    """North-up raster geometry in a projected CRS with metre units.

    `transform` maps (column, row) of a pixel's upper-left corner to (x, y) in `crs`.
    """

    crs: CRS
    transform: Affine
    height: int
    width: int

    @property
    def gsd_m(self) -> float:
        """Ground sampling distance, metres a pixel."""
        return float(self.transform.a)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in `crs`."""
        left, top = self.transform.c, self.transform.f
        return left, top + self.height * self.transform.e, left + self.width * self.transform.a, top

    @classmethod
    def centred(cls, x: float, y: float, crs: CRS, *, size_px: int, gsd_m: float) -> "PixelGrid":
        """A square grid of `size_px` pixels whose centre is (x, y) in `crs` (projected, metres)."""
        half_m = size_px * gsd_m / 2
        transform = Affine(gsd_m, 0.0, x - half_m, 0.0, -gsd_m, y + half_m)
        return cls(crs, transform, size_px, size_px)


def utm_epsg(lon: float, lat: float) -> int:
    """EPSG code of the WGS 84 / UTM zone that holds (lon, lat), degrees; Norway's and Svalbard's exceptions ignored."""
    zone = 60 if lon == 180 else int((lon + 180) % 360 // 6) + 1  # a building across ±180° may lie a little past it
    return (32600 if lat >= 0 else 32700) + zone


@lru_cache(maxsize=256)
def crs_of_epsg(epsg: int) -> CRS:
    """A cached CRS object; making one costs milliseconds."""
    return CRS.from_epsg(epsg)


@lru_cache(maxsize=256)
def transformer(source: CRS, target: CRS) -> Transformer:
    """A cached transformer, always in (x, y) = (lon, lat) order."""
    return Transformer.from_crs(source, target, always_xy=True)


@dataclass(frozen=True)
class GridBatch:
    """N north-up square grids of one CRS, size and GSD, around centres (`x_m`, `y_m`) [N]."""

    crs: CRS
    x_m: NDArray[np.float64]
    y_m: NDArray[np.float64]
    size_px: int
    gsd_m: float

    def __len__(self) -> int:
        return len(self.x_m)

    @property
    def half_m(self) -> float:
        """Half the width of a grid."""
        return self.size_px * self.gsd_m / 2

    def take(self, rows: NDArray[np.intp]) -> "GridBatch":
        """The grids at these rows."""
        return GridBatch(self.crs, self.x_m[rows], self.y_m[rows], self.size_px, self.gsd_m)
