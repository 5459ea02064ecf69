import gzip
import json
from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from damage_ssl.errors import InputError
from damage_ssl.footprints.footprint_set import FootprintSet
from damage_ssl.footprints.reader import read_aoi, read_footprints
from damage_ssl.settings import FootprintSettings
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


def test_repeated_polygon_is_left_out_and_listed(tmp_path: Path) -> None:
    again = [SQUARES[0], SQUARES[1], shapely.Polygon(list(SQUARES[0].exterior.coords)[::-1])]
    found = read_footprints(write_polygons(tmp_path / "f.gpkg", again, id=["a", "b", "c"]))
    assert found.table["building_id"].tolist() == ["a", "b"]
    assert found.left_out[["source_id", "reason", "duplicate_of", "overlap"]].to_numpy().tolist() == [
        ["c", "repeated", "a", 1.0]
    ]
    assert found.sources[0].left_out == {"repeated": 1}


def test_repeated_polygon_with_a_building_id_of_its_own_stays(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "f.gpkg", [SQUARES[0], SQUARES[0]], building_id=["a", "b"])
    assert read_footprints(path).table["building_id"].tolist() == ["a", "b"]


def test_bow_tie_is_repaired_and_counted(tmp_path: Path) -> None:
    bow_tie = shapely.Polygon([(0, 0), (0.001, 0.001), (0.001, 0), (0, 0.001)])
    found = read_footprints(write(tmp_path / "f.geojson", [bow_tie, shapely.box(1, 1, 1.001, 1.001)], id=["a", "b"]))
    assert found.repaired == 1
    assert found.table.geometry.is_valid.all()
    assert set(found.table.geom_type) <= {"Polygon", "MultiPolygon"}


def test_irreparable_and_empty_geometries_are_left_out_and_listed(tmp_path: Path) -> None:
    line_like = shapely.Polygon([(0, 0), (1, 1), (0, 0), (0, 0)])
    path = write(
        tmp_path / "f.geojson", [shapely.box(0, 0, 1, 1), line_like, None], building_id=["good", "flat", "void"]
    )
    found = read_footprints(path)
    assert found.table["building_id"].tolist() == ["good"]
    assert found.left_out[["source", "source_id", "reason"]].to_numpy().tolist() == [
        ["f.geojson", "flat", "irreparable"],
        ["f.geojson", "void", "empty"],
    ]
    (report,) = found.sources
    assert (report.features, report.kept, report.left_out) == (3, 1, {"irreparable": 1, "empty": 1})


def test_file_without_any_usable_polygon_is_refused(tmp_path: Path) -> None:
    line_like = shapely.Polygon([(0, 0), (1, 1), (0, 0), (0, 0)])
    path = write(tmp_path / "f.geojson", [line_like, None], building_id=["flat", "void"])
    with pytest.raises(InputError, match=r"f\.geojson: its 2 footprints are empty or not valid polygons: flat, void"):
        read_footprints(path)


def test_double_and_missing_building_ids_are_named(tmp_path: Path) -> None:
    double = write_polygons(tmp_path / "a.geojson", SQUARES, building_id=["x", "y", "x"])
    with pytest.raises(InputError, match=r"a\.geojson: building_id is not unique: x; make the ids unique"):
        read_footprints(double)
    missing = write_polygons(tmp_path / "b.geojson", SQUARES, building_id=["x", None, "z"])
    with pytest.raises(InputError, match=r"b\.geojson: 1 of 3 footprints have no building_id \(first: feature 2\)"):
        read_footprints(missing)


def test_points_become_squares_and_say_so(tmp_path: Path) -> None:
    points = write(tmp_path / "p.geojson", [shapely.Point(10, 60), shapely.Point(10.1, 60)], id=[1, 2])
    found = read_footprints(points, settings=FootprintSettings(point_size_m=12))
    assert found.table["geometry_kind"].tolist() == ["point", "point"]
    # A degree has 111,320 m on the sphere and up to 0.5 % more on the ellipsoid at 60° north.
    assert found.table["area_m2"].tolist() == pytest.approx([144, 144], rel=0.01)
    assert shapely.distance(found.table.geometry.iloc[0].centroid, shapely.Point(10, 60)) < 1e-9


def test_points_and_lines_among_polygons_are_left_out_and_listed(tmp_path: Path) -> None:
    line = shapely.LineString([(0, 0), (1, 1)])
    path = write(tmp_path / "m.geojson", [shapely.box(0, 0, 1, 1), shapely.Point(1, 1), line], id=[1, 2, 3])
    found = read_footprints(path)
    assert found.table["building_id"].tolist() == ["1"]
    assert found.left_out[["source_id", "reason"]].to_numpy().tolist() == [
        ["2", "not_a_polygon"],
        ["3", "not_a_polygon"],
    ]


def test_lines_alone_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "l.geojson", [shapely.LineString([(0, 0), (1, 1)])], id=[1])
    with pytest.raises(InputError, match=r"l\.geojson: footprints must be polygons; found 1 LineString"):
        read_footprints(path)


def test_polygon_across_the_antimeridian_is_made_whole(tmp_path: Path) -> None:
    torn = shapely.Polygon([(179.9999, -17), (-179.9998, -17), (-179.9998, -16.9999), (179.9999, -16.9999)])
    found = read_footprints(write(tmp_path / "f.geojson", [torn], id=["a"]))
    west, _, east, _ = found.table.total_bounds
    assert (west, east) == pytest.approx((-180.0001, -179.9998))
    assert found.repaired == 1
    assert 300 < found.table["area_m2"][0] < 400


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
    with pytest.raises(InputError, match=r"f\.shp: has no CRS; put its \.prj file beside it, or"):
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
        InputError, match=r"none of 3 footprints lies in the AOI \(lon 10\.00000.*footprints at lon -122"
    ):
        read_footprints(path, aoi=shapely.box(10, 10, 11, 11))


def test_aoi_of_points_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "aoi.geojson", [shapely.Point(0, 0)], id=[1])
    with pytest.raises(InputError, match=r"aoi\.geojson: an AOI is one or more polygons; found 1 Point"):
        read_aoi(path)
