"""From imagery to map: wall and processor seconds and peak memory of every stage, beside what one would write instead.

    python -m benchmarks.road --buildings 600 2849                 # simulated towns of that many
    python -m benchmarks.road --event santa-rosa-wildfire          # a real event of DAMAGE_SSL_SHARED
    make road

One run measures, one after the other and each in a process of its own:

- U: one plain forward pass of the frozen encoder (its eleven blocks) over all pairs, both dates, 64 px, in batches of
  256 pictures on all cores. All other times are also given in U of the same run.
- the commands that a user types: `init`, `patches`, `zero-label` with its export (the first map), `label import`,
  `train`, `export` (the final map), imports included.
- `benchmarks/road_rival.py`, the notebook that a data scientist would write instead.

Both get the same 25 labels a class (`--labels`), and AUROC is over all other buildings. Drawing a town is not counted.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from sklearn.metrics import roc_auc_score

from damage_ssl.labels.label_csv import read_label_csv
from damage_ssl.patches.store import PatchStore

EVENT = "road"
DAMAGED = ("major-damage", "destroyed")
GRADES = ("no-damage", "minor-damage", *DAMAGED)
UNIT = """
import sys, time, torch
from damage_ssl.learning.networks.efficientnet_lite0 import Lite0
from damage_ssl.learning.device import keep_freed_memory
keep_freed_memory()
network = Lite0().requires_grad_(False).to(memory_format=torch.channels_last)
pictures = torch.rand(256, 3, 64, 64).contiguous(memory_format=torch.channels_last)
with torch.no_grad():
    network(pictures)
    started, left = time.monotonic(), 2 * int(sys.argv[1])
    while left > 0:
        network(pictures[:left])
        left -= 256
print(time.monotonic() - started)
"""


@dataclass(frozen=True)
class Stage:
    """What one process took; `peak_mib` is of the largest of its processes."""

    name: str
    wall_s: float
    processor_s: float
    peak_mib: float


def measured(name: str, command: list[str]) -> tuple[Stage, str]:
    """Run it to its end, and what it printed.

    Raises:
        SystemExit: it failed.
    """
    with tempfile.TemporaryFile("w+") as out:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        out.seek(0)
        said = out.read()
    if status:
        raise SystemExit(f"{name} failed:\n{said}")
    stage = Stage(name, round(wall, 2), round(usage.ru_utime + usage.ru_stime, 2), round(usage.ru_maxrss / 1024))
    print(
        f"  {name:<28}{stage.wall_s:8.1f} s wall {stage.processor_s:8.1f} s processor {stage.peak_mib:7.0f} MiB",
        flush=True,
    )
    return stage, said


@dataclass(frozen=True)
class Inputs:
    """Files of an event; `truth` is a CSV of `building_id,grade`."""

    pre: Path
    post: Path
    footprints: Path
    truth: Path

    @classmethod
    def simulated(cls, folder: Path, buildings: int, hazard: str) -> "Inputs":
        """A town drawn anew."""
        command = [sys.executable, "-m", "damage_ssl", "simulate", str(folder), "--buildings", str(buildings)]
        subprocess.run([*command, "--hazard", hazard, "--seed", "0"], check=True, stdout=subprocess.DEVNULL)
        return cls(folder / "pre.tif", folder / "post.tif", folder / "footprints.geojson", folder / "truth.csv")

    @classmethod
    def real(cls, name: str) -> "Inputs":
        """One of the events for tests."""
        folder = Path(os.environ.get("DAMAGE_SSL_SHARED", "../shared")) / "data" / "events" / name
        return cls(folder / "pre", folder / "post", folder / "footprints.geojson", folder / "labels.csv")


def damaged_of(truth: Path) -> dict[str, bool]:
    """Whether each graded building is damaged (major damage or worse)."""
    rows = read_label_csv(truth, labeller="truth").rows
    return {row.building_id: row.value.value in DAMAGED for row in rows if row.value.value in GRADES}


def draw_labels(inputs: Inputs, count: int, out: Path) -> set[str]:
    """Write `count` buildings a class with their grades, drawn with a fixed seed; their ids."""
    rows = [row for row in read_label_csv(inputs.truth, labeller="truth").rows if row.value.value in GRADES]
    order = np.random.default_rng(0).permutation(len(rows))
    taken = [
        rows[k]
        for side in (False, True)
        for k in [k for k in order if (rows[k].value.value in DAMAGED) == side][:count]
    ]
    lines = "".join(f"{row.building_id},{row.value.value}\n" for row in taken)
    out.write_text("building_id,grade\n" + lines)
    return {row.building_id for row in taken}


def auroc_of(map_path: Path, column: str, truth: dict[str, bool], labelled: set[str]) -> float:
    """AUROC of a map's column over the graded buildings that were not labelled and are assessed."""
    table = gpd.read_file(map_path)
    scores = dict(zip(table["building_id"].astype(str), table[column], strict=True))
    rows = [
        each for each in truth if each not in labelled and scores.get(each) is not None and np.isfinite(scores[each])
    ]
    return float(roc_auc_score([truth[each] for each in rows], [scores[each] for each in rows]))


def walk(inputs: Inputs, folder: Path, labels: int, *, rival: bool) -> dict[str, Any]:
    """All stages of one event, and the rival's."""
    workspace, truth = folder / "workspace", damaged_of(inputs.truth)
    label_file, first, final = folder / "labels.csv", folder / "first.geojson", folder / "final.geojson"
    labelled = draw_labels(inputs, labels, label_file)

    def ours(name: str, *words: object) -> Stage:
        command = [sys.executable, "-m", "damage_ssl", *map(str, words), "--workspace", str(workspace)]
        return measured(name, command)[0]

    sides = ["--pre", inputs.pre, "--post", inputs.post, "--footprints", inputs.footprints]
    stages = [ours("init", "init", EVENT, *sides), ours("patches", "patches", EVENT)]
    assessed = int(PatchStore.open(workspace / EVENT / "patches").index()["assessed"].sum())
    unit = float(measured("U", [sys.executable, "-c", UNIT, str(assessed)])[1].split()[-1])
    stages += [
        ours("zero-label", "zero-label", EVENT),
        ours("export: first map", "export", EVENT, "--out", first),
        ours("label import", "label", "import", EVENT, label_file),
        ours("train", "train", EVENT),
        ours("export: final map", "export", EVENT, "--out", final),
    ]
    found = {
        "assessed": assessed,
        "labels_a_class": labels,
        "unit_s": round(unit, 2),
        "stages": [asdict(stage) | {"units": round(stage.wall_s / unit, 2)} for stage in stages],
        "first_map_units": round(sum(stage.wall_s for stage in stages[:4]) / unit, 2),
        "final_map_units": round(sum(stage.wall_s for stage in (*stages[:2], *stages[4:])) / unit, 2),
        "peak_mib": max(stage.peak_mib for stage in stages),
        "auroc_first": auroc_of(first, "p_damaged", truth, labelled),
        "auroc_final": auroc_of(final, "p_damaged", truth, labelled),
    }
    if rival:
        out = folder / "rival.geojson"
        places = [str(each) for each in (inputs.pre, inputs.post, inputs.footprints, label_file, out)]
        stage, _ = measured("rival", [sys.executable, "-m", "benchmarks.road_rival", *places])
        found["rival"] = asdict(stage) | {
            "units": round(stage.wall_s / unit, 2),
            "auroc": auroc_of(out, "p_damaged", truth, labelled),
        }
    return found


def processor() -> dict[str, Any]:
    """What this ran on."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    model = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), "")
    flags = set(next((line for line in text.splitlines() if line.startswith("flags")), "").split())
    has = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    return {"model": model or platform.processor(), "cores": os.cpu_count(), "has": has, "load": os.getloadavg()[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--buildings", nargs="*", type=int, default=[], help="sizes of simulated towns")
    parser.add_argument("--hazard", default="earthquake")
    parser.add_argument("--event", nargs="*", default=[], help="real events")
    parser.add_argument("--labels", type=int, default=25, help="a class")
    parser.add_argument("--no-rival", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON lines; appended to")
    arguments = parser.parse_args()
    print(json.dumps(processor()))
    for each in [*(arguments.buildings or ([] if arguments.event else [600])), *arguments.event]:
        with tempfile.TemporaryDirectory(prefix="road-") as place:
            folder = Path(place)
            print(f"{each}:", flush=True)
            simulated = isinstance(each, int)
            inputs = Inputs.simulated(folder / "town", each, arguments.hazard) if simulated else Inputs.real(each)
            row = {"event": each, **processor(), **walk(inputs, folder, arguments.labels, rival=not arguments.no_rival)}
        print(json.dumps({name: value for name, value in row.items() if name != "stages"}), flush=True)
        if arguments.out:
            with arguments.out.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
