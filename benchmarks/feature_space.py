"""AUROC of every algorithm on cached features: algorithm × labels a class × seed, on real events. Resumable, one JSON.

    python -m benchmarks.feature_space                        # the whole table
    python -m benchmarks.feature_space --report               # only print what was measured
    python -m benchmarks.feature_space --truth WORKSPACE/town=truth.csv --events town --labels 10     # another event

Protocol, events and draws are those of `benchmarks.accuracy`: held-out 150 m blocks, labels 32 m away from them, last
weights, nothing chosen on the test blocks. Beside the algorithms stand

* `frozen-lite0`: logistic regression on frozen EfficientNet-Lite0 features of the pair, the bar that is to be cleared;
* `frozen-start`: the same on the features that fine-tuning starts from, seen in four quarter turns;
* `cached-start`: the same on all cached views, weak and strong, where every algorithm here begins.

Figures are of the mean over four quarter turns, as a predictor takes it. Seconds are of one training, without making
the cache, which is in the JSON of its own. "closed" is (AUROC − bar) / (1 − bar) of the means.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.accuracy import SCHEME, WORK, Buildings, chosen_settings, draw, load_buildings
from damage_ssl.damage_scale import LabelValue
from damage_ssl.events.event import Event
from damage_ssl.files import read_json, write_json
from damage_ssl.labels.label_csv import read_label_csv
from damage_ssl.learning.algorithms import ALGORITHMS
from damage_ssl.learning.checkpoints import load_model
from damage_ssl.learning.features.embedding import embed, fit_head
from damage_ssl.learning.networks.pair_network import PairNetwork
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.trainer.data import Targets, Task, make_task
from damage_ssl.learning.trainer.initialisation import initialised_network
from damage_ssl.learning.trainer.view_cache import TURNS, open_cache
from damage_ssl.learning.training import train
from damage_ssl.patches.store import PatchStore
from damage_ssl.runs.run import Run

EVENTS = ("santa-rosa-wildfire", "hurricane-harvey")
LABELS = (10, 25, 50)
FROZEN = ("frozen-lite0", "frozen-start")
START = "cached-start"
BAR = "frozen-lite0"
METHODS = (*FROZEN, START, *ALGORITHMS, "noisy-student")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", nargs="+", default=EVENTS)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--labels", nargs="+", type=int, default=LABELS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="train settings or options to try")
    parser.add_argument("--name", default="default", help="name of this group of settings in the results")
    parser.add_argument("--truth", nargs="*", default=[], metavar="WORKSPACE/EVENT=CSV", help="events of a workspace")
    parser.add_argument("--results", type=Path, default=WORK / "feature_space.json")
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    results = read_json(arguments.results) if arguments.results.exists() else {"caches": {}, "rows": []}
    if not arguments.report:
        truths = {Path(place).name: (Path(place).parent, Path(csv)) for place, csv in pairs_of(arguments.truth)}
        for event in arguments.events:
            measure_event(event, truths, arguments, results)
    print(report(results, arguments.name))


def pairs_of(assignments: list[str]) -> list[tuple[str, str]]:
    """`a=b` as pairs."""
    return [(left, right) for left, _, right in (each.partition("=") for each in assignments)]


def measure_event(
    event: str, truths: dict[str, tuple[Path, Path]], arguments: argparse.Namespace, results: dict[str, Any]
) -> None:
    """Measure what is not yet in the results, and write them after each line."""
    done = {(row["name"], row["event"], row["method"], row["labels"], row["seed"]) for row in results["rows"]}
    todo = [
        (seed, labels, method)
        for seed in arguments.seeds
        for labels in arguments.labels
        for method in arguments.methods
        if (arguments.name, event, method, labels, seed) not in done
    ]
    if not todo:
        return
    patches, settings = chosen_settings(arguments.set)
    settings = settings.replace(network="cached-lite0")
    place = truths.get(event)
    buildings = load_buildings(event, patches) if place is None else load_workspace_event(event, *place)
    views = Shown(event, buildings, settings)
    key = f"{event}, {arguments.name}"
    if views.facts["seconds"] is not None or key not in results["caches"]:
        results["caches"][key] = views.facts
    for seed, labels, method in todo:
        train_rows, test_rows = draw(buildings, labels, np.random.default_rng(seed))
        started = time.monotonic()
        network, which = views.trained(method, settings.replace(seed=seed), train_rows)
        seconds = time.monotonic() - started
        p = views.predict(network, which, test_rows)
        truth = buildings.class_index[test_rows]
        row = {"name": arguments.name, "event": event, "method": method, "labels": labels, "seed": seed}
        row |= {"auroc": float(roc_auc_score(truth, p)), "seconds": seconds, "test": len(test_rows)}
        results["rows"].append(row | {"set": arguments.set})
        write_json(arguments.results, results)
        print(f"{row['auroc']:.3f}  {seconds:5.1f} s  {arguments.name}  {event} {method} {labels} {seed}", flush=True)


class Shown:
    """An event's buildings as each frozen network shows them, and what is trained on that."""

    def __init__(self, event: str, buildings: Buildings, settings: TrainSettings, cache: Path | None = None) -> None:
        self.buildings = buildings
        self.cache = cache or WORK / "views" / event
        with tempfile.TemporaryDirectory() as folder:
            task = self._task(Run(Path(folder)), settings, np.flatnonzero(buildings.class_index >= 0)[:2])
            started, processor = time.monotonic(), time.process_time()
            made_of = open_cache(task)
            made, processor = time.monotonic() - started, time.process_time() - processor
            self.facts = {
                "seconds": made if made > 2 else None,  # None: it was there before
                "processor_seconds": processor if made > 2 else None,
                "buildings": len(buildings.pairs),
                "views": int(made_of.values.shape[1]),
                "dimensions": int(made_of.values.shape[2]),
                "bytes": made_of.values.nbytes,
            }
            self._pixels = task.pixels
        self.values = made_of.values
        self._turns = {"cached": self._embedded(made_of.frozen.network)}
        self._frozen: dict[str, PairNetwork] = {"cached": made_of.frozen.network}

    def standard_turns(self) -> list[torch.Tensor]:
        """The four quarter turns as the cache's network standardises them, float32 [N, F] each."""
        network = self._frozen["cached"]
        return [(turn - network.feature_mean) * network.feature_scale for turn in self._turns["cached"]]

    def trained(self, method: str, settings: TrainSettings, rows: NDArray[np.intp]) -> tuple[PairNetwork, str]:
        """A network trained on these rows, and by which features it is to be shown the others."""
        if method in FROZEN:
            return self._regression(method, settings, rows), method
        if method == START:
            settings = settings.replace(steps=1, options={**settings.given, "start_weight": 1.0})
            method = "supervised-weak"
        with tempfile.TemporaryDirectory() as folder:
            run = Run(Path(folder))
            settings = settings.replace(algorithm=method)
            train(self.buildings.pairs, self._targets(rows), settings, run, cache=self.cache)
            return load_model(run)[0], "cached"

    def predict(self, network: PairNetwork, which: str, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """P(damaged) [n], mean over quarter turns."""
        with torch.no_grad():
            p = torch.stack([network.classify(turn[torch.from_numpy(rows)]).softmax(-1) for turn in self._turns[which]])
        return np.asarray(p.mean(dim=0)[:, SCHEME.damaged_from :].sum(dim=1).numpy(), dtype=np.float64)

    def _regression(self, method: str, settings: TrainSettings, rows: NDArray[np.intp]) -> PairNetwork:
        if method not in self._turns:
            with tempfile.TemporaryDirectory() as folder:
                plain = settings.replace(algorithm=method, network="efficientnet-lite0", seed=0)
                network = initialised_network(
                    self._task(Run(Path(folder)), plain, rows), torch.Generator().manual_seed(0)
                )
            self._frozen[method], self._turns[method] = network, self._embedded(network)
        network = self._frozen[method]
        features = torch.cat([turn[torch.from_numpy(rows)] for turn in self._turns[method]])
        classes = np.tile(self.buildings.class_index[rows], TURNS)
        fit_head(network, features, classes, regularisation=0.01 / TURNS)
        return network

    def _embedded(self, network: PairNetwork) -> list[torch.Tensor]:
        return [embed(network, self._pixels, quarter_turns=turn) for turn in range(TURNS)]

    def _targets(self, rows: NDArray[np.intp]) -> Targets:
        ids, classes = self.buildings.pairs.building_id, self.buildings.class_index
        return Targets(
            train_id=ids[rows], train_class=classes[rows], validation_id=ids[:0], validation_class=classes[:0]
        )

    def _task(self, run: Run, settings: TrainSettings, rows: NDArray[np.intp]) -> Task:
        both = np.concatenate([rows, [int(np.flatnonzero(self.buildings.class_index == each)[0]) for each in (0, 1)]])
        targets = self._targets(np.unique(both))
        return make_task(self.buildings.pairs, targets, settings, run, lambda _: None, lambda: False, cache=self.cache)


def load_workspace_event(event: str, workspace: Path, truth: Path) -> Buildings:
    """The graded buildings of an event whose patches are cut."""
    store = PatchStore.open(Event.open(workspace, event).patches_path)
    grades = {row.building_id: row.value for row in read_label_csv(truth, labeller="truth").rows}
    pairs = store.load()
    found = [SCHEME.index_of(grades.get(each, LabelValue.UNCLASSIFIED)) for each in pairs.building_id.tolist()]
    graded = np.flatnonzero([each is not None for each in found])
    where = store.index().set_index("building_id").loc[pairs.building_id[graded].tolist()]
    return Buildings(
        pairs=pairs.take(graded),
        class_index=np.array([found[row] for row in graded], dtype=np.int64),
        x_m=where["x_m"].to_numpy(float),
        y_m=where["y_m"].to_numpy(float),
    )


def report(results: dict[str, Any], name: str) -> str:
    """A Markdown table of means and standard deviations over seeds, and the share of what was missing to 1 closed."""
    cells: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    for row in results["rows"]:
        if row["name"] == name:
            cells[row["method"], row["event"], row["labels"]].append(row["auroc"])
            seconds[row["method"]].append(row["seconds"])
    columns = sorted({(event, labels) for _, event, labels in cells})
    head = " | ".join(f"{event}, {labels}" for event, labels in columns)
    every = sorted({labels for _, labels in columns})
    head += "".join(f" | closed at {labels}" for labels in every) + " | seconds"
    lines = [f"| Method | {head} |", "|---" * (len(columns) + len(every) + 2) + "|"]
    for method in (each for each in METHODS if each in seconds):
        line = [f"{np.mean(v):.3f} ± {np.std(v):.3f}" if (v := cells[method, *each]) else "" for each in columns]
        for labels in every:
            shares = [closed(cells[method, event, k], cells[BAR, event, k]) for event, k in columns if k == labels]
            line.append(f"{np.mean(known):+.2f}" if (known := [s for s in shares if s is not None]) else "")
        lines.append(f"| {method} | {' | '.join(line)} | {np.median(seconds[method]):.1f} |")
    caches = [f"{key}: {json.dumps(value)}" for key, value in results["caches"].items() if key.endswith(name)]
    return "\n".join([*lines, "", *caches])


def closed(values: list[float], bar: list[float]) -> float | None:
    """Share of what the bar's mean lacks to 1 that the mean of these values closes."""
    return float((np.mean(values) - np.mean(bar)) / (1 - np.mean(bar))) if values and bar else None


if __name__ == "__main__":
    main()
