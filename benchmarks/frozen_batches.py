"""Pictures a second of the frozen network by how many pairs it sees at a time, on this processor.

    python -m benchmarks.frozen_batches [--pairs 128] [--rounds 5] [--threads 1]

Random pairs of 64 px, with a context view and without, go through the network that `cached-lite0` keeps features of
(EfficientNet-Lite0's first eleven blocks, pooled, with 128 random filters). The sizes take turns in each round; the
figures are medians of processor time, which other work on the machine disturbs less than wall time.
"""

import argparse
import statistics
import time

import torch

from damage_ssl.learning.device import keep_freed_memory
from damage_ssl.learning.networks.pair_network import NetworkSpec, PairNetwork, build_network
from damage_ssl.learning.pair_tensor import to_unit

SIZES = (4, 8, 16, 32, 64, 128)
DATES = 2


def network_of(channels: int) -> PairNetwork:
    """The frozen network, its filters at zero, which cost the same."""
    spec = NetworkSpec(
        network="efficientnet-lite0", fusion="change", channels=channels, input_px=64, classes=2, texture_filters=128
    )
    return build_network(spec, torch.Generator().manual_seed(0))


@torch.no_grad()
def seconds(network: PairNetwork, pixels: torch.Tensor, at_once: int) -> float:
    """Processor seconds for all pairs uint8 [N, C, 64, 64]."""
    started = time.process_time()
    for part in torch.split(pixels, at_once):
        network.features(to_unit(part))
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"pairs": 128, "rounds": 5, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    for channels in (7, 14):
        network = network_of(channels)
        pixels = torch.randint(0, 256, (arguments.pairs, channels, 64, 64), dtype=torch.uint8)
        seconds(network, pixels, SIZES[0])  # the first pass fetches memory
        taken: dict[int, list[float]] = {size: [] for size in SIZES}
        for _ in range(arguments.rounds):
            for size in SIZES:
                taken[size].append(seconds(network, pixels, size))
        pictures = arguments.pairs * DATES * channels // 7
        for size, times in taken.items():
            rate = pictures / statistics.median(times)
            print(f"{channels:>2} channels, {size:>3} pairs at a time: {rate:5.0f} pictures a second")


if __name__ == "__main__":
    main()
