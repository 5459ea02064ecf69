import numpy as np
import pytest
from scipy import ndimage

from damage_ssl.registration.correlation import Matches, match_pairs


def shifted_pairs(count: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Textured patches with edges, and the same moved by known (east, north) pixels with other light and noise."""
    rng = np.random.default_rng(seed)
    shifts = rng.uniform(-6, 6, size=(count, 2))
    pre, post = np.empty((count, 3, 64, 64), np.uint8), np.empty((count, 3, 64, 64), np.uint8)
    for row in range(count):
        field = ndimage.gaussian_filter(rng.normal(size=(96, 96)), 1.5) * 200
        for _ in range(8):
            y, x = rng.integers(0, 80, 2)
            field[y : y + rng.integers(8, 30), x : x + rng.integers(8, 30)] += rng.uniform(-60, 60)
        east, north = shifts[row]
        moved = ndimage.shift(field, (-north, east), order=3, mode="reflect")
        noisy = 0.7 * moved + 20 + rng.normal(scale=4, size=field.shape)
        pre[row] = np.clip(120 + field, 0, 255)[16:80, 16:80].astype(np.uint8)
        post[row] = np.clip(120 + noisy, 0, 255)[16:80, 16:80].astype(np.uint8)
    return pre, post, shifts


def measure_shifts(pre: np.ndarray, post: np.ndarray, valid: np.ndarray, gsd_m: float) -> Matches:
    """As far as a quarter of the patch."""
    return match_pairs(pre, post, valid, valid, gsd_m=gsd_m, reach_m=pre.shape[-1] * gsd_m)


def test_injected_shifts_are_found_to_less_than_a_third_of_a_pixel() -> None:
    pre, post, true = shifted_pairs()
    found = measure_shifts(pre, post, np.ones((len(pre), 64, 64), dtype=bool), gsd_m=0.5)
    error = np.hypot(found.shift_x_m / 0.5 - true[:, 0], found.shift_y_m / 0.5 - true[:, 1])
    assert np.median(error) < 0.3
    assert np.quantile(error, 0.9) < 1.0
    assert (found.score > 0.3).mean() > 0.9


def test_post_shifted_east_and_north_gives_positive_metres() -> None:
    pre, _, _ = shifted_pairs(4)
    post = np.roll(pre, shift=(-3, 5), axis=(2, 3))
    found = measure_shifts(pre, post, np.ones((4, 64, 64), dtype=bool), gsd_m=2.0)
    np.testing.assert_allclose(found.shift_x_m, 10.0, atol=0.6)
    np.testing.assert_allclose(found.shift_y_m, 6.0, atol=0.6)


def test_identical_patches_score_one_and_unrelated_ones_little() -> None:
    pre, _, _ = shifted_pairs(12)
    full = np.ones((12, 64, 64), dtype=bool)
    same = measure_shifts(pre, pre, full, gsd_m=0.5)
    np.testing.assert_allclose(same.score, 1.0, atol=1e-3)
    np.testing.assert_allclose(same.shift_x_m, 0.0, atol=1e-3)
    other = measure_shifts(pre, np.roll(pre, 1, axis=0), full, gsd_m=0.5)
    assert np.median(other.score) < 0.4


def test_missing_data_on_one_side_does_not_pass_for_an_edge() -> None:
    pre, post, true = shifted_pairs()
    valid = np.ones((len(pre), 64, 64), dtype=bool)
    valid[:, :, 46:] = False
    pre, post = pre * valid[:, None], post * valid[:, None]
    found = measure_shifts(pre, post, valid, gsd_m=1.0)
    error = np.hypot(found.shift_x_m - true[:, 0], found.shift_y_m - true[:, 1])
    assert np.median(error) < 0.5


@pytest.mark.parametrize("kind", ["flat", "masked"])
def test_nothing_to_compare_gives_no_shift_and_score_zero(kind: str) -> None:
    pre, _, _ = shifted_pairs(2)
    valid = np.ones((2, 64, 64), dtype=bool)
    if kind == "flat":
        pre = np.full_like(pre, 120)
    else:
        valid[:, :, 10:] = False
    found = measure_shifts(pre, pre, valid, gsd_m=0.5)
    assert np.isnan(found.shift_x_m).all()
    assert (found.score == 0).all()


def test_no_pairs_give_no_shifts() -> None:
    none = np.zeros((0, 3, 64, 64), dtype=np.uint8)
    assert len(measure_shifts(none, none, np.zeros((0, 64, 64), dtype=bool), gsd_m=0.5).score) == 0
