"""What the spatial stack adds to a linear probe on frozen features, on real events. Resumable; rows go to a file.

    python -m benchmarks.spatial_stack WORKSPACE --truth EVENTS --results rows.jsonl      # draws of labels by class
    python -m benchmarks.spatial_stack WORKSPACE --truth EVENTS --results rows.jsonl --labels 25 --random 50
    python -m benchmarks.spatial_stack WORKSPACE --results rows.jsonl --report

The workspace holds the events with patches and features (`damage-ssl init`, `patches`, `features`); EVENTS is the
folder with `<event>/labels.csv`. Damaged = major-damage or destroyed. Each draw labels so many buildings a class, and
`--random` more over the event. Measured on all other graded buildings (random), or on blocks of 150 m of which no
building, nor any within 32 m, may be labelled (blocks). By the same probe and the same labels:

- image: the probe alone; stack: after the spatial stack; places: the kriged map of the labels, no image.
- mrf: instead of the stack a Markov random field on the same graph by mean-field inference (Potts coupling by
  cross-validation on the labels; after arXiv:2201.10389), labelled buildings clamped.
- shuffled: what the stack changes where every building has another one's place (its folds stay).

ECE and F1 are of the calibration by the cross-fitted labels, buildings counted by class as the event has them.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import KDTree
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from damage_ssl.damage_scale import scheme_named
from damage_ssl.evaluation.calibration import calibrate, damaged_log_odds, damaged_probability
from damage_ssl.evaluation.label_issues import labelled_blocks, probes_without
from damage_ssl.evaluation.spatial_blocks import block_folds, block_of
from damage_ssl.evaluation.stacking.label_map import krige_labels
from damage_ssl.evaluation.stacking.neighbourhood import Neighbourhood, neighbourhood
from damage_ssl.evaluation.stacking.stack import SURE, StackLabels, fit_stack
from damage_ssl.evaluation.stacking.weights import fit_weights
from damage_ssl.events.event import Event, list_events
from damage_ssl.labels.label_csv import known_grades
from damage_ssl.learning.features.linear_probe import fit_linear_probe
from damage_ssl.patches.store import PatchStore
from damage_ssl.runs.live import read_features

SCHEME = scheme_named("binary-major")
BLOCK_M, BUFFER_M, TEST_SHARE, TRIES = 150.0, 32.0, 0.3, 300
LEAST_TESTED = 5
COUPLINGS = (0.0, 0.5, 1.0, 2.0, 4.0)
ROUNDS = 30


@dataclass(frozen=True, kw_only=True)
class Buildings:
    """The assessed buildings of an event: features, places in metres, classes (-1 without a grade)."""

    values: np.ndarray
    place: np.ndarray
    classes: np.ndarray
    near: Neighbourhood


def load(workspace: Path, name: str, truth: Path) -> Buildings:
    event = Event.open(workspace, name)
    features = read_features(event)
    index = PatchStore.open(event.patches_path).index().set_index("building_id").loc[features.building_id.tolist()]
    known = known_grades(truth / name / "labels.csv", SCHEME).set_index("building_id")["class_index"]
    place = index[["x_m", "y_m"]].to_numpy(float)
    return Buildings(
        values=np.array(features.values),
        place=place,
        classes=known.reindex(features.building_id.tolist()).fillna(-1).to_numpy(np.int64),
        near=neighbourhood(place),
    )


def draw(
    b: Buildings, labels: int, random: int, blocks: bool, rng: np.random.Generator
) -> tuple[np.ndarray, ...] | None:
    """Labelled rows, how many of them (the first) are drawn at random, and rows to measure on; None: too few."""
    graded = np.flatnonzero(b.classes >= 0)
    pool, test = graded, graded
    if blocks:
        found = _held_out(b, labels + random // 2, rng)
        if found is None:
            return None
        pool, test = found
    drawn = rng.permutation(pool)[:random]
    rest = np.setdiff1d(pool, drawn)
    chosen = [rng.permutation(rest[b.classes[rest] == kind])[:labels] for kind in (0, 1)]
    if min(map(len, chosen)) < labels:
        return None
    rows = np.concatenate([drawn, *chosen])
    test = np.setdiff1d(test, rows)
    if min((b.classes[test] == kind).sum() for kind in (0, 1)) < LEAST_TESTED:
        return None
    return rows, np.arange(len(rows)) < random, test


def _held_out(b: Buildings, least: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    block, graded = block_of(b.place[:, 0], b.place[:, 1], BLOCK_M), b.classes >= 0
    kinds = [b.classes == kind for kind in (0, 1)]
    for _ in range(TRIES):
        test = np.zeros(len(block), dtype=bool)
        for name in rng.permutation(np.unique(block)):
            if min((test & kind).sum() / max(kind.sum(), 1) for kind in kinds) >= TEST_SHARE:
                break
            test |= block == name
        apart = KDTree(b.place[test]).query(b.place)[0] >= BUFFER_M
        if min((apart & kind).sum() for kind in kinds) >= least:
            return np.flatnonzero(apart & graded), np.flatnonzero(test & graded)
    return None


def measure(
    b: Buildings, rows: np.ndarray, drawn: np.ndarray, test: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    classes = b.classes[rows]
    own = damaged_log_odds(fit_linear_probe(b.values, rows, classes), SCHEME)
    fold = block_folds(labelled_blocks(b.place[rows, 0], b.place[rows, 1], BLOCK_M), classes)
    unseen, without = np.full(len(rows), np.nan), {}
    for each, said in probes_without(b.values, rows, classes, fold, n_classes=2):
        without[each] = damaged_log_odds(said, SCHEME)
        unseen[fold == each] = without[each][rows[fold == each]]
    labels = StackLabels(rows=rows, damaged=classes == 1, unseen=unseen, fold=fold)
    started = time.process_time()
    stacked = fit_stack(b.place, own, labels, near=b.near, own_without=without)
    spent = time.process_time() - started
    elsewhere = rng.permutation(b.place)
    shuffled = fit_stack(elsewhere, own, labels, own_without=without).log_odds
    places = krige_labels(b.place[rows], classes == 1, b.near.spacing_m).log_odds(b.place)
    field, field_unseen = markov_field(b.near, own, labels, without)
    truth = b.classes[test] == 1
    auroc = {
        name: float(roc_auc_score(truth, z[test]))
        for name, z in {"image": own, "stack": stacked.log_odds, "places": places, "mrf": field}.items()
    }
    found = {f"auroc_{name}": value for name, value in auroc.items()}
    found["shuffled"] = float(roc_auc_score(truth, shuffled[test])) - auroc["image"]
    for name, z, judged in (
        ("image", own, unseen),
        ("stack", stacked.log_odds, stacked.unseen),
        ("mrf", field, field_unseen),
    ):
        found |= {f"{key}_{name}": value for key, value in verdict(b, z, judged, rows, drawn, test).items()}
    return {**found, "place_share": stacked.facts.place_share, "ms": 1000 * spent, **stacked.facts.weights}


def verdict(
    b: Buildings, z: np.ndarray, judged: np.ndarray, rows: np.ndarray, drawn: np.ndarray, test: np.ndarray
) -> dict[str, float]:
    """ECE and F1 after calibration, each class counting as many as the event has."""
    known = np.isfinite(judged)
    found = calibrate(_two(judged[known]), b.classes[rows][known], SCHEME, random=drawn[known], cross_fitted=True)
    p, truth = damaged_probability(found.apply(_two(z[test]), SCHEME), SCHEME), b.classes[test] == 1
    weight = np.where(truth, *((b.classes == kind).sum() / (b.classes[test] == kind).sum() for kind in (1, 0)))
    called = p >= found.threshold
    f1 = 2 * (weight * called * truth).sum() / ((weight * called).sum() + (weight * truth).sum())
    bins = np.minimum((p * 10).astype(int), 9)
    gaps = np.bincount(bins, weights=weight * (p - truth), minlength=10)
    return {"ece": float(np.abs(gaps).sum() / weight.sum()), "f1": float(f1)}


def markov_field(
    near: Neighbourhood, own: np.ndarray, labels: StackLabels, without: dict[int, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds [N] of a Potts field by mean field, and of the labels without their fold."""
    nothing = np.zeros((len(labels.rows), 0))
    base = fit_weights(labels.unseen, nothing, (), labels.damaged, labels.fold)
    sign = np.where(labels.damaged, 1.0, -1.0)

    def inferred(score: np.ndarray, kept: np.ndarray, coupling: float) -> np.ndarray:
        unary = np.clip(base.intercept + base.own * score, -SURE, SURE)
        z = unary.copy()
        for _ in range(ROUNDS):
            state = 2 * expit(z) - 1
            state[labels.rows[kept]] = sign[kept]
            z = 0.5 * z + 0.5 * (unary + coupling * near.mean(state, state))
        return z

    unseen = np.full((len(COUPLINGS), len(sign)), np.nan)
    for fold in np.unique(labels.fold):
        held = labels.fold == fold
        for row, coupling in enumerate(COUPLINGS):
            unseen[row, held] = inferred(without.get(int(fold), own), ~held, coupling)[labels.rows[held]]
    best = int(np.logaddexp(0, -sign * unseen).mean(axis=1).argmin())
    everywhere = np.ones(len(sign), dtype=bool)
    return inferred(own, everywhere, COUPLINGS[best]), unseen[best]


def _two(z: np.ndarray) -> np.ndarray:
    return np.column_stack([expit(-z), expit(z)])


def rows_in(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        yield from (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line)


def report(path: Path) -> None:
    """The rows as a Markdown table, mean of the draws."""
    table = pd.DataFrame(rows_in(path)).dropna(subset=["auroc_image"])
    named = ["auroc_image", "auroc_stack", "auroc_mrf", "auroc_places", "shuffled", "ece_image", "ece_stack", "ece_mrf"]
    named += ["f1_image", "f1_stack", "place_share", "ms"]
    keys = ["event", "random", "labels", "blocks"]
    means = table.groupby(keys)[named].mean().join(table.groupby(keys).size().rename("draws")).reset_index()
    means["blocks"] = np.where(means["blocks"], "blocks", "random")
    print("| " + " | ".join(means.columns) + " |")
    print("|" + "---|" * len(means.columns))
    for values in means.itertuples(index=False):
        print("| " + " | ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in values) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--events", nargs="+")
    parser.add_argument("--labels", nargs="+", type=int, default=[5, 10, 25])
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    if options.report:
        report(options.results)
        return
    keys = ("event", "random", "labels", "blocks", "draw")
    done = {tuple(row[key] for key in keys) for row in rows_in(options.results)}
    for event in options.events or list_events(options.workspace):
        buildings = load(options.workspace, event, options.truth)
        # Draws in the outer loop: a table that was stopped early has every case at fewer draws.
        for number in range(options.draws):
            for labels in options.labels:
                for blocks in (False, True):
                    case = dict(zip(keys, (event, options.random, labels, blocks, number), strict=True))
                    if tuple(case.values()) in done:
                        continue
                    rng = np.random.default_rng(number)
                    drawn = draw(buildings, labels, options.random, blocks, rng)
                    found = {"auroc_image": None} if drawn is None else measure(buildings, *drawn, rng)
                    with options.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({**case, **found}) + "\n")


if __name__ == "__main__":
    main()
