import errno
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import shapely
from affine import Affine

from damage_ssl.errors import InputError, StorageError, WorkspaceError
from damage_ssl.events.event import Event, list_events
from damage_ssl.events.inputs import expand_rasters
from damage_ssl.footprints.footprint_set import TABLE_COLUMNS
from damage_ssl.footprints.reader import read_footprints
from tests.conftest import CORNER_X, CORNER_Y, GSD_M, Town, square, texture, write_polygons, write_tiff


def entries(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else []


def test_event_is_written_and_opened_again(town: Town) -> None:
    made = town.create(hazard="fire", pre_datetime="2017-06-21", post_datetime="2017-10-11T19:19:41Z")
    event = Event.open(town.workspace, "town")
    assert event == made
    assert list_events(town.workspace) == ["town"]
    assert event.hazard == "fire"
    assert abs((datetime.now(UTC) - event.created).total_seconds()) < 60
    assert event.aoi() is None
    (pre,) = event.scenes("pre")
    assert (pre.scene_id, pre.role, pre.href) == ("pre-pre", "pre", str(town.pre))
    assert pre.datetime == datetime(2017, 6, 21, tzinfo=UTC)
    assert pre.transform == Affine(GSD_M, 0, CORNER_X, 0, -GSD_M, CORNER_Y)
    assert pre.crs.to_epsg() == 32610
    assert len(event.footprints()) == 16
    assert event.has_footprints
    assert tuple(event.footprints().columns) == TABLE_COLUMNS
    assert sorted(path.name for path in event.path.iterdir() if path.suffix != ".sha256") == [
        "collection.json",
        "footprints.parquet",
        "footprints_left_out.parquet",
        "footprints_report.json",
        "items",
    ]


def test_collection_is_stac_with_an_item_a_scene(town: Town) -> None:
    event = town.create(post_datetime="2017-10-11")
    collection = pystac.Collection.from_file(str(event.path / "collection.json"))
    items = {item.id: item for item in collection.get_items()}
    assert set(items) == {"pre-pre", "post-post"}
    assert items["post-post"].datetime == datetime(2017, 10, 11, tzinfo=UTC)
    assert items["pre-pre"].datetime is None
    assert items["pre-pre"].properties["damage_ssl:role"] == "pre"
    assert items["pre-pre"].properties["proj:code"] == "EPSG:32610"
    assert items["pre-pre"].properties["gsd"] == pytest.approx(0.5, rel=1e-3)
    assert items["pre-pre"].assets["image"].href == str(town.pre)
    assert items["pre-pre"].get_collection() is not None
    west, south, east, north = collection.extent.spatial.bboxes[0]
    lon, lat = event.footprints().geometry.iloc[0].centroid.coords[0]
    assert west < lon < east
    assert south < lat < north


def test_scenes_of_one_name_in_two_folders_keep_their_own_ids(town: Town, tmp_path: Path) -> None:
    other = write_tiff(tmp_path / "other" / "pre.tif", texture(5))
    event = town.create(pre=[town.pre, other])
    assert [scene.scene_id for scene in event.scenes("pre")] == ["pre-pre", "pre-pre-2"]


def test_sixteen_bit_stretch_is_recorded(town: Town, tmp_path: Path) -> None:
    pre = write_tiff(tmp_path / "pre16.tif", texture(1).astype(np.uint16) * 10)
    (scene,) = town.create(pre=[pre]).scenes("pre")
    assert scene.stretch is not None
    assert len(scene.stretch) == 3


def test_dates_are_found_in_event_json_tags_and_file_names(town: Town, tmp_path: Path) -> None:
    folder = tmp_path / "noted"
    for name in ("pre/s1.tif", "pre/s2.tif", "post/s1.tif"):
        write_tiff(folder / name, texture(1))
    notes = {
        "hazard": "flood",
        "post_datetime": "2020-05-01T00:00:00Z",
        "scenes": [{"scene": "s1", "pre_datetime": "2019-04-03T02:01:00Z", "sensor": "WORLDVIEW02"}],
    }
    (folder / "event.json").write_text(json.dumps(notes))
    event = town.create("noted", pre=[folder / "pre"], post=[folder / "post"])
    assert event.hazard == "flood"
    first, second = event.scenes("pre")
    assert first.datetime == datetime(2019, 4, 3, 2, 1, tzinfo=UTC)
    assert first.sensor == "WORLDVIEW02"
    assert second.datetime is None
    assert event.scenes("post")[0].datetime == datetime(2020, 5, 1, tzinfo=UTC)

    named = write_tiff(tmp_path / "plain" / "maxar_2021-08-14_x.tif", texture(1))
    tagged = write_tiff(tmp_path / "plain" / "tagged.tif", texture(1))
    with rasterio.open(tagged, "r+") as out:
        out.update_tags(TIFFTAG_DATETIME="2021:08:15 10:11:12")
    event = town.create("plain", pre=[named], post=[tagged])
    assert event.scenes("pre")[0].datetime == datetime(2021, 8, 14, tzinfo=UTC)
    assert event.scenes("post")[0].datetime == datetime(2021, 8, 15, 10, 11, 12, tzinfo=UTC)


def test_a_path_is_a_file_a_folder_or_a_glob(tmp_path: Path) -> None:
    for name in ("a.tif", "b.TIF", "c.txt", "sub/d.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def names(*paths: object) -> list[str]:
        return [Path(href).name for href in expand_rasters([str(path) for path in paths], "pre")]

    assert names(tmp_path) == ["a.tif", "b.TIF"]
    assert names(tmp_path / "**" / "*.tif") == ["a.tif", "d.tif"]
    assert names(tmp_path / "a.tif", tmp_path / "*.tif") == ["a.tif"]
    for path, message in (
        (tmp_path / "gone.tif", r"--pre .*gone\.tif: no such file or folder"),
        (tmp_path / "*.jp2", r"--pre .*\*\.jp2: no file matches"),
    ):
        with pytest.raises(InputError, match=message):
            names(path)
    (tmp_path / "void").mkdir()
    with pytest.raises(InputError, match=r"void: the folder holds no raster"):
        names(tmp_path / "void")
    with pytest.raises(InputError, match=r"--pre: no raster was given"):
        names()


def elsewhere(folder: Path) -> Path:
    return write_tiff(folder / "far.tif", texture(9), transform=Affine(GSD_M, 0, CORNER_X + 5000, 0, -GSD_M, CORNER_Y))


def truncated(town: Town) -> Path:
    path = town.pre.with_name("cut.tif")
    path.write_bytes(town.pre.read_bytes()[:90_000])
    return path


BAD_INPUTS = {
    "footprints far away": (
        lambda t: {"footprints": write_polygons(t.pre.with_name("f.geojson"), [square(9000, 40)])},
        r"f\.geojson: none of 1 footprints lies within 1,000 m of the imagery \(lon -122.*footprints at lon",
    ),
    "pre and post apart": (
        lambda t: {"post": [elsewhere(t.pre.parent)]},
        r"the pre and post imagery do not overlap: pre covers lon .*, post covers lon",
    ),
    "no CRS": (
        lambda t: {"pre": [write_tiff(t.pre.with_name("n.tif"), texture(1), crs=None)]},
        r"n\.tif: has no CRS",
    ),
    "truncated": (lambda t: {"pre": [truncated(t)]}, r"cut\.tif: is truncated"),
    "double ids": (
        lambda t: {
            "footprints": write_polygons(
                t.pre.with_name("d.gpkg"), [square(40, 40), square(90, 40)], building_id=["a"] * 2
            )
        },
        r"d\.gpkg: building_id is not unique: a",
    ),
    "AOI elsewhere": (
        lambda t: {"aoi": write_polygons(t.pre.with_name("aoi.geojson"), [shapely.box(0, 0, 1, 1)], crs="EPSG:4326")},
        r"none of 16 footprints lies in the AOI",
    ),
    "missing raster": (lambda t: {"pre": [t.pre.with_name("gone.tif")]}, r"gone\.tif: no such file"),
    "bad date": (lambda t: {"pre_datetime": "last week"}, r"--pre-datetime: 'last week' is not a date"),
}


@pytest.mark.parametrize("kind", BAD_INPUTS)
def test_bad_input_is_explained_and_nothing_is_written(town: Town, kind: str) -> None:
    change, message = BAD_INPUTS[kind]
    with pytest.raises(InputError, match=message) as caught:
        town.create(**change(town))
    assert caught.value.exit_code == 2
    assert entries(town.workspace) == []


def test_event_name_must_be_usable_as_a_folder(town: Town) -> None:
    for name in ("../up", "", "a/b", ".hidden"):
        with pytest.raises(InputError, match="use letters, digits"):
            town.create(name)
    assert entries(town.workspace) == []


def test_existing_event_is_kept_unless_asked_to_overwrite(town: Town) -> None:
    event = town.create()
    before = {name: (event.path / name).stat().st_mtime_ns for name in ("collection.json", "footprints.parquet")}
    with pytest.raises(WorkspaceError, match=r"town: exists already; choose another name, or ask to overwrite"):
        town.create()
    assert before == {name: (event.path / name).stat().st_mtime_ns for name in before}


def test_overwriting_replaces_the_footprints_and_keeps_labels_and_runs(town: Town, tmp_path: Path) -> None:
    event = town.create()
    event.labels_path.write_bytes(b"labels")
    (event.runs_path / "r1").mkdir(parents=True)
    (event.runs_path / "r1" / "status.json").write_text("{}")
    fewer = write_polygons(tmp_path / "fewer.geojson", [square(40, 40)], building_id=["b00"])
    town.create(footprints=fewer, overwrite=True)
    assert len(event.footprints()) == 1
    assert event.labels_path.read_bytes() == b"labels"
    assert (event.runs_path / "r1" / "status.json").exists()
    assert [path.name for path in town.workspace.iterdir()] == ["town"]


def test_failed_overwrite_leaves_the_older_event_as_it_was(town: Town) -> None:
    event = town.create()
    before = entries(event.path)
    with pytest.raises(InputError):
        town.create(pre=[truncated(town)], overwrite=True)
    assert entries(event.path) == before
    assert len(event.footprints()) == 16


def test_full_disk_is_named_and_leaves_nothing(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("damage_ssl.events.stac.write_collection", full)
    with pytest.raises(StorageError, match=r"town: the disk is full; free some space"):
        town.create()
    assert entries(town.workspace) == []


def test_unknown_event_is_answered_with_those_that_exist(town: Town) -> None:
    with pytest.raises(WorkspaceError, match=r"no event 'x': there are none yet; create one with `damage-ssl init`"):
        Event.open(town.workspace, "x")
    town.create("santa-rosa")
    with pytest.raises(WorkspaceError, match=r"no event 'santarosa': did you mean 'santa-rosa'\?"):
        Event.open(town.workspace, "santarosa")


def test_broken_event_files_are_named(town: Town) -> None:
    event = town.create()
    (event.path / "items" / "pre-pre.json").write_text("{}")
    with pytest.raises(WorkspaceError, match=r"pre-pre\.json: is not a scene of an event"):
        event.scenes("pre")
    event.footprints_path.write_bytes(b"no parquet")
    with pytest.raises(WorkspaceError, match=r"footprints\.parquet: is damaged"):
        event.footprints()


def test_aoi_is_kept_with_the_event(town: Town, tmp_path: Path) -> None:
    area = shapely.box(CORNER_X, CORNER_Y - 60, CORNER_X + 33, CORNER_Y)
    event = town.create(aoi=write_polygons(tmp_path / "aoi.geojson", [area]))
    found = event.aoi()
    assert found is not None
    assert shapely.covers(found, event.footprints().representative_point()).all()
    assert event.footprints()["building_id"].tolist() == ["b00", "b04"]


def test_event_without_footprints_says_how_to_get_some(town: Town) -> None:
    event = town.create(footprints=None)
    assert not event.has_footprints
    with pytest.raises(WorkspaceError, match="has no footprints yet; get some with `damage-ssl footprints fetch town`"):
        event.footprints()
    assert event.footprint_sources() == ()
    assert event.footprints_left_out().empty


def test_footprints_may_come_later_and_are_checked_against_the_imagery(town: Town, tmp_path: Path) -> None:
    event = town.create(footprints=None)
    far = read_footprints(write_polygons(tmp_path / "far.geojson", [square(9000, 40)]))
    with pytest.raises(InputError, match=r"far\.geojson: none of 1 footprints lies where there is both pre and post"):
        event.set_footprints(far)
    assert not event.has_footprints
    event.set_footprints(read_footprints(town.footprints))
    assert event.has_footprints
    assert len(event.footprints()) == 16
    assert [report.kept for report in event.footprint_sources()] == [16]


def test_failed_set_leaves_the_footprints_that_were_there(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    event = town.create()
    fewer = read_footprints(write_polygons(town.pre.with_name("few.geojson"), [square(40, 40)]))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("geopandas.GeoDataFrame.to_parquet", full)
    with pytest.raises(StorageError, match=r"footprints\.parquet: the disk is full"):
        event.set_footprints(fewer)
    monkeypatch.undo()
    assert len(event.footprints()) == 16


def test_footprints_far_from_the_imagery_are_counted_and_not_the_events(town: Town, tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "f.gpkg", [square(40, 40), square(1500, 40), square(4000, 40)])
    event = town.create(footprints=path)
    assert len(event.footprints()) == 2
    (report,) = event.footprint_sources()
    assert (report.features, report.outside, report.kept) == (3, 1, 2)


def test_aoi_makes_footprints_without_imagery_the_events(town: Town, tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "f.gpkg", [square(40, 40), square(1500, 40), square(4000, 40)])
    area = shapely.box(CORNER_X - 10, CORNER_Y - 1000, CORNER_X + 9000, CORNER_Y + 1000)
    event = town.create(footprints=path, aoi=write_polygons(tmp_path / "aoi.geojson", [area]))
    assert len(event.footprints()) == 3


def test_several_sources_are_merged_into_one_event_with_a_record_of_duplicates(town: Town, tmp_path: Path) -> None:
    first = write_polygons(tmp_path / "osm.geojson", [square(40, 40), square(90, 40)], building_id=["a", "b"])
    second = write_polygons(tmp_path / "ml.geojson", [square(42, 40), square(140, 40)], building_id=["x", "a"])
    event = town.create(footprints=[first, second])
    table = event.footprints()
    assert table["building_id"].tolist() == ["a", "b", "ml:a"]
    assert table["source"].tolist() == ["osm.geojson", "osm.geojson", "ml.geojson"]
    assert table["source_id"].tolist() == ["a", "b", "a"]
    left_out = event.footprints_left_out()
    assert left_out[["source", "source_id", "reason", "duplicate_of"]].to_numpy().tolist() == [
        ["ml.geojson", "x", "duplicate", "a"]
    ]
    # 20 px squares, 2 px apart: 18 of 20 columns are common.
    assert left_out["overlap"].tolist() == pytest.approx([0.9], abs=1e-3)
    assert [(report.kept, report.left_out) for report in event.footprint_sources()] == [(2, {}), (1, {"duplicate": 1})]
