from pathlib import Path

import numpy as np
import pytest

from damage_ssl.damage_scale import scheme_named
from damage_ssl.errors import WorkspaceError
from damage_ssl.evaluation.calibration import (
    Calibration,
    best_threshold,
    calibrate,
    damaged_probability,
    decide,
    normalised_entropy,
    scale_probabilities,
    shrunk_threshold,
)

BINARY, GRADES = scheme_named("binary-major"), scheme_named("grades")


def binary(p_damaged: list[float] | np.ndarray) -> np.ndarray:
    p = np.asarray(p_damaged, dtype=np.float64)
    return np.stack([1 - p, p], axis=1)


def test_temperature_two_takes_the_square_root_of_the_odds() -> None:
    # odds 9 : 1 become 3 : 1.
    assert scale_probabilities(binary([0.9]), 2.0) == pytest.approx(binary([0.75]))


def test_temperature_one_leaves_probabilities_as_they_are() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), 50)
    assert scale_probabilities(probabilities, 1.0) == pytest.approx(probabilities, abs=1e-9)


def test_certain_probabilities_stay_finite() -> None:
    scaled = scale_probabilities(binary([0.0, 1.0]), 3.0)
    assert np.isfinite(scaled).all()
    assert scaled.sum(axis=1) == pytest.approx([1.0, 1.0])


def test_damaged_probability_sums_the_damaged_grades() -> None:
    probabilities = np.array([[0.4, 0.3, 0.2, 0.1]])
    assert damaged_probability(probabilities, GRADES) == pytest.approx([0.3])
    assert damaged_probability(binary([0.7]), BINARY) == pytest.approx([0.7])


def test_class_and_verdict_agree_even_where_the_likeliest_grade_is_on_the_other_side() -> None:
    probabilities = np.array([[0.4, 0.0, 0.35, 0.25], [0.3, 0.25, 0.45, 0.0]])
    # P(damaged) is 0.60 and 0.45: damaged → the likelier of major and destroyed; not → of no damage and minor.
    assert decide(probabilities, GRADES, 0.5).tolist() == [2, 0]


def test_probability_at_the_threshold_counts_as_damaged() -> None:
    assert decide(binary([0.5, 0.25]), BINARY, 0.5).tolist() == [1, 0]


def test_entropy_is_one_for_equal_and_zero_for_certain_probabilities() -> None:
    assert normalised_entropy(np.full((1, 4), 0.25)) == pytest.approx([1.0])
    assert normalised_entropy(binary([1.0])) == pytest.approx([0.0], abs=1e-9)
    # H(1/4) = (1/4)·2 + (3/4)·log2(4/3) bits.
    assert normalised_entropy(binary([0.25])) == pytest.approx([0.5 + 0.75 * np.log2(4 / 3)])


def test_threshold_separates_classes_at_the_midpoint() -> None:
    assert best_threshold(np.array([0.1, 0.3, 0.6, 0.9]), np.array([False, False, True, True])) == pytest.approx(0.45)


def test_of_equally_good_thresholds_the_nearest_to_one_half_is_taken() -> None:
    # From the lowest candidate up, F1 is 4/5, 1/2 and 2/3; only the one that calls all three damaged is best.
    assert best_threshold(np.array([0.2, 0.4, 0.8]), np.array([True, False, True])) == pytest.approx(0.1)
    p, damaged = np.array([0.1, 0.3, 0.7, 0.9]), np.array([True, False, False, True])
    # called 4: 2·2/(4+2) = 2/3; 3: 2·1/(3+2) = 2/5; 2: 2·1/(2+2) = 1/2; 1: 2·1/(1+2) = 2/3.
    # Best are 0.05 and 0.8: 0.8 is nearer 0.5.
    assert best_threshold(p, damaged) == pytest.approx(0.8)


def test_threshold_has_the_highest_f1_of_all_thresholds() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(200).round(2)
    damaged = rng.random(200) < p**2

    def f1(threshold: float) -> float:
        called = p >= threshold
        return 2 * (called & damaged).sum() / (called.sum() + damaged.sum())

    assert f1(best_threshold(p, damaged)) == max(f1(t) for t in np.linspace(0, 1, 401))


def test_overconfident_model_is_cooled_to_the_true_temperature() -> None:
    rng = np.random.default_rng(0)
    true_p = rng.uniform(0.05, 0.95, 4000)
    classes = (rng.random(4000) < true_p).astype(int)
    overconfident = scale_probabilities(binary(true_p), 1 / 3)
    calibration = calibrate(overconfident, classes, BINARY)
    assert calibration.temperature == pytest.approx(3.0, rel=0.1)
    assert scale_probabilities(overconfident, calibration.temperature)[:, 1] == pytest.approx(true_p, abs=0.03)


def test_perfectly_separated_validation_does_not_make_the_model_certain_of_everything() -> None:
    probabilities = binary([0.2] * 12 + [0.8] * 12)
    calibration = calibrate(probabilities, np.array([0] * 12 + [1] * 12), BINARY)
    # Without the prior the likelihood grows without end as T falls, to the bound 0.2.
    assert 0.3 < calibration.temperature < 0.9
    assert calibration.threshold == pytest.approx(0.5)


def test_few_validation_buildings_leave_the_temperature_at_one_and_say_so() -> None:
    calibration = calibrate(binary([0.1, 0.2, 0.6, 0.99]), np.array([0, 0, 1, 1]), BINARY)
    assert calibration.temperature == 1.0
    # The best threshold is 0.4; two buildings of a kind take it 2 / (2 + 10) of the way: odds (2/3)^(1/6).
    assert calibration.threshold == pytest.approx(0.48311, abs=1e-5)
    assert "(0.40), drawn towards 0.5 because the rarer kind has 2" in calibration.method
    assert (calibration.n_validation, calibration.n_damaged) == (4, 2)
    assert "temperature left at 1 (validation has intact 2, damaged 2; 10 a class are needed)" in calibration.method


@pytest.mark.parametrize("classes", [[], [0, 0], [1, 1]])
def test_validation_without_both_classes_leaves_the_threshold_at_one_half(classes: list[int]) -> None:
    calibration = calibrate(binary([0.3] * len(classes)), np.array(classes, dtype=int), BINARY)
    assert calibration.threshold == 0.5
    assert "threshold left at 0.5" in calibration.method


def test_threshold_applies_to_the_calibrated_probabilities() -> None:
    rng = np.random.default_rng(1)
    true_p = rng.uniform(0.02, 0.98, 600)
    classes = (rng.random(600) < true_p).astype(int)
    raw = scale_probabilities(binary(true_p), 0.4)
    calibration = calibrate(raw, classes, BINARY)
    p = scale_probabilities(raw, calibration.temperature)[:, 1]
    deciding = min((classes == 1).sum(), (classes == 0).sum())
    assert calibration.threshold == pytest.approx(shrunk_threshold(best_threshold(p, classes == 1), deciding))


@pytest.mark.parametrize(
    ("best", "deciding", "threshold"),
    [(0.1, 0, 0.5), (0.1, 10, 0.25), (0.9, 10, 0.75), (0.5, 3, 0.5), (0.0, 10, 0.0), (1.0, 10, 1.0)],
)
def test_threshold_goes_from_one_half_to_the_best_as_more_buildings_decide(
    best: float, deciding: int, threshold: float
) -> None:
    # Log-odds halve at ten buildings: odds 1/9 become 1/3, that is 0.25.
    assert shrunk_threshold(best, deciding) == pytest.approx(threshold)


def test_calibration_comes_back_from_its_file(tmp_path: Path) -> None:
    calibration = Calibration(threshold=0.4, temperature=1.5, n_validation=20, n_damaged=7, method="m")
    calibration.write(tmp_path / "calibration.json")
    assert Calibration.read(tmp_path / "calibration.json") == calibration
    with pytest.raises(WorkspaceError, match="not calibrated"):
        Calibration.read(tmp_path / "none.json")
