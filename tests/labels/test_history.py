"""Reverts add rows; what they put back is what was there."""

from pathlib import Path

import pytest

from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError
from damage_ssl.labels.history import before_last, put_back_from, revert
from damage_ssl.labels.label_log import LabelStore, NewLabel


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    store = LabelStore(tmp_path / "labels.sqlite")
    store.add("a", LabelValue.INTACT, labeller="ana", drawn="random", inclusion_probability=0.25)
    store.add("a", LabelValue.DESTROYED, labeller="ben", drawn="second", inclusion_probability=None)
    return store


def now(store: LabelStore) -> tuple[str, str, str] | None:
    rows = store.current()
    return None if rows.empty else tuple(rows[["value", "labeller", "drawn"]].iloc[0])


def test_word_of_another_is_put_back_as_a_revert_and_the_log_keeps_all(store: LabelStore) -> None:
    revert(store, "a", 0, "ben")
    assert now(store) == ("intact", "ben", "revert")
    history = store.history("a")
    assert history["value"].tolist() == ["intact", "destroyed", "intact"]
    assert history["comment"].iloc[2] == f"put back: ana, {history['time'].iloc[0]}"


def test_own_word_is_given_again_as_it_was_drawn(store: LabelStore) -> None:
    revert(store, "a", 0, "ana")
    row = store.current().iloc[0]
    assert (row["value"], row["drawn"], row["inclusion_probability"]) == ("intact", "random", 0.25)


def test_revert_is_undone_by_putting_back_what_it_replaced(store: LabelStore) -> None:
    revert(store, "a", 0, "ben")
    revert(store, "a", 1, "ben")
    assert now(store) == ("destroyed", "ben", "second")
    assert len(store.history("a")) == 4


def test_time_before_the_first_label_is_no_label(store: LabelStore) -> None:
    revert(store, "a", -1, "ana")
    assert now(store) is None
    revert(store, "a", 1, "ana")
    assert now(store) == ("destroyed", "ana", "revert")


def test_withdrawal_is_a_state_that_can_be_put_back(store: LabelStore) -> None:
    store.clear("a", "ana")
    store.add("a", LabelValue.OFFSET, labeller="ana", drawn="map", inclusion_probability=None)
    revert(store, "a", 2, "ana")
    assert now(store) is None


@pytest.mark.parametrize("to", [-2, 1, 2])
def test_only_an_earlier_state_can_be_put_back(store: LabelStore, to: int) -> None:
    with pytest.raises(InputError, match="the rows 0 to 1"):
        revert(store, "a", to, "ana")
    assert len(store.history("a")) == 2


def test_undoing_twice_goes_back_two_answers(tmp_path: Path) -> None:
    store = LabelStore(tmp_path / "labels.sqlite")
    times = ["2031-01-01T10:00:00Z", "2031-01-01T10:00:01Z"]
    for value, time in zip((LabelValue.INTACT, LabelValue.DESTROYED), times, strict=True):
        store.add_many([NewLabel(building_id="b", value=value, labeller="ana", drawn="map", time=time)])
    revert(store, "b", before_last(store.history("b")), "ana")
    assert now(store) == ("intact", "ana", "map")
    assert before_last(store.history("b")) == -1
    revert(store, "b", -1, "ana")
    assert now(store) is None


def test_comment_of_a_row_put_back_names_whose_it_was(store: LabelStore) -> None:
    revert(store, "a", 0, "ben")
    assert put_back_from(store.history("a")["comment"].iloc[-1]) == "ana"
    assert put_back_from("put back: the roof tiles, later") is None
