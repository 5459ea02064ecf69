"""A made-up event for benchmarks: 240 buildings on a grid, and a trainer that learns nothing but answers at once."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from damage_ssl.benchmarking.background_pairs import Windows
from damage_ssl.benchmarking.bench import Bench, Training, bench_fingerprint
from damage_ssl.benchmarking.division import Material, divide
from damage_ssl.benchmarking.plan import make_plan
from damage_ssl.benchmarking.settings import BenchmarkSettings
from damage_ssl.damage_scale import scheme_named
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.patches.pairs import PairSet, PairViews


def pairs_of(ids: Sequence[str], grey: Sequence[int], size_px: int = 8) -> PairSet:
    """Pairs whose post image is one shade of grey each."""
    shape = (len(ids), 3, size_px, size_px)
    post = np.broadcast_to(np.array(grey, dtype=np.uint8)[:, None, None, None], shape).copy()
    plane = np.ones((len(ids), size_px, size_px), dtype=np.uint8)
    views = PairViews(pre=np.full(shape, 100, np.uint8), post=post, footprint=plane, valid=plane, gsd_m=0.5)
    return PairSet(building_id=np.array(ids), close=views)


def grid_material(side: int = 16, spacing_m: float = 20.0, reach_m: float = 10.0) -> Material:
    """side² buildings; every third is damaged (and brighter), every tenth has no grade."""
    number = np.arange(side * side)
    damaged = number % 3 == 0
    classes = np.where(number % 10 == 9, -1, damaged.astype(np.int64))
    return Material(
        pairs=pairs_of([f"b{n}" for n in number], np.where(damaged, 180, 120).tolist()),
        class_index=classes,
        x_m=(number % side) * spacing_m,
        y_m=(number // side) * spacing_m,
        reach_m=reach_m,
        scheme=scheme_named("binary-major"),
        fingerprint="grid",
    )


class FakeTrainer:
    """P(damaged) from the true grey with noise of the method's own; remembers what it was given."""

    def __init__(self, *, fails: str = "", interrupts_at: int | None = None) -> None:
        self.trainings: list[Training] = []
        self._fails, self._interrupts_at = fails, interrupts_at

    def __call__(self, training: Training) -> np.ndarray[Any, np.dtype[np.float64]]:
        if self._interrupts_at is not None and len(self.trainings) >= self._interrupts_at:
            raise KeyboardInterrupt
        self.trainings.append(training)
        settings = training.settings
        if settings.algorithm == self._fails:
            raise ValueError("does <not> learn")
        text = f"{settings.algorithm} {settings.seed} {sorted(settings.given.items())}"
        rng = np.random.default_rng(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()))
        grey = training.scored.close.post[:, 0, 0, 0].astype(float)
        return np.asarray(1 / (1 + np.exp(-(grey - 150) / 30 - rng.normal(size=len(grey)))))


def bench_of(folder: Path, trainer: FakeTrainer, material: Material | None = None, **changes: Any) -> Bench:
    """A bench of two methods and few labels, all in `folder`."""
    asked: dict[str, Any] = {"methods": ("supervised-strong", "fixmatch"), "labels": (2, 5), "trials": 3}
    asked |= {"train": TrainSettings(network="small-cnn", steps=2), "validation_sizes": (10, 20)}
    settings = BenchmarkSettings(**(asked | changes))
    material = material or grid_material()
    division = divide(
        material,
        block_m=60.0,
        test_share=0.3,
        validation_share=0.2,
        least_pool=10,
        rng=np.random.default_rng(0),
    )
    windows = Windows(pairs_of([f"w{n}" for n in range(40)], [60] * 40), np.full((40, 2), 1e9))
    plan = make_plan(
        settings,
        fingerprint=bench_fingerprint(material, division, windows),
        pool=len(division.pool),
        classes=2,
        foreign=len(windows),
    )
    return Bench(plan=plan, material=material, division=division, foreign=windows, folder=folder, trainer=trainer)
