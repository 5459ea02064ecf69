"""Totals of a map from a random sample: what is counted, what is said, and what bad input is told."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from damage_ssl.damage_scale import scheme_named
from damage_ssl.errors import InputError
from damage_ssl.evaluation.total import Totals
from damage_ssl.products.sampled_table import sample_log, table_totals
from damage_ssl.products.total_rows import CountedBuildings
from damage_ssl.products.totals import event_totals_of
from damage_ssl.products.units import AssignedUnits, assign_units, grid_units, read_units

BINARY = scheme_named("binary-major")
SIZE = 400


def town_map(**columns: Any) -> gpd.GeoDataFrame:
    """400 buildings in a row of squares, 10 m apart; every fourth is damaged and flagged."""
    x = 500_000 + 10.0 * np.arange(SIZE)
    shapes = gpd.GeoSeries(shapely.box(x, 4_000_000, x + 5, 4_000_005), crs="EPSG:32633").to_crs("EPSG:4326")
    damaged = np.arange(SIZE) % 4 == 0
    table = {"building_id": [f"b{n}" for n in range(SIZE)], "p_damaged": np.where(damaged, 0.9, 0.1)}
    return gpd.GeoDataFrame(table | columns, geometry=shapes)


def answers(rows: "np.ndarray[Any, Any] | range", **columns: Any) -> pd.DataFrame:
    grade = np.where(np.asarray(rows) % 4 == 0, "destroyed", "no-damage").astype(object)
    return pd.DataFrame({"building_id": [f"b{n}" for n in rows], "grade": grade} | columns)


def found(sample: pd.DataFrame, table: pd.DataFrame | None = None, **more: Any) -> Totals:
    return table_totals(town_map() if table is None else table, sample, scheme=BINARY, **more)


RANDOM = np.random.default_rng(0).permutation(SIZE)[:40]


def strips(edges: list[float], **columns: Any) -> gpd.GeoDataFrame:
    """Areas along the row of buildings, between these metres."""
    shapes = [shapely.box(500_000 + west, 3_999_900, 500_000 + east, 4_000_100) for west, east in pairwise(edges)]
    names = [f"u{n}" for n in range(len(shapes))]
    return gpd.GeoDataFrame({"unit_id": names, "name": names} | columns, geometry=shapes, crs="EPSG:32633")


def test_thirty_answers_always_give_numbers_and_the_model_narrows_them() -> None:
    alone = found(answers(RANDOM[:30])).total
    helped = found(answers(RANDOM[:30]), score="p_damaged").total
    assert alone.damaged is not None and alone.damaged_low is not None and alone.damaged_high is not None
    assert alone.damaged_low <= 100 <= alone.damaged_high
    assert helped.damaged_high - helped.damaged_low < alone.damaged_high - alone.damaged_low  # type: ignore[operator]
    assert (helped.answers, helped.model_count, alone.model_count) == (30, 100, None)
    assert alone.method == "simple random sample; 95 % mid-P bounds"


def test_statement_and_next_step_are_sentences() -> None:
    said = found(answers(RANDOM), score="p_damaged")
    assert said.statement == (
        f"The model flags 100 of 400. From 40 random answers about {said.total.damaged} "
        f"({said.total.damaged_low}–{said.total.damaged_high}) are damaged."
    )
    assert said.next_step is not None and said.next_step.endswith("more at random to know the total to ±10%.")


def test_without_a_random_answer_the_count_is_called_one() -> None:
    said = found(answers(range(0)), score="p_damaged")
    assert (said.total.damaged, said.total.damaged_low, said.total.answers) == (100, None, 0)
    assert said.total.method.startswith("count of the map")
    assert said.next_step == (
        "10 more random answers would give bounds, though not how many to better than half; 30 or more always give "
        "numbers."
    )


def test_few_answers_give_no_number() -> None:
    said = found(answers(RANDOM[:6]))
    assert (said.total.damaged, said.total.damaged_high) == (None, None)
    assert said.statement == "Too few to say: 6 random answers; 4 more would give bounds."


def test_grades_are_totalled_where_all_answers_are_grades() -> None:
    said = found(answers(RANDOM))
    assert [row.name for row in said.grades] == ["no-damage", "minor-damage", "major-damage", "destroyed"]
    assert said.grades[3].damaged == said.total.damaged
    assert said.grades[1].damaged == 0 and said.grades[1].damaged_high is not None and said.grades[1].damaged_high > 0
    assert found(answers(RANDOM).assign(grade=np.where(RANDOM % 4 == 0, 1, 0))).grades == ()


def test_answers_without_a_grade_leave_the_assessment_and_are_said() -> None:
    sample = answers(RANDOM)
    sample.loc[:24, "grade"] = "unclear"
    said = found(sample).total
    assert (said.answers, said.assessed, said.not_assessed) == (15, SIZE - 25, 25)
    assert said.note is not None and "25 random answers gave no grade (62%)" in said.note
    assert "the total is a guess" in said.note


def test_impossible_probabilities_are_left_out_and_said() -> None:
    p = np.full(40, 0.1)
    p[:4] = [0, -1, 2, np.inf]
    said = found(answers(RANDOM, inclusion_probability=p)).total
    assert said.answers == 36
    assert said.note is not None and "4 rows left out" in said.note


def test_units_are_counted_by_the_point_inside_and_rows_keep_their_order() -> None:
    said = found(answers(RANDOM), score="p_damaged", units=strips([0, 2000, 3000, 3500]))
    assert [row.name for row in said.units] == ["u0", "u1", "u2", "outside all units"]
    assert [row.assessed for row in said.units] == [200, 100, 50, 50]
    assert said.units[0].method.startswith("pooled (Fay-Herriot)")
    for row in said.units:
        true = row.assessed / 4
        assert row.damaged_low is not None and row.damaged_high is not None
        assert row.damaged_low <= true <= row.damaged_high


def test_unit_with_enough_answers_stands_on_its_own() -> None:
    said = found(answers(range(0, 400, 5)), score="p_damaged", units=strips([0, 2000, 4000]))
    assert [row.answers for row in said.units] == [40, 40]
    assert said.units[0].method.startswith("simple random sample, post-stratified")


def test_units_without_buildings_and_with_few_answers_in_all_stay_empty() -> None:
    said = found(answers(RANDOM[:12]), units=strips([0, 4000, 9000]))
    assert (said.units[0].damaged, said.units[1].damaged, said.units[1].assessed) == (None, 0, 0)
    assert said.units[0].method == "too few to say: 12 random answers here, 12 in all"
    assert said.units[1].method == "no assessed buildings"


def test_overlapping_units_count_a_building_once_in_the_first_listed() -> None:
    areas = pd.concat([strips([0, 3000]), strips([2000, 4000])], ignore_index=True)
    assigned = assign_units(town_map().geometry, gpd.GeoDataFrame(areas, crs="EPSG:32633"))
    assert np.bincount(assigned.of_building).tolist() == [300, 100]
    assert assigned.note[1] == "100 of its buildings lie in another unit too; each counts in the first listed"


def test_file_of_areas_is_reprojected_mended_and_named(tmp_path: Any) -> None:
    areas = strips([0, 2000, 4000]).rename(columns={"unit_id": "ADM2_PCODE", "name": "ADM2_EN_NAME"})
    bow = shapely.Polygon([(500_000, 3_999_900), (502_000, 4_000_100), (502_000, 3_999_900), (500_000, 4_000_100)])
    areas.loc[0, "geometry"] = bow
    areas.to_file(tmp_path / "areas.gpkg")
    read = read_units(tmp_path / "areas.gpkg")
    assert (read["unit_id"].tolist(), read["name"].tolist()) == (["u0", "u1"], ["u0", "u1"])
    assert read.crs.to_epsg() == 4326 and read.is_valid.all()
    assert read["note"].tolist() == ["its outline was not valid and was mended", None]


def test_bad_areas_are_refused_in_words(tmp_path: Any) -> None:
    strips([0, 100]).to_file(tmp_path / "areas.geojson", driver="GeoJSON")
    with pytest.raises(InputError, match=r"no column 'nmae' but unit_id, name; the nearest is 'name'|did you mean"):
        read_units(tmp_path / "areas.geojson", name_column="nmae")
    with pytest.raises(InputError, match="no such file"):
        read_units(tmp_path / "nothing.geojson")
    gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(0, 0)], crs="EPSG:4326").to_file(tmp_path / "points.gpkg")
    with pytest.raises(InputError, match="holds no polygons but Point"):
        read_units(tmp_path / "points.gpkg")


def test_grid_is_of_squares_that_hold_buildings() -> None:
    squares = grid_units(town_map().geometry, 500)
    assert len(squares) in (8, 9)
    area = squares.to_crs("EPSG:32633").area
    np.testing.assert_allclose(area, 250_000, rtol=1e-3)
    assert isinstance(assign_units(town_map().geometry, squares), AssignedUnits)
    with pytest.raises(InputError, match="more than 0"):
        grid_units(town_map().geometry, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": "probability"}, "map: has no column 'probability' but building_id, p_damaged"),
        ({"building_id": "id"}, "map: has no column 'id'"),
        ({"answer": "verdict"}, "sample: has no column 'verdict' but building_id, grade"),
    ],
)
def test_missing_column_names_those_that_are_there(change: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        found(answers(RANDOM), **change)


def test_foreign_doubled_and_unknown_words_are_refused() -> None:
    with pytest.raises(InputError, match="1 buildings are not in the map"):
        found(answers(range(999, 1000)))
    with pytest.raises(InputError, match="there more than once"):
        found(answers(RANDOM), town_map(building_id="b1"))
    with pytest.raises(InputError, match="sample, row 2: grade 'ruined' is not one of"):
        found(answers(RANDOM).assign(grade="ruined"))
    with pytest.raises(InputError, match="has no geometry"):
        found(answers(RANDOM), pd.DataFrame(town_map().drop(columns="geometry")), units=strips([0, 100]))


def test_answer_given_twice_counts_once_and_the_last_stands() -> None:
    twice = pd.concat([answers(RANDOM), answers(RANDOM[:5]).assign(grade="destroyed")], ignore_index=True)
    said = found(twice).total
    assert said.answers == 40
    assert said.damaged_low is not None and said.damaged_low >= 5


def test_model_that_learned_from_the_answers_stands_aside_and_says_what_would_help(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    event: Any = SimpleNamespace(name="town", path=tmp_path)
    model: Any = SimpleNamespace(scheme=BINARY)
    monkeypatch.setattr("damage_ssl.products.totals.assistance", lambda *_: None)
    table = town_map(assessed=True, damaged=False, threshold=0.5)
    log = sample_log(answers(RANDOM), ("building_id", "grade"))
    said = event_totals_of(event, model, CountedBuildings.of_table(table), log).total
    assert said.method == "simple random sample; 95 % mid-P bounds"
    assert said.note is not None and said.note.endswith("`damage-ssl features town` lets it help")
