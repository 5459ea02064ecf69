"""A web server on 127.0.0.1 that plays the online services, and the hand-made answers that it gives.

Everything in this file is made by hand after the documented formats; recorded answers lie in `recorded/`.
"""

import gzip
import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import geopandas as gpd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

RECORDED = Path(__file__).parent / "recorded"


@dataclass
class Answer:
    """What the server says; a `body` shorter than `length` is an answer that breaks off."""

    body: bytes = b""
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


class Services:
    """The server: answers by path, and what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str, str]] = []  # method, path with query, body
        self.agents: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.port = self._server.server_port

    def json(self, path: str, values: Any) -> None:
        self.answers[path] = Answer(json.dumps(values).encode())

    def paths(self) -> list[str]:
        return [path.split("?")[0] for _, path, _ in self.asked]


@contextmanager
def serving() -> Iterator[Services]:
    services = Services()
    thread = threading.Thread(target=services._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield services
    finally:
        services._server.shutdown()
        services._server.server_close()
        thread.join()


def _handler(services: Services) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            services.asked.append((self.command, self.path, body))
            services.agents.add(self.headers.get("User-Agent", ""))
            answer = services.answers.get(unquote(self.path.split("?")[0]))
            answer = answer or Answer(b'{"detail": "not found"}', 404)
            first, last, status = 0, len(answer.body) - 1, answer.status
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if wanted and status == 200:  # as S3 does
                first, last, status = int(wanted[1]), min(int(wanted[2] or last), last), 206
            part = answer.body[first : last + 1]
            self.send_response(status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(answer.length or len(part)))
            self.send_header("ETag", '"1"')
            self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
            if status == 206:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(answer.body)}")
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(part)
            if answer.length:
                self.close_connection = True

    return Handler


def overpass_answer(buildings: gpd.GeoDataFrame) -> Answer:
    """Hand-made after https://dev.overpass-api.de/output_formats.html: `out body geom` of one way a building."""
    elements = []
    for number, polygon in enumerate(buildings.geometry, start=1):
        ring = [{"lat": round(y, 7), "lon": round(x, 7)} for x, y in polygon.exterior.coords]
        nodes = [*range(number * 10, number * 10 + len(ring) - 1), number * 10]
        elements.append({"type": "way", "id": number, "nodes": nodes, "geometry": ring, "tags": {"building": "yes"}})
    return Answer(
        json.dumps(
            {
                "version": 0.6,
                "generator": "Overpass API 0.7.62.1 084b4234",
                "osm3s": {"timestamp_osm_base": "2017-10-07T00:00:00Z", "copyright": "…"},
                "elements": elements,
            },
            indent=1,
        ).encode()
    )


def open_buildings_file(buildings: gpd.GeoDataFrame) -> bytes:
    """Hand-made after https://sites.research.google/open-buildings/ (data format), without header as in level 6."""
    lines = []
    for number, polygon in enumerate(buildings.geometry):
        centre = polygon.centroid
        values = f"{centre.y:.8f},{centre.x:.8f},100.1234,0.{70 + number},"
        lines.append(values + f'"{shapely.to_wkt(polygon, rounding_precision=12)}",6GCRMQPX+{number:02d}Q\n')
    return gzip.compress("".join(lines).encode())


RELEASE = "2026-10-21.0"
_OVERTURE_KEY = f"release/{RELEASE}/theme=buildings/type=building/part-00000-0.zstd.parquet"


def overture_release(services: Services, buildings: gpd.GeoDataFrame) -> None:
    """Hand-made after the schema of Overture's buildings and what its client reads: STAC index and one file on S3."""
    services.json(
        "/catalog.json",
        {"latest": RELEASE, "links": [{"rel": "child", "href": f"./{name}/catalog.json"} for name in (RELEASE, "x")]},
    )
    boxes = [dict(zip(("xmin", "ymin", "xmax", "ymax"), part, strict=True)) for part in buildings.bounds.to_numpy()]
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Polygon"], "bbox": [-180, -90, 180, 90]}},
    }
    table = pa.table(
        {
            "id": [f"08b2830000000fff02000000000000{number:02d}" for number in range(len(buildings))],
            "geometry": [shapely.to_wkb(polygon) for polygon in buildings.geometry],
            "bbox": boxes,
            "version": pa.array([1] * len(buildings), pa.int32()),
            "sources": [[{"dataset": "OpenStreetMap", "record_id": f"w{n}@1"}] for n in range(len(buildings))],
            "height": pa.array([None] * len(buildings), pa.float64()),
        }
    ).replace_schema_metadata({"geo": json.dumps(geo)})
    services.answers[f"/overturemaps-us-west-2/{_OVERTURE_KEY}"] = Answer(_parquet(table), kind="binary/octet-stream")
    west, south, east, north = (float(value) for value in buildings.total_bounds)
    index = pa.table(
        {
            "collection": ["building"],
            "type": ["Feature"],
            "bbox": [{"xmin": west, "ymin": south, "xmax": east, "ymax": north}],
            "assets": [{"aws": {"alternate": {"s3": {"href": f"s3://overturemaps-us-west-2/{_OVERTURE_KEY}"}}}}],
        }
    )
    services.answers[f"/{RELEASE}/collections.parquet"] = Answer(_parquet(index), kind="binary/octet-stream")


def stac_api(services: Services) -> str:
    """A STAC API: its landing page hand-made after the STAC API specification 1.0.0, its search answer recorded."""
    search = {"rel": "search", "href": f"{services.url}/api/search", "type": "application/geo+json", "method": "POST"}
    services.json(
        "/api",
        {
            "type": "Catalog",
            "id": "test-api",
            "title": "Test API",
            "description": "…",
            "stac_version": "1.0.0",
            "conformsTo": [
                "https://api.stacspec.org/v1.0.0/core",
                "https://api.stacspec.org/v1.0.0/collections",
                "https://api.stacspec.org/v1.0.0/item-search",
            ],
            "links": [
                {"rel": "self", "href": f"{services.url}/api", "type": "application/json"},
                {"rel": "root", "href": f"{services.url}/api", "type": "application/json"},
                {"rel": "data", "href": f"{services.url}/api/collections", "type": "application/json"},
                search,
            ],
        },
    )
    services.json(
        "/api/collections/naip",
        {
            "type": "Collection",
            "id": "naip",
            "stac_version": "1.0.0",
            "description": "…",
            "license": "PDDL-1.0",
            "extent": {
                "spatial": {"bbox": [[-124.784, 24.744, -66.951, 49.346]]},
                "temporal": {"interval": [["2010-01-01T00:00:00Z", None]]},
            },
            "links": [],
        },
    )
    answer = RECORDED / "planetary-computer-naip-search.json"
    services.answers["/api/search"] = Answer(answer.read_bytes(), kind="application/geo+json")
    return f"{services.url}/api"


def static_catalogue(services: Services) -> str:
    """A static catalogue hand-made after the layout of Maxar's Open Data: events, acquisitions, tiles.

    Lahaina (one image of July and one of 12 August 2023, the second clouded) and Derna, which lies elsewhere.
    """
    here, elsewhere = [-156.70, 20.85, -156.65, 20.90], [22.6, 32.7, 22.7, 32.8]
    children = [{"rel": "child", "href": f"./{name}/collection.json"} for name in ("Maui-fires", "Libya-Floods")]
    services.json(
        "/events/catalog.json",
        {
            "type": "Catalog",
            "id": "maxar-opendata",
            "stac_version": "1.0.0",
            "description": "Maxar ARD Open Data Catalog",
            "license": "CC-BY-NC-4.0",
            "links": [{"rel": "root", "href": "./catalog.json"}, *children],
        },
    )
    acquisitions = {"A0001": ("2023-07-09", 0), "A0002": ("2023-08-12", 41)}
    links = [{"rel": "child", "href": f"./ard/acquisition_collections/{name}_collection.json"} for name in acquisitions]
    services.json("/events/Maui-fires/collection.json", _collection("Maui-fires", here, "2023-07-09", links))
    services.json("/events/Libya-Floods/collection.json", _collection("Libya-Floods", elsewhere, "2023-09-10", []))
    for name, (day, cloud) in acquisitions.items():
        tile = {"rel": "item", "href": f"../04/122000330033/{day}/{name}.json"}
        services.json(
            f"/events/Maui-fires/ard/acquisition_collections/{name}_collection.json",
            _collection(name, here, day, [tile], licence=None),
        )
        services.json(f"/events/Maui-fires/ard/04/122000330033/{day}/{name}.json", _tile(name, here, day, cloud))
    return f"{services.url}/events/catalog.json"


def _tile(name: str, bbox: list[float], day: str, cloud: int) -> dict[str, Any]:
    tiff = "image/tiff; application=geotiff; profile=cloud-optimized"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"04/122000330033/{name}",
        "collection": name,
        "geometry": shapely.geometry.mapping(shapely.box(*bbox)),
        "bbox": bbox,
        "properties": {"datetime": f"{day}T21:03:50Z", "platform": "WV03", "gsd": 0.34, "tile:clouds_percent": cloud},
        "links": [{"rel": "collection", "href": f"../../../acquisition_collections/{name}_collection.json"}],
        "assets": {
            "data-mask": {"href": f"./{name}-data-mask.gpkg", "type": "application/geopackage+sqlite3"},
            "pan_analytic": {"href": f"./{name}-pan.tif", "type": tiff, "roles": ["data"]},
            "visual": {"href": f"./{name}-visual.tif", "type": tiff, "roles": ["visual"]},
        },
    }


def _collection(
    name: str, bbox: list[float], day: str, links: list[dict[str, str]], licence: str | None = "CC-BY-NC-4.0"
) -> dict[str, Any]:
    return {
        "type": "Collection",
        "id": name,
        "stac_version": "1.0.0",
        "description": name,
        **({"license": licence} if licence else {}),
        # Maxar writes a blank where ISO 8601 has a T.
        "extent": {"spatial": {"bbox": [bbox]}, "temporal": {"interval": [[f"{day} 00:00:00Z", None]]}},
        "links": links,
    }


def _parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()
