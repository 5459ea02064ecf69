"""An event in tiles: how they are laid out and drawn, what is written of one, and that totals take them as clusters."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError
from damage_ssl.evaluation.random_sample import sample_of_log
from damage_ssl.labels.label_log import LabelStore
from damage_ssl.labels.tile_claims import LEFT_AFTER_S, TileClaims
from damage_ssl.labels.tiles import Tiling, draw_tile, drawn_tiles, lay_out, tile_answers

NO, DESTROYED, UNCLEAR = LabelValue.NO_DAMAGE, LabelValue.DESTROYED, LabelValue.UNCLEAR


def index_of(places: list[tuple[float, float]], assessed: list[bool] | None = None) -> pd.DataFrame:
    x_m, y_m = zip(*places, strict=True)
    ids = [f"b{number}" for number in range(len(places))]
    return pd.DataFrame({"building_id": ids, "x_m": x_m, "y_m": y_m, "assessed": assessed or [True] * len(places)})


def row_of_tiles(count: int, each: int = 2) -> Tiling:
    return lay_out(index_of([(100.0 * tile + 10 * n, 5.0) for tile in range(count) for n in range(each)]), 100.0)


def draw(tiling: Tiling, strategy: str, **changes: object) -> str | None:
    usual = {
        "answered": np.zeros(len(tiling.tile_of), bool),
        "drawn_before": np.zeros(len(tiling), bool),
        "taken": (),
        "rng": np.random.default_rng(0),
    }
    found = draw_tile(tiling, strategy, **{**usual, **changes})  # type: ignore[arg-type]
    return None if found is None else str(tiling.tile_id[found.tile])


def test_tiles_are_squares_of_the_ground_that_hold_assessed_buildings() -> None:
    index = index_of([(10, 10), (140, 149), (151, 10), (-1, 10), (1000, 1000)], [True, True, True, True, False])
    tiling = lay_out(index, 150.0)
    assert tiling.tile_id.tolist() == ["T150--1-0", "T150-0-0", "T150-1-0"]
    assert tiling.tile_of.tolist() == [1, 1, 2, 0, -1]
    assert tiling.corner_m.tolist() == [[-150, 0], [0, 0], [150, 0]]
    assert tiling.buildings.tolist() == [1, 2, 1]
    assert tiling.rows(tiling.place("T150-0-0")).tolist() == [0, 1]
    assert tiling.count(np.array([True, False, True, False, True])).tolist() == [0, 1, 1]


def test_names_stay_when_buildings_are_added_and_differ_for_another_side() -> None:
    few, more = [(10.0, 10.0), (310.0, 10.0)], [(10.0, 10.0), (310.0, 10.0), (160.0, 10.0)]
    assert set(lay_out(index_of(few)).tile_id) < set(lay_out(index_of(more)).tile_id)
    assert not set(lay_out(index_of(few)).tile_id) & set(lay_out(index_of(few), 100.0).tile_id)


@pytest.mark.parametrize("side_m", [49.0, 501.0, float("nan")])
def test_a_side_out_of_range_is_refused(side_m: float, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="50 to 500"):
        lay_out(index_of([(0, 0)]), side_m)
    with pytest.raises(InputError, match="50 to 500"):
        TileClaims(tmp_path / "tiles.json").choose_side(side_m)


def test_every_tile_is_drawn_by_chance_once_and_each_order_is_as_likely_in_its_first_places() -> None:
    tiling = row_of_tiles(12)
    drawn = np.zeros(len(tiling), bool)
    order = []
    for _ in range(len(tiling)):
        found = draw_tile(
            tiling, "random", answered=np.ones(24, bool), drawn_before=drawn, taken=(), rng=np.random.default_rng(1)
        )
        assert found is not None and found.probability == pytest.approx(1 / 12)
        drawn[found.tile] = True
        order.append(found.tile)
    assert sorted(order) == list(range(12)) and order != list(range(12))
    assert draw(tiling, "random", drawn_before=drawn) is None


def test_the_first_tiles_of_the_random_order_are_a_fair_sample_over_events() -> None:
    first = []
    for shift in range(200):  # other names: other places of the same ten tiles
        places = [(100.0 * tile + 1e5 * shift, 5.0) for tile in range(10)]
        tiling = lay_out(index_of(places), 100.0)
        first.append(int(tiling.corner_m[tiling.place(draw(tiling, "random") or ""), 0] - 1e5 * shift) // 100)
    count = np.bincount(first, minlength=10)
    assert ((count - 20) ** 2 / 20).sum() < 27.9  # chi-squared with 9 degrees of freedom, 1 in 1000


def test_what_was_labelled_on_purpose_does_not_change_the_random_draw() -> None:
    tiling = row_of_tiles(6)
    first = draw(tiling, "random")
    assert draw(tiling, "random", answered=np.ones(12, bool)) == first
    assert draw(tiling, "random", taken=[first]) != first


def test_spread_goes_far_from_what_was_worked_on_and_scores_to_the_highest_mean() -> None:
    tiling = row_of_tiles(6)
    answered = np.zeros(12, bool)
    answered[0] = True  # the first tile is begun
    assert draw(tiling, "spread", answered=answered) == "T100-5-0"
    assert draw(tiling, "spread", answered=answered, taken=["T100-5-0"]) in {"T100-2-0", "T100-3-0"}
    score = np.array([0.1, 0.1, 0.9, 0.9, 0.99, 0.1, 0, 0, 0, 0, np.nan, np.nan])
    assert draw(tiling, "likely", score=score) == "T100-1-0"
    answered[2:4] = True
    assert draw(tiling, "uncertain", score=score, answered=answered) == "T100-2-0"
    assert draw(tiling, "spread", answered=np.ones(12, bool)) is None
    with pytest.raises(InputError, match="needs a model"):
        draw(tiling, "likely")
    with pytest.raises(InputError, match="not one of"):
        draw(tiling, "best")


def test_marks_and_the_rest_are_written_and_what_stands_is_said_again_only_in_a_random_tile() -> None:
    def said(probability: float | None) -> dict[str, LabelValue]:
        rows = tile_answers(
            "T100-0-0", ["a", "b", "c", "d"], {"a": DESTROYED}, {"a": NO, "b": UNCLEAR}, rest=NO, drawn="random",
            probability=probability, labeller="ana",
        )  # fmt: skip
        assert {(row.cluster_id, row.cluster_probability, row.labeller) for row in rows} == {
            ("T100-0-0", probability, "ana")
        }
        return {row.building_id: row.value for row in rows}

    assert said(None) == {"a": DESTROYED, "c": NO, "d": NO}
    assert said(0.25) == {"a": DESTROYED, "b": UNCLEAR, "c": NO, "d": NO}
    with pytest.raises(InputError, match="has no building 'x'"):
        tile_answers("T1", ["a"], {"x": NO}, {}, rest=NO, drawn="spread", probability=None, labeller="ana")


def test_totals_read_random_tiles_as_clusters_and_leave_chosen_tiles_out(tmp_path: Path) -> None:
    tiling = row_of_tiles(8, each=3)
    store = LabelStore(tmp_path / "labels.sqlite")
    by_chance = [draw_tile(tiling, "random", answered=np.zeros(24, bool), drawn_before=drawn_tiles(tiling, store.log()),
                           taken=(), rng=np.random.default_rng(0))]  # fmt: skip
    chosen = draw(tiling, "spread", answered=tiling.tile_of == by_chance[0].tile)  # type: ignore[union-attr]
    for tile, probability in ((by_chance[0].tile, 1 / 8), (tiling.place(str(chosen)), None)):  # type: ignore[union-attr]
        ids = [f"b{row}" for row in tiling.rows(tile)]
        store.add_many(
            tile_answers(str(tiling.tile_id[tile]), ids, {}, {}, rest=NO, drawn="random" if probability else "spread",
                         probability=probability, labeller="ana")
        )  # fmt: skip
    log = store.log()
    assert drawn_tiles(tiling, log).sum() == 1
    row_of = np.array([int(building[1:]) for building in log["building_id"]], dtype=np.intp)
    graded = np.isin(np.arange(24), row_of)
    sample = sample_of_log(log, row_of, graded, np.ones(24, bool)).sample
    assert sample.n == 3 and sample.clusters == 1 and sample.has_equal_chances
    assert set(sample.row) == set(tiling.rows(by_chance[0].tile))  # type: ignore[union-attr]
    assert set(sample.known_row) == set(tiling.rows(tiling.place(str(chosen))))


@pytest.fixture
def claims(tmp_path: Path) -> TileClaims:
    return TileClaims(tmp_path / "tiles.json")


def test_two_people_never_have_the_same_tile_open(claims: TileClaims) -> None:
    claims.take("one", "ana", now=0.0)
    claims.take("one", "ana", now=5.0)
    with pytest.raises(InputError, match="ana has it open"):
        claims.take("one", "ben", now=10.0)
    assert claims.taken(by_others_than="ben", now=10.0) == {"one": "ana"}
    assert claims.taken(by_others_than="ana", now=10.0) == {}
    claims.take("two", "ana", now=20.0)
    claims.take("one", "ben", now=21.0)
    claims.release("ben")
    claims.take("one", "cleo", now=22.0)


def test_a_tile_that_somebody_left_open_is_free_again_after_an_hour(claims: TileClaims) -> None:
    claims.take("one", "ana", now=0.0)
    assert claims.taken(by_others_than="ben", now=LEFT_AFTER_S) == {}
    claims.take("one", "ben", now=LEFT_AFTER_S)


def test_another_side_lets_go_of_all_tiles_and_a_damaged_file_says_what_to_do(claims: TileClaims) -> None:
    assert claims.side_m == 150.0
    claims.take("one", "ana", now=0.0)
    claims.choose_side(200.0)
    assert claims.side_m == 200.0 and claims.taken(by_others_than="ben", now=1.0) == {}
    claims.path.write_text("{")
    with pytest.raises(InputError, match="correct or delete it"):
        _ = claims.side_m


def test_many_who_take_at_once_get_one_tile_each(claims: TileClaims) -> None:
    def attempt(who: int) -> bool:
        try:
            claims.take("one", f"analyst {who}", now=1.0)
        except InputError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
