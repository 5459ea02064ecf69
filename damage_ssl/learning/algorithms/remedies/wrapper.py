"""An algorithm inside another: what the outer one leaves as it is."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from damage_ssl.learning.algorithms.base import Algorithm, LossTerms, Network, TrainingBatch, UsesHeads, ViewName


class Wrapped:
    """Behaves as `inner` does; the base of algorithms that change what another sees or add to its loss."""

    def __init__(self, inner: Algorithm) -> None:
        self.inner = inner
        self.strong_policy: str = getattr(inner, "strong_policy", "random")

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def labelled_views(self) -> tuple[ViewName, ...]:
        return self.inner.labelled_views

    @property
    def unlabelled_views(self) -> tuple[ViewName, ...]:
        return self.inner.unlabelled_views

    def heads(self, classes: int) -> dict[str, int]:
        """Those of the inner algorithm."""
        return self.inner.heads(classes) if isinstance(self.inner, UsesHeads) else {}

    def loss(
        self,
        student: Network,
        ema: Network | None,
        batch: TrainingBatch,
        *,
        progress: float,
        generator: torch.Generator,
    ) -> LossTerms:
        """The inner algorithm's, on those views that it asked for."""
        own = replace(batch, unlabelled=batch.unlabelled[: len(self.inner.unlabelled_views)])
        return self.inner.loss(student, ema, own, progress=progress, generator=generator)

    def state_dict(self) -> dict[str, Tensor]:
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.inner.load_state_dict(state)
