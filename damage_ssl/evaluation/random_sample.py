"""Which answers of a label log were drawn by design, from whom, and what is known besides: what totals rest on.

A label that was not drawn by design is never counted as if it had been. It is known, though: a building that somebody
chose to label before a random draw was no candidate of that draw, so the draw speaks of the others (Des Raj 1956,
"Some estimators in sampling with varying probabilities without replacement", JASA 51, p. 269: known so far, plus what
the draw says of all that was left).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.evaluation.audit import AUDIT, audit_answers
from damage_ssl.labels.sampling import RANDOM
from damage_ssl.labels.schema import WITHDRAWN

FROM_ALL = -1
"""In place of a row of the log: the draw was from all buildings, whoever was labelled before."""
NEVER_DRAWN = -2
"""In place of a row of the log: of a building that was a candidate of no draw."""

_SAME_CHANCE = 1.5
"""Probabilities within this factor count as equal: their weights would cost more than they correct."""
_ALL = (0.98, 1.05)
"""A call that drew from so many times all buildings drew from all: some were taken out of the event since."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomSample:
    """Random draws about the rows of `size` buildings, and the buildings that are known without having been drawn."""

    size: int
    row: NDArray[np.intp]
    """[n] the buildings drawn, each once."""
    weight: NDArray[np.float64]
    """[n] proportional to 1 / the chance of being drawn; all 1 where it was the same."""
    cluster: NDArray[np.intp]
    """[n] which were drawn together; a number of its own for each that was drawn singly."""
    after: NDArray[np.intp]
    """[n] the row of the log at which it was drawn, `FROM_ALL` where nobody was left out."""
    known_row: NDArray[np.intp]
    """[m] the buildings known otherwise."""
    known_at: NDArray[np.intp]
    """[m] the row of the log from which they were known, `NEVER_DRAWN` for one that could not be drawn."""

    @property
    def n(self) -> int:
        """How many were drawn."""
        return len(self.row)

    @property
    def clusters(self) -> int:
        """How many draws there were: tiles, and buildings drawn singly."""
        return len(np.unique(self.cluster))

    @property
    def is_clustered(self) -> bool:
        """True where buildings were drawn together."""
        return self.clusters < self.n

    @property
    def has_equal_chances(self) -> bool:
        """True where every candidate had the same chance."""
        return bool((self.weight == 1.0).all())

    def without(self, taught: NDArray[np.bool_]) -> "RandomSample":
        """Some of the draws [n] taken as known instead: they taught the model that is to assist."""
        at = np.where(self.after == FROM_ALL, NEVER_DRAWN, self.after)
        return RandomSample(
            size=self.size,
            row=self.row[~taught],
            weight=self.weight[~taught],
            cluster=self.cluster[~taught],
            after=self.after[~taught],
            known_row=np.concatenate([self.known_row, self.row[taught]]),
            known_at=np.concatenate([self.known_at, at[taught]]),
        )

    def within(self, inside: NDArray[np.bool_]) -> "RandomSample":
        """The part of it that lies among some of the buildings, [size], which are numbered anew."""
        new_row = np.cumsum(inside) - 1
        drawn, known = inside[self.row], inside[self.known_row]
        return RandomSample(
            size=int(inside.sum()),
            row=new_row[self.row[drawn]],
            weight=self.weight[drawn],
            cluster=self.cluster[drawn],
            after=self.after[drawn],
            known_row=new_row[self.known_row[known]],
            known_at=self.known_at[known],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class LogSample:
    """The random sample of a log among some buildings, and what was left out of it."""

    sample: RandomSample
    ungraded: int
    """Drawn, but answered without a grade, or the answer was taken back."""
    unusable: int
    """Rows whose probability is none, of buildings of the event."""


def current_values(log: pd.DataFrame) -> "pd.Series[str]":
    """The latest answer of each building by its id; those withdrawn are left out."""
    last = log.drop_duplicates("building_id", keep="last")
    last = last[last["value"] != WITHDRAWN]
    return pd.Series(last["value"].to_numpy(object), index=last["building_id"].to_numpy(object))


def sample_of_log(
    log: pd.DataFrame, row_of: NDArray[np.intp], graded: NDArray[np.bool_], candidate: NDArray[np.bool_]
) -> LogSample:
    """Read the random draws out of a log.

    Drawn by design are the rows `random` and `audit`, and every other row that carries a probability of its own or of
    its cluster. Draws with the same chance for each candidate count alike, however many a call drew: what a call gives
    as probability is draws / candidates of that call. Where the probabilities are of another kind (importance,
    strata) each draw counts 1 / probability (Hájek 1971). A building that was drawn twice counts once, as audited.

    Args:
        log: all rows about the map's buildings, oldest first (`LabelStore.log`), L.
        row_of: [L] the row 0 to N - 1 among the assessed buildings of what each speaks of, -1 for one not assessed.
        graded: [N] the assessed buildings with a grade or verdict now.
        candidate: [N] those that a draw could take: with a pair of pictures.
    """
    log = log.reset_index(drop=True)
    given = (log["value"] != WITHDRAWN).to_numpy(bool)
    design, unusable = _by_design(log)
    design &= given
    first_given = log.index[given].to_series().groupby(log["building_id"][given].to_numpy()).min()
    audit = audit_answers(log)
    drawn = pd.concat([audit, log[design & (log["drawn"] != AUDIT).to_numpy()]])
    # An audit's answer goes before, since it is of all buildings; else the first draw is the one that found it.
    drawn = drawn.drop_duplicates("building_id", keep="first")
    at = drawn.index.to_numpy(np.intp)
    usable = np.append(graded, False)[row_of[at]]  # -1 is the last
    everyone = _drawn_from_all(drawn, at, first_given, len(graded))
    ungraded = int((~usable).sum())
    drawn, at, everyone = drawn[usable], at[usable], everyone[usable]
    rows = row_of[at]
    known = graded.copy()
    known[rows] = False
    known_row = np.flatnonzero(known)
    first_at = np.full(len(graded), len(log), dtype=np.intp)
    spoken = np.flatnonzero(given & (row_of >= 0))
    np.minimum.at(first_at, row_of[spoken], spoken)
    labelled_before = np.searchsorted(np.sort(first_given.to_numpy()), at)
    sample = RandomSample(
        size=len(graded),
        row=rows,
        weight=_weights(drawn, len(graded) - labelled_before),
        cluster=_clusters(drawn),
        after=np.where(everyone, FROM_ALL, at),
        known_row=known_row,
        known_at=np.where(candidate[known_row], first_at[known_row], NEVER_DRAWN),
    )
    return LogSample(sample=sample, ungraded=ungraded, unusable=unusable)


def _by_design(log: pd.DataFrame) -> tuple[NDArray[np.bool_], int]:
    """Which rows [rows of the log] were drawn by design, and how many say so with a probability that is none."""
    odd = np.zeros(len(log), dtype=bool)
    has = np.zeros(len(log), dtype=bool)
    for name in ("inclusion_probability", "cluster_probability"):
        p = log[name].to_numpy(float)
        odd |= np.isfinite(p) & ~((p > 0) & (p <= 1)) | np.isinf(p)
        has |= np.isfinite(p)
    said = log["drawn"].isin([RANDOM, AUDIT]).to_numpy(bool) & (log["cluster_id"] == "").to_numpy(bool)
    return (has | said) & ~odd, int(odd.sum())


def _drawn_from_all(
    drawn: pd.DataFrame, at: NDArray[np.intp], first_given: "pd.Series[int]", size: int
) -> NDArray[np.bool_]:
    """Which draws [n] were from all buildings and not from those without a label then.

    The audit and tiles are. Of the others those whose probability says so: what was drawn with it makes up so many
    candidates, or took a building that had a label already.
    """
    p = drawn["inclusion_probability"].to_numpy(float)
    again = at > first_given.reindex(drawn["building_id"]).to_numpy(float)
    table = pd.DataFrame({"p": p, "again": again})
    by_call = table.groupby("p")
    candidates = by_call["again"].transform("size") / table["p"]
    whole = candidates.between(_ALL[0] * size, _ALL[1] * size) | by_call["again"].transform("any").eq(True)
    special = (drawn["drawn"] == AUDIT) | (drawn["cluster_id"] != "") | (drawn["stratum"] != "")
    return np.asarray(special.to_numpy(bool) | whole.to_numpy(bool) | (np.isnan(p) & again))


def _weights(drawn: pd.DataFrame, open_then: NDArray[np.intp]) -> NDArray[np.float64]:
    """[n], with mean 1 among the draws of the audit, of tiles, and of single buildings: each counts by its answers.

    `open_then` [n]: how many buildings had no label when each was answered.
    """
    p = drawn["inclusion_probability"].to_numpy(float)
    tile = (drawn["cluster_id"] != "").to_numpy(bool)
    audit = (drawn["drawn"] == AUDIT).to_numpy(bool)
    single = ~tile & ~audit
    p = np.where(tile & np.isnan(p), drawn["cluster_probability"].to_numpy(float), p)
    weight = np.ones(len(p))
    for kind in (tile, single):
        known = kind & np.isfinite(p)
        equal = not known.any() or p[known].max() <= _SAME_CHANCE * p[known].min()
        if equal or (kind is single and _are_calls(p[known], open_then[known])):
            continue
        weight[known] = 1 / p[known]
        weight[known] /= weight[known].mean()
    return weight


def _are_calls(p: NDArray[np.float64], open_then: NDArray[np.intp]) -> bool:
    """Whether each probability is a small whole number of draws over the buildings without a label at that time."""
    _, which, count = np.unique(p, return_inverse=True, return_counts=True)
    draws = p * open_then
    whole = np.rint(draws)
    return bool(((np.abs(draws - whole) < 0.1) & (whole >= 1) & (whole <= np.maximum(2 * count[which], 3))).all())


def _clusters(drawn: pd.DataFrame) -> NDArray[np.intp]:
    names = drawn["cluster_id"].to_numpy(object)
    singly = np.array([f"\0{number}" for number in range(len(names))], dtype=object)
    return np.asarray(
        np.unique(np.where(names == "", singly, names).astype(str), return_inverse=True)[1], dtype=np.intp
    )
