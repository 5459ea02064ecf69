"""How often the 95 % intervals of `evaluate` and of the audit hold the truth: draws from a model that is known.

Each building has a latent damage and a score, both with an effect of its spatial block (a share `together` of the
variance of damage, half as much of that of the score); given the truth the scores are normal with variance 1, so that
the true metrics follow by quadrature. Blocks are of uneven size (Dirichlet). Beside the product's intervals stand
Wald's for independent buildings and the percentile bootstrap of whole blocks that the product had before.

    python -m benchmarks.interval_coverage --repetitions 1000 --out benchmarks/results/trust/intervals_table.md
    python -m benchmarks.interval_coverage --repetitions 1000 --hard
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri

from damage_ssl.damage_scale import scheme_named
from damage_ssl.evaluation.audit import audit_report
from damage_ssl.evaluation.intervals import auroc
from damage_ssl.evaluation.metrics import Estimate, Evaluation, evaluate

METRICS = ("auroc", "average_precision", "f1", "precision", "recall", "accuracy", "brier", "class_f1")
MODELS = {"good": (2.51, 1.0, 0.0), "poor": (0.75, 1.0, 0.0), "biased": (2.0, 1.5, 1.0)}
"""Distance of the two means in standard deviations; slope and offset of the logit that the model gives."""

BOOTSTRAPS = 200
_SCHEME = scheme_named("binary-major")
_GRID = np.linspace(-9.0, 12.0, 42001)

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]
Draw = tuple[Values, Flags, NDArray[np.intp]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A process to draw from; `n_damaged` fixes their number, else each building is damaged with the prevalence."""

    n: int
    blocks: int
    prevalence: float
    model: str = "good"
    together: float = 0.2
    n_damaged: int | None = None

    @property
    def threshold(self) -> float:
        """The one of the highest true F1, as the product chooses it; a half for the biased model."""
        _, recall, precision = self._curve()
        best = int(np.argmax(2 * recall * precision / (recall + precision)))
        return 0.5 if self.model == "biased" else float(self._p(_GRID)[best])

    def _p(self, score: Values) -> Values:
        apart, slope, offset = MODELS[self.model]
        logit = np.log(self.prevalence / (1 - self.prevalence)) + apart * score - apart**2 / 2
        return np.asarray(expit(slope * logit + offset))

    def _curve(self) -> tuple[float, Values, Values]:
        apart = MODELS[self.model][0]
        found, false = (
            share * ndtr(mean - _GRID) for share, mean in ((self.prevalence, apart), (1 - self.prevalence, 0))
        )
        return apart, found / self.prevalence, found / np.maximum(found + false, 1e-300)

    def truth(self) -> dict[str, float]:
        """The metrics of infinitely many blocks."""
        apart, recall, precision = self._curve()
        at = float(np.interp(self.threshold, self._p(_GRID), _GRID))
        tp = self.prevalence * float(ndtr(apart - at))
        fp = (1 - self.prevalence) * float(ndtr(-at))
        fn, tn = self.prevalence - tp, 1 - self.prevalence - fp
        damaged, intact = (np.exp(-((_GRID - mean) ** 2) / 2) / np.sqrt(2 * np.pi) for mean in (apart, 0.0))
        p, step = self._p(_GRID), _GRID[1] - _GRID[0]
        error = self.prevalence * damaged * (1 - p) ** 2 + (1 - self.prevalence) * intact * p**2
        return {
            "auroc": float(ndtr(apart / np.sqrt(2))),
            "average_precision": float(np.sum((precision[1:] + precision[:-1]) / 2 * -np.diff(recall))),
            "f1": 2 * tp / (2 * tp + fp + fn),
            "precision": tp / (tp + fp),
            "recall": tp / (tp + fn),
            "accuracy": tp + tn,
            "brier": float(error.sum() * step),
            "class_f1": 2 * tn / (2 * tn + fp + fn),
        }

    def draw(self, rng: np.random.Generator) -> Draw:
        """P(damaged), truth and block of `n` buildings; every block has one at least where there are enough."""
        sizes = rng.dirichlet(np.full(self.blocks, 2.0))
        block = np.concatenate([np.arange(self.blocks), rng.choice(self.blocks, self.n, p=sizes)])[: self.n]

        def normal(together: float) -> Values:
            shared = rng.normal(size=self.blocks)[block]
            return np.asarray(np.sqrt(together) * shared + np.sqrt(1 - together) * rng.normal(size=self.n))

        latent = normal(self.together)
        least = ndtri(1 - self.prevalence) if self.n_damaged is None else np.sort(latent)[-self.n_damaged]
        damaged = latent >= least
        return self._p(MODELS[self.model][0] * damaged + normal(self.together / 2)), damaged, block

    def __str__(self) -> str:
        damaged = f"{self.prevalence:.0%}" if self.n_damaged is None else f"{self.n_damaged}"
        return f"{self.n} | {damaged} | {self.blocks} | {self.model} | {self.together:g}"


def cases() -> list[Case]:
    """The issue's three, with and without correlation; then a third of a full grid (Latin squares of the levels)."""
    asked = [
        Case(n=n, n_damaged=k, prevalence=k / n, blocks=blocks, together=together)
        for n, k, blocks in ((14, 6, 4), (40, 12, 8), (91, 21, 9))
        for together in (0.0, 0.2)
    ]
    grid = [
        Case(n=n, blocks=blocks, prevalence=prevalence, model=list(MODELS)[(i + j + k) % 3], together=together)
        for i, n in enumerate((10, 40, 150, 400))
        for j, blocks in enumerate((3, 6, 15, 60))
        for k, prevalence in enumerate((0.01, 0.05, 0.2, 0.6))
        if blocks <= n
        for together in ((0.0, 0.2, 0.4)[(i + 2 * j + k) % 3],)
    ]
    return asked + grid


def hard_cases() -> list[Case]:
    """The issue's three, those that were out of 93 to 98 % before the last change, and 70 damaged in 16 blocks."""
    grid = {(each.n, each.prevalence, each.blocks): each for each in cases()[6:]}
    out = [(400, 0.2, 3), (150, 0.6, 3), (400, 0.2, 6), (400, 0.05, 15), (150, 0.2, 15), (40, 0.2, 6), (150, 0.05, 15)]
    return [*cases()[:6], *(grid[each] for each in out), Case(n=350, blocks=16, prevalence=0.2, model="poor")]


def intervals_of(evaluation: Evaluation) -> dict[str, Estimate]:
    """Every estimate that has an interval, by `METRICS`."""
    return {
        name: evaluation.class_f1["intact"] if name == "class_f1" else getattr(evaluation, name) for name in METRICS
    }


def wald(draw: Draw, threshold: float) -> dict[str, tuple[float, float]]:
    """Estimate ± 1.96 standard errors of independent buildings; AUROC by DeLong (1988)."""
    p, damaged, _ = draw
    called = p >= threshold
    right = called == damaged
    errors = (p - damaged) ** 2
    found = {
        "precision": damaged[called],
        "recall": called[damaged],
        "accuracy": right,
        "brier": errors,
    }
    ends = {name: (float(x.mean()), float(x.std() / np.sqrt(len(x)))) for name, x in found.items() if len(x)}
    if damaged.any() and not damaged.all():
        value, placement = auroc(p, damaged)
        kinds = (placement[damaged], placement[~damaged])
        ends["auroc"] = value, float(np.sqrt(sum(x.var(ddof=1) / len(x) for x in kinds if len(x) > 1)))
    return {name: (value - 1.96 * error, value + 1.96 * error) for name, (value, error) in ends.items()}


def bootstrap(draw: Draw, threshold: float, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Percentiles over whole blocks drawn with replacement, counted by how often each block was drawn."""
    p, damaged, block = draw
    blocks = int(block.max()) + 1
    times = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=BOOTSTRAPS).astype(float)
    called = p >= threshold
    both, true, said, right, error, every = (
        times @ np.bincount(block, each, minlength=blocks)
        for each in (called & damaged, damaged, called, called == damaged, (p - damaged) ** 2, np.ones(len(p)))
    )
    order = np.searchsorted(np.sort(p[~damaged]), p[damaged])
    below = np.zeros((blocks, int((~damaged).sum()) + 1))
    below[block[~damaged][np.argsort(p[~damaged])], np.arange(1, below.shape[1])] = 1
    wins = np.zeros((blocks, blocks))
    np.add.at(wins, block[damaged], below.cumsum(axis=1)[:, order].T)
    pairs = true * (every - true)
    rank = np.argsort(-p)
    weight = times[:, block[rank]]
    precise = (weight * damaged[rank]).cumsum(axis=1) / np.maximum(weight.cumsum(axis=1), 1e-9)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = {
            "auroc": np.einsum("ra,ab,rb->r", times, wins, times) / pairs,
            "average_precision": (weight * damaged[rank] * precise).sum(axis=1) / true,
            "f1": 2 * both / (true + said),
            "precision": both / said,
            "recall": both / true,
            "accuracy": right / every,
            "brier": error / every,
        }
    kept = {name: value[np.isfinite(value)] for name, value in values.items()}
    ends = {name: np.percentile(each, (2.5, 97.5)) for name, each in kept.items() if 2 * len(each) >= BOOTSTRAPS}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


@dataclass
class Row:
    """What the repetitions of one case and metric came to: shares, except `shown` and `repetitions`, which are counts.

    `point` are intervals of no width."""

    case: str
    metric: str
    truth: float
    repetitions: int = 0
    defined: int = 0
    shown: int = 0
    covered: int = 0
    too_low: int = 0
    width: float = 0.0
    points: int = 0
    wald_shown: int = 0
    wald_covered: int = 0
    bootstrap_shown: int = 0
    bootstrap_covered: int = 0
    bootstrap_width: float = 0.0

    @property
    def coverage(self) -> float | None:
        """Of the intervals shown; None where hardly any is."""
        return self.covered / self.shown if self.shown >= 0.05 * self.repetitions else None

    def __str__(self) -> str:
        def share(part: float, of: int, least: float = 0.05) -> str:
            return f"{100 * part / of:.1f}" if of >= least * self.repetitions else "–"

        few = 100 * (1 - self.shown / self.repetitions)
        old = share(self.bootstrap_covered, self.bootstrap_shown, 0.0125)
        return (
            f"| {self.case} | {self.metric} | {self.truth:.3f} | {share(self.covered, self.shown)} | {few:.0f} | "
            f"{self.width / max(self.shown, 1):.2f} | {old} | "
            f"{self.bootstrap_width / max(self.bootstrap_shown, 1):.2f} | "
            f"{share(self.wald_covered, self.wald_shown, 0.0125)} |"
        )


HEADER = (
    "| answers | damaged | blocks | model | together | metric | truth | covers, % | too few, % | width | "
    "bootstrap, % | its width | Wald, % |\n" + "|" + " --- |" * 13
)


def measure(case: Case, repetitions: int, rng: np.random.Generator, *, beside: int = 0) -> list[Row]:
    """Draw again and again, and count how often each interval of `evaluate` holds the truth, and on the first `beside`
    draws those of Wald and of the bootstrap."""
    truth, threshold = case.truth(), case.threshold
    rows = {name: Row(str(case), name, truth[name], repetitions) for name in METRICS}
    for repetition in range(repetitions):
        p, damaged, block = draw = case.draw(rng)
        found = evaluate(
            np.stack([1 - p, p], axis=1), damaged.astype(int), damaged, block.astype(str), scheme=_SCHEME,
            threshold=threshold,
        )  # fmt: skip
        for name, estimate in intervals_of(found).items():
            row = rows[name]
            row.defined += estimate.value is not None
            if estimate.low is not None and estimate.high is not None:
                row.shown += 1
                row.covered += estimate.low <= truth[name] <= estimate.high
                row.too_low += truth[name] > estimate.high
                row.width += estimate.high - estimate.low
                row.points += estimate.high <= estimate.low
        if repetition < beside:
            for name, (low, high) in wald(draw, threshold).items():
                rows[name].wald_shown += 1
                rows[name].wald_covered += low <= truth[name] <= high
            for name, (low, high) in bootstrap(draw, threshold, rng).items():
                rows[name].bootstrap_shown += 1
                rows[name].bootstrap_covered += low <= truth[name] <= high
                rows[name].bootstrap_width += high - low
    return list(rows.values())


def measure_audit(n: int, repetitions: int, rng: np.random.Generator, *, together: float = 0.4) -> dict[str, float]:
    """Coverage of the audit's shares: simple random samples of `n` of 2,000 buildings in 40 blocks, drawn anew."""
    covered = dict.fromkeys(("accuracy", "precision", "recall", "damaged"), 0)
    town = Case(n=2000, blocks=40, prevalence=0.2, together=together)
    for _ in range(repetitions):
        p, damaged, _ = town.draw(rng)
        said = p >= town.threshold
        of_all = audit_report(said, damaged, population=town.n)
        rows = rng.choice(town.n, n, replace=False)
        report = audit_report(said[rows], damaged[rows], population=town.n)
        for name in covered:
            share, true = getattr(report, name), getattr(of_all, name).value
            covered[name] += share.low <= true <= share.high
    return {name: count / repetitions for name, count in covered.items()}


def summary(rows: list[Row]) -> Iterator[str]:
    """A line for each metric: over all cases in which an interval is shown at least once in twenty."""
    yield (
        "| metric | cases | mean, % | lowest | highest | below 93 % | above 98 % | bootstrap, mean % | lowest | "
        "of no width |"
    )
    yield "|" + " --- |" * 10
    for name in METRICS:
        of = [row for row in rows if row.metric == name]
        shown = np.array([100 * each.coverage for each in of if each.coverage is not None])
        old = np.array(
            [
                100 * each.bootstrap_covered / each.bootstrap_shown
                for each in of
                if each.bootstrap_shown > 0.0125 * each.repetitions
            ]
        )
        yield (
            f"| {name} | {len(shown)} | {shown.mean():.1f} | {shown.min():.1f} | {shown.max():.1f} | "
            f"{int((shown < 93).sum())} | {int((shown > 98).sum())} | "
            + (f"{old.mean():.1f} | {old.min():.1f}" if len(old) else "– | –")
            + f" | {sum(each.points for each in of)} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--only", type=int, default=None, help="the first so many cases")
    parser.add_argument("--hard", action="store_true", help="only `hard_cases`, each with its own seed")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    rows: list[Row] = []
    for number, case in enumerate(hard_cases() if given.hard else cases()[: given.only]):
        rng = np.random.default_rng(given.seed + number) if given.hard else rng
        rows += measure(case, given.repetitions, rng, beside=0 if given.hard else given.repetitions // 4)
        print(*rows[-len(METRICS) :], sep="\n", flush=True)
    audited = () if given.hard else (10, 30, 100, 400)
    audits = {n: measure_audit(n, given.repetitions, rng) for n in audited}
    audit = [
        f"| {n} | " + " | ".join(f"{100 * each:.1f}" for each in found.values()) + " |" for n, found in audits.items()
    ]
    audit_header = "| audited | accuracy | precision | recall | damaged |\n|" + " --- |" * 5
    text = "\n".join([*summary(rows), "", HEADER, *map(str, rows), "", audit_header, *audit])
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
