"""How far footprints are shifted against an image: their outlines matched with its edges."""

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage
from shapely.geometry.base import BaseGeometry

from damage_ssl.registration.correlation import Matches, match_fields

_FINER = 2


def match_outlines(
    coverage: NDArray[np.float32], image: NDArray[np.complex64], *, gsd_m: float, reach_m: float
) -> Matches:
    """Shift of an image's edges against the outlines of footprints: where the footprints are found in the image.

    A roof may be brighter or darker than the ground, so an edge has an orientation but no sign: both gradients' angles
    are doubled, as for local orientation in Granlund 1978 ("In search of a general picture processing operator").

    Args:
        coverage: [N, H, W], the share of each pixel that footprints cover, 0 to 1.
        image: complex [N, H, W], from `gradient_field`.
        gsd_m: metres a pixel.
        reach_m: largest shift that is looked for.
    """
    smooth = ndimage.gaussian_filter(coverage, sigma=(0, 1, 1), truncate=3.0)
    outline = np.zeros(coverage.shape, dtype=np.complex64)
    outline.real[:, :, 1:-1] = smooth[:, :, 2:] - smooth[:, :, :-2]
    outline.imag[:, 1:-1, :] = smooth[:, 2:, :] - smooth[:, :-2, :]
    return match_fields(_doubled(outline), _doubled(image), gsd_m=gsd_m, reach_m=reach_m, least_filled=0.0)


def draw_coverage(
    geometry: list[NDArray[np.object_]],
    x_m: NDArray[np.float64],
    y_m: NDArray[np.float64],
    *,
    size_px: int,
    gsd_m: float,
) -> NDArray[np.float32]:
    """The share of each pixel that polygons cover, [N, H, W], on north-up grids around (`x_m`, `y_m`).

    Args:
        geometry: for each of N grids the polygons that may touch it, in the projected CRS of the centres.
        x_m: [N], centre of each grid.
        y_m: [N].
        size_px: pixels a side.
        gsd_m: metres a pixel.
    """
    out = np.zeros((len(geometry), size_px, size_px), dtype=np.float32)
    fine_px, fine_m = size_px * _FINER, gsd_m / _FINER
    half_m = size_px * gsd_m / 2
    with rasterio.Env():  # one environment for all grids: setting one up is slow
        for row, polygons in enumerate(geometry):
            if not len(polygons):
                continue
            corner = Affine.translation(x_m[row] - half_m, y_m[row] + half_m)
            mask = rasterize(
                _shapes(polygons),
                out_shape=(fine_px, fine_px),
                transform=corner @ Affine.scale(fine_m, -fine_m),
                dtype=np.uint8,
            )
            out[row] = mask.reshape(size_px, _FINER, size_px, _FINER).mean(axis=(1, 3), dtype=np.float32)
    return out


def _shapes(polygons: NDArray[np.object_]) -> list[BaseGeometry]:
    return [polygon for polygon in polygons if polygon is not None and not polygon.is_empty]


def _doubled(field: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """The field with doubled angle and its own length."""
    length = np.sqrt(np.maximum(field.real**2 + field.imag**2, np.float32(1e-12)))
    doubled = field * field / length
    return np.asarray(doubled, dtype=np.complex64)
