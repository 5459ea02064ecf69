"""Affinity and diversity of views: Gontijo-Lopes et al. 2020, arXiv:2002.08973, section 3.

Affinity is the accuracy on changed validation pairs of a model trained on untouched ones, relative to its accuracy on
untouched ones: how far the views leave the event's pictures. Diversity is the final training loss under the views,
relative to training on untouched pairs: how much there is to learn. The paper finds that both are wanted. The models
here are regressions on frozen features, so that a policy takes seconds; fine-tuning may judge otherwise.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from damage_ssl.learning.augmentation.frozen_scorer import Fitted, FrozenScorer, LabelledPairs, fit
from damage_ssl.learning.augmentation.operations import NAMES, apply_table
from damage_ssl.learning.augmentation.views import Views, ViewSettings
from damage_ssl.learning.pair_tensor import to_unit

Draw = Callable[[Tensor, torch.Generator], Tensor]
"""Pairs in [0, 1] → views of them."""

TRAIN_VIEWS = 4
UNTOUCHED = "untouched"
DEFAULT = "random"
CHOICES = (DEFAULT, "augmix")
"""Policies that strong views may follow; weak views are measured beside them."""


@dataclass(frozen=True, kw_only=True)
class PolicyMeasure:
    """One row: `accuracy` and `loss` are on untouched validation pairs, of the model trained under these views.

    `better_by` is how much lower its loss is than the default policy's, in paired standard errors (None: no default).
    """

    name: str
    is_policy: bool
    affinity: float
    diversity: float
    accuracy: float
    loss: float
    better_by: float | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """Rows in the order measured; `chosen` is a policy's name; `left_out` did not fit into the time."""

    rows: tuple[PolicyMeasure, ...]
    chosen: str
    left_out: tuple[str, ...]
    trained_on: int
    validated_on: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def policies() -> dict[str, Draw]:
    """The policies that a training can have, by the name that `strong_policy` has for them; `weak` views beside."""
    views = Views()
    augmix = Views(ViewSettings(strong_policy="augmix"))
    return {DEFAULT: views.strong, "weak": views.weak, "augmix": augmix.strong}


def single_operations() -> dict[str, Draw]:
    """Each operation of the table alone, its strength uniform, each date its own."""

    def only(name: str) -> Draw:
        def draw(x: Tensor, generator: torch.Generator) -> Tensor:
            strength = torch.rand(len(x), 2, generator=generator) * 2 - 1
            return apply_table(x, [name], torch.zeros(len(x), dtype=torch.int64), strength, generator)

        return draw

    return {name: only(name) for name in NAMES if name != "identity"}


def measure(
    pairs: LabelledPairs,
    *,
    seconds: float = 120.0,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Measure the policies, then single operations until `seconds` are over (the policies are measured in any case).

    The policy chosen has the lowest validation loss, unless the default's is within a standard error of it.
    """
    began = clock()
    pairs = pairs.drawn(np.random.default_rng(seed))
    generator = torch.Generator().manual_seed(seed)
    bench = _Bench.of(pairs, generator)
    named = policies()
    rows, losses = [bench.untouched], {}
    everything = {**named, **single_operations()}
    left_out = list(everything)
    for name, draw in everything.items():
        if name not in named and clock() - began > seconds:
            break
        row, losses[name] = bench.measured(name, draw, generator, is_policy=name in CHOICES)
        rows.append(row)
        left_out.remove(name)
        if progress is not None:
            progress(1 - len(left_out) / len(everything))
    losses[UNTOUCHED] = bench.untouched_losses
    weight = _weights(pairs.validation_class)
    compared = tuple(_compared(row, weight * (losses[DEFAULT] - losses[row.name])) for row in rows)
    return Report(
        rows=compared,
        chosen=choose(compared),
        left_out=tuple(left_out),
        trained_on=len(pairs.train),
        validated_on=len(pairs.validation),
        seconds=round(clock() - began, 1),
    )


def choose(rows: tuple[PolicyMeasure, ...]) -> str:
    """The policy of lowest loss, or the default where the lowest is not a standard error below it."""
    best = min((row for row in rows if row.is_policy), key=lambda row: row.loss)
    return best.name if best.better_by is None or best.better_by > 1 else DEFAULT


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """What every row needs: the frozen network, the model of untouched pairs and how good that is."""

    pairs: LabelledPairs
    scorer: FrozenScorer
    clean: Fitted
    clean_accuracy: float
    features: NDArray[np.float32]
    untouched_losses: NDArray[np.float64]

    @classmethod
    def of(cls, pairs: LabelledPairs, generator: torch.Generator) -> "_Bench":
        scorer = FrozenScorer(pairs.train, generator)
        clean = fit(scorer.features(to_unit(pairs.train)), pairs.train_class)
        features = scorer.features(to_unit(pairs.validation))
        return cls(
            pairs=pairs,
            scorer=scorer,
            clean=clean,
            clean_accuracy=clean.accuracy(features, pairs.validation_class),
            features=features,
            untouched_losses=clean.losses(features, pairs.validation_class),
        )

    @property
    def untouched(self) -> PolicyMeasure:
        """The row of no views at all."""
        return PolicyMeasure(
            name=UNTOUCHED,
            is_policy=False,
            affinity=1.0,
            diversity=1.0,
            accuracy=self.clean_accuracy,
            loss=_balanced(self.untouched_losses, self.pairs.validation_class),
        )

    def measured(
        self, name: str, draw: Draw, generator: torch.Generator, *, is_policy: bool
    ) -> tuple[PolicyMeasure, NDArray[np.float64]]:
        """One row, and the loss of each validation pair under the model trained with these views."""
        pairs, scorer = self.pairs, self.scorer
        changed = scorer.features(draw(to_unit(pairs.validation), generator))
        affinity = self.clean.accuracy(changed, pairs.validation_class) / self.clean_accuracy
        train = np.concatenate(list(self._train_features(draw, generator)))
        model = fit(train, np.tile(pairs.train_class, TRAIN_VIEWS), views=TRAIN_VIEWS)
        losses = model.losses(self.features, pairs.validation_class)
        row = PolicyMeasure(
            name=name,
            is_policy=is_policy,
            affinity=affinity,
            diversity=model.training_loss / self.clean.training_loss,
            accuracy=model.accuracy(self.features, pairs.validation_class),
            loss=_balanced(losses, pairs.validation_class),
        )
        return row, losses

    def _train_features(self, draw: Draw, generator: torch.Generator) -> Iterator[NDArray[np.float32]]:
        for _ in range(TRAIN_VIEWS):
            yield self.scorer.features(draw(to_unit(self.pairs.train), generator))


def _balanced(losses: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    return float((_weights(classes) * losses).mean())


def _weights(classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights [n] of mean 1 that make the classes weigh equally."""
    present, index, counts = np.unique(classes, return_inverse=True, return_counts=True)
    return np.asarray((len(classes) / (len(present) * counts))[index])


def _compared(row: PolicyMeasure, gain: NDArray[np.float64]) -> PolicyMeasure:
    if row.name == DEFAULT:
        return row
    error = max(float(gain.std(ddof=1)) / len(gain) ** 0.5, 1e-12)
    return replace(row, better_by=round(float(gain.mean()) / error, 2))
