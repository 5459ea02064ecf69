"""How often the bounds of a total hold the truth, and how wide they are: simulated answers, tiles, units, real events.

    python -m benchmarks.total_coverage simulated --repetitions 1000
    python -m benchmarks.total_coverage units --repetitions 300
    python -m benchmarks.total_coverage events WORKSPACE --repetitions 200

`events` takes prepared events with features (`damage-ssl features`) and their grades in $DAMAGE_SSL_SHARED. Beside ours
stand Wald's interval and that of PPI++ for a mean (arXiv:2311.01453, alg. 1 and example 6.1, as `ppi_py` computes it,
with its normal quantile and the λ that minimises the variance).
"""

import argparse
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import LabelValue, scheme_named
from damage_ssl.evaluation.random_sample import FROM_ALL, RandomSample
from damage_ssl.evaluation.small_areas import pooled_units
from damage_ssl.evaluation.total_estimates import answers_for, estimate_total, score_parts, too_few
from damage_ssl.events.event import Event
from damage_ssl.labels.label_csv import read_label_csv
from damage_ssl.runs.assisting import cross_fitted
from damage_ssl.runs.live import read_features

SIZE = 1500
PREVALENCES = (0.01, 0.05, 0.2, 0.6)
ANSWERS = (10, 30, 100, 400)
MODELS = {"none": None, "good": 4.0, "poor": 1.0, "useless": 0.0, "biased": 4.0}
"""How far damaged and intact lie apart in the log-odds of a model, in standard deviations."""
SCHEME = scheme_named("binary-major")


@dataclass
class Tally:
    """Intervals of one setting: how many held the truth, their widths, how often nothing was said."""

    held: int = 0
    widths: list[float] = field(default_factory=list)
    silent: int = 0

    def add(self, low: float, high: float, truth: float) -> None:
        self.held += low <= truth <= high
        self.widths.append(high - low)

    @property
    def coverage(self) -> float:
        return self.held / max(len(self.widths), 1)

    @property
    def width(self) -> float:
        return float(np.mean(self.widths)) if self.widths else float("nan")

    def text(self, size: int) -> str:
        said = f"{self.coverage:.1%}, {self.width / size:.1%}" if self.widths else "-"
        return said + (f" (silent {self.silent / (self.silent + len(self.widths)):.0%})" if self.silent else "")


def singly(size: int, n: int, rng: np.random.Generator) -> RandomSample:
    """A simple random sample."""
    none = np.zeros(0, dtype=np.intp)
    return RandomSample(
        size=size,
        row=rng.permutation(size)[:n],
        weight=np.ones(n),
        cluster=np.arange(n),
        after=np.full(n, FROM_ALL),
        known_row=none,
        known_at=none,
    )


def tiles(tile: NDArray[np.intp], count: int, rng: np.random.Generator) -> RandomSample:
    """Whole tiles, drawn with equal chances."""
    chosen = rng.permutation(tile.max() + 1)[:count]
    row = np.flatnonzero(np.isin(tile, chosen))
    none = np.zeros(0, dtype=np.intp)
    return RandomSample(
        size=len(tile),
        row=row,
        weight=np.ones(len(row)),
        cluster=tile[row],
        after=np.full(len(row), FROM_ALL),
        known_row=none,
        known_at=none,
    )


def town(prevalence: float, alike: float, rng: np.random.Generator, tile_size: int = 12) -> tuple[np.ndarray, ...]:
    """Damage with the correlation `alike` within tiles of about `tile_size` buildings; the tile of each."""
    count = SIZE // tile_size
    tile = np.sort(rng.integers(0, count, SIZE))
    tile = np.unique(tile, return_inverse=True)[1]
    if alike <= 0:
        damaged = rng.permutation(SIZE) < round(prevalence * SIZE)
        return damaged, tile
    scale = (1 - alike) / alike
    share = rng.beta(prevalence * scale, (1 - prevalence) * scale, tile.max() + 1)
    return rng.random(SIZE) < share[tile], tile


def score_of(damaged: np.ndarray, model: str, rng: np.random.Generator) -> np.ndarray | None:
    """A model's P(damaged); the biased one flags nearly all."""
    apart = MODELS[model]
    if apart is None:
        return None
    share = np.clip(damaged.mean(), 0.002, 0.998)
    odds = apart * (rng.normal(size=len(damaged)) + apart * (damaged - 0.5)) + np.log(share / (1 - share))
    return 1 / (1 + np.exp(-np.clip(odds + (6 if model == "biased" else 0), -30, 30)))


@cache
def answers_alone(hits: int, n: int) -> tuple[float, float]:
    """The bounds of a simple random sample without a model: they depend on these two numbers only."""
    none, row = np.zeros(0, dtype=np.intp), np.arange(n)
    sample = RandomSample(
        size=SIZE,
        row=row,
        weight=np.ones(n),
        cluster=row,
        after=np.full(n, FROM_ALL),
        known_row=none,
        known_at=none,
    )
    truth = np.full(SIZE, np.nan)
    truth[:n] = row < hits
    found = estimate_total(sample, truth, np.zeros(SIZE, dtype=np.intp))
    return found.low, found.high


def wald(y: np.ndarray, size: int) -> tuple[float, float]:
    half = 1.96 * np.sqrt(y.mean() * (1 - y.mean()) / len(y) * (1 - len(y) / size))
    return size * (y.mean() - half), size * (y.mean() + half)


def ppi(y: np.ndarray, at: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """PPI++ for a mean, times the buildings."""
    n, size = len(y), len(score)
    said = score[at]
    tuned = np.cov(y, said)[0, 1] / ((1 + n / size) * np.var(score)) if np.var(score) else 0.0
    tuned = min(max(tuned, 0.0), 1.0)
    middle = tuned * score.mean() + (y - tuned * said).mean()
    half = 1.96 * np.sqrt(tuned**2 * score.var() / size + np.var(y - tuned * said, ddof=1) / n)
    return size * (middle - half), size * (middle + half)


def simulated(repetitions: int) -> Iterator[str]:
    """Single buildings, then tiles."""
    yield "| model | damaged | answers | ours: coverage, width | answers alone | Wald | PPI++ |\n" + "|---" * 7 + "|"
    for model in ("good", "poor", "biased"):
        for prevalence in PREVALENCES:
            for n in ANSWERS:
                rng = np.random.default_rng(zlib.crc32(f"{model}{prevalence}{n}".encode()))
                ours, alone, classic, powered = Tally(), Tally(), Tally(), Tally()
                for _ in range(repetitions):
                    damaged, _tile = town(prevalence, 0.0, rng)
                    score, sample = score_of(damaged, model, rng), singly(SIZE, n, rng)
                    y, true = damaged[sample.row].astype(float), float(damaged.sum())
                    truth = np.full(SIZE, np.nan)
                    truth[sample.row] = y
                    part = score_parts(score, sample)
                    found = estimate_total(sample, truth, part)
                    ours.add(found.low, found.high, true)
                    alone.add(*answers_alone(int(y.sum()), n), true)
                    classic.add(*wald(y, SIZE), true)
                    if score is not None:
                        powered.add(*ppi(y, sample.row, score), true)
                texts = " | ".join(each.text(SIZE) for each in (ours, alone, classic, powered))
                yield f"| {model} | {prevalence:.0%} | {n} | {texts} |"
    yield (
        "\n| tiles | correlation | model | damaged | ours: coverage, width | as if drawn singly |\n" + "|---" * 6 + "|"
    )
    for count in (3, 6, 12, 60):
        for alike in (0.1, 0.3):
            for model in ("none", "good"):
                for prevalence in (0.05, 0.2, 0.6):
                    rng = np.random.default_rng(zlib.crc32(f"{count}{alike}{model}{prevalence}".encode()))
                    ours, naive = Tally(), Tally()
                    for _ in range(repetitions // 2):
                        damaged, tile = town(prevalence, alike, rng)
                        score, sample = score_of(damaged, model, rng), tiles(tile, count, rng)
                        truth = np.full(SIZE, np.nan)
                        truth[sample.row] = damaged[sample.row]
                        y, true = damaged[sample.row].astype(float), float(damaged.sum())
                        naive.add(*wald(y, SIZE), true)
                        if too_few(sample):
                            ours.silent += 1
                            continue
                        found = estimate_total(sample, truth, score_parts(score, sample))
                        ours.add(found.low, found.high, true)
                    yield f"| {count} | {alike} | {model} | {prevalence:.0%} | {ours.text(SIZE)} | {naive.text(SIZE)} |"


def units(repetitions: int) -> Iterator[str]:
    """Twenty units of unequal size whose shares differ."""
    yield "| units differ by | model | answers | pooled: coverage, mean width of a share | units without an answer |"
    yield "|---" * 5 + "|"
    for alike in (0.0, 0.05, 0.2):
        for model in ("none", "good", "poor", "biased"):
            for n in (40, 100, 200):
                rng = np.random.default_rng(zlib.crc32(f"u{alike}{model}{n}".encode()))
                tally, empty = Tally(), 0
                for _ in range(repetitions):
                    unit = np.searchsorted(np.cumsum(rng.dirichlet(np.full(20, 3.0))), rng.random(SIZE))
                    unit = np.minimum(unit, 19)
                    scale = (1 - alike) / max(alike, 1e-9)
                    share = rng.beta(0.3 * scale, 0.7 * scale, 20) if alike else np.full(20, 0.3)
                    damaged = rng.random(SIZE) < share[unit]
                    score, sample = score_of(damaged, model, rng), singly(SIZE, n, rng)
                    truth = np.full(SIZE, np.nan)
                    truth[sample.row] = damaged[sample.row]
                    part = score_parts(score, sample)
                    found = pooled_units(sample, truth, part, unit, estimate_total(sample, truth, part), 20)
                    held, size = np.bincount(unit, damaged, minlength=20), np.bincount(unit, minlength=20)
                    for low, high, true, of in zip(found.low, found.high, held, size, strict=True):
                        if of:
                            tally.add(low / of, high / of, true / of)
                    empty += int((found.answers == 0).sum())
                said = f"{tally.coverage:.1%}, {tally.width:.1%}"
                yield f"| {alike} | {model} | {n} | {said} | {empty / repetitions / 20:.0%} |"


def events(workspace: Path, names: list[str], repetitions: int) -> Iterator[str]:
    """Real events: answers are the true grades; the frozen features are cross-fitted on the answers themselves."""
    yield "| event | damaged | answers | ours: coverage, width | answers alone | more for ±10 % |\n" + "|---" * 6 + "|"
    shared = Path(os.environ.get("DAMAGE_SSL_SHARED", "../shared")) / "data" / "events"
    for name in names:
        event = Event.open(workspace, name)
        features = read_features(event)
        grades = {row.building_id: row.value for row in read_label_csv(shared / name / "labels.csv", labeller="t").rows}
        so = [SCHEME.is_damaged(grades.get(each, LabelValue.UNCLASSIFIED)) for each in features.building_id]
        graded = np.flatnonzero([each is not None for each in so])
        damaged = np.array([bool(so[row]) for row in graded])
        ids, size = features.building_id[graded], len(graded)
        for n in (20, 40, 100):
            rng = np.random.default_rng(n)
            ours, alone, needs = Tally(), Tally(), ([], [])
            for _ in range(repetitions):
                sample = singly(size, n, rng)
                truth = np.full(size, np.nan)
                truth[sample.row] = damaged[sample.row]
                labels = pd.DataFrame(
                    {
                        "building_id": ids[sample.row].astype(object),
                        "value": np.where(damaged[sample.row], "damaged", "intact").astype(object),
                    }
                )
                p = cross_fitted(features, labels, SCHEME)
                score = None if p is None else p.to_numpy(float)[graded]
                for tally, part, need in (
                    (ours, score_parts(score, sample), needs[0]),
                    (alone, np.zeros(size, dtype=np.intp), needs[1]),
                ):
                    found = estimate_total(sample, truth, part)
                    tally.add(found.low, found.high, float(damaged.sum()))
                    need.append(answers_for(0.1, found, sample) or 0)
            yield (
                f"| {name} | {damaged.sum()} of {size} | {n} | {ours.text(size)} | {alone.text(size)} | "
                f"{np.median(needs[0]):.0f}, {np.median(needs[1]):.0f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("simulated", "units", "events"))
    parser.add_argument("workspace", nargs="?", type=Path, help="of `events`")
    parser.add_argument("--events", nargs="+", default=["santa-rosa-wildfire", "hurricane-harvey"])
    parser.add_argument("--repetitions", type=int, default=1000)
    arguments = parser.parse_args()
    lines = {
        "simulated": lambda: simulated(arguments.repetitions),
        "units": lambda: units(arguments.repetitions),
        "events": lambda: events(arguments.workspace, arguments.events, arguments.repetitions),
    }
    for line in lines[arguments.what]():
        print(line, flush=True)


if __name__ == "__main__":
    main()
