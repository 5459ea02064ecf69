"""Images a second of a FixMatch step against the same network in other people's loops.

`OMP_NUM_THREADS=2 python -m benchmarks.ssl_throughput [--precision auto bfloat16] [--peer-python VENV/bin/python]
[--out FILE]` takes 64 labelled pairs and seven times as many unlabelled ones, 64 px, six channels of colour, and lets
these take turns in one run:

- ours: pairs on the device as bytes, views by batched tensor operations, `damage_ssl.learning.trainer`; one more,
  `ours_bfloat16`, for each further `--precision`
- usual: `benchmarks/ssl_usual.py`, the loop that public FixMatch implementations have, on the same network: views from
  a DataLoader with PIL (RandAugment), and a step without what this product does to make one cheaper
- feed_only: all of our step (weak views without a graph, memory format, averaging) on views from that DataLoader: what
  the feed alone is worth
- semilearn: `benchmarks/ssl_peer_semilearn.py`, where `--peer-python` is an interpreter that has semilearn 0.3.2

`usual` and `semilearn` are processes of their own that wait while the others run. An image is a pair of a batch (64 +
448 a step), whatever the number of its views. Reported are the medians over rounds, and the median of the rounds'
ratios, which other work on the machine disturbs less. `--device cuda --networks smp:resnet18 smp:resnet50 --sizes 64
128 --workers 16` adds achieved TFLOP/s (operations counted by torch's FlopCounterMode over one whole step) and their
share of what bf16 matrix products reach on that GPU.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.ssl_feeds import PilPairs, batches, drawn_pairs
from damage_ssl.learning.algorithms import ALGORITHMS
from damage_ssl.learning.algorithms.base import TrainingBatch
from damage_ssl.learning.device import device_named, keep_freed_memory
from damage_ssl.learning.networks.pair_network import PairNetwork
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.trainer.data import Targets, Task, make_task
from damage_ssl.learning.trainer.forward_pass import TrainedNetwork, passes_of
from damage_ssl.learning.trainer.optimiser import Ema, make_optimizer
from damage_ssl.learning.trainer.trainer import Trainer
from damage_ssl.patches.pairs import PairSet, PairViews
from damage_ssl.runs.run import Run

REPOSITORY = Path(__file__).resolve().parents[1]
Timed = Callable[[int], float]
"""Steps → their seconds, without what comes before the first."""


def new_task(arguments: argparse.Namespace, network: str, size_px: int, folder: Path, precision: str = "auto") -> Task:
    """A task of random pairs, half of the labelled ones damaged."""
    drawn = drawn_pairs(arguments.pairs, size_px).transpose(0, 3, 1, 2)
    mask = np.ones((arguments.pairs, size_px, size_px), dtype=np.uint8)
    views = PairViews(pre=drawn[:, :3], post=drawn[:, 3:], footprint=mask, valid=mask, gsd_m=0.5)
    building_id = np.array([f"b{number:06d}" for number in range(arguments.pairs)])
    nobody = np.array([], dtype=str)
    targets = Targets(
        train_id=building_id[:64],
        train_class=np.arange(64) % 2,
        validation_id=nobody,
        validation_class=np.array([], dtype=np.int64),
    )
    settings = TrainSettings(
        algorithm="fixmatch",
        network=network,
        fusion="stacked",
        input_px=size_px,
        batch_labelled=arguments.labelled,
        unlabelled_ratio=arguments.ratio,
        steps=10**6,
        device=arguments.device,
        options={"compile": arguments.compile, "precision": precision},
    )
    pairs = PairSet(building_id=building_id, close=views)
    return make_task(pairs, targets, settings, Run(folder), lambda _: None, lambda: False)


def waited(device: torch.device) -> float:
    """The clock when all queued work is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def ours(task: Task) -> tuple[Timed, Callable[[], None]]:
    """Steps of the product's own training, and one of them."""
    fit = Trainer(task, lambda: 0.0)

    def one() -> None:
        fit._one_step(0.5)
        fit.step += 1

    def timed(steps: int) -> float:
        one()
        begun = waited(task.device)
        for _ in range(steps):
            one()
        return waited(task.device) - begun

    return timed, one


def by_feed_only(task: Task, pairs: np.ndarray, workers: int) -> Timed:
    """Our step, with its network, loss, optimiser and average, on what the workers of a DataLoader make."""
    settings, options, device = task.settings, task.options.fit, task.device
    student: PairNetwork = Trainer(task, lambda: 0.0).student
    algorithm = ALGORITHMS["fixmatch"]({}, "benchmark")
    optimizer, average = make_optimizer(student, settings, options), Ema(student, settings.ema_decay)
    seen = TrainedNetwork(
        student, device, options.precision, gradient=True, passes=passes_of(options, device, "benchmark")
    )
    generator = torch.Generator().manual_seed(0)

    def on_device(views: torch.Tensor) -> torch.Tensor:
        return torch.cat([views, torch.ones_like(views[:, :1])], dim=1).to(device)

    def step(known: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
        batch = TrainingBatch(
            target=(known["index"] % 2).to(device),
            labelled_weak=on_device(known["weak"]),
            unlabelled=(on_device(other["weak"]), on_device(other["strong"])),
        )
        loss = algorithm.loss(seen, None, batch, progress=0.5, generator=generator).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        average.update(student, 0)

    def timed(steps: int) -> float:
        half = max(workers // 2, 1)
        sizes = settings.batch_labelled, settings.batch_labelled * settings.unlabelled_ratio
        labelled = batches(PilPairs(pairs, strong=False), sizes[0], half, steps + 1)
        unlabelled = batches(PilPairs(pairs, strong=True), sizes[1], half, steps + 1)
        step(next(labelled), next(unlabelled))  # the workers' start is not timed
        begun = waited(device)
        for known, other in zip(labelled, unlabelled, strict=True):
            step(known, other)
        return waited(device) - begun

    return timed


@contextmanager
def by_process(module: str, python: str, flags: dict[str, Any]) -> Iterator[Timed]:
    """Steps of a script of this folder in a process of its own, which waits while the others run."""
    command = [python, "-m", f"benchmarks.{module}", *(t for name, value in flags.items() for t in (name, str(value)))]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
        cwd=REPOSITORY,
    ) as peer:
        told, said = peer.stdin, peer.stdout
        assert told is not None and said is not None
        answers = iter(said)
        if not any(line.strip() == "ready" for line in answers):
            raise SystemExit(f"{module} did not start; run {' '.join(command)} to see why")

        def timed(steps: int) -> float:
            told.write(f"{steps}\n")
            told.flush()
            seconds: str = next(answers)
            return float(seconds)

        yield timed


def peak_teraflops(device: torch.device, seconds: float = 3.0) -> float:
    """What bf16 products of two matrices of 8192 × 8192 reach here."""
    side = 8192 if device.type == "cuda" else 1024
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    a @ a
    done, begun = 0, waited(device)
    while waited(device) - begun < seconds:
        for _ in range(10):
            a @ a
        done += 10
    return 2 * side**3 * done / (waited(device) - begun) / 1e12


def teraflops_of_step(one: Callable[[], None]) -> float:
    """Operations of one step / 10¹², forward and backward; views are not counted, they are no matrix products."""
    with FlopCounterMode(display=False) as counter:
        one()
    return float(counter.get_total_flops()) / 1e12


def measure(arguments: argparse.Namespace, network: str, size_px: int, folder: Path) -> dict[str, Any]:
    """Figures of one network at one size."""
    first, *others = arguments.precision
    task = new_task(arguments, network, size_px, folder / "ours", first)
    own, one = ours(task)
    feeds: dict[str, Timed] = {"ours": own}
    for precision in others:
        feeds[f"ours_{precision}"] = ours(new_task(arguments, network, size_px, folder / precision, precision))[0]
    feeds["feed_only"] = by_feed_only(task, drawn_pairs(arguments.pairs, size_px), arguments.workers)
    flags = {"--network": network, "--size": size_px, "--device": arguments.device}
    flags |= {f"--{name}": getattr(arguments, name) for name in ("labelled", "ratio", "pairs", "workers")}
    with ExitStack() as peers:
        feeds["usual"] = peers.enter_context(by_process("ssl_usual", sys.executable, flags))
        if arguments.peer_python:
            told = {"--repository": REPOSITORY, **flags}
            feeds["semilearn"] = peers.enter_context(by_process("ssl_peer_semilearn", arguments.peer_python, told))
        seconds: dict[str, list[float]] = {name: [] for name in feeds}
        for number in range(arguments.rounds):
            for name, timed in feeds.items():
                seconds[name].append(timed(arguments.steps) / arguments.steps)
            said = ", ".join(f"{name} {each[-1]:.3f} s" for name, each in seconds.items())
            print(f"{network} {size_px} px, round {number + 1} of {arguments.rounds}: {said}", flush=True)
    images = arguments.labelled * (1 + arguments.ratio)
    line: dict[str, Any] = {"network": network, "size_px": size_px, "device": str(task.device)}
    line |= {"precision": first, "threads": torch.get_num_threads(), "torch": torch.__version__}
    for name, each in seconds.items():
        line[f"{name}_images_per_s"] = round(images / statistics.median(each), 1)
        if name != "ours":
            ratios = [theirs / mine for theirs, mine in zip(each, seconds["ours"], strict=True)]
            line[f"ours_over_{name}"] = round(statistics.median(ratios), 2)
            line[f"ours_over_{name}_range"] = [round(min(ratios), 2), round(max(ratios), 2)]
    step_teraflops = teraflops_of_step(one)
    line["teraflop_per_step"] = round(step_teraflops, 3)
    line["teraflop_per_s"] = round(step_teraflops / statistics.median(seconds["ours"]), 3)
    if task.device.type == "cuda":
        line["share_of_bf16_peak"] = round(line["teraflop_per_s"] / peak_teraflops(task.device), 3)
        line["gpu"] = torch.cuda.get_device_name()
    return line


def main(given: list[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["small-cnn"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64])
    parser.add_argument("--peer-python", help="interpreter of an environment with semilearn 0.3.2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", default="off", choices=["off", "reduce-overhead"])
    parser.add_argument("--precision", nargs="+", default=["auto"], choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--out", type=Path, help="JSON lines; appended to")
    sizes = {"labelled": 64, "ratio": 7, "pairs": 4096, "workers": 2, "rounds": 5, "steps": 8}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args(given)
    arguments.device = str(device_named(arguments.device))
    keep_freed_memory()
    lines = []
    for network in arguments.networks:
        for size_px in arguments.sizes:
            with tempfile.TemporaryDirectory() as folder:
                lines.append(measure(arguments, network, size_px, Path(folder)))
            print(json.dumps(lines[-1]))
            if arguments.out:
                with arguments.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
    return lines


if __name__ == "__main__":
    main()
