"""The same four buildings written by hand in every format of footprints: one with a courtyard, one far away."""

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from shapely.geometry import mapping

from tests.footprints.osm_files import overpass_json, pbf, xml


def box(lon: float, lat: float, side: float = 0.0002) -> Any:
    return shapely.box(lon, lat, lon + side, lat + side)


COURTYARD = shapely.Polygon(box(10.001, 50).exterior, [box(10.00105, 50.00005, 0.0001).exterior])
TRIANGLE = shapely.Polygon([(10.002, 50), (10.0022, 50), (10.0021, 50.0002)])
BUILDINGS = {"1": box(10, 50), "2": COURTYARD, "3": TRIANGLE, "4": box(20, 50)}
"""By id; the fourth lies 700 km to the east."""
IMAGERY = shapely.box(9.99, 49.99, 10.01, 50.01)


def feature(building_id: str, polygon: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": {"id": building_id}, "geometry": mapping(polygon)}


def geojson() -> str:
    features = [feature(*building) for building in BUILDINGS.items()]
    return json.dumps({"type": "FeatureCollection", "features": features}, indent=1)


def geojson_lines() -> str:
    """As Microsoft writes them, with their −1 for an unknown confidence."""
    lines = []
    for building_id, polygon in BUILDINGS.items():
        properties = {"id": building_id, "height": -1.0, "confidence": -1.0}
        lines.append(json.dumps({"type": "Feature", "properties": properties, "geometry": mapping(polygon)}))
    return "\n".join(lines) + "\n"


def open_buildings() -> str:
    """The columns of Open Buildings v3; the plus codes are made up."""
    rows = ["latitude,longitude,area_in_meters,confidence,geometry,full_plus_code"]
    for building_id, polygon in BUILDINGS.items():
        place = f"{polygon.centroid.y:.8f},{polygon.centroid.x:.8f}"
        rows.append(f'{place},317.1,0.{60 + int(building_id)},"{polygon.wkt}",{building_id}')
    return "\n".join(rows) + "\n"


def kml() -> str:
    def ring(line: Any) -> str:
        places = " ".join(f"{lon},{lat},0" for lon, lat in line.coords)
        return f"<LinearRing><coordinates>{places}</coordinates></LinearRing>"

    places = [
        f'<Placemark><ExtendedData><Data name="id"><value>{building_id}</value></Data></ExtendedData><Polygon>'
        f"<outerBoundaryIs>{ring(polygon.exterior)}</outerBoundaryIs>"
        + "".join(f"<innerBoundaryIs>{ring(hole)}</innerBoundaryIs>" for hole in polygon.interiors)
        + "</Polygon></Placemark>"
        for building_id, polygon in BUILDINGS.items()
    ]
    head = '<?xml version="1.0" encoding="UTF-8"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document>'
    return head + "\n".join(places) + "</Document></kml>"


def xbd_labels() -> str:
    features = [
        {"properties": {"feature_type": "building", "uid": building_id}, "wkt": polygon.wkt}
        for building_id, polygon in BUILDINGS.items()
    ]
    return json.dumps({"features": {"lng_lat": features, "xy": []}, "metadata": {}})


def overture(path: Path, *, row_group_size: int = 2, geo: bool = True) -> Path:
    """Overture's layout: WKB, a bbox struct, nested sources; the far building in a row group of its own."""
    polygons = list(BUILDINGS.values())
    bounds = [dict(zip(("xmin", "ymin", "xmax", "ymax"), polygon.bounds, strict=True)) for polygon in polygons]
    sources = [[{"property": "", "dataset": "OpenStreetMap", "record_id": "w1@1", "confidence": None}]] * 3
    sources.append([{"property": "", "dataset": "Microsoft ML Buildings", "record_id": None, "confidence": 0.5}])
    table = pa.table(
        {
            "id": list(BUILDINGS),
            "geometry": pa.array(shapely.to_wkb(polygons), pa.binary()),
            "bbox": pa.array(bounds, pa.struct([(name, pa.float32()) for name in bounds[0]])),
            "sources": sources,
        }
    )
    if geo:
        column = {"encoding": "WKB", "geometry_types": ["Polygon"]}
        metadata = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        table = table.replace_schema_metadata({"geo": json.dumps(metadata)})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def _text(content: Callable[[], str]) -> Callable[[Path], None]:
    return lambda path: path.write_text(content(), encoding="utf-8") and None


def _gzipped(content: Callable[[], str]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(gzip.compress(content().encode())) and None


def _table(crs: int = 4326) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"id": list(BUILDINGS)}, geometry=list(BUILDINGS.values()), crs=4326).to_crs(crs)


def _zip_of_shapefile(path: Path) -> None:
    _table().to_file(path.with_suffix(".shp"))
    with zipfile.ZipFile(path, "w") as archive:
        for part in path.parent.glob(f"{path.stem}.*"):
            if part != path:
                archive.write(part, part.name)


WRITERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "GeoJSON": ("f.geojson", _text(geojson)),
    "GeoJSON, gzipped": ("f.geojson.gz", _gzipped(geojson)),
    "GeoPackage in UTM": ("f.gpkg", lambda path: _table(32632).to_file(path)),
    "Shapefile": ("f.shp", lambda path: _table().to_file(path)),
    "Shapefile, zipped": ("f.zip", _zip_of_shapefile),
    "FlatGeobuf": ("f.fgb", lambda path: _table().to_file(path)),
    "KML": ("f.kml", _text(kml)),
    "GeoParquet": ("f.parquet", lambda path: _table().to_parquet(path)),
    "GeoParquet in UTM": ("f.parquet", lambda path: _table(32632).to_parquet(path)),
    "GeoParquet, no WKB": (
        "f.parquet",
        lambda path: _table().to_parquet(path, geometry_encoding="geoarrow"),
    ),
    "Overture": ("f.parquet", overture),
    "Parquet without GeoParquet metadata": ("f.parquet", lambda path: overture(path, geo=False)),
    "Open Buildings": ("f.csv", _text(open_buildings)),
    "Open Buildings, gzipped": ("f.csv.gz", _gzipped(open_buildings)),
    "Microsoft": ("f.geojsonl", _text(geojson_lines)),
    "Microsoft, gzipped": ("f.geojsonl.gz", _gzipped(geojson_lines)),
    "Microsoft global": ("part-00001.csv.gz", _gzipped(geojson_lines)),
    "OpenStreetMap PBF": ("f.osm.pbf", lambda path: path.write_bytes(pbf(BUILDINGS))),
    "OpenStreetMap XML": ("f.osm", lambda path: path.write_text(xml(BUILDINGS))),
    "Overpass out geom": ("f.json", lambda path: path.write_text(overpass_json(BUILDINGS, body=False))),
    "Overpass out body": ("f.json", lambda path: path.write_text(overpass_json(BUILDINGS, body=True))),
    "xBD labels": ("f.json", _text(xbd_labels)),
}


def write(kind: str, folder: Path) -> Path:
    """The four buildings in this format."""
    name, writer = WRITERS[kind]
    path = folder / name
    writer(path)
    return path
