"""How many principal components of cached features are worth keeping, and in how many bits.

    python -m benchmarks.cached_components --truth WORKSPACE/town=truth.csv --events town

All features of an event's views are cached once; the regression that training on cached features starts from is then
fitted on their first components. AUROC on held-out blocks, draws as in `benchmarks.accuracy`, mean over seeds.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.accuracy import WORK, Buildings, draw, load_buildings
from benchmarks.feature_space import Shown, load_workspace_event, pairs_of
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.trainer.view_cache import TURNS
from damage_ssl.settings import PatchSettings

COMPONENTS = (16, 32, 64, 128, 256, 512, 0)
"""Zero is all of them."""

REGULARISATION = 10.0
"""scikit-learn's C on values whose squares sum to about 1, as in `instant`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", nargs="+", required=True)
    parser.add_argument("--truth", nargs="*", default=[], metavar="WORKSPACE/EVENT=CSV")
    parser.add_argument("--labels", nargs="+", type=int, default=[5, 10, 25])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    arguments = parser.parse_args()
    truths = {Path(place).name: (Path(place).parent, Path(csv)) for place, csv in pairs_of(arguments.truth)}
    settings = TrainSettings(network="cached-lite0", options={"cached_dimensions": 0})
    print("| Event, labels | " + " | ".join(str(each or "all") for each in COMPONENTS) + " | all, float32 |")
    print("|---" * (len(COMPONENTS) + 2) + "|")
    for event in arguments.events:
        place = truths.get(event)
        buildings = load_buildings(event, PatchSettings()) if place is None else load_workspace_event(event, *place)
        shown = Shown(event, buildings, settings, WORK / "all_views" / event)
        values = shown.values.astype(np.float32)  # [N, V, F]
        weak = values[:, : TURNS + settings_weak(settings)]
        flat = weak.reshape(-1, weak.shape[-1]).astype(np.float64)
        axes = np.linalg.eigh(flat.T @ flat)[1][:, ::-1].astype(np.float32)  # [F, F]
        exact = torch.stack(shown.standard_turns(), dim=1).numpy()  # [N, TURNS, F], never in 16 bits
        for labels in arguments.labels:
            line = []
            for count in COMPONENTS:
                seen = weak if not count else (weak @ axes[:, :count]).astype(np.float16).astype(np.float32)
                line.append(mean_auroc(seen, buildings, labels, arguments.seeds))
            line.append(mean_auroc(np.concatenate([exact, weak[:, TURNS:]], 1), buildings, labels, arguments.seeds))
            print(f"| {event}, {labels} | " + " | ".join(f"{each:.3f}" for each in line) + " |", flush=True)


def settings_weak(settings: TrainSettings) -> int:
    """How many weak views are cached beside the quarter turns."""
    return settings.options.cache.cached_weak


def mean_auroc(seen: NDArray[np.float32], buildings: Buildings, labels: int, seeds: list[int]) -> float:
    """Of the regression on all views of the labelled, mean over quarter turns of the others."""
    return float(np.mean([auroc(seen, buildings, labels, seed) for seed in seeds]))


def auroc(seen: NDArray[np.float32], buildings: Buildings, labels: int, seed: int) -> float:
    """One draw."""
    train_rows, test_rows = draw(buildings, labels, np.random.default_rng(seed))
    views = seen.shape[1]
    model = LogisticRegression(C=REGULARISATION / views, class_weight="balanced", max_iter=2000)
    model.fit(seen[train_rows].reshape(-1, seen.shape[2]), np.repeat(buildings.class_index[train_rows], views))
    turned = seen[test_rows, :TURNS].reshape(-1, seen.shape[2])
    p = model.predict_proba(turned)[:, 1].reshape(-1, TURNS).mean(axis=1)
    return float(roc_auc_score(buildings.class_index[test_rows], p))


if __name__ == "__main__":
    main()
