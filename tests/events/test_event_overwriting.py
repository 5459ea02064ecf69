"""Making an event again: what was made by hand or in hours of work stays."""

from pathlib import Path

import pytest
import rasterio

from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.event import Event
from tests.conftest import CORNER_X, CORNER_Y, Town, square, texture, write_polygons, write_tiff


def test_footprints_and_aoi_stay_where_no_others_are_given(town: Town, tmp_path: Path) -> None:
    aoi = write_polygons(tmp_path / "aoi.gpkg", [square(0, 0, 200)])
    before = town.create(aoi=aoi)
    table, area = before.footprints(), before.aoi()
    event = town.create(footprints=None, overwrite=True)
    assert event.footprints().equals(table)
    assert event.footprint_sources()[0].kept == len(table)
    assert area is not None
    assert event.aoi().equals(area)


def test_older_footprints_away_from_the_new_imagery_are_an_error_and_nothing_is_lost(
    town: Town, tmp_path: Path
) -> None:
    town.create()
    away = {"transform": rasterio.Affine(0.5, 0, CORNER_X + 50_000, 0, -0.5, CORNER_Y)}
    pre, post = (write_tiff(tmp_path / f"away-{side}.tif", texture(1), **away) for side in ("pre", "post"))
    with pytest.raises(InputError, match=r"these are the footprints that 'town' has; give others"):
        town.create(pre=[pre], post=[post], footprints=None, overwrite=True)
    assert len(Event.open(town.workspace, "town").footprints()) == 16


@pytest.mark.parametrize("name", ["images", "items"])
def test_folder_that_is_no_event_is_not_overwritten(name: str, town: Town) -> None:
    own = town.workspace / "town" / name / "pre.tif"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"the only copy")
    with pytest.raises(WorkspaceError, match=rf"town: was not made by damage_ssl and holds {name}, which would be"):
        town.create(overwrite=True)
    assert own.read_bytes() == b"the only copy"


def test_images_put_into_an_events_folder_by_hand_stay(town: Town) -> None:
    event = town.create()
    for name in ("images/mine.tif", "truth.csv"):
        (event.path / name).parent.mkdir(exist_ok=True)
        (event.path / name).write_text("mine")
    town.create(overwrite=True)
    assert (event.path / "images" / "mine.tif").read_text() == "mine"
    assert (event.path / "truth.csv").read_text() == "mine"


def test_imported_images_stay_while_they_are_the_new_events_imagery(town: Town) -> None:
    event = town.create()
    for side in ("pre", "post"):  # as after an xBD import
        write_tiff(event.path / "images" / side / f"{side}.tif", texture(1))
    pre, post = (event.path / "images" / side / f"{side}.tif" for side in ("pre", "post"))
    town.create(pre=[pre], post=[post], overwrite=True)
    town.create(pre=[pre], post=[post], hazard="fire", overwrite=True)
    assert pre.is_file()
    town.create(overwrite=True)
    assert not pre.exists()


def test_one_raster_for_both_sides_is_refused(town: Town) -> None:
    with pytest.raises(InputError, match=r"pre\.tif: is given as --pre and as --post"):
        town.create(pre=[town.pre], post=[town.pre])


def test_aoi_away_from_the_imagery_is_refused_also_without_footprints(town: Town, tmp_path: Path) -> None:
    aoi = write_polygons(tmp_path / "aoi.gpkg", [square(50_000, 0)])
    with pytest.raises(InputError, match=r"aoi\.gpkg: the AOI .* lies away from the imagery"):
        town.create(footprints=None, aoi=aoi)


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_broken_collection_is_named(text: str, town: Town) -> None:
    event = town.create()
    (event.path / "collection.json").write_text(text)
    with pytest.raises(WorkspaceError, match=r"collection\.json: is not an event's collection"):
        _ = event.hazard
