"""How often a total holds the truth that is assisted by a model which learned from the very answers, cross-fitted.

`unseen`: the model's map, with what it said of each of its labels without their fold (`runs.assisting`, of a run that
was cross-fitted); `everyone`: every building by the training without its fifth (frozen features); `taught`: the map as
it is, which no product uses. Features are normal, the damaged apart in a quarter of their dimensions.

    python -m benchmarks.assisted_total --repetitions 100
"""

import argparse

import numpy as np

from damage_ssl.damage_scale import scheme_named
from damage_ssl.evaluation.random_sample import FROM_ALL, RandomSample
from damage_ssl.evaluation.total_estimates import estimate_total, score_parts
from damage_ssl.learning.features.linear_probe import fit_linear_probe
from damage_ssl.runs.cross_fitting import CrossFitted

CASES = ((600, 40, 0, 64, 0.35), (600, 40, 40, 64, 0.35), (2000, 100, 0, 64, 0.35), (600, 40, 0, 16, 0.8))
"""Buildings, random answers, other labels, dimensions, distance."""
FOLDS, SHARE = 5, 0.25
_BINARY = scheme_named("binary-major")


def measure(
    size: int, n: int, others: int, dimensions: int, apart: float, repetitions: int, rng: np.random.Generator
) -> dict[str, tuple[float, float, float]]:
    """Coverage, mean width and mean error in buildings, by what assists."""
    found: dict[str, list[tuple[bool, float, float]]] = {}
    ids = np.array([f"b{number}" for number in range(size)])
    for _ in range(repetitions):
        damaged = rng.random(size) < SHARE
        values = rng.normal(size=(size, dimensions)) + apart * damaged[:, None] * (np.arange(dimensions) % 4 == 0)
        labelled = rng.permutation(size)[: n + others]
        classes, fold = damaged[labelled].astype(np.int64), np.arange(n + others) % FOLDS
        if any(len(np.unique(classes[fold != each])) < 2 for each in range(FOLDS)):
            continue  # nothing can be fitted, and the product lets the answers stand alone
        part_of = rng.integers(0, FOLDS, size)
        part_of[labelled] = fold

        def fitted(learn: np.ndarray, of: np.ndarray = values, truth: np.ndarray = damaged) -> np.ndarray:
            rows = np.append(learn, np.arange(size))
            return fit_linear_probe(of[rows], np.arange(len(learn)), truth[learn].astype(np.int64))[len(learn) :]

        without = np.stack([fitted(labelled[fold != each]) for each in range(FOLDS)])
        own = CrossFitted(
            scheme=_BINARY, building_id=ids[labelled], classes=classes, fold=fold,
            random=np.arange(n + others) < n, probabilities=without[fold, labelled],
        )  # fmt: skip
        taught = own.calibration.apply(fitted(labelled), _BINARY)
        drawn, known = labelled[:n], labelled[n:]
        sample = RandomSample(
            size=size, row=drawn, weight=np.ones(n), cluster=np.arange(n), after=np.full(n, FROM_ALL),
            known_row=known, known_at=np.zeros(others, dtype=np.intp),
        )  # fmt: skip
        truth = np.full(size, np.nan)
        truth[labelled] = classes
        scores = {
            "alone": None,
            "unseen": own.in_place_of(ids, taught)[:, 1],
            "everyone": without[part_of, np.arange(size), 1],
            "taught": taught[:, 1],
        }
        for name, score in scores.items():
            total = estimate_total(sample, truth, score_parts(score, sample))
            holds = bool(total.low <= damaged.sum() <= total.high)
            found.setdefault(name, []).append((holds, total.high - total.low, total.value - damaged.sum()))
    return {name: tuple(np.mean(rows, axis=0).tolist()) for name, rows in found.items()}  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=100)
    repetitions, rng = parser.parse_args().repetitions, np.random.default_rng(3)
    for case in CASES:
        said = measure(*case, repetitions, rng)
        cells = (f"{name} {share:.0%}, {width:.0f}, {error:+.1f}" for name, (share, width, error) in said.items())
        print(" | ".join([*map(str, case), *cells]), flush=True)


if __name__ == "__main__":
    main()
