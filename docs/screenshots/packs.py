"""Make the demo pack and its pictures: `python -m docs.screenshots.packs FOLDER`, from the repository's root.

Draws a town of 200 buildings into FOLDER, trains twice by the commands that a user types, hands it over in English and
in Arabic, and puts the English pack into docs/demo-pack and the pictures of both into this folder. Stages that are in
FOLDER already are kept. Needs Chromium and playwright, pdftoppm, and QGIS for the picture of the project.
"""

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
from PIL import Image
from playwright.sync_api import sync_playwright
from shapely.geometry import box

from benchmarks.demo import run
from tests.app.browser.chromium import launch

HERE = Path(__file__).resolve().parent
EVENT, LABELS, CHECKED = "demo", 30, 40
LICENCE = "CC BY 4.0, imagery simulated by damage_ssl"
DISTRICTS = (("nw", "North West"), ("ne", "حي السلام"), ("sw", "South West"), ("se", "South East"))


def main(folder: Path) -> None:
    """All of it."""
    folder.mkdir(parents=True, exist_ok=True)
    town, at = folder / "town", ["--workspace", folder / "ws"]
    if not town.exists():
        run("simulate", town, "--buildings", 200, "--hazard", "earthquake", "--seed", 0)
    if not (folder / "ws" / EVENT).exists():
        scenes = ["--pre", town / "pre.tif", "--post", town / "post.tif"]
        run("init", EVENT, *scenes, "--footprints", town / "footprints.geojson", *at)
        run("patches", EVENT, *at)
    first, checked, districts = folder / "l1.csv", folder / "l2.csv", folder / "districts.geojson"
    if not first.exists():
        queue = json.loads(run("label", "next", EVENT, "--count", LABELS, *at, "--json", quiet=True))
        answer(queue["buildings"], town / "truth.csv", first)
        learn(first, at)
    if not checked.exists():
        audit(town / "truth.csv", first, checked)
        learn(checked, at)
    draw_districts(town / "footprints.geojson", districts)
    earlier = sorted(path.name for path in (folder / "ws" / EVENT / "runs").iterdir() if path.is_dir())[0]
    for language in ("en", "ar"):
        asked = ["--language", language, "--units", districts, "--since", earlier, "--licence", LICENCE]
        run("export", EVENT, "--pack", folder / language, "--zip", *asked, *at)
    pictures(folder / "en", folder / "ar", folder)
    shown = HERE.parent / "demo-pack"
    shown.mkdir(exist_ok=True)
    for source, name in (
        (folder / "en.zip", "demo-pack.zip"),
        *((folder / "en" / n, n) for n in ("map.html", "report.pdf")),
    ):
        shutil.copyfile(source, shown / name)


def answer(buildings: list[dict[str, object]], truth: Path, out: Path) -> None:
    """Labels as an analyst who knows the truth would give them, with how each building was drawn."""
    with truth.open(encoding="utf-8", newline="") as file:
        grade_of = {row["building_id"]: row["grade"] for row in csv.DictReader(file)}
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["building_id", "grade", "drawn", "inclusion_probability"])
        writer.writeheader()
        writer.writerows({**row, "grade": grade_of[str(row["building_id"])]} for row in buildings)


def audit(truth: Path, before: Path, out: Path) -> None:
    """A random check of the buildings that had no answer yet."""
    named = [{row["building_id"] for row in csv.DictReader(path.open(encoding="utf-8"))} for path in (truth, before)]
    left = sorted(named[0] - named[1])
    drawn = random.Random(3).sample(left, CHECKED)
    chance = CHECKED / len(left)
    answer([{"building_id": each, "drawn": "audit", "inclusion_probability": chance} for each in drawn], truth, out)


def learn(labels: Path, at: list[object]) -> None:
    """Take the labels in and train, quickly rather than well."""
    run("label", "import", EVENT, labels, *at)
    run("train", EVENT, "--network", "small-cnn", "--algorithm", "fixmatch", "--steps", 60, *at)


def draw_districts(footprints: Path, out: Path) -> None:
    """Four quarters of the town."""
    town = gpd.read_file(footprints)
    west, south, east, north = town.total_bounds
    x, y, edge = (west + east) / 2, (south + north) / 2, (east - west) / 50
    west, south, east, north = west - edge, south - edge, east + edge, north + edge
    quarters = [box(west, y, x, north), box(x, y, east, north), box(west, south, x, y), box(x, south, east, y)]
    codes, names = zip(*DISTRICTS, strict=True)
    gpd.GeoDataFrame({"unit_id": codes, "name": names}, geometry=quarters, crs=town.crs).to_file(out)


def pictures(english: Path, arabic: Path, folder: Path) -> None:
    """What people see who open the packs."""
    for pack in (english, arabic):
        subprocess.run(["pdftoppm", "-r", "80", "-png", pack / "report.pdf", folder / pack.name], check=True)
    pages = [Image.open(folder / name).convert("RGB") for name in ("en-1.png", "en-2.png", "ar-1.png")]
    side = Image.new("RGB", (sum(page.width for page in pages) + 20, pages[0].height), "#9aa4ad")
    for number, page in enumerate(pages):
        side.paste(page, (number * (page.width + 10), 0))
    side.save(HERE / "pack_report.jpg", quality=80)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for pack in (english, arabic):
            tab = browser.new_page(viewport={"width": 1280, "height": 800})
            tab.goto((pack / "map.html").resolve().as_uri())
            tab.wait_for_timeout(1500)
            tab.screenshot(path=HERE / f"pack_map_{pack.name}.jpg", quality=75, type="jpeg")
        browser.close()
    script = HERE.parents[1] / "tests/products/handover/read_in_qgis.py"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    drawn = folder / "project.png"
    command: list[str | Path] = ["/usr/bin/python3", script, english, drawn]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment | {"QT_QPA_PLATFORM": "offscreen"})
    Image.open(drawn).convert("RGB").save(HERE / "pack_qgis.jpg", quality=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
