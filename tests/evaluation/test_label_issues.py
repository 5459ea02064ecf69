"""Second looks: what contradicts a label, how far models are apart, how near a verdict is to its threshold."""

import numpy as np
import pandas as pd
import pytest

from damage_ssl.damage_scale import SCHEMES
from damage_ssl.evaluation.label_issues import (
    CONTRADICTED,
    DISAGREEMENT_BITS,
    UNSURE_LOG_ODDS,
    contradicted,
    contradicted_labels,
    cross_validated,
    differing,
    disagreement,
    distance_to_threshold,
    judge_labels,
    judge_unlearned,
    labelled_blocks,
    verdict_disagreement,
)
from damage_ssl.evaluation.spatial_blocks import block_folds

NAMES = ("intact", "damaged")


def judged(**rows: tuple[str, str, float, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [(building, *row) for building, row in rows.items()],
        columns=["building_id", "given", "other", "p_given", "p_other"],
    )


def test_model_is_not_asked_about_a_label_that_it_has_learned() -> None:
    # Two groups that one number tells apart. The last building lies with the damaged ones and is labelled intact, alone
    # in its block: a model that had seen it could bend; one that had not says damaged.
    features = np.array([[-1.0], [-0.9], [-1.1], [1.0], [0.9], [1.1], [1.05]], dtype=np.float32)
    classes = np.array([0, 0, 0, 1, 1, 1, 0])
    block = np.array(["a", "b", "c", "a", "b", "c", "d"])
    fold = block_folds(block, classes, 4)
    p = cross_validated(features, classes, fold, n_classes=2)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert p[6, 1] > 0.9
    again = cross_validated(features, np.array([0, 0, 0, 1, 1, 1, 1]), fold, n_classes=2)
    np.testing.assert_array_equal(p[6], again[6])  # its own label does not reach its judgement


def test_building_is_not_judged_where_the_other_blocks_hold_one_class() -> None:
    features = np.array([[-1.0], [-1.0], [1.0]], dtype=np.float32)
    p = cross_validated(features, np.array([0, 0, 1]), np.array([0, 1, 2]), n_classes=2)
    assert np.isnan(p[2]).all()  # learned from two intact ones only
    assert np.isfinite(p[:2]).all()


def test_labels_of_one_block_are_not_judged() -> None:
    features = np.array([[-1.0], [1.0]], dtype=np.float32)
    p = cross_validated(features, np.array([0, 1]), np.array([0, 0]), n_classes=2)
    assert np.isnan(p).all()


def test_class_that_a_fold_never_saw_has_probability_zero() -> None:
    features = np.array([[-1.0], [0.0], [-1.0], [0.0], [5.0]], dtype=np.float32)
    p = cross_validated(features, np.array([0, 1, 0, 1, 2]), np.array([0, 0, 1, 1, 2]), n_classes=3)
    assert p[4, 2] == 0.0
    assert p[4].sum() == pytest.approx(1.0)


def test_blocks_are_halved_until_the_labels_lie_in_three() -> None:
    x = np.array([10.0, 60.0, 110.0])  # 150 m: one block; 75 m: two; 37.5 m: three
    assert len(np.unique(labelled_blocks(x, np.zeros(3), 150.0))) == 3
    assert labelled_blocks(x, np.zeros(3), 40.0).tolist() == ["0_0", "1_0", "2_0"]


def test_label_is_judged_by_its_own_probability_and_the_likeliest_other() -> None:
    p = np.array([[0.7, 0.1, 0.2], [0.2, 0.5, 0.3], [np.nan] * 3])
    table = judge_labels(np.array(["a", "b", "c"]), p, np.array([0, 2, 1]), ("none", "some", "all"))
    assert table.to_dict("records") == [
        {"building_id": "a", "given": "none", "other": "all", "p_given": 0.7, "p_other": 0.2},
        {"building_id": "b", "given": "all", "other": "some", "p_given": 0.3, "p_other": 0.5},
    ]


def test_nothing_judged_is_an_empty_table() -> None:
    table = judge_labels(np.array(["a"]), np.full((1, 2), np.nan), np.array([0]), NAMES)
    assert table.empty
    assert contradicted({"live": table}).empty


def test_surest_contradiction_comes_first_and_agreement_is_left_out() -> None:
    live = judged(
        mild=("intact", "damaged", 0.4, 0.6),
        sure=("intact", "damaged", 0.04, 0.96),
        fine=("damaged", "intact", 0.9, 0.1),
    )
    table = contradicted({"live": live})
    assert table["building_id"].tolist() == ["sure", "mild"]
    np.testing.assert_allclose(table["margin"], [-0.92, -0.2])
    assert table["models"].tolist() == [1, 1]


def test_models_that_judge_a_label_are_averaged_and_the_surest_is_quoted() -> None:
    live = judged(x=("intact", "damaged", 0.3, 0.7), y=("intact", "damaged", 0.45, 0.55))
    run = judged(x=("intact", "damaged", 0.1, 0.9), y=("intact", "damaged", 0.9, 0.1))
    table = contradicted({"live": live, "run": run})
    # x: (-0.4 - 0.8) / 2; y: (-0.1 + 0.8) / 2 > 0, so the label stands.
    assert table["building_id"].tolist() == ["x"]
    assert table["margin"].tolist() == [pytest.approx(-0.6)]
    assert (table["model"].iloc[0], table["models"].iloc[0], table["p_other"].iloc[0]) == ("run", 2, 0.9)


def test_models_certain_of_different_classes_are_one_bit_apart() -> None:
    certain = np.array([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0], [0.32, 0.68]])
    other = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0], [0.68, 0.32]])
    # Last: 1 - H(0.32), with H = -0.32 log2 0.32 - 0.68 log2 0.68 = 0.5260 + 0.3783.
    np.testing.assert_allclose(disagreement([certain, other]), [1.0, 0.0, 0.0, 0.0957], atol=1e-4)
    assert disagreement([certain, other])[3] < DISAGREEMENT_BITS


def test_one_model_does_not_disagree_with_itself() -> None:
    np.testing.assert_allclose(disagreement([np.array([[0.3, 0.7]])]), [0.0])


def test_distance_is_in_log_odds_and_zero_at_the_threshold() -> None:
    p = np.array([0.5, 0.6, 0.4, 0.8, np.nan, 1.0])
    distance = distance_to_threshold(p, 0.5)
    np.testing.assert_allclose(distance[:4], [0.0, np.log(1.5), np.log(1.5), np.log(4)])
    assert np.isnan(distance[4])
    assert np.isfinite(distance[5])
    np.testing.assert_allclose(distance[1], UNSURE_LOG_ODDS)
    below, above = distance_to_threshold(np.array([0.8, 0.99]), 0.9)
    assert below < above


def test_trained_model_judges_the_graded_labels_that_it_did_not_learn_from() -> None:
    ids = np.array(["a", "b", "c", "d"])
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])
    labels = pd.DataFrame(
        {
            "building_id": ["d", "c", "b", "elsewhere", "a"],
            "value": ["destroyed", "unclear", "intact", "intact", "intact"],
        }
    )
    table = judge_unlearned(labels, ("a",), ids, p, SCHEMES["binary-major"]).set_index("building_id")
    assert table[["given", "p_given"]].to_dict("index") == {
        "d": {"given": "damaged", "p_given": 0.4},
        "b": {"given": "intact", "p_given": 0.2},
    }


def test_label_given_with_the_contradiction_in_view_is_not_asked_about_again() -> None:
    sure = ("intact", "damaged", 0.1, 0.9)
    labels = pd.DataFrame(
        {
            "building_id": ["x", "y", "z"],
            "value": "intact",
            "labeller": ["ana", "ben", "kim"],
            "drawn": ["map", CONTRADICTED, "adjudication"],
        }
    )
    table = contradicted_labels({"run": judged(x=sure, y=sure, z=sure)}, labels)
    assert table is not None
    assert table[["building_id", "value", "labeller"]].to_numpy().tolist() == [["x", "intact", "ana"]]
    assert contradicted_labels({"run": judged()}, labels) is None


def test_maps_differ_where_both_give_a_verdict_and_not_the_same() -> None:
    one, other = np.array([1, 1, 0, -1, 0], dtype=np.int8), np.array([1, 0, 1, 1, -1], dtype=np.int8)
    assert differing(one, other).tolist() == [1, 2]


def test_disagreement_about_verdicts_is_unknown_where_one_model_says_nothing() -> None:
    bits = verdict_disagreement([np.array([1.0, 0.5, np.nan]), np.array([0.0, 0.5, 0.5])])
    np.testing.assert_allclose(bits, [1.0, 0.0, np.nan])
