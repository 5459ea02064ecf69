"""Each format of footprints: read, filtered by place, holes kept, and corrupt files explained with row or byte."""

import gzip
import json
import struct
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from damage_ssl.errors import InputError
from damage_ssl.footprints.footprint_set import FootprintSet
from damage_ssl.footprints.reader import read_footprints
from damage_ssl.settings import FootprintSettings
from tests.footprints.footprint_files import (
    BUILDINGS,
    IMAGERY,
    WRITERS,
    box,
    geojson,
    geojson_lines,
    open_buildings,
    overture,
    write,
)
from tests.footprints.osm_files import osm_ids, overpass_json

OSM = [kind for kind in WRITERS if kind.startswith(("OpenStreetMap", "Overpass"))]
COUNTED_ONLY_BY_READING = ["OpenStreetMap PBF", "OpenStreetMap XML"]


def ids_of(kind: str) -> list[str]:
    return osm_ids(BUILDINGS) if kind in OSM else list(BUILDINGS)


@pytest.mark.parametrize("kind", WRITERS)
def test_each_format_gives_every_building_with_its_id_its_corners_and_its_courtyard(kind: str, tmp_path: Path) -> None:
    found = read_footprints(write(kind, tmp_path))
    assert sorted(found.table["source_id"]) == sorted(ids_of(kind))
    table = found.table.set_index("source_id")
    for name, polygon in zip(ids_of(kind), BUILDINGS.values(), strict=True):
        read = table.geometry[name]
        # Half a unit of OSM's last digit, and as much for the way to UTM and back; a thousandth of a building.
        assert shapely.hausdorff_distance(read.boundary, polygon.boundary) < 1e-7, name
        assert read.symmetric_difference(polygon).area < 0.002 * polygon.area, name
    assert set(table["geometry_kind"]) == {"polygon"}
    assert found.left_out.empty


@pytest.mark.parametrize("kind", WRITERS)
def test_each_format_reads_only_what_lies_near_the_imagery(kind: str, tmp_path: Path) -> None:
    found = read_footprints(write(kind, tmp_path), imagery=IMAGERY)
    assert sorted(found.table["source_id"]) == sorted(ids_of(kind)[:3])
    (report,) = found.sources
    if kind in COUNTED_ONLY_BY_READING:
        assert (report.features, report.outside, report.kept) == (None, None, 3)
    else:
        assert (report.features, report.outside, report.kept) == (4, 1, 3)


@pytest.mark.parametrize("kind", WRITERS)
def test_each_format_without_a_building_near_the_imagery_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"footprints lies within 1,000 m of the imagery \(lon -60\.0"):
        read_footprints(write(kind, tmp_path), imagery=shapely.box(-60, -10, -59, -9))


def shortened(kind: str, folder: Path, share: float = 0.5) -> Path:
    path = write(kind, folder)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


TRUNCATED = {
    "GeoJSON": r"f\.geojson: .*JSON breaks in line \d+, byte [\d,]+",
    "GeoJSON, gzipped": r"f\.geojson\.gz: the gzip data breaks off at byte \d+ of \d+",
    "GeoPackage in UTM": r"f\.gpkg: cannot be read as vector data \(.*(malformed|corrupt|disk image)",
    "Shapefile": r"f\.shp: breaks off at byte \d+ of \d+",
    "Shapefile, zipped": r"f\.zip: is not a whole zip file",
    "FlatGeobuf": r"f\.fgb: cannot be read as vector data \(.*",
    "KML": r"f\.kml: cannot be read as vector data \(.* line \d+ at offset \d+",
    "GeoParquet": r"f\.parquet: cannot be read as Parquet \(.*the file has [\d,]+ bytes\)",
    "Overture": r"f\.parquet: cannot be read as Parquet \(.*the file has [\d,]+ bytes\)",
    "Open Buildings": r"f\.csv(: cannot be read as CSV \(.*Row #\d+|, row \d+: its geometry is not valid WKT)",
    "Open Buildings, gzipped": r"f\.csv\.gz: the gzip data breaks off at byte \d+ of \d+",
    "Microsoft": r"f\.geojsonl, line 2, byte \d+: is not JSON",
    "Microsoft, gzipped": r"f\.geojsonl\.gz: the gzip data breaks off at byte \d+ of \d+",
    "Microsoft global": r"part-00001\.csv\.gz: the gzip data breaks off at byte \d+ of \d+",
    "OpenStreetMap PBF": r"f\.osm\.pbf: breaks off or is damaged in the block that begins at byte \d+ of \d+",
    "OpenStreetMap XML": r"f\.osm: is not whole XML \(.*line \d+, column \d+, byte \d+",
    "Overpass out geom": r"f\.json, line \d+, byte [\d,]+: the Overpass answer breaks off",
    "xBD labels": r"f\.json: is not an xBD label file",
}


@pytest.mark.parametrize("kind", TRUNCATED)
def test_truncated_file_is_explained_with_the_place_where_it_breaks(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=TRUNCATED[kind]):
        read_footprints(shortened(kind, tmp_path))


def test_bad_wkt_is_named_by_its_row(tmp_path: Path) -> None:
    rows = open_buildings().splitlines()
    rows[3] = rows[3].replace("POLYGON", "POLYGOON")
    (tmp_path / "f.csv").write_text("\n".join(rows))
    with pytest.raises(InputError, match=r"f\.csv, row 4: its geometry is not valid WKT \(.*POLYGOON"):
        read_footprints(tmp_path / "f.csv", imagery=IMAGERY)


def test_bad_number_and_missing_field_are_named_by_their_row(tmp_path: Path) -> None:
    rows = open_buildings().splitlines()
    (tmp_path / "n.csv").write_text("\n".join([*rows[:2], "north" + rows[2][5:], *rows[3:]]))
    with pytest.raises(InputError, match=r"n\.csv, row 3: latitude is 'north0.*', not a number"):
        read_footprints(tmp_path / "n.csv")
    (tmp_path / "m.csv").write_text("\n".join([*rows[:3], "1,2", *rows[3:]]))
    with pytest.raises(InputError, match=r"m\.csv: cannot be read as CSV .*Row #4: Expected 6 columns, got 2"):
        read_footprints(tmp_path / "m.csv")


def test_broken_line_of_geojson_lines_is_named_by_line_and_byte_also_far_from_the_imagery(tmp_path: Path) -> None:
    lines = geojson_lines().splitlines()
    path = tmp_path / "f.geojsonl"
    path.write_text("\n".join([*lines[:3], lines[3][:-20]]) + "\n")
    byte = sum(len(line) + 1 for line in lines[:3])
    with pytest.raises(InputError, match=r"f\.geojsonl, line 4, byte [\d,]+: is not JSON") as caught:
        read_footprints(path, imagery=IMAGERY)
    named = int(str(caught.value).split("byte ")[1].split(":")[0].replace(",", ""))
    assert byte < named <= byte + len(lines[3]) - 20
    path.write_text("\n".join([lines[0], "[1, 2]", lines[2]]))
    with pytest.raises(InputError, match=rf"f\.geojsonl, line 2, byte {len(lines[0]) + 1}: is not a GeoJSON feature"):
        read_footprints(path)


def test_bad_wkb_and_damaged_row_group_are_named_by_their_rows(tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b"], "geometry": [shapely.to_wkb(box(10, 50)), b"\x01\x02nothing"]})
    pq.write_table(table, tmp_path / "w.parquet")
    with pytest.raises(InputError, match=r"w\.parquet, row 2: its geometry is not valid WKB"):
        read_footprints(tmp_path / "w.parquet")
    path = overture(tmp_path / "g.parquet")
    metadata = pq.ParquetFile(path).metadata
    chunk = metadata.row_group(1).column(1)
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset : chunk.data_page_offset + 40] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"g\.parquet: row group 1 \(rows 3 to 4\) breaks off after row 2"):
        read_footprints(path)


def test_row_groups_away_from_the_imagery_are_not_even_read(tmp_path: Path) -> None:
    path = overture(tmp_path / "g.parquet", row_group_size=1)
    chunk = pq.ParquetFile(path).metadata.row_group(3).column(1)
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset : chunk.data_page_offset + 40] = b"\xff" * 40
    path.write_bytes(content)
    assert len(read_footprints(path, imagery=IMAGERY).table) == 3


def test_overture_footprints_name_the_dataset_that_drew_them(tmp_path: Path) -> None:
    table = read_footprints(overture(tmp_path / "o.parquet")).table
    assert table["source"].tolist() == ["o.parquet (OpenStreetMap)"] * 3 + ["o.parquet (Microsoft ML Buildings)"]
    assert table["confidence"].iloc[3] == 0.5
    assert table["confidence"].iloc[:3].isna().all()


def test_open_buildings_below_the_asked_confidence_are_counted_and_left_out(tmp_path: Path) -> None:
    found = read_footprints(
        write("Open Buildings", tmp_path), imagery=IMAGERY, settings=FootprintSettings(min_confidence=0.615)
    )
    assert found.table["source_id"].tolist() == ["2", "3"]
    assert found.table["confidence"].tolist() == pytest.approx([0.62, 0.63])
    (report,) = found.sources
    assert (report.features, report.outside, report.below_confidence, report.kept) == (4, 1, 1, 2)
    with pytest.raises(InputError, match=r"all 3 footprints in the area have a confidence below 0\.9; ask for less"):
        read_footprints(tmp_path / "f.csv", imagery=IMAGERY, settings=FootprintSettings(min_confidence=0.9))


def test_footprint_of_unknown_confidence_is_not_below_any(tmp_path: Path) -> None:
    path = write("Microsoft", tmp_path)
    assert len(read_footprints(path, settings=FootprintSettings(min_confidence=0.9)).table) == 4


def test_open_buildings_points_become_squares_of_their_area(tmp_path: Path) -> None:
    path = tmp_path / "points.csv.gz"
    rows = "latitude,longitude,area_in_meters,confidence,full_plus_code\n50.0,10.0,64.0,0.8,AB\n50.0,10.001,,0.9,CD\n"
    path.write_bytes(gzip.compress(rows.encode()))
    found = read_footprints(path, settings=FootprintSettings(point_size_m=5))
    assert found.table["geometry_kind"].tolist() == ["point", "point"]
    assert found.table["area_m2"].tolist() == pytest.approx([64, 25], rel=0.01)
    assert found.table["building_id"].tolist() == ["AB", "CD"]


@pytest.mark.parametrize("names", [("xmin", "ymin", "xmax", "ymax"), ("minx", "miny", "maxx", "maxy")])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_boxes_in_columns_become_polygons_marked_as_boxes(names: tuple[str, ...], suffix: str, tmp_path: Path) -> None:
    table = pd.DataFrame([["a", *box(10, 50).bounds], ["b", *box(20, 50).bounds]], columns=["id", *names])
    path = tmp_path / f"f{suffix}"
    if suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    found = read_footprints(path, imagery=IMAGERY)
    assert found.table["geometry_kind"].tolist() == ["box"]
    assert found.table.geometry.iloc[0].equals(box(10, 50))


def test_layer_of_a_file_with_several_is_chosen_by_kind_then_name_or_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "f.gpkg"
    polygons = gpd.GeoDataFrame({"id": [1]}, geometry=[box(10, 50)], crs=4326)
    gpd.GeoDataFrame({"id": [7]}, geometry=[shapely.Point(1, 1)], crs=4326).to_file(path, layer="wells")
    polygons.to_file(path, layer="roofs")
    assert read_footprints(path).table["building_id"].tolist() == ["1"]
    polygons.assign(id=2).to_file(path, layer="parks")
    with pytest.raises(InputError, match=r"has 2 polygon layers: .*roofs \(Polygon\).*say which: 'f\.gpkg\|layername"):
        read_footprints(path)
    assert read_footprints(f"{path}|layername=parks").table["building_id"].tolist() == ["2"]
    with pytest.raises(InputError, match=r"f\.gpkg: has no layer 'houses'; it has wells \(Point\), roofs \(Polygon\)"):
        read_footprints(f"{path}|layername=houses")
    polygons.assign(id=3).to_file(path, layer="Buildings_2024")
    assert read_footprints(path).table["building_id"].tolist() == ["3"]


def overpass(folder: Path, change: str) -> FootprintSet:
    answer = json.loads(overpass_json(BUILDINGS, body=True))
    if change == "lost node":
        (corner,) = [e for e in answer["elements"] if e["type"] == "node" and e["id"] == 1]
        answer["elements"].remove(corner)
    if change == "open relation":
        (relation,) = [e for e in answer["elements"] if e["type"] == "relation"]
        relation["members"] = relation["members"][1:]
    if change == "remark":
        answer["remark"] = 'runtime error: Query timed out in "query" at line 3 after 25 seconds.'
    path = folder / "f.json"
    path.write_text(json.dumps(answer))
    return read_footprints(path)


def test_overpass_buildings_that_are_not_whole_are_listed(tmp_path: Path) -> None:
    lost = overpass(tmp_path, "lost node")
    assert lost.left_out[["source_id", "reason"]].to_numpy().tolist() == [["way/1", "empty"]]
    unclosed = overpass(tmp_path, "open relation")
    assert unclosed.left_out[["source_id", "reason"]].to_numpy().tolist() == [["relation/2", "empty"]]
    assert len(unclosed.table) == 3


def test_overpass_answer_that_the_server_cut_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"f\.json: the Overpass server stopped early \(runtime error: Query"):
        overpass(tmp_path, "remark")


def test_identical_ids_of_a_provider_keep_their_source_id_and_get_hashed_ids(tmp_path: Path) -> None:
    rows = open_buildings().splitlines()
    (tmp_path / "f.csv").write_text("\n".join([*rows[:2], rows[2][:-1] + "1", *rows[3:]]))
    found = read_footprints(tmp_path / "f.csv")
    assert found.id_column is None
    assert found.table["building_id"].is_unique
    assert found.table["source_id"].tolist() == ["1", "1", "3", "4"]


def test_projected_coordinates_without_crs_are_noticed_in_every_text_format(tmp_path: Path) -> None:
    def scaled(polygon: shapely.Polygon) -> shapely.Polygon:
        return shapely.transform(polygon, lambda xy: xy * 10_000)

    (tmp_path / "f.csv").write_text(f'id,geometry\n1,"{scaled(BUILDINGS["1"]).wkt}"\n')
    (tmp_path / "f.geojsonl").write_text(
        json.dumps({"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(scaled(BUILDINGS["1"]))})
    )
    for name in ("f.csv", "f.geojsonl"):
        with pytest.raises(InputError, match=rf"{name}: its coordinates \(lon 100000.*are not longitude and latitude"):
            read_footprints(tmp_path / name)


def test_empty_files_of_each_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "head.csv").write_text(open_buildings().splitlines()[0] + "\n")
    (tmp_path / "void.geojsonl").write_text("\n")
    (tmp_path / "void.json").write_text('{"version": 0.6, "elements": []}')
    (tmp_path / "void.geojson").write_text(geojson()[:0])
    for name in ("head.csv", "void.geojsonl", "void.json", "void.geojson"):
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            read_footprints(tmp_path / name)


@pytest.mark.parametrize("name", ["f.csv", "f.geojson", "f.geojsonl", "f.parquet"])
def test_ring_that_does_not_close_is_closed_and_counted_as_repaired(name: str, tmp_path: Path) -> None:
    ring = [[10, 50], [10.0002, 50], [10.0002, 50.0002], [10, 50.0002]]
    open_one = {"type": "Feature", "properties": {"id": "a"}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    other = {**open_one, "properties": {"id": "b"}, "geometry": shapely.geometry.mapping(box(10.001, 50))}
    path = tmp_path / name
    if name.endswith(".csv"):
        text = ", ".join(f"{lon} {lat}" for lon, lat in ring)
        path.write_text(f'id,geometry\na,"POLYGON (({text}))"\nb,"{box(10.001, 50).wkt}"\n')
    elif name.endswith(".parquet"):
        wkb = struct.pack("<BIII", 1, 3, 1, 4) + b"".join(struct.pack("<dd", *place) for place in ring)
        pq.write_table(pa.table({"id": ["a", "b"], "geometry": [wkb, shapely.to_wkb(box(10.001, 50))]}), path)
    elif name.endswith("l"):
        path.write_text("\n".join(json.dumps(each) for each in (open_one, other)))
    else:
        path.write_text(json.dumps({"type": "FeatureCollection", "features": [open_one, other]}))
    found = read_footprints(path, imagery=IMAGERY)
    assert found.table["building_id"].tolist() == ["a", "b"]
    assert found.table.geometry.iloc[0].equals(box(10, 50))
    assert (found.repaired, found.sources[0].repaired) == (1, 1)


@pytest.mark.parametrize("kind", ["GeoJSON, gzipped", "Open Buildings, gzipped", "Shapefile, zipped"])
def test_reading_leaves_nothing_beside_the_users_file(kind: str, tmp_path: Path) -> None:
    path = write(kind, tmp_path)
    before = sorted(entry.name for entry in tmp_path.iterdir())
    read_footprints(path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before
