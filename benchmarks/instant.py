"""The live model at the size of an event: from a label row to the new table, and the labelling queue's draw.

`OMP_NUM_THREADS=1 python -m benchmarks.instant [--buildings 50000 300000] [--labels 40 400]` draws features (128 a
building, two kinds of buildings apart along some of them), writes an event's label log, and times by wall clock, median
of `--repeats`:

- label: append a row to the log (SQLite, synchronous)
- fit: read the log, refit, probabilities, P(damaged) and uncertainty of all buildings
- table: the same as a table like a run's
- queue: draw the next 12 by cluster and uncertainty, a quarter at random
- guidance: what the next ten labels would bring
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from damage_ssl.damage_scale import LabelValue, scheme_named
from damage_ssl.evaluation.learning_curve import outlook
from damage_ssl.labels.label_log import LabelStore, NewLabel
from damage_ssl.labels.sampling import next_buildings
from damage_ssl.learning.features.linear_probe import EventFeatures
from damage_ssl.runs.live import fit_live, usable_labels

SCHEME = scheme_named("binary-major")
DIMENSIONS = 128


def drawn(buildings: int, rng: np.random.Generator) -> tuple[EventFeatures, np.ndarray, pd.DataFrame]:
    """Features, whether each building is damaged, and a patch index of an event as dense as a suburb."""
    damaged = rng.random(buildings) < 0.3
    values = rng.normal(0, DIMENSIONS**-0.5, (buildings, DIMENSIONS)).astype(np.float32)
    values[:, :8] += 0.12 * (damaged[:, None] - 0.3)
    building_id = np.array([f"w{number:07}" for number in range(buildings)])
    side_m = 30.0 * buildings**0.5
    x_m, y_m = rng.uniform(0, side_m, (2, buildings))
    index = pd.DataFrame({"building_id": building_id, "assessed": True, "x_m": x_m, "y_m": y_m})
    return EventFeatures(building_id, values, rng.integers(0, 20, buildings), "drawn"), damaged, index


def measure(buildings: int, labels: int, repeats: int, folder: Path) -> dict[str, float]:
    """Milliseconds of each part, and of a label to the new table in one go."""
    rng = np.random.default_rng(0)
    features, damaged, index = drawn(buildings, rng)
    store = LabelStore(folder / f"{buildings}-{labels}.sqlite")
    value = {True: LabelValue.DESTROYED, False: LabelValue.NO_DAMAGE}
    rows = rng.permutation(buildings)[: labels + repeats + 1]
    said = [
        NewLabel(
            building_id=str(features.building_id[row]), value=value[bool(damaged[row])], labeller="ana", drawn="random"
        )
        for row in rows
    ]
    store.add_many(said[:labels])
    fit_live(features, store.current(), SCHEME)  # the first fit also makes the lookup of ids
    spent: dict[str, list[float]] = {name: [] for name in ("label", "fit", "table", "all", "queue", "guidance")}

    def timed(name: str, work: Callable[[], object]) -> object:
        begun = time.perf_counter()
        result = work()
        spent[name].append(1000 * (time.perf_counter() - begun))
        return result

    cluster = pd.Series(features.cluster, index=index["building_id"])
    for label in said[labels : labels + repeats]:

        def whole(label: NewLabel = label) -> None:
            timed("label", lambda: store.add_many([label]))
            prediction = timed("fit", lambda: fit_live(features, store.current(), SCHEME))
            timed("table", prediction.table)  # type: ignore[attr-defined]

        timed("all", whole)
        current = store.current()
        prediction = fit_live(features, current, SCHEME)
        uncertainty = pd.Series(prediction.uncertainty, index=index["building_id"])
        timed("queue", partial(next_buildings, index, current, 12, rng, uncertainty=uncertainty, cluster=cluster))
        learned = usable_labels(features, current, SCHEME)
        at = index[["x_m", "y_m"]].to_numpy()[learned.rows]
        timed("guidance", partial(outlook, features.values[learned.rows], learned.classes, *at.T, rng))
    return {name: statistics.median(times) for name, times in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--buildings", type=int, nargs="+", default=[50_000, 300_000])
    parser.add_argument("--labels", type=int, nargs="+", default=[40, 400])
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    print("| buildings | labels | label → table, ms | label | fit | table | queue of 12 | guidance |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for buildings in options.buildings:
            for labels in options.labels:
                got = measure(buildings, labels, options.repeats, Path(folder))
                cells = " | ".join(f"{got[name]:.0f}" for name in ("all", "label", "fit", "table", "queue", "guidance"))
                print(f"| {buildings:,} | {labels} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
