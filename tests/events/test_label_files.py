"""Labels that lie somewhere: points and polygons with a grade, given to footprints by place or left out."""

import json
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import pytest
from shapely.geometry import Point, Polygon, box

from damage_ssl.errors import InputError
from damage_ssl.events.label_files import CONTRADICTION, read_labels
from damage_ssl.footprints.placing import NO_PLACE, OTHER_OUTLINE, OUTSIDE, SEVERAL
from damage_ssl.labels.grade_words import GradeRules
from damage_ssl.labels.label_csv import LabelFile

SIDE = 0.0001  # about 11 m
AGREED = GradeRules(agreed=lambda reading: True)


def square(column: int, size: float = SIDE) -> Polygon:
    """Footprints in a row along the equator, a side apart."""
    return box(2 * SIDE * column, 0, 2 * SIDE * column + size, size)


def middle(column: int) -> Point:
    return square(column).centroid


FOOTPRINTS = gpd.GeoDataFrame(
    {"building_id": ["b0", "b1", "b2", "b3"]}, geometry=[square(n) for n in range(4)], crs="EPSG:4326"
)


def read(path: Path, **how: float) -> LabelFile:
    return read_labels(path, FOOTPRINTS, labeller="ana", rules=AGREED, **how)  # type: ignore[arg-type]


def values(file: LabelFile) -> dict[str, str]:
    return {row.building_id: row.value.value for row in file.rows}


def layer(path: Path, column: str, grades: Sequence[object], shapes: Sequence[object], crs: str = "EPSG:4326") -> Path:
    gpd.GeoDataFrame({column: grades}, geometry=shapes, crs="EPSG:4326").to_crs(crs).to_file(path)
    return path


@pytest.mark.filterwarnings("ignore:Normalized", "ignore:Column names longer")
@pytest.mark.parametrize("name", ["labels.geojson", "labels.gpkg", "labels.shp", "labels.fgb"])
@pytest.mark.parametrize(
    ("column", "grades", "expected"),
    [
        ("grade", ["destroyed", "no-damage"], ["destroyed", "no-damage"]),
        ("damage_gra", ["Destroyed", "Possibly damaged"], ["destroyed", "minor-damage"]),
        ("Main_Damage_Site_Class", [1, 2], ["destroyed", "major-damage"]),
    ],
    ids=["own words", "Copernicus", "UNOSAT"],
)
def test_points_are_given_to_the_footprints_that_hold_them(
    name: str, column: str, grades: list[object], expected: list[str], tmp_path: Path
) -> None:
    path = layer(tmp_path / name, column, grades, [middle(2), middle(0)])
    found = read(path)
    assert values(found) == dict(zip(["b2", "b0"], expected, strict=True))
    assert found.unplaced == {}


def test_points_of_kml_with_extended_data(tmp_path: Path) -> None:
    marks = "".join(
        f"<Placemark><name>p{n}</name><ExtendedData><Data name='damage_gra'><value>Destroyed</value></Data>"
        f"</ExtendedData><Point><coordinates>{middle(n).x},{middle(n).y},0</coordinates></Point></Placemark>"
        for n in (0, 3)
    )
    (tmp_path / "labels.kml").write_text(
        f"<kml xmlns='http://www.opengis.net/kml/2.2'><Document><name>d</name>{marks}</Document></kml>"
    )
    assert values(read(tmp_path / "labels.kml")) == {"b0": "destroyed", "b3": "destroyed"}


def test_polygons_of_haste_with_0_and_1(tmp_path: Path) -> None:
    path = layer(tmp_path / "haste.gpkg", "damaged", [1, 0], [square(1), square(3, 0.9 * SIDE)], "EPSG:32631")
    assert values(read(path)) == {"b1": "damaged", "b3": "intact"}


def test_what_cannot_be_given_to_one_building_is_left_out_and_counted(tmp_path: Path) -> None:
    shapes = [middle(0), Point(0.1, 0.1), middle(1), middle(1), middle(2), middle(2), None]
    grades: list[object] = ["destroyed", "destroyed", "destroyed", "intact", "intact", "intact", "intact"]
    found = read(layer(tmp_path / "points.geojson", "grade", grades, shapes))
    assert values(found) == {"b0": "destroyed", "b2": "intact"}
    assert found.unplaced == {OUTSIDE: 1, CONTRADICTION: 2, NO_PLACE: 1}
    assert found.repeated == 1


def test_outline_of_a_whole_block_grades_no_building(tmp_path: Path) -> None:
    block = box(0, 0, 8 * SIDE, SIDE)
    shapes = [block, square(3, 1.2 * SIDE), square(1, 0.5 * SIDE)]
    found = read(layer(tmp_path / "blocks.geojson", "grade", ["destroyed"] * 3, shapes))
    assert values(found) == {"b3": "destroyed"}
    assert found.unplaced == {OTHER_OUTLINE: 2}


def test_point_in_two_footprints_means_neither(tmp_path: Path) -> None:
    twice = gpd.GeoDataFrame(
        {"building_id": ["a", "b", "c"]}, geometry=[square(0), square(0, 2 * SIDE), square(4)], crs="EPSG:4326"
    )
    path = layer(tmp_path / "points.geojson", "grade", ["intact", "intact"], [middle(0), middle(4)])
    found = read_labels(path, twice, labeller="ana")
    assert values(found) == {"c": "intact"} and found.unplaced == {SEVERAL: 1}


@pytest.mark.parametrize(("near_m", "given"), [(0, {"b0"}), (3.0, {"b0", "b3"})])
def test_point_beside_a_footprint_counts_where_it_is_the_only_one_near(
    near_m: float, given: set[str], tmp_path: Path
) -> None:
    beside = Point(7 * SIDE + 2 / 111_320, SIDE / 2)  # 2 m east of the last
    between = Point(3.5 * SIDE, SIDE / 2)  # 5.6 m from two
    path = layer(tmp_path / "gps.geojson", "grade", ["intact"] * 3, [middle(0), beside, between])
    assert set(values(read(path, near_m=near_m))) == given


def test_point_that_may_be_off_by_more_than_the_gap_means_no_building(tmp_path: Path) -> None:
    path = layer(tmp_path / "gps.geojson", "grade", ["intact"] * 2, [middle(0), middle(1)])
    with pytest.raises(InputError, match=r"2 several footprints could be meant"):
        read(path, near_m=20.0)


def test_nothing_on_a_footprint_is_refused_with_what_to_check(tmp_path: Path) -> None:
    path = layer(tmp_path / "far.geojson", "grade", ["intact"], [Point(10, 10)])
    with pytest.raises(InputError, match=r"none of its 1 labels .* \(1 in no footprint\); check .* CRS.*--near-m"):
        read(path)


def test_kobo_table_with_places_and_no_ids(tmp_path: Path) -> None:
    x, y = middle(2).x, middle(2).y
    path = tmp_path / "kobo.csv"
    path.write_text(
        '"start";"survey/damage_level";"_gps_latitude";"_gps_longitude";"_uuid"\n'
        f'"2025-01-01";"détruit";"{y:.8f}";"{x:.8f}";"u1"\n'
        f'"2025-01-01";"sin daño";"{y:.8f}";"{10 * SIDE}";"u2"\n'.replace(".0", ",0"),
        "utf-8",
    )
    found = read(path)
    assert values(found) == {"b2": "destroyed"}
    assert found.unplaced == {OUTSIDE: 1}


def test_metres_are_no_degrees(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("grade,x,y\nintact,500000,4100000\n")
    with pytest.raises(InputError, match=r"row 2: 4100000, 500000 are no latitude and longitude in degrees"):
        read(tmp_path / "labels.csv")


def test_layer_with_ids_is_taken_by_ids_wherever_its_shapes_lie(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"building_id": ["b3"], "grade": ["intact"]}, geometry=[middle(0)], crs="EPSG:4326")
    frame.to_file(tmp_path / "labels.gpkg")
    assert values(read(tmp_path / "labels.gpkg")) == {"b3": "intact"}


def test_layer_of_several_is_named(tmp_path: Path) -> None:
    path = tmp_path / "project.gpkg"
    for name, n in (("north", 0), ("south", 1)):
        frame = gpd.GeoDataFrame({"grade": ["intact"]}, geometry=[middle(n)], crs="EPSG:4326")
        frame.to_file(path, layer=name)
    with pytest.raises(InputError, match=r"has 2 layers: north \(Point\), south \(Point\); say which"):
        read(path)
    assert values(read(Path(f"{path}|layername=south"))) == {"b1": "intact"}


def test_layer_without_a_grade_says_so(tmp_path: Path) -> None:
    path = layer(tmp_path / "points.geojson", "name", ["a"], [middle(0)])
    with pytest.raises(InputError, match=r"the column 'grade' is missing among name.*--grade-column"):
        read(path)


def test_features_named_as_text_are_a_layer(tmp_path: Path) -> None:
    document = {
        "type": "Feature",
        "properties": {"grade": "intact"},
        "geometry": json.loads(json.dumps(middle(0).__geo_interface__)),
    }
    (tmp_path / "labels.txt").write_text(json.dumps({"type": "FeatureCollection", "features": [document]}))
    assert values(read(tmp_path / "labels.txt")) == {"b0": "intact"}


def test_points_that_are_shifted_as_a_whole_are_refused_unless_that_is_accepted(tmp_path: Path) -> None:
    row = gpd.GeoDataFrame(
        {"building_id": [f"b{n}" for n in range(40)]}, geometry=[square(n) for n in range(40)], crs="EPSG:4326"
    )
    places = [Point(middle(n).x + (0.7 * SIDE if n % 2 else 0), middle(n).y) for n in range(40)]
    path = layer(tmp_path / "shifted.geojson", "grade", ["destroyed"] * 40, places)
    with pytest.raises(InputError, match=r"20 of 40 labels lie in no footprint, but within 15 m of one: .*--near-m"):
        read_labels(path, row, labeller="ana")
    assert len(read_labels(path, row, labeller="ana", near_m=3.0).rows) == 40
