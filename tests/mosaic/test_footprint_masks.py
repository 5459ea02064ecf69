"""Masks of many buildings at once against GDAL's rasterisation of each alone."""

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine

from damage_ssl.mosaic.footprint_masks import footprint_masks


def drawn_alone(polygon: shapely.Geometry, x: float, y: float, size_px: int, gsd_m: float) -> np.ndarray:
    half = size_px * gsd_m / 2
    transform = Affine(gsd_m, 0, x - half, 0, -gsd_m, y + half)
    for all_touched in (False, True):
        mask = rasterio.features.rasterize(
            [polygon], (size_px, size_px), transform=transform, dtype=np.uint8, all_touched=all_touched
        )
        if mask.any():
            break
    return mask > 0


def some_buildings(rng: np.random.Generator, count: int) -> np.ndarray:
    """Star-shaped polygons of all sizes, some larger than the grid, some with a courtyard or in two parts."""
    out = []
    for _ in range(count):
        corners = int(rng.integers(3, 12))
        angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radius = rng.uniform(0.3, 1, corners) * rng.choice([0.4, 4, 12, 40])
        x, y = 521_600.0 + rng.uniform(-3, 3), 4_258_050.0 + rng.uniform(-3, 3)
        polygon = shapely.make_valid(
            shapely.Polygon(np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)]))
        )
        kind = rng.integers(3)
        if kind == 1:
            polygon = polygon.difference(shapely.Point(x + 1, y).buffer(1.5))
        if kind == 2:
            polygon = polygon.union(shapely.box(x + 5, y + 2, x + 9.3, y + 6.1))
        if isinstance(polygon, (shapely.Polygon, shapely.MultiPolygon)) and not polygon.is_empty:
            out.append(polygon)
    return np.array(out, dtype=object)


@pytest.mark.parametrize(("size_px", "gsd_m"), [(32, 0.5), (64, 0.5), (65, 0.31), (130, 0.4), (16, 2.0)])
def test_masks_are_those_of_gdal_drawing_each_building_alone(size_px: int, gsd_m: float) -> None:
    rng = np.random.default_rng(size_px)
    polygons = some_buildings(rng, 300)
    bounds = shapely.bounds(polygons)
    x = (bounds[:, 0] + bounds[:, 2]) / 2 + rng.uniform(-0.3, 0.3, len(polygons))
    y = (bounds[:, 1] + bounds[:, 3]) / 2 + rng.uniform(-0.3, 0.3, len(polygons))
    masks = footprint_masks(polygons, x, y, size_px=size_px, gsd_m=gsd_m)
    for row, polygon in enumerate(polygons):
        np.testing.assert_array_equal(masks[row], drawn_alone(polygon, x[row], y[row], size_px, gsd_m))


def test_neighbours_that_share_a_wall_keep_their_own_masks() -> None:
    left, right = (
        shapely.box(500_000, 5_000_000, 500_008, 5_000_010),
        shapely.box(500_008, 5_000_000, 500_014, 5_000_010),
    )
    x, y = np.array([500_008.0, 500_008.0]), np.array([5_000_005.0, 5_000_005.0])
    masks = footprint_masks(np.array([left, right], dtype=object), x, y, size_px=64, gsd_m=0.5)
    assert not (masks[0] & masks[1]).any()
    assert masks[0].sum() == 16 * 20
    assert masks[1].sum() == 12 * 20


def test_building_without_a_pixel_centre_takes_what_it_touches() -> None:
    speck = shapely.box(500_000.05, 5_000_000.05, 500_000.15, 5_000_000.15)
    masks = footprint_masks(
        np.array([speck], dtype=object), np.array([500_000.0]), np.array([5_000_000.0]), size_px=8, gsd_m=0.5
    )
    assert masks.sum() == 1
    assert masks[0, 3, 4]


def test_no_building_gives_no_mask() -> None:
    empty = np.zeros(0)
    assert footprint_masks(np.array([], dtype=object), empty, empty, size_px=8, gsd_m=0.5).shape == (0, 8, 8)
