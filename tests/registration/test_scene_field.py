import numpy as np
import pytest

from damage_ssl.registration.local_shift import LocalShifts, local_field, local_shifts, neighbour_trust, refine
from damage_ssl.registration.scene_field import Samples, SceneField, fit_scene


def scattered(count: int, seed: int, *, noise_m: float = 0.2, wrong: float = 0.0, degrees: float = 0.0) -> tuple:
    """Samples over 500 m of a shift (3, -2) with a rotation about the middle, and the true shift of each."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(-250, 250, (count, 2))
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    true = xy @ (turn - np.eye(2)).T + (3.0, -2.0)
    found = true + rng.normal(scale=noise_m, size=true.shape)
    bad = rng.random(count) < wrong
    found[bad] = rng.uniform(-14, 14, (int(bad.sum()), 2))
    return Samples(xy[:, 0], xy[:, 1], found, np.full(count, noise_m)), true


@pytest.mark.parametrize("degrees", [0.0, 1.0])
def test_scene_field_follows_shift_and_rotation_though_a_third_of_the_matches_is_wrong(degrees: float) -> None:
    samples, true = scattered(60, 0, wrong=0.33, degrees=degrees)
    field = fit_scene(samples, np.random.default_rng(0))
    error = np.hypot(*(field.at(samples.x_m, samples.y_m) - true).T)
    assert np.median(error) < 0.15
    assert error.max() < 0.5
    assert 0.6 < field.agreeing < 0.9


def test_two_samples_close_together_do_not_tilt_the_scene() -> None:
    samples = Samples(np.array([0.0, 5.0]), np.zeros(2), np.array([[1.0, 0.0], [1.2, 0.0]]), np.full(2, 0.2))
    field = fit_scene(samples, np.random.default_rng(0))
    far = field.at(np.array([1000.0]), np.array([0.0]))
    np.testing.assert_allclose(far, [[1.1, 0.0]], atol=1.0)


def test_a_wrong_neighbour_has_no_pull() -> None:
    x = np.array([-20.0, -10.0, 10.0, 20.0, 3.0])
    shift = np.array([[1.0, 1.0]] * 4 + [[9.0, -9.0]])
    samples = Samples(x, np.zeros(5), shift, np.full(5, 0.1))
    scene = SceneField(np.zeros(2), np.zeros(2), np.zeros((2, 2)), 0.2, 0.8, 5)
    around = local_field(samples, np.zeros(1), np.zeros(1), scene=scene, radius_m=100.0)
    np.testing.assert_allclose(around.shift_m, [[1.0, 1.0]], atol=0.05)
    assert around.support[0] == 4


def test_samples_beyond_the_radius_have_no_say() -> None:
    samples = Samples(np.array([0.0, 500.0]), np.zeros(2), np.array([[1.0, 0.0], [5.0, 0.0]]), np.full(2, 0.1))
    scene = SceneField(np.zeros(2), np.zeros(2), np.zeros((2, 2)), 1.0, 1.0, 2)
    around = local_field(samples, np.array([490.0, 250.0]), np.zeros(2), scene=scene, radius_m=100.0)
    np.testing.assert_allclose(around.shift_m[0], [5.0, 0.0])
    assert around.support[1] == 0
    assert np.isinf(around.spread_m[1])


def test_neighbours_are_trusted_where_shifts_vary_smoothly_and_not_where_they_are_noise() -> None:
    rng = np.random.default_rng(3)
    xy = rng.uniform(-300, 300, (200, 2))
    scene = SceneField(np.zeros(2), np.zeros(2), np.zeros((2, 2)), 1.0, 1.0, 200)
    wave = np.column_stack([1.5 * np.sin(xy[:, 0] / 80), 1.5 * np.cos(xy[:, 1] / 80)])
    smooth = Samples(xy[:, 0], xy[:, 1], wave + rng.normal(scale=0.1, size=wave.shape), np.full(200, 0.2))
    noise = Samples(xy[:, 0], xy[:, 1], rng.normal(size=wave.shape), np.full(200, 0.2))
    assert neighbour_trust(smooth, scene, 60.0, np.random.default_rng(0)) > 0.9
    assert neighbour_trust(noise, scene, 60.0, np.random.default_rng(0)) < 0.35


def lattice(extra: np.ndarray, seed: int = 7) -> tuple[Samples, np.ndarray]:
    """Close matches every 30 m, of no shift but `extra` [N, 2] and 0.1 m of noise; and what is said around them."""
    x, y = (axis.ravel() * 30.0 for axis in np.meshgrid(np.arange(10), np.arange(10)))
    noise = np.random.default_rng(seed).normal(scale=0.1, size=(100, 2))
    return Samples(x, y, extra + noise, np.full(100, 0.1)), np.zeros((100, 2))


def refined_at(samples: Samples, around: np.ndarray) -> LocalShifts:
    settled = LocalShifts(np.zeros((100, 2)), np.full(100, "neighbours", dtype=object), np.full(100, 0.3))
    rng = np.random.default_rng(0)
    return refine(settled, samples, around, samples.x_m, samples.y_m, radius_m=48.0, rng=rng)


def test_lean_that_close_matches_share_is_taken() -> None:
    leaning = np.zeros((100, 2))
    leaning[(np.arange(100) % 10 < 5), 0] = 1.0
    found = refined_at(*lattice(leaning))
    assert (found.source == "own").all()
    np.testing.assert_allclose(np.median(found.shift_m[::10], axis=0), [1.0, 0.0], atol=0.2)
    np.testing.assert_allclose(np.median(found.shift_m[9::10], axis=0), [0.0, 0.0], atol=0.2)


def test_close_matches_that_do_not_foretell_each_other_move_little() -> None:
    scatter = np.random.default_rng(1).normal(scale=0.8, size=(100, 2))
    found = refined_at(*lattice(scatter))
    assert np.std(found.shift_m) < 0.2


def test_one_outlying_close_match_has_no_pull() -> None:
    outlying = np.zeros((100, 2))
    outlying[55] = (-2.5, 2.5)
    found = refined_at(*lattice(outlying))
    assert np.abs(found.shift_m).max() < 0.25


def test_where_nothing_is_known_close_matches_change_nothing() -> None:
    samples, around = lattice(np.full((100, 2), 0.5))
    nothing = LocalShifts(np.zeros((100, 2)), np.full(100, "none", dtype=object), np.zeros(100))
    rng = np.random.default_rng(0)
    found = refine(nothing, samples, around, samples.x_m, samples.y_m, radius_m=48.0, rng=rng)
    assert (found.shift_m == 0).all()
    assert set(found.source) == {"none"}


def test_nothing_to_match_leaves_everything_where_it_is_and_is_no_evidence_of_a_misfit() -> None:
    none = Samples(np.zeros(0), np.zeros(0), np.zeros((0, 2)), np.zeros(0))
    scene = fit_scene(none, np.random.default_rng(0))
    settled = local_shifts(none, np.zeros(3), np.zeros(3), scene=scene, radius_m=150.0)
    assert settled.source.tolist() == ["none"] * 3
    assert (settled.shift_m == 0).all()
    assert (settled.error_m == 0).all()


def test_far_from_any_match_of_a_scene_that_contradicts_itself_the_error_is_unbounded() -> None:
    rng = np.random.default_rng(5)
    xy = rng.uniform(-200, 200, (30, 2))
    samples = Samples(xy[:, 0], xy[:, 1], rng.uniform(-14, 14, (30, 2)), np.full(30, 0.1))
    scene = fit_scene(samples, np.random.default_rng(0))
    settled = local_shifts(samples, np.array([5000.0]), np.zeros(1), scene=scene, radius_m=150.0)
    assert settled.error_m[0] > 3.0
