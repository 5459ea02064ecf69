import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from damage_ssl.events.acquisition_dates import acquisition_date, date_in_name
from tests.conftest import write_tiff

GREY = np.full((8, 8), 90, dtype=np.uint8)


def image(folder: Path, name: str, **tags: str) -> str:
    path = write_tiff(folder / name, GREY)
    with rasterio.open(path, "r+") as out:
        out.update_tags(**tags)
    return str(path)


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("PS_20230208_visual", "2023-02-08"),
        ("20230208_081234_27_2424_3B_AnalyticMS_SR", "2023-02-08"),
        ("IMG_PHR1A_PMS_202302080823450_ORT_1", "2023-02-08"),
        ("S2A_MSIL2A_20230208T081234_N0509", "2023-02-08"),
        ("23FEB08082345-M2AS-012345678010_01_P001", "2023-02-08"),
        ("antakya_08Feb2023", "2023-02-08"),
        ("2023-02-08_post", "2023-02-08"),
        ("tile_12345678", None),
        ("mosaic_20230231", None),
        ("10400100123456789", None),
    ],
)
def test_dates_in_the_names_of_the_providers(stem: str, expected: str | None) -> None:
    found = date_in_name(stem)
    assert (found and f"{found:%Y-%m-%d}") == expected


def test_when_a_file_was_written_does_not_say_when_it_was_taken(tmp_path: Path) -> None:
    written = {"TIFFTAG_DATETIME": "2024:05:01 09:00:00"}
    time, notes = acquisition_date(image(tmp_path, "PS_20230208_visual.tif", **written), "post", None, None)
    assert (str(time)[:10], notes) == ("2023-02-08", ())
    time, notes = acquisition_date(image(tmp_path, "visual.tif", **written), "post", None, None)
    assert str(time)[:10] == "2024-05-01"
    assert "only when the file was written" in notes[0]
    assert "--post-date" in notes[0]


def test_order_of_sources_and_contradictions(tmp_path: Path) -> None:
    href = image(tmp_path, "PS_20230208.tif", ACQUISITIONDATETIME="2023-02-10T08:00:00Z")
    (tmp_path / "PS_20230208.json").write_text(json.dumps({"properties": {"datetime": "2023-02-10T08:00:00Z"}}))
    time, notes = acquisition_date(href, "post", None, None)
    assert str(time)[:10] == "2023-02-10"
    assert "the file's tag ACQUISITIONDATETIME" in notes[0]
    assert "its name says 2023-02-08" in notes[0]
    time, _ = acquisition_date(href, "post", None, "2023-02-09")
    assert str(time)[:10] == "2023-02-09"
    time, notes = acquisition_date(href, "post", "2023-02-08", "2023-02-08T12:00:00Z")
    assert str(time)[:10] == "2023-02-08"
    assert len(notes) == 1, "what says the same day is no contradiction, and the tag and the JSON say one thing"


def test_item_of_a_catalogue_beside_the_file(tmp_path: Path) -> None:
    href = image(tmp_path, "visual.tif")
    (tmp_path / "visual_metadata.json").write_text(json.dumps({"properties": {"acquired": "2023-02-08T08:12:34Z"}}))
    assert str(acquisition_date(href, "pre", None, None)[0]) == "2023-02-08 08:12:34+00:00"
    (tmp_path / "visual_metadata.json").write_text("[1]")
    assert acquisition_date(href, "pre", None, None) == (None, ())


@pytest.mark.parametrize(
    ("raster", "sidecar", "content"),
    [
        ("scene.tif", "scene.IMD", "BEGIN_GROUP = IMAGE_1\n\tfirstLineTime = 2023-02-08T08:15:11.123456Z;\nEND_GROUP"),
        ("x-S2AS_R1C1-1_P001.TIF", "x-S2AS-1_P001.XML", "<IMD><FIRSTLINETIME>2023-02-08T08:15:11Z</FIRSTLINETIME>"),
        ("a_3B_AnalyticMS_SR.tif", "a_3B_AnalyticMS_metadata.xml", "<ps:acquisitionDateTime>2023-02-08T08:15:11Z<"),
        ("a_3B_AnalyticMS_clip.tif", "a_3B_AnalyticMS_metadata.xml", "<eop:acquisitionDate>2023-02-08T08:15:11.5Z<"),
        ("IMG_PHR1B_P_R1C1.TIF", "DIM_PHR1B_P.XML", "<Dimap_Document><IMAGING_DATE>2023-02-08</IMAGING_DATE>"),
        ("MTD.tif", "MTD.xml", '<SENSING_TIME metadataLevel="Standard">2023-02-08T08:15:11.024Z</SENSING_TIME>'),
        ("town.tif", "town.json", '{"properties": {"datetime": "2023-02-08T08:15:11Z"}}'),
    ],
    ids=["IMD", "Maxar XML of a tile", "PlanetScope", "RapidEye", "DIMAP", "Sentinel-2", "STAC"],
)
def test_dates_in_metadata_beside_the_raster(raster: str, sidecar: str, content: str, tmp_path: Path) -> None:
    href = image(tmp_path, raster, TIFFTAG_DATETIME="2024:05:01 09:00:00")
    (tmp_path / sidecar).write_text(content)
    (tmp_path / "other.xml").write_text("<FIRSTLINETIME>2001-01-01T00:00:00Z</FIRSTLINETIME>")
    found, notes = acquisition_date(href, "post", None, None)
    assert found is not None and f"{found:%Y-%m-%d}" == "2023-02-08"
    assert notes == ()


def test_date_in_the_name_of_the_folder_is_taken_for_want_of_another_and_said(tmp_path: Path) -> None:
    folder = tmp_path / "after_2023-02-08"
    folder.mkdir()
    href = image(folder, "ortho.tif", TIFFTAG_DATETIME="2024:05:01 09:00:00")
    found, (note,) = acquisition_date(href, "post", None, None)
    assert found is not None and f"{found:%Y-%m-%d}" == "2023-02-08"
    assert "is the date in its folder's name" in note and "--post-date" in note
    named = image(folder, "ortho_20230209.tif")
    found, notes = acquisition_date(named, "post", None, None)
    assert found is not None and f"{found:%Y-%m-%d}" == "2023-02-09" and notes == ()
