import json
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
from damage_ssl.evaluation.metrics import Evaluation, evaluate

BINARY, GRADES = scheme_named("binary-major"), scheme_named("grades")


def measured(
    p_damaged: list[float], damaged: list[int], block: list[str] | None = None, *, n_bootstrap: int = 50, seed: int = 0
) -> Evaluation:
    p = np.array(p_damaged)
    return evaluate(
        np.stack([1 - p, p], axis=1),
        np.array(damaged),
        np.array(damaged, dtype=bool),
        np.array(block or [str(row) for row in range(len(p))]),
        scheme=BINARY,
        threshold=0.5,
        rng=np.random.default_rng(seed),
        n_bootstrap=n_bootstrap,
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
    found = measured(p.tolist(), truth.tolist(), n_bootstrap=0)
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
        rng=np.random.default_rng(0),
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
        rng=np.random.default_rng(0),
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


def test_one_block_gives_no_interval_and_says_why() -> None:
    found = measured([0.9, 0.1], [1, 0], ["a", "a"])
    assert found.auroc.value == 1.0
    assert found.auroc.low is None
    assert found.auroc.reason == "no interval: all buildings are in one spatial block"


def test_blocks_are_resampled_whole() -> None:
    # Two blocks, each all alike inside: a resample is AA, AB or BB, so recall can only be 0, 1/2 or 1.
    found = measured([0.9] * 5 + [0.1] * 5, [1] * 10, ["a"] * 5 + ["b"] * 5, n_bootstrap=200)
    assert found.recall.value == 0.5
    assert (found.recall.low, found.recall.high) == (0.0, 1.0)


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
    found = measured(p, [1] * 400, n_bootstrap=400)
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert found.recall.low == pytest.approx(0.75 - half, abs=0.015)
    assert found.recall.high == pytest.approx(0.75 + half, abs=0.015)


def test_interval_is_missing_where_most_resamples_are_undefined() -> None:
    # A resample of two blocks, one damaged and one intact, has both classes half the time: here is one that has not.
    seed = next(seed for seed in range(50) if len(set(np.random.default_rng(seed).integers(0, 2, size=2))) == 1)
    found = measured([0.9, 0.1], [1, 0], ["a", "b"], n_bootstrap=1, seed=seed)
    assert found.auroc.value == 1.0
    assert found.auroc.low is None
    assert found.auroc.reason == "no interval: undefined on 1 of 1 resamples of 2 spatial blocks"
    assert found.brier.low is not None


def test_same_rng_gives_the_same_intervals() -> None:
    rng = np.random.default_rng(0)
    p, truth = rng.random(50).tolist(), rng.integers(0, 2, 50).tolist()
    assert measured(p, truth) == measured(p, truth)


def test_no_buildings_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="no building has both"):
        measured([], [])
    with pytest.raises(InputError, match="2 probabilities, 1 classes"):
        measured([0.1, 0.2], [1])


def test_lines_name_the_numbers_for_a_person() -> None:
    lines = measured([0.9, 0.1, 0.8, 0.3], [1, 0, 1, 0]).lines()
    assert lines[0].startswith("4 buildings in 4 spatial blocks, 2 of them damaged (damaged means major-damage or")
    assert any(line.startswith("AUROC: 1.000 [1.000, 1.000]") for line in lines)
    assert "F1 of intact: 1.000 [1.000, 1.000]" in lines
