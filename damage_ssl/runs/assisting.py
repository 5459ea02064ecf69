"""Which predictions may assist a total: those of buildings whose answer did not teach them.

A model that learned from the random answers is right on them more often than on the others, and a total that trusted
it would be wrong and sure of it. So its word counts only of answers that neither taught it nor chose its threshold, and
of those that it judged again without their fold, if it was cross-fitted (Zrnic & Candès 2024, "Cross-prediction-powered
inference", PNAS 121, e2322083121). Where most did and it was not, the linear probe on the event's frozen features is
cross-fitted instead: every building, asked or not, is judged by a model that saw no label of its own fifth. Coverage of
both: `benchmarks/assisted_total.py`.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme
from damage_ssl.errors import WorkspaceError
from damage_ssl.evaluation.calibration import damaged_probability
from damage_ssl.events.event import Event
from damage_ssl.learning.features.linear_probe import EventFeatures, fit_linear_probe
from damage_ssl.runs.live import features_ready, read_features, usable_labels
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.validation import fair_verdicts

_MOSTLY_FAIR, _PARTLY_FAIR, _LEAST_FAIR = 0.8, 0.5, 20
_FOLDS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Assistance:
    """Scores that may assist a total.

    `p_damaged` [N] of the buildings asked about, NaN where nothing is said; `fair` [n] which of the draws it may be
    held against; `words` says what it is.
    """

    p_damaged: NDArray[np.float64]
    fair: NDArray[np.bool_]
    words: str


def assistance(
    event: Event,
    model: MapModel | None,
    labels: pd.DataFrame,
    scheme: ClassScheme,
    building_id: NDArray[np.str_],
    drawn: NDArray[np.intp],
) -> Assistance | None:
    """The scores that may assist; None where there are none that can be trusted.

    Args:
        event: for its frozen features.
        model: behind the map.
        labels: the current ones (`LabelStore.current`).
        scheme: what damaged means.
        building_id: [N].
        drawn: [n] rows of the random answers.
    """
    fair = np.zeros(len(drawn), dtype=bool)
    if model is not None:
        _, fair = fair_verdicts(model, building_id[drawn], fair)
        if fair.mean() >= _MOSTLY_FAIR:
            return _of_model(model, building_id, fair)
    if features_ready(event):
        try:
            found = cross_fitted(read_features(event), labels, scheme)
        except WorkspaceError:
            found = None
        if found is not None:
            words = "frozen features, cross-fitted"
            return Assistance(p_damaged=_in_order(building_id, found), fair=np.ones(len(drawn), bool), words=words)
    if model is not None and fair.mean() >= _PARTLY_FAIR and fair.sum() >= _LEAST_FAIR:
        return _of_model(model, building_id, fair)
    return None


def cross_fitted(features: EventFeatures, labels: pd.DataFrame, scheme: ClassScheme) -> "pd.Series[float] | None":
    """P(damaged) of every building by its id, from labels of the other fifths; None where a fifth has one class only.

    A building's fifth comes from its id, so that those asked and those not are alike in it.
    """
    usable = usable_labels(features, labels, scheme)
    fold = np.array([zlib.crc32(building.encode()) % _FOLDS for building in features.building_id.tolist()])
    p = np.zeros(len(fold))
    for held in range(_FOLDS):
        learn = fold[usable.rows] != held
        if len(np.unique(usable.classes[learn])) < 2:
            return None
        rows, own = usable.rows[learn], np.flatnonzero(fold == held)
        said = fit_linear_probe(features.values[np.append(rows, own)], np.arange(len(rows)), usable.classes[learn])
        probabilities = np.zeros((len(own), len(scheme)))
        probabilities[:, : said.shape[1]] = said[len(rows) :]
        p[own] = damaged_probability(probabilities, scheme)
    return pd.Series(p, index=features.building_id)


def _of_model(model: MapModel, building_id: NDArray[np.str_], fair: NDArray[np.bool_]) -> Assistance:
    table, unseen, words = model.predictions, model.unseen, "model"
    p = pd.Series(table["p_damaged"].to_numpy(float), index=table["building_id"].astype(str))
    if unseen is not None:
        own = damaged_probability(unseen.calibrated[0][unseen.known], unseen.scheme)
        p.update(pd.Series(own, index=unseen.building_id[unseen.known]))
        words = "model, cross-fitted"
    return Assistance(p_damaged=_in_order(building_id, p), fair=fair, words=words)


def _in_order(building_id: NDArray[np.str_], p: "pd.Series[float]") -> NDArray[np.float64]:
    return np.asarray(p.reindex(pd.Index(building_id)), dtype=np.float64)
