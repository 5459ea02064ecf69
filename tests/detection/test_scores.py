import geopandas as gpd
import pytest
from shapely.geometry import box

from damage_ssl.detection.scores import score_footprints

WHERE = box(0, 0, 1000, 1000)


def table(*polygons):
    return gpd.GeoDataFrame(geometry=list(polygons), crs="EPSG:32610")


def test_counts_are_those_worked_out_by_hand():
    drawn = table(box(0, 0, 10, 10), box(50, 50, 60, 60), box(100, 100, 110, 110))
    found = table(box(0, 0, 10, 12), box(56, 50, 66, 60), box(300, 300, 310, 310))
    scores = score_footprints(found, drawn, within=WHERE)  # IoU 100/120, 40/160, 0
    assert (scores.found, scores.drawn, scores.matched) == (3, 3, 1)
    assert scores.f1 == pytest.approx(1 / 3)
    assert scores.pixel_iou == pytest.approx((100 + 40) / (120 + 160 + 100 + 100))


def test_two_halves_of_a_building_match_it_once_at_most():
    drawn = table(box(0, 0, 10, 10))
    found = table(box(0, 0, 5.5, 10), box(5.5, 0, 10, 10))
    scores = score_footprints(found, drawn, within=WHERE)
    assert (scores.matched, scores.precision, scores.recall) == (1, 0.5, 1.0)


def test_buildings_outside_the_imagery_do_not_count():
    drawn = table(box(0, 0, 10, 10), box(2000, 0, 2010, 10))
    assert score_footprints(drawn, drawn, within=WHERE).drawn == 1


def test_nothing_found_is_no_success():
    scores = score_footprints(table(), table(box(0, 0, 10, 10)), within=WHERE)
    assert (scores.f1, scores.precision, scores.recall, scores.pixel_iou) == (0.0, 0.0, 0.0, 0.0)
