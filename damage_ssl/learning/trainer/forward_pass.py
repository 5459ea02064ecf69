"""A network as an algorithm sees it: views in, logits out, in the precision of the run.

On CUDA passes may be compiled and replayed.

Several processes, begun by `torchrun`, train one network with every loss as one process would have it. Each draws the
same batch and makes the same views; the rows of a pass through the network are divided between them and the logits
gathered, so that each computes the loss of the whole batch: class shares, thresholds, queues, mixing and remembered
pairs are what they are in one process, the state of algorithm and generators is the same everywhere, and a training may
go on with another number of processes. Gradients are exchanged by torch's `DistributedDataParallel` around the whole
loss of a step (`StepLoss`): around the network it would see several passes before one backward, and each process would
have a loss, and statistics, of its own rows. The price: views are made in every process, so only the network's share of
a step gets faster. Processes beside the first write nothing of value: give them a run folder of their own
(`runs/torchrun.py`).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms.base import LossTerms, TrainingBatch
from damage_ssl.learning.device import autocast
from damage_ssl.learning.networks.pair_network import PairNetwork
from damage_ssl.learning.settings import FitOptions

Features = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class World:
    """The `size` processes of a training, of which this is number `rank`, counted from 0."""

    rank: int = 0
    size: int = 1

    def own(self, x: Tensor) -> Tensor:
        """This process's rows of `x` [N, …], N at least `size`; a gradient of `x` is that of all processes."""
        if self.size > 1 and x.requires_grad:
            x = x.view_as(x)
            x.register_hook(lambda gradient: _summed(gradient) / self.size)  # type: ignore[no-untyped-call]
        return x[self._rows(len(x))]

    def gathered(self, own: Tensor, count: int) -> Tensor:
        """All `count` rows of logits [count, C], of which `own` are this process's.

        Their gradient is the sum over the processes, which have the same: `DistributedDataParallel` then takes means.
        """
        if self.size == 1:
            return own
        rows = self._rows(count)
        return cast(Tensor, _Sum.apply(F.pad(own, (0, 0, rows.start, count - rows.stop))))  # type: ignore[no-untyped-call]

    def agreed(self, value: Any) -> Any:
        """The first process's value of any kind that can be pickled; sent between CPUs, no device is waited for."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, 0)
        return values[0]

    def wait_for_all(self) -> None:
        """Go on when every process has come here."""
        if self.size > 1:
            distributed.all_reduce(torch.zeros(1))

    def _rows(self, count: int) -> slice:
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)


ALONE = World()


def current_world() -> World:
    """The processes that were joined; this one alone where none were."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return ALONE
    return World(distributed.get_rank(), distributed.get_world_size())


@contextmanager
def joined() -> Iterator[World]:
    """Join the other processes of `torchrun`, for as long as the context lasts; alone without it.

    Messages go by Gloo between CPUs, by NCCL between GPUs; each process of a machine takes the GPU of its number.

    Raises:
        SettingsError: more processes on this machine than it has GPUs.
    """
    started = all(name in os.environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"))
    if not started or int(os.environ["WORLD_SIZE"]) < 2:
        yield ALONE
        return
    cuda = torch.cuda.is_available()
    if cuda:
        number, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if number >= gpus:
            raise SettingsError(f"torchrun: process {number} of this machine has no GPU; use --nproc-per-node {gpus}")
        torch.cuda.set_device(number)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield current_world()
    finally:
        distributed.destroy_process_group()


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient. Torch's own (`distributed.nn.functional`) is deprecated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _summed(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(x: Tensor) -> Tensor:
    whole = x.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(whole)
    return whole


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
            logits = [self._network.classify(features, head) for head in heads]
            return [passes.world.gathered(each, len(x)) for each in logits] if divided else logits

    def _featured(self, x: Tensor) -> Tensor:
        if self._passes.parts > 1 and torch.is_grad_enabled():
            # nothing in the network draws random numbers, so there is no state of theirs to keep
            return cast(Tensor, checkpoint(self._features, x, use_reentrant=False, preserve_rng_state=False))
        return self._features(x)

    def _autocast(self) -> AbstractContextManager[None]:
        return autocast(self._device, self._precision)


class StepLoss(nn.Module):
    """The loss of a batch and its parts [4] (loss, supervised, unlabelled, mask rate), from one call a step.

    Args:
        network: the network that learns; every process takes the first one's weights.
        loss: the algorithm's loss of a batch, at a share of the training, with every pass that it makes through it.
    """

    def __init__(self, network: PairNetwork, loss: Callable[[TrainingBatch, float], LossTerms]) -> None:
        super().__init__()
        self.network = network
        self._loss = loss

    def forward(self, batch: TrainingBatch, progress: float) -> tuple[Tensor, Tensor]:
        terms = self._loss(batch, progress)
        parts = torch.stack([terms.loss.detach(), terms.supervised, terms.unlabelled, terms.mask_rate])
        return terms.loss, parts

    def in_world(self, world: World) -> nn.Module:
        """The same with gradients, after backward, that are the means over all processes."""
        return self if world.size == 1 else DistributedDataParallel(self)
