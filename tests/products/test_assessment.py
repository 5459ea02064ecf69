"""What an answer overrides, of one building and of all at once: every combination, held together."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from damage_ssl.damage_scale import REASON_OF_ANSWER, SCHEMES, ClassScheme, LabelValue
from damage_ssl.products.assessment import ModelSays, assess, building_result
from damage_ssl.products.map_style import CLASSES, LABELS, MODES

NO_PAIR = (False, "no_post", None)
ANSWERS = (None, *(value.value for value in LabelValue))


def situations(scheme: ClassScheme) -> list[tuple[bool, str | None, str | None, str | None]]:
    """Every (has a pair, why not, model's class, answer) there can be."""
    classes = (None, *scheme.class_names)
    pairs = [NO_PAIR, *((True, None, name) for name in classes)]
    return [(*pair, answer) for pair, answer in product(pairs, ANSWERS)]


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=[*SCHEMES])
def test_all_buildings_at_once_stand_as_each_does_alone(scheme: ClassScheme) -> None:
    cases = situations(scheme)
    ids = np.array([f"b{place}" for place in range(len(cases))])
    says = ModelSays(
        p=np.full(len(cases), np.nan),
        model_class=np.array([-1 if name is None else CLASSES.index(name) for _, _, name, _ in cases], dtype=np.int8),
        unlabelled={mode: np.zeros(len(cases), dtype=np.uint8) for mode in MODES},
    )
    labels = pd.DataFrame(
        [(each, case[3]) for each, case in zip(ids, cases, strict=True) if case[3]], columns=["building_id", "value"]
    )
    place = {each: row for row, each in enumerate(ids.tolist())}
    pair = np.array([case[0] for case in cases])
    standing = assess(place, pair, says, labels.iloc[::-1], scheme=scheme, revision=0, stamp="")
    table = standing.table(ids, np.array([case[1] for case in cases], dtype=object))
    alone = [building_result(name, pair, why, answer, scheme) for pair, why, name, answer in cases]
    assert table["damage_class"].tolist() == [result.damage_class for result in alone]
    assert table["assessed"].tolist() == [result.assessed for result in alone]
    assert table["not_assessed_reason"].tolist() == [result.reason for result in alone]
    assert [None if pd.isna(each) else bool(each) for each in table["damaged"]] == [each.damaged for each in alone]
    assert table["analyst_class"].tolist() == [result.answer for result in alone]
    assert standing.damaged == sum(result.damaged is True for result in alone)


@pytest.mark.parametrize("pair", [True, False])
def test_grade_or_verdict_makes_a_building_assessed_and_another_answer_takes_it_off(pair: bool) -> None:
    for answer in map(LabelValue, LABELS):
        found = building_result(None, pair, None if pair else "edge", answer.value, SCHEMES["grades"])
        graded = answer.grade is not None or answer in (LabelValue.INTACT, LabelValue.DAMAGED)
        assert found.assessed is graded
        assert found.damage_class == (answer.value if answer.grade is not None else None)
        assert found.answer == answer.value
        assert found.reason == (None if graded else REASON_OF_ANSWER[answer])


def test_answer_is_an_edit_where_it_is_another_class_than_the_models() -> None:
    scheme = SCHEMES["binary-major"]
    edited = {
        answer: building_result("damaged", True, None, answer, scheme).edited
        for answer in ("destroyed", "damaged", "minor-damage", "intact", "unclear", "un-classified")
    }
    assert edited == {
        "destroyed": False,
        "damaged": False,
        "minor-damage": True,
        "intact": True,
        "unclear": True,
        "un-classified": False,
    }


def test_verdicts_of_a_model_are_unknown_where_it_says_nothing() -> None:
    said = np.array([CLASSES.index("damaged"), CLASSES.index("intact"), -1], dtype=np.int8)
    says = ModelSays(np.full(3, np.nan), said, {})
    assert says.verdicts(SCHEMES["binary-minor"]).tolist() == [1, 0, -1]
