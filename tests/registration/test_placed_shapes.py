"""Outlines stand where the imagery shows the buildings."""

import numpy as np
import pandas as pd
import pytest
import shapely
from pyproj import Transformer

from damage_ssl.footprints.lazy_shapes import Shapes
from damage_ssl.grid import crs_of_epsg, utm_epsg
from damage_ssl.registration.placement import PlacedShapes, shifts_on


@pytest.mark.parametrize(("lon", "lat"), [(-122.7, 38.5), (-98.2, 19.0), (37.0, 37.6), (174.9, -41.3), (15.2, 59.9)])
def test_moved_by_metres_of_the_utm_grid(lon: float, lat: float) -> None:
    to_utm = Transformer.from_crs(crs_of_epsg(4326), crs_of_epsg(utm_epsg(lon, lat)), always_xy=True)
    place = shapely.box(lon, lat, lon + 0.0002, lat + 0.0001)
    result = PlacedShapes(Shapes.of([place]), np.array([[7.0, -4.0]]))[0]
    before, after = (np.array(to_utm.transform(*shapely.get_coordinates(shape).T)) for shape in (place, result))
    np.testing.assert_allclose(after - before, [[7.0] * 5, [-4.0] * 5], atol=0.03)


def test_each_footprint_moves_by_its_own_shift_and_rings_stay_closed() -> None:
    parts = shapely.MultiPolygon([shapely.box(0, 0, 1e-4, 1e-4), shapely.box(2e-4, 0, 3e-4, 1e-4)])
    drawn = np.array([shapely.box(0, 0, 1e-4, 1e-4), parts], dtype=object)
    places = PlacedShapes(Shapes.of(drawn), np.array([[0.0, 0.0], [0.0, 11.132]]))
    first, second = places.at(np.array([0, 1]))
    assert first.equals(drawn[0])
    assert second.is_valid
    np.testing.assert_allclose(second.bounds, (0, 1e-4, 3e-4, 2e-4), atol=2e-7)
    np.testing.assert_allclose(places.boxes[1], second.bounds, atol=1e-12)


def test_post_adds_the_shift_between_the_dates_to_that_of_the_footprint() -> None:
    index = pd.DataFrame(
        {
            "footprint_shift_x_m": [1.0, 0.0],
            "footprint_shift_y_m": [2.0, np.nan],
            "shift_x_m": [-3.0, 0.5],
            "shift_y_m": [0.0, np.nan],
        }
    )
    assert shifts_on(index, 2, "pre").tolist() == [[1.0, 2.0], [0.0, 0.0]]
    assert shifts_on(index, 2, "post").tolist() == [[-2.0, 2.0], [0.5, 0.0]]


def test_pairs_cut_before_shifts_were_undone_move_nothing() -> None:
    index = pd.DataFrame({"shift_x_m": [3.0], "shift_y_m": [1.0]})
    assert not shifts_on(index, 1, "post").any()
    assert not shifts_on(None, 4, "pre").any()
