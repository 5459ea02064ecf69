"""Fit a prior model on the labelled buildings of several sources: simulated towns, or events."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from damage_ssl.errors import LabelsError
from damage_ssl.learning.features.pair_features import PairFeatures

REGULARISATION = 0.001
"""scikit-learn's C on standardised columns, with `SOURCE_WEIGHT` for each source."""
SOURCE_WEIGHT = 700.0
"""What the buildings of a source weigh together, half of it each class: no source counts more for being larger."""
FOLDS = 3
_LEAST_OF_A_CLASS = 3
_TEMPERATURES = np.exp(np.linspace(np.log(0.25), np.log(8.0), 41))


@dataclass(frozen=True, eq=False)
class Source:
    """One event or town: its standardised features float16 [n, F] of labelled buildings, and `damaged` [n]."""

    name: str
    features: NDArray[np.float16]
    damaged: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedPrior:
    """Weights [F], intercept, temperature, and the mean AUROC on sources that were left out (None: one source)."""

    weights: NDArray[np.float32]
    intercept: float
    temperature: float
    auroc: float | None


def labelled_source(
    name: str, features: PairFeatures, building_id: NDArray[np.str_], damaged: NDArray[np.bool_]
) -> Source:
    """The labelled buildings of an event as a source; features are standardised over all of its buildings.

    Raises:
        LabelsError: too few of one class have features.
    """
    label_of = dict(zip(building_id.tolist(), damaged.tolist(), strict=True))
    known = np.array([building in label_of for building in features.building_id.tolist()], dtype=bool)
    classes = np.array([label_of[b] for b in features.building_id[known].tolist()], dtype=bool)
    if min(int(classes.sum()), int((~classes).sum())) < _LEAST_OF_A_CLASS:
        raise LabelsError(
            f"{name}: a prior model needs {_LEAST_OF_A_CLASS} labelled buildings of either class, damaged and not; "
            f"there are {int(classes.sum())} and {int((~classes).sum())}"
        )
    parts, start = [], 0
    for part in features.standardised():
        parts.append(part[known[start : start + len(part)]].astype(np.float16))
        start += len(part)
    return Source(name, np.concatenate(parts), classes)


def fit_prior(sources: Sequence[Source]) -> FittedPrior:
    """Logistic regression; every source weighs the same, and in each source either class.

    Folds of whole sources are left out in turn: what is then said of them gives the temperature, by their log-loss, and
    the AUROC.
    """
    weights, intercept = _fit(sources)
    if len(sources) < 2:
        return FittedPrior(weights=weights, intercept=intercept, temperature=1.0, auroc=None)
    folds = min(FOLDS, len(sources))
    aurocs, margins, shares = [], [], []
    for fold in range(folds):
        held = [source for n, source in enumerate(sources) if n % folds == fold]
        kept = [source for n, source in enumerate(sources) if n % folds != fold]
        other, offset = _fit(kept)
        for source in held:
            logits = source.features.astype(np.float32) @ other + offset
            aurocs.append(float(roc_auc_score(source.damaged, logits)))
            margins.append(np.where(source.damaged, logits, -logits))
            shares.append(_weights_of(source))
    margin, share = np.concatenate(margins), np.concatenate(shares)
    losses = [float(share @ np.logaddexp(0, -margin / each)) for each in _TEMPERATURES]
    return FittedPrior(
        weights=weights,
        intercept=intercept,
        temperature=float(_TEMPERATURES[int(np.argmin(losses))]),
        auroc=float(np.mean(aurocs)),
    )


def _fit(sources: Sequence[Source]) -> tuple[NDArray[np.float32], float]:
    features = np.concatenate([source.features for source in sources]).astype(np.float32)
    damaged = np.concatenate([source.damaged for source in sources])
    weight = np.concatenate([_weights_of(source) for source in sources])
    model = LogisticRegression(C=REGULARISATION, max_iter=200, tol=1e-3)
    model.fit(features, damaged, sample_weight=weight)
    return model.coef_[0].astype(np.float32), float(model.intercept_[0])


def _weights_of(source: Source) -> NDArray[np.float64]:
    """What each building of a source weighs, [n], `SOURCE_WEIGHT` together."""
    share = source.damaged.mean()
    each = np.where(source.damaged, 0.5 / share, 0.5 / (1 - share))
    return np.asarray(each * SOURCE_WEIGHT / len(source.damaged), dtype=np.float64)
