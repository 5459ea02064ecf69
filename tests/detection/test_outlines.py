import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.features import rasterize, shapes
from shapely import affinity
from shapely.geometry import Polygon, box, shape

from damage_ssl.detection.outlines import dominant_angle, likeness, regularised

L_SHAPE = Polygon([(0, 0), (20, 0), (20, 10), (10, 10), (10, 22), (0, 22)])


def pixel_outline(polygon, gsd_m=0.5):
    """What a perfect detector would hand over: the outline of the pixels whose centres lie inside."""
    left, bottom, right, top = polygon.buffer(5).bounds
    grid = Affine(gsd_m, 0, left, 0, -gsd_m, top)
    size = (int((top - bottom) / gsd_m) + 2, int((right - left) / gsd_m) + 2)
    mask = rasterize([polygon], out_shape=size, transform=grid, dtype=np.uint8)
    return max((shape(piece) for piece, value in shapes(mask, mask > 0, transform=grid)), key=lambda each: each.area)


def corner_angles(polygon):
    edges = np.diff(np.asarray(polygon.exterior.coords), axis=0)
    turns = np.arctan2(edges[:, 1], edges[:, 0])
    return np.degrees(np.abs((np.diff(np.append(turns, turns[0])) + np.pi) % (2 * np.pi) - np.pi))


@pytest.mark.parametrize("angle_deg", [0, 7, 23, 45, 61, 88])
def test_pixels_of_a_turned_rectangle_become_that_rectangle(angle_deg):
    house = affinity.rotate(box(100, 200, 112, 208), angle_deg)
    found = regularised(pixel_outline(house), simplify_m=0.8)
    assert len(found.exterior.coords) == 5
    assert corner_angles(found) == pytest.approx(np.full(4, 90.0), abs=0.01)
    assert likeness(found, house) > 0.93


@pytest.mark.parametrize("angle_deg", [0, 12, 40, 75])
def test_pixels_of_a_turned_l_become_six_right_angles(angle_deg):
    house = affinity.rotate(L_SHAPE, angle_deg, origin=(0, 0))
    found = regularised(pixel_outline(house), simplify_m=0.8)
    assert len(found.exterior.coords) == 7
    assert corner_angles(found) == pytest.approx(np.full(6, 90.0), abs=0.01)
    assert likeness(found, house) > 0.93


@pytest.mark.parametrize("angle_deg", [0, 12, 40, 75])
def test_area_of_the_pixels_is_kept(angle_deg):
    for house in (box(0, 0, 9, 6), L_SHAPE, shapely.Point(0, 0).buffer(8)):
        pixels = pixel_outline(affinity.rotate(house, angle_deg, origin=(0, 0)))
        assert regularised(pixels, simplify_m=0.8).area == pytest.approx(pixels.area, rel=1e-6)


def test_a_round_tank_stays_round():
    tank = pixel_outline(shapely.Point(0, 0).buffer(12))
    found = regularised(tank, simplify_m=0.8)
    assert likeness(found, tank) > 0.9
    assert len(found.exterior.coords) > 6


def test_a_courtyard_stays_and_a_chimney_hole_goes():
    block = Polygon(box(0, 0, 40, 30).exterior.coords, [box(12, 10, 28, 20).exterior.coords])
    pierced = Polygon(box(0, 0, 40, 30).exterior.coords, [box(12, 10, 14, 12).exterior.coords])
    assert len(regularised(block, simplify_m=0.8).interiors) == 1
    assert len(regularised(pierced, simplify_m=0.8).interiors) == 0


def test_the_direction_is_that_of_the_long_walls():
    assert dominant_angle(affinity.rotate(box(0, 0, 30, 4), 20)) == pytest.approx(np.radians(20), abs=1e-6)


def test_every_ragged_outline_gives_one_valid_polygon_of_its_area():
    rng = np.random.default_rng(3)
    for _ in range(60):
        parts = [affinity.rotate(box(x, y, x + w, y + h), turn) for x, y, w, h, turn in rng.uniform(2, 14, (4, 5))]
        blob = pixel_outline(shapely.union_all(parts).convex_hull.symmetric_difference(box(4, 4, 6, 6)).buffer(0.3))
        found = regularised(blob, simplify_m=0.8)
        assert found.is_valid
        assert found.area == pytest.approx(blob.area if not blob.interiors else found.area, rel=1e-6)
        assert likeness(found, blob) > 0.7
