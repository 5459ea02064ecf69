"""Whose id a footprint has: kept exactly, taken from the column that was said, or made and counted."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import mapping

from damage_ssl.errors import InputError
from damage_ssl.footprints.footprint_set import FootprintSet
from damage_ssl.footprints.reader import read_footprints
from damage_ssl.settings import FootprintSettings
from tests.footprints.footprint_files import BUILDINGS

SHAPES = list(BUILDINGS.values())


def table(**columns: Any) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns, geometry=SHAPES, crs="EPSG:4326")


def ids(found: FootprintSet) -> list[str]:
    return list(found.table["building_id"])


def collection(path: Path, feature_ids: list[Any] | None, properties: list[dict[str, Any]] | None = None) -> Path:
    features = []
    for n, shape in enumerate(SHAPES):
        own = {} if feature_ids is None else {"id": feature_ids[n]}
        given = {"storeys": 1} if properties is None else properties[n]
        features.append({"type": "Feature", **own, "properties": given, "geometry": mapping(shape)})
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.mark.parametrize(
    "given",
    [
        [2**63 + 5, 2**64, 1, 2],
        [1, "a", 3, "007"],
        ["b", 2, 3, 4],
        [1.5, 2.5, 3.5, "x"],
        ["{A7-B}", "{a7-b}", "7", "07"],
    ],
    ids=["beyond 2⁶³", "numbers and text", "text first", "decimals", "case and zeros"],
)
@pytest.mark.parametrize("place", ["feature", "property"])
def test_ids_of_geojson_are_kept_exactly(given: list[Any], place: str, tmp_path: Path) -> None:
    path = tmp_path / "town.geojson"
    if place == "feature":
        collection(path, given)
    else:
        collection(path, None, [{"id": each} for each in given])
    assert ids(read_footprints(path)) == [str(each) for each in given]


def test_long_ids_are_read_with_the_crs_that_an_old_geojson_names(tmp_path: Path) -> None:
    metres = table(id=[2**64 + n for n in range(4)]).to_crs("EPSG:32632")
    features = [
        {"type": "Feature", "properties": {"id": 2**64 + n}, "geometry": mapping(shape)}
        for n, shape in enumerate(metres.geometry)
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    path = tmp_path / "town.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    found = read_footprints(path)
    assert ids(found) == [str(2**64 + n) for n in range(4)]
    assert found.table.geometry.iloc[0].centroid.distance(SHAPES[0].centroid) < 1e-6


@pytest.mark.parametrize(
    ("columns", "expected", "taken"),
    [
        ({"OBJECTID": [1, 2, 3, 4]}, ["1", "2", "3", "4"], "OBJECTID"),
        ({"fid": [9, 8, 7, 6]}, ["9", "8", "7", "6"], "fid"),
        (
            {"GlobalID": ["{A}", "{B}", "{C}", "{D}"], "OBJECTID": [1, 2, 3, 4]},
            ["{A}", "{B}", "{C}", "{D}"],
            "GlobalID",
        ),
        ({"id": [0, 0, 0, 0], "OBJECTID": [1, 2, 3, 4]}, ["1", "2", "3", "4"], "OBJECTID"),
        ({"id": ["x", "x", "y", "z"], "uid": list("abcd")}, list("abcd"), "uid"),
    ],
    ids=["OBJECTID", "fid", "GUID before OBJECTID", "zeros", "doubled"],
)
def test_ids_of_geographic_information_systems(
    columns: dict[str, list[Any]], expected: list[str], taken: str, tmp_path: Path
) -> None:
    table(**columns).to_file(tmp_path / "town.geojson")
    found = read_footprints(tmp_path / "town.geojson")
    assert ids(found) == expected
    (report,) = found.sources
    assert report.id_column == taken
    assert any("id is not unique" in remark for remark in report.remarks) == ("id" in columns)


@pytest.mark.filterwarnings("ignore:Normalized", "ignore:Column names longer")
@pytest.mark.parametrize("name", ["town.geojson", "town.geojsonl", "town.gpkg", "town.shp", "town.csv", "town.parquet"])
def test_column_that_was_said_gives_the_ids(name: str, tmp_path: Path) -> None:
    frame = table(id=list("abcd"), parcel_number=["007", "08", "9", "x"])
    path = tmp_path / name
    if path.suffix == ".csv":
        pd.DataFrame(frame.drop(columns="geometry")).assign(wkt=frame.geometry.to_wkt()).to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".geojsonl":
        frame.to_file(path, driver="GeoJSONSeq")
    else:
        frame.to_file(path)
    found = read_footprints(path, settings=FootprintSettings(id_column="Parcel_Number"))
    assert ids(found) == ["007", "08", "9", "x"]
    assert found.sources[0].id_column == "Parcel_Number"


def test_row_number_of_a_geopackage_gives_the_ids_where_it_is_asked_for(tmp_path: Path) -> None:
    table(name=list("abcd")).to_file(tmp_path / "town.gpkg")
    assert read_footprints(tmp_path / "town.gpkg").id_column is None
    assert ids(read_footprints(tmp_path / "town.gpkg", settings=FootprintSettings(id_column="FID"))) == list("1234")


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ("nummer", r"has no column 'nummer' for the ids \(--id-column\); it has name, twice"),
        ("twice", "twice is not unique: x; make the ids unique"),
    ],
)
def test_column_that_cannot_give_the_ids_is_refused(column: str, problem: str, tmp_path: Path) -> None:
    table(name=list("abcd"), twice=list("xxyz")).to_file(tmp_path / "town.gpkg")
    with pytest.raises(InputError, match=problem):
        read_footprints(tmp_path / "town.gpkg", settings=FootprintSettings(id_column=column))


def test_second_source_need_not_have_the_column(tmp_path: Path) -> None:
    table(parcel=list("abcd")).iloc[:2].to_file(tmp_path / "own.gpkg")
    table(id=list("wxyz")).iloc[2:].to_file(tmp_path / "other.gpkg")
    files = [tmp_path / "own.gpkg", tmp_path / "other.gpkg"]
    assert ids(read_footprints(files, settings=FootprintSettings(id_column="parcel"))) == ["a", "b", "y", "z"]
    with pytest.raises(InputError, match="none has the column 'number' of --id-column"):
        read_footprints(files, settings=FootprintSettings(id_column="number"))


def test_decimals_that_have_lost_digits_are_no_ids(tmp_path: Path) -> None:
    frame = table(building_id=np.array([7.1e17, 7.2e17, 7.3e17, 1.0]))
    frame.to_file(tmp_path / "town.gpkg")
    with pytest.raises(InputError, match="building_id is kept as decimal numbers, which have lost digits"):
        read_footprints(tmp_path / "town.gpkg")


@pytest.mark.parametrize(
    ("given", "expected", "remark"),
    [
        ([87.5, 50.0, 1.0, None], [0.875, 0.5, 0.01, np.nan], "its confidence is taken as per cent"),
        (["87.5 %", "50%", "1%", ""], [0.875, 0.5, 0.01, np.nan], "its confidence is taken as per cent"),
        (["0,9", "0.8", "1", None], [0.9, 0.8, 1.0, np.nan], None),
        (["high", "0.8", "low", "-1"], [np.nan, 0.8, np.nan, np.nan], "2 values of confidence are no numbers"),
        ([0.9, 0.8, 0.7, -1.0], [0.9, 0.8, 0.7, np.nan], None),
    ],
    ids=["per cent", "per cent as text", "decimal comma", "words", "fractions"],
)
def test_confidence_in_per_cent_or_as_text(
    given: list[Any], expected: list[float], remark: str | None, tmp_path: Path
) -> None:
    table(id=list("abcd"), confidence=given).to_file(tmp_path / "town.geojson")
    found = read_footprints(tmp_path / "town.geojson", settings=FootprintSettings(min_confidence=0.0))
    assert found.table["confidence"].tolist() == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert [each for each in found.sources[0].remarks if "confidence" in each] == (
        [] if remark is None else [each for each in found.sources[0].remarks if remark in each]
    )
    assert (remark is not None) == bool(found.sources[0].remarks)


def test_least_confidence_is_asked_of_per_cent_too(tmp_path: Path) -> None:
    table(id=list("abcd"), confidence=[90, 40, 60, 0.5]).to_file(tmp_path / "town.geojson")
    found = read_footprints(tmp_path / "town.geojson", settings=FootprintSettings(min_confidence=0.5))
    assert ids(found) == ["a", "c"]
    assert found.sources[0].below_confidence == 2
