"""Small files that are made to fill a memory or a day: each is refused at once, at the cost of a small one."""

import gzip
import json
import resource
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from affine import Affine

from damage_ssl.errors import InputError
from damage_ssl.footprints.reader import read_aoi, read_footprints
from damage_ssl.imagery.size_limits import check_size
from tests.imagery.test_map_tiles import inspect

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # within rasterio

MEGABYTE = 1_000_000
CEILING_BYTES = 300 * MEGABYTE
RING = "[[[0,0],[0,1],[1,1],[0,0]]]"
SQUARE = f'{{"type":"Feature","properties":{{}},"geometry":{{"type":"Polygon","coordinates":{RING}}}}}'
OPENING = '{"type":"FeatureCollection","features":['


@pytest.fixture(autouse=True)
def cheap() -> Iterator[None]:
    """Two seconds of processor time, as the issue has it, and 300 MB."""
    begun, held = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - begun < 8  # with making the file, on a machine with other work
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) * 1024 < CEILING_BYTES


def packed(path: Path, start: str, filling: bytes, end: str, *, megabytes: int = 70) -> Path:
    with gzip.open(path, "wb", 1) as file:
        file.write(start.encode())
        for _ in range(megabytes):
            file.write(filling * MEGABYTE)
        file.write(end.encode())
    return path


@pytest.mark.parametrize("read", [read_footprints, pytest.param(read_aoi, marks=pytest.mark.long)])
def test_gzip_of_much_blank_geojson_is_refused(read, tmp_path: Path) -> None:
    path = packed(tmp_path / "a.geojson.gz", OPENING + SQUARE + ",", b" ", SQUARE + "]}")
    with pytest.raises(InputError, match="unpacks to over 100 times its size"):
        read(path)


def test_gzip_of_one_long_line_is_refused(tmp_path: Path) -> None:
    start = SQUARE + '\n{"type":"Feature","properties":{"a":"'
    path = packed(tmp_path / "a.geojsonl.gz", start, b"a", '"},"geometry":null}\n')
    with pytest.raises(InputError, match="unpacks to over 100 times its size"):
        read_footprints(path)


@pytest.mark.long
def test_zip_is_refused_by_what_it_would_unpack_to(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("a.geojson", (OPENING + SQUARE + "]}").encode() + b" " * (70 * MEGABYTE))
    for read in (read_footprints, read_aoi):
        with pytest.raises(InputError, match="unpacks to over 100 times its size"):
            read(path)


def test_honest_files_pack_less(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson.gz"
    path.write_bytes(
        gzip.compress((OPENING + ",".join([SQUARE.replace("1", str(n)) for n in range(1, 60)]) + "]}").encode())
    )
    assert len(read_footprints(path).table) > 0


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def osm_blob(kind: bytes, raw: bytes) -> bytes:
    content = zlib.compress(raw, 1)
    blob = b"\x10" + varint(len(raw)) + b"\x1a" + varint(len(content)) + content
    header = b"\x0a" + varint(len(kind)) + kind + b"\x18" + varint(len(blob))
    return struct.pack(">I", len(header)) + header + blob


def test_openstreetmap_block_larger_than_the_format_allows_is_refused(tmp_path: Path) -> None:
    """3.6 MB took 3.7 GB."""
    path = tmp_path / "a.osm.pbf"
    start = osm_blob(b"OSMHeader", b"\x22\x0eOsmSchema-V0.6\x22\x0aDenseNodes")
    path.write_bytes(start + osm_blob(b"OSMData", b"\0" * (60 * MEGABYTE)))
    with pytest.raises(InputError, match="breaks off or is damaged in the block that begins at byte 57"):
        read_footprints(path)


@pytest.mark.parametrize("name", ["a.json", "a.geojson", "overpass.json"])
def test_deep_json_is_refused(name: str, tmp_path: Path) -> None:
    start = {"a.json": "", "a.geojson": OPENING, "overpass.json": '{"version":0.6,"generator":"O","elements":'}[name]
    (tmp_path / name).write_text(start + "[" * 1_000_000)
    for read in (read_footprints, read_aoi):
        with pytest.raises(InputError):
            read(tmp_path / name)


def test_geometry_that_says_it_has_two_billion_points_is_refused(tmp_path: Path) -> None:
    wkb = struct.pack("<BIII", 1, 3, 1, 2**31) + b"\0" * 64
    geo = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}
    schema = pa.schema([("geometry", pa.binary())], metadata={b"geo": json.dumps(geo).encode()})
    pq.write_table(pa.table({"geometry": [wkb] * 500}, schema=schema), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="row 1"):
        read_footprints(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text(f"id,geometry\n1,{wkb.hex()}\n")
    with pytest.raises(InputError):
        read_footprints(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (
            {"width": 200_000, "height": 200_000, "count": 3, "tiled": True, "blockxsize": 1024, "blockysize": 1024},
            "next to nothing is in it",
        ),
        ({"width": 16, "height": 16, "count": 5000}, "5,000 bands"),
    ],
)
def test_tiny_raster_that_says_it_is_huge_is_refused(shape: dict[str, int], said: str, tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "dtype": "uint8", "crs": "EPSG:32610", "compress": "deflate", "BIGTIFF": "YES"}
    transform = Affine(0.5, 0, 500_000, 0, -0.5, 4_200_000)
    with rasterio.open(tmp_path / "a.tif", "w", SPARSE_OK=True, transform=transform, **profile, **shape):
        pass
    with pytest.raises(InputError, match=said):
        inspect(tmp_path / "a.tif")


def test_raster_in_one_huge_block_is_refused() -> None:
    layout = {"count": 1, "interleaving": None, "block_shapes": [(20_000, 20_000)], "dtypes": ["uint8"]}
    with pytest.raises(InputError, match="blocks of 400 MB"):
        check_size(SimpleNamespace(**layout), "a.tif")


@pytest.mark.long
def test_parquet_whose_columns_unpack_to_a_thousand_times_their_size_is_refused(tmp_path: Path) -> None:
    column = pa.array([b"\0" * MEGABYTE] * 60, pa.large_binary())
    table = pa.table({"geometry": column})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", use_dictionary=False)
    del column, table
    with pytest.raises(InputError, match="row group 0: unpacks to over 100 times its size"):
        read_footprints(tmp_path / "a.parquet")
