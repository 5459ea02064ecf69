"""Where the trainer's views come from: drawn from pixels in each step, or rows of features that were kept.

The trainer and the algorithms are the same for both; what a view is, only the source and the network know. On cached
features every algorithm trains a small head, in seconds: it sees values [n, D] where it otherwise sees pixels, so
MixMatch mixes features, VAT changes features (its ε is in standard deviations of theirs), and CDMAD's blank pair is
encoded by the frozen network. What cannot be done without pixels is refused: strengths learned while training, and the
rotation task of ReMixMatch, which is left out.
"""

from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms import ALGORITHMS
from damage_ssl.learning.algorithms.base import ViewName
from damage_ssl.learning.augmentation.ctaugment import CTAugment, Probe
from damage_ssl.learning.augmentation.views import Views, resolved
from damage_ssl.learning.device import pairs_at_once, to_device
from damage_ssl.learning.features.embedding import fit_head
from damage_ssl.learning.networks.head_network import HeadNetwork
from damage_ssl.learning.networks.pair_network import PairNetwork
from damage_ssl.learning.pair_tensor import to_unit
from damage_ssl.learning.predictor import rotation_average
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.trainer.data import Task
from damage_ssl.learning.trainer.initialisation import initialised_network, starts_at_regression
from damage_ssl.learning.trainer.view_cache import TURNS, open_cache
from damage_ssl.settings import Settings


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
        return initialised_network(self._task, generator)

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
        return np.concatenate(
            [rotation_average(network, part, 1) for part in torch.split(pixels, pairs_at_once(pixels.device))]
        )

    def kept(self, network: PairNetwork) -> PairNetwork:
        return network


WITHOUT_PIXELS: dict[str, dict[str, float]] = {"remixmatch": {"rotation_weight": 0.0}}
"""Options that an algorithm must have where there are no pixels; they are its defaults there."""


class CachedViews:
    """Views are rows of the cache: a weak one is one of a pair's quarter turns and weak views, drawn anew each time."""

    policy = None

    def __init__(self, task: Task) -> None:
        self._task = task
        cache = open_cache(task)
        self._frozen = cache.frozen
        self._values = torch.from_numpy(np.array(cache.values)).to(task.device)  # float16 [N, V, D]
        self._ranges: dict[ViewName, tuple[int, int]] = {
            "weak": (0, TURNS + cache.weak),
            "strong": (TURNS + cache.weak, TURNS + cache.weak + cache.strong),
        }
        self.updates = task.options.cache.cached_updates

    def start(self, generator: torch.Generator) -> PairNetwork:
        """A head that is a logistic regression on all views of the labelled pairs, or a random one.

        AUROC, weak views only / strong ones too, mean of 8 draws of 5, 10 and 25 labels a class: a simulated flood
        0.889 / 0.890, 0.901 / 0.902, 0.911 / 0.914, a simulated storm 0.952 / 0.958, 0.966 / 0.968, 0.977 / 0.976.
        """
        network = HeadNetwork(self._frozen, generator)
        if starts_at_regression(network, self._task.options.fit):
            values = self._values[torch.from_numpy(self._task.rows.train_row).to(self._task.device)]  # [n, V, D]
            views = values.shape[1]
            classes = np.repeat(self._task.rows.train_class, views)
            # a building seen in several views is still one: each view weighs its share
            share = self._task.options.fit.probe_c / views
            fit_head(network, values.flatten(0, 1).float().cpu(), classes, regularisation=share)
        return network

    def take(self, rows: Tensor) -> Tensor:
        """The rows themselves, on the device."""
        return to_device(rows, self._task.device)

    def view(self, name: ViewName, taken: Tensor, generator: torch.Generator) -> Tensor:
        """Values float32 [n, D] of one of the cached views of each pair."""
        drawn = torch.randint(*self._ranges[name], (len(taken),), generator=generator)
        return self._values[taken, to_device(drawn, self._task.device)].float()

    def probe(self, taken: Tensor, generator: torch.Generator) -> tuple[Tensor, Probe]:
        """Refused before it comes to this.

        Raises:
            ValueError: always.
        """
        raise ValueError("cached views: strengths were chosen when they were made")

    @torch.no_grad()
    def predict(self, network: PairNetwork, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """The mean over the quarter turns that a predictor of the run takes; also of a network that `kept` gave."""
        if not isinstance(network, HeadNetwork):
            network = HeadNetwork(self._frozen, torch.Generator()).take(network)
        turns = self._task.settings.prediction_rotations
        values = self._values[torch.from_numpy(rows).to(self._task.device), :turns].float()  # [n, T, D]
        p = network(values.flatten(0, 1)).double().softmax(dim=-1).view(len(rows), turns, -1).mean(dim=1)
        return np.asarray(p.cpu().numpy(), dtype=np.float64)

    def kept(self, network: PairNetwork) -> PairNetwork:
        return network.whole() if isinstance(network, HeadNetwork) else network


def settings_without_pixels(settings: TrainSettings, where: str) -> Settings:
    """The algorithm's own settings as they must be on cached features.

    Raises:
        SettingsError: one of them, or the policy of strong views, needs pixels.
    """
    options, instead = settings.options, "set the network to 'efficientnet-lite0' to train on pixels"
    if options.views.strong_policy == "ctaugment":
        raise SettingsError(
            f"{where}: strong_policy 'ctaugment' learns while training, but the views of cached features are drawn "
            f"before it; leave it out, or {instead}"
        )
    needed, own = WITHOUT_PIXELS.get(settings.algorithm, {}), options.algorithm
    for name in needed.keys() & own.model_fields_set:
        if (value := getattr(own, name)) != needed[name]:
            others = ", ".join(each for each in ALGORITHMS if each not in WITHOUT_PIXELS)
            raise SettingsError(
                f"{where}: {settings.algorithm} with {name} {value:g} turns pixels, and there are only cached "
                f"features; set it to {needed[name]:g}, take another algorithm ({others}), or {instead}"
            )
    return own.replace(**needed)
