"""What self-supervised pretraining on an event's own pairs is worth to frozen features, on real events. Resumable.

    python -m benchmarks.pretraining --events hurricane-harvey --minutes 5
    python -m benchmarks.pretraining --report

The encoder is pretrained by `damage_ssl.learning.pretraining` on all pairs of the event (no label is read, pixels of
held-out buildings are used, as in a real event) for `--steps` or `--minutes`, whichever ends first. Then a logistic
regression on its frozen features, as `frozen-lite0` and `frozen-start` do it, learns from k labels a class. Beside it
stands the same from where pretraining began: ImageNet weights for `efficientnet-lite0`, random ones for `small-cnn`.
Blocks, draws and AUROC are those of `benchmarks.accuracy`; a seed draws the labels, pretraining is done once.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.accuracy import SCHEME, WORK, Buildings, draw, load_buildings
from damage_ssl.benchmarking.frozen_scores import FrozenScores
from damage_ssl.files import read_json, write_json
from damage_ssl.learning.pair_tensor import VIEW_CHANNELS, pair_bytes
from damage_ssl.learning.predictor import load_predictor
from damage_ssl.learning.pretraining import Pretraining, PretrainSettings, pretraining_fingerprint
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.trainer.data import Targets
from damage_ssl.learning.training import train
from damage_ssl.runs.run import Run
from damage_ssl.settings import PatchSettings

HEADS = ("frozen-lite0", "frozen-start")
"""Regression on the features of both dates and their difference; on the later date, the difference, and texture."""

Row = dict[str, Any]


def main(given: list[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", nargs="+", default=["hurricane-harvey", "santa-rosa-wildfire"])
    parser.add_argument("--networks", nargs="+", default=["efficientnet-lite0"])
    parser.add_argument("--losses", nargs="+", default=["vicreg"])
    parser.add_argument("--labels", type=int, default=25)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--minutes", type=float, help="of each pretraining, on the clock")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--results", type=Path, default=WORK / "pretraining.json")
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args(given)
    results: dict[str, list[Row]] = (
        read_json(arguments.results) if arguments.results.exists() else {"pretrainings": [], "rows": []}
    )
    for event in () if arguments.report else arguments.events:
        buildings = load_buildings(event, PatchSettings())
        for network in arguments.networks:
            for loss in arguments.losses:
                settings = PretrainSettings(
                    loss=loss,
                    network=network,
                    steps=arguments.steps,
                    minutes=arguments.minutes,
                    learning_rate=arguments.learning_rate,
                )
                measure(event, buildings, settings, arguments, results)
    text = report(results)
    print(text)
    return text


def measure(
    event: str,
    buildings: Buildings,
    settings: PretrainSettings,
    arguments: argparse.Namespace,
    results: dict[str, list[Row]],
) -> None:
    """Pretrain, and score both starts; lines are written as they come."""
    key = {"event": event, "network": settings.network, "loss": settings.loss, "steps": settings.steps}
    key |= {"minutes": settings.minutes, "learning_rate": settings.learning_rate}
    folder = arguments.results.parent / "pretrained"
    before, after, facts = pretrained(event, buildings, settings, folder)
    if facts is not None:
        results["pretrainings"].append(key | facts)
        write_json(arguments.results, results)
    done = [{name: value for name, value in row.items() if name not in ("auroc", "test")} for row in results["rows"]]
    for start, weights in (("before", before), ("pretrained", after)):
        scores = FrozenScores()
        for head in HEADS:
            for seed in arguments.seeds:
                row = key | {"start": start, "head": head, "labels": arguments.labels, "seed": seed}
                if row in done:
                    continue
                train_rows, test_rows = draw(buildings, arguments.labels, np.random.default_rng(seed))
                p = probabilities(buildings, weights, settings.network, head, train_rows, scores)[test_rows]
                auroc = float(roc_auc_score(buildings.class_index[test_rows], p))
                results["rows"].append(row | {"auroc": auroc, "test": len(test_rows)})
                write_json(arguments.results, results)
                print(f"{auroc:.3f}  {event} {settings.network} {settings.loss} {start} {head} {seed}", flush=True)


def pretrained(
    event: str, buildings: Buildings, settings: PretrainSettings, folder: Path
) -> tuple[Path, Path, Row | None]:
    """Files of the encoder as it starts and as it ends, and what making them took (None: it was made before)."""
    # `minutes` is no part of a fingerprint, because another may go on with a pretraining; here it names another one
    mark = pretraining_fingerprint(settings, [event, str(len(buildings.pairs)), str(settings.minutes)])
    before, after = (folder / f"{mark}-{name}.safetensors" for name in ("before", "after"))
    if after.exists():
        return before, after, None
    pretraining = Pretraining([pair_bytes(buildings.pairs)[:, :VIEW_CHANNELS].contiguous()], settings, mark)
    pretraining.write(before, {"events": [event]})
    losses: list[float] = []
    processor = time.process_time()
    resume = folder / f"{mark}.resume"
    pretraining.run(resume, lambda progress: losses.append(progress.loss))
    resume.unlink(missing_ok=True)
    pretraining.write(after, {"events": [event]})
    facts = {
        "pairs": len(buildings.pairs),
        "steps_done": pretraining.step,
        "seconds": round(pretraining.seconds),
        "processor_seconds": round(time.process_time() - processor),
        "first_loss": losses[0] if losses else None,
        "last_loss": losses[-1] if losses else None,
    }
    print(json.dumps(facts), flush=True)
    return before, after, facts


def probabilities(
    buildings: Buildings, weights: Path, network: str, head: str, rows: np.ndarray, scores: FrozenScores
) -> np.ndarray:
    """P(damaged) [N] of all buildings by a regression on `rows`. Texture filters are those of seed 0 for all draws."""
    ids = buildings.pairs.building_id
    targets = Targets(
        train_id=ids[rows],
        train_class=buildings.class_index[rows],
        validation_id=ids[:0],
        validation_class=buildings.class_index[:0],
    )
    settings = TrainSettings(algorithm=head, network=network, options={"weights": str(weights)})
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        train(buildings.pairs, targets, settings, run)
        p = scores.predict(load_predictor(run), buildings.pairs)
    return np.asarray(p[:, SCHEME.damaged_from :].sum(axis=1))


def report(results: dict[str, list[Row]]) -> str:
    """Markdown: AUROC before and after, and the difference of the same draws, mean ± standard deviation over seeds."""
    cells: dict[tuple[Any, ...], dict[str, dict[int, float]]] = defaultdict(lambda: {"before": {}, "pretrained": {}})
    for row in results["rows"]:
        place = (row["event"], row["network"], row["loss"], row["steps"], row["minutes"], row["head"], row["labels"])
        cells[place][row["start"]][row["seed"]] = row["auroc"]
    lines = [
        "| Event | Encoder | Loss | Regression | Labels a class | Before | Pretrained | Difference |",
        "|---" * 8 + "|",
    ]
    for (event, network, loss, _, _, head, labels), starts in cells.items():
        both = sorted(starts["before"].keys() & starts["pretrained"].keys())
        if not both:
            continue
        one, other = (np.array([starts[name][seed] for seed in both]) for name in ("before", "pretrained"))
        said = [f"{each.mean():.3f} ± {each.std():.3f}" for each in (one, other)]
        change = other - one
        said.append(f"{change.mean():+.3f} ± {change.std():.3f} ({len(both)} draws)")
        lines.append(f"| {event} | {network} | {loss} | {head} | {labels} | {' | '.join(said)} |")
    return "\n".join([*lines, "", *(json.dumps(each) for each in results["pretrainings"])])


if __name__ == "__main__":
    main()
