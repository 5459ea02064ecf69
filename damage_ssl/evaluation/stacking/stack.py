"""The spatial stack: a model's own score, its neighbours' and a map of the labels, weighted by what the labels show.

A last step after any model. On log-odds of damaged z = b + a · own + Σ w · column: stacked generalisation (Wolpert
1992) with non-negative weights (Breiman 1996, Machine Learning 24). Neighbours' scores smooth what single pictures say
(one step of mean-field inference on a graph of buildings), the map is kriged from the labels alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from damage_ssl.evaluation.stacking.label_map import MOST_LABELS, LabelMap, distances, krige_labels
from damage_ssl.evaluation.stacking.neighbourhood import OWN_WEIGHT, Neighbourhood, neighbourhood
from damage_ssl.evaluation.stacking.weights import Weights, fit_weights

NEIGHBOURS, PLACES = "neighbours", "places"
"""The two columns that the stack makes itself."""

LEAST_A_KIND = 2
"""With fewer labels of either kind beside those of a fold the score stays as it is."""

MOSTLY_PLACES = 0.5
"""From this share of the map on it follows the places of the labels more than what the images show."""

SURE = 3.0
"""Log-odds of a labelled building as a neighbour (0.95), and the most that a picture counts for there."""

_OTHER_SD = 1.0
_MOST_SAMPLED = 2000


@dataclass(frozen=True, kw_only=True, eq=False)
class StackLabels:
    """The labels of a stack.

    `rows` [n] of the buildings, `damaged` [n]; `unseen` [n] the model's log-odds of damaged without having learned from
    the label, NaN where it has: then the label shows its neighbours and the map, and judges nothing. `fold` [n] is the
    part that each was left out with.
    """

    rows: NDArray[np.intp]
    damaged: NDArray[np.bool_]
    unseen: NDArray[np.float64]
    fold: NDArray[np.intp]

    @property
    def judging(self) -> NDArray[np.bool_]:
        """Which labels the model has not learned from [n]."""
        return np.isfinite(self.unseen)

    def take(self, kept: NDArray[np.bool_]) -> "StackLabels":
        """Some of them."""
        return StackLabels(
            rows=self.rows[kept], damaged=self.damaged[kept], unseen=self.unseen[kept], fold=self.fold[kept]
        )


@dataclass(frozen=True, kw_only=True)
class StackFacts:
    """What a stack was found to be.

    `weights` are those of the added columns by name, `own` that of the model's own score, `intercept` in log-odds.
    `place_share` is the share of the variance of the map's log-odds, over buildings without a label, that comes from
    where labels lie: kriged, or as neighbours. `neighbour_range_m` and `map_range_m` are where each kernel falls to
    1/e. All weights 0, and `own` 1: the score as it was.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    own: float = 1.0
    intercept: float = 0.0
    place_share: float = 0.0
    neighbour_range_m: float = 0.0
    map_range_m: float = 0.0
    n_labels: int = 0

    @property
    def used(self) -> bool:
        """False where nothing but the own score counts."""
        return any(weight > 0 for weight in self.weights.values())

    @property
    def reach_m(self) -> float:
        """How far from a label it still says much: twice the range of the map, or of neighbours without a map."""
        return 2 * (self.map_range_m if self.weights.get(PLACES, 0.0) > 0 else self.neighbour_range_m)

    @property
    def follows_places(self) -> bool:
        """True where the map follows the places of the labels more than what the images show."""
        return self.place_share > MOSTLY_PLACES


@dataclass(frozen=True, kw_only=True, eq=False)
class Stacked:
    """A stack's log-odds of damaged.

    `log_odds` [N]; those of a labelled building do not use its own label as neighbour or on the map. `unseen` [n] are
    those of the labels by a stack (weights, ranges, neighbours and map) without any label of their fold; NaN where the
    model itself has learned from the label. Whether there is a stack at all is decided on all labels. Both are as if
    damaged and intact were equally frequent; the share that the event has is for the calibration after it to say.
    """

    log_odds: NDArray[np.float64]
    unseen: NDArray[np.float64]
    facts: StackFacts


def fit_stack(
    place: NDArray[np.float64],
    own: NDArray[np.float64],
    labels: StackLabels,
    *,
    others: Mapping[str, NDArray[np.float64]] | None = None,
    near: Neighbourhood | None = None,
    own_without: Mapping[int, NDArray[np.float64]] | None = None,
) -> Stacked:
    """Fit the weights on the labels and give every building its log-odds.

    Args:
        place: [N, 2] metres in one projected CRS.
        own: [N] the model's log-odds of damaged, not calibrated.
        labels: which the model was taught or checked by.
        others: [N] further log-odds by name, such as those of a prior model; each gets a weight ≥ 0.
        near: the neighbours of the buildings, for whoever has them (`neighbourhood`).
        own_without: by fold, [N] what the model says of every building without the labels of that fold. Without it the
            model's final scores stand for unlabelled neighbours of the labels that judge.
    """
    others = dict(others or {})
    near = neighbourhood(place) if near is None else near
    task = _Task(place=place, own=own, near=near, others=others, own_without=dict(own_without or {}))
    as_it_was = Stacked(log_odds=own, unseen=labels.unseen, facts=StackFacts(n_labels=len(labels.rows)))
    parts = [labels.judging & (labels.fold == fold) for fold in np.unique(labels.fold[labels.judging])]
    if not parts or not all(_enough(labels.take(~held)) for held in parts):
        return as_it_was
    fitted = task.fit(labels)
    if not any(fitted.weights.added):
        return as_it_was
    unseen = np.full(len(labels.rows), np.nan)
    for held in parts:
        found = task.fit(labels.take(~held))
        unseen[held] = found.at(labels.rows[held], labels.unseen[held], int(labels.fold[held][0]))
    return Stacked(log_odds=fitted.everywhere(), unseen=unseen, facts=fitted.facts())


def _enough(labels: StackLabels) -> bool:
    judged = labels.damaged[labels.judging]
    return min(int(judged.sum()), int((~judged).sum())) >= LEAST_A_KIND


@dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
    """What does not change between the fits of one stack."""

    place: NDArray[np.float64]
    own: NDArray[np.float64]
    near: Neighbourhood
    others: Mapping[str, NDArray[np.float64]]
    own_without: Mapping[int, NDArray[np.float64]]

    def fit(self, labels: StackLabels) -> "_Fit":
        """The stack of these labels."""
        drawn = labels.take(_drawn(len(labels.rows)))
        judging = drawn.judging
        seen, damaged, fold = drawn.unseen[judging], drawn.damaged[judging], drawn.fold[judging]
        base = fit_weights(seen, _no_columns(seen), (), damaged, fold)
        label_map = krige_labels(self.place[drawn.rows], drawn.damaged, self.near.spacing_m)
        fit = _Fit(task=self, labels=labels, drawn=drawn, base=base, label_map=label_map, weights=base)
        alike = self.near.autocorrelation(np.clip(fit.scaled(self.own), -SURE, SURE))
        deviation = [alike, label_map.structure, *(_OTHER_SD for _ in self.others)]
        return replace(fit, weights=fit_weights(fit.scaled(seen), fit.label_columns(), deviation, damaged, fold))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fit:
    """The stack of some labels. `drawn` of them make the map and judge the weights; all are neighbours."""

    task: _Task
    labels: StackLabels
    drawn: StackLabels
    base: Weights
    """Brings the model's own log-odds to the scale that the labels speak for."""
    label_map: LabelMap
    weights: Weights

    def scaled(self, own: NDArray[np.float64]) -> NDArray[np.float64]:
        """The model's log-odds on the scale that its labels speak for."""
        return self.base.apply(own, _no_columns(own))

    def everywhere(self) -> NDArray[np.float64]:
        """Log-odds [N]."""
        return self._stacked(self.scaled(self.task.own), self.columns)

    @cached_property
    def columns(self) -> NDArray[np.float64]:
        """The added columns of all buildings [N, k]; at a label without that label itself."""
        scaled = np.clip(self.scaled(self.task.own), -SURE, SURE)
        places = self.label_map.log_odds(self.task.place)
        places[self.drawn.rows] = self.label_map.left_out(np.eye(len(self.drawn.rows), dtype=bool))
        neighbours = self.task.near.mean(self._clamped(scaled), scaled)
        return np.column_stack([neighbours, places, *self.task.others.values()])

    def at(self, rows: NDArray[np.intp], own: NDArray[np.float64], fold: int) -> NDArray[np.float64]:
        """Log-odds of buildings whose labels this fit has not seen; `own` [n] of the model without their fold."""
        scaled = self.scaled(own)
        places = self.label_map.log_odds(self.task.place[rows])
        others = (column[rows] for column in self.task.others.values())
        columns = np.column_stack([self._neighbours(rows, scaled, fold), places, *others])
        return self._stacked(scaled, columns)

    def label_columns(self) -> NDArray[np.float64]:
        """The added columns of the labels that judge, each without itself and without labels nearer than labels are to
        the buildings without any."""
        drawn, judging = self.drawn, self.drawn.judging
        too_near = _too_near(self.task.place, drawn.rows)
        scaled = self.scaled(drawn.unseen)
        neighbours = np.zeros(len(drawn.rows))
        for fold in np.unique(drawn.fold[judging]):
            mine = np.flatnonzero(judging & (drawn.fold == fold))
            neighbours[mine] = self._neighbours(drawn.rows[mine], scaled[mine], int(fold), too_near[mine])
        others = (column[drawn.rows] for column in self.task.others.values())
        return np.asarray(np.column_stack([neighbours, self.label_map.left_out(too_near), *others])[judging])

    def facts(self) -> StackFacts:
        """The weights by name, ranges, and what places carry."""
        added = dict(zip((NEIGHBOURS, PLACES, *self.task.others), self.weights.added, strict=True))
        return StackFacts(
            weights=added,
            own=self.base.own * self.weights.own,
            intercept=self.weights.intercept + self.weights.own * self.base.intercept - self._share_odds,
            place_share=self._place_share(),
            neighbour_range_m=self.task.near.range_m,
            map_range_m=self.label_map.range_m,
            n_labels=len(self.labels.rows),
        )

    def _place_share(self) -> float:
        """Of the variance of the log-odds of buildings without a label: what labels as neighbours and the map give."""
        whole, scaled = self.everywhere(), np.clip(self.scaled(self.task.own), -SURE, SURE)
        of_labels = self.columns[:, 0] - self.task.near.mean(scaled, scaled)
        given = self.weights.added[0] * of_labels + self.weights.added[1] * self.columns[:, 1]
        free = np.ones(len(whole), dtype=bool)
        free[self.labels.rows] = False
        if free.sum() < 2 or (spread := float(np.var(whole[free]))) == 0:
            return 0.0
        return float(np.clip(np.cov(given[free], whole[free], bias=True)[0, 1] / spread, 0.0, 1.0))

    @property
    def _share_odds(self) -> float:
        """Log-odds of the share of damaged labels that the weights were fitted on."""
        judged = self.drawn.damaged[self.drawn.judging]
        return float(np.log((judged.sum() + 0.5) / ((~judged).sum() + 0.5)))

    def _stacked(self, scaled: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.weights.apply(scaled, columns) - self._share_odds

    def _clamped(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        found = scaled.copy()
        found[self.labels.rows] = np.where(self.labels.damaged, SURE, -SURE)
        return found

    def _neighbours(
        self,
        rows: NDArray[np.intp],
        scaled: NDArray[np.float64],
        fold: int,
        too_near: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float64]:
        """The neighbours' mean [n] of buildings of one fold: scores without it, and labels but for those of the drawn
        that are `too_near` [n, drawn]."""
        scores = np.clip(self.scaled(self.task.own_without.get(fold, self.task.own)), -SURE, SURE)
        clamped = self._clamped(scores)
        found = self.task.near.mean(clamped, np.clip(scaled, -SURE, SURE), rows)
        if too_near is None:
            return found
        weight = self.task.near.weight[rows]
        added = (clamped - scores)[self.drawn.rows]  # by each label, to its score
        among = weight[:, self.drawn.rows].multiply(too_near) @ added
        return np.asarray(found - among / (weight.sum(axis=1) + OWN_WEIGHT), dtype=np.float64)


def _no_columns(own: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.zeros((len(own), 0))


def _drawn(count: int) -> NDArray[np.bool_]:
    """Which of so many labels make the map: all, or as many as are solved in time, drawn."""
    kept = np.zeros(count, dtype=bool)
    kept[np.random.default_rng(0).permutation(count)[:MOST_LABELS]] = True
    return kept


def _too_near(place: NDArray[np.float64], rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which labels [n, n] to leave out for each label, so that labels are as far from labels as other buildings are.

    Leave-one-out with matched distances (Milà et al. 2022, Methods in Ecology and Evolution 13, doi:10.1111/
    2041-210X.13851): labels in clusters would make the map seem better than it is where nobody labelled. The q-th
    quantile of the distances between labels is brought up to that of all other buildings to their nearest label.
    """
    from scipy.spatial import KDTree

    at = place[rows]
    apart = distances(at, at)
    np.fill_diagonal(apart, np.inf)
    nearest = apart.min(axis=1)
    free = np.ones(len(place), dtype=bool)
    free[rows] = False
    sample = np.flatnonzero(free)
    if len(sample) > _MOST_SAMPLED:
        sample = np.random.default_rng(0).choice(sample, _MOST_SAMPLED, replace=False)
    excluded = np.eye(len(rows), dtype=bool)
    if not len(sample) or len(rows) < 2:
        return excluded
    wanted = KDTree(at).query(place[sample])[0]
    rank = (np.argsort(np.argsort(nearest, kind="stable")) + 0.5) / len(rows)
    least = np.quantile(wanted, rank)
    return np.asarray(excluded | (apart < least[:, None]))
