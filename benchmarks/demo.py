"""`make demo`: the whole way on a simulated town, by the same commands that a user types.

An "analyst" who knows the truth answers for the first 40 buildings that the labelling queue proposes.
"""

import argparse
import csv
import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

EVENT = "town"
LABELS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path("demo"))
    parser.add_argument("--buildings", type=int, default=600)
    parser.add_argument("--hazard", default="earthquake")
    arguments = parser.parse_args()
    started = time.monotonic()
    root: Path = arguments.directory
    start_afresh(root)
    town, workspace, labels, out = root / "simulated", root / "workspace", root / "labels.csv", root / "map.geojson"

    run("simulate", town, "--buildings", arguments.buildings, "--hazard", arguments.hazard, "--seed", 0)
    inputs = ["--pre", town / "pre.tif", "--post", town / "post.tif", "--footprints", town / "footprints.geojson"]
    at = ["--workspace", workspace]
    run("init", EVENT, *inputs, *at)
    run("patches", EVENT, *at)
    queue = json.loads(run("label", "next", EVENT, "--count", LABELS, *at, "--json", quiet=True))
    answer_from_truth([row["building_id"] for row in queue["buildings"]], town / "truth.csv", labels)
    print(f"  {LABELS} buildings labelled from the truth → {labels}", flush=True)
    run("assess", EVENT, *inputs, "--labels", labels, "--out", out, *at)
    run("evaluate", EVENT, "--truth", town / "truth.csv", *at)
    print(f"\nDone in {time.monotonic() - started:.0f} s.")
    print(f"The damage map: {out} (opens in QGIS or on any web map)")
    print(f"Look at it over the images, correct it, label more:  make app WORKSPACE={workspace}")


def start_afresh(root: Path) -> None:
    """Remove an earlier demo; never a folder that this script did not make."""
    marker = root / ".damage-ssl-demo"
    if root.exists() and not marker.exists():
        raise SystemExit(f"{root} is not a demo's folder; name another with --directory")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    marker.touch()


def run(*arguments: object, quiet: bool = False) -> str:
    words = [str(argument) for argument in arguments]
    print(f"\n$ damage-ssl {shlex.join(words)}", flush=True)
    command = [sys.executable, "-m", "damage_ssl", *words]
    finished = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE if quiet else None)
    if finished.returncode != 0:
        raise SystemExit(finished.returncode)
    return finished.stdout or ""


def answer_from_truth(buildings: list[str], truth: Path, out: Path) -> None:
    with truth.open(encoding="utf-8", newline="") as file:
        grade_of = {row["building_id"]: row["grade"] for row in csv.DictReader(file)}
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["building_id", "grade"])
        writer.writerows((building, grade_of[building]) for building in buildings)


if __name__ == "__main__":
    main()
