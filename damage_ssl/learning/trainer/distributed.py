"""Several processes that train one network, begun by `torchrun`: every loss as one process would have it.

Every process draws the same batch and makes the same views; the rows of each pass through the network are divided
between the processes, and the logits are gathered, so that each computes the loss of the whole batch. Whatever an
algorithm does with a batch (class shares, thresholds, queues, mixing, remembered pairs) is thus what it does in one
process, its state and all generators are the same everywhere, and a training may go on with another number of
processes. The price: views are made in every process, so only the network's share of a step gets faster. Torch's
`DistributedDataParallel` instead gives each process a loss of its own, with statistics of its own part of the batch.

Processes beside the first write nothing of value: give them a run folder of their own (`pipeline/distributed.py`).
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn

from damage_ssl.errors import SettingsError


@dataclass(frozen=True)
class World:
    """The `size` processes of a training, of which this is number `rank`, counted from 0."""

    rank: int = 0
    size: int = 1

    def bounds(self, count: int, rank: int) -> tuple[int, int]:
        """First row, and the one after the last, of a process's part of `count` rows."""
        return count * rank // self.size, count * (rank + 1) // self.size

    def own(self, x: Tensor) -> Tensor:
        """This process's rows of `x` [N, …], N at least `size`; a gradient of `x` is that of all processes."""
        if self.size == 1:
            return x
        start, stop = self.bounds(len(x), self.rank)
        return cast(Tensor, _Own.apply(x, start, stop)) if x.requires_grad else x[start:stop]  # type: ignore[no-untyped-call]

    def gathered(self, own: Tensor, count: int) -> Tensor:
        """All `count` rows, of which `own` are this process's; their gradient goes back to these only."""
        return own if self.size == 1 else cast(Tensor, _Gathered.apply(own, count, self))  # type: ignore[no-untyped-call]

    def shared(self, whole: Tensor) -> Tensor:
        """What every process computed in full, with an equal part of its gradient: `sum_gradients` adds them up."""
        return whole if self.size == 1 else cast(Tensor, _Scaled.apply(whole, 1 / self.size))  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the processes' gradients in place, in one message; all processes have gradients of the same."""
        gradients = [each.grad for each in parameters if each.grad is not None]
        if self.size == 1 or not gradients:
            return
        flat = torch.cat([each.flatten() for each in gradients])
        distributed.all_reduce(flat)
        parts = torch.split(flat, [each.numel() for each in gradients])
        torch._foreach_copy_(gradients, [part.view_as(each) for part, each in zip(parts, gradients, strict=True)])

    def agreed(self, value: float) -> float:
        """The first process's value, e.g. of a clock; sent between CPUs, so the device is not waited for."""
        if self.size == 1:
            return value
        message = torch.tensor(float(value), dtype=torch.float64)
        distributed.broadcast(message, 0)
        return message.item()

    def take_first(self, tensors: Iterable[Tensor]) -> None:
        """Put the first process's values into everybody's tensors."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def said_by_first(self, value: Any) -> Any:
        """The first process's value of any kind that can be pickled; the processes trust one another."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, 0)
        return values[0]

    def wait_for_all(self) -> None:
        """Go on when every process has come here."""
        self.agreed(0.0)
        if self.size > 1:
            distributed.all_reduce(torch.zeros(1))


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


class _Own(torch.autograd.Function):
    """Rows of a tensor that all processes hold; backward adds the processes' gradients of all rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, start: int, stop: int) -> Tensor:
        ctx.rows = (start, stop, len(x))
        return x[start:stop].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        start, stop, count = ctx.rows
        whole = gradient.new_zeros(count, *gradient.shape[1:])
        whole[start:stop] = gradient
        distributed.all_reduce(whole)
        return whole, None, None


class _Gathered(torch.autograd.Function):
    """The rows of all processes; backward keeps the gradient of this process's own."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, count: int, world: World) -> Tensor:
        ctx.bounds = world.bounds(count, world.rank)
        sizes = [stop - start for start, stop in (world.bounds(count, rank) for rank in range(world.size))]
        padded = own.new_zeros(max(sizes), *own.shape[1:])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        start, stop = ctx.bounds
        return gradient[start:stop], None, None


class _Scaled(torch.autograd.Function):
    """The same values with a smaller gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None
