import gzip
import json
from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from damage_ssl.errors import InputError
from damage_ssl.event.footprints import FootprintSet, read_aoi, read_footprints
from tests.conftest import CORNER_X, CORNER_Y, UTM, square, write_polygons

SQUARES = [square(40, 40), square(90, 40), square(140, 40)]


def write(path: Path, geometry: list[object], **columns: object) -> Path:
    gpd.GeoDataFrame(columns, geometry=geometry, crs="EPSG:4326").to_file(path)
    return path


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg", ".shp", ".parquet", ".geojson.gz", ".fgb"])
def test_any_vector_format_gives_the_same_ids_areas_and_places(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"buildings{suffix}"
    if suffix == ".parquet":
        gpd.GeoDataFrame({"id": ["a", "b", "c"]}, geometry=SQUARES, crs=UTM).to_parquet(path)
    elif suffix == ".geojson.gz":
        plain = write_polygons(tmp_path / "plain.geojson", SQUARES, id=["a", "b", "c"])
        path.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        gpd.GeoDataFrame({"id": ["a", "b", "c"]}, geometry=SQUARES, crs=UTM).to_crs(
            "EPSG:4326" if "json" in suffix else UTM
        ).to_file(path)
    found = read_footprints(path)
    assert sorted(found.table["building_id"]) == ["a", "b", "c"]
    assert found.id_column == "id"
    assert found.table.crs.to_epsg() == 4326
    # UTM's scale this near the central meridian is 0.99961, so a map square of 100 m² is 100.08 m² on the ground.
    assert found.table["area_m2"].tolist() == pytest.approx([100.08] * 3, abs=0.05)
    by_id = found.table.set_index("building_id").to_crs(UTM)
    assert by_id.loc["b"].geometry.centroid.distance(SQUARES[1].centroid) < 0.02


def test_ids_come_from_building_id_then_id_then_uid_if_unique(tmp_path: Path) -> None:
    def ids(name: str, **columns: object) -> FootprintSet:
        return read_footprints(write_polygons(tmp_path / name, SQUARES, **columns))

    assert ids("a.gpkg", building_id=["x", "y", "z"], id=[1, 2, 3]).table["building_id"].tolist() == ["x", "y", "z"]
    assert ids("b.gpkg", id=[1, 2, 3], uid=["p", "q", "r"]).table["building_id"].tolist() == ["1", "2", "3"]
    assert ids("c.gpkg", id=[1, 1, 3], uid=["p", "q", "r"]).table["building_id"].tolist() == ["p", "q", "r"]
    hashed = ids("d.gpkg", id=[1, 1, 3])
    assert hashed.id_column is None
    assert hashed.table["building_id"].is_unique


def test_hashed_ids_follow_the_polygon_and_not_its_place_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    one = read_footprints(write_polygons(tmp_path / "one" / "f.gpkg", SQUARES))
    turned = [shapely.Polygon(list(s.exterior.coords)[::-1]) for s in SQUARES[::-1]]
    (tmp_path / "two").mkdir()
    two = read_footprints(write_polygons(tmp_path / "two" / "f.gpkg", turned))
    assert two.table["building_id"].tolist() == one.table["building_id"].tolist()[::-1]
    other_source = read_footprints(write_polygons(tmp_path / "two" / "g.gpkg", SQUARES))
    assert not set(other_source.table["building_id"]) & set(one.table["building_id"])


def test_repeated_polygon_without_ids_keeps_a_row_of_its_own(tmp_path: Path) -> None:
    ids = read_footprints(write_polygons(tmp_path / "f.gpkg", [SQUARES[0], SQUARES[0]])).table["building_id"]
    assert ids[1] == f"{ids[0]}-2"


def test_bow_tie_is_repaired_and_counted(tmp_path: Path) -> None:
    bow_tie = shapely.Polygon([(0, 0), (0.001, 0.001), (0.001, 0), (0, 0.001)])
    found = read_footprints(write(tmp_path / "f.geojson", [bow_tie, shapely.box(1, 1, 1.001, 1.001)], id=["a", "b"]))
    assert found.repaired == 1
    assert found.table.geometry.is_valid.all()
    assert set(found.table.geom_type) <= {"Polygon", "MultiPolygon"}


def test_irreparable_geometry_is_named(tmp_path: Path) -> None:
    line_like = shapely.Polygon([(0, 0), (1, 1), (0, 0), (0, 0)])
    path = write(tmp_path / "f.geojson", [shapely.box(0, 0, 1, 1), line_like], building_id=["good", "flat"])
    with pytest.raises(InputError, match=r"f\.geojson: 1 footprints are not valid polygons .*: flat; redraw or remove"):
        read_footprints(path)


def test_empty_geometry_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "f.geojson", [shapely.box(0, 0, 1, 1), None], building_id=["good", "void"])
    with pytest.raises(InputError, match=r"f\.geojson: 1 footprints have an empty geometry: void"):
        read_footprints(path)


def test_double_and_missing_building_ids_are_named(tmp_path: Path) -> None:
    double = write_polygons(tmp_path / "a.geojson", SQUARES, building_id=["x", "y", "x"])
    with pytest.raises(InputError, match=r"a\.geojson: building_id is not unique: x; make the ids unique"):
        read_footprints(double)
    missing = write_polygons(tmp_path / "b.geojson", SQUARES, building_id=["x", None, "z"])
    with pytest.raises(InputError, match=r"b\.geojson: 1 of 3 footprints have no building_id \(first: feature 2\)"):
        read_footprints(missing)


def test_points_and_lines_are_refused(tmp_path: Path) -> None:
    points = write(tmp_path / "p.geojson", [shapely.Point(0, 0), shapely.Point(1, 1)], id=[1, 2])
    with pytest.raises(InputError, match=r"p\.geojson: footprints must be polygons; found 2 Point"):
        read_footprints(points)
    mixed = write(tmp_path / "m.geojson", [shapely.box(0, 0, 1, 1), shapely.Point(1, 1)], id=[1, 2])
    with pytest.raises(InputError, match=r"found also 1 Point \(first: feature 2\)"):
        read_footprints(mixed)


def test_file_without_features_missing_file_and_wrong_file_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "e.geojson"
    empty.write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(InputError, match=r"e\.geojson: "):
        read_footprints(empty)
    with pytest.raises(InputError, match=r"none\.geojson: no such file; give the footprints file's path"):
        read_footprints(tmp_path / "none.geojson")
    wrong = tmp_path / "w.docx"
    wrong.write_bytes(b"\x00\x01 nothing that OGR knows")
    with pytest.raises(InputError, match=r"w\.docx: cannot be read as vector data .* give GeoJSON, GeoPackage"):
        read_footprints(wrong)
    table = tmp_path / "t.csv"
    table.write_text("id,name\n1,a\n")
    with pytest.raises(InputError, match=r"t\.csv: has no geometry column"):
        read_footprints(table)


def test_missing_crs_is_an_error_except_for_geojson(tmp_path: Path) -> None:
    path = tmp_path / "f.shp"
    gpd.GeoDataFrame({"id": [1]}, geometry=[SQUARES[0]], crs=UTM).to_file(path)
    path.with_suffix(".prj").unlink()
    with pytest.raises(InputError, match=r"f\.shp: has no CRS; assign one \(for a Shapefile: the \.prj"):
        read_footprints(path)


def test_projected_coordinates_in_geojson_without_crs_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "f.geojson"
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(SQUARES[0])}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    with pytest.raises(InputError, match=r"f\.geojson: its coordinates .* are not longitude and latitude"):
        read_footprints(path)


def test_aoi_keeps_buildings_whose_inner_point_lies_in_it(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "f.geojson", SQUARES, building_id=["a", "b", "c"])
    # Its edge runs through b, east of the middle.
    aoi = write_polygons(tmp_path / "aoi.geojson", [shapely.box(CORNER_X, CORNER_Y - 60, CORNER_X + 47, CORNER_Y)])
    found = read_footprints(path, aoi=read_aoi(aoi))
    assert found.table["building_id"].tolist() == ["a", "b"]
    assert found.outside_aoi == 1


def test_aoi_elsewhere_is_an_error_that_gives_both_places(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "f.geojson", SQUARES)
    with pytest.raises(
        InputError, match=r"none of its 3 footprints lies in the AOI \(lon 10\.00000.*footprints: lon -122"
    ):
        read_footprints(path, aoi=shapely.box(10, 10, 11, 11))


def test_aoi_of_points_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "aoi.geojson", [shapely.Point(0, 0)], id=[1])
    with pytest.raises(InputError, match=r"aoi\.geojson: an AOI is one or more polygons; found 1 Point"):
        read_aoi(path)
