"""A FixMatch step of semilearn 0.3.2 (USB), for `benchmarks/ssl_throughput.py`; runs in an environment of its own.

Its algorithm, RandAugment, losses, hooks (pseudo-labels, masking, update, average) and data loader are used as they
are. It has no way to run on a CPU, so three things are put in their place there: batches are not sent to CUDA, the
timer of CUDA events is left out, and modules that its import needs but this step does not (aim, torchaudio) are left
empty where they cannot be loaded. The network is damage_ssl's, found in `--repository`.

Reads a number of steps from each line of its input and answers with their seconds.
"""

import argparse
import importlib.machinery
import sys
import time
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import torch

declared = torch.library.Library("torchvision", "FRAGMENT")


for operator in ("nms", "qnms"):  # torchvision's extension of another build of torch cannot load
    if not hasattr(torch.ops.torchvision, operator):
        declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


for name in ("torchaudio", "aim"):
    try:
        importlib.import_module(name)
    except (ImportError, OSError):
        empty = MagicMock(spec=ModuleType)
        empty.__spec__ = importlib.machinery.ModuleSpec(name, None)
        sys.modules[name] = empty


class Whole(torch.nn.Module):
    """damage_ssl's network with the interface that semilearn asks for."""

    def __init__(self, network: torch.nn.Module, classes: int) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor, **_: Any) -> dict[str, torch.Tensor]:
        footprint = torch.ones_like(x[:, :1])
        features = self.network.features(torch.cat([x, footprint], dim=1))  # type: ignore[operator]
        return {"logits": self.network.classify(features), "feat": features}  # type: ignore[operator]


def build(arguments: argparse.Namespace) -> Any:
    """The algorithm with its data, ready to step."""
    from semilearn import get_config
    from semilearn.algorithms.fixmatch.fixmatch import FixMatch
    from semilearn.core.utils import get_optimizer
    from semilearn.datasets.augmentation import RandAugment

    from benchmarks.ssl_feeds import PilPairs, drawn_pairs
    from damage_ssl.learning.networks.pair_network import NetworkSpec, build_network

    spec = NetworkSpec(network=arguments.network, fusion="stacked", channels=7, input_px=arguments.size, classes=2)
    pairs, change = drawn_pairs(arguments.pairs, arguments.size), RandAugment(2, 5)

    class Labelled(PilPairs):
        def __getitem__(self, index: int) -> Any:
            views = super().__getitem__(index)
            return {"idx_lb": index, "x_lb": views["weak"], "y_lb": index % 2}

    class Unlabelled(PilPairs):
        def __getitem__(self, index: int) -> Any:
            views = super().__getitem__(index)
            return {"idx_ulb": index, "x_ulb_w": views["weak"], "x_ulb_s": views["strong"]}

    class OnCpu(FixMatch):
        def set_dataset(self) -> Any:
            labelled, unlabelled = Labelled(pairs, strong=False), Unlabelled(pairs, strong=True, change=change)
            return {"train_lb": labelled, "train_ulb": unlabelled, "eval": labelled, "test": labelled}

        def set_model(self) -> Any:
            return Whole(build_network(spec, torch.Generator().manual_seed(0)), 2)

        set_ema_model = set_model

        def set_optimizer(self) -> Any:
            return get_optimizer(self.model, "SGD", 0.03, 0.9, 5e-4), None

        def process_batch(self, input_args: Any = None, **kwargs: Any) -> Any:
            wanted = ("x_lb", "y_lb", "x_ulb_w", "x_ulb_s")
            return {name: kwargs[name].to(arguments.device) for name in wanted}

        def step(self, data: Any) -> None:
            self.out_dict, self.log_dict = self.train_step(**self.process_batch(**data[0], **data[1]))
            for hook in ("ParamUpdateHook", "EMAHook"):
                self.hooks_dict[hook].after_train_step(self)
            self.it += 1

    config = get_config(
        {
            "algorithm": "fixmatch", "net": "wrn_28_2", "num_classes": 2, "batch_size": arguments.labelled,
            "uratio": arguments.ratio, "num_train_iter": 10**5, "epoch": 1, "num_workers": 1, "gpu": None,
            "T": 0.5, "p_cutoff": 0.95, "hard_label": True, "ema_m": 0.99, "rank": 0, "world_size": 1,
            "distributed": False, "dataset": "cifar10", "num_labels": 64, "use_wandb": False, "use_aim": False,
        }
    )  # fmt: skip
    algorithm = OnCpu(config, None, None, None)
    algorithm.model.to(arguments.device)
    algorithm.ema_model.to(arguments.device)
    algorithm.hooks_dict["EMAHook"].before_run(algorithm)
    return algorithm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", required=True)
    parser.add_argument("--network", default="small-cnn")
    parser.add_argument("--device", default="cpu")
    for name, value in (("size", 64), ("labelled", 64), ("ratio", 7), ("pairs", 4096), ("workers", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args()
    sys.path.insert(0, arguments.repository)
    algorithm = build(arguments)
    from benchmarks.ssl_feeds import batches

    print("ready", flush=True)
    for line in sys.stdin:
        steps = int(line)
        half = max(arguments.workers // 2, 1)
        labelled = batches(algorithm.dataset_dict["train_lb"], arguments.labelled, half, steps + 1)
        unlabelled = batches(algorithm.dataset_dict["train_ulb"], arguments.labelled * arguments.ratio, half, steps + 1)
        algorithm.model.train()
        feed = zip(labelled, unlabelled, strict=True)
        algorithm.step(next(feed))  # the workers' start is not timed
        begun = time.perf_counter()
        for data in feed:
            algorithm.step(data)
        if arguments.device == "cuda":
            torch.cuda.synchronize()
        print(time.perf_counter() - begun, flush=True)
        del feed, labelled, unlabelled


if __name__ == "__main__":
    main()
