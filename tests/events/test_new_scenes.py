"""A later acquisition is added to an event: all of it or nothing, once, and nothing else is touched."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
from affine import Affine

from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError, StorageError, WorkspaceError
from damage_ssl.events import stac
from damage_ssl.events.event import Event
from damage_ssl.events.new_scenes import add_scenes
from damage_ssl.files import locked, read_json, write_json
from damage_ssl.settings import PatchSettings
from damage_ssl.workflow import cut_patches, event_status
from tests.cli.conftest import every_file
from tests.conftest import CORNER_X, CORNER_Y, GSD_M, Town, texture, write_tiff
from tests.runs.updates import answer, finished_run

SMALL = PatchSettings(size_px=32, align="off")


@pytest.fixture
def event(town: Town) -> Event:
    """The town on its first day, with half of its post image missing."""
    return town.create(
        post=[write_tiff(town.post.with_name("day1_20171011.tif"), texture(2)[:, :, :115])],
        pre_datetime="2017-06-01",
    )


@pytest.fixture
def second(town: Town) -> Path:
    return write_tiff(town.post.with_name("day2_20171013.tif"), texture(3))


def test_new_scene_is_the_events_and_all_else_stays(event: Event, second: Path) -> None:
    write_json(event.path / "collection.json", read_json(event.path / "collection.json") | {"license": "CC-BY-4.0"})
    before = every_file(event.path)
    done = add_scenes(event, post=[second])
    assert [scene.scene_id for scene in event.scenes("post")] == ["post-day1_20171011", "post-day2_20171013"]
    assert done.touched == {"post-day2_20171013": 16}
    assert done.beyond == (), "the pre image showed that place already"
    after = every_file(event.path)
    assert {name for name in before if before[name] != after[name]} == {"collection.json"}
    assert set(after) - set(before) == {"items/post-day2_20171013.json"}
    collection = pystac.Collection.from_file(str(event.path / "collection.json"))
    assert collection.license == "CC-BY-4.0"
    assert {item.id for item in collection.get_items()} == {path.stem for path in (event.path / "items").iterdir()}
    assert str(collection.extent.temporal.intervals[0][1]).startswith("2017-10-13")


def test_buildings_without_a_picture_get_one_when_the_patches_are_cut_again(event: Event, second: Path) -> None:
    first = cut_patches(event, SMALL)
    run = finished_run(event, {"b00": 0.9})
    answer(event, "b00", LabelValue.DESTROYED)
    assert set(first.index().loc[~first.index()["assessed"], "not_assessed_reason"]) == {"no_post"}
    add_scenes(event, post=[second])
    waiting = event_status(event)
    assert (waiting.assessable, waiting.scenes_to_cut) == (8, ("post-day2_20171013",)), "those of before, until then"
    assert "damage-ssl patches town" in waiting.next_step
    assert not waiting.runs[0].stale
    index = cut_patches(event).index().set_index("building_id")
    assert index["assessed"].all()
    chosen = index["post_image_id"].to_dict()
    assert chosen["b00"] == "post-day1_20171011" and chosen["b03"] == "post-day2_20171013"
    now = event_status(event)
    assert (now.assessable, now.scenes_to_cut, now.runs[0].stale) == (16, (), True)
    assert "damage-ssl train town" in now.next_step
    assert run.finished


@pytest.mark.parametrize("way", ["the same path", "a relative path", "a link", "a hard link", "a copy", "in a folder"])
def test_the_same_raster_is_added_once(
    event: Event, second: Path, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_scenes(event, post=[second])
    other = tmp_path / "elsewhere" / "again.tif"
    other.parent.mkdir()
    if way == "a link":
        other.symlink_to(second)
    elif way == "a hard link":
        os.link(second, other)
    elif way == "a copy":
        shutil.copy(second, other)
    elif way == "in a folder":
        shutil.copy(second, other)
        other = other.parent
    else:
        monkeypatch.chdir(second.parent)
        other = second if way == "the same path" else Path(second.name)
    before = every_file(event.path)
    done = add_scenes(event, post=[other])
    assert done.added == () and list(done.known.values()) == ["post-day2_20171013"]
    assert every_file(event.path) == before
    with pytest.raises(InputError, match="is the event's post scene post-day2_20171013 already"):
        add_scenes(event, pre=[other])


def test_another_raster_of_the_same_name_is_another_scene(event: Event, second: Path, tmp_path: Path) -> None:
    add_scenes(event, post=[second])
    done = add_scenes(event, post=[write_tiff(tmp_path / "other" / second.name, texture(9))])
    assert [scene.scene_id for scene in done.added] == ["post-day2_20171013-2"]


def test_date_that_notes_give_the_first_acquisition_is_not_the_later_ones(event: Event, second: Path) -> None:
    notes = {"post_datetime": "2017-10-11", "scenes": [{"scene": "day3", "post_datetime": "2017-10-19"}]}
    write_json(second.with_name("event.json"), notes)
    third = write_tiff(second.with_name("day3.tif"), texture(5))
    dates = {scene.scene_id: scene.datetime for scene in add_scenes(event, post=[second, third]).added}
    assert [str(date)[:10] for date in dates.values()] == ["2017-10-13", "2017-10-19"]


def test_scene_in_another_crs_is_put_where_it_belongs(event: Event, tmp_path: Path) -> None:
    from rasterio.warp import transform_bounds

    west, south, east, north = transform_bounds(
        "EPSG:32610", "EPSG:4326", CORNER_X, CORNER_Y - 120, CORNER_X + 120, CORNER_Y
    )
    degrees = Affine((east - west) / 240, 0, west, 0, (south - north) / 240, north)
    done = add_scenes(
        event, post=[write_tiff(tmp_path / "wgs84_20171013.tif", texture(3), crs="EPSG:4326", transform=degrees)]
    )
    assert done.touched == {"post-wgs84_20171013": 16}


def away(path: Path) -> Path:
    return write_tiff(path, texture(3), transform=Affine(GSD_M, 0, CORNER_X + 50_000, 0, -GSD_M, CORNER_Y))


def truncated(path: Path) -> Path:
    whole = write_tiff(path, texture(3))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return whole


def text(path: Path) -> Path:
    path.write_text("no raster")
    return path


def black(path: Path) -> Path:
    return write_tiff(path, np.zeros((3, 240, 240), dtype=np.uint8))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (away, "touches none of the 16 footprints of event 'town': the raster covers lon"),
        (truncated, "bad_20171014"),
        (text, "bad_20171014"),
        (black, "every pixel is nodata or black"),
        (lambda path: path, "no such file or folder"),
    ],
)
def test_raster_that_cannot_be_used_leaves_the_event_as_it_was(
    event: Event, second: Path, tmp_path: Path, bad: Any, said: str
) -> None:
    before = every_file(event.path)
    with pytest.raises(InputError, match=said):
        add_scenes(event, post=[second, bad(tmp_path / "bad_20171014.tif")])
    assert every_file(event.path) == before


def test_no_raster_is_an_error(event: Event) -> None:
    with pytest.raises(InputError, match="give --post RASTER"):
        add_scenes(event)


def test_raster_of_both_sides_is_refused(event: Event, second: Path) -> None:
    with pytest.raises(InputError, match="is given as --pre and as --post"):
        add_scenes(event, pre=[second], post=[second])


def test_two_at_a_time_are_refused(event: Event, second: Path) -> None:
    with (
        locked(event.path / ".scenes.lock"),
        pytest.raises(WorkspaceError, match="another process is adding scenes to it"),
    ):
        add_scenes(event, post=[second])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_interruption_or_a_full_disk_leaves_the_event_as_it_was(
    event: Event, second: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    third = write_tiff(tmp_path / "day3_20171015.tif", texture(4))
    before = every_file(event.path)

    def fail_at_the_second(path: Path, value: Any) -> None:
        if "day3" in path.name:
            raise error
        write_json(path, value)

    monkeypatch.setattr(stac, "write_json", fail_at_the_second)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else StorageError):
        add_scenes(event, post=[second, third])
    assert every_file(event.path) == before


def test_what_a_killed_process_left_is_mended_by_the_next_call(
    event: Event, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (event.path / ".items.abc.tmp").mkdir()

    def killed(path: Path, value: Any) -> None:
        if path.name == "collection.json":  # after the items
            raise KeyboardInterrupt
        write_json(path, value)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stac, "write_json", killed)
        add_scenes(event, post=[second])
    assert len(event.scenes("post")) == 2, "the items say what there is"
    assert add_scenes(event, post=[second]).added == ()
    links = {link["href"] for link in read_json(event.path / "collection.json")["links"]}
    assert "./items/post-day2_20171013.json" in links
    assert not list(event.path.glob(".items.*"))
