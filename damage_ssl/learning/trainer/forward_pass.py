"""A network as an algorithm sees it: views in, logits out, in the precision of the run.

With mixed resolutions each training batch passes at another size; on CUDA passes may be compiled and replayed.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from damage_ssl.errors import SettingsError
from damage_ssl.learning.device import autocast
from damage_ssl.learning.networks.pair_network import PairNetwork
from damage_ssl.learning.settings import FitOptions, NetworkOptions, mixed_sizes
from damage_ssl.learning.trainer.distributed import ALONE, World, current_world

Features = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Passes:
    """How a batch goes through the network; whatever this says, the logits are those of the whole batch.

    `parts` above 1 is gradient accumulation: the batch goes through in that many parts, and backward computes each
    part's activations anew (Chen et al. 2016, arXiv:1604.06174), so only one part's are held at a time, at the price of
    one more forward pass. The loss is still computed once, on all logits: batch means, class shares and pseudo-labels
    are the same as without. `world` divides each part between processes. `compiler` makes the way from views to
    features faster (None: leaves it as it is).
    """

    parts: int = 1
    world: World = ALONE
    compiler: Callable[[Features], Features] | None = None


def passes_of(options: FitOptions, device: torch.device, where: str) -> Passes:
    """How the options of a run want it.

    Raises:
        SettingsError: they ask for CUDA graphs where there is no CUDA, or together with accumulation.
    """
    if options.compile == "off":
        return Passes(parts=options.accumulate, world=current_world())
    if device.type != "cuda":
        raise SettingsError(f"{where}: compile is '{options.compile}', but on {device.type} there are no CUDA graphs")
    if options.accumulate > 1:
        raise SettingsError(f"{where}: compile is '{options.compile}' and accumulate {options.accumulate}; use one")
    return Passes(world=current_world(), compiler=as_cuda_graphs)


def as_cuda_graphs(features: Features) -> Features:
    """Compiled for each of the few batch shapes of a run, and replayed without Python or a launch for each kernel."""
    return cast(Features, torch.compile(features, mode="reduce-overhead", dynamic=False))


def begin_step(device: torch.device) -> None:
    """Tell CUDA graphs that what the last step computed may be overwritten."""
    if device.type == "cuda":
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]


class TrainedNetwork:
    """Views [N, channels, H, W] → logits [N, C]; `gradient` False is the averaged network, which learns nothing."""

    def __init__(
        self, network: PairNetwork, device: torch.device, precision: str, *, gradient: bool, passes: Passes = Passes()
    ) -> None:
        self._network = network
        self._features = passes.compiler(network.features) if passes.compiler else network.features
        self._device = device
        self._precision = precision
        self._gradient = gradient
        self._passes = passes

    def __call__(self, x: Tensor) -> Tensor:
        return self._logits(x, (None,))[0]

    def with_head(self, x: Tensor, head: str) -> tuple[Tensor, Tensor]:
        """Logits [N, C], and those of one auxiliary head [N, outputs], from one pass."""
        logits, other = self._logits(x, (None, head))
        return logits, other

    def _logits(self, x: Tensor, heads: tuple[str | None, ...]) -> list[Tensor]:
        passes = self._passes
        divided = len(x) >= passes.world.size
        with torch.set_grad_enabled(self._gradient and torch.is_grad_enabled()), self._autocast():
            parts = torch.chunk(passes.world.own(x) if divided else x, passes.parts)
            features = (
                torch.cat([self._featured(part) for part in parts]) if len(parts) > 1 else self._featured(parts[0])
            )
            own = [self._network.classify(features, head) for head in heads]
            if not divided:
                return [passes.world.shared(each) for each in own]
            return [passes.world.gathered(each, len(x)) for each in own]

    def _featured(self, x: Tensor) -> Tensor:
        if self._passes.parts > 1 and torch.is_grad_enabled():
            # nothing in the network draws random numbers, so there is no state of theirs to keep
            return cast(Tensor, checkpoint(self._features, x, use_reentrant=False, preserve_rng_state=False))
        return self._features(x)

    def _autocast(self) -> AbstractContextManager[None]:
        return autocast(self._device, self._precision)


class MixedSizes:
    """Draws the size that networks see a batch at; without a range in the options it draws nothing.

    Student and average see one size in a step: their targets are of the same pixels. A graph that was captured or
    compiled for one size does not fit another; leave both off with mixed sizes.
    """

    def __init__(self, options: NetworkOptions, networks: Sequence[PairNetwork]) -> None:
        self._sizes = mixed_sizes(options.input_px_low, options.input_px_high)
        self._networks = list(networks)

    def draw(self, generator: torch.Generator) -> None:
        """Take a size at random for the step that begins."""
        if self._sizes:
            chosen = self._sizes[int(torch.randint(len(self._sizes), (), generator=generator))]
            for network in self._networks:
                network.input_px = chosen

    def restore(self) -> None:
        """Back to the size of prediction."""
        for network in self._networks:
            network.input_px = network.spec.input_px
