"""Views: what an operation costs, and affinity and diversity of the policies on real events.

    python -m benchmarks.views speed
    python -m benchmarks.views worth --events hurricane-harvey --labels 25 --seeds 0 1 2     # resumable

`worth` draws labels as `benchmarks.accuracy` does (blocks held out, none near them) and measures all policies on the
held-out blocks. Figures are of regressions on frozen features (`augmentation/frozen_scorer.py`).
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.accuracy import WORK, Buildings, draw, load_buildings, read_rows
from damage_ssl.learning.augmentation.affinity import Draw, measure, policies, single_operations
from damage_ssl.learning.augmentation.frozen_scorer import LabelledPairs
from damage_ssl.learning.pair_tensor import pair_bytes
from damage_ssl.settings import PatchSettings

PAIRS, SIZE_PX, ROUNDS = 448, 64, 5
"""The unlabelled pairs of a FixMatch step with 64 labelled and μ = 7."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "worth"])
    parser.add_argument("--events", nargs="+", default=["hurricane-harvey", "santa-rosa-wildfire"])
    parser.add_argument("--labels", type=int, default=25, help="of each class")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budget", type=float, default=0.0, help="seconds for single operations")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, default=WORK / "views.jsonl")
    arguments = parser.parse_args()
    if arguments.what == "speed":
        speed(torch.device(arguments.device))
        return
    done = {(row["event"], row["labels"], row["seed"]) for row in read_rows(arguments.results)}
    for event in arguments.events:
        seeds = [seed for seed in arguments.seeds if (event, arguments.labels, seed) not in done]
        if not seeds:
            continue
        buildings = load_buildings(event, PatchSettings())
        for seed in seeds:
            row = worth(buildings, arguments.labels, seed, arguments.budget)
            row |= {"event": event, "labels": arguments.labels, "seed": seed}
            arguments.results.parent.mkdir(parents=True, exist_ok=True)
            with arguments.results.open("a") as file:
                file.write(json.dumps(row) + "\n")
    table(arguments.results)


def speed(device: torch.device) -> None:
    """Milliseconds for a batch, the fastest of some rounds."""
    x = torch.rand(PAIRS, 7, SIZE_PX, SIZE_PX, device=device)
    for name, view in {**policies(), **single_operations()}.items():
        print(f"{name:<18}{1000 * fastest(view, x):8.1f} ms", flush=True)


def fastest(view: Draw, x: Tensor, clock: Callable[[], float] = time.perf_counter) -> float:
    times = []
    for seed in range(ROUNDS):
        generator = torch.Generator().manual_seed(seed)
        began = clock()
        view(x, generator)
        if x.is_cuda:
            torch.cuda.synchronize()
        times.append(clock() - began)
    return min(times)


def worth(buildings: Buildings, labels: int, seed: int, budget_s: float) -> dict[str, object]:
    """All policies measured on held-out blocks."""
    train, test = draw(buildings, labels, np.random.default_rng(seed))
    pixels, classes = pair_bytes(buildings.pairs), buildings.class_index
    return measure(part(pixels, classes, train, test), seconds=budget_s, seed=seed).to_json()


def part(pixels: Tensor, classes: np.ndarray, train: np.ndarray, validation: np.ndarray) -> LabelledPairs:
    return LabelledPairs(
        train=pixels[torch.from_numpy(train)],
        train_class=classes[train],
        validation=pixels[torch.from_numpy(validation)],
        validation_class=classes[validation],
    )


def table(results: Path) -> None:
    """Means over seeds as Markdown."""
    rows = list(read_rows(results))
    print("| Event | Labels a class | Views | Affinity | Diversity | Accuracy | Log loss | Seeds |")
    print("|---|---|---|---|---|---|---|---|")
    for event, labels in sorted({(row["event"], row["labels"]) for row in rows}):
        same = [row for row in rows if (row["event"], row["labels"]) == (event, labels)]
        for name in dict.fromkeys(each["name"] for row in same for each in row["rows"]):
            found = [each for row in same for each in row["rows"] if each["name"] == name]
            means = {
                key: np.mean([each[key] for each in found]) for key in ("affinity", "diversity", "accuracy", "loss")
            }
            figures = " | ".join(f"{value:.3f}" for value in means.values())
            print(f"| {event} | {labels} | {name} | {figures} | {len(found)} |")


if __name__ == "__main__":
    main()
