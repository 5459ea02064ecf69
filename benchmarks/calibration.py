"""Calibration error and F1 at the chosen threshold, before cross-fitting and with it, on real events.

`OMP_NUM_THREADS=1 python -m benchmarks.calibration WORKSPACE --truth EVENTS [--events E …] [--methods probe cached]`

The workspace holds the events with patches and features (`damage-ssl init`, `patches`, `features`); EVENTS is the
folder with `<event>/labels.csv`. Each draw labels `--chosen` buildings a class and `--random` more over the event.

- before: three quarters of the labels are learned from, the last quarter chooses temperature and threshold, by
  `evaluation/calibration.py` as it was in `--before` (a commit, read with git).
- quarter: the same quarter, with the map and threshold of now: what becomes of runs that are not cross-fitted.
- after: all labels are learned from, and calibrated by what a training without its fold says of each.

Measured on all graded buildings without a label, which count by class as many as the event has (labels chosen by class
leave fewer damaged ones). `floor` is the error that perfectly calibrated probabilities of the same values would show on
so few buildings, `gone` the error by which the mean probability misses the share of damaged buildings.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
from sklearn.metrics import roc_auc_score

from damage_ssl.damage_scale import scheme_named
from damage_ssl.evaluation.calibration import calibrate
from damage_ssl.evaluation.spatial_blocks import spatial_folds, split_by_position
from damage_ssl.events.event import Event
from damage_ssl.labels.label_csv import known_grades
from damage_ssl.learning.features.linear_probe import fit_linear_probe
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.patches.store import PatchStore
from damage_ssl.runs.live import read_features
from damage_ssl.settings import SplitSettings

SCHEME = scheme_named("binary-major")
SPLIT = SplitSettings()
Fit = Callable[[np.ndarray, int], np.ndarray]
"""Labelled rows and a seed → raw probabilities [N, 2] of all buildings."""


@dataclass(frozen=True, kw_only=True)
class Buildings:
    """The assessed buildings of an event; `classes` is -1 without a grade."""

    event: Event
    building_id: np.ndarray
    classes: np.ndarray
    x_m: np.ndarray
    y_m: np.ndarray


def load(workspace: Path, name: str, truth: Path) -> Buildings:
    event = Event.open(workspace, name)
    index = PatchStore.open(event.patches_path).index()
    index = index[index["assessed"].to_numpy(bool)]
    known = known_grades(truth / name / "labels.csv", SCHEME).set_index("building_id")["class_index"]
    classes = known.reindex(index["building_id"]).fillna(-1).to_numpy(np.int64)
    return Buildings(
        event=event,
        building_id=index["building_id"].to_numpy(str),
        classes=classes,
        x_m=index["x_m"].to_numpy(float),
        y_m=index["y_m"].to_numpy(float),
    )


def probe(buildings: Buildings) -> Fit:
    """The live model's linear probe, which is what a frozen run fits too."""
    features = read_features(buildings.event)
    order = np.array([features.row_of[each] for each in buildings.building_id])
    values = features.values[order]
    return lambda rows, _: fit_linear_probe(values, rows, buildings.classes[rows])


def cached(buildings: Buildings, algorithm: str = "mixmatch") -> Fit:
    """A head trained on kept features of views by the defaults of `--network cached-lite0`."""
    from damage_ssl.learning.checkpoints import load_model
    from damage_ssl.learning.trainer.data import Targets, make_task
    from damage_ssl.learning.trainer.view_sources import CachedViews
    from damage_ssl.learning.training import train
    from damage_ssl.learning.training_folder import TrainingFolder

    pairs, ids = PatchStore.open(buildings.event.patches_path).load(buildings.building_id), buildings.building_id
    cache = buildings.event.path / "views"

    def fit(rows: np.ndarray, seed: int) -> np.ndarray:
        settings = TrainSettings(algorithm=algorithm, network="cached-lite0", seed=seed, device="cpu")
        nobody = ids[:0], np.zeros(0, dtype=np.int64)
        targets = Targets(
            train_id=ids[rows],
            train_class=buildings.classes[rows],
            validation_id=nobody[0],
            validation_class=nobody[1],
        )
        with tempfile.TemporaryDirectory() as place:
            folder = TrainingFolder(Path(place))
            train(pairs, targets, settings, folder, cache=cache)
            task = make_task(pairs, targets, settings, folder, lambda _: None, lambda: False, cache)
            return CachedViews(task).predict(load_model(folder)[0], np.arange(len(ids)))

    return fit


METHODS: dict[str, Callable[[Buildings], Fit]] = {
    "probe": probe,
    "cached-mixmatch": cached,
    "cached-fixmatch": partial(cached, algorithm="fixmatch"),
}


def calibration_of(commit: str) -> ModuleType:
    """`evaluation/calibration.py` as it was."""
    path = f"{commit}:damage_ssl/evaluation/calibration.py"
    source = subprocess.run(["git", "show", path], capture_output=True, text=True, check=True).stdout
    module = ModuleType("calibration_before")
    sys.modules[module.__name__] = module
    exec(compile(source, path, "exec"), module.__dict__)
    return module


def draw(buildings: Buildings, chosen: int, random: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the labels, and which of them are drawn at random: first these, over all; then some of each class."""
    rng = np.random.default_rng(seed)
    at_random = rng.permutation(np.flatnonzero(buildings.classes >= 0))[:random]
    rows = [at_random]
    for each in range(len(SCHEME)):
        left = np.setdiff1d(np.flatnonzero(buildings.classes == each), at_random)
        rows.append(rng.permutation(left)[:chosen])
    found = np.concatenate(rows)
    return found, np.isin(found, at_random)


def scores(buildings: Buildings, p: np.ndarray, threshold: float, labelled: np.ndarray) -> dict[str, float]:
    """On the graded buildings without a label, weighted by class as the event has them."""
    graded = buildings.classes >= 0
    test = graded.copy()
    test[labelled] = False
    damaged, p = buildings.classes[test] >= SCHEME.damaged_from, p[test]
    share = (buildings.classes[graded] >= SCHEME.damaged_from).mean()
    weight = np.where(damaged, share / damaged.mean(), (1 - share) / (1 - damaged.mean()))
    called = p >= threshold
    rng = np.random.default_rng(0)
    perfect = [ece(p, (rng.random(len(p)) < p).astype(float), np.ones(len(p))) for _ in range(50)]
    hit = (weight * (called & damaged)).sum()
    return {
        "auroc": float(roc_auc_score(damaged, p)),
        "ece": ece(p, damaged.astype(float), weight),
        "floor": float(np.mean(perfect)),
        "gone": float(np.average(p, weights=weight) - share),
        "f1": float(2 * hit / ((weight * called).sum() + (weight * damaged).sum())),
        "test": len(p),
        "share": float(share),
    }


def ece(p: np.ndarray, damaged: np.ndarray, weight: np.ndarray) -> float:
    place = np.minimum((p * 10).astype(int), 9)
    return float(np.abs(np.bincount(place, weight * (damaged - p), 10)).sum() / weight.sum())


def before(
    buildings: Buildings, fit: Fit, rows: np.ndarray, drawn: np.ndarray, seed: int, old: ModuleType
) -> dict[str, tuple[np.ndarray, float]]:
    """Calibrated P(damaged) and threshold of `before` and `quarter`."""
    names = np.array(SCHEME.class_names)[buildings.classes[rows]]
    at = buildings.x_m[rows], buildings.y_m[rows]
    parts = split_by_position(buildings.building_id[rows], *at, names, SPLIT, np.random.default_rng(seed))
    out = np.isin(buildings.building_id[rows], parts.validation)
    held = rows[out]
    raw = fit(np.setdiff1d(rows, held), seed)
    found = old.calibrate(raw[held], buildings.classes[held], SCHEME)
    now = calibrate(raw[held], buildings.classes[held], SCHEME, random=drawn[out])
    return {
        "before": (old.scale_probabilities(raw, found.temperature)[:, 1], found.threshold),
        "quarter": (now.apply(raw, SCHEME)[:, 1], now.threshold),
    }


def after(
    buildings: Buildings, fit: Fit, rows: np.ndarray, drawn: np.ndarray, seed: int
) -> tuple[np.ndarray, float, float]:
    """Calibrated P(damaged), the threshold, and how long the cross-fitting took."""
    classes = buildings.classes[rows]
    divided = spatial_folds(buildings.x_m[rows], buildings.y_m[rows], classes, SPLIT)
    assert divided is not None
    begun, unseen = time.perf_counter(), np.empty((len(rows), len(SCHEME)))
    for each in np.unique(divided[0]):
        held = divided[0] == each
        unseen[held] = fit(rows[~held], seed)[rows[held]]
    spent = time.perf_counter() - begun
    found = calibrate(unseen, classes, SCHEME, random=drawn, cross_fitted=True)
    return found.apply(fit(rows, seed), SCHEME)[:, 1], found.threshold, spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--events", nargs="+", required=True)
    parser.add_argument("--methods", nargs="+", default=["probe"], choices=METHODS)
    parser.add_argument("--chosen", type=int, default=25)
    parser.add_argument("--random", type=int, nargs="+", default=[50, 0])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--before", default="9b1ea88")
    parser.add_argument("--results", type=Path, help="JSON lines of every draw")
    options = parser.parse_args()
    old, names = calibration_of(options.before), ("auroc", "ece", "floor", "gone", "f1")
    print("| event | method | chosen a class | random | when | AUROC | ECE | floor | mean p − share | F1 | s |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for event in options.events:
        buildings = load(options.workspace, event, options.truth)
        for method in options.methods:
            fit = METHODS[method](buildings)
            for random in options.random:
                rows_of: dict[str, list[dict[str, float]]] = {"before": [], "quarter": [], "after": []}
                spent = []
                for seed in range(options.draws):
                    rows, drawn = draw(buildings, options.chosen, random, seed)
                    for when, said in before(buildings, fit, rows, drawn, seed, old).items():
                        rows_of[when].append(scores(buildings, *said, rows))
                    p, threshold, seconds = after(buildings, fit, rows, drawn, seed)
                    rows_of["after"].append(scores(buildings, p, threshold, rows))
                    spent.append(seconds)
                for when, found in rows_of.items():
                    mean = {name: np.mean([each[name] for each in found]) for name in names}
                    sd = {name: np.std([each[name] for each in found]) for name in ("ece", "f1")}
                    print(
                        f"| {event} | {method} | {options.chosen} | {random} | {when} | {mean['auroc']:.3f} "
                        f"| {mean['ece']:.3f} ± {sd['ece']:.3f} | {mean['floor']:.3f} | {mean['gone']:+.3f} "
                        f"| {mean['f1']:.3f} ± {sd['f1']:.3f} | {np.mean(spent) if when == 'after' else 0:.1f} |",
                        flush=True,
                    )
                    if options.results is not None:
                        with options.results.open("a", encoding="utf-8") as file:
                            case = {"event": event, "method": method, "chosen": options.chosen, "random": random}
                            file.write(json.dumps({**case, "when": when, "draws": found}) + "\n")


if __name__ == "__main__":
    main()
