"""The benchmark of pretraining compares both starts on the same draws, and goes on where it was."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import accuracy, pretraining
from benchmarks.accuracy import Buildings
from damage_ssl.files import read_json
from damage_ssl.patches.pairs import PairSet, PairViews


def town() -> Buildings:
    """Eighty buildings in a row of blocks, every second one brighter after."""
    rng = np.random.default_rng(0)
    shape = (80, 3, 64, 64)
    damaged = np.arange(80) % 2
    post = rng.integers(0, 100, shape) + 120 * damaged[:, None, None, None]
    plane = np.ones((80, 64, 64), dtype=np.uint8)
    views = PairViews(
        pre=rng.integers(0, 100, shape).astype(np.uint8),
        post=post.astype(np.uint8),
        footprint=plane,
        valid=plane,
        gsd_m=0.5,
    )
    pairs = PairSet(building_id=np.array([f"b{n:02d}" for n in range(80)]), close=views)
    return Buildings(pairs=pairs, class_index=damaged, x_m=np.arange(80) * 40.0, y_m=np.zeros(80))


@pytest.mark.long
def test_both_starts_are_measured_on_the_same_draws_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(pretraining, "load_buildings", lambda name, patches: town())
    monkeypatch.setattr(accuracy, "LEAST_POOL", 5)
    out = tmp_path / "pretraining.json"
    given = ["--events", "town", "--networks", "small-cnn", "--labels", "5", "--seeds", "0", "1"]
    given += ["--steps", "2", "--results", str(out)]
    text = pretraining.main(given)
    results = read_json(out)
    (made,) = results["pretrainings"]
    assert made["steps_done"] == 2 and made["pairs"] == 80
    assert [row["start"] for row in results["rows"]] == ["before"] * 4 + ["pretrained"] * 4
    assert all(row["auroc"] > 0.9 for row in results["rows"])  # brightness is easily told
    assert "| town | small-cnn | vicreg | frozen-start | 5 |" in text
    assert pretraining.main(given) == text
    assert read_json(out) == results
