"""Whether an event folder of an older version opens, trains on and exports the same rows.

    git worktree add OLD eaa4bdf
    python -m benchmarks.older_event --old OLD [--directory SCRATCH]

The older checkout draws a town, makes the event, cuts patches, imports labels, trains one run to its end and stops
another half way. A copy of the workspace is then handled by this version and by the older one in turn: the stopped run
is trained on, both runs are exported. Every row of the GeoJSON files, and every byte of the weights, is compared.
"""

import argparse
import filecmp
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
EVENT = "town"
TRAINING = ("--network", "small-cnn", "--algorithm", "fixmatch", "--steps", "60")
VERSIONED = {"created", "timeStamp", "version", "damage_ssl_version", "run_created"}


def main() -> int:
    """Make, go on, compare; 0 where everything is the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, required=True, help="a checkout of the older version")
    parser.add_argument("--directory", type=Path, help="where to work; a temporary folder without it")
    given = parser.parse_args()
    directory = given.directory or Path(tempfile.mkdtemp(prefix="older-event-"))
    directory.mkdir(parents=True, exist_ok=True)
    workspace = made_by_the_older(given.old, directory)
    copies = {name: directory / f"workspace-{name}" for name in ("older", "newer")}
    for copy in copies.values():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(workspace, copy)
    for name, checkout in (("older", given.old), ("newer", REPOSITORY)):
        print(run(checkout, "status", EVENT, "--json", workspace=copies[name]))
        run(checkout, "patches", EVENT, workspace=copies[name])
        run(checkout, "train", EVENT, *TRAINING, "--run-id", "stopped", "--seed", "1", workspace=copies[name])
        for run_id in ("whole", "stopped"):
            out = directory / f"{name}-{run_id}.geojson"
            run(checkout, "export", EVENT, "--run-id", run_id, "--out", str(out), workspace=copies[name])
    differences = [line for run_id in ("whole", "stopped") for line in compared(directory, copies, run_id)]
    print("\n".join(differences) or "the same: weights, predictions and every exported row of both runs")
    return 1 if differences else 0


def made_by_the_older(old: Path, directory: Path) -> Path:
    """The workspace with an event, labels, a finished run and a stopped one."""
    town, workspace = directory / "simulated", directory / "workspace"
    shutil.rmtree(workspace, ignore_errors=True)
    run(old, "simulate", str(town), "--buildings", "80", "--seed", "5")
    sides = ("--pre", str(town / "pre.tif"), "--post", str(town / "post.tif"))
    run(old, "init", EVENT, *sides, "--footprints", str(town / "footprints.geojson"), workspace=workspace)
    run(old, "patches", EVENT, workspace=workspace)
    truth = (town / "truth.csv").read_text(encoding="utf-8").splitlines()
    labels = directory / "labels.csv"
    labels.write_text("\n".join([truth[0], *truth[1::3]]) + "\n", encoding="utf-8")
    run(old, "label", "import", EVENT, str(labels), "--skip-unknown", workspace=workspace)
    run(old, "train", EVENT, *TRAINING, "--run-id", "whole", workspace=workspace)
    stop_half_way(old, workspace)
    return workspace


def stop_half_way(old: Path, workspace: Path) -> None:
    """Begin a training and interrupt it, as Ctrl+C does, once it has made a few steps."""
    words = ("train", EVENT, *TRAINING, "--run-id", "stopped", "--seed", "1", "--workspace", str(workspace))
    process = subprocess.Popen(
        [sys.executable, "-m", "damage_ssl", *words], cwd=old, env=environment(old), stderr=subprocess.DEVNULL
    )
    status = workspace / EVENT / "runs" / "stopped" / "status.json"
    while process.poll() is None:
        if status.exists() and json.loads(status.read_text(encoding="utf-8"))["step"] >= 5:
            process.send_signal(signal.SIGINT)
            break
        time.sleep(0.05)
    process.wait()
    state = json.loads(status.read_text(encoding="utf-8"))
    print(f"the older version stopped at step {state['step']} of {state['steps']} ({state['state']})")


def run(checkout: Path, *words: str, workspace: Path | None = None) -> str:
    """One command of a version; its standard output."""
    place = () if workspace is None else ("--workspace", str(workspace))
    command = [sys.executable, "-m", "damage_ssl", *words, *place]
    done = subprocess.run(command, cwd=checkout, env=environment(checkout), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{checkout}: {' '.join(words)} ended with {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout.strip()


def environment(checkout: Path) -> dict[str, str]:
    """The same process environment, in which that version is found first."""
    return {**os.environ, "PYTHONPATH": str(checkout)}


def compared(directory: Path, copies: dict[str, Path], run_id: str) -> list[str]:
    """What differs between the two versions for one run."""
    found = []
    rows = [rows_of(directory / f"{name}-{run_id}.geojson") for name in copies]
    if len(rows[0]) != len(rows[1]):
        found.append(f"{run_id}: {len(rows[0])} rows before, {len(rows[1])} now")
    for before, now in zip(*rows, strict=False):
        if before != now:
            fields = [name for name in {*before, *now} if before.get(name) != now.get(name)]
            found.append(f"{run_id}: {before['building_id']}: {', '.join(sorted(fields))} differ")
    folders = [copy / EVENT / "runs" / run_id for copy in copies.values()]
    for name in ("model.safetensors", "predictions.parquet", "calibration.json"):
        if not filecmp.cmp(folders[0] / name, folders[1] / name, shallow=False):
            found.append(f"{run_id}: {name} differs")
    return found


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Properties and geometry of every feature, without what says which version wrote it."""
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    return [
        {name: value for name, value in feature["properties"].items() if name not in VERSIONED}
        | {"geometry": feature["geometry"]}
        for feature in features
    ]


if __name__ == "__main__":
    sys.exit(main())
