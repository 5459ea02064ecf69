"""What others read in a pack: GDAL, pandas, sha256sum, and the schemas of GeoJSON and STAC that pystac ships."""

import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pyogrio
import pystac
import pytest
from pystac.validation import local_validator

from damage_ssl.products.handover.pack_files import (
    Pack,
    sha256_of,
)
from damage_ssl.products.selection import Selection
from tests.products.handover.made_pack import files_of, write


def test_every_format_of_a_pack_holds_just_the_buildings_of_the_filter(tmp_path: Path) -> None:
    folder = write(tmp_path / "p", Selection(classes=("damaged",)), shapefile=True).folder
    wanted = ["a", "d", "e"]
    for ending in (".geojson", ".gpkg", ".fgb", ".kml"):
        back = pyogrio.read_dataframe(folder / f"buildings{ending}", layer="buildings")
        assert sorted(back["building_id"]) == wanted, ending
    assert pd.read_parquet(folder / "buildings.parquet")["building_id"].tolist() == wanted
    assert pd.read_csv(folder / "buildings.csv", skiprows=[1])["building_id"].tolist() == wanted
    assert pd.read_excel(folder / "buildings.xlsx", skiprows=[1])["building_id"].tolist() == wanted
    assert len(pyogrio.read_dataframe(folder / "extra" / "shapefile" / "buildings.shp")) == 3
    assert set(pyogrio.read_dataframe(folder / "extra" / "buildings.pmtiles")["building_id"]) == set(wanted)


def test_geopackage_of_a_pack_has_every_layer_and_counts_by_500_m(whole: Pack, tmp_path: Path) -> None:
    path = shutil.copy(whole.folder / "buildings.gpkg", tmp_path)  # GDAL leaves files beside those that it reads
    assert [name for name, _ in pyogrio.list_layers(path)] == [
        "buildings",
        "not_assessed",
        "grid",
        "aoi",
        "layer_styles",
    ]
    cells = pyogrio.read_dataframe(path, layer="grid")
    assert cells[["buildings", "assessed", "not_assessed", "damaged"]].sum().tolist() == [5, 4, 1, 3]
    left = pyogrio.read_dataframe(path, layer="not_assessed")
    assert left[["building_id", "reason_in_words"]].values.tolist() == [["d", "no post imagery"]]


def test_checksums_are_what_sha256sum_reads(tmp_path: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not installed")
    folder = write(tmp_path / "p").folder
    said = subprocess.run(
        ["sha256sum", "-c", "extra/checksums"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert said.stdout.count(": OK\n") == len(files_of(folder)) - 1
    (folder / "buildings.csv").write_text("x")
    assert subprocess.run(["sha256sum", "-c", "extra/checksums"], cwd=folder, capture_output=True).returncode == 1


def test_stac_item_is_valid_and_names_every_file_with_its_hash(whole: Pack) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    folder = whole.folder
    item = json.loads((folder / "extra" / "item.json").read_text(encoding="utf-8"))
    schemas = local_validator.get_local_schema_cache()
    registry = referencing.Registry().with_contents(list(schemas.items()))
    [schema] = [each for name, each in schemas.items() if name.endswith("item-spec/json-schema/item.json")]
    validator = jsonschema.Draft7Validator(schema, registry=registry)
    assert list(validator.iter_errors(item)) == []
    assert list(validator.iter_errors({**item, "bbox": "wide"})) != []
    assert pystac.Item.from_dict(item).bbox == [0, 0, 0.005, 0.001]
    for asset in item["assets"].values():
        path = (folder / "extra" / asset["href"]).resolve()
        assert asset["file:checksum"] == f"1220{sha256_of(path)}" and asset["file:size"] == path.stat().st_size


def test_geojson_is_valid_by_the_schemas_of_geojson(whole: Pack) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = local_validator.get_local_schema_cache()["https://geojson.org/schema/Feature.json"]
    validator = jsonschema.Draft7Validator(schema)
    collection = json.loads(whole.map_path.read_text(encoding="utf-8"))
    assert [list(validator.iter_errors(each)) for each in collection["features"]] == [[]] * 5
    assert list(validator.iter_errors({**collection["features"][0], "geometry": 7})) != []
