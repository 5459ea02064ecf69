"""What a prior model of simulated towns brings on real events: without labels, and with a few. Resumable.

    python -m benchmarks.prior_model                                   # every event, rows that are missing
    python -m benchmarks.prior_model --events hurricane-harvey --labels 5 --draws 2
    python -m benchmarks.prior_model --most 600                        # at most so many buildings an event, in groups
    python -m benchmarks.prior_model --table                           # the rows as Markdown

Without a label: AUROC over all graded buildings of the change score, of the prior model of the event's hazard, of both
(`evaluation.first_map`) without and with neighbours. With k labels a class: draws at random, the same for every method;
a logistic regression on the event's own pair features, its log-odds in the spatial stack, without and with the prior
model as a further column; measured on all graded buildings that were not drawn. Damaged = major-damage or destroyed.

`--most` describes groups of 50 neighbours drawn at random, so that a slow machine ends; rows say how many.
"""

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from damage_ssl import workflow
from damage_ssl.damage_scale import DEFAULT_SCHEME, LabelValue, scheme_named
from damage_ssl.evaluation.first_map import combined_score
from damage_ssl.evaluation.stacking.neighbourhood import Neighbourhood, neighbourhood
from damage_ssl.evaluation.stacking.stack import StackLabels, fit_stack
from damage_ssl.events.event import Event, list_events
from damage_ssl.events.inputs import EventInputs
from damage_ssl.labels.label_csv import read_label_csv
from damage_ssl.learning.features.pair_features import CONTEXT, PairFeatures, describe, make_pair_features
from damage_ssl.learning.features.perceptual_distance import measure_unit, pair_distances
from damage_ssl.learning.networks.efficientnet_lite0 import PooledLite0
from damage_ssl.learning.prior.hazards import ALL, models_for, packaged_model
from damage_ssl.learning.prior.model import prior_log_odds
from damage_ssl.patches.store import PatchStore
from damage_ssl.patches.wide_view import WideViews
from damage_ssl.runs.change_score import change_scale

SCHEME = scheme_named(DEFAULT_SCHEME)
WORK = Path("benchmarks/scratch/prior")
GROUP = 50
OWN_C = 0.01
FOLDS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """The graded buildings of an event: standardised features [N, F], classes [N], places [N, 2], change score [N],
    and the log-odds [N] of prior models by name; `hazard` are the names of those for the event's hazard."""

    features: NDArray[np.float32]
    damaged: NDArray[np.bool_]
    place: NDArray[np.float64]
    change: NDArray[np.float64]
    prior: dict[str, NDArray[np.float64]]
    near: Neighbourhood


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", nargs="+")
    parser.add_argument("--labels", nargs="+", type=int, default=[5, 10, 25])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--most", type=int, help="buildings of an event that are looked at")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    results = arguments.work / "prior_model.jsonl"
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    if arguments.table:
        print(table(rows))
        return
    done = {(row["event"], row["labels"], row["draw"], row["most"]) for row in rows}
    source = Path(os.environ.get("DAMAGE_SSL_SHARED", "../shared")) / "data" / "events"
    names = arguments.events or sorted(path.parent.name for path in source.glob("*/labels.csv"))
    for name in names:
        wanted = [(name, k, draw, arguments.most) for k, draw in cases(arguments.labels, arguments.draws)]
        todo = [case for case in wanted if case not in done]
        if not todo:
            continue
        material = load(arguments.work / "events", source / name, arguments.most)
        for case in todo:
            row = measure(material, case[1], case[2])
            if row is None:
                continue
            keys = dict(zip(("event", "labels", "draw", "most"), case, strict=True))
            row = keys | {"buildings": len(material.damaged), "damaged": int(material.damaged.sum())} | row
            with results.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)


def cases(labels: list[int], draws: int) -> Iterator[tuple[int, int]]:
    """Labels a class and number of the draw; without labels there is one."""
    yield 0, 0
    yield from ((k, draw) for k in labels for draw in range(draws))


def load(workspace: Path, source: Path, most: int | None) -> Material:
    """Cut and describe an event, or open it."""
    name = source.name
    if name in list_events(workspace):
        event = Event.open(workspace, name)
    else:
        inputs = EventInputs(
            pre=[str(source / "pre")], post=[str(source / "post")], footprints=[source / "footprints.geojson"]
        )
        event = workflow.create_event(workspace, name, inputs)
    store = workflow.cut_patches(event)
    features = make_pair_features(event) if most is None else sample(event, store, most)
    grades = {row.building_id: row.value for row in read_label_csv(source / "labels.csv", labeller="truth").rows}
    classes = [SCHEME.index_of(grades.get(b, LabelValue.UNCLASSIFIED)) for b in features.building_id.tolist()]
    graded = np.array([each is not None for each in classes])
    ids = features.building_id[graded]
    where = store.index().set_index("building_id").loc[ids, ["x_m", "y_m"]].to_numpy(float)
    unit = measure_unit(store, features.building_id, np.random.default_rng(0))
    change = unit.change(pair_distances(store.load(ids)))
    names = (*models_for(event.hazard), ALL)
    return Material(
        features=np.concatenate(list(features.standardised()))[graded],
        damaged=np.array([bool(each) for each in classes if each is not None]),
        place=where,
        change=change_scale(change, unit.unrelated).score(change),
        prior={
            "hazard": prior_log_odds([packaged_model(each) for each in models_for(event.hazard)], features)[graded],
            **{each: prior_log_odds([packaged_model(each)], features)[graded] for each in names},
        },
        near=neighbourhood(where),
    )


def sample(event: Event, store: PatchStore, most: int) -> PairFeatures:
    """Features of groups of neighbours drawn at random, `most` buildings in all; kept beside the event."""
    path = event.path / f"sample-{most}.npz"
    if not path.exists():
        plan = WideViews(
            event.footprints(), *event.pre_and_post(), store.index(), store.settings, CONTEXT, most_together=GROUP
        )
        network, parts, ids = PooledLite0(), [], []
        for number in np.sort(np.random.default_rng(0).permutation(len(plan))[: -(-most // GROUP)]):
            ids.append(plan.building_id[plan.starts[number] : plan.starts[number + 1]])
            parts.append(describe(network, store.load(ids[-1]).close, plan.cut(int(number))).astype(np.float16))
        np.savez(path, building_id=np.concatenate(ids), values=np.concatenate(parts))
    with np.load(path) as file:
        return PairFeatures(file["building_id"], file["values"], store.fingerprint)


def measure(material: Material, labels: int, draw: int) -> dict[str, Any] | None:
    """AUROC of each method; None where the event has too few of a class."""
    damaged = material.damaged
    if min(damaged.sum(), (~damaged).sum()) < labels + 5:
        return None
    if labels == 0:
        nobody = neighbourhood(np.column_stack([np.arange(len(damaged)) * 1e6, np.zeros(len(damaged))]))
        alone = combined_score(material.change, material.prior["hazard"], nobody)
        both = combined_score(material.change, material.prior["hazard"], material.near)
        scores = {"change": material.change, "prior + change": alone, "first map": both}
        scores |= {f"prior {name}": values for name, values in material.prior.items()}
        return {name: round(float(roc_auc_score(damaged, values)), 4) for name, values in scores.items()}
    rng = np.random.default_rng([draw, labels])
    rows = np.concatenate([rng.choice(np.flatnonzero(damaged == kind), labels, replace=False) for kind in (1, 0)])
    own = regression(material.features, rows, damaged)
    unseen, fold = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.intp)
    parts = StratifiedKFold(min(FOLDS, labels), shuffle=True, random_state=draw)
    for number, (kept, held) in enumerate(parts.split(rows, damaged[rows])):
        unseen[held] = regression(material.features, rows[kept], damaged)[rows[held]]
        fold[held] = number
    known = StackLabels(rows=rows, damaged=damaged[rows], unseen=unseen, fold=fold)
    stack = fit_stack(material.place, own, known, near=material.near)
    others = {"prior": material.prior["hazard"]}
    with_prior = fit_stack(material.place, own, known, others=others, near=material.near)
    rest = np.setdiff1d(np.arange(len(damaged)), rows)
    scores = {"own": own, "own + stack": stack.log_odds, "own + prior + stack": with_prior.log_odds}
    found = {name: round(float(roc_auc_score(damaged[rest], values[rest])), 4) for name, values in scores.items()}
    return found | {"prior weight": round(float(with_prior.facts.weights.get("prior", 0.0)), 3)}


def regression(
    features: NDArray[np.float32], rows: NDArray[np.intp], damaged: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Log-odds of all buildings by a logistic regression on these rows."""
    model = LogisticRegression(C=OWN_C, class_weight="balanced", max_iter=200, tol=1e-3)
    model.fit(features[rows], damaged[rows])
    return np.asarray(features @ model.coef_[0].astype(np.float32) + model.intercept_[0], dtype=np.float64)


def table(rows: list[dict[str, Any]]) -> str:
    """Means over draws as Markdown, without labels and with."""
    found = pd.DataFrame(rows)
    without = found[found["labels"] == 0].set_index("event")
    shown = ["buildings", "damaged", "change", "prior hazard", "prior all", "prior + change", "first map"]
    text = without[shown].round(3).to_markdown()
    few = found[found["labels"] > 0].groupby(["event", "labels"])
    columns = ["own", "own + stack", "own + prior + stack", "prior weight"]
    means = few[columns].mean().assign(draws=few.size()).round(3)
    return f"{text}\n\n{means.reset_index().to_markdown(index=False)}"


if __name__ == "__main__":
    main()
