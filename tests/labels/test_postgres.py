"""The label log on a real PostgreSQL server, and ten writers at once on both databases."""

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError, StorageError
from damage_ssl.labels.label_log import LabelStore, NewLabel
from tests.campaigns import campaign

Open = Callable[[], LabelStore]


@pytest.fixture
def event() -> str:
    """A name that must be quoted, and that no other test uses."""
    return f"Flood-{uuid.uuid4().hex[:8]}.2026"


@pytest.fixture
def store(postgres_server: str, event: str) -> Iterator[LabelStore]:
    opened = LabelStore(postgres_server, event=event)
    yield opened
    opened.close()


def say(store: LabelStore, building: str, value: LabelValue, labeller: str = "ana") -> None:
    store.add(building, value, labeller=labeller, drawn="map", inclusion_probability=None)


def test_log_keeps_history_current_label_counts_and_revision(store: LabelStore) -> None:
    assert store.revision() == 0
    say(store, "a", LabelValue.NO_DAMAGE)
    say(store, "b", LabelValue.UNCLEAR)
    say(store, "a", LabelValue.DESTROYED, "ben")
    store.clear("b", "ana")
    assert store.current().set_index("building_id")["value"].to_dict() == {"a": "destroyed"}
    assert store.counts() == {LabelValue.DESTROYED: 1}
    assert store.history("b")["value"].tolist() == ["unclear", "withdrawn"]
    assert store.revision() == 4


@pytest.mark.parametrize("statement", ["UPDATE label_log SET value = 'destroyed'", "DELETE FROM label_log"])
def test_rows_can_be_neither_changed_nor_deleted(store: LabelStore, statement: str) -> None:
    say(store, "a", LabelValue.INTACT)
    with pytest.raises(StorageError, match="append-only"), store._transaction() as connection:
        connection.execute(text(statement))
    assert store.current()["value"].tolist() == ["intact"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_log_of_an_older_version_gets_its_new_columns_without_loss(
    kind: str, postgres_server: str, event: str, tmp_path: Path
) -> None:
    def opened() -> LabelStore:
        return LabelStore(postgres_server, event=event) if kind == "postgresql" else LabelStore(tmp_path / "old.sqlite")

    store = opened()
    store.add("a", LabelValue.INTACT, labeller="ana", drawn="random", inclusion_probability=0.25, comment="roof")
    with store._transaction() as connection:
        for column in ("stratum", "cluster_id", "cluster_probability"):
            connection.execute(text(f"ALTER TABLE label_log DROP COLUMN {column}"))
    store.close()
    again = opened()
    again.add_many([NewLabel(building_id="b", value=LabelValue.DAMAGED, labeller="ana", drawn="tile", cluster_id="t1")])
    rows = again.log()
    assert rows[["value", "inclusion_probability", "comment"]].iloc[0].tolist() == ["intact", 0.25, "roof"]
    assert rows["cluster_id"].tolist() == ["", "t1"]
    assert rows["cluster_probability"].isna().all()
    again.close()


def test_csv_with_a_wrong_row_adds_nothing_and_a_right_one_all(store: LabelStore, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("building_id,grade\na,destroyed\nb,ruined\n")
    with pytest.raises(InputError, match="row 3: grade 'ruined'"):
        store.import_csv(path, known_ids={"a", "b"}, labeller="ana")
    assert store.revision() == 0
    path.write_text("building_id,grade\na,destroyed\nb,no-damage\n")
    assert store.import_csv(path, known_ids={"a", "b"}, labeller="ana").added == 2
    assert store.import_csv(path, known_ids={"a", "b"}, labeller="ana").unchanged == 2


def test_two_events_in_one_database_do_not_see_each_other(postgres_server: str, store: LabelStore, event: str) -> None:
    other = LabelStore(postgres_server, event=event + "-b")
    say(store, "a", LabelValue.INTACT)
    assert other.revision() == 0
    say(other, "z", LabelValue.DESTROYED)
    assert store.current()["building_id"].tolist() == ["a"]
    other.close()


WRITER = """
import sys
from damage_ssl.damage_scale import LabelValue
from damage_ssl.labels.label_log import LabelStore, NewLabel
from tests.campaigns import campaign

where, event, analyst, labels = sys.argv[1:]
store = LabelStore(where, event=event)
for number in range(int(labels)):
    store.add(f"{analyst}-{number}", LabelValue.DESTROYED, labeller=analyst, drawn="map", inclusion_probability=None)
    revision = store.revision()
    assert revision >= number + 1
"""


@campaign(200, 1000)
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_ten_analysts_with_hundreds_of_labels_each_lose_none(
    backend: str, rounds: int, tmp_path: Path, event: str, request: pytest.FixtureRequest
) -> None:
    """Ten processes open the store for the first time and write at once."""
    where = str(tmp_path / "labels.sqlite") if backend == "sqlite" else request.getfixturevalue("postgres_server")
    analysts = [f"analyst{number}" for number in range(10)]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, where, event, analyst, str(rounds)], stderr=subprocess.PIPE)
        for analyst in analysts
    ]
    failures = [error.decode() for writer in writers if (error := writer.communicate()[1])]
    assert failures == []
    store = LabelStore(where, event=event)
    current = store.current()
    assert store.revision() == 10 * rounds
    assert len(current) == 10 * rounds
    assert set(current["building_id"]) == {f"{analyst}-{number}" for analyst in analysts for number in range(rounds)}
    assert current["labeller"].value_counts().to_dict() == dict.fromkeys(analysts, rounds)
    store.close()


def test_revision_never_hides_a_row_that_is_committed_late(store: LabelStore, postgres_server: str, event: str) -> None:
    """A writer that holds its transaction open keeps later ones waiting, so a higher id never shows up before it."""
    from concurrent.futures import ThreadPoolExecutor
    from concurrent.futures import TimeoutError as StillWaiting

    second = LabelStore(postgres_server, event=event)
    with ThreadPoolExecutor(1) as pool:
        with store._transaction():
            late = pool.submit(say, second, "b", LabelValue.INTACT)
            with pytest.raises(StillWaiting):
                late.result(timeout=0.5)
        late.result(timeout=10)
    assert store.revision() == 1
    second.close()


def test_server_that_is_not_there_is_a_storage_error_without_the_password() -> None:
    with pytest.raises(StorageError) as caught:
        LabelStore("postgresql://ana:s3cret@127.0.0.1:9/none?connect_timeout=2", event="x")
    assert "s3cret" not in str(caught.value)
    assert "cannot be read or written" in str(caught.value)


def test_url_of_another_database_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(InputError, match="give a postgresql"):
        LabelStore("mysql://ana@127.0.0.1/x")
    with pytest.raises(InputError, match="write postgresql://user@host/database"):
        LabelStore("://")
