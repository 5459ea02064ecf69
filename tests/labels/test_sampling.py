import numpy as np
import pandas as pd
import pytest

from damage_ssl.errors import InputError
from damage_ssl.labels.sampling import next_buildings, second_opinions


def town(positions_m: list[tuple[float, float]], not_assessed: tuple[int, ...] = ()) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "building_id": [f"b{row}" for row in range(len(positions_m))],
            "assessed": [row not in not_assessed for row in range(len(positions_m))],
            "x_m": [x for x, _ in positions_m],
            "y_m": [y for _, y in positions_m],
        }
    )


def row_of_houses(count: int, step_m: float) -> pd.DataFrame:
    return town([(step_m * number, 0.0) for number in range(count)])


def labelled(*building_id: str) -> pd.DataFrame:
    return pd.DataFrame({"building_id": list(building_id)}, dtype=object)


def positions(index: pd.DataFrame, building_id: pd.Series) -> np.ndarray:
    return index.set_index("building_id").loc[building_id, ["x_m", "y_m"]].to_numpy()


def nearest_m(points: np.ndarray) -> float:
    gaps = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    return float(gaps[~np.eye(len(points), dtype=bool)].min())


def test_labelled_and_not_assessed_buildings_are_never_proposed() -> None:
    index = town([(100.0 * number, 0.0) for number in range(6)], not_assessed=(1, 4))
    got = next_buildings(index, labelled("b0", "b5"), 6, np.random.default_rng(0))
    assert sorted(got["building_id"]) == ["b2", "b3"]


def test_same_rng_gives_the_same_queue_and_another_gives_another() -> None:
    index = row_of_houses(300, 30.0)
    first, same, other = (next_buildings(index, labelled(), 20, np.random.default_rng(seed)) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, same)
    assert set(first["building_id"]) != set(other["building_id"])


def test_a_quarter_is_random_with_its_inclusion_probability() -> None:
    got = next_buildings(row_of_houses(200, 30.0), labelled("b0"), 20, np.random.default_rng(0))
    random = got[got["drawn"] == "random"]
    assert len(random) == 5
    assert random["inclusion_probability"].tolist() == [5 / 199] * 5
    rest = got[got["drawn"] != "random"]
    assert set(rest["drawn"]) == {"spread"}
    assert rest["inclusion_probability"].isna().all()
    assert got["building_id"].is_unique


def test_share_of_random_draws_holds_for_buildings_drawn_one_by_one() -> None:
    index, rng = row_of_houses(50, 100.0), np.random.default_rng(0)
    drawn = [next_buildings(index, labelled(), 1, rng)["drawn"].item() for _ in range(400)]
    # Binomial(400, 0.25): mean 100, sd 8.7; four sd either side.
    assert 65 <= drawn.count("random") <= 135


def test_every_candidate_is_equally_likely_to_be_a_random_draw() -> None:
    index, rng = row_of_houses(8, 1.0), np.random.default_rng(3)
    draws = [
        building
        for _ in range(400)
        for building in next_buildings(index, labelled(), 2, rng, random_share=1.0)["building_id"]
    ]
    # Each building is in 400 · 2/8 = 100 of the draws, sd √(400·¼·¾) = 8.7; four sd either side.
    counts = pd.Series(draws).value_counts()
    assert len(counts) == 8
    assert counts.between(65, 135).all()


def test_spread_buildings_keep_their_distance_from_each_other_and_from_the_labelled() -> None:
    rng = np.random.default_rng(0)
    index = town([tuple(xy) for xy in rng.uniform(0, 2000, (500, 2))])
    got = next_buildings(index, labelled("b0", "b1"), 20, rng, random_share=0.0, spacing_m=150.0)
    points = positions(index, pd.concat([got["building_id"], pd.Series(["b0"])]))
    assert len(got) == 20
    assert nearest_m(points) >= 150.0


def test_spacing_gives_way_when_the_event_has_no_room() -> None:
    index = row_of_houses(5, 10.0)
    got = next_buildings(index, labelled(), 5, np.random.default_rng(0), random_share=0.0, spacing_m=70.0)
    assert sorted(got["building_id"]) == ["b0", "b1", "b2", "b3", "b4"]


def test_buildings_at_the_same_place_are_all_proposed_in_the_end() -> None:
    index = town([(0.0, 0.0)] * 4)
    assert len(next_buildings(index, labelled(), 4, np.random.default_rng(0), random_share=0.0)) == 4


def test_most_uncertain_come_first_but_not_two_neighbours() -> None:
    index = town([(0.0, 0.0), (5.0, 0.0), (200.0, 0.0), (400.0, 0.0)])
    uncertainty = pd.Series({"b0": 0.9, "b1": 0.8, "b2": 0.1, "b3": 0.2})
    got = next_buildings(
        index, labelled(), 2, np.random.default_rng(0), uncertainty=uncertainty, random_share=0.0, spacing_m=70.0
    )
    assert sorted(got["building_id"]) == ["b0", "b3"]
    assert set(got["drawn"]) == {"uncertain"}


def test_building_without_an_uncertainty_comes_last() -> None:
    index = row_of_houses(3, 100.0)
    got = next_buildings(
        index, labelled(), 2, np.random.default_rng(0), uncertainty=pd.Series({"b0": 0.1, "b2": 0.0}), random_share=0.0
    )
    assert sorted(got["building_id"]) == ["b0", "b2"]


def test_nothing_left_gives_an_empty_queue_with_its_columns() -> None:
    got = next_buildings(row_of_houses(1, 1.0), labelled("b0"), 3, np.random.default_rng(0))
    assert got.empty
    assert list(got.columns) == ["building_id", "drawn", "inclusion_probability"]


@pytest.mark.parametrize("bad", [{"n": 0}, {"n": 1, "random_share": 1.5}, {"n": 1, "spacing_m": -1.0}])
def test_impossible_settings_are_refused(bad: dict[str, float]) -> None:
    n = int(bad.pop("n"))
    with pytest.raises(InputError, match="labelling queue"):
        next_buildings(row_of_houses(3, 1.0), labelled(), n, np.random.default_rng(0), **bad)


def test_rare_cluster_takes_its_turn_before_a_common_one_is_asked_twice() -> None:
    index = row_of_houses(100, 100.0)
    cluster = pd.Series([0] * 97 + [1, 1, 2], index=index["building_id"])
    got = next_buildings(index, labelled(), 3, np.random.default_rng(0), cluster=cluster, random_share=0.0)
    assert sorted(cluster.loc[got["building_id"]]) == [0, 1, 2]


def test_cluster_that_has_labels_waits_and_the_most_uncertain_of_each_comes_first() -> None:
    index = row_of_houses(12, 100.0)
    cluster = pd.Series([0] * 6 + [1] * 6, index=index["building_id"])
    uncertainty = pd.Series(np.arange(12) / 12, index=index["building_id"])
    got = next_buildings(
        index,
        labelled("b0", "b1"),
        2,
        np.random.default_rng(0),
        cluster=cluster,
        uncertainty=uncertainty,
        random_share=0.0,
    )
    assert set(got["building_id"]) == {"b11", "b10"}
    got = next_buildings(
        index, labelled(), 2, np.random.default_rng(0), cluster=cluster, uncertainty=uncertainty, random_share=0.0
    )
    assert set(got["building_id"]) == {"b5", "b11"}


def test_second_opinions_are_of_buildings_that_one_other_analyst_answered() -> None:
    answers = pd.DataFrame(
        [("a", "ana"), ("b", "ben"), ("c", "ben"), ("c", "eva"), ("d", "ben")], columns=["building_id", "labeller"]
    )
    got = second_opinions(answers, "ana", 5, np.random.default_rng(0))
    assert sorted(got["building_id"]) == ["b", "d"]
    assert set(got["drawn"]) == {"second"}
    assert got["inclusion_probability"].isna().all()
    assert len(second_opinions(answers, "ana", 1, np.random.default_rng(0))) == 1


def test_spacing_of_a_crowded_event_is_halved_until_there_is_room_and_not_further() -> None:
    # At 4, 8 … 48 m from a labelled one: 70 m has no room, 35 m has some for one, 17.5 m not always for another.
    index = row_of_houses(13, 4.0)
    for seed in range(10):
        got = next_buildings(index, labelled("b0"), 2, np.random.default_rng(seed), random_share=0.0, spacing_m=70.0)
        points = positions(index, pd.concat([got["building_id"], pd.Series(["b0"])]))
        assert nearest_m(points) >= 70.0 / 8


def test_series_in_another_order_than_the_index_mean_the_same() -> None:
    index = row_of_houses(40, 100.0)
    cluster = pd.Series(np.arange(40) % 3, index=index["building_id"])
    uncertainty = pd.Series(np.arange(40) / 40, index=index["building_id"])
    one, other = (
        next_buildings(
            index, labelled("b7"), 9, np.random.default_rng(4), uncertainty=uncertainty[order], cluster=cluster[order]
        )
        for order in (index["building_id"], index["building_id"][::-1])
    )
    pd.testing.assert_frame_equal(one, other)
