"""Whole steps of an algorithm on a float64 linear map, so that NumPy can work out value and gradient."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from damage_ssl.learning.algorithms import ALGORITHMS
from damage_ssl.learning.algorithms.base import Algorithm, LossTerms, TrainingBatch

LABELLED, UNLABELLED, CHANNELS, SIZE, CLASSES = 4, 12, 14, 3, 4
FEATURES = CHANNELS * SIZE * SIZE


class LinearStudent:
    """Logits are a linear map of the flattened views; remembers what it was shown."""

    def __init__(self, seed: int = 0, scale: float = 0.6) -> None:
        self.weight = torch.from_numpy(np.random.default_rng(seed).normal(0, scale, (FEATURES, CLASSES)))
        self.weight.requires_grad_()
        self.other = torch.from_numpy(np.random.default_rng(seed + 1).normal(0, scale, (FEATURES, CLASSES)))
        self.other.requires_grad_()
        self.shown: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.shown.append(x)
        return x.flatten(1) @ self.weight

    def with_head(self, x: Tensor, head: str) -> tuple[Tensor, Tensor]:
        return self(x), x.flatten(1) @ self.other

    def logits(self, x: Tensor) -> np.ndarray:
        return (x.flatten(1) @ self.weight).detach().numpy()


class RoundedStudent:
    """Another's logits in bfloat16."""

    def __init__(self, student: LinearStudent) -> None:
        self.student = student

    def __call__(self, x: Tensor) -> Tensor:
        return self.student(x).bfloat16()

    def with_head(self, x: Tensor, head: str) -> tuple[Tensor, Tensor]:
        logits, other = self.student.with_head(x, head)
        return logits.bfloat16(), other.bfloat16()


def step(
    algorithm: Algorithm,
    student: LinearStudent,
    batch: TrainingBatch,
    *,
    progress: float = 1.0,
    seed: int = 5,
    teacher: LinearStudent | None = None,
) -> tuple[LossTerms, np.ndarray]:
    """The loss and its gradient with respect to the student's weights, on the views that the algorithm asks for."""
    asked = replace(batch, unlabelled=batch.unlabelled[: len(algorithm.unlabelled_views)])
    terms = algorithm.loss(student, teacher, asked, progress=progress, generator=torch.Generator().manual_seed(seed))
    (gradient,) = torch.autograd.grad(terms.loss, [student.weight])
    return terms, gradient.numpy()


def weight_gradient(views: Tensor, logits_gradient: np.ndarray) -> np.ndarray:
    return views.flatten(1).numpy().T @ logits_gradient


def make(name: str, **options: Any) -> Algorithm:
    return ALGORITHMS[name](options, f"train.options: {name}")


def draw_batch(seed: int = 3) -> TrainingBatch:
    rng = np.random.default_rng(seed)

    def views(count: int) -> Tensor:
        return torch.from_numpy(rng.random((count, CHANNELS, SIZE, SIZE)))

    return TrainingBatch(
        target=torch.tensor([0, 1, 2, 3]),
        labelled_weak=views(LABELLED),
        labelled_strong=views(LABELLED),
        unlabelled=(views(UNLABELLED), views(UNLABELLED)),
        unlabelled_index=torch.arange(UNLABELLED) * 2,
        unlabelled_total=2 * UNLABELLED,
    )
