"""An answer that is sent again is not written twice, in SQLite and in PostgreSQL, and in logs of an older version."""

import sqlite3
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from damage_ssl.damage_scale import LabelValue
from damage_ssl.labels.history import comment_on_own, repeats_own, revert, undo_last
from damage_ssl.labels.label_log import LabelStore, NewLabel
from damage_ssl.labels.schema import LOG


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LabelStore]:
    sqlite = request.param == "sqlite"
    where = str(tmp_path / "labels.sqlite") if sqlite else request.getfixturevalue("postgres_server")
    opened = LabelStore(where, event=f"ids-{uuid.uuid4().hex[:8]}")
    yield opened
    opened.close()


def answer(building: str = "w1", value: LabelValue = LabelValue.DESTROYED, drawn: str = "map") -> NewLabel:
    return NewLabel(building_id=building, value=value, labeller="ana", drawn=drawn)


def test_an_answer_that_comes_again_is_not_written_again(store: LabelStore) -> None:
    assert not store.knows("first-answer") and not store.knows(None)
    for _ in range(3):
        store.add_many([answer("w1"), answer("w2")], answer_id="first-answer")
    store.add_many([answer("w1", LabelValue.NO_DAMAGE)], answer_id="second-answer")
    store.add_many([answer("w2"), answer("w1", LabelValue.DESTROYED)], answer_id="first-answer")
    assert store.log()["value"].tolist() == ["destroyed", "destroyed", "no-damage"]
    assert store.knows("first-answer")


def test_eight_that_send_the_same_answers_at_once_write_each_once(store: LabelStore) -> None:
    def send(_: int) -> None:
        for number in range(5):
            store.add_many([answer(f"w{number}")], answer_id=f"answer-{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8)))
    assert sorted(store.log()["building_id"]) == [f"w{number}" for number in range(5)]


def test_taking_back_putting_back_and_commenting_count_once_too(store: LabelStore) -> None:
    store.add_many([answer()], answer_id="given-once")
    for _ in range(2):
        comment_on_own(store, "w1", "ana", "roof gone", answer_id="comment-once")
    for _ in range(2):
        if not store.knows("undo-once"):
            undo_last(store, ["w1"], "ana", answer_id="undo-once")
    revert(store, "w1", 0, "ana", answer_id="back-once")
    assert store.log()["comment"].str.slice(0, 8).tolist() == ["", "roof gon", "put back", "put back"]


def test_the_same_words_again_are_known_as_such_and_another_reason_for_asking_is_not(store: LabelStore) -> None:
    assert not repeats_own(store, answer())
    store.add_many([answer()])
    assert repeats_own(store, answer())
    assert not repeats_own(store, answer(drawn="audit"))
    assert not repeats_own(store, answer(value=LabelValue.MAJOR_DAMAGE))
    store.clear("w1", "ana")
    assert not repeats_own(store, answer())


def test_a_log_of_an_older_version_learns_to_know_answers(tmp_path: Path) -> None:
    path = tmp_path / "labels.sqlite"
    store = LabelStore(path)
    store.add_many([answer("w0")])
    with sqlite3.connect(path) as old:
        old.execute("DROP INDEX label_log_answer")
        old.execute("ALTER TABLE label_log DROP COLUMN answer_id")
    store = LabelStore(path)
    for _ in range(2):
        store.add_many([answer("w1")], answer_id="sent-twice")
    assert store.log()["building_id"].tolist() == ["w0", "w1"]


def test_the_database_itself_refuses_a_second_row_of_an_answer_on_a_building(store: LabelStore) -> None:
    store.add_many([answer()], answer_id="only-once")
    text = dict.fromkeys(("value", "labeller", "time", "drawn", "comment"), "x")
    with pytest.raises(IntegrityError), store._engine.begin() as connection:
        connection.execute(LOG.insert(), {**text, "building_id": "w1", "answer_id": "only-once"})
