"""What the next labels would bring."""

import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from damage_ssl.evaluation.learning_curve import (
    LEAST_PER_CLASS,
    MOST_LABELS,
    _curve,
    _fit,
    outlook,
    read_curve,
)
from damage_ssl.files import write_json


def labelled_town(count: int, *, gap: float, seed: int = 0, size_m: float = 2000.0) -> tuple[np.ndarray, ...]:
    """Half damaged; 64 features of unit total variance, of which the first tells the classes apart by `gap`."""
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % 2
    features = rng.normal(0, 1 / 8, (count, 64))
    features[:, 0] += gap * (classes - 0.5)
    x_m, y_m = rng.uniform(0, size_m, (2, count))
    return features.astype(np.float32), classes, x_m, y_m


def test_curve_of_the_assumed_form_is_found_again() -> None:
    sizes = np.array([6.0, 12.0, 24.0, 48.0])
    a, b = _fit(sizes, 0.9 - 0.6 / np.sqrt(sizes))
    assert (a, b) == pytest.approx((0.9, 0.6))


def test_curve_that_falls_by_chance_promises_nothing() -> None:
    assert _fit(np.array([5.0, 10.0]), np.array([0.8, 0.7])) == pytest.approx((0.75, 0.0))


def test_hard_task_gains_from_more_labels_and_an_easy_one_does_not() -> None:
    hard = outlook(*labelled_town(60, gap=0.35), np.random.default_rng(0))
    easy = outlook(*labelled_town(60, gap=3.0), np.random.default_rng(0))
    assert hard.gain is not None and easy.gain is not None
    assert hard.gain > 0.005 > easy.gain
    assert easy.score == pytest.approx(1.0, abs=0.02)
    assert easy.score + easy.gain <= 1.0
    assert hard.gain_low is not None and hard.gain_high is not None
    assert 0 <= hard.gain_low <= hard.gain <= hard.gain_high


def test_promise_is_kept_on_average() -> None:
    """Promised from 40 labels what 80 would bring, against what 80 do bring on a thousand unseen buildings."""
    from damage_ssl.learning.features.linear_probe import fit_linear_probe

    promised, kept = [], []
    for seed in range(8):
        features, classes, x_m, y_m = labelled_town(1080, gap=0.45, seed=seed)
        at = outlook(features[:40], classes[:40], x_m[:40], y_m[:40], np.random.default_rng(seed), more=40)
        right = [
            (fit_linear_probe(features, np.arange(size), classes[:size])[80:].argmax(1) == classes[80:]).mean()
            for size in (40, 80)
        ]
        promised.append(at.gain)
        kept.append(right[1] - right[0])
    assert np.mean(promised) == pytest.approx(np.mean(kept), abs=0.04)


def test_too_few_of_a_class_cannot_be_told() -> None:
    features, classes, x_m, y_m = labelled_town(2 * LEAST_PER_CLASS - 2, gap=1.0)
    got = outlook(features, classes, x_m, y_m, np.random.default_rng(0))
    assert not got.known and "8 of each" in got.reason


def test_labels_in_one_corner_cannot_be_told() -> None:
    got = outlook(*labelled_town(40, gap=1.0, size_m=5.0), np.random.default_rng(0))
    assert not got.known and "close together" in got.reason


def test_all_damage_in_one_block_cannot_be_told() -> None:
    features, classes, x_m, y_m = labelled_town(40, gap=1.0)
    x_m, y_m = np.where(classes == 1, 75.0, x_m + 1000), np.where(classes == 1, 75.0, y_m)
    got = outlook(features, classes, x_m, y_m, np.random.default_rng(0))
    assert not got.known and "different parts" in got.reason


def test_no_building_is_scored_by_a_model_that_has_seen_its_block() -> None:
    """Features that name the block, whose class is drawn by a coin: nothing of them holds in another block."""
    rng = np.random.default_rng(1)
    block = np.repeat(np.arange(40), 4)
    features = np.eye(40, dtype=np.float32)[block]
    classes = rng.integers(0, 2, 40)[block]
    scores = [_curve(features, classes, block, rng) for _ in range(40)]
    last = [each[1][-1] for each in scores if each is not None]
    assert np.mean(last) == pytest.approx(0.5, abs=0.08)


def test_thousand_labels_take_under_a_second() -> None:
    town = labelled_town(1000, gap=0.5)
    begun = time.process_time()
    got = outlook(*town, np.random.default_rng(0))
    assert got.known and got.labels == 1000 > MOST_LABELS
    assert time.process_time() - begun < 1.5


@pytest.mark.parametrize("count", [4, 60])
def test_curve_is_read_as_it_was_written(count: int, tmp_path: Path) -> None:
    written = outlook(*labelled_town(count, gap=0.35), np.random.default_rng(3))
    write_json(tmp_path / "curve.json", asdict(written))
    assert read_curve(tmp_path / "curve.json") == written


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"curve": 1}', '{"curve": [], "points": 3}'])
def test_curve_that_cannot_be_read_is_none(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "curve.json").write_text(text)
    assert read_curve(tmp_path / "curve.json") is None
