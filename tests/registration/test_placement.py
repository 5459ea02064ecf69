import numpy as np
import pytest

from damage_ssl.detection.training_tiles import TrainingSource
from damage_ssl.events.event import Event
from damage_ssl.registration.event_registration import write_cached
from damage_ssl.registration.manual_shift import ManualShift, set_manual_shift
from damage_ssl.registration.placement import moved, placed_footprints
from damage_ssl.settings import PatchSettings
from damage_ssl.workflow import register_event
from tests.conftest import UTM, square, texture, write_polygons, write_tiff

OFF = PatchSettings(align="off")


def register_as(event, footprint_m, pair_m):
    """Keep a registration with these shifts for every building."""
    found = register_event(event, OFF)
    shifts = dict(
        zip(("footprint_shift_x_m", "footprint_shift_y_m", "shift_x_m", "shift_y_m"), footprint_m + pair_m, strict=True)
    )
    write_cached(event.path / "registration.parquet", found.table.assign(**shifts), found.fingerprint)


@pytest.fixture
def event(tmp_path, monkeypatch):
    pre = write_tiff(tmp_path / "in" / "pre.tif", texture(1, 300, 300))
    post = write_tiff(tmp_path / "in" / "post.tif", texture(2, 300, 300))
    drawn = write_polygons(tmp_path / "in" / "drawn.geojson", [square(100, 100), square(180, 200)])
    event = Event.create(tmp_path / "w", "e", pre=[pre], post=[post], footprints=drawn)
    monkeypatch.setattr("damage_ssl.detection.training_tiles.PatchSettings", lambda: OFF)
    return event


def displaced_m(event, found):
    one, other = (table.geometry.to_crs(UTM).centroid for table in (event.footprints(), found))
    return np.stack([other.x - one.x, other.y - one.y], axis=1)


def test_training_footprints_lie_where_the_registration_finds_them(event):
    register_as(event, (2.5, -1.5), (0.5, 4.0))
    placed = placed_footprints(event, OFF)
    assert displaced_m(event, placed.table) == pytest.approx(np.tile([2.5, -1.5], (2, 1)), abs=0.01)
    assert placed.shift_m == pytest.approx(np.tile([0.5, 4.0], (2, 1)))
    assert displaced_m(event, TrainingSource.of(event).footprints)[0] == pytest.approx([2.5, -1.5], abs=0.01)


def test_without_a_registration_or_with_an_outdated_one_footprints_stay_as_drawn(event):
    assert placed_footprints(event, OFF).table.equals(event.footprints())
    register_as(event, (2.5, -1.5), (0.5, 4.0))
    set_manual_shift(event, event.scenes("pre")[0].scene_id, ManualShift(9.0, 9.0))  # and not registered again
    placed = placed_footprints(event, OFF)
    assert placed.table.equals(event.footprints())
    assert not placed.shift_m.any()


def test_each_footprint_is_moved_by_its_own_shift_and_keeps_its_columns(event):
    table = event.footprints()
    found = moved(table, np.array([[1.0, 0.0], [0.0, -3.0]]))
    assert displaced_m(event, found) == pytest.approx(np.array([[1.0, 0.0], [0.0, -3.0]]), abs=0.01)
    assert list(found.columns) == list(table.columns)
    assert found.geometry.to_crs(UTM).area.to_numpy() == pytest.approx(table.geometry.to_crs(UTM).area.to_numpy())
