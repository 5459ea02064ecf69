"""Small pair sets drawn by rule: roofs on textured ground; the damaged ones are speckled in the post image."""

import numpy as np

from damage_ssl.learning.trainer.data import Targets
from damage_ssl.patches.pairs import PairSet, PairViews


def draw_pairs(count: int, *, size_px: int = 32, seed: int = 0, context: bool = False) -> tuple[PairSet, np.ndarray]:
    """Pairs and their class, 1 = damaged; every second building is damaged."""
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % 2
    close = _views(rng, classes, size_px, gsd_m=0.5)
    wide = _views(rng, classes, size_px, gsd_m=1.0) if context else None
    identity = np.array([f"building-{index:04d}" for index in range(count)])
    return PairSet(building_id=identity, close=close, context=wide), classes.astype(np.int64)


def targets_of(pairs: PairSet, classes: np.ndarray, *, train: int, validation: int = 0) -> Targets:
    return Targets(
        train_id=pairs.building_id[:train],
        train_class=classes[:train],
        validation_id=pairs.building_id[train : train + validation],
        validation_class=classes[train : train + validation],
    )


def _views(rng: np.random.Generator, classes: np.ndarray, size: int, gsd_m: float) -> PairViews:
    count = len(classes)
    ground = rng.integers(60, 120, (count, 1, size, size)) + rng.integers(-10, 10, (count, 3, size, size))
    footprint = np.zeros((count, size, size), dtype=np.uint8)
    footprint[:, size // 4 : -size // 4, size // 4 : -size // 4] = 1
    roof = rng.integers(90, 230, (count, 3, 1, 1))
    pre = np.where(footprint[:, None] == 1, roof, ground)
    brightness = rng.uniform(0.8, 1.2, (count, 1, 1, 1))
    rubble = rng.integers(0, 255, (count, 1, size, size))
    broken = (footprint[:, None] == 1) & (classes[:, None, None, None] == 1)
    post = np.where(broken, rubble, pre * brightness)
    valid = np.ones((count, size, size), dtype=np.uint8)
    return PairViews(
        pre=_bytes(pre + rng.normal(0, 4, pre.shape)),
        post=_bytes(post + rng.normal(0, 4, pre.shape)),
        footprint=footprint,
        valid=valid,
        gsd_m=gsd_m,
    )


def _bytes(values: np.ndarray) -> np.ndarray:
    return values.clip(0, 255).astype(np.uint8)
