"""A vector file is read for what it holds: never for what it refers to."""

import gzip
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from damage_ssl.errors import InputError
from damage_ssl.footprints.formats.content import DRIVERS
from damage_ssl.footprints.formats.drivers import SKIPPED
from damage_ssl.footprints.reader import read_aoi, read_footprints

SECRET = "password-of-the-server"
VRT = '<OGRVRTDataSource><OGRVRTLayer name="s"><SrcDataSource>{}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'
SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [0.001, 0], [0.001, 0.001], [0, 0]]]}


def collection(**members: object) -> str:
    feature = {"type": "Feature", "properties": {"building_id": SECRET}, "geometry": SQUARE}
    return json.dumps({"type": "FeatureCollection", **members, "features": [feature]})


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.geojson"
    path.write_text(collection())
    return path


def zipped(path: Path, member: str, content: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
    return path


def disguises(folder: Path, secret: Path) -> dict[str, Path]:
    vrt = VRT.format(secret)
    pipeline = json.dumps({"type": "gdal_streamed_alg", "command_line": f"gdal vector pipeline ! read {secret}"})
    found = {
        "VRT as KML": ("a.kml", vrt),
        "VRT behind a KML element": ("b.kml", f"<kml></kml>{vrt}"),
        "VRT behind a comment": ("c.kml", f"<!-- {'x' * 3000} --><kml/>{vrt}"),
        "VRT as GeoJSON": ("d.geojson", vrt),
        "VRT behind JSON": ("e.geojson", f"{{}}{vrt}"),
        "VRT as itself": ("f.vrt", vrt),
        "pipeline": ("g.gdalg.json", pipeline),
        "pipeline as GeoJSON": ("h.geojson", pipeline),
        "linked CRS": ("i.geojson", collection(crs={"type": "link", "properties": {"href": "http://127.0.0.1:9/x"}})),
        "entities": ("j.kml", f'<!DOCTYPE kml [<!ENTITY x SYSTEM "file://{secret}">]><kml>&x;</kml>'),
        "web page": ("k.kml", "<html><body>moved</body></html>"),
    }
    paths = {}
    for name, (file, content) in found.items():
        paths[name] = folder / file
        paths[name].write_text(content)
    paths["VRT in a zip"] = zipped(folder / "l.zip", "a.kml", vrt)
    paths["pipeline in a zip"] = zipped(folder / "m.zip", "a.geojson", pipeline)
    for name, file in (("VRT in gzip", "n.geojson.gz"), ("VRT in gzip of a KML", "o.kml.gz")):
        paths[name] = folder / file
        paths[name].write_bytes(gzip.compress(vrt.encode()))
    return paths


def test_no_file_reads_another(tmp_path: Path, secret: Path) -> None:
    assert read_footprints(secret).table["building_id"].tolist() == [SECRET]
    for name, path in disguises(tmp_path, secret).items():
        for read in (read_footprints, read_aoi):
            with pytest.raises(InputError) as told:
                read(path)
            assert SECRET not in str(told.value), name
            assert str(path) in str(told.value), name


def test_file_that_refers_to_another_says_so(tmp_path: Path, secret: Path) -> None:
    paths = disguises(tmp_path, secret)
    for name in ("VRT as KML", "VRT in a zip", "VRT in gzip", "pipeline as GeoJSON", "linked CRS", "entities"):
        with pytest.raises(InputError, match="refers to something else"):
            read_footprints(paths[name])


def test_drivers_that_follow_references_are_not_even_registered() -> None:
    code = """
import os, rasterio
from damage_ssl.footprints.formats.drivers import pyogrio
assert "GDAL_SKIP" not in os.environ
with rasterio.Env():
    pass
print(*pyogrio.list_drivers(), sep=",")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    there = set(ran.stdout.strip().split(","))
    assert not there & set(SKIPPED.split(","))
    # A driver that a newer GDAL brings is looked at before it is let in.
    known = "AVCBin AVCE00 EDIGEO GTFS Idrisi MBTiles MEM MVT MapML MiraMonVector OGR_GMT OGR_PDS PCIDSK PDF PDS4 "
    known += "PGDUMP PMTiles S57 SXF Selafin VDV VFK VICAR WAsP"
    assert there - DRIVERS <= set(known.split())


def test_link_in_the_middle_of_a_large_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "large.geojson"
    link = '"crs": {"type": "link", "properties": {"href": "http://127.0.0.1:9/x"}}'
    path.write_text(collection()[:-1] + f', "filler": "{"x" * (2 << 20)}", {link}}}')
    with pytest.raises(InputError, match="address"):
        read_footprints(path)
