"""AUROC of the first map without labels on every event, against plain differences and other designs of the same score.

    python -m benchmarks.perceptual_change                         # four real and four simulated events
    python -m benchmarks.perceptual_change --align off             # on pairs as they came, without registration

The score reads no label; but its design (some forty variants) and its threshold rule (six) were compared on the grades
of these same eight events, so none of them is held out and the figures are somewhat optimistic.

Damaged = major-damage or destroyed. `score` is
what `damage-ssl zero-label` gives; the next are other designs of it (LPIPS without the search among neighbouring
cells, the footprint alone, the scene's median change taken off); then mean absolute RGB difference, the same on
standardised patches, 1 - SSIM, and the difference of gradients, all over the footprint.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import f1_score, roc_auc_score

from damage_ssl import workflow
from damage_ssl.damage_scale import scheme_named
from damage_ssl.events.event import Event
from damage_ssl.labels.label_csv import read_label_csv
from damage_ssl.labels.sampling import next_buildings
from damage_ssl.labels.schema import LABEL_COLUMNS
from damage_ssl.learning.features import perceptual_distance
from damage_ssl.patches.pairs import PairSet
from damage_ssl.patches.store import PatchStore
from damage_ssl.runs.predictions import read_predictions
from damage_ssl.settings import PatchSettings, from_mapping
from damage_ssl.simulation.event import simulate
from damage_ssl.simulation.settings import SimulationSettings

REAL = ("santa-rosa-wildfire", "hurricane-harvey", "hurricane-florence", "mexico-earthquake")
SIMULATED = ("sim-earthquake", "sim-fire", "sim-flood", "sim-wind")
BUILDINGS = 400
SCHEME = scheme_named("binary-major")
Scores = dict[str, NDArray[np.float64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", nargs="+", default=[*REAL, *SIMULATED])
    parser.add_argument("--align", choices=["building", "scene", "off"], default=PatchSettings().align)
    parser.add_argument("--workspace", type=Path, help="keep the events here (default: a temporary folder)")
    arguments = parser.parse_args()
    rows, decisions = [], []
    with tempfile.TemporaryDirectory() as folder:
        workspace = arguments.workspace or Path(folder)
        for name in arguments.events:
            event, truth = make_event(name, workspace / arguments.align)
            workflow.cut_patches(event, from_mapping(PatchSettings, {"align": arguments.align}, "--align"))
            began = time.monotonic()
            planned = workflow.start_zero_label(event)
            workflow.predict_event(event, planned.run)
            seconds = time.monotonic() - began
            table = graded(event, truth, read_predictions(planned.run))
            others = other_scores(PatchStore.open(event.patches_path), table)
            damaged = table["damaged"].to_numpy(bool)
            scores = {"score": table["change"].to_numpy(float), **others}
            aurocs = {key: roc_auc_score(damaged, value) for key, value in scores.items()}
            rows.append({"event": name, "n": len(table), "damaged": damaged.mean(), **aurocs})
            threshold = workflow.run_summary(planned.run).threshold
            called = table["p_damaged"].to_numpy(float) >= threshold
            decisions.append(
                {
                    "event": name,
                    "damaged": damaged.mean(),
                    "called": called.mean(),
                    "F1": f1_score(damaged, called, zero_division=0.0),
                    "best F1": best_f1(damaged, scores["score"]),
                    "first 40: spread": damaged_among_first(event, table, None),
                    "by score": damaged_among_first(event, table, table.set_index("building_id")["uncertainty"]),
                    "seconds": seconds,
                }
            )
            print(markdown(rows[-1:]), flush=True)
    print(markdown(rows), markdown(decisions), sep="\n\n")


def make_event(name: str, workspace: Path) -> tuple[Event, Path]:
    """The event and its truth file, made where it is not there."""
    if name in REAL:
        source = Path(os.environ.get("DAMAGE_SSL_SHARED", "../shared")) / "data" / "events" / name
        pre, post = [str(source / "pre")], [str(source / "post")]
        footprints, truth = source / "footprints.geojson", source / "labels.csv"
    else:
        drawn = workspace / "drawn" / name
        settings = SimulationSettings(buildings=BUILDINGS, hazard=name.removeprefix("sim-"), seed=3)
        made = simulate(drawn, settings)
        pre, post, footprints, truth = [str(made.pre)], [str(made.post)], Path(made.footprints), Path(made.truth)
    return Event.create(workspace, name, pre=pre, post=post, footprints=footprints, overwrite=True), truth


def graded(event: Event, truth: Path, predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions of graded buildings, with `damaged` and the scene pair, in the order of the predictions."""
    classes = {row.building_id: SCHEME.index_of(row.value) for row in read_label_csv(truth, labeller="truth").rows}
    index = PatchStore.open(event.patches_path).index()
    index["scene"] = index["pre_image_id"].astype(str) + "|" + index["post_image_id"].astype(str)
    table = predictions.merge(index[["building_id", "scene"]], on="building_id", validate="one_to_one")
    table["damaged"] = [classes.get(building) for building in table["building_id"]]
    return table[table["damaged"].notna()].assign(damaged=lambda t: t["damaged"] >= SCHEME.damaged_from)


def other_scores(store: PatchStore, table: pd.DataFrame) -> Scores:
    """Other designs of the change score and plain differences, row by row with the table."""
    ids = table["building_id"].to_numpy(str)
    parts: list[Scores] = []
    for start in range(0, len(ids), 256):
        pairs = store.load(ids[start : start + 256])
        parts.append({**plain_differences(pairs), **other_designs(pairs)})
    scores = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    change = table["change"]
    scores["scene median off"] = (change - change.groupby(table["scene"]).transform("median")).to_numpy(float)
    return scores


def other_designs(pairs: PairSet) -> Scores:
    """The same features, compared in plainer ways; each a mean over the depths of log distances."""
    kept = perceptual_distance.SURROUNDINGS_WEIGHT, perceptual_distance.COLLAR_M, perceptual_distance._best_match
    found: Scores = {}
    try:
        perceptual_distance.SURROUNDINGS_WEIGHT, perceptual_distance.COLLAR_M = 0.0, 0.0
        found["footprint only"] = log_mean(perceptual_distance.pair_distances(pairs))
        perceptual_distance.SURROUNDINGS_WEIGHT, perceptual_distance.COLLAR_M = kept[:2]
        perceptual_distance._best_match = lambda a, b: 1 - (a * b).sum(dim=1)
        found["no search (LPIPS)"] = log_mean(perceptual_distance.pair_distances(pairs))
    finally:
        perceptual_distance.SURROUNDINGS_WEIGHT, perceptual_distance.COLLAR_M, perceptual_distance._best_match = kept
    return found


def log_mean(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(distances, 1e-6)).mean(axis=1), dtype=np.float64)


def plain_differences(pairs: PairSet) -> Scores:
    """What one would try first, averaged over the footprint's valid pixels."""
    rows: dict[str, list[float]] = {"RGB": [], "RGB standardised": [], "1 - SSIM": [], "gradient": []}
    view = pairs.close
    for pre, post, footprint, valid in zip(view.pre, view.post, view.footprint, view.valid, strict=True):
        inside = (footprint & valid).astype(bool)
        a, b = pre.astype(float) / 255, post.astype(float) / 255
        grey_a, grey_b = a.mean(axis=0), b.mean(axis=0)
        maps = {
            "RGB": np.abs(a - b).mean(axis=0),
            "RGB standardised": np.abs(standardised(a) - standardised(b)).mean(axis=0),
            "1 - SSIM": 1 - structural_similarity(grey_a, grey_b),
            "gradient": np.abs(
                ndimage.gaussian_gradient_magnitude(grey_a, 1.0) - ndimage.gaussian_gradient_magnitude(grey_b, 1.0)
            ),
        }
        for name, values in maps.items():
            rows[name].append(float(values[inside].mean()) if inside.any() else 0.0)
    return {name: np.array(values) for name, values in rows.items()}


def structural_similarity(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """SSIM of each pixel's 7 × 7 window (Wang et al. 2004, eq. 13) of grey images in 0..1."""
    mean_a, mean_b = ndimage.uniform_filter(a, 7), ndimage.uniform_filter(b, 7)
    spread_a = ndimage.uniform_filter(a * a, 7) - mean_a**2
    spread_b = ndimage.uniform_filter(b * b, 7) - mean_b**2
    common = ndimage.uniform_filter(a * b, 7) - mean_a * mean_b
    light, structure = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + light) * (2 * common + structure)
    return np.asarray(top / ((mean_a**2 + mean_b**2 + light) * (spread_a + spread_b + structure)))


def standardised(image: NDArray[np.float64]) -> NDArray[np.float64]:
    return (image - image.mean(axis=(1, 2), keepdims=True)) / (image.std(axis=(1, 2), keepdims=True) + 0.02)


def best_f1(damaged: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """F1 at the best threshold that the truth allows: what no rule without labels can beat."""
    order = np.argsort(-score)
    hits = damaged[order].cumsum()
    return float((2 * hits / (np.arange(1, len(score) + 1) + damaged.sum())).max())


def damaged_among_first(event: Event, table: pd.DataFrame, uncertainty: pd.Series | None) -> float:
    """How many of the first 40 buildings that the label queue proposes are damaged, mean of five draws."""
    index = PatchStore.open(event.patches_path).index()
    nobody = pd.DataFrame(columns=list(LABEL_COLUMNS))
    damaged = set(table.loc[table["damaged"], "building_id"])
    draws = (next_buildings(index, nobody, 40, np.random.default_rng(s), uncertainty=uncertainty) for s in range(5))
    return float(np.mean([drawn["building_id"].isin(damaged).sum() for drawn in draws]))


def markdown(rows: list[dict[str, object]]) -> str:
    return "\n".join(_lines(rows))


def _lines(rows: list[dict[str, object]]) -> Iterator[str]:
    yield "| " + " | ".join(rows[0]) + " |"
    yield "|" + "---|" * len(rows[0])
    for row in rows:
        yield "| " + " | ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()) + " |"


if __name__ == "__main__":
    main()
