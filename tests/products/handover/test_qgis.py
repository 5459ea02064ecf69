"""QGIS itself, headless, opens every layer of a pack and its project; skipped where python3-qgis is missing."""

import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
from shapely.geometry import box

from damage_ssl.damage_scale import scheme_named
from damage_ssl.evaluation.total import Total, Totals
from damage_ssl.products.difference import RunDifference
from damage_ssl.products.formats.geotiff import CODES
from damage_ssl.products.handover.pack_files import write_pack
from damage_ssl.products.map_style import LEGEND, class_colour
from damage_ssl.products.selection import Selection
from tests.products.handover.made_pack import CARD, FACTS, handing, labels, table

PYTHON = Path("/usr/bin/python3")
SCRIPT = Path(__file__).with_name("read_in_qgis.py")


def has_qgis() -> bool:
    if not PYTHON.exists():
        return False
    return subprocess.run([PYTHON, "-c", "import qgis.core"], capture_output=True, timeout=60).returncode == 0


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What QGIS finds in a pack with every layer, moved after it was written."""
    if not has_qgis():
        pytest.skip("QGIS is not installed: apt-get install python3-qgis")
    folder = tmp_path_factory.mktemp("qgis") / "pack"
    shifted = table().assign(shift_x_m=3.0, shift_y_m=4.0)
    halves = gpd.GeoDataFrame(
        {"unit_id": ["w", "e"], "name": ["West", "East"]},
        geometry=[box(-0.001, -0.001, 0.0025, 0.002), box(0.0025, -0.001, 0.006, 0.002)],
        crs=4326,
    )
    totals = [
        Total(
            unit_id=unit,
            name=name,
            assessed=2,
            not_assessed=0,
            damaged=damaged,
            damaged_low=None,
            damaged_high=None,
            model_count=damaged,
            method="count",
            answers=0,
        )
        for unit, name, damaged in (("w", "West", 2), ("e", "East", None))
    ]
    since = RunDifference(
        event="quake",
        before="run-6",
        after="run-7",
        definition=scheme_named("binary-major"),
        answers="now",
        table=shifted[["building_id", "damaged", "geometry"]]
        .rename(columns={"damaged": "damaged_after"})
        .assign(change=list(CHANGED), class_after=shifted["damage_class"]),
        gone=0,
        notes=(),
    )
    counted = Totals(total=totals[0], units=tuple(totals))
    facts = handing(Selection(), given=shifted, units=halves, totals=counted, changes=since)
    written = write_pack(
        folder, facts, labels(), Selection(), card=CARD, facts=FACTS, settings={}, with_zip=False, shapefile=True
    )
    moved = shutil.move(written.folder, folder.with_name("elsewhere"))
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(folder.parent)}
    environment.pop("PYTHONPATH", None)
    said = subprocess.run([PYTHON, SCRIPT, moved], capture_output=True, text=True, timeout=300, env=environment)
    assert said.returncode == 0, said.stderr
    answer: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
    return answer


CHANGED = ("newly-damaged", "newly-damaged", "unchanged", "not-assessed", "no-longer-damaged")
"""What became of the five buildings since the earlier run."""
BY_CLASS = Counter([class_colour(name) for name in ("damaged", "destroyed", "intact", "damaged")])
BY_CLASS[class_colour(None, assessed=False)] += 1


def test_qgis_opens_every_layer_of_every_file(seen: dict[str, Any]) -> None:
    assert all(layer["valid"] for layer in seen["files"].values())
    layers = ("buildings", "changes", "not_assessed", "shift_arrows", "grid", "units", "aoi")
    assert set(seen["files"]) == {
        *(f"buildings.gpkg:{name}" for name in layers),
        *(f"buildings.{ending}" for ending in ("geojson", "fgb", "kml", "csv", "shp")),
        "map.tif",
    }
    for name in ("geojson", "fgb", "kml", "gpkg:buildings"):
        layer = seen["files"][f"buildings.{name}"]
        assert (layer["features"], layer["damaged"], layer["crs"]) == (5, 3, "EPSG:4326"), name
    assert seen["files"]["buildings.shp"]["features"] == 5
    assert seen["files"]["buildings.csv"]["features"] == 6  # with the row of hashtags


def test_qgis_draws_the_layers_of_the_geopackage_in_their_colours_by_itself(seen: dict[str, Any]) -> None:
    files = seen["files"]
    buildings = files["buildings.gpkg:buildings"]
    assert (buildings["kind"], buildings["categories"]) == ("categorizedSymbol", list(LEGEND))
    assert buildings["drawn"] == dict(BY_CLASS)
    changes = files["buildings.gpkg:changes"]
    assert changes["features"] == 5 and set(CHANGED) <= set(changes["categories"])
    assert len(changes["drawn"]) == len(set(CHANGED)), "each way of changing has a colour of its own"
    assert files["buildings.gpkg:not_assessed"]["drawn"] == {class_colour(None, assessed=False): 1}
    assert files["buildings.gpkg:shift_arrows"]["kind"] == "singleSymbol"
    assert files["buildings.gpkg:units"]["drawn"] == {"#8b0a1a": 1, class_colour(None, assessed=False): 1}
    assert sum(files["buildings.gpkg:grid"]["drawn"].values()) == files["buildings.gpkg:grid"]["features"]


def test_qgis_opens_the_project_of_a_pack_that_was_moved(seen: dict[str, Any]) -> None:
    project = seen["project"]
    assert project["read"] is True and project["title"] == "quake"
    layers = {name.removeprefix("damage_ssl_"): layer for name, layer in project["layers"].items()}
    assert list(layers) and all(layer["valid"] for layer in layers.values())
    assert project["order"][0] == "damage_ssl_buildings" and project["order"][-1] == "damage_ssl_map"
    assert set(layers) == {"buildings", "changes", "not_assessed", "shift_arrows", "grid", "units", "aoi", "map"}
    assert layers["buildings"]["drawn"] == dict(BY_CLASS)
    assert layers["map"]["classes"] == [[code, LEGEND[key].title, LEGEND[key].colour] for key, code in CODES.items()]
