"""What a view costs or gives, by logistic regression on frozen features: seconds on a CPU where training takes minutes.

The features are those that fine-tuning starts from (EfficientNet-Lite0, post and post − pre).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from damage_ssl.errors import LabelsError
from damage_ssl.learning.device import pairs_at_once
from damage_ssl.learning.networks.pair_network import NetworkSpec, build_network
from damage_ssl.learning.pair_tensor import to_unit

REGULARISATION = 0.01
"""scikit-learn's C on features of unit deviation: that of the frozen baselines."""

SMALLEST_STD = 1e-6
MOST_PAIRS = 100
"""Of each class in either part; more would cost time and change little."""


@dataclass(frozen=True, kw_only=True)
class LabelledPairs:
    """Pairs to train on and pairs of other blocks to validate on: uint8 [n, 7 or 14, S, S], classes [n]."""

    train: Tensor
    train_class: NDArray[np.int64]
    validation: Tensor
    validation_class: NDArray[np.int64]

    def __post_init__(self) -> None:
        for part, classes in (("trained", self.train_class), ("validated", self.validation_class)):
            if len(np.unique(classes)) < 2:
                raise LabelsError(
                    f"views: the labelled buildings to be {part} on are of fewer than two classes; label some more"
                )

    def drawn(self, rng: np.random.Generator) -> "LabelledPairs":
        """At most `MOST_PAIRS` of each class in either part."""
        train, validation = (_at_most(each, rng) for each in (self.train_class, self.validation_class))
        return LabelledPairs(
            train=self.train[torch.from_numpy(train)],
            train_class=self.train_class[train],
            validation=self.validation[torch.from_numpy(validation)],
            validation_class=self.validation_class[validation],
        )


@dataclass(frozen=True)
class Fitted:
    """A classifier of features; `training_loss` is its mean log loss on what it was fitted on."""

    model: LogisticRegression
    training_loss: float

    def losses(self, features: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log loss of each row [n]; a class that it never saw costs as much as a probability of 10⁻⁶."""
        p = self.model.predict_proba(features)
        known = {int(each): column for column, each in enumerate(self.model.classes_)}
        own = [p[row, known[int(c)]] if int(c) in known else 0.0 for row, c in enumerate(classes)]
        return np.asarray(-np.log(np.maximum(own, 1e-6)))

    def accuracy(self, features: NDArray[np.float32], classes: NDArray[np.int64]) -> float:
        """Accuracy with the classes weighing equally: damaged buildings are few."""
        right = self.model.predict(features) == classes
        return float(np.mean([right[classes == each].mean() for each in np.unique(classes)]))


class FrozenScorer:
    """Standardised frozen features of pairs of one event; `sample` uint8 [n, 7 or 14, S, S] sets mean and deviation."""

    def __init__(self, sample: Tensor, generator: torch.Generator, *, input_px: int = 64) -> None:
        spec = NetworkSpec(
            network="efficientnet-lite0",
            fusion="change",
            channels=int(sample.shape[1]),
            input_px=input_px,
            classes=2,
        )
        self._network = build_network(spec, generator)
        self._mean, self._std = torch.zeros(1), torch.ones(1)
        features = torch.from_numpy(self.features(to_unit(sample)))
        std = features.std(dim=0, correction=0)
        self._mean, self._std = features.mean(dim=0), torch.where(std < SMALLEST_STD, 1.0, std)

    @torch.no_grad()
    def features(self, x: Tensor) -> NDArray[np.float32]:
        """Features [n, F] of views, float32 [n, 7 or 14, S, S] in [0, 1]."""
        parts = [
            (self._network.features(part) - self._mean) / self._std for part in torch.split(x, pairs_at_once(x.device))
        ]
        return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)


def fit(features: NDArray[np.float32], classes: NDArray[np.int64], *, views: int = 1) -> Fitted:
    """Logistic regression, classes weighing equally; of a building seen in several views each weighs its share."""
    model = LogisticRegression(C=REGULARISATION / views, class_weight="balanced", max_iter=1000)
    model.fit(features, classes)
    fitted = Fitted(model, 0.0)
    losses = fitted.losses(features, classes)
    return Fitted(model, float(np.mean([losses[classes == each].mean() for each in np.unique(classes)])))


def _at_most(classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.intp]:
    rows = [rng.permutation(np.flatnonzero(classes == each))[:MOST_PAIRS] for each in np.unique(classes)]
    return np.sort(np.concatenate(rows))
