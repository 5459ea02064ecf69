"""Memory and time of a step while the unlabelled buildings grow from 10³ to 10⁶: both should stay as they are.

`OMP_NUM_THREADS=2 python -m benchmarks.step_memory [--algorithms fixmatch flexmatch]` trains a small network on 64 px
pairs, each count in a process of its own, and reports the median time of a step, the largest memory beyond what was
there before the first step, and what a training holds besides the patches (anonymous memory, not the file's pages).

A million pairs of 64 px are 29 GB, so the patches are a memory-mapped file. It is sparse: the labelled pairs at its
beginning are noise, all others are holes that are read as zeros. What a step reads goes through the page cache as from
a full file, without the disk's own time. The product itself keeps its patches in memory and so bounds them: a run loads
at most `max_unlabelled` (20,000) unlabelled buildings, whatever the event's size. FlexMatch remembers a class of each
pair, a byte or a few: the one thing that grows.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.ssl_throughput import new_task, waited
from damage_ssl.learning.device import device_named, keep_freed_memory
from damage_ssl.learning.pair_tensor import VIEW_CHANNELS
from damage_ssl.learning.trainer.trainer import Trainer

COUNTS = (1_000, 10_000, 100_000, 1_000_000)


def anonymous_mib() -> float:
    """Memory of this process that no file backs."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("/proc/self/status has no RssAnon: this benchmark needs Linux")


class Highest:
    """The largest memory while the context lasts, sampled on the CPU, counted by the allocator on CUDA."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._sample, daemon=True)
        self.mib = 0.0

    def now(self) -> float:
        """Memory at this moment, MiB."""
        return torch.cuda.memory_allocated() / 2**20 if self._device.type == "cuda" else anonymous_mib()

    def _sample(self) -> None:
        while not self._over.wait(0.005):
            self.mib = max(self.mib, self.now())

    def __enter__(self) -> "Highest":
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()
        if self._device.type == "cuda":
            self.mib = torch.cuda.max_memory_allocated() / 2**20


def mapped(path: Path, first: torch.Tensor, count: int) -> torch.Tensor:
    """Pixels uint8 [count, 7, H, W] in a sparse file, the first of them given."""
    shape = (count, VIEW_CHANNELS, *first.shape[2:])
    with path.open("wb") as file:
        file.truncate(first[0].numel() * count)
    pixels = torch.from_file(str(path), shared=True, size=first[0].numel() * count, dtype=torch.uint8).view(shape)
    pixels[: len(first)] = first
    return pixels


def measure(arguments: argparse.Namespace, algorithm: str, count: int) -> dict[str, Any]:
    """One count in this process."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        task = new_task(arguments, "small-cnn", arguments.size, Path(folder))
        pixels = mapped(Path(folder) / "pixels", task.pixels.cpu(), count)
        if task.device.type == "cuda":
            pixels = pixels.to(task.device)
        task = dataclasses.replace(task, pixels=pixels, settings=task.settings.replace(algorithm=algorithm))
        keep_freed_memory()
        highest = Highest(task.device)
        bare = highest.now()
        fit = Trainer(task, lambda: 0.0)
        before, seconds = highest.now(), []
        with highest:
            for _ in range(arguments.warm + arguments.steps):
                begun = waited(task.device)
                fit._one_step(0.5)
                seconds.append(waited(task.device) - begun)
        return {
            "algorithm": algorithm,
            "pairs": count,
            "device": str(task.device),
            "step_s": round(statistics.median(seconds[arguments.warm :]), 3),
            "fastest_step_s": round(min(seconds[arguments.warm :]), 3),
            "step_mib": round(highest.mib - before, 1),
            "training_mib": round(highest.mib - bare, 1),
            "patches_gib": round(pixels.numel() / 2**30, 2),
        }


def table(lines: list[dict[str, Any]]) -> str:
    """The figures as markdown."""
    text = "| Algorithm | Unlabelled pairs | Patches, GiB | Step, s (median; fastest) | Step, MiB | Training, MiB |\n"
    text += "|---|---|---|---|---|---|\n"
    for line in lines:
        times = f"{line['step_s']:.2f}; {line['fastest_step_s']:.2f}"
        sizes = f"{line['step_mib']:,.0f} | {line['training_mib']:,.0f}"
        text += f"| {line['algorithm']} | {line['pairs']:,} | {line['patches_gib']:.2f} | {times} | {sizes} |\n"
    return text


def main(given: list[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", nargs="+", type=int, default=list(COUNTS))
    parser.add_argument("--algorithms", nargs="+", default=["fixmatch", "flexmatch"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", help="where the sparse file is made (default: the system's temporary folder)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    for name, value in {"size": 64, "labelled": 16, "ratio": 7, "warm": 3, "steps": 10}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args(given)
    arguments.device = str(device_named(arguments.device))
    arguments.pairs, arguments.compile, arguments.precision = 256, "off", "auto"
    if arguments.one:
        print(json.dumps(measure(arguments, arguments.algorithms[0], arguments.counts[0])))
        return []
    lines, began = [], time.monotonic()
    for algorithm in arguments.algorithms:
        for count in arguments.counts:
            flags = ["--one", "--counts", str(count), "--algorithms", algorithm, "--device", arguments.device]
            for name in ("size", "labelled", "ratio", "warm", "steps", "folder"):
                if (value := getattr(arguments, name)) is not None:
                    flags += [f"--{name}", str(value)]
            command = [sys.executable, "-m", "benchmarks.step_memory", *flags]
            folder = Path(__file__).resolve().parents[1]
            done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{' '.join(command)}: failed\n{done.stderr}")
            lines.append(json.loads(done.stdout.splitlines()[-1]))
            print(json.dumps(lines[-1]), flush=True)
    print(f"{table(lines)}\n{time.monotonic() - began:.0f} s")
    return lines


if __name__ == "__main__":
    main()
