"""Where the trainer's views come from: drawn from pixels in each step, or rows of features that were kept.

The trainer and the algorithms are the same for both; what a view is, only the source and the network know.
"""

from dataclasses import replace
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from damage_ssl.learning.algorithms import ViewName
from damage_ssl.learning.channels import to_unit
from damage_ssl.learning.networks import PairNetwork
from damage_ssl.learning.predictor import rotation_average
from damage_ssl.learning.start import start_network
from damage_ssl.learning.task import Task
from damage_ssl.learning.transfer import to_device
from damage_ssl.learning.views import Views, ViewSettings
from damage_ssl.learning.views.ctaugment import CTAugment, Probe

PAIRS_AT_ONCE = 64


class ViewSource(Protocol):
    """Views of the pairs of a task, and the network that sees them.

    `updates` is how many updates of the weights one step makes, `policy` the strengths that are learned while training.
    """

    @property
    def updates(self) -> int: ...

    @property
    def policy(self) -> CTAugment | None: ...

    def start(self, generator: torch.Generator) -> PairNetwork:
        """The network that training begins with."""

    def take(self, rows: Tensor) -> Tensor:
        """What views are drawn of: the pairs at `rows`, int64 [n] on the CPU."""

    def view(self, name: ViewName, taken: Tensor, generator: torch.Generator) -> Tensor:
        """One view of each of the pairs taken, [n, …] as the network sees them."""

    def probe(self, taken: Tensor, generator: torch.Generator) -> tuple[Tensor, Probe]:
        """Strong views of uniform strengths for `policy` to learn from."""

    def predict(self, network: PairNetwork, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Probabilities [n, C] of the pairs at `rows`, for the validation score."""

    def kept(self, network: PairNetwork) -> PairNetwork:
        """The network as the run keeps it: from pixels to logits."""


class PixelViews:
    """Views drawn anew in each step from the pixels on the device."""

    updates = 1

    def __init__(self, task: Task, strong_policy: Literal["random", "ctaugment"]) -> None:
        self._task = task
        self._views = Views(resolved(task.options.views, strong_policy))

    @property
    def policy(self) -> CTAugment | None:
        return self._views.policy

    def start(self, generator: torch.Generator) -> PairNetwork:
        return start_network(self._task, generator)

    def take(self, rows: Tensor) -> Tensor:
        """The pairs, float32 [n, 7 or 14, H, W] in [0, 1]."""
        return to_unit(self._task.pixels[to_device(rows, self._task.device)])

    def view(self, name: ViewName, taken: Tensor, generator: torch.Generator) -> Tensor:
        draw = {"weak": self._views.weak, "strong": self._views.strong}[name]
        return draw(taken, generator)

    def probe(self, taken: Tensor, generator: torch.Generator) -> tuple[Tensor, Probe]:
        return self._views.probe(taken, generator)

    def predict(self, network: PairNetwork, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Of the pairs as they are, unturned."""
        pixels = self._task.pixels[torch.from_numpy(rows)]
        return np.concatenate([rotation_average(network, part, 1) for part in torch.split(pixels, PAIRS_AT_ONCE)])

    def kept(self, network: PairNetwork) -> PairNetwork:
        return network


def resolved(settings: ViewSettings, policy: Literal["random", "ctaugment"]) -> ViewSettings:
    """The settings of views with `policy` where they leave the policy to the algorithm."""
    return replace(settings, strong_policy=policy) if settings.strong_policy == "auto" else settings
