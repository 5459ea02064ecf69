"""AUROC on held-out blocks: algorithm × labels a class × seed, on real events. Resumable; run it in the background.

    python -m benchmarks.accuracy                                  # the whole table
    python -m benchmarks.accuracy --events hurricane-harvey --algorithms fixmatch frozen-lite0 --labels 10 --seeds 0

Protocol. An event is divided into square blocks of `BLOCK_M` metres. For each seed, blocks drawn at random are held out
until they hold `TEST_SHARE` of each class; k labels a class are drawn at random from the other blocks, none nearer than
`BUFFER_M` to a held-out building, so that no labelled patch shows a pixel of a held-out one. Every algorithm gets the
same draw. The pixels of all buildings, also of the held-out ones, may be used without labels, as in a real event. No
early stopping and no choice on the held-out blocks: the last (EMA) weights are measured. Damaged = major-damage or
destroyed.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from sklearn.metrics import roc_auc_score

from damage_ssl.damage_scale import LabelValue, scheme_named
from damage_ssl.evaluation.spatial_blocks import block_of
from damage_ssl.events.event import Event, list_events
from damage_ssl.labels.label_csv import read_label_csv
from damage_ssl.learning.known_probabilities import KnownProbabilities
from damage_ssl.learning.predictor import load_predictor
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.trainer.data import Targets
from damage_ssl.learning.training import train
from damage_ssl.patches.pairs import PairSet
from damage_ssl.runs.run import Run
from damage_ssl.settings import PatchSettings, from_mapping
from damage_ssl.workflow import cut_patches

ALGORITHMS = (
    "supervised-weak",
    "supervised-strong",
    "mixmatch",
    "fixmatch",
    "frozen-random-post",
    "frozen-random",
    "frozen-lite0",
    "frozen-start",
)
EVENTS = ("santa-rosa-wildfire", "hurricane-harvey")
SCHEME = scheme_named("binary-major")
BLOCK_M = 150.0
BUFFER_M = 32.0
TEST_SHARE = 0.3
LEAST_POOL = 50
WORK = Path("benchmarks/scratch")


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    event: str
    algorithm: str
    labels: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Buildings:
    """An event's graded, assessable buildings, row by row with the pairs."""

    pairs: PairSet
    class_index: np.ndarray
    x_m: np.ndarray
    y_m: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", nargs="+", default=EVENTS)
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS)
    parser.add_argument("--labels", nargs="+", type=int, default=[10, 50])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="train or patches settings to try")
    parser.add_argument("--name", default="default", help="name of this group of settings in the results")
    parser.add_argument("--keep", type=Path, help="folder for the probabilities of each case")
    parser.add_argument("--results", type=Path, default=WORK / "accuracy.jsonl")
    arguments = parser.parse_args()
    patches, settings = chosen_settings(arguments.set)
    done = {(row["name"], *key_of(row)) for row in read_rows(arguments.results)}
    # Seeds in the outer loop: a table that was stopped early has every algorithm at fewer seeds.
    for seed in arguments.seeds:
        for event in arguments.events:
            cases = [Case(event, algorithm, k, seed) for k in arguments.labels for algorithm in arguments.algorithms]
            todo = [case for case in cases if (arguments.name, *vars(case).values()) not in done]
            if not todo:
                continue
            buildings = load_buildings(event, patches)
            for case in todo:
                row = measure(case, buildings, settings, arguments.keep) | {
                    "name": arguments.name,
                    "set": arguments.set,
                }
                arguments.results.parent.mkdir(parents=True, exist_ok=True)
                with arguments.results.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(f"{row['auroc']:.3f}  {row['seconds']:5.0f} s  {arguments.name}  {case}", flush=True)


def measure(case: Case, buildings: Buildings, settings: TrainSettings, keep: Path | None = None) -> dict[str, Any]:
    """Train on one draw of labels and measure on the held-out blocks; probabilities of all buildings go to `keep`."""
    train_rows, test_rows = draw(buildings, case.labels, np.random.default_rng(case.seed))
    options = settings.given if case.algorithm == settings.algorithm else {}
    chosen = settings.replace(algorithm=case.algorithm, seed=case.seed, options=options)
    ids = buildings.pairs.building_id
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        targets = Targets(
            train_id=ids[train_rows],
            train_class=buildings.class_index[train_rows],
            validation_id=ids[:0],
            validation_class=buildings.class_index[:0],
        )
        train(buildings.pairs, targets, chosen, run, cache=WORK / "views")
        known = KnownProbabilities.read(run)
        probabilities = known.probabilities if known else load_predictor(run).predict(buildings.pairs)
        seconds = time.monotonic() - started
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        np.savez(keep / f"{'_'.join(map(str, vars(case).values()))}.npz", probabilities=probabilities, test=test_rows)
    auroc = roc_auc_score(buildings.class_index[test_rows], probabilities[test_rows, SCHEME.damaged_from :].sum(axis=1))
    return {**vars(case), "auroc": float(auroc), "seconds": seconds, "test": len(test_rows)}


def draw(buildings: Buildings, labels: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on (`labels` a class) and rows to test on, from different blocks."""
    where = np.stack([buildings.x_m, buildings.y_m], axis=1)
    block = block_of(buildings.x_m, buildings.y_m, BLOCK_M)
    is_class = [buildings.class_index == index for index in (0, 1)]
    for _ in range(200):
        test = np.zeros(len(block), dtype=bool)
        for name in rng.permutation(np.unique(block)):
            if min((test & each).sum() / each.sum() for each in is_class) >= TEST_SHARE:
                break
            test |= block == name
        apart = cKDTree(where[test]).query(where)[0] >= BUFFER_M
        pools = [np.flatnonzero(apart & each) for each in is_class]
        if min(map(len, pools)) >= max(labels, LEAST_POOL):
            return np.concatenate([rng.permutation(pool)[:labels] for pool in pools]), np.flatnonzero(test)
    raise SystemExit(
        f"{labels} labels a class: no choice of blocks leaves enough buildings of both classes to draw from"
    )


def load_buildings(name: str, patches: PatchSettings) -> Buildings:
    """Cut the event's patches (kept between runs) and join them with its grades."""
    source = Path(os.environ.get("DAMAGE_SSL_SHARED", "../shared")) / "data" / "events" / name
    tag = "_".join(f"{value}" for value in patches.model_dump().values())
    workspace = WORK / "events" / tag
    if name not in list_events(workspace):
        Event.create(
            workspace,
            name,
            pre=[source / "pre"],
            post=[source / "post"],
            footprints=source / "footprints.geojson",
        )
    store = cut_patches(Event.open(workspace, name), patches)
    grades = {row.building_id: row.value for row in read_label_csv(source / "labels.csv", labeller="truth").rows}
    index = store.index().set_index("building_id")
    pairs = store.load()
    classes = [
        SCHEME.index_of(grades.get(building, LabelValue.UNCLASSIFIED)) for building in pairs.building_id.tolist()
    ]
    graded = np.flatnonzero([c is not None for c in classes])
    pairs = pairs.take(graded)
    where = index.loc[pairs.building_id]
    return Buildings(
        pairs=pairs,
        class_index=np.array([classes[row] for row in graded], dtype=np.int64),
        x_m=where["x_m"].to_numpy(float),
        y_m=where["y_m"].to_numpy(float),
    )


def chosen_settings(assignments: list[str]) -> tuple[PatchSettings, TrainSettings]:
    """Settings from `key=value`, `patches.key=value` or `options.key=value`; values are JSON or plain text."""
    tables: dict[str, dict[str, Any]] = {"train": {}, "patches": {}, "options": {}}
    for assignment in assignments:
        key, _, text = assignment.partition("=")
        table, _, name = key.rpartition(".")
        try:
            tables[table or "train"][name] = json.loads(text)
        except json.JSONDecodeError:
            tables[table or "train"][name] = text
    train_values = tables["train"] | ({"options": tables["options"]} if tables["options"] else {})
    return from_mapping(PatchSettings, tables["patches"], "--set"), from_mapping(TrainSettings, train_values, "--set")


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["event"], row["algorithm"], row["labels"], row["seed"]


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        yield from (json.loads(line) for line in path.read_text().splitlines() if line)


if __name__ == "__main__":
    main()
