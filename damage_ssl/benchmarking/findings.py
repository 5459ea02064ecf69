"""What a benchmark has found, as values and as sentences that claim no more than the intervals do."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from damage_ssl.benchmarking.bench import Bench
from damage_ssl.benchmarking.plan import Point
from damage_ssl.benchmarking.random_search import is_baseline
from damage_ssl.benchmarking.statistics import SelectionNoise, Spread, block_error, selection_noise, spread

DRAWS = 300
AXES = {
    "labels": "labels a class",
    "unlabelled": "unlabelled share",
    "mismatch": "foreign share",
    "imbalance": "damaged share",
    "validation": "labels a class",
}
"""What an experiment's values are called, in few words."""

CHANGES = {
    "unlabelled": "Share of the unlabelled buildings",
    "mismatch": "Share of the unlabelled pairs that is foreign",
    "imbalance": "Share of damaged among the labelled",
}


@dataclass(frozen=True, kw_only=True)
class PointScores:
    """A point with its scores; `failed` and `missing` count its cells that have none."""

    method: str
    value: float
    spread: Spread | None
    failed: int
    missing: int
    seconds: float | None

    @property
    def comparable(self) -> bool:
        """True where no seed is still to come: with fewer, a method may be first by the luck of its draws."""
        return self.spread is not None and self.missing == 0


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that the report shows. `noise` is empty where it could not be worked out, `noise_lack` says why."""

    measured: dict[str, list[PointScores]]
    noise: list[SelectionNoise]
    noise_lack: str
    validation_buildings: int


def find(bench: Bench) -> Findings:
    """Gather what is there so far."""
    known: dict[Point, PointScores] = {}
    measured = {
        name: [known.setdefault(point, _measure(bench, point)) for point in points]
        for name, points in bench.plan.points.items()
    }
    noise, lack = _noise(bench) if "validation" in bench.plan.points else ([], "not asked for")
    return Findings(
        measured=measured, noise=noise, noise_lack=lack, validation_buildings=len(bench.division.validation)
    )


def sentences(bench: Bench, findings: Findings) -> list[str]:
    """The summary in plain words, one sentence or two for each experiment that has results; of whole points only."""
    said = []
    for name, measured in findings.measured.items():
        if name == "labels":
            for value in dict.fromkeys(each.value for each in measured):
                here = [each for each in measured if each.value == value and each.spread is not None]
                opening = f"With {value:g} labels a class"
                said += _ranking(opening, [each for each in here if each.comparable])
                if waiting := [each.method for each in here if not each.comparable]:
                    said.append(f"{opening}, not compared yet because seeds are missing: {', '.join(waiting)}.")
        elif name in ("unlabelled", "mismatch", "imbalance"):
            said += _ends(name, measured)
    if findings.noise:
        said.append(_noise_sentence(findings))
    return said


def _measure(bench: Bench, point: Point) -> PointScores:
    found = [bench.result(cell) for cell in point.cells]
    done = [each for each in found if each is not None and each["state"] == "done"]
    result = None
    if done:
        test = bench.division.test
        p = [np.array(each["test_p"]) for each in done]
        error = block_error(p, bench.material.damaged[test], bench.division.block[test])
        result = spread([each["auroc"] for each in done], error)
    return PointScores(
        method=point.method,
        value=point.value,
        spread=result,
        failed=sum(each is not None and each["state"] == "failed" for each in found),
        missing=sum(each is None for each in found),
        seconds=float(np.mean([each["seconds"] for each in done])) if done else None,
    )


def _noise(bench: Bench) -> tuple[list[SelectionNoise], str]:
    p, held_out = {}, {}
    for point in bench.plan.points["validation"]:
        found = [bench.result(cell) for cell in point.cells]
        done = [each for each in found if each is not None and each["state"] == "done"]
        if len(done) == len(found):
            p[point.method] = [np.array(each["validation_p"]) for each in done]
            held_out[point.method] = [each["auroc"] for each in done]
    if not p:
        return [], "no method has all its seeds yet"
    rows = bench.division.validation
    sizes = sorted({*bench.plan.settings.validation_sizes, len(rows)})
    rng = np.random.default_rng(bench.plan.settings.split_seed)
    positive = bench.material.damaged[rows]
    return selection_noise(p, held_out, positive, sizes=sizes, draws=DRAWS, rng=rng), ""


def _said(each: PointScores) -> str:
    if each.spread is None or each.spread.sd is None:
        return f"{each.method} ({_mean(each):.3f}, one training)"
    return f"{each.method} ({each.spread.mean:.3f} ± {each.spread.sd:.3f})"


def _ranking(opening: str, here: Sequence[PointScores]) -> list[str]:
    if not here:
        return []
    ordered = sorted(here, key=_mean, reverse=True)
    best = ordered[0]
    said = [f"{opening}, {_said(best)} has the highest mean AUROC{_not_told_apart(best, ordered[1:])}"]
    ssl = [each for each in ordered if not is_baseline(each.method)]
    plain = [each for each in ordered if is_baseline(each.method)]
    if ssl and plain:
        verdict = "no difference shown" if _overlap(ssl[0], plain[0]) else "their intervals do not overlap"
        said.append(
            f"{opening}, the best method that uses unlabelled buildings is {_said(ssl[0])}, the best that does not is "
            f"{_said(plain[0])}: {verdict}."
        )
    return said


def _not_told_apart(best: PointScores, others: Sequence[PointScores]) -> str:
    same = [each.method for each in others if _overlap(best, each)]
    if not others:
        return "; it is the only one."
    if not same:
        return ", and its interval overlaps with no other one's."
    if len(same) == len(others):
        return f", but its interval overlaps with those of all {len(others)} others: no difference shown."
    return f", but its interval overlaps with those of {', '.join(same)}: no difference shown between these."


def _ends(name: str, measured: Sequence[PointScores]) -> list[str]:
    """Which methods differ between the first and the last value of an axis."""
    values = list(dict.fromkeys(each.value for each in measured))
    if len(values) < 2:
        return []
    first, last = values[0], values[-1]
    at = {(each.method, each.value): each for each in measured if each.comparable}
    methods = [m for m in dict.fromkeys(each.method for each in measured) if (m, first) in at and (m, last) in at]
    if not methods:
        return []
    changed = []
    for method in methods:
        one, other = at[method, first], at[method, last]
        if not _overlap(one, other):
            changed.append(f"{method} ({_mean(one):.3f} to {_mean(other):.3f})")
    opening = f"{CHANGES[name]} from {first:g} to {last:g}"
    if not changed:
        return [f"{opening}: no difference shown for any of the {len(methods)} methods."]
    rest = "" if len(changed) == len(methods) else f" For the other {len(methods) - len(changed)} no difference shown."
    return [f"{opening}: the intervals do not overlap for {', '.join(changed)}.{rest}"]


def _noise_sentence(findings: Findings) -> str:
    small = findings.noise[0]
    text = (
        f"The validation AUROC of one and the same model varies by ± {small.sd:.3f} (one standard deviation) over "
        f"validation sets of {small.size} buildings"
    )
    if small.gap is None:
        return text + "."
    enough = next((each.size for each in findings.noise if each.sd < small.gap), None)
    compared = (
        "none of the sizes tried makes that deviation smaller than the gap"
        if enough is None
        else f"from {enough} buildings on that deviation is smaller than the gap"
    )
    return f"{text}; the two best methods are {small.gap:.3f} apart, and {compared}."


def _mean(each: PointScores) -> float:
    return float("-inf") if each.spread is None else each.spread.mean


def _overlap(one: PointScores, other: PointScores) -> bool:
    return one.spread is None or other.spread is None or one.spread.overlaps(other.spread)
