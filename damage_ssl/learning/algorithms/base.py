"""What every algorithm gives the trainer: the views it needs, and a loss of one batch.

Algorithms that train an auxiliary head, a second linear classifier on the same features, find it here too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from damage_ssl.learning.networks.pair_network import PairNetwork
from damage_ssl.settings import Settings, from_mapping

S = TypeVar("S", bound=Settings)
ViewName = Literal["weak", "strong"]
Network = Callable[[Tensor], Tensor]
"""Views [N, channels, H, W] → logits [N, C], C classes."""


@dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """The views of one step; B labelled pairs and n = μB unlabelled ones.

    `target` int64 [B] is the class of each labelled pair, in the order of `labelled_weak` and `labelled_strong`
    (float32 [B, channels, H, W], None where the algorithm did not ask for that view). `unlabelled` holds one tensor
    [n, channels, H, W] for each name in the algorithm's `unlabelled_views`, all of the same pairs in the same order.
    `unlabelled_index` int64 [n] says which of all `unlabelled_total` pairs these are, for algorithms that remember
    something about each pair; one may occur more than once.

    Examples:
        >>> import torch
        >>> batch = TrainingBatch(target=torch.tensor([0, 1]), labelled_weak=torch.rand(2, 7, 64, 64))
        >>> batch.labelled("weak").shape
        torch.Size([2, 7, 64, 64])
    """

    target: Tensor
    labelled_weak: Tensor | None = None
    labelled_strong: Tensor | None = None
    unlabelled: tuple[Tensor, ...] = ()
    unlabelled_index: Tensor | None = None
    unlabelled_total: int = 0

    def labelled(self, view: ViewName) -> Tensor:
        """One view of the labelled pairs.

        Raises:
            ValueError: the trainer did not make this view, although the algorithm asks for it.
        """
        views = self.labelled_weak if view == "weak" else self.labelled_strong
        if views is None:
            raise ValueError(f"the batch holds no {view} view of the labelled pairs, which this algorithm asks for")
        return views


@dataclass(frozen=True, kw_only=True)
class LossTerms:
    """What one step gives: scalars on the device of the logits; all but `loss` detached.

    `loss` is what to minimise: `supervised` + weight · ramp · `unlabelled`, plus an algorithm's own regulariser.
    `mask_rate` is the share of unlabelled pairs that added a gradient, or the mean of their weights (0 without an
    unlabelled term). Reading one on the host waits for the device.

    Examples:
        >>> import torch
        >>> one, two, all_pairs = torch.tensor(0.7), torch.tensor(0.2), torch.tensor(1.0)
        >>> LossTerms(loss=one + two, supervised=one, unlabelled=two, mask_rate=all_pairs).loss
        tensor(0.9000)
    """

    loss: Tensor
    supervised: Tensor
    unlabelled: Tensor
    mask_rate: Tensor


class Algorithm(Protocol):
    """A way to learn from labelled and unlabelled pairs.

    Examples:
        >>> from torch.nn import functional as F
        >>> class EntropyMinimisation(Stateless):  # Grandvalet & Bengio 2004
        ...     name, labelled_views, unlabelled_views = "entropy", ("weak",), ("weak",)
        ...
        ...     def loss(self, student, ema, batch, *, progress, generator):
        ...         supervised = F.cross_entropy(student(batch.labelled("weak")), batch.target)
        ...         log_p = student(batch.unlabelled[0]).log_softmax(dim=-1)  # [n, C]
        ...         entropy = -(log_p.exp() * log_p).sum(dim=-1).mean()
        ...         return LossTerms(
        ...             loss=supervised + 0.1 * progress * entropy,
        ...             supervised=supervised.detach(),
        ...             unlabelled=entropy.detach(),
        ...             mask_rate=supervised.new_ones(()),
        ...         )
        >>> ALGORITHMS["entropy"] = AlgorithmEntry(Settings, lambda settings: EntropyMinimisation())
        >>> small = TrainSettings(algorithm="entropy", network="small-cnn", steps=1, input_px=32)
        >>> train(pairs, labels, settings=small).class_names
        ('intact', 'damaged')
    """

    @property
    def name(self) -> str:
        """The key in `ALGORITHMS`."""

    @property
    def labelled_views(self) -> tuple[ViewName, ...]:
        """Views of the labelled pairs that `loss` reads."""

    @property
    def unlabelled_views(self) -> tuple[ViewName, ...]:
        """Views of the unlabelled pairs, in the order of `Batch.unlabelled`; a name given twice is drawn twice."""

    def loss(
        self,
        student: Network,
        ema: Network | None,
        batch: TrainingBatch,
        *,
        progress: float,
        generator: torch.Generator,
    ) -> LossTerms:
        """The loss of one batch.

        `ema` is the averaged network, for algorithms with a teacher. `progress` is the share of the training done,
        0 to 1. `generator` is on the CPU and gives every random draw.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """What the algorithm has learnt besides the network; belongs into a checkpoint."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state from `state_dict`."""


@dataclass(frozen=True)
class AlgorithmEntry(Generic[S]):
    """What an algorithm is known by: its settings, and what makes it from them.

    Examples:
        >>> class Sharp(Settings, title="sharp"):
        ...     temperature: float = 0.5
        >>> entry = AlgorithmEntry(Sharp, lambda settings: print("made at", settings.temperature))
        >>> entry({"temperature": 0.7}, "example")
        made at 0.7
    """

    settings: type[S]
    make: Callable[[S], Algorithm]

    def __call__(self, options: Mapping[str, Any], where: str) -> Algorithm:
        """The algorithm from plain options; a wrong one is a SettingsError that opens with `where`."""
        return self.make(from_mapping(self.settings, options, where))


class Stateless:
    """Mixin for algorithms that learn nothing besides the network.

    Examples:
        >>> class Mine(Stateless):
        ...     name, labelled_views, unlabelled_views = "mine", ("weak",), ()
        >>> Mine().state_dict()
        {}
    """

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if state:
            raise ValueError(f"{type(self).__name__} has no state, but was given {', '.join(sorted(state))}")


class InFloat32:
    """Marker of algorithms whose networks run in float32 even where the training uses mixed precision."""


class DriftingShares:
    """Marker of algorithms whose loss lets predicted class shares drift; `class_shares` brings them back at the end."""


class RunningMeans:
    """Exponential moving averages of tensors, by name; they are all that an algorithm with them has learnt.

    A mean begins at its value in `start`, or at the first value where none is given.
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._means: dict[str, Tensor] = {}

    def update(self, now: Mapping[str, Tensor], start: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Take the values of a step into the means: decay · mean + (1 − decay) · now; returns the new means."""
        before = {**(start or {}), **self._means}
        self._means |= {
            name: torch.lerp(value, before[name].to(value), self._decay) if name in before else value
            for name, value in now.items()
        }
        return dict(self._means)

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self._means)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._means = dict(state)


def full_precision(logits: Tensor) -> Tensor:
    """Logits in float32 where mixed precision gave fewer bits; losses and softmax are never taken in half precision."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def linear_ramp(progress: float, share: float) -> float:
    """Weight that grows linearly from 0 to 1 over the first `share` of the training and stays 1 (no ramp: share 0)."""
    return min(max(progress, 0.0) / share, 1.0) if share > 0 else 1.0


@runtime_checkable
class HeadedNetwork(Protocol):
    """A `Network` that carries auxiliary heads by name."""

    def __call__(self, x: Tensor) -> Tensor:
        """Views [N, channels, H, W] → logits [N, C]."""

    def with_head(self, x: Tensor, head: str) -> tuple[Tensor, Tensor]:
        """Views → logits [N, C], and those of one auxiliary head [N, outputs], from one pass."""


@runtime_checkable
class UsesHeads(Protocol):
    """An algorithm that needs auxiliary heads."""

    def heads(self, classes: int) -> dict[str, int]:
        """Name → outputs of each head that the network must carry."""


@runtime_checkable
class Beginning(Protocol):
    """An algorithm whose auxiliary heads do not start at random."""

    def begin(self, network: PairNetwork) -> None:
        """Set the auxiliary heads of a network that has not been trained yet."""


@runtime_checkable
class Finishing(Protocol):
    """An algorithm whose way to predict differs from the head that it trained."""

    def finish(self, network: PairNetwork) -> None:
        """Change the head in place so that the network alone predicts as the algorithm does."""


class HeadView:
    """One auxiliary head of a network as a `Network` of its own."""

    def __init__(self, network: Network, head: str) -> None:
        self._network = network
        self._head = head

    def __call__(self, x: Tensor) -> Tensor:
        return with_head(self._network, x, self._head)[1]


def with_head(network: Network, x: Tensor, head: str) -> tuple[Tensor, Tensor]:
    """Logits of the main and of an auxiliary head from one pass, in float32 at least.

    Raises:
        ValueError: the network carries no such heads.
    """
    if not isinstance(network, HeadedNetwork):
        raise ValueError(f"the network carries no auxiliary heads, but this algorithm needs '{head}'")
    logits, other = network.with_head(x, head)
    return full_precision(logits), full_precision(other)
