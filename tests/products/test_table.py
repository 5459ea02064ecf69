import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

from damage_ssl.damage_scale import ClassScheme, DamageGrade, scheme_named
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.labels.schema import LABEL_COLUMNS
from damage_ssl.products.table import assessed_footprints
from damage_ssl.runs.predictions import prediction_table

BINARY, MINOR, GRADES = scheme_named("binary-major"), scheme_named("binary-minor"), scheme_named("grades")
IDS = ["a", "b", "c", "d"]
"""`d` is not assessed."""

STANDARD_FIELDS = [
    "building_id",
    "footprint_source",
    "footprint_source_id",
    "area_m2",
    "lon",
    "lat",
    "plus_code",
    "damage_class",
    "damage_level",
    "damaged",
    "p_damaged",
    "uncertainty",
    "model_class",
    "model_damaged",
    "analyst_class",
    "assessed",
    "not_assessed_reason",
    "pre_image_id",
    "pre_datetime",
    "post_image_id",
    "post_datetime",
    "gsd_m",
    "shift_x_m",
    "shift_y_m",
    "align_score",
    "run_id",
    "threshold",
    "label_source",
    "labeller",
    "label_time",
    "edited",
    "comment",
    "ems_damage_gra",
    "unosat_class",
    "fema_class",
]


def footprints(ids: list[str] = IDS) -> gpd.GeoDataFrame:
    x = [IDS.index(name) * 0.001 for name in ids]
    return gpd.GeoDataFrame(
        {
            "building_id": ids,
            "source": "footprints.geojson",
            "source_id": [name.upper() for name in ids],
            "area_m2": 100.0,
        },
        geometry=[box(left, 0, left + 0.0001, 0.0001) for left in x],
        crs=4326,
    )


def index() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "building_id": IDS,
            "row": [0, 1, 2, -1],
            "assessed": [True, True, True, False],
            "not_assessed_reason": [None, None, None, "no_post"],
            "pre_image_id": "pre1",
            "post_image_id": ["post1", "post1", "post2", None],
            "pre_datetime": None,
            "post_datetime": ["2017-10-11T00:00:00Z"] * 3 + [None],
            "gsd_m": 0.5,
            "shift_x_m": [0.5, 0.0, -1.0, np.nan],
            "shift_y_m": [0.0, 0.0, 2.0, np.nan],
            "align_score": [0.9, 0.8, 0.7, np.nan],
            "lon": [0.00005, 0.00105, 0.00205, 2.7821875],
            "lat": [0.00005, 0.00005, 0.00005, 20.3700625],
        }
    )


def labels(**value_of: str) -> pd.DataFrame:
    rows = [(name, value, "ana", "2025-01-31T12:00:00.000Z", "map", None, "") for name, value in value_of.items()]
    columns = ["building_id", "value", "labeller", "time", "drawn", "inclusion_probability", "comment"]
    return pd.DataFrame(rows, columns=columns).reindex(columns=list(LABEL_COLUMNS))


def binary_predictions() -> pd.DataFrame:
    # In another order than the footprints: nothing is joined by position.
    return prediction_table(np.array(["c", "a", "b"]), np.array([[0.4, 0.6], [0.9, 0.1], [0.2, 0.8]]), BINARY)


def binary(said: pd.DataFrame | None = None) -> pd.DataFrame:
    return assessed_footprints(
        footprints(),
        index(),
        binary_predictions(),
        labels() if said is None else said,
        scheme=BINARY,
        threshold=0.7,
        run_id="run1",
    ).set_index("building_id", drop=False)


def test_every_field_of_the_standard_is_there() -> None:
    columns = set(binary().columns)
    assert set(STANDARD_FIELDS) <= columns
    assert columns - set(STANDARD_FIELDS) == {
        "p_intact",
        "p_damaged_image",
        "geometry",
        "footprint_confidence",
        "not_assessed_detail",
        "shift_source",
        "footprint_shift_x_m",
        "footprint_shift_y_m",
        "method",
    }


def test_columns_that_older_events_lack_are_null() -> None:
    table = binary()
    assert table["shift_source"].tolist() == [None] * 4
    assert table[["footprint_shift_x_m", "footprint_confidence"]].isna().all(axis=None)


def test_what_the_images_alone_say_is_handed_over_where_a_run_has_it() -> None:
    said = binary_predictions()
    table, older = (
        assessed_footprints(
            footprints(), index(), each, labels(), scheme=BINARY, threshold=0.7, run_id="run1", method="by hand"
        ).set_index("building_id")
        for each in (said.assign(p_damaged_image=0.25), said)
    )
    assert table["p_damaged_image"].dropna().to_dict() == dict.fromkeys(said["building_id"], 0.25)
    assert older["p_damaged_image"].isna().all() and older["p_damaged"].equals(table["p_damaged"])


def test_shifts_confidence_and_details_are_handed_over() -> None:
    drawn = footprints().assign(confidence=[0.9, 0.8, np.nan, 0.5])
    seen = index().assign(
        shift_source=["own", "neighbours", "scene", "none"],
        footprint_shift_x_m=[1.5, 0.0, -0.5, 0.0],
        footprint_shift_y_m=[0.0, 2.0, 0.0, 0.0],
        not_assessed_detail=[None, None, None, "post2.tif: time-out after 3 attempts"],
    )
    table = assessed_footprints(
        drawn, seen, binary_predictions(), labels(), scheme=BINARY, threshold=0.7, run_id="run1", method="by hand"
    )
    assert table["footprint_confidence"].tolist()[:2] == [0.9, 0.8]
    assert table["shift_source"].tolist() == ["own", "neighbours", "scene", "none"]
    assert table["footprint_shift_y_m"].tolist() == [0.0, 2.0, 0.0, 0.0]
    assert table["not_assessed_detail"].tolist() == [None, None, None, "post2.tif: time-out after 3 attempts"]
    assert table["method"].tolist() == ["by hand"] * 4


def test_detail_goes_when_an_analyst_says_something_else() -> None:
    seen = index().assign(not_assessed_detail=[None, None, None, "time-out"])
    said = labels(d="not-a-building")
    table = assessed_footprints(
        footprints(), seen, binary_predictions(), said, scheme=BINARY, threshold=0.7, run_id="run1"
    )
    assert table["not_assessed_reason"].tolist()[3] == "not_a_building"
    assert table["not_assessed_detail"].tolist()[3] is None


def test_every_footprint_is_there_once_in_its_order_with_its_own_numbers() -> None:
    table = binary()
    assert table["building_id"].tolist() == IDS
    assert table["p_damaged"].tolist()[:3] == pytest.approx([0.1, 0.8, 0.6])
    assert table["footprint_source_id"].tolist() == ["A", "B", "C", "D"]
    assert table["post_image_id"].tolist() == ["post1", "post1", "post2", None]
    assert table["shift_y_m"].tolist()[:3] == [0.0, 0.0, 2.0]
    assert table.geometry.iloc[2].bounds[0] == 0.002


def test_order_of_index_and_predictions_does_not_matter() -> None:
    shuffled = assessed_footprints(
        footprints(),
        index().iloc[[2, 0, 3, 1]],
        binary_predictions().iloc[::-1],
        labels(),
        scheme=BINARY,
        threshold=0.7,
        run_id="run1",
    )
    pd.testing.assert_frame_equal(pd.DataFrame(shuffled), pd.DataFrame(binary().reset_index(drop=True)))


def test_binary_model_gives_class_and_verdict_but_no_level() -> None:
    table = binary()
    assert table["damage_class"].tolist() == ["intact", "damaged", "intact", None]
    assert table["damaged"].tolist()[:3] == [False, True, False]
    assert table["damage_level"].isna().all()
    assert table["label_source"].tolist() == ["model", "model", "model", None]
    assert table["threshold"].tolist() == [0.7] * 4
    assert table["run_id"].tolist() == ["run1"] * 4


def test_building_that_is_not_assessed_keeps_its_reason_and_has_no_result() -> None:
    row = binary().loc["d"]
    assert not row["assessed"]
    assert row["not_assessed_reason"] == "no_post"
    assert row["damage_class"] is None
    assert row[["damaged", "damage_level", "p_damaged", "p_intact", "uncertainty"]].isna().all()


def test_grade_of_an_analyst_overrides_the_result_but_not_the_probabilities() -> None:
    row = binary(labels(a="destroyed")).loc["a"]
    assert (row["damage_class"], row["damaged"], row["analyst_class"]) == ("damaged", True, "destroyed")
    assert (row["model_class"], row["model_damaged"]) == ("intact", False)
    assert pd.isna(row["damage_level"])  # of a scheme without grades
    assert row["p_damaged"] == pytest.approx(0.1)
    assert (row["label_source"], row["labeller"], row["edited"]) == ("analyst", "ana", True)
    assert row["label_time"] == "2025-01-31T12:00:00.000Z"
    assert row["comment"] is None


def test_minor_damage_is_not_damaged_where_damaged_means_major() -> None:
    row = binary(labels(b="minor-damage")).loc["b"]
    assert (row["damage_class"], row["damaged"], row["edited"]) == ("intact", False, True)
    assert (row["analyst_class"], row["model_class"]) == ("minor-damage", "damaged")


def test_analyst_who_agrees_with_the_model_edits_nothing() -> None:
    row = binary(labels(b="destroyed")).loc["b"]
    assert (row["label_source"], row["edited"]) == ("analyst", False)


def test_binary_verdict_of_an_analyst_has_no_level() -> None:
    row = binary(labels(c="damaged")).loc["c"]
    assert (row["damage_class"], row["damaged"]) == ("damaged", True)
    assert pd.isna(row["damage_level"])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("unclear", "unclear"),
        ("bad-imagery", "bad_imagery"),
        ("offset", "misaligned"),
        ("not-a-building", "not_a_building"),
    ],
)
def test_other_answer_takes_the_building_off_the_assessment(answer: str, reason: str) -> None:
    row = binary(labels(b=answer)).loc["b"]
    assert not row["assessed"]
    assert row["not_assessed_reason"] == reason
    assert row["damage_class"] is None and pd.isna(row["damaged"])
    assert (row["analyst_class"], row["model_class"], row["model_damaged"]) == (answer, "damaged", True)
    assert row["p_damaged"] == pytest.approx(0.8)
    assert (row["label_source"], row["edited"], row["ems_damage_gra"]) == ("analyst", True, "Not applicable")


def test_grade_of_an_analyst_makes_a_building_assessed_that_the_model_could_not_see() -> None:
    row = binary(labels(d="major-damage")).loc["d"]
    assert row["assessed"]
    assert row["not_assessed_reason"] is None
    assert (row["damage_class"], row["damaged"], row["edited"]) == ("damaged", True, False)
    assert pd.isna(row["p_damaged"]) and row["model_class"] is None and pd.isna(row["model_damaged"])


def test_unclassified_is_no_answer() -> None:
    row = binary(labels(b="un-classified")).loc["b"]
    assert (row["damage_class"], row["label_source"], row["edited"]) == ("damaged", "model", False)
    assert row["analyst_class"] is None


def graded(said: pd.DataFrame) -> pd.DataFrame:
    probabilities = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4], [0.4, 0.0, 0.35, 0.25]])
    predicted = prediction_table(np.array(["a", "b", "c"]), probabilities, GRADES)
    return assessed_footprints(
        footprints(), index(), predicted, said, scheme=GRADES, threshold=0.5, run_id="run1"
    ).set_index("building_id", drop=False)


def test_graded_model_gives_levels_and_one_probability_a_grade() -> None:
    table = graded(labels(a="minor-damage"))
    assert table["damage_class"].tolist() == ["minor-damage", "destroyed", "major-damage", None]
    assert table["damage_level"].tolist()[:3] == [1, 3, 2]
    assert table["damaged"].tolist()[:3] == [False, True, True]
    assert table["p_minor_damage"].tolist()[:3] == pytest.approx([0.1, 0.2, 0.0])
    assert table["p_damaged"].tolist()[:3] == pytest.approx([0.2, 0.7, 0.6])


def test_verdict_under_four_grades_says_damaged_and_no_grade() -> None:
    table = graded(labels(a="damaged", b="intact"))
    for building, damaged in (("a", True), ("b", False)):
        row = table.loc[building]
        assert row["assessed"] and bool(row["damaged"]) is damaged and row["damage_class"] is None
        assert pd.isna(row["damage_level"]) and pd.isna(row["unosat_class"])
        assert row["ems_damage_gra"] is None and row["fema_class"] is None
    assert table["analyst_class"].tolist() == ["damaged", "intact", None, None]
    assert table["model_class"].tolist() == ["no-damage", "destroyed", "major-damage", None]


@pytest.mark.parametrize("scheme", [BINARY, MINOR, GRADES], ids=lambda scheme: str(scheme.name))
@pytest.mark.parametrize("answer", [None, *(grade.label for grade in DamageGrade), "intact", "damaged"])
def test_damage_class_is_of_the_products_scheme_whoever_said_it(scheme: ClassScheme, answer: str | None) -> None:
    said = labels() if answer is None else labels(a=answer, d=answer)
    probabilities = np.eye(len(scheme))[[0, len(scheme) - 1, 0]]
    predicted = prediction_table(np.array(["a", "b", "c"]), probabilities, scheme)
    table = assessed_footprints(footprints(), index(), predicted, said, scheme=scheme, threshold=0.5, run_id="run1")
    assert set(table["damage_class"].dropna()) <= set(scheme.class_names)
    assert set(table["model_class"].dropna()) <= set(scheme.class_names)
    assert table["damage_level"].notna().any() == scheme.has_grades


def untrained(said: pd.DataFrame, scheme: ClassScheme = BINARY) -> pd.DataFrame:
    table = assessed_footprints(footprints(), index(), None, said, scheme=scheme, threshold=None, run_id=None)
    return table.set_index("building_id", drop=False)


def test_before_training_the_same_rows_come_without_probabilities() -> None:
    table = untrained(labels())
    assert table["building_id"].tolist() == IDS
    assert table["assessed"].tolist() == [True, True, True, False]
    assert table["not_assessed_reason"].tolist() == [None, None, None, "no_post"]
    empty = [
        "damage_class",
        "damaged",
        "damage_level",
        "p_damaged",
        "uncertainty",
        "model_class",
        "model_damaged",
        "run_id",
        "threshold",
        "label_source",
    ]
    assert table[empty].isna().all().all()
    assert set(STANDARD_FIELDS) <= set(table.columns)


def test_before_training_answers_are_classed_by_the_events_definition() -> None:
    said = labels(a="no-damage", b="minor-damage", c="major-damage")
    for scheme, classes, damaged in (
        (BINARY, ["intact", "intact", "damaged"], [False, False, True]),
        (MINOR, ["intact", "damaged", "damaged"], [False, True, True]),
        (GRADES, ["no-damage", "minor-damage", "major-damage"], [False, False, True]),
    ):
        table = untrained(said, scheme)
        assert table["damage_class"].tolist() == [*classes, None]
        assert table["damaged"].tolist()[:3] == damaged
        assert table["analyst_class"].tolist() == ["no-damage", "minor-damage", "major-damage", None]
        assert not table["edited"].any()


def test_plus_code_is_that_of_the_published_test_case() -> None:
    # Open Location Code test data, encoding.csv: 20.3700625,2.7821875 → 7FG49QCJ+2V (10 digits); one digit more here.
    code = binary().loc["d", "plus_code"]
    assert code.startswith("7FG49QCJ+2V")
    assert len(code.replace("+", "")) == 11


def test_duplicated_footprint_is_an_error() -> None:
    twice = pd.concat([footprints(), footprints(["b"])])
    with pytest.raises(InputError, match="footprints: building 'b' is there more than once"):
        assessed_footprints(twice, index(), None, labels(), scheme=BINARY, threshold=None, run_id=None)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"index": index().iloc[:3]}, "footprints: building 'd' has no row in the patch index"),
        (
            {"footprints": footprints(["a", "b"])},
            r"patch index: building 'c' \(and 1 more\) is not among the footprints",
        ),
        ({"predictions": binary_predictions().iloc[:2]}, "predictions: building 'b' is assessed but was not predicted"),
        (
            {"predictions": prediction_table(np.array(IDS), np.full((4, 2), 0.5), BINARY)},
            "predictions: building 'd' was predicted but is not assessed",
        ),
        ({"labels": labels(x="intact")}, "labels: building 'x' is not among the footprints"),
    ],
)
def test_tables_that_do_not_belong_together_are_refused(change: dict[str, pd.DataFrame], problem: str) -> None:
    given = {"footprints": footprints(), "index": index(), "predictions": binary_predictions(), "labels": labels()}
    given |= change
    with pytest.raises(WorkspaceError, match=problem):
        assessed_footprints(*given.values(), scheme=BINARY, threshold=0.5, run_id="run1")


def test_numeric_building_ids_join_as_text() -> None:
    table = assessed_footprints(
        footprints().assign(building_id=[1, 2, 3, 4]),
        index().assign(building_id=["1", "2", "3", "4"]),
        None,
        labels(**{"2": "intact"}),
        scheme=BINARY,
        threshold=None,
        run_id=None,
    )
    assert table["damage_class"].tolist() == [None, "intact", None, None]
