"""CIFAR-10 with 250 or 40 labels and WideResNet-28-2: the product's algorithms and views on the data of the papers.

`python -m benchmarks.cifar10 --minutes 10` on a CUDA device trains FixMatch at 250 and 40 labels, MixMatch and
ReMixMatch at 250, ten minutes each, and writes a table beside the published figures of 2²⁰ steps. `--smoke` takes a few
steps on a few images anywhere: it shows that the script runs, its accuracy means nothing.

The images are `$DAMAGE_SSL_SHARED/data/cifar10/cifar10_jpeg.tar.xz`: JPEG, so a shade worse than CIFAR-10 itself. An
image stands in both dates of a pair; algorithms, views (without quarter turns), sampling, schedule and average are
those of `damage_ssl.learning`. The network is the papers', with batch norms, so that all views of FixMatch go through
it at once. Test accuracy is the averaged network's, at the end; nothing is chosen by it.
"""

import argparse
import io
import json
import os
import tarfile
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from benchmarks.wide_resnet import WideResNet
from damage_ssl.learning.algorithms import ALGORITHMS
from damage_ssl.learning.algorithms.base import Algorithm, TrainingBatch, UsesHeads
from damage_ssl.learning.augmentation.ctaugment import true_probability
from damage_ssl.learning.augmentation.views import Views, ViewSettings
from damage_ssl.learning.device import autocast, device_named, to_device
from damage_ssl.learning.networks.encoders import seeded
from damage_ssl.learning.networks.pair_network import PairNetwork
from damage_ssl.learning.pair_tensor import POST, PRE, VIEW_CHANNELS, to_unit
from damage_ssl.learning.trainer.data import BalancedSampler, distinct
from damage_ssl.learning.trainer.forward_pass import as_cuda_graphs, begin_step
from damage_ssl.learning.trainer.optimiser import Ema, rate_factor, set_rate

REPOSITORY = Path(__file__).resolve().parents[1]
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
RUNS = (("fixmatch", 250), ("fixmatch", 40), ("mixmatch", 250), ("remixmatch", 250))
PUBLISHED = {("fixmatch", 250): "94.93 ± 0.65", ("fixmatch", 40): "86.19 ± 3.37", ("mixmatch", 250): "88.95 ± 0.86"}


PUBLISHED |= {
    ("remixmatch", 250): "94.56 ± 0.05",
    ("mixmatch", 40): "52.46 ± 11.50",
    ("remixmatch", 40): "80.90 ± 9.64",
}
"""Test accuracy in %, Sohn et al. 2020 (FixMatch, arXiv:2001.07685), table 2: five folds, 2²⁰ steps of 64 labelled."""


OPTIONS: dict[str, dict[str, Any]] = {
    "fixmatch": {"weak_pass": "fused"},  # the batch norms' statistics are those of all views, as in the paper
    "mixmatch": {},
    "remixmatch": {"rotated": "pair"},  # both dates are one image here, and it has an upright
}
OPERATIONS = "identity autocontrast brightness contrast saturation posterize equalize solarize sharpness"
"""The photometry of the paper's RandAugment."""


@dataclass(frozen=True)
class Images:
    """`train`, `test` uint8 [N, 3, 32, 32] and their classes int64 [N]."""

    train: Tensor
    train_class: NDArray[np.int64]
    test: Tensor
    test_class: NDArray[np.int64]


def read_images(archive: Path, every: int = 1) -> Images:
    """The images of the archive, or only every so-many-th of each part."""
    pixels: dict[str, list[NDArray[np.uint8]]] = {"train": [], "test": []}
    classes: dict[str, list[int]] = {"train": [], "test": []}
    seen = {"train": 0, "test": 0}
    with tarfile.open(archive, "r:xz") as tar:
        for member in tar:
            parts = Path(member.name).parts
            if not member.isfile() or len(parts) < 3 or parts[-2] not in CLASSES:
                continue
            part = parts[-3]
            seen[part] += 1
            if seen[part] % every:
                continue
            file = tar.extractfile(member)
            assert file is not None
            image = Image.open(io.BytesIO(file.read())).convert("RGB")
            pixels[part].append(np.asarray(image).transpose(2, 0, 1))
            classes[part].append(CLASSES.index(parts[-2]))
    arrays = {part: torch.from_numpy(np.stack(values)) for part, values in pixels.items()}
    known = {part: np.array(values, dtype=np.int64) for part, values in classes.items()}
    return Images(arrays["train"], known["train"], arrays["test"], known["test"])


def as_pairs(images: Tensor) -> Tensor:
    """Both dates the image, the footprint all of it: float32 [N, 7, 32, 32]."""
    pairs = torch.empty(len(images), VIEW_CHANNELS, *images.shape[2:], device=images.device)
    pairs[:, PRE] = pairs[:, POST] = to_unit(images)
    pairs[:, VIEW_CHANNELS - 1] = 1.0
    return pairs


def labelled_rows(classes: NDArray[np.int64], count: int, seed: int) -> NDArray[np.intp]:
    """As many of each class, drawn at random."""
    rng = np.random.default_rng(seed)
    each = count // len(CLASSES)
    return np.concatenate([rng.permutation(np.flatnonzero(classes == k))[:each] for k in range(len(CLASSES))])


class Trainer:
    """One training; `step` is one update."""

    def __init__(self, images: Images, name: str, labels: int, arguments: argparse.Namespace) -> None:
        self.device = device_named(arguments.device)
        self.batch, self.ratio = arguments.batch, arguments.ratio if name == "fixmatch" else 1
        self.images = images.train.to(self.device)
        rows = labelled_rows(images.train_class, labels, arguments.seed)
        self.sampler = BalancedSampler(rows, images.train_class[rows])
        self.generator = torch.Generator().manual_seed(arguments.seed)
        self.algorithm: Algorithm = ALGORITHMS[name](OPTIONS[name], "cifar10")
        policy = "ctaugment" if getattr(self.algorithm, "strong_policy", "") == "ctaugment" else "random"
        self.views = Views(
            ViewSettings(
                quarter_turns=False,
                per_date_photometry=False,
                shear=0.3,
                operations=OPERATIONS,
                strong_policy=policy,  # type: ignore[arg-type]
            )
        )
        network = seeded(lambda: WideResNet(len(CLASSES), depth=arguments.depth), self.generator)
        self.student = cast(WideResNet, network).to(self.device, memory_format=torch.channels_last)
        if isinstance(self.algorithm, UsesHeads):
            width = self.student.head.in_features
            for head, outputs in self.algorithm.heads(len(CLASSES)).items():
                self.student.auxiliary[head] = nn.Linear(width, outputs).to(self.device)
        self.average = Ema(cast(PairNetwork, self.student), 0.999)
        cuda = self.device.type == "cuda"
        kernels = [each for each in self.student.parameters() if each.ndim > 1]
        vectors = [each for each in self.student.parameters() if each.ndim <= 1]
        groups = [{"params": kernels, "weight_decay": 5e-4}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.SGD(
            [group | {"lr": 0.03, "top_rate": 0.03} for group in groups],
            momentum=0.9,
            nesterov=True,
            fused=cuda or None,
        )
        if arguments.compile and cuda:
            self.student.features = as_cuda_graphs(self.student.features)  # type: ignore[method-assign]
        self.steps = 0

    def precision(self) -> AbstractContextManager[None]:
        return autocast(self.device, "auto")

    def taken(self, rows: Tensor) -> Tensor:
        return as_pairs(self.images[to_device(rows, self.device)])

    def step(self, progress: float) -> Tensor:
        """One update; the loss [] on the device."""
        begin_step(self.device)
        self.student.train()
        set_rate(self.optimizer, rate_factor(progress, 0.0))
        rows, classes = self.sampler.draw(self.batch, self.generator)
        target = to_device(classes, self.device)
        labelled = self.taken(rows)
        some = distinct(len(self.images), self.batch * self.ratio, self.generator)
        pool = self.taken(some)
        draw = {"weak": self.views.weak, "strong": self.views.strong}
        known = {name: draw[name](labelled, self.generator) for name in self.algorithm.labelled_views}
        batch = TrainingBatch(
            target=target,
            labelled_weak=known.get("weak"),
            labelled_strong=known.get("strong"),
            unlabelled=tuple(draw[name](pool, self.generator) for name in self.algorithm.unlabelled_views),
            unlabelled_index=to_device(some, self.device),
            unlabelled_total=len(self.images),
        )
        with self.precision():
            terms = self.algorithm.loss(
                self.student, self.average.network, batch, progress=progress, generator=self.generator
            )
        self.optimizer.zero_grad(set_to_none=True)
        terms.loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.average.update(self.student, self.steps)
        if self.views.policy is not None:
            views, probe = self.views.probe(labelled, self.generator)
            p = self.probabilities(views)
            self.views.policy.update(probe, true_probability(p, target))
        self.steps += 1
        return terms.loss.detach()

    @torch.no_grad()
    def probabilities(self, x: Tensor) -> Tensor:
        """Those of the averaged network [N, 10]."""
        network = self.average.network.eval()
        with self.precision():
            return cast(Tensor, network(x).float().softmax(dim=-1))

    def accuracy(self, images: Images) -> float:
        """Share of the test images that the averaged network gets right."""
        guesses = [self.probabilities(as_pairs(part.to(self.device))) for part in torch.split(images.test, 1000)]
        right = torch.cat(guesses).argmax(dim=1).cpu().numpy() == images.test_class
        return float(right.mean())


def train(images: Images, name: str, labels: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    trainer = Trainer(images, name, labels, arguments)
    begun, losses = time.monotonic(), []
    while True:
        spent = time.monotonic() - begun
        by_steps = trainer.steps / arguments.steps if arguments.steps else 0.0
        progress = max(by_steps, spent / (60 * arguments.minutes) if arguments.minutes else 0.0)
        if progress >= 1:
            break
        losses.append(trainer.step(progress))
        if len(losses) == 100:
            print(f"{name} {labels}: {progress:.0%}, loss {torch.stack(losses).mean().item():.3f}", flush=True)
            losses = []
    loss = torch.stack(losses).mean().item() if losses else float("nan")
    minutes = (time.monotonic() - begun) / 60
    row = {"algorithm": name, "labels": labels, "accuracy": trainer.accuracy(images), "steps": trainer.steps}
    return row | {
        "minutes": round(minutes, 2),
        "last_loss": loss,
        "seed": arguments.seed,
        "device": str(trainer.device),
    }


def table(rows: list[dict[str, Any]], heading: str) -> str:
    """The rows as markdown, the published figures beside them."""
    lines = [heading, "", "| Algorithm | Labels | Test accuracy, % | Steps | Minutes | Published, 2²⁰ steps, % |"]
    lines.append("|---|---|---|---|---|---|")
    for row in rows:
        published = PUBLISHED.get((row["algorithm"], row["labels"]), "–")
        figures = f"{100 * row['accuracy']:.2f} | {row['steps']:,} | {row['minutes']:.1f} | {published}"
        lines.append(f"| {row['algorithm']} | {row['labels']} | {figures} |")
    return "\n".join(lines) + "\n"


def main(given: list[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a few steps on a few images")
    parser.add_argument("--runs", nargs="+", help="algorithm:labels, e.g. fixmatch:250 (default: all four)")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--compile", action="store_true", help="CUDA graphs")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="markdown; JSON lines go beside it")
    for name, value in {"seed": 0, "batch": 64, "ratio": 7, "depth": 28}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args(given)
    if arguments.smoke:
        arguments.steps, arguments.batch, arguments.ratio = arguments.steps or 3, min(arguments.batch, 10), 2
    elif not (arguments.minutes or arguments.steps):
        parser.error("give --minutes 10, --steps or --smoke")
    shared = Path(os.environ.get("DAMAGE_SSL_SHARED", "../shared"))
    archive = (shared if shared.is_absolute() else REPOSITORY / shared) / "data" / "cifar10" / "cifar10_jpeg.tar.xz"
    if not archive.exists():
        parser.error(f"{archive} is not there; set DAMAGE_SSL_SHARED to the folder of the shared data")
    images = read_images(archive, every=50 if arguments.smoke else 1)
    chosen = [each.split(":") for each in arguments.runs] if arguments.runs else RUNS
    rows = []
    for name, labels in chosen:
        rows.append(train(images, name, int(labels), arguments))
        if arguments.out:
            with arguments.out.with_suffix(".jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    kind = f"{len(images.train):,} training and {len(images.test):,} test images"
    smoke = "; smoke run: these accuracies mean nothing" if arguments.smoke else ""
    text = table(rows, f"CIFAR-10 (JPEG), WideResNet-{arguments.depth}-2, {kind}, {rows[0]['device']}{smoke}")
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    return rows


if __name__ == "__main__":
    main()
