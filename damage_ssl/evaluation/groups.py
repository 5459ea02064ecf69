"""Whether a map is worse for some: its measures by group of buildings, and which differences are more than chance."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme
from damage_ssl.evaluation.calibration import damaged_probability
from damage_ssl.evaluation.intervals import LEAST, TooFewBlocksError, by_block, difference_p
from damage_ssl.evaluation.metrics import Estimate, Evaluation, evaluate

SIGNIFICANT = 0.05

_MEASURES = {"recall": "damaged buildings are found", "specificity": "intact buildings are called intact"}


@dataclass(frozen=True, kw_only=True)
class Group:
    """The evaluation on the buildings of one group, e.g. `by` size those `name`d "under 50 m²"."""

    by: str
    name: str
    evaluation: Evaluation


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A group against all other buildings that are measured.

    `measure` is recall (share of the damaged that are called so) or specificity (share of the intact that are): neither
    depends on how many are damaged there, as precision and F1 do. `p` is the chance of such a difference if there is
    none, `adjusted_p` that of one among all comparisons.
    """

    by: str
    name: str
    measure: str
    share: float
    elsewhere: float
    p: float
    adjusted_p: float

    @property
    def worse(self) -> bool:
        """The map is worse for this group, and not by chance."""
        return self.share < self.elsewhere and self.adjusted_p < SIGNIFICANT

    def __str__(self) -> str:
        return (
            f"worse for {self.by} {self.name}: {self.share:.0%} of its {_MEASURES[self.measure]}, elsewhere "
            f"{self.elsewhere:.0%} (p = {self.adjusted_p:.2g}, corrected)"
        )


@dataclass(frozen=True, kw_only=True)
class GroupReport:
    """Evaluations by group, and what was compared; groups with fewer than five buildings of a kind are not."""

    groups: tuple[Group, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def warnings(self) -> list[str]:
        """Where the map is worse, as sentences."""
        return [str(each) for each in self.comparisons if each.worse]

    @property
    def note(self) -> str:
        """How far to trust the list of warnings."""
        count = len(self.comparisons)
        if not count:
            return "No group has enough buildings to be compared with the others."
        chance = 1 - (1 - SIGNIFICANT) ** count
        return (
            f"{count} comparison{'s' if count > 1 else ''}: of such tables without any true difference, uncorrected "
            f"tests would find one in {chance:.0%}, so only differences that hold after Holm's correction are named. "
            "A group that is not named may be worse all the same: with few buildings only large differences show."
        )

    def to_json(self) -> dict[str, Any]:
        """`{"groups": […], "comparisons": […], "warnings": […], "note": …}`, plain JSON values."""
        return {
            "groups": [{"by": each.by, "name": each.name, **each.evaluation.to_json()} for each in self.groups],
            "comparisons": [{**asdict(each), "worse": each.worse} for each in self.comparisons],
            "warnings": self.warnings,
            "note": self.note,
        }

    def lines(self) -> list[str]:
        """For a person: a line for each group, then the warnings."""
        shown = ("f1", "precision", "recall", "auroc")
        return [
            *(
                f"{each.by} {each.name}: {each.evaluation.n:,} building{'s' if each.evaluation.n > 1 else ''}, "
                f"{each.evaluation.n_damaged:,} damaged; "
                + ", ".join(f"{name} {_shortly(getattr(each.evaluation, name))}" for name in shown)
                for each in self.groups
            ),
            *(self.warnings or ["no group is shown to be worse than the others"]),
            self.note,
        ]


def evaluate_groups(
    probabilities: NDArray[np.float64],
    classes: NDArray[np.integer],
    damaged: NDArray[np.bool_],
    block: NDArray[np.str_],
    groups: Mapping[str, NDArray[np.str_]],
    *,
    scheme: ClassScheme,
    threshold: float,
) -> GroupReport:
    """Evaluate each group by itself, and compare it with all others.

    Shares are compared by Student's test with the design effect of the blocks (`intervals.difference_p`), and p values
    are corrected for the number of comparisons (Holm 1979, Scand. J. Stat. 6, p. 65).

    Args:
        probabilities: [N, C], as `evaluate` takes them; so are `classes`, `damaged`, `block`.
        classes: [N].
        damaged: [N].
        block: [N].
        groups: by what is grouped, the name of each building's group [N]; an empty name is no group.
        scheme: the classes.
        threshold: damaged is P(damaged) ≥ threshold.

    Raises:
        InputError: as `evaluate` does.
    """
    said = damaged_probability(probabilities, scheme) >= threshold
    damaged = np.asarray(damaged, dtype=bool)
    index = np.unique(block, return_inverse=True)[1]
    right = {"recall": (said & damaged, damaged), "specificity": (~said & ~damaged, ~damaged)}
    found: list[Group] = []
    compared: list[Comparison] = []
    for by, of_building in groups.items():
        for name in dict.fromkeys(sorted(set(of_building.tolist()) - {""}, key=_numbers_first)):
            rows = of_building == name
            evaluation = evaluate(
                probabilities[rows], classes[rows], damaged[rows], block[rows], scheme=scheme, threshold=threshold
            )
            found.append(Group(by=by, name=name, evaluation=evaluation))
            for measure, (hits, of) in right.items():
                sides = [(hits & side, of & side) for side in (rows, ~rows)]
                if min(int(of.sum()) for _, of in sides) < LEAST:
                    continue
                share, elsewhere = (float(hits.sum() / of.sum()) for hits, of in sides)
                here, there = (by_block(*side, index) for side in sides)
                try:
                    p = difference_p(here, there)
                except TooFewBlocksError:
                    continue
                compared.append(
                    Comparison(by=by, name=name, measure=measure, share=share, elsewhere=elsewhere, p=p, adjusted_p=1.0)
                )
    order = np.argsort([each.p for each in compared], kind="stable")
    adjusted = np.maximum.accumulate([(len(order) - rank) * compared[row].p for rank, row in enumerate(order)])
    for row, p in zip(order, adjusted.tolist(), strict=True):
        compared[row] = replace(compared[row], adjusted_p=min(p, 1.0))
    return GroupReport(groups=tuple(found), comparisons=tuple(compared))


def _shortly(estimate: Estimate) -> str:
    if estimate.value is None:
        return "undefined"
    return str(estimate) if estimate.low is not None else f"{estimate.value:.3f} (too few to say)"


def _numbers_first(name: str) -> tuple[float, str]:
    """Classes of size in their order, names by the alphabet: `under 50 m²` before `50 to 100 m²`."""
    words = name.split()
    return (float(words[0]) if words and words[0].isdigit() else -1.0 if name.startswith("under ") else np.inf), name
