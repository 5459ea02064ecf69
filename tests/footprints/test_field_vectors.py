"""Vector files as databases, servers and other programs give them: read, or refused with the cause and the command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
import shapely
from shapely.geometry import mapping

from damage_ssl.errors import InputError
from damage_ssl.footprints.reader import read_aoi, read_footprints
from tests.footprints.footprint_files import BUILDINGS, IMAGERY

SHAPES = list(BUILDINGS.values())
IDS = ["007", "b", "c", "d"]
TOWN = gpd.GeoDataFrame({"id": IDS}, geometry=SHAPES, crs="EPSG:4326")
METRES = TOWN.to_crs("EPSG:32632")


def same_as_the_town(path: str | Path) -> None:
    found = read_footprints(path).table
    assert list(found["building_id"]) == IDS
    shared = shapely.area(shapely.intersection(found.geometry.to_numpy(), TOWN.geometry.to_numpy()))
    assert (shared / shapely.area(TOWN.geometry.to_numpy())).min() > 0.999


@pytest.mark.parametrize(
    "written",
    [
        lambda shape: f"'{shape.wkt}'",
        lambda shape: f'"{shape.wkt}"',
        lambda shape: f" {shape.wkt.lower()} ",
        lambda shape: f"SRID=4326;{shape.wkt}",
        lambda shape: f"srid=32632; {METRES.geometry[SHAPES.index(shape)].wkt}",
        lambda shape: shapely.to_wkb(shape, hex=True),
        lambda shape: shapely.to_wkb(shapely.set_srid(shape, 4326), hex=True, include_srid=True),
        lambda shape: shapely.to_wkb(
            shapely.set_srid(METRES.geometry[SHAPES.index(shape)], 32632), hex=True, include_srid=True
        ),
        lambda shape: shapely.force_3d(shape, 7.0).wkt,
        lambda shape: shapely.to_wkb(shapely.force_3d(shape, 7.0), hex=True, flavor="iso"),
        lambda shape: json.dumps(mapping(shape)),
    ],
    ids=[
        "WKT in single quotes",
        "WKT in double quotes",
        "WKT in lower case",
        "EWKT",
        "EWKT in metres",
        "WKB",
        "EWKB",
        "EWKB in metres",
        "WKT with heights",
        "ISO WKB with heights",
        "GeoJSON",
    ],
)
def test_cells_with_shapes(written: Callable[[Any], str], tmp_path: Path) -> None:
    path = tmp_path / "town.csv"
    pd.DataFrame({"id": IDS, "geom": [written(shape) for shape in SHAPES]}).to_csv(path, index=False)
    same_as_the_town(path)
    assert len(read_footprints(path, imagery=IMAGERY).table) == 3, "what is far away is left out in any CRS"


@pytest.mark.parametrize(
    ("cell", "problem"),
    [("SRID=99999;POINT (1 1)", "row 2: SRID 99999 is no known CRS"), ("<Polygon>", "neither WKT, WKB nor GeoJSON")],
)
def test_cell_that_is_no_shape_is_named(cell: str, problem: str, tmp_path: Path) -> None:
    pd.DataFrame({"id": ["a"], "geom": [cell]}).to_csv(tmp_path / "town.csv", index=False)
    with pytest.raises(InputError, match=problem):
        read_footprints(tmp_path / "town.csv")


@pytest.mark.parametrize("ending", [".gpkg", ".shp", ".fgb", ".geojson", ".sqlite", ".gml", ".tab"])
def test_heights_of_corners_are_left_out(ending: str, tmp_path: Path) -> None:
    high = TOWN.set_geometry(gpd.GeoSeries(shapely.force_3d(TOWN.geometry.to_numpy(), 7.0), crs="EPSG:4326"))
    high.to_file(tmp_path / f"town{ending}")
    found = read_footprints(tmp_path / f"town{ending}").table
    assert sorted(found["building_id"]) == sorted(IDS)
    assert not found.geometry.has_z.any()


@pytest.mark.parametrize("name", ["town.geojsons", "town.json", "town.txt"])
@pytest.mark.parametrize("indent", [None, 1], ids=["one line each", "several lines each"])
def test_sequences_with_record_separators(name: str, indent: int | None, tmp_path: Path) -> None:
    features = [
        {"type": "Feature", "properties": {"id": each}, "geometry": mapping(shape)}
        for each, shape in zip(IDS, SHAPES, strict=True)
    ]
    text = "".join(f"\x1e{json.dumps(each, indent=indent)}\n" for each in features)
    (tmp_path / name).write_text(text)
    same_as_the_town(tmp_path / name)


def test_topojson(tmp_path: Path) -> None:
    ring = [[10, 50], [10.0002, 50], [10.0002, 50.0002], [10, 50.0002], [10, 50]]
    geometry = {"type": "Polygon", "properties": {"building_id": "007"}, "arcs": [[0]]}
    objects = {"town": {"type": "GeometryCollection", "geometries": [geometry]}}
    (tmp_path / "town.topojson").write_text(json.dumps({"type": "Topology", "objects": objects, "arcs": [ring]}))
    assert list(read_footprints(tmp_path / "town.topojson").table["building_id"]) == ["007"]


def test_kml_with_extended_data_and_folders(tmp_path: Path) -> None:
    def mark(name: str) -> str:
        corners = " ".join(f"{x},{y},0" for x, y in BUILDINGS["1"].exterior.coords)
        return (
            f"<Placemark><ExtendedData><Data name='building_id'><value>{name}</value></Data></ExtendedData><Polygon>"
            f"<outerBoundaryIs><LinearRing><coordinates>{corners}</coordinates></LinearRing></outerBoundaryIs></Polygon>"
            "</Placemark>"
        )

    path = tmp_path / "town.kml"
    start = "<kml xmlns='http://www.opengis.net/kml/2.2'><Document>"
    path.write_text(f"{start}<name>t</name>{mark('007')}</Document></kml>")
    assert list(read_footprints(path).table["building_id"]) == ["007"]
    folders = "".join(f"<Folder><name>{name}</name>{mark(name)}</Folder>" for name in ("north", "south"))
    path.write_text(f"{start}{folders}</Document></kml>")
    with pytest.raises(InputError, match=r"has 2 polygon layers: north .*, south .*: 'town.kml\|layername=NAME'"):
        read_footprints(path)
    assert list(read_footprints(f"{path}|layername=south").table["building_id"]) == ["south"]


def esri(frame: gpd.GeoDataFrame, wkid: int, **more: Any) -> str:
    features = [
        {
            "attributes": {"OBJECTID": n, "building_id": each},
            "geometry": {
                "rings": [[list(corner) for corner in ring.coords][::-1] for ring in (shape.exterior, *shape.interiors)]
            },
        }
        for n, (each, shape) in enumerate(zip(IDS, frame.geometry, strict=True), start=1)
    ]
    fields = [{"name": "OBJECTID", "type": "esriFieldTypeOID"}, {"name": "building_id", "type": "esriFieldTypeString"}]
    kind = {"geometryType": "esriGeometryPolygon", "spatialReference": {"wkid": wkid}, "fields": fields}
    return json.dumps(kind | more | {"features": features})


@pytest.mark.parametrize(("crs", "wkid"), [("EPSG:4326", 4326), ("EPSG:3857", 102100)])
def test_esri_json(crs: str, wkid: int, tmp_path: Path) -> None:
    (tmp_path / "town.json").write_text(esri(TOWN.to_crs(crs), wkid))
    found = read_footprints(tmp_path / "town.json")
    assert list(found.table["building_id"]) == IDS
    assert shapely.area(shapely.intersection(found.table.geometry[0], SHAPES[0])) > 0.999 * SHAPES[0].area
    assert found.sources[0].remarks == ()


def test_answer_that_a_server_cut_off_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "town.json").write_text(esri(TOWN, 4326, exceededTransferLimit=True))
    assert "exceededTransferLimit" in read_footprints(tmp_path / "town.json").sources[0].remarks[0]


@pytest.mark.parametrize(
    ("missing", "problem"),
    [
        ("shx", r"its .shx file is missing .*ogrinfo --config SHAPE_RESTORE_SHX YES town.shp"),
        ("prj", r"has no CRS; put its .prj file beside it, or .*ogr2ogr -a_srs EPSG:... buildings.gpkg town.shp"),
    ],
)
def test_shapefile_without_a_part_that_it_needs(missing: str, problem: str, tmp_path: Path) -> None:
    TOWN.to_file(tmp_path / "town.shp")
    (tmp_path / f"town.{missing}").unlink()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=problem):
        read_footprints(tmp_path / "town.shp")
    with pytest.raises(InputError, match=problem):
        read_aoi(tmp_path / "town.shp")
    assert sorted(tmp_path.iterdir()) == before, "nothing is written beside the user's files"


def test_shapefile_without_its_table_says_that_its_ids_are_gone(tmp_path: Path) -> None:
    TOWN.to_file(tmp_path / "town.shp")
    (tmp_path / "town.dbf").unlink()
    found = read_footprints(tmp_path / "town.shp")
    assert len(found.table) == 4 and found.id_column is None
    assert "its .dbf file is missing" in found.sources[0].remarks[0]


def test_shapefile_without_a_code_page(tmp_path: Path) -> None:
    latin = TOWN.assign(id=["é7", "ü", "ñ", "d"])
    latin.to_file(tmp_path / "town.shp", encoding="ISO-8859-1")
    (tmp_path / "town.cpg").unlink()
    with (tmp_path / "town.dbf").open("r+b") as file:
        file.seek(29)
        file.write(b"\0")
    found = read_footprints(tmp_path / "town.shp")
    assert list(found.table["building_id"]) == ["é7", "ü", "ñ", "d"]
    assert "taken as Windows-1252" in found.sources[0].remarks[0]


def test_drawing_says_how_to_make_polygons_of_it(tmp_path: Path) -> None:
    lines = gpd.GeoDataFrame({"Layer": ["0"] * 4}, geometry=METRES.geometry.exterior.to_numpy(), crs="EPSG:32632")
    lines.to_file(tmp_path / "town.dxf", driver="DXF")
    with pytest.raises(InputError, match=r"is a CAD drawing.*ogr2ogr -a_srs EPSG:... -nlt POLYGON .* town.dxf"):
        read_footprints(tmp_path / "town.dxf")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("town.dwg", b"AC1027", "is an AutoCAD drawing.*save it as DXF"),
        ("town.qgz", b"PK\x03\x04", "is a QGIS project, not data"),
        ("town.lyrx", b"{}", "is an ArcGIS layer file, not data"),
        ("town.rar", b"Rar!\x1a\x07", "is a RAR archive; unpack it"),
        ("town.gpkg", b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it"),
        ("town.geojson", b"<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page, such as a sign-in page"),
        ("town.geojson", '{"type": "FeatureCollection"}'.encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        ("town.prj", b"GEOGCS[]", "is only the CRS of a Shapefile; give the .shp file"),
        ("town.mdb", b"\0\1\0\0Standard Jet DB", "is a personal geodatabase"),
        ("town.shp", b"%PDF-1.7", "breaks off in its header"),
        ("town.pdf", b"%PDF-1.7 half", "is a PDF document; ask for the data"),
    ],
)
def test_file_that_holds_no_features_is_told_for_what_it_is(
    name: str, content: bytes, problem: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=problem) as error:
        read_footprints(tmp_path / name)
    assert "prefixing" not in str(error.value), "no advice to programmers"


def test_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "town").mkdir()
    with pytest.raises(InputError, match="is a folder; give the file in it"):
        read_footprints(tmp_path / "town")


def test_latitude_before_longitude_is_recognised_by_the_place_of_the_imagery(tmp_path: Path) -> None:
    swapped = TOWN.set_geometry(
        gpd.GeoSeries(shapely.transform(TOWN.geometry.to_numpy(), lambda xy: xy[:, ::-1]), crs=4326)
    )
    swapped.to_file(tmp_path / "town.geojson")
    with pytest.raises(InputError, match="its latitude and longitude seem to be swapped"):
        read_footprints(tmp_path / "town.geojson", imagery=IMAGERY)


def test_area_in_one_of_several_layers_is_named(tmp_path: Path) -> None:
    path = tmp_path / "areas.gpkg"
    TOWN.iloc[:1].to_file(path, layer="north")
    TOWN.iloc[1:2].to_file(path, layer="south")
    with pytest.raises(InputError, match=r"has 2 polygon layers: .*'areas.gpkg\|layername=NAME'"):
        read_aoi(path)
    assert read_aoi(Path(f"{path}|layername=south")).equals(SHAPES[1])
