"""Whose own word counts: decisions, reverts and withdrawals in the log."""

from pathlib import Path

import pytest

from damage_ssl.damage_scale import LabelValue
from damage_ssl.labels.agreement import agreement, confusion, disputed, independent_answers
from damage_ssl.labels.label_log import LabelStore
from damage_ssl.labels.schema import ADJUDICATION, REVERT


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return LabelStore(tmp_path / "labels.sqlite")


def say(store: LabelStore, labeller: str, drawn: str = "map", **answers: str) -> None:
    for building, value in answers.items():
        store.add(building, LabelValue(value), labeller=labeller, drawn=drawn, inclusion_probability=None)


def test_deciding_a_dispute_does_not_take_it_out_of_kappa(store: LabelStore) -> None:
    say(store, "ana", a="intact", b="damaged")
    say(store, "ben", a="damaged", b="damaged")
    say(store, "ana", ADJUDICATION, a="damaged")
    assert agreement(independent_answers(store.log())).agreed == 0.5
    assert disputed(store.log()).empty


def test_dispute_waits_again_when_the_decision_is_taken_back(store: LabelStore) -> None:
    say(store, "ana", a="intact")
    say(store, "ben", a="damaged")
    assert disputed(store.log())["answers"].tolist() == ["ana: intact; ben: damaged"]
    say(store, "ana", ADJUDICATION, a="damaged")
    assert disputed(store.log()).empty
    store.clear("a", "kim")
    assert disputed(store.log())["building_id"].tolist() == ["a"]


def test_putting_back_the_word_of_another_is_no_word_of_ones_own(store: LabelStore) -> None:
    say(store, "ana", a="intact")
    say(store, "ben", a="damaged")
    say(store, "ben", REVERT, a="intact")
    assert independent_answers(store.log())["labeller"].tolist() == ["ana"]


def test_withdrawn_word_does_not_count(store: LabelStore) -> None:
    say(store, "ana", a="intact")
    store.clear("a", "ana")
    assert independent_answers(store.log()).empty
    assert disputed(store.log()).empty


def test_confusion_counts_pairs_of_answers_in_the_order_of_severity(store: LabelStore) -> None:
    say(store, "ana", a="no-damage", b="no-damage", c="destroyed", d="destroyed", alone="offset")
    say(store, "ben", a="no-damage", b="destroyed", c="destroyed", d="minor-damage")
    table = confusion(independent_answers(store.log()), "ana", "ben")
    assert table.answers == ("no-damage", "minor-damage", "destroyed")
    assert table.counts == ((1, 0, 1), (0, 0, 0), (0, 1, 1))
