"""How right a map is, by a random sample of its buildings that analysts judge without seeing what the map says."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme, LabelValue
from damage_ssl.evaluation.intervals import Z2, wilson_bounds
from damage_ssl.labels.sampling import RANDOM, permanent_random_order
from damage_ssl.labels.schema import WITHDRAWN

AUDIT = "audit"
"""What `drawn` says of an answer about a building of the audit sample."""

TELLS_LITTLE = 0.2
"""An interval wider than this is announced as one that tells little."""


def audit_order(building_id: NDArray[np.str_], seed: int = 0) -> NDArray[np.intp]:
    """The order [N] (rows) in which to audit: `permanent_random_order` of the ids.

    A building among the first n was included with probability n / N.
    """
    return permanent_random_order(building_id, seed)


def audited_rows(building_id: NDArray[np.str_], assessed: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The rows of the assessed buildings in the order in which they are audited: `building_id`, `assessed` [N]."""
    rows = np.flatnonzero(assessed)
    return rows[audit_order(building_id[rows])]


def inclusion_probability(order: NDArray[np.intp], rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """n / N of the sample that ends with each of the `rows`: its place in the order of all N assessed buildings."""
    place = np.empty(int(order.max(initial=-1)) + 1, dtype=np.intp)
    place[order] = np.arange(len(order))
    return (place[rows] + 1) / max(len(order), 1)


def drawn_at_random(log: pd.DataFrame) -> set[str]:
    """Buildings that the queue or the audit drew at random and somebody answered, whatever was said of them since.

    They tell the event's share of damaged buildings; others were chosen, by how they look or where they lie.

    Args:
        log: all rows (`LabelStore.log`).
    """
    return set(log.loc[log["drawn"].isin([RANDOM, AUDIT]) & (log["value"] != WITHDRAWN), "building_id"])


def audit_answers(log: pd.DataFrame) -> pd.DataFrame:
    """The audit's answers: the latest one of each building, whatever was said of it elsewhere, before or after.

    Only these were given without seeing the model. One that its analyst withdrew afterwards does not count.

    Args:
        log: all rows, oldest first (`LabelStore.log`).
    """
    last_withdrawal = log[log["value"] == WITHDRAWN].reset_index().groupby(["building_id", "labeller"])["index"].max()
    given = log[(log["drawn"] == AUDIT) & (log["value"] != WITHDRAWN)]
    key = pd.MultiIndex.from_frame(given[["building_id", "labeller"]])
    withdrawn_at = last_withdrawal.reindex(key).to_numpy(dtype=float)
    standing = ~(withdrawn_at > given.index.to_numpy())
    return pd.DataFrame(given[standing].drop_duplicates("building_id", keep="last"))


@dataclass(frozen=True)
class Share:
    """A share of `n` buildings, with its 95 % interval; None where n is 0."""

    hits: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float | None:
        """The share itself."""
        return self.hits / self.n if self.n else None

    @property
    def tells_little(self) -> bool:
        """True where the interval is too wide to decide anything by it."""
        return self.high - self.low > TELLS_LITTLE

    @property
    def sentence(self) -> str:
        """The share for a person; a wide interval is said before the number that it belongs to."""
        if not self.n:
            return "nothing to go by yet"
        between = f"between {self.low:.0%} and {self.high:.0%}"
        if self.tells_little:
            return f"{self.n:,} answer{'s' if self.n > 1 else ''} tell{'' if self.n > 1 else 's'} little: {between}"
        return f"{self.hits / self.n:.0%}, {between} ({self.n:,} answers)"


def wilson(hits: int, n: int) -> Share:
    """The score interval of a share at 95 % (`intervals.wilson_bounds`); from 0 to 1 without any answer.

    Buildings that are drawn singly at random need no allowance for neighbours being alike: the interval is of the very
    map that they were drawn from, whatever is like what in it (Cochran 1977, section 3.2).
    """
    return Share(hits, n, *(wilson_bounds(hits / n, n, Z2) if n else (0.0, 1.0)))


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """What the audit says of a map.

    `accuracy` is the share of audited buildings whose verdict (damaged or not) is right, `precision` that of the
    buildings called damaged which are, `recall` that of the damaged buildings which are called so. `damaged` is the
    share of audited buildings that analysts call damaged. `no_grade` were answered without a grade (unclear, bad
    imagery …), `learned` taught the model or chose its threshold; both are left out of the shares. `skipped` were
    passed over without an answer: the sample is random only as far as these are like the others.
    """

    population: int
    accuracy: Share
    precision: Share
    recall: Share
    damaged: Share
    no_grade: int
    learned: int
    skipped: int


def audit_report(
    said: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    *,
    population: int,
    no_grade: int = 0,
    learned: int = 0,
    skipped: int = 0,
) -> AuditReport:
    """Compare a map with the audit.

    Precision and recall are shares among a random number of buildings; given that number they are binomial too, so
    that the same interval serves.

    Args:
        said: [n] the map calls the audited building damaged.
        truth: [n] the analyst does.
        population: how many buildings the sample was drawn from.
        no_grade: audited without a grade.
        learned: audited, but known to the model.
        skipped: passed over.
    """
    said, truth = np.asarray(said, dtype=bool), np.asarray(truth, dtype=bool)
    both = int((said & truth).sum())
    return AuditReport(
        population=population,
        accuracy=wilson(int((said == truth).sum()), len(truth)),
        precision=wilson(both, int(said.sum())),
        recall=wilson(both, int(truth.sum())),
        damaged=wilson(int(truth.sum()), len(truth)),
        no_grade=no_grade,
        learned=learned,
        skipped=skipped,
    )


def audit_of_map(
    answers: pd.DataFrame,
    said: NDArray[np.bool_],
    fair: NDArray[np.bool_],
    scheme: ClassScheme,
    *,
    population: int,
    skipped: int = 0,
) -> AuditReport:
    """The audit's answers held against a map.

    Args:
        answers: n of `audit_answers`.
        said: [n] the map calls the building damaged.
        fair: [n] it says so without having known the answer (`taught_nothing`, `validation.fair_verdicts`).
        scheme: what damaged means.
        population: how many buildings the sample was drawn from.
        skipped: passed over.
    """
    graded = [scheme.is_damaged(LabelValue(value)) for value in answers["value"]]
    has_grade = np.array([verdict is not None for verdict in graded], dtype=bool)
    truth = np.array([bool(verdict) for verdict in graded], dtype=bool)
    use = has_grade & fair
    return audit_report(
        said[use],
        truth[use],
        population=population,
        no_grade=int((~has_grade).sum()),
        learned=int((has_grade & ~fair).sum()),
        skipped=skipped,
    )


def taught_nothing(building_id: NDArray[np.str_], *known: Collection[str]) -> NDArray[np.bool_]:
    """Which buildings [n] are in none of the collections that taught a model or chose its threshold."""
    return ~np.isin(building_id, [building for each in known for building in each])


def skipped_before(audited: NDArray[np.bool_]) -> int:
    """How many were passed over: not answered though one later in the audit order was ([N] in that order)."""
    answered = np.flatnonzero(audited)
    return int(answered[-1] + 1 - len(answered)) if len(answered) else 0
