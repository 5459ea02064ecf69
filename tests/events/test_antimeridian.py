"""Events across ±180°, as in Fiji: longitudes jump in the middle of a scene."""

from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from affine import Affine
from pyproj import Transformer

from damage_ssl.cli.place import find_place
from damage_ssl.errors import InputError
from damage_ssl.events.event import Event
from damage_ssl.footprints.reader import read_aoi
from damage_ssl.geography import cut_at_antimeridian
from damage_ssl.grid import utm_epsg
from damage_ssl.mosaic.batches import make_batches
from tests.conftest import texture, write_tiff

FIJI = 32760
X, Y = (round(value) for value in Transformer.from_crs(4326, FIJI, always_xy=True).transform(180.0, -17.0))


@pytest.fixture
def footprints(tmp_path: Path) -> Path:
    """Nine squares: to the left, on and to the right of the antimeridian."""
    squares = [
        shapely.box(X + dx - 5, Y + dy - 5, X + dx + 5, Y + dy + 5) for dx in (-40, 0, 40) for dy in (-40, 0, 40)
    ]
    path = tmp_path / "häuser am rand.gpkg"
    gpd.GeoDataFrame({"id": range(9)}, geometry=squares, crs=FIJI).to_file(path)
    return path


@pytest.fixture(params=["metres", "degrees past 180"])
def event(request: pytest.FixtureRequest, tmp_path: Path, footprints: Path) -> Event:
    metric = request.param == "metres"
    place = (
        {"crs": f"EPSG:{FIJI}", "transform": Affine(0.5, 0, X - 64, 0, -0.5, Y + 64)}
        if metric
        else {"crs": "EPSG:4326", "transform": Affine(4.5e-6, 0, 179.9994, 0, -4.5e-6, -16.9994)}
    )
    pre, post = (
        write_tiff(tmp_path / f"{side}.tif", texture(seed), **place) for seed, side in enumerate(("pre", "post"))
    )
    return Event.create(tmp_path, "fiji", pre=[pre], post=[post], footprints=footprints)


def test_no_building_is_lost_and_the_scene_covers_no_belt_around_the_world(event: Event) -> None:
    assert len(event.footprints()) == 9
    (scene,) = event.scenes("pre")
    left, right = sorted(shapely.get_parts(scene.extent), key=lambda part: part.bounds[0])
    assert left.bounds[0] == -180
    assert right.bounds[2] == 180
    assert scene.extent.area < 1e-5


def test_every_building_has_a_zone_to_be_cut_in(event: Event) -> None:
    batches = make_batches(event.footprints(), event.scenes("pre"), 20.0)
    assert {batch.epsg for batch in batches} <= {32701, FIJI}
    assert utm_epsg(-180.00001, -17) == FIJI
    assert utm_epsg(180.00001, -17) == 32701


def test_footprints_of_such_an_event_are_not_fetched_around_the_world(event: Event) -> None:
    with pytest.raises(InputError, match=r"'fiji': crosses the antimeridian; ask for its two halves"):
        find_place(event.path.parent, "fiji", None)


def test_aoi_is_read_as_the_small_area_that_it_is(tmp_path: Path) -> None:
    path = tmp_path / "aoi.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.box(X - 100, Y - 100, X + 100, Y + 100)], crs=FIJI).to_file(path)
    assert read_aoi(path).area < 1e-5


def test_area_is_cut_where_it_runs_past_the_antimeridian() -> None:
    cut = cut_at_antimeridian(shapely.box(179, 0, 182, 1))
    assert cut.equals(shapely.union_all([shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -178, 1)]))
    inside = shapely.box(-180, -90, 180, 90)
    assert cut_at_antimeridian(inside) is inside
