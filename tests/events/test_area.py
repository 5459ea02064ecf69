"""The area of interest of an event that is there already: applied, changed, taken back, and nothing lost."""

import geopandas as gpd
import numpy as np
import pytest
import shapely

from damage_ssl import workflow
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.area import inside, polygon, rectangle, set_area, whole_footprints
from damage_ssl.events.event import WHOLE_FOLDER, Event
from tests.conftest import CORNER_X, CORNER_Y, GSD_M, UTM, Town, write_polygons


def lon_lat(*pixels: tuple[float, float]) -> list[tuple[float, float]]:
    """Pixels of the test town as longitude and latitude."""
    points = [shapely.Point(CORNER_X + column * GSD_M, CORNER_Y - row * GSD_M) for column, row in pixels]
    return [(point.x, point.y) for point in gpd.GeoSeries(points, crs=UTM).to_crs(4326)]


def west_half() -> shapely.Polygon:
    """Around the two western columns of the town's four."""
    return polygon(lon_lat((10, 10), (115, 10), (115, 230), (10, 230)))


WEST = ["b00", "b01", "b04", "b05", "b08", "b09", "b12", "b13"]


def ids(event: Event) -> list[str]:
    return event.footprints()["building_id"].tolist()


def test_area_keeps_the_buildings_inside_and_taking_it_back_brings_all(town: Town) -> None:
    event = town.create()
    before = event.footprints()
    assert set_area(event, west_half()) == 8
    assert ids(event) == WEST
    assert event.aoi() is not None and event.aoi().equals(west_half())
    assert set_area(event, None) == 16
    assert event.footprints().equals(before)
    assert event.aoi() is None
    assert not (event.path / WHOLE_FOLDER).exists()


def test_wider_area_after_a_narrow_one_brings_buildings_back(town: Town) -> None:
    event = town.create()
    assert set_area(event, polygon(lon_lat((10, 10), (60, 10), (60, 60), (10, 60)))) == 1
    assert set_area(event, west_half()) == 8
    assert ids(event) == WEST


def test_event_made_with_an_area_gets_the_others_from_its_file(town: Town) -> None:
    area = write_polygons(town.pre.parent / "aoi.geojson", [west_half()], crs="EPSG:4326")
    event = town.create(aoi=area)
    assert len(ids(event)) == 8
    assert set_area(event, None) == 16


def test_event_made_with_an_area_whose_file_is_gone_says_which(town: Town) -> None:
    area = write_polygons(town.pre.parent / "aoi.geojson", [west_half()], crs="EPSG:4326")
    event = town.create(aoi=area)
    town.footprints.unlink()
    with pytest.raises(WorkspaceError, match=r"footprints\.geojson"):
        set_area(event, None)
    assert len(ids(event)) == 8


def test_area_without_buildings_changes_nothing(town: Town) -> None:
    event = town.create()
    with pytest.raises(InputError, match="none of the event's 16 buildings"):
        set_area(event, rectangle(10, 10, 11, 11))
    assert len(ids(event)) == 16
    assert event.aoi() is None


def test_count_inside_is_what_applying_gives(town: Town) -> None:
    event = town.create()
    outlines = whole_footprints(event).table.geometry.to_numpy()
    assert inside(outlines, west_half()).sum() == set_area(event, west_half())
    assert inside(outlines, None).all()


def test_building_on_the_edge_belongs_where_its_inner_point_lies() -> None:
    buildings = np.array([shapely.box(0, 0, 2, 2), shapely.box(0.9, 0, 2.9, 2), shapely.box(1.1, 0, 3.1, 2)])
    assert inside(buildings, shapely.box(-1, -1, 2.0, 3)).tolist() == [True, True, False]


def test_narrower_area_needs_no_new_pairs_and_labels_stay(town: Town) -> None:
    event = town.create()
    workflow.cut_patches(event)
    set_area(event, west_half())
    store = workflow.cut_patches(event)
    assert store.index()["building_id"].tolist() == WEST
    set_area(event, None)
    assert len(workflow.cut_patches(event).index()) == 16


def test_new_footprints_forget_the_whole_of_the_old_ones(town: Town) -> None:
    event = town.create()
    set_area(event, west_half())
    event.set_footprints(whole_footprints(event))
    assert not (event.path / WHOLE_FOLDER).exists()


def test_imagery_replaced_without_footprints_keeps_area_and_whole(town: Town) -> None:
    event = town.create()
    set_area(event, west_half())
    again = town.create(footprints=None, overwrite=True)
    assert len(ids(again)) == 8
    assert set_area(again, None) == 16


@pytest.mark.parametrize(
    "ring",
    [
        [(0, 0), (1, 1)],
        [(0, 0), (1, 1), (0, 0)],
        [(0, 0), (1, 1), (1, 0), (0, 1)],
        [(0, 0), (1, 1), (float("nan"), 0)],
        [(0, 0), (200, 1), (1, 5)],
    ],
)
def test_rings_that_enclose_nothing_sensible_are_refused(ring: list[tuple[float, float]]) -> None:
    with pytest.raises(InputError, match="area"):
        polygon(ring)


@pytest.mark.parametrize("bounds", [(1, 0, 0, 1), (0, 1, 1, 0), (0, 0, float("inf"), 1), (0, 0, 1, 91)])
def test_bounds_out_of_order_are_refused(bounds: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match="west,south,east,north"):
        rectangle(*bounds)
