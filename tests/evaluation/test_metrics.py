import json
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from damage_ssl.damage_scale import scheme_named
from damage_ssl.errors import InputError
from damage_ssl.evaluation.metrics import Estimate, Evaluation, enough_to_validate, evaluate

BINARY, GRADES = scheme_named("binary-major"), scheme_named("grades")


def measured(p_damaged: list[float], damaged: list[int], block: list[str] | None = None) -> Evaluation:
    p = np.array(p_damaged)
    return evaluate(
        np.stack([1 - p, p], axis=1),
        np.array(damaged),
        np.array(damaged, dtype=bool),
        np.array(block or [str(row) for row in range(len(p))]),
        scheme=BINARY,
        threshold=0.5,
    )


def test_small_case_worked_out_by_hand() -> None:
    found = measured([0.9, 0.6, 0.4, 0.2, 0.7], [1, 1, 1, 0, 0])
    # Pairs (damaged, intact): 3·2 = 6; wrongly ordered: 0.6 and 0.4 against 0.7. Called: 0.9, 0.6, 0.7.
    assert found.auroc.value == pytest.approx(4 / 6)
    assert found.precision.value == pytest.approx(2 / 3)
    assert found.recall.value == pytest.approx(2 / 3)
    assert found.f1.value == pytest.approx(2 / 3)
    # Damaged at ranks 1, 3, 4 of the ordered list: precision 1, 2/3, 3/4, each a third of the recall.
    assert found.average_precision.value == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert found.brier.value == pytest.approx((0.01 + 0.16 + 0.36 + 0.04 + 0.49) / 5)
    # One building in each of five bins: mean of |p − truth|.
    assert found.ece.value == pytest.approx((0.1 + 0.4 + 0.6 + 0.2 + 0.7) / 5)
    assert found.confusion == ((1, 1), (1, 2))
    # Intact: one right, one missed, one too many → 2·1/(2·1+1+1).
    assert found.class_f1["intact"].value == pytest.approx(1 / 2)
    assert found.class_f1["damaged"].value == pytest.approx(2 / 3)
    assert (found.n, found.n_damaged, found.n_blocks) == (5, 3, 5)


def test_calibration_error_is_zero_where_every_bin_keeps_its_promise() -> None:
    # In the bin of 0.25 one of four is damaged, in the bin of 0.75 three of four.
    assert measured([0.25] * 4 + [0.75] * 4, [1, 0, 0, 0, 1, 1, 1, 0]).ece.value == pytest.approx(0.0)


def test_certain_probability_falls_into_the_last_bin() -> None:
    assert measured([1.0, 0.0], [1, 0]).ece.value == pytest.approx(0.0)


def test_random_case_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    p = rng.random(300)
    truth = (rng.random(300) < p).astype(int)
    found = measured(p.tolist(), truth.tolist())
    called = p >= 0.5
    assert found.auroc.value == pytest.approx(roc_auc_score(truth, p))
    assert found.average_precision.value == pytest.approx(average_precision_score(truth, p))
    assert found.f1.value == pytest.approx(f1_score(truth, called))
    assert found.precision.value == pytest.approx(precision_score(truth, called))
    assert found.recall.value == pytest.approx(recall_score(truth, called))
    assert found.brier.value == pytest.approx(brier_score_loss(truth, p))


def test_four_grades_have_a_confusion_and_an_f1_each() -> None:
    certain = np.eye(4)[[0, 1, 2, 3, 2]]
    found = evaluate(
        certain,
        np.array([0, 1, 2, 3, 3]),
        np.array([False, False, True, True, True]),
        np.array(list("abcde")),
        scheme=GRADES,
        threshold=0.5,
    )
    assert found.confusion == ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 1, 1))
    assert found.class_f1["major-damage"].value == pytest.approx(2 / 3)
    assert found.class_f1["destroyed"].value == pytest.approx(2 / 3)
    assert found.f1.value == 1.0


def test_truth_without_a_grade_counts_for_damaged_but_not_for_grades() -> None:
    found = evaluate(
        np.eye(4)[[0, 3]],
        np.array([0, -1]),
        np.array([False, True]),
        np.array(["a", "b"]),
        scheme=GRADES,
        threshold=0.5,
    )
    assert found.auroc.value == 1.0
    assert sum(map(sum, found.confusion)) == 1
    assert found.class_f1["destroyed"].value is None


def test_undefined_metrics_are_null_with_a_reason_and_json_has_no_nan(tmp_path: Path) -> None:
    found = measured([0.1, 0.2], [0, 0])
    assert found.auroc.value is None and found.auroc.reason == "no building is damaged"
    assert found.recall.reason == "no building is damaged"
    assert found.precision.reason == "no building was called damaged"
    assert found.f1.reason == "no building is damaged and none was called damaged"
    assert found.brier.value == pytest.approx(0.025)
    assert measured([0.9], [1]).average_precision.reason == "every building is damaged"
    found.write(tmp_path / "evaluation.json")
    read = json.loads((tmp_path / "evaluation.json").read_text(), parse_constant=lambda text: pytest.fail(text))
    assert read["auroc"] == {"value": None, "low": None, "high": None, "reason": "no building is damaged"}


def bounds(estimate: Estimate) -> tuple[float, float]:
    assert estimate.low is not None and estimate.high is not None, estimate.reason
    return estimate.low, estimate.high


def test_one_block_gives_no_interval_and_says_what_would_be_enough() -> None:
    found = measured([0.9] * 6 + [0.1] * 6, [1] * 6 + [0] * 6, ["a"] * 12)
    assert found.auroc.value == 1.0
    assert found.auroc.low is None
    assert found.auroc.reason == "too few to say; 2 more spatial blocks would be enough"
    assert str(found.recall) == "1.000 (too few to say; 2 more spatial blocks would be enough)"


def test_too_few_of_a_kind_are_said_with_how_many_more() -> None:
    found = measured([0.9] * 4 + [0.1] * 4, [1] * 4 + [0] * 4)
    assert found.auroc.reason == ("too few to say; 1 more damaged building and 1 more intact building would be enough")
    assert found.average_precision.reason is not None and "6 more damaged buildings" in found.average_precision.reason
    assert found.accuracy.low is not None


def test_many_buildings_of_three_blocks_tell_too_little_of_the_next_block() -> None:
    rng = np.random.default_rng(0)
    found = measured(rng.random(600).tolist(), rng.integers(0, 2, 600).tolist(), [str(row % 3) for row in range(600)])
    assert found.accuracy.low is None
    assert found.accuracy.reason is not None and "more spatial blocks would be enough" in found.accuracy.reason


def test_perfect_separation_is_no_certainty() -> None:
    # 14 buildings, 6 damaged, 4 blocks: nothing is wrong, and yet a map that errs now and then may show this.
    found = measured([0.9] * 6 + [0.1] * 8, [1] * 6 + [0] * 8, [str(row % 4) for row in range(14)])
    for estimate in (found.auroc, found.f1, found.precision, found.recall, found.accuracy):
        assert estimate.value == 1.0
        low, high = bounds(estimate)
        assert 0.5 < low < 0.9 and high == 1.0
    wrong = measured([0.1] * 6 + [0.9] * 8, [1] * 6 + [0] * 8, [str(row % 4) for row in range(14)])
    for estimate in (wrong.auroc, wrong.f1, wrong.recall, wrong.accuracy):
        low, high = bounds(estimate)
        assert low == 0.0 and 0.1 < high < 0.5


def test_every_bound_is_between_0_and_1_and_on_its_side_of_the_value() -> None:
    rng = np.random.default_rng(2)
    for _ in range(40):
        n, share = int(rng.integers(5, 60)), rng.random()
        truth = rng.random(n) < share
        p = np.round(np.clip(0.6 * truth * rng.random() + 0.5 * rng.random(n), 0, 1), 1)
        found = measured(p.tolist(), truth.astype(int).tolist(), rng.integers(0, 9, n).astype(str).tolist())
        for estimate in (found.auroc, found.average_precision, found.f1, found.precision, found.recall, found.brier):
            if estimate.low is not None:
                low, high = bounds(estimate)
                assert estimate.value is not None and 0 <= low <= estimate.value <= high <= 1 and high - low > 0.01


def test_auroc_of_single_buildings_has_the_width_that_delong_gives() -> None:
    rng = np.random.default_rng(3)
    truth = rng.random(2000) < 0.3
    score = rng.normal(size=2000) + truth
    p = 1 / (1 + np.exp(-score))
    low, high = bounds(measured(p.tolist(), truth.astype(int).tolist()).auroc)
    # DeLong's variance, by its definition: over the pairs of a damaged and an intact building.
    right = (p[truth][:, None] > p[~truth][None]).astype(float)
    error = np.sqrt(right.mean(axis=1).var(ddof=1) / truth.sum() + right.mean(axis=0).var(ddof=1) / (~truth).sum())
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.06)


def test_without_blocks_there_is_no_interval() -> None:
    p = np.array([0.9, 0.1])
    found = evaluate(
        np.stack([1 - p, p], axis=1), np.array([1, 0]), np.array([True, False]), None, scheme=BINARY, threshold=0.5
    )
    assert found.auroc.reason == "no interval: no spatial blocks were given" and found.n_blocks == 1


def test_calibration_error_is_shown_with_what_chance_alone_would_show() -> None:
    rng = np.random.default_rng(4)
    noise = []
    for _ in range(100):  # a perfectly calibrated map
        p = rng.random(60)
        found = measured(p.tolist(), (rng.random(60) < p).astype(int).tolist()).ece
        assert found.value is not None and found.reason is not None and found.low is None
        noise.append(found.value <= float(found.reason.split("up to ")[1].split()[0]))
    assert 0.88 <= np.mean(noise) <= 1.0


def test_three_hundred_thousand_buildings_take_seconds() -> None:
    rng = np.random.default_rng(5)
    truth = rng.random(300_000) < 0.2
    p = np.clip(0.3 * truth + 0.7 * rng.random(300_000), 0, 1)
    block = rng.integers(0, 5000, 300_000).astype(str)
    begun = time.process_time()
    found = evaluate(np.stack([1 - p, p], axis=1), truth.astype(int), truth, block, scheme=BINARY, threshold=0.5)
    assert time.process_time() - begun < 20
    low, high = bounds(found.auroc)
    assert 0 < high - low < 0.01


def test_probability_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="1 of 2 buildings have no probability"):
        measured([0.5, float("nan")], [1, 0])


def test_validated_asks_for_twenty_buildings_and_five_a_class() -> None:
    assert enough_to_validate([15, 5])
    assert not enough_to_validate([14, 5])
    assert not enough_to_validate([40, 4])
    assert not enough_to_validate([20, 20, 0])
    assert not enough_to_validate([0, 0])


def test_interval_is_wider_by_blocks_than_by_single_buildings() -> None:
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(20) < 0.7, 25)
    p = np.where(right, 0.8, 0.2).tolist()
    by_block = measured(p, [1] * 500, [str(row // 25) for row in range(500)])
    by_building = measured(p, [1] * 500)

    def width(found: Evaluation) -> float:
        assert found.recall.high is not None and found.recall.low is not None
        return found.recall.high - found.recall.low

    # Standard errors √(r(1−r)/20) and √(r(1−r)/500): a factor of five.
    assert 3.5 < width(by_block) / width(by_building) < 7.0


def test_interval_of_independent_buildings_has_the_textbook_width() -> None:
    p = [0.9] * 300 + [0.1] * 100
    found = measured(p, [1] * 400)
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert found.recall.low == pytest.approx(0.75 - half, abs=0.015)
    assert found.recall.high == pytest.approx(0.75 + half, abs=0.015)


def test_no_buildings_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="no building has both"):
        measured([], [])
    with pytest.raises(InputError, match="2 probabilities, 1 classes"):
        measured([0.1, 0.2], [1])


def test_lines_name_the_numbers_for_a_person() -> None:
    lines = measured([0.9, 0.1, 0.8, 0.3] * 4, [1, 0, 1, 0] * 4).lines()
    assert lines[0].startswith("16 buildings in 16 spatial blocks, 8 of them damaged (damaged means major-damage or")
    assert any(line.startswith("AUROC: 1.000 [0.") for line in lines)
    # Eight of eight: Wilson's lower bound is n / (n + 1.96²), 0.676, and 2J / (1 + J) of it 0.806.
    assert "F1 of intact: 1.000 [0.806, 1.000]" in lines
