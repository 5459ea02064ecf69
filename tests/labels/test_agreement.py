from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from damage_ssl.damage_scale import SCHEMES, LabelValue
from damage_ssl.labels.agreement import agreement, disagreements, fleiss_kappa
from damage_ssl.labels.label_log import LabelStore
from damage_ssl.labels.schema import ADJUDICATION

FLEISS_1971 = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)
"""Ten subjects, fourteen raters: the worked example found in textbooks, whose kappa is 0.210."""


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return LabelStore(tmp_path / "labels.sqlite")


def say(store: LabelStore, labeller: str, drawn: str = "map", **answers: str) -> None:
    for building, value in answers.items():
        store.add(building, LabelValue(value), labeller=labeller, drawn=drawn, inclusion_probability=None)


def test_fleiss_kappa_of_the_textbook_example() -> None:
    assert fleiss_kappa(FLEISS_1971) == pytest.approx(0.210, abs=5e-4)


def test_kappa_is_one_for_full_agreement_and_undefined_for_one_answer_only() -> None:
    assert fleiss_kappa(np.array([[2, 0], [0, 3], [2, 0]])) == pytest.approx(1.0)
    assert fleiss_kappa(np.array([[2], [3]])) is None
    assert fleiss_kappa(np.array([[2, 0]])) is None


def test_two_analysts_by_hand(store: LabelStore) -> None:
    """Agree on 3 of 4; by chance 0.5 · 0.25 + 0.5 · 0.75 = 0.5, so kappa = (0.75 - 0.5) / 0.5 = 0.5."""
    say(store, "ana", a="intact", b="intact", c="damaged", d="damaged", alone="damaged")
    say(store, "ben", a="intact", b="damaged", c="damaged", d="damaged")
    found = agreement(store.answers())
    assert (found.buildings, found.agreed) == (4, 0.75)
    (pair,) = found.pairs
    assert (pair.first, pair.second, pair.buildings, pair.agreed) == ("ana", "ben", 4, 0.75)
    assert pair.kappa == pytest.approx(0.5)


def test_only_the_latest_answer_of_each_analyst_counts(store: LabelStore) -> None:
    say(store, "ana", a="intact", b="intact")
    say(store, "ben", a="damaged", b="damaged")
    say(store, "ben", a="intact")
    store.clear("b", "ben")
    found = agreement(store.answers())
    assert (found.buildings, found.agreed, found.kappa) == (1, 1.0, None)
    assert disagreements(store.answers()).empty


def test_classes_of_a_scheme_forgive_what_it_does_not_tell_apart(store: LabelStore) -> None:
    say(store, "ana", a="major-damage", b="no-damage", c="unclear")
    say(store, "ben", a="destroyed", b="no-damage", c="intact")
    assert agreement(store.answers()).agreed == pytest.approx(1 / 3)
    binary = agreement(store.answers(), SCHEMES["binary-major"])
    assert (binary.buildings, binary.agreed, binary.kappa) == (2, 1.0, 1.0)


def test_nobody_to_compare_with_is_no_agreement_and_no_error(store: LabelStore) -> None:
    assert agreement(store.answers()).agreed is None
    say(store, "ana", a="intact")
    found = agreement(store.answers())
    assert (found.buildings, found.agreed, found.kappa, found.pairs) == (0, None, None, ())


def test_divided_buildings_wait_until_somebody_decides(store: LabelStore) -> None:
    say(store, "ana", a="intact", b="destroyed", c="minor-damage")
    say(store, "ben", a="intact", b="no-damage", c="major-damage")
    say(store, "eva", b="major-damage")
    waiting = disagreements(store.answers())
    assert waiting["building_id"].tolist() == ["b", "c"]
    assert waiting["answers"].tolist()[1] == "ana: minor-damage; ben: major-damage"
    assert waiting["distinct"].tolist() == [3, 2]
    say(store, "kim", ADJUDICATION, b="major-damage")
    assert disagreements(store.answers())["building_id"].tolist() == ["c"]
    assert store.current().set_index("building_id").loc["b", "value"] == "major-damage"
    say(store, "ben", b="no-damage")
    assert disagreements(store.answers())["building_id"].tolist() == ["b", "c"]


def test_the_word_of_the_adjudicator_is_not_counted_as_agreement(store: LabelStore) -> None:
    say(store, "ana", a="intact", b="damaged")
    say(store, "ben", a="damaged", b="damaged")
    say(store, "kim", ADJUDICATION, a="intact", b="damaged")
    assert agreement(store.answers()).agreed == 0.5


def test_answers_is_a_table_also_when_empty(store: LabelStore) -> None:
    assert isinstance(store.answers(), pd.DataFrame)
    assert disagreements(store.answers()).columns.tolist() == ["building_id", "answers", "distinct"]
