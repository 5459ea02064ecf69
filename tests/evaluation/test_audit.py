"""The random audit: its order is a fair sample at every length, its intervals are Wilson's."""

import numpy as np
import pandas as pd
import pytest

from damage_ssl.damage_scale import SCHEMES
from damage_ssl.evaluation.audit import (
    audit_answers,
    audit_of_map,
    audit_order,
    audit_report,
    audited_rows,
    drawn_at_random,
    inclusion_probability,
    skipped_before,
    taught_nothing,
    wilson,
)
from damage_ssl.labels.schema import WITHDRAWN

IDS = np.array([f"b{number:04d}" for number in range(2000)])


def test_order_does_not_change_for_the_others_when_a_building_leaves() -> None:
    ordered = IDS[audit_order(IDS)]
    gone = ordered[5]
    rest = IDS[gone != IDS]
    assert rest[audit_order(rest)].tolist() == [each for each in ordered if each != gone]


def test_order_does_not_depend_on_how_the_table_is_sorted() -> None:
    shuffled = np.random.default_rng(1).permutation(IDS)
    assert shuffled[audit_order(shuffled)].tolist() == IDS[audit_order(IDS)].tolist()


def test_seed_draws_another_sample() -> None:
    assert set(audit_order(IDS, 1)[:50]) != set(audit_order(IDS, 2)[:50])


def test_every_building_is_as_likely_to_be_among_the_first() -> None:
    # 400 seeds, the first 200 of 2000: each building is expected in 40; binomial sd 6, so 5 sd is 30.
    taken = np.zeros(len(IDS))
    for seed in range(400):
        taken[audit_order(IDS, seed)[:200]] += 1
    assert taken.mean() == 40
    assert abs(taken - 40).max() < 32
    # and no more alike than chance has it: variance of a binomial(400, 0.1) is 36
    assert taken.var() == pytest.approx(36, rel=0.15)


def test_wilson_is_that_of_the_textbook() -> None:
    # Newcombe 1998 (Stat. Med. 17, table I, method 3): 81/263 → 0.2553 to 0.3662; 15/148 → 0.0624 to 0.1605.
    share = wilson(81, 263)
    assert (round(share.low, 4), round(share.high, 4)) == (0.2553, 0.3662)
    share = wilson(15, 148)
    assert (round(share.low, 4), round(share.high, 4)) == (0.0624, 0.1605)
    assert (wilson(0, 20).low, round(wilson(0, 20).high, 4)) == (0.0, 0.1611)
    assert wilson(29, 29).high == 1.0


def test_few_answers_are_said_to_tell_little() -> None:
    # 2 of 11: Wilson's 5 % would cover too seldom; the Poisson bound is ½·χ²(0.05; 4 df) / 11 = 0.355 / 11 = 3 %.
    assert wilson(2, 11).sentence == "11 answers tell little: between 3% and 48%"
    assert wilson(1, 1).sentence.startswith("1 answer tells little")
    assert wilson(0, 0).sentence == "nothing to go by yet"
    assert wilson(180, 200).sentence == "90%, between 85% and 93% (200 answers)"


def test_shares_are_counted_by_hand() -> None:
    said = np.array([True, True, True, False, False, False, False, False])
    truth = np.array([True, True, False, True, False, False, False, False])
    report = audit_report(said, truth, population=500, no_grade=2, skipped=1)
    assert (report.accuracy.hits, report.accuracy.n) == (6, 8)
    assert (report.precision.hits, report.precision.n) == (2, 3)
    assert (report.recall.hits, report.recall.n) == (2, 3)
    assert (report.damaged.hits, report.damaged.n) == (3, 8)
    assert (report.population, report.no_grade, report.skipped, report.learned) == (500, 2, 1, 0)


def test_audit_without_damage_has_no_recall() -> None:
    report = audit_report(np.zeros(4, dtype=bool), np.zeros(4, dtype=bool), population=9)
    assert report.recall.value is None
    assert report.accuracy.value == 1.0


def test_passed_over_counts_only_those_before_the_last_answer() -> None:
    assert skipped_before(np.array([True, False, True, True, False, False])) == 1
    assert skipped_before(np.array([False, False])) == 0


def log(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["building_id", "labeller", "value", "drawn"])


def test_audit_answer_stands_whatever_is_said_later_with_the_model_in_view() -> None:
    rows = audit_answers(log(("a", "ana", "intact", "audit"), ("a", "ana", "destroyed", "contradicted")))
    assert rows["value"].tolist() == ["intact"]


def test_latest_audit_answer_counts_and_a_withdrawn_one_does_not() -> None:
    rows = audit_answers(
        log(
            ("a", "ana", "intact", "audit"),
            ("a", "ben", "damaged", "audit"),
            ("b", "ana", "intact", "audit"),
            ("b", "ana", "withdrawn", "withdrawn"),
            ("c", "ana", "withdrawn", "withdrawn"),
            ("c", "ana", "destroyed", "audit"),
            ("d", "ana", "destroyed", "map"),
        )
    )
    assert dict(zip(rows["building_id"], rows["value"], strict=True)) == {"a": "damaged", "c": "destroyed"}


def test_buildings_that_cannot_be_assessed_are_not_audited() -> None:
    ids = np.array(["a", "b", "c", "d"])
    assessed = np.array([True, False, True, True])
    rows = audited_rows(ids, assessed)
    assert ids[rows].tolist() == ids[assessed][audit_order(ids[assessed])].tolist()


def test_inclusion_probability_is_the_place_in_the_order_over_all() -> None:
    order = np.array([5, 0, 3, 2])
    np.testing.assert_allclose(inclusion_probability(order, np.array([3, 5, 2])), [3 / 4, 1 / 4, 1.0])
    assert inclusion_probability(np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)).tolist() == []


def test_map_is_measured_on_graded_answers_that_taught_it_nothing() -> None:
    ids = np.array(["right", "wrong", "taught", "chose", "hidden"])
    answers = pd.DataFrame({"building_id": ids, "value": ["destroyed", "no-damage", "intact", "damaged", "unclear"]})
    fair = taught_nothing(ids, ["taught"], ["chose", "elsewhere"])
    said = np.array([True, True, False, True, False])
    report = audit_of_map(answers, said, fair, SCHEMES["binary-major"], population=50, skipped=3)
    assert (report.accuracy.hits, report.accuracy.n) == (1, 2)
    assert (report.no_grade, report.learned, report.population, report.skipped) == (1, 2, 50, 3)


def test_random_and_audited_buildings_stay_random_whatever_is_said_of_them_later() -> None:
    log = pd.DataFrame(
        [("a", "random", "intact"), ("a", "map", "damaged"), ("b", "spread", "intact"), ("b", "audit", "intact"),
         ("c", "uncertain", "damaged"), ("d", "random", WITHDRAWN)],
        columns=["building_id", "drawn", "value"],
    )  # fmt: skip
    assert drawn_at_random(log) == {"a", "b"}
