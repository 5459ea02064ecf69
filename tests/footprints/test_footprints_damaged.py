"""What other programs write into footprint files, and what damaged ones say."""

import gzip
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from damage_ssl.errors import InputError
from damage_ssl.footprints.reader import read_footprints
from tests.footprints.footprint_files import BUILDINGS
from tests.footprints.osm_files import pbf, xml

HUGE = 2**60 + 1  # neighbours among such numbers are one float


@pytest.mark.parametrize("name", ["f.gpkg", "f.parquet"])
def test_long_whole_numbers_stay_apart_as_ids_though_one_is_missing_elsewhere(name: str, tmp_path: Path) -> None:
    squares = [shapely.box(x, 50, x + 0.0001, 50.0001) for x in (10.0, 10.001, 10.002)]
    frame = gpd.GeoDataFrame(
        {"id": pa.array([HUGE, HUGE + 1, None]).to_pandas(integer_object_nulls=True)}, geometry=squares, crs=4326
    )
    frame["id"] = frame["id"].astype("Int64")
    path = tmp_path / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_file(path)
    area = shapely.box(9.999, 49.999, 10.0015, 50.001)  # the first two
    found = read_footprints(path, aoi=area)
    assert set(found.table["building_id"]) == {str(HUGE), str(HUGE + 1)}


@pytest.mark.parametrize(("name", "content"), [("f.osm.gz", xml(BUILDINGS).encode()), ("f.osm.pbf.gz", pbf(BUILDINGS))])
def test_openstreetmap_files_are_read_gzipped_too(name: str, content: bytes, tmp_path: Path) -> None:
    plain, packed = tmp_path / name.removesuffix(".gz"), tmp_path / name
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    assert list(read_footprints(packed).table["building_id"]) == list(read_footprints(plain).table["building_id"])


@pytest.mark.parametrize(
    "element",
    [
        {"type": "way", "id": 7, "tags": {"building": "yes"}, "geometry": [{"lat": 1}]},
        {"type": "way", "id": 7, "tags": {"building": "yes"}, "geometry": 3},
        {
            "type": "relation",
            "id": 7,
            "tags": {"building": "yes", "type": "multipolygon"},
            "members": [{"type": "way", "role": ""}],
        },
    ],
)
def test_damaged_element_of_an_overpass_answer_is_named(element: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text(json.dumps({"version": 0.6, "elements": [element]}))
    with pytest.raises(InputError, match=r"f\.json, element 1 \((way|relation)/7\): its corners cannot be read"):
        read_footprints(path)


def test_feature_without_a_box_is_not_passed_over_with_its_row_group(tmp_path: Path) -> None:
    squares = [shapely.box(x, 50, x + 0.0001, 50.0001) for x in (10.0, 30.0)]
    bounds = shapely.bounds(np.array(squares))
    boxes = [None, dict(zip(("xmin", "ymin", "xmax", "ymax"), map(float, bounds[1]), strict=True))]
    kind = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"geometry": shapely.to_wkb(squares), "bbox": pa.array(boxes, kind)}), path)
    assert len(read_footprints(path, aoi=shapely.box(9, 49, 11, 51)).table) == 1


def test_address_of_footprints_is_told_to_be_downloaded_without_its_secret(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^https://h\.org/f\.gpkg: footprints are not read over the network"):
        read_footprints(Path("https://me:pw@h.org/f.gpkg?sig=SECRET"))
