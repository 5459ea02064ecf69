"""Which rows of a log were drawn by design, and how they count."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from damage_ssl.evaluation.random_sample import FROM_ALL, NEVER_DRAWN, LogSample, sample_of_log
from damage_ssl.labels.schema import LABEL_COLUMNS, PROBABILITIES

IDS = np.array([f"b{number:03d}" for number in range(100)])


def log_of(*rows: dict[str, Any]) -> pd.DataFrame:
    """Rows of a log, oldest first; what is not said is an intact building from the map."""
    plain = {name: np.nan if name in PROBABILITIES else "" for name in LABEL_COLUMNS}
    said = {"value": "intact", "labeller": "ana", "drawn": "map"}
    return pd.DataFrame([plain | said | row for row in rows], columns=list(LABEL_COLUMNS))


def drawn(number: int, p: float = np.nan, **more: Any) -> dict[str, Any]:
    return {"building_id": IDS[number], "drawn": "random", "inclusion_probability": p} | more


def read(log: pd.DataFrame, *, ungraded: tuple[int, ...] = (), unseen: tuple[int, ...] = ()) -> LogSample:
    graded = np.isin(IDS, log["building_id"].to_numpy(str))
    graded[list(ungraded)] = False
    candidate = np.ones(len(IDS), dtype=bool)
    candidate[list(unseen)] = False
    return sample_of_log(log, pd.Index(IDS).get_indexer(pd.Index(log["building_id"])), graded, candidate)


def test_only_draws_by_design_count_and_the_rest_is_known() -> None:
    found = read(log_of(drawn(3, 0.01), {"building_id": "b007"}, drawn(5, 1 / 98))).sample
    assert found.row.tolist() == [3, 5]
    assert found.known_row.tolist() == [7]
    # Of 100 the first draw left nobody out; the second, from 98 of 100, counts as from all as well.
    assert found.after.tolist() == [FROM_ALL, FROM_ALL]


def test_draw_speaks_of_the_buildings_that_had_no_label_then() -> None:
    rows = [{"building_id": IDS[number]} for number in range(20)]
    found = read(log_of(*rows[:10], drawn(50, 1 / 90), *rows[10:], drawn(60, 1 / 79))).sample
    assert found.after.tolist() == [10, 21]
    assert found.known_at.tolist() == [*range(10), *range(11, 21)]


def test_sample_drawn_at_once_from_all_is_one_whatever_was_labelled_before_it_in_the_file() -> None:
    rows = [{"building_id": IDS[number]} for number in range(30)]
    found = read(log_of(*rows, *(drawn(number, 0.2) for number in range(40, 60)))).sample
    assert set(found.after.tolist()) == {FROM_ALL}
    assert found.has_equal_chances and not found.is_clustered


def test_draws_of_calls_of_different_size_count_alike_but_importance_draws_do_not() -> None:
    calls = log_of(drawn(1, 1 / 100), drawn(2, 3 / 99), drawn(3, 3 / 99), drawn(4, 3 / 99), drawn(5, 1 / 96))
    assert read(calls).sample.has_equal_chances
    importance = log_of(*(drawn(number, 0.6) for number in range(6)), *(drawn(10 + n, 0.06) for n in range(5)))
    weight = read(importance).sample.weight
    assert weight[-1] / weight[0] == pytest.approx(10)
    assert weight.mean() == pytest.approx(1)


def test_stratified_draws_weigh_by_their_stratum() -> None:
    rows = [drawn(n, 0.5, stratum="a") for n in range(10)] + [drawn(20 + n, 0.125, stratum="b") for n in range(10)]
    weight = read(log_of(*rows)).sample.weight
    assert weight[-1] / weight[0] == pytest.approx(4)


def test_tiles_are_clusters_and_a_tile_may_carry_the_only_probability() -> None:
    def tile(number: int, name: str, p: float) -> dict[str, Any]:
        return {"building_id": IDS[number], "drawn": "tile", "cluster_id": name, "cluster_probability": p}

    rows = [tile(0, "t1", 0.1), tile(1, "t1", 0.1), tile(2, "t2", 0.3)]
    found = read(log_of(*rows)).sample
    assert (found.n, found.clusters, found.is_clustered) == (3, 2, True)
    assert found.weight[0] / found.weight[2] == pytest.approx(3)


def test_audit_is_from_all_and_a_building_drawn_twice_counts_once() -> None:
    again = {"building_id": "b005", "drawn": "audit", "inclusion_probability": 0.01, "labeller": "ben"}
    found = read(log_of(*({"building_id": IDS[n]} for n in range(40)), drawn(50, 1 / 60), again, drawn(51, 1 / 59)))
    assert sorted(found.sample.row.tolist()) == [5, 50, 51]
    assert found.sample.after[found.sample.row == 5].tolist() == [FROM_ALL]
    assert 5 not in found.sample.known_row


def test_withdrawn_and_ungraded_answers_are_counted_as_such() -> None:
    rows = log_of(drawn(1), drawn(2), drawn(3), {"building_id": "b002", "value": "withdrawn", "drawn": "withdrawn"})
    found = read(rows, ungraded=(2, 3))
    assert (found.sample.row.tolist(), found.ungraded) == ([1], 2)


def test_rows_with_an_impossible_probability_are_left_out_and_said() -> None:
    found = read(log_of(drawn(1, 0.0), drawn(2, 1.5), drawn(3, -0.1), drawn(4, np.inf), drawn(5, 0.01), drawn(6)))
    assert found.sample.row.tolist() == [5, 6]  # "random" says so itself, also without its probability
    assert found.unusable == 4


def test_building_without_a_pair_is_known_and_was_no_candidate() -> None:
    found = read(log_of(drawn(1), {"building_id": "b002"}), unseen=(2,)).sample
    assert found.known_at.tolist() == [NEVER_DRAWN]


def test_nothing_drawn_gives_an_empty_sample() -> None:
    assert read(log_of({"building_id": "b001"})).sample.n == 0
    assert read(log_of()).sample.n == 0
