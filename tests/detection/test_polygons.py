import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import CRS
from rasterio.features import rasterize
from shapely import affinity
from shapely.geometry import box

from damage_ssl.detection.instances import draw_instances, targets
from damage_ssl.detection.outlines import likeness
from damage_ssl.detection.polygons import apart, extract_buildings
from damage_ssl.detection.probability_map import ProbabilityMap
from damage_ssl.detection.search_grid import Area, Square
from damage_ssl.detection.settings import DetectionSettings
from damage_ssl.grid import PixelGrid

WEST, NORTH, SIDE_PX, GSD_M = 520000.0, 4258000.0, 1024, 0.5
GRID = Affine(GSD_M, 0, WEST, 0, -GSD_M, NORTH)
AREA = Area(
    PixelGrid(CRS.from_epsg(32610), GRID, SIDE_PX, SIDE_PX),
    box(WEST, NORTH - SIDE_PX * GSD_M, WEST + SIDE_PX * GSD_M, NORTH),
)


def house(east, south, width=12.0, height=8.0, turn=0.0):
    x, y = WEST + east, NORTH - south
    return affinity.rotate(box(x - width / 2, y - height / 2, x + width / 2, y + height / 2), turn)


def found_in(tmp_path, houses, p=0.9, **settings):
    """Footprints, in UTM, out of a map in which the network is as sure as `p` of just these houses."""
    used = DetectionSettings(**({"tile_px": 256, "window_px": 256, "halo_px": 64} | settings))
    probabilities = ProbabilityMap(tmp_path / f"map{len(list(tmp_path.iterdir()))}", AREA, 2, used)
    maps = targets(draw_instances(np.array(houses), GRID, SIDE_PX)).astype(np.float32) * p
    probabilities.add(Square(0, 0, SIDE_PX), maps)
    return extract_buildings(probabilities, AREA, used).to_crs(AREA.crs)


@pytest.mark.parametrize("turn", [0, 20, 45, 77])
def test_a_drawn_house_comes_back_within_a_pixel(tmp_path, turn):
    drawn = house(100.3, 80.2, turn=turn)
    found = found_in(tmp_path, [drawn])
    assert len(found) == 1
    assert shapely.hausdorff_distance(found.geometry[0], drawn) < 2 * GSD_M
    assert found.geometry[0].centroid.distance(drawn.centroid) < 0.71 * GSD_M  # half a pixel in both directions
    assert found["area_m2"][0] == pytest.approx(drawn.area, rel=0.08)
    assert found["confidence"][0] == pytest.approx(0.9, abs=1e-3)


def test_a_house_on_the_border_of_windows_is_found_once_and_whole(tmp_path):
    drawn = [house(128, 60), house(128, 128), house(64, 256), house(256, 256)]  # windows meet at multiples of 128 m
    found = found_in(tmp_path, drawn)
    assert len(found) == 4
    assert all(max(likeness(one, other) for other in drawn) > 0.9 for one in found.geometry)


def test_a_hall_larger_than_the_halo_is_put_together(tmp_path):
    hall = house(256, 200, width=300, height=150)
    found = found_in(tmp_path, [hall, house(30, 30)])
    assert len(found) == 2
    assert likeness(max(found.geometry, key=lambda each: each.area), hall) > 0.97


def test_the_size_of_the_windows_changes_nothing(tmp_path):
    rng = np.random.default_rng(1)
    drawn = [
        house(20 + 24 * column, 20 + 24 * row, *rng.uniform(7, 16, 2), rng.uniform(0, 90))
        for row in range(19)
        for column in range(19)
    ]
    small, large = found_in(tmp_path, drawn), found_in(tmp_path, drawn, window_px=1024, halo_px=0)
    assert len(small) == len(large)
    assert small.geometry.geom_equals_exact(large.geometry, 1e-6).all()


def test_unsure_and_tiny_buildings_are_left_out(tmp_path):
    assert len(found_in(tmp_path, [house(60, 60)], p=0.7, min_confidence=0.8)) == 0
    assert len(found_in(tmp_path, [house(60, 60, 3, 3)], min_area_m2=12.0)) == 0
    assert len(found_in(tmp_path, [house(60, 60, 3, 3)], min_area_m2=5.0)) == 1


def test_houses_wall_to_wall_stay_two(tmp_path):
    found = found_in(tmp_path, [house(100, 100, 12, 10), house(112, 100, 12, 10)])
    assert len(found) == 2
    assert found["area_m2"].to_numpy() == pytest.approx([120, 120], rel=0.1)


def test_footprints_of_one_scene_do_not_lie_on_one_another(tmp_path):
    drawn = [house(100 + 12.5 * k, 100, 12, 10, 15) for k in range(6)]
    found = found_in(tmp_path, drawn)
    for one in range(len(found)):
        for other in range(one):
            assert found.geometry[one].intersection(found.geometry[other]).area < 6  # square metres, of 120


def test_rasterised_again_the_footprint_covers_the_same_pixels(tmp_path):
    drawn = house(200, 150, 15, 9, 33)
    found = found_in(tmp_path, [drawn]).geometry[0]
    one, other = (rasterize([each], out_shape=(SIDE_PX, SIDE_PX), transform=GRID) > 0 for each in (drawn, found))
    assert (one != other).sum() < 0.12 * one.sum()


def test_of_overlapping_outlines_the_more_confident_keeps_its_place():
    whole, beside, twice, alone = house(50, 50), house(57, 50), house(51, 50.5), house(90, 90)
    out = apart(np.array([beside, whole, twice, alone], dtype=object), np.array([0.7, 0.9, 0.8, 0.5]))
    assert out[1].equals(whole)
    assert out[2].is_empty  # more than half of it was `whole` already
    assert out[0].area == pytest.approx(beside.area - 5 * 8)
    assert out[0].intersection(whole).area == pytest.approx(0, abs=1e-9)
    assert out[3].equals(alone)


@pytest.mark.parametrize(("inner", "outer"), [(0.9, 0.6), (0.6, 0.9)])
def test_of_nested_outlines_the_surer_one_decides_whether_there_is_a_courtyard(inner, outer):
    small, large = house(50, 50, 6, 5), house(50, 50, 40, 30)
    left = apart(np.array([large, small], dtype=object), np.array([outer, inner]))
    assert left[0].area == pytest.approx(1200 - 30 if inner > outer else 1200)
    assert left[1].is_empty == (inner < outer)


def test_overlaps_are_resolved_the_same_whatever_the_order_of_the_buildings():
    rng = np.random.default_rng(3)
    drawn = np.array([house(*rng.uniform(20, 120, 2), *rng.uniform(6, 30, 2), rng.uniform(0, 90)) for _ in range(80)])
    confidence = rng.uniform(0.5, 1, 80).round(1)  # with ties
    out, order = apart(drawn, confidence), rng.permutation(80)
    again = apart(drawn[order], confidence[order])
    assert all(one.equals_exact(other, 1e-6) for one, other in zip(out[order], again, strict=True))
    kept = out[~shapely.is_empty(out)]
    assert 0 < len(kept) < 80
    assert shapely.area(kept).sum() == pytest.approx(shapely.union_all(kept).area, rel=1e-9)
