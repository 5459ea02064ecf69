"""Words of other agencies' scales: only where they are known."""

import numpy as np
import pandas as pd

from damage_ssl.damage_scale import ClassScheme
from damage_ssl.products.table import assessed_footprints
from damage_ssl.runs.predictions import prediction_table
from tests.products.test_table import BINARY, GRADES, MINOR, binary, footprints, index, labels


def words(scheme: ClassScheme, **said: str) -> list[tuple[str | None, int | None, str | None]]:
    p = np.zeros((3, len(scheme)))
    p[:, 0], p[1, :2] = 1, (0, 1)  # b has the second class, a and c the first
    predicted = prediction_table(np.array(["a", "b", "c"]), p, scheme)
    table = assessed_footprints(
        footprints(), index(), predicted, labels(**said), scheme=scheme, threshold=0.5, run_id="run1"
    )
    columns = table[["ems_damage_gra", "unosat_class", "fema_class"]].astype(object)
    return [tuple(row) for row in columns.where(columns.notna(), None).to_numpy().tolist()[:3]]


def test_crosswalk_has_a_word_only_where_every_grade_of_the_class_has_the_same() -> None:
    unknown, none = (None, None, None), ("No visible damage", 6, "No Damage")
    assert words(BINARY) == [unknown] * 3  # intact may be minor damage, damaged may be destroyed
    assert words(MINOR) == [none, unknown, none]
    assert words(GRADES) == [none, ("Possibly damaged", 3, "Minor"), none]


def test_crosswalk_follows_the_analysts_grade_where_there_is_one() -> None:
    given = words(BINARY, a="destroyed", b="major-damage", c="minor-damage")
    assert given == [("Destroyed", 1, "Destroyed"), ("Damaged", 2, "Major"), ("Possibly damaged", 3, "Minor")]
    assert words(BINARY, a="intact", b="damaged", c="no-damage") == [
        (None, None, None),
        (None, None, None),
        ("No visible damage", 6, "No Damage"),
    ]
    assert words(MINOR, a="intact")[0] == ("No visible damage", 6, "No Damage")


def test_building_that_is_not_assessed_has_no_word_of_another_scale() -> None:
    row = binary().loc["d"]
    assert row["ems_damage_gra"] == "Not applicable"
    assert pd.isna(row["unosat_class"]) and row["fema_class"] is None
