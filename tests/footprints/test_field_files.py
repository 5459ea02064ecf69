"""Footprints as portals, spreadsheets and desktop programs really give them."""

import json
import sqlite3
import struct
import zipfile
from pathlib import Path

import geopandas as gpd
import pytest

from damage_ssl.footprints.reader import read_footprints
from tests.footprints.footprint_files import BUILDINGS


def table(**columns: list[object]) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns, geometry=list(BUILDINGS.values()), crs="EPSG:4326")


def ids(path: Path) -> list[str]:
    return list(read_footprints(path).table["building_id"])


@pytest.mark.filterwarnings("ignore:Normalized", "ignore:Column names longer")
def test_name_that_a_shapefile_cut_to_ten_characters(tmp_path: Path) -> None:
    table(building_id=["007", "b", "c", "d"]).to_file(tmp_path / "town.shp")
    assert "building_i" in gpd.read_file(tmp_path / "town.shp")
    assert ids(tmp_path / "town.shp") == ["007", "b", "c", "d"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([5000, 5003, 5001, 5002], ["5000", "5003", "5001", "5002"]),
        ([0, 1, 2, 2**53 + 1], ["0", "1", "2", str(2**53 + 1)]),
        (["007", "08", "9", "x"], ["007", "08", "9", "x"]),
    ],
    ids=["numbers out of order", "long numbers", "leading zeros"],
)
def test_feature_ids_of_geojson(given: list[object], expected: list[str], tmp_path: Path) -> None:
    document = json.loads(table(storeys=[1] * 4).to_json())
    for feature, each in zip(document["features"], given, strict=True):
        feature["id"] = each
    (tmp_path / "town.geojson").write_text(json.dumps(document))
    (tmp_path / "town.geojsonl").write_text("".join(json.dumps(each) + "\n" for each in document["features"]))
    assert ids(tmp_path / "town.geojson") == expected
    assert ids(tmp_path / "town.geojsonl") == expected


@pytest.mark.filterwarnings("ignore:Several features")
@pytest.mark.parametrize("given", [[0, 0, 0, 0], [1, 2, 3, None], [None] * 4], ids=["double", "gap", "none"])
def test_numbers_that_are_no_ids_are_not_taken(given: list[int | None], tmp_path: Path) -> None:
    document = json.loads(table(storeys=[1] * 4).to_json())
    for feature, each in zip(document["features"], given, strict=True):
        feature.pop("id")
        if each is not None:
            feature["id"] = each
    (tmp_path / "town.geojson").write_text(json.dumps(document))
    assert read_footprints(tmp_path / "town.geojson").id_column is None


@pytest.mark.filterwarnings("error")
def test_circle_of_arcs_in_a_geopackage(tmp_path: Path) -> None:
    path = tmp_path / "town.gpkg"
    town = table(building_id=list("abcd")).to_crs(32632)
    town.to_file(path, layer="town")
    centre, radius = town.geometry[2].centroid, 5.0
    ring = [(-radius, 0), (0, radius), (radius, 0), (0, -radius), (-radius, 0)]
    points = b"".join(struct.pack("<dd", centre.x + x, centre.y + y) for x, y in ring)
    blob = b"GP\x00\x01" + struct.pack("<i", 32632) + struct.pack("<BII", 1, 10, 1) + struct.pack("<BII", 1, 8, 5)
    base = sqlite3.connect(path)
    for (name,) in base.execute("select name from sqlite_master where type='trigger'").fetchall():
        base.execute(f'drop trigger "{name}"')
    base.execute("update town set geom=? where building_id='c'", (blob + points,))
    base.execute("update gpkg_geometry_columns set geometry_type_name='CURVEPOLYGON'")
    base.commit()
    base.close()
    found = read_footprints(path).table.set_index("building_id")
    assert list(found.index) == list("abcd")
    assert found["area_m2"]["c"] == pytest.approx(78.5, abs=0.5)


def test_zip_made_by_the_finder(tmp_path: Path) -> None:
    table(id=list("abcd")).to_file(tmp_path / "town.shp")
    with zipfile.ZipFile(tmp_path / "mac.zip", "w") as archive:
        for file in sorted(tmp_path.glob("town.*")):
            archive.write(file, f"town/{file.name}")
            archive.writestr(f"__MACOSX/town/._{file.name}", bytes([0, 5, 22, 7]) + bytes(100))
    assert ids(tmp_path / "mac.zip") == list("abcd")


def test_zipped_file_geodatabase(tmp_path: Path) -> None:
    table(id=list("abcd")).to_file(tmp_path / "town.gdb", driver="OpenFileGDB")
    with zipfile.ZipFile(tmp_path / "town.gdb.zip", "w") as archive:
        for file in (tmp_path / "town.gdb").iterdir():
            archive.write(file, f"data/town.gdb/{file.name}")
    assert ids(tmp_path / "town.gdb.zip") == list("abcd")
