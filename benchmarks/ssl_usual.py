"""FixMatch's step as public PyTorch implementations write it, on damage_ssl's network: what most people would run.

A process of its own for `benchmarks.ssl_throughput`: it takes numbers of steps on its input and answers with seconds.
After kekmodel/FixMatch-pytorch and its many descendants: DataLoaders whose workers make PIL views (RandAugment), one
pass of [labelled, weak, strong], all with a graph, in float32 and torch's default memory format, `torch.optim.SGD`, an
average that a Python loop over the weights keeps, `.item()` of each loss, and C's own memory allocator. Network class,
weights' shapes and batch are those of ours.
"""

import argparse
import copy
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.ssl_feeds import PilPairs, batches, drawn_pairs
from damage_ssl.learning.networks.pair_network import NetworkSpec, PairNetwork, resized

THRESHOLD, DECAY, WEIGHT_DECAY = 0.95, 0.999, 5e-4
Batch = dict[str, Tensor]


class UsualNetwork(PairNetwork):
    """The same network without the change to channels-last on a CPU."""

    def _maps(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.encoder(resized(images, self.input_px))
        return maps


def usual_network(network: str, size_px: int) -> UsualNetwork:
    """With the weights that torch draws from its seed 0."""
    torch.manual_seed(0)
    spec = NetworkSpec(network=network, fusion="stacked", channels=7, input_px=size_px, classes=2)
    return UsualNetwork(spec)


class UsualLoop:
    """Model, optimiser, schedule and average; `losses` are the last step's: all, labelled, unlabelled, mask rate."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model, self.device = model.to(device), device
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        named = [(name, each) for name, each in self.model.named_parameters() if each.requires_grad]
        plain = [each for name, each in named if "bias" in name]
        groups = [
            {"params": [each for name, each in named if "bias" not in name], "weight_decay": WEIGHT_DECAY},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.SGD(groups, lr=0.03, momentum=0.9, nesterov=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1.0)
        self.losses: tuple[float, ...] = ()

    def step(self, labelled: Batch, unlabelled: Batch) -> None:
        """One update."""
        views = torch.cat([labelled["weak"], unlabelled["weak"], unlabelled["strong"]])
        views = torch.cat([views, torch.ones_like(views[:, :1])], dim=1).to(self.device)  # all is footprint
        target = (labelled["index"] % 2).to(self.device)
        logits = self.model(views)
        known, rest = logits[: len(target)], logits[len(target) :]
        weak, strong = rest.chunk(2)
        supervised = F.cross_entropy(known, target)
        confidence, guessed = weak.detach().softmax(dim=-1).max(dim=-1)
        mask = confidence.ge(THRESHOLD).float()
        consistent = (F.cross_entropy(strong, guessed, reduction="none") * mask).mean()
        loss = supervised + consistent
        loss.backward()
        self.losses = (loss.item(), supervised.item(), consistent.item())
        self.optimizer.step()
        self.schedule.step()
        self._take_average()
        self.model.zero_grad()
        self.losses += (mask.mean().item(),)

    @torch.no_grad()
    def _take_average(self) -> None:
        own, new = self.average.state_dict(), self.model.state_dict()
        for name in own:
            own[name].copy_(own[name] * DECAY + (1 - DECAY) * new[name].detach())


def timed(loop: UsualLoop, arguments: argparse.Namespace) -> Callable[[int], float]:
    """Steps → their seconds, without what comes before the first."""
    pairs = drawn_pairs(arguments.pairs, arguments.size)

    def seconds(steps: int) -> float:
        half = max(arguments.workers // 2, 1)
        labelled = batches(PilPairs(pairs, strong=False), arguments.labelled, half, steps + 1)
        unlabelled = batches(PilPairs(pairs, strong=True), arguments.labelled * arguments.ratio, half, steps + 1)
        loop.step(next(labelled), next(unlabelled))  # the workers' start is not timed
        begun = time.perf_counter()
        for known, other in zip(labelled, unlabelled, strict=True):
            loop.step(known, other)
        if loop.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="small-cnn")
    parser.add_argument("--device", default="cpu")
    for name, value in (("size", 64), ("labelled", 64), ("ratio", 7), ("pairs", 4096), ("workers", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args()
    loop = UsualLoop(usual_network(arguments.network, arguments.size), torch.device(arguments.device))
    run = timed(loop, arguments)
    print("ready", flush=True)
    for line in sys.stdin:
        print(run(int(line)), flush=True)


if __name__ == "__main__":
    main()
