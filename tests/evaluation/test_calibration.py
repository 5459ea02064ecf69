from pathlib import Path

import numpy as np
import pytest

from damage_ssl.damage_scale import ClassScheme, scheme_named
from damage_ssl.errors import WorkspaceError
from damage_ssl.evaluation.calibration import (
    Calibration,
    best_threshold,
    calibrate,
    calibrated_unseen,
    damaged_probability,
    decide,
    normalised_entropy,
    prior_shift,
    scale_probabilities,
    shrunk_threshold,
)
from damage_ssl.files import write_json

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


def drawn_event(
    *, share: float, overconfident: float, chosen: int = 25, random: int = 50, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Raw probabilities [N, 2] and classes [N] of 4,000 buildings; rows of the labels, and which are drawn at random.

    One number tells the buildings apart (damaged ones lie 2.5 deviations away: AUROC 0.96). The model knows it well but
    learned from as many damaged as intact ones, and its log-odds are `overconfident` times too large.
    """
    rng = np.random.default_rng(seed)
    damaged = rng.random(4000) < share
    log_odds = overconfident * 2.5 * (rng.normal(0, 1, len(damaged)) + 2.5 * damaged - 1.25)
    rows = [rng.choice(np.flatnonzero(damaged == each), chosen, replace=False) for each in (False, True)]
    rows.append(rng.choice(len(damaged), random, replace=False))
    drawn = np.repeat([False, True], [2 * chosen, random])
    return binary(1 / (1 + np.exp(-log_odds))), damaged.astype(np.int64), np.concatenate(rows), drawn


def calibration_error(p: np.ndarray, damaged: np.ndarray) -> float:
    """ECE in ten bins of equal width, Guo et al. 2017, eq. 3."""
    place = np.minimum((p * 10).astype(int), 9)
    return float(np.abs(np.bincount(place, damaged - p, 10)).sum() / len(p))


def errors(draws: int, *, told: bool, **event: float) -> tuple[float, float]:
    """Mean ECE over the event before and after; `told` that the random draws are random."""
    found = []
    for seed in range(draws):
        raw, classes, rows, drawn = drawn_event(seed=seed, **event)  # type: ignore[arg-type]
        calibration = calibrate(raw[rows], classes[rows], BINARY, random=drawn if told else None)
        after = calibration.apply(raw, BINARY)[:, 1]
        found.append((calibration_error(raw[:, 1], classes), calibration_error(after, classes)))
    before, now = np.mean(found, axis=0)
    return float(before), float(now)


def test_overconfident_model_is_calibrated_with_fifty_random_answers_among_the_labels() -> None:
    before, after = errors(60, told=True, share=0.1, overconfident=3.0)
    assert before > 0.08
    assert after < 0.03


def test_labels_chosen_half_and_half_shift_the_prior_and_random_draws_put_it_right() -> None:
    found = []
    for seed in range(12):
        raw, classes, rows, drawn = drawn_event(share=0.05, overconfident=1.0, random=200, seed=seed)
        told = calibrate(raw[rows], classes[rows], BINARY, random=drawn)
        chosen = calibrate(raw[rows[~drawn]], classes[rows[~drawn]], BINARY)
        assert told.bias is not None and told.share is not None and chosen.bias is not None and chosen.share == 0.5
        em = [prior_shift(each.apply(raw, BINARY)[:, 1], each.share or 0.5) for each in (told, chosen)]
        found.append([told.bias, told.share, chosen.bias, *em])
    bias, share, of_chosen, em_told, em_chosen = np.mean(found, axis=0)
    # 25 of 50 against 5 of 100: the log-odds of the event lie log(19) = 2.94 lower than those of the chosen labels.
    assert bias == pytest.approx(-2.94, abs=0.5) and of_chosen == pytest.approx(0.0, abs=0.3)
    assert [share, em_told, em_chosen] == pytest.approx([0.05] * 3, abs=0.015)
    assert told.n_random == 200 and "200 of them drawn at random" in told.method
    assert "not the event's" in chosen.method


def test_share_that_em_finds_is_the_one_that_makes_the_mean_of_the_new_probabilities() -> None:
    p, share = np.array([0.9, 0.6, 0.2, 0.1, 0.05]), 0.5
    new = prior_shift(p, share)
    odds = p / (1 - p) * (new / (1 - new))
    assert (odds / (1 + odds)).mean() == pytest.approx(new, abs=1e-4)


@pytest.mark.parametrize("scheme", [BINARY, GRADES])
def test_map_changes_no_ranking_and_keeps_the_proportion_within_a_kind(scheme: ClassScheme) -> None:
    rng = np.random.default_rng(0)
    raw = rng.dirichlet(np.full(len(scheme), 0.3), 300)
    calibration = calibrate(raw, rng.integers(0, len(scheme), 300), scheme, random=rng.random(300) < 0.3)
    p = calibration.apply(raw, scheme)
    assert p.sum(axis=1) == pytest.approx(np.ones(300))
    before, after = damaged_probability(raw, scheme), damaged_probability(p, scheme)
    assert (np.diff(after[np.argsort(before)]) >= -1e-15).all()
    split = scheme.damaged_from
    for kind in (slice(0, split), slice(split, None)):
        within = raw[:, kind] / raw[:, kind].sum(axis=1, keepdims=True)
        np.testing.assert_allclose(p[:, kind], within * p[:, kind].sum(axis=1, keepdims=True), atol=1e-9)


def test_temperature_of_an_overconfident_model_is_found() -> None:
    rng = np.random.default_rng(0)
    true_p = rng.uniform(0.05, 0.95, 4000)
    classes = (rng.random(4000) < true_p).astype(int)
    overconfident = scale_probabilities(binary(true_p), 1 / 3)
    calibration = calibrate(overconfident, classes, BINARY)
    assert calibration.temperature == pytest.approx(3.0, rel=0.1)
    assert calibration.apply(overconfident, BINARY)[:, 1] == pytest.approx(true_p, abs=0.03)


def test_perfectly_separated_validation_does_not_make_the_model_certain_of_everything() -> None:
    probabilities = binary([0.2] * 12 + [0.8] * 12)
    calibration = calibrate(probabilities, np.array([0] * 12 + [1] * 12), BINARY)
    # Without the prior the likelihood grows without end as T falls.
    assert 0.3 < calibration.temperature < 0.9
    assert calibration.threshold == pytest.approx(0.5, abs=0.01)


def test_four_labels_leave_the_probabilities_as_they_are_and_decide_little() -> None:
    calibration = calibrate(binary([0.1, 0.2, 0.6, 0.99]), np.array([0, 0, 1, 1]), BINARY)
    assert (calibration.temperature, calibration.bias) == (1.0, 0.0)
    # The best threshold is 0.4; two buildings of a kind, none at random, take it (2 / 3) / (2 / 3 + 10) of the way.
    assert calibration.threshold == pytest.approx(0.49366, abs=1e-5)
    assert "because the rarer kind has 2; probabilities left as they are" in calibration.method
    assert (calibration.n_validation, calibration.n_damaged, calibration.cross_fitted) == (4, 2, False)


def test_no_label_of_a_fold_reaches_its_own_probabilities_or_threshold() -> None:
    raw, classes, rows, drawn = drawn_event(share=0.2, overconfident=2.0)
    fold = np.arange(len(rows)) % 5
    p, threshold = calibrated_unseen(raw[rows], classes[rows], BINARY, fold, random=drawn)
    changed = np.where(fold == 3, 1 - classes[rows], classes[rows])
    again, other = calibrated_unseen(raw[rows], changed, BINARY, fold, random=drawn)
    np.testing.assert_array_equal(p[fold == 3], again[fold == 3])
    np.testing.assert_array_equal(threshold[fold == 3], other[fold == 3])
    assert (p[fold != 3] != again[fold != 3]).any()


@pytest.mark.parametrize("classes", [[], [0, 0], [1, 1]])
def test_validation_without_both_classes_leaves_the_threshold_at_one_half(classes: list[int]) -> None:
    calibration = calibrate(binary([0.3] * len(classes)), np.array(classes, dtype=int), BINARY)
    assert calibration.threshold == 0.5
    assert "threshold left at 0.5" in calibration.method


def test_threshold_is_for_the_calibrated_probabilities_of_the_event_and_not_for_the_chosen_labels() -> None:
    raw, classes, rows, drawn = drawn_event(share=0.1, overconfident=2.0, chosen=100, random=300)
    calibration = calibrate(raw[rows], classes[rows], BINARY, random=drawn)
    p, damaged = calibration.apply(raw, BINARY)[:, 1], classes == 1

    def f1(threshold: float) -> float:
        called = p >= threshold
        return float(2 * (called & damaged).sum() / (called.sum() + damaged.sum()))

    assert f1(calibration.threshold) > f1(best_threshold(p, damaged)) - 0.02


def test_building_with_a_weight_counts_as_so_many() -> None:
    p, damaged = np.array([0.1, 0.3, 0.5, 0.7, 0.9]), np.array([True, False, True, False, True])
    weight = np.array([1, 3, 2, 1, 2])
    whole = np.repeat(np.arange(5), weight)
    assert best_threshold(p, damaged, weight.astype(float)) == best_threshold(p[whole], damaged[whole])


@pytest.mark.parametrize(
    ("best", "deciding", "threshold"),
    [(0.1, 0, 0.5), (0.1, 10, 0.25), (0.9, 10, 0.75), (0.5, 3, 0.5), (0.0, 10, 0.0), (1.0, 10, 1.0)],
)
def test_threshold_goes_from_one_half_to_the_best_as_more_buildings_decide(
    best: float, deciding: int, threshold: float
) -> None:
    # Log-odds halve at ten buildings: odds 1/9 become 1/3, that is 0.25.
    assert shrunk_threshold(best, deciding) == pytest.approx(threshold, abs=1e-5)
    assert shrunk_threshold(0.5, 0, 0.2) == pytest.approx(0.2)  # nobody decides: what is expected stays


def test_calibration_comes_back_from_its_file(tmp_path: Path) -> None:
    calibration = Calibration(
        threshold=0.4, temperature=1.5, n_validation=20, n_damaged=7, method="m", bias=-1.0, n_random=5, share=0.1
    )
    calibration.write(tmp_path / "calibration.json")
    assert Calibration.read(tmp_path / "calibration.json") == calibration
    with pytest.raises(WorkspaceError, match="not calibrated"):
        Calibration.read(tmp_path / "none.json")


def test_calibration_of_an_older_and_of_a_newer_version_reads(tmp_path: Path) -> None:
    older = {"threshold": 0.4, "temperature": 2.0, "n_validation": 20, "n_damaged": 7, "method": "m"}
    write_json(tmp_path / "older.json", older)
    read = Calibration.read(tmp_path / "older.json")
    assert (read.bias, read.cross_fitted, read.n_random, read.share) == (None, False, 0, None)
    # It divided log-probabilities, also where a kind has two grades: odds 16 : 4 : 4 : 1 become 4 : 2 : 2 : 1.
    p = read.apply(np.array([[16, 4, 4, 1]]) / 25, GRADES)
    assert p == pytest.approx(np.array([[4, 2, 2, 1]]) / 9)
    write_json(tmp_path / "newer.json", {**older, "spline": [1, 2]})
    assert Calibration.read(tmp_path / "newer.json") == read
