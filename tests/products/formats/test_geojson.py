import json
import resource
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from shapely.geometry import MultiPolygon, Polygon, box

from damage_ssl.errors import InputError, StorageError
from damage_ssl.products.formats.geojson import write_geojson

CLOCKWISE = Polygon([(0, 0), (0, 1), (1, 1), (1, 0)])
HOLE_COUNTER_CLOCKWISE = Polygon([(0, 0), (0, 1), (1, 1), (1, 0)], [[(0.2, 0.2), (0.4, 0.2), (0.4, 0.4), (0.2, 0.4)]])


def product(geometry: list[Any], crs: Any = 4326, **columns: Any) -> gpd.GeoDataFrame:
    ids = [f"b{number}" for number in range(len(geometry))]
    return gpd.GeoDataFrame({"building_id": ids, **columns}, geometry=geometry, crs=crs)


def written(table: gpd.GeoDataFrame, tmp_path: Path, **metadata: Any) -> dict[str, Any]:
    path = tmp_path / "map.geojson"
    write_geojson(table, path, metadata=metadata or None)
    parsed: dict[str, Any] = json.loads(
        path.read_text(), parse_constant=lambda text: pytest.fail(f"{text} in the file")
    )
    return parsed


def test_rings_follow_the_right_hand_rule(tmp_path: Path) -> None:
    table = product([CLOCKWISE, HOLE_COUNTER_CLOCKWISE, MultiPolygon([CLOCKWISE, box(2, 2, 3, 3)])])
    polygons = []
    for feature in written(table, tmp_path)["features"]:
        coordinates = feature["geometry"]["coordinates"]
        polygons += coordinates if feature["geometry"]["type"] == "MultiPolygon" else [coordinates]
    assert len(polygons) == 4
    for outer, *holes in polygons:
        assert shapely.LinearRing(outer).is_ccw
        assert outer[0] == outer[-1]
        assert not any(shapely.LinearRing(hole).is_ccw for hole in holes)
    assert sum(len(rings) - 1 for rings in polygons) == 1


def test_there_is_no_crs_member_and_the_bounding_box_is_right(tmp_path: Path) -> None:
    collection = written(product([CLOCKWISE, box(2, -3, 4, 5)]), tmp_path)
    assert set(collection) == {"type", "bbox", "features"}
    assert collection["type"] == "FeatureCollection"
    assert collection["bbox"] == [0.0, -3.0, 4.0, 5.0]


def test_metadata_is_a_member_of_its_own(tmp_path: Path) -> None:
    collection = written(product([CLOCKWISE]), tmp_path, run_id="r", threshold=0.5, scheme=None)
    assert collection["damage_ssl"] == {"run_id": "r", "threshold": 0.5, "scheme": None}


def test_missing_values_are_null_and_types_are_plain(tmp_path: Path) -> None:
    table = product(
        [CLOCKWISE, CLOCKWISE],
        text=pd.Series(["ä", None], dtype=object),
        flag=pd.array([True, None], dtype="boolean"),
        level=pd.array([3, None], dtype="Int64"),
        p=np.array([0.25, np.nan]),
        small=np.array([0.5, 0.25], dtype=np.float32),
        when=pd.to_datetime(["2017-10-11T00:00:00Z", None]),
    )
    first, second = (feature["properties"] for feature in written(table, tmp_path)["features"])
    assert first == {
        "building_id": "b0",
        "text": "ä",
        "flag": True,
        "level": 3,
        "p": 0.25,
        "small": 0.5,
        "when": "2017-10-11T00:00:00+00:00",
    }
    assert {key: second[key] for key in ("text", "flag", "level", "p", "when")} == dict.fromkeys(
        ("text", "flag", "level", "p", "when")
    )
    assert type(first["level"]) is int and type(first["flag"]) is bool


def test_building_id_is_the_feature_id(tmp_path: Path) -> None:
    assert [feature["id"] for feature in written(product([CLOCKWISE] * 2), tmp_path)["features"]] == ["b0", "b1"]


def test_coordinates_have_at_most_eight_decimals(tmp_path: Path) -> None:
    shifted = shapely.transform(CLOCKWISE, lambda xy: xy / 3 + 1 / 7)
    text = json.dumps(written(product([shifted]), tmp_path)["features"][0]["geometry"]["coordinates"])
    decimals = [len(number.split(".")[1]) for number in text.replace("[", "").replace("]", "").split(", ")]
    assert max(decimals) == 8


def test_projected_geometry_is_written_as_longitude_and_latitude(tmp_path: Path) -> None:
    # The central meridian of UTM zone 32 is 9° E, where x is 500 km; the equator is y = 0.
    collection = written(product([box(500_000, 0, 500_100, 100)], crs=32632), tmp_path)
    assert collection["bbox"][:2] == pytest.approx([9.0, 0.0], abs=1e-7)
    assert collection["bbox"][2] == pytest.approx(9.0009, abs=1e-5)


def test_heights_are_left_out(tmp_path: Path) -> None:
    raised = Polygon([(0, 0, 5), (1, 0, 5), (1, 1, 5)])
    ring = written(product([raised]), tmp_path)["features"][0]["geometry"]["coordinates"][0]
    assert {len(position) for position in ring} == {2}


def test_file_reads_back_with_crs_rows_and_geometry(tmp_path: Path) -> None:
    table = product([CLOCKWISE, box(2, 2, 3, 3)], damage_class=["intact", None], p_damaged=[0.1, np.nan])
    written(table, tmp_path)
    back = gpd.read_file(tmp_path / "map.geojson")
    assert back.crs.to_epsg() == 4326
    assert back["building_id"].tolist() == ["b0", "b1"]
    assert back.geometry.geom_equals(table.geometry).all()
    assert back["p_damaged"].isna().tolist() == [False, True]


def test_empty_product_is_a_valid_collection(tmp_path: Path) -> None:
    assert written(product([]), tmp_path) == {"type": "FeatureCollection", "features": []}


def test_more_features_than_a_chunk_are_all_written_in_order(tmp_path: Path) -> None:
    features = written(product([CLOCKWISE] * 4100), tmp_path)["features"]
    assert [feature["id"] for feature in features] == [f"b{number}" for number in range(4100)]


def test_style_of_the_same_name_goes_beside_the_map(tmp_path: Path) -> None:
    written(product([CLOCKWISE]), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.geojson", "map.qml"]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (product([CLOCKWISE], crs=None), "the features have no CRS"),
        (product([CLOCKWISE, None]), "1 features have no geometry"),
        (product([Polygon()]), "1 features have no geometry"),
        (product([CLOCKWISE], p=[np.inf]), "a number is infinite"),
    ],
)
def test_what_cannot_be_written_is_refused_and_the_old_map_stays(
    tmp_path: Path, table: gpd.GeoDataFrame, problem: str
) -> None:
    (tmp_path / "map.geojson").write_text("old")
    with pytest.raises(InputError, match=f"map.geojson: {problem}"):
        write_geojson(table, tmp_path / "map.geojson")
    assert [path.name for path in tmp_path.iterdir()] == ["map.geojson"]
    assert (tmp_path / "map.geojson").read_text() == "old"


def test_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        write_geojson(product([CLOCKWISE]), tmp_path)


def test_full_disk_leaves_the_old_map_and_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "map.geojson").write_text("old")
    table = product([CLOCKWISE] * 500)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"map.geojson: the disk is full"):
            write_geojson(table, tmp_path / "map.geojson")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["map.geojson"]
    assert (tmp_path / "map.geojson").read_text() == "old"
