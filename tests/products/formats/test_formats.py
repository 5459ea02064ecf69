"""Every format is read back by a reader of somebody else, with the same buildings, values, nulls and text."""

import json
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pyogrio
import pytest
import rasterio
from shapely.geometry import MultiPolygon, Polygon, box

from damage_ssl.errors import InputError, StorageError
from damage_ssl.products.formats import FORMATS, write_product
from damage_ssl.products.formats.geotiff import CODES
from damage_ssl.products.formats.hxl import as_text, hxl_tag
from damage_ssl.products.formats.shapefile import short_names
from damage_ssl.products.map_style import LEGEND

EAST = 0.0001
HOLED = Polygon([(0, 0), (0, 4e-4), (4e-4, 4e-4), (4e-4, 0)], [[(1e-4, 1e-4), (1e-4, 2e-4), (2e-4, 2e-4)]])
FORMULA = "=HYPERLINK(1)"


def product() -> gpd.GeoDataFrame:
    """Nulls in every type of column, a hole, a multipolygon, text that needs care."""
    shapes = [box(x, 0.001, x + 3 * EAST, 0.0013) for x in (0.001, 0.002)]
    return gpd.GeoDataFrame(
        {
            "building_id": ["a", "b", "ü<&>", "d"],
            "damage_class": pd.Series(["damaged", "intact", None, "destroyed"], dtype=object),
            "damage_level": pd.array([None, None, None, 3], dtype="Int64"),
            "damaged": pd.array([True, False, None, True], dtype="boolean"),
            "p_damaged": [0.75, 0.125, np.nan, 1.0],
            "assessed": [True, True, False, True],
            "not_assessed_reason": pd.Series([None, None, "no_post", None], dtype=object),
            "comment": pd.Series([FORMULA, 'two\nlines, "quoted"', None, "-5"], dtype=object),
            "labeller": pd.Series([None] * 4, dtype=object),
        },
        geometry=[*shapes, HOLED, MultiPolygon([box(0.003, 0, 0.0031, 0.0001), box(0.004, 0, 0.0041, 0.0001)])],
        crs=4326,
    )


def written(tmp_path: Path, ending: str, **more: Any) -> Path:
    path = tmp_path / f"buildings{ending}"
    write_product(more.get("table", product()), path, metadata={"event": "quake", "run_id": None, "threshold": 0.5})
    return path


def missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))


def values_of(table: pd.DataFrame, name: str) -> list[object]:
    rows = table.set_index("building_id").loc[["a", "b", "ü<&>", "d"], name]
    return [None if missing(value) else value for value in rows.tolist()]


@pytest.mark.parametrize("ending", [".geojson", ".gpkg", ".fgb", ".kml"])
def test_gdal_reads_the_same_buildings_and_values(ending: str, tmp_path: Path) -> None:
    path = written(tmp_path, ending)
    assert [name for name, _ in pyogrio.list_layers(path)] == ["layer_styles", "buildings"][-1:] or ending == ".gpkg"
    back = pyogrio.read_dataframe(path, layer=None if ending == ".geojson" else "buildings")
    assert back.crs.to_epsg() == 4326 and len(back) == 4
    assert values_of(back, "damage_class") == ["damaged", "intact", None, "destroyed"]
    assert values_of(back, "damage_level") == [None, None, None, 3]
    assert values_of(back, "p_damaged") == [0.75, 0.125, None, 1.0]
    assert values_of(back, "damaged") == [True, False, None, True]
    assert values_of(back, "assessed") == [True, True, False, True]
    assert values_of(back, "comment") == [FORMULA, 'two\nlines, "quoted"', None, "-5"]
    assert values_of(back, "labeller") == [None] * 4 if ending != ".kml" else "labeller" in back
    shapes = back.set_index("building_id").geometry
    for name, shape in zip(product()["building_id"], product().geometry, strict=True):
        assert shapes[name].equals_exact(shape, 1e-8) or shapes[name].symmetric_difference(shape).area < 1e-14


def test_geopackage_has_a_default_style_of_each_layer_and_reads_without_a_layers_name(tmp_path: Path) -> None:
    from damage_ssl.products.formats.geopackage import write_geopackage

    path = tmp_path / "m.gpkg"
    area = gpd.GeoDataFrame({"name": ["x"]}, geometry=[box(0, 0, 1000, 1000)], crs=3857)
    write_geopackage(product(), path, layers={"aoi": area}, metadata={"run_id": "r"})
    with sqlite3.connect(path) as database:
        styles = database.execute("SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles")
        found = {name: (column, default, qml) for name, column, default, qml in styles}
    database.close()
    assert set(found) == {"buildings", "aoi"}
    assert all(column == "geom" and default == 1 for column, default, _ in found.values())
    renderers = {name: ElementTree.fromstring(qml).find("renderer-v2") for name, (_, _, qml) in found.items()}
    assert renderers["buildings"].get("type") == "categorizedSymbol"
    with pytest.warns(UserWarning, match="'buildings' .default."):
        assert pyogrio.read_info(path)["dataset_metadata"]["run_id"] == "r"
    assert pyogrio.read_dataframe(path, layer="aoi").crs.to_epsg() == 4326


def test_geoparquet_says_what_its_specification_asks_for(tmp_path: Path) -> None:
    path = written(tmp_path, ".parquet")
    schema = pq.read_schema(path)
    geo = json.loads(schema.metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert (geo["version"], geo["primary_column"], column["encoding"]) == ("1.1.0", "geometry", "WKB")
    assert column["geometry_types"] == ["MultiPolygon", "Polygon"]
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 4326}
    assert column["bbox"] == product().total_bounds.tolist()
    assert json.loads(schema.metadata[b"damage_ssl"]) == {"event": "quake", "run_id": None, "threshold": 0.5}
    types = {name: str(schema.field(name).type) for name in ("labeller", "damaged", "damage_level", "p_damaged")}
    assert types == {"labeller": "string", "damaged": "bool", "damage_level": "int64", "p_damaged": "double"}
    back = gpd.read_parquet(path)
    assert back.geometry.geom_equals(product().geometry).all()
    assert values_of(back, "damaged") == [True, False, None, True]
    assert values_of(back, "damage_level") == [None, None, None, 3]
    one = gpd.read_parquet(path, bbox=(0.0029, 0, 0.005, 0.0001))
    assert one["building_id"].tolist() == ["d"]


def test_csv_has_header_hashtags_and_no_formula(tmp_path: Path) -> None:
    path = written(tmp_path, ".csv")
    table = pd.read_csv(path, skiprows=[1], keep_default_na=False, dtype=str)
    assert table["comment"].tolist() == ["'" + FORMULA, 'two\nlines, "quoted"', "", "'-5"]
    assert table["damaged"].tolist() == ["true", "false", "", "true"]
    assert table["assessed"].tolist() == ["true", "true", "false", "true"]
    assert table["damage_level"].tolist() == ["", "", "", "3"]
    assert table["p_damaged"].tolist() == ["0.75", "0.125", "", "1.0"]
    assert "geometry" not in table
    tags = path.read_text(encoding="utf-8").splitlines()[1].split(",")
    assert tags == [hxl_tag(name) for name in table.columns]


_HXL = """
import hxl, json, sys
source = hxl.data(sys.argv[1], hxl.InputOptions(allow_local=True)).cache()
words = [row.get("#impact+class") or None for row in source]
print(json.dumps([[column.display_tag for column in source.columns], words, hxl.validate(source)]))
"""


@pytest.mark.parametrize("ending", [".csv", ".xlsx"])
def test_hxl_checker_finds_the_hashtags(ending: str, tmp_path: Path) -> None:
    pytest.importorskip("hxl")
    command = [sys.executable, "-W", "ignore", "-c", _HXL, str(written(tmp_path, ending))]
    tags, words, report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert tags == [hxl_tag(name) for name in product().columns.drop("geometry")]
    assert words == ["damaged", "intact", None, "destroyed"]
    assert report["stats"]["error"] == 0
    remarks = [(each["severity"], each["locations"][0]["hashtag"]) for each in report["issues"]]
    assert remarks == [("warning", "#description+comment")]  # of its line break


def test_excel_cells_are_text_numbers_and_booleans_and_none_a_formula(tmp_path: Path) -> None:
    book = openpyxl.load_workbook(written(tmp_path, ".xlsx"))
    assert book.sheetnames == ["buildings", "about"]
    header, tags, *rows = book["buildings"].iter_rows(values_only=True)
    assert tags[0] == "#loc+building+id"
    at = {name: number for number, name in enumerate(header)}
    assert [row[at["damaged"]] for row in rows] == [True, False, None, True]
    assert [row[at["p_damaged"]] for row in rows] == [0.75, 0.125, None, 1]
    assert [row[at["damage_level"]] for row in rows] == [None, None, None, 3]
    assert [row[at["comment"]] for row in rows] == ["'" + FORMULA, 'two\nlines, "quoted"', None, "'-5"]
    assert {cell.data_type for row in book["buildings"].iter_rows() for cell in row} <= {"s", "n", "b"}


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx", "\rx"])
def test_text_that_a_spreadsheet_would_run_is_quoted(text: str) -> None:
    assert as_text(pd.Series([text, "a=1", None], dtype=object)).tolist() == [f"'{text}", "a=1", None]


def test_columns_that_nobody_foresaw_have_valid_hashtags() -> None:
    assert hxl_tag("p_no-damage") == "#indicator+probability+no+damage"
    assert hxl_tag("2nd Opinion") == "#meta+x2nd+opinion"


def test_kml_has_one_folder_and_the_colour_of_each_class(tmp_path: Path) -> None:
    names = {"k": "http://www.opengis.net/kml/2.2"}
    root = ElementTree.parse(written(tmp_path, ".kml")).getroot()
    [folder] = root.findall(".//k:Folder", names)
    assert folder.findtext("k:name", namespaces=names) == "buildings"
    styles = [mark.findtext("k:styleUrl", namespaces=names) for mark in folder.findall("k:Placemark", names)]
    assert styles == ["#damaged", "#intact", "#not-assessed", "#destroyed"]
    colour = root.findtext(".//k:Style[@id='damaged']/k:PolyStyle/k:color", namespaces=names)
    red = LEGEND["damaged"].colour
    assert colour == f"b0{red[5:7]}{red[3:5]}{red[1:3]}"  # KML: alpha, blue, green, red


def test_text_that_xml_cannot_hold_is_left_out(tmp_path: Path) -> None:
    table = product().assign(comment=["a\x00b\x1fc\ufffe", "]]>", None, "&amp;"])
    back = pyogrio.read_dataframe(written(tmp_path, ".kml", table=table))
    assert values_of(back, "comment") == ["abc", "]]>", None, "&amp;"]


def test_raster_is_a_cog_with_overviews_in_the_colours_of_the_map(tmp_path: Path) -> None:
    with rasterio.open(written(tmp_path, ".tif")) as raster:
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.overviews(1) and raster.nodata == 0 and raster.crs.to_epsg() == 32631
        assert raster.tags()["resolution_m"] == "1" and raster.res == (1, 1)
        pixels = raster.read(1)
        places = product().to_crs(raster.crs).representative_point()
        at = [value[0] for value in raster.sample([(point.x, point.y) for point in places])]
        assert at == [CODES[key] for key in ("damaged", "intact", "not-assessed", "destroyed")]
        assert set(np.unique(pixels)) == {0, *at}
        assert abs((pixels == CODES["damaged"]).sum() - product().to_crs(raster.crs).area.iloc[0]) < 140  # all touched
        red = tuple(int(LEGEND["damaged"].colour[start : start + 2], 16) for start in (1, 3, 5))
        assert raster.colormap(1)[CODES["damaged"]] == (*red, 255)


def test_raster_of_a_wide_event_is_coarser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from damage_ssl.products.formats import geotiff

    monkeypatch.setattr(geotiff, "MOST_PIXELS", 50_000)
    with rasterio.open(written(tmp_path, ".tif")) as raster:
        assert raster.res == (2, 2) and raster.tags()["resolution_m"] == "2"


def test_shapefile_has_short_names_once_each_and_a_list_of_them(tmp_path: Path) -> None:
    back = gpd.read_file(written(tmp_path, ".shp"))
    assert len(back) == 4 and all(len(name) <= 10 for name in back.columns)
    said = pd.read_csv(tmp_path / "buildings.fields.csv")
    assert said.set_index("name")["field"]["not_assessed_reason"] in back.columns
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".cpg", ".csv", ".dbf", ".prj", ".shp", ".shx"]
    names = [f"footprint_shift_{axis}_m" for axis in "xyz"] + ["footprint", "Footprint"]
    assert len({short.lower() for short in short_names(names).values()}) == 5


def test_tiles_hold_the_buildings_for_a_web_map(tmp_path: Path) -> None:
    back = pyogrio.read_dataframe(written(tmp_path, ".pmtiles"))
    assert set(back["building_id"]) == {"a", "b", "ü<&>", "d"}


@pytest.mark.parametrize("ending", sorted(set(FORMATS) - {".json", ".tiff"}))
def test_what_cannot_be_written_is_refused_and_the_old_file_stays(ending: str, tmp_path: Path) -> None:
    if ending in (".csv", ".xlsx"):
        return  # these have no geometry
    path = tmp_path / f"m{ending}"
    path.write_text("old")
    for table, problem in ((product().set_crs(None, allow_override=True), "no CRS"), (_with_a_hole(), "no geometry")):
        with pytest.raises(InputError, match=problem):
            write_product(table, path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name] and path.read_text() == "old"


def _with_a_hole() -> gpd.GeoDataFrame:
    table = product()
    table.loc[1, "geometry"] = None
    return table


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("ending", [".gpkg", ".fgb", ".parquet", ".kml", ".csv", ".xlsx", ".tif", ".shp"])
def test_full_disk_leaves_the_old_file_and_nothing_half_written(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{ending}"
    path.write_text("old")
    rng = np.random.default_rng(0)
    table = gpd.GeoDataFrame(pd.concat([product()] * 300, ignore_index=True), crs=4326)
    table["noise"] = rng.random(len(table))
    with small_disk(2000 if ending == ".tif" else 20_000), pytest.raises(StorageError, match="disk"):
        write_product(table, path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name] and path.read_text() == "old"


def test_excel_of_too_many_buildings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from damage_ssl.products.formats import xlsx

    monkeypatch.setattr(xlsx, "ROWS", 3)
    with pytest.raises(InputError, match="Excel holds 3 buildings, not 4; take the CSV"):
        written(tmp_path, ".xlsx")


def test_a_format_is_known_by_its_file_alone() -> None:
    known = subprocess.run(
        [sys.executable, "-c", "from damage_ssl.products.formats import FORMATS; print(*sorted(FORMATS))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {".geojson", ".gpkg", ".parquet", ".fgb", ".kml", ".csv", ".xlsx", ".tif", ".shp", ".pmtiles"} <= set(known)
