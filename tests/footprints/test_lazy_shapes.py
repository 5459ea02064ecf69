"""Footprints as bytes: the same boxes and geometries as by shapely, for polygons of every make."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from damage_ssl.errors import WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.footprints.lazy_shapes import Shapes, read_shapes
from damage_ssl.simulation.event import simulate
from damage_ssl.simulation.settings import SimulationSettings

MIXED = [
    shapely.box(7.0, 50.0, 7.001, 50.002),
    shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(2, 2, 3, 3)]),
    shapely.Polygon([(0, 0), (9, 0), (9, 9)], [[(5, 1), (6, 1), (6, 2)]]),
    shapely.from_wkt("POLYGON Z ((0 0 1, 1 0 1, 1 5 1, 0 0 1))"),
    shapely.Point(3, 4),
    shapely.Polygon([(-1, -2), (-3, -4), (-5, 6)]),
]


@pytest.mark.parametrize("rows", [slice(None), slice(0, 1), slice(1, 2), slice(5, 6)])
def test_boxes_are_those_of_the_geometries(rows: slice) -> None:
    geometries = MIXED[rows]
    np.testing.assert_array_equal(Shapes.of(geometries).boxes, shapely.bounds(geometries))


def test_geometries_come_back_in_the_order_asked_for() -> None:
    assert [each.wkt for each in Shapes.of(MIXED).at([5, 0, 5])] == [MIXED[row].wkt for row in (5, 0, 5)]


def test_no_footprints_have_no_boxes() -> None:
    assert Shapes.of([]).boxes.shape == (0, 4)
    assert len(Shapes.of([]).at([])) == 0


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> Event:
    folder = tmp_path_factory.mktemp("shapes")
    town = simulate(folder / "town", SimulationSettings(buildings=12, seed=2))
    return Event.create(
        folder / "workspace", "town", pre=[town.pre], post=[town.post], footprints=town.footprints, hazard="flood"
    )


def test_footprints_of_an_event_are_those_that_geopandas_reads(event: Event) -> None:
    known, shapes = read_shapes(event.footprints_path)
    expected = event.footprints()
    assert known["building_id"].tolist() == expected["building_id"].tolist()
    np.testing.assert_array_equal(known["area_m2"], expected["area_m2"])
    assert shapely.equals(shapes.at(np.arange(len(shapes))), expected.geometry.to_numpy()).all()


def test_a_file_in_another_encoding_is_read_too(event: Event, tmp_path: Path) -> None:
    expected = event.footprints()
    other = Event(tmp_path, "other")
    gpd.GeoDataFrame(expected).to_parquet(other.footprints_path, geometry_encoding="geoarrow")
    np.testing.assert_array_equal(
        read_shapes(other.footprints_path)[1].boxes, shapely.bounds(expected.geometry.to_numpy())
    )


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    broken = Event(tmp_path, "broken")
    broken.footprints_path.write_bytes(b"PAR1 and no more")
    with pytest.raises(WorkspaceError, match=r"footprints\.parquet: cannot be read"):
        read_shapes(broken.footprints_path)
