import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError, StorageError
from damage_ssl.labels.label_log import LabelStore, NewLabel, utc_iso
from damage_ssl.labels.schema import APPEND_ONLY, LABEL_COLUMNS, LOG


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return LabelStore(tmp_path / "labels.sqlite")


def say(store: LabelStore, building: str, value: LabelValue, labeller: str = "ana") -> None:
    store.add(building, value, labeller=labeller, drawn="map", inclusion_probability=None)


def test_empty_store_has_no_labels_and_revision_zero(store: LabelStore) -> None:
    assert store.current().empty
    assert list(store.current().columns) == list(LABEL_COLUMNS)
    assert store.counts() == {}
    assert store.revision() == 0


def test_latest_answer_wins_and_history_keeps_every_labeller(store: LabelStore) -> None:
    say(store, "a", LabelValue.NO_DAMAGE, "ana")
    say(store, "b", LabelValue.UNCLEAR, "ana")
    say(store, "a", LabelValue.DESTROYED, "ben")
    current = store.current().set_index("building_id")
    assert current["value"].to_dict() == {"a": "destroyed", "b": "unclear"}
    assert current.loc["a", "labeller"] == "ben"
    history = store.history("a")
    assert list(zip(history["value"], history["labeller"], strict=True)) == [("no-damage", "ana"), ("destroyed", "ben")]
    assert store.counts() == {LabelValue.DESTROYED: 1, LabelValue.UNCLEAR: 1}


def test_withdrawn_label_is_not_current_but_stays_in_the_history(store: LabelStore) -> None:
    say(store, "a", LabelValue.DESTROYED)
    store.clear("a", "ben")
    assert store.current().empty
    assert store.counts() == {}
    assert store.history("a")["value"].tolist() == ["destroyed", "withdrawn"]
    say(store, "a", LabelValue.MINOR_DAMAGE)
    assert store.current()["value"].tolist() == ["minor-damage"]


def test_revision_grows_with_every_row_also_a_withdrawal(store: LabelStore) -> None:
    revisions = [store.revision()]
    say(store, "a", LabelValue.INTACT)
    revisions.append(store.revision())
    store.clear("a", "ana")
    revisions.append(store.revision())
    assert revisions == [0, 1, 2]


def test_time_is_stored_in_utc(store: LabelStore) -> None:
    start = datetime.now(UTC)
    say(store, "a", LabelValue.INTACT)
    store.add_many(
        [
            NewLabel(
                building_id="b", value=LabelValue.INTACT, labeller="x", drawn="map", time="2025-01-31T14:00:00+02:00"
            )
        ]
    )
    times = store.current().set_index("building_id")["time"]
    assert times["b"] == "2025-01-31T12:00:00.000Z"
    assert abs((datetime.fromisoformat(times["a"]) - start).total_seconds()) < 5
    assert times["a"].endswith("Z")


def test_time_without_a_zone_is_taken_as_utc() -> None:
    assert utc_iso("2025-01-31") == "2025-01-31T00:00:00.000Z"
    with pytest.raises(InputError, match="time 'yesterday' is not ISO 8601"):
        utc_iso("yesterday")


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.01, float("inf")])
def test_impossible_inclusion_probability_is_refused(store: LabelStore, probability: float) -> None:
    with pytest.raises(InputError, match=r"building 'a': inclusion probability .* is not in \(0, 1\]"):
        store.add("a", LabelValue.INTACT, labeller="x", drawn="random", inclusion_probability=probability)
    assert store.revision() == 0


def test_inclusion_probability_comes_back_and_nan_means_not_drawn_at_random(store: LabelStore) -> None:
    store.add("a", LabelValue.INTACT, labeller="x", drawn="random", inclusion_probability=1.0)
    store.add("b", LabelValue.INTACT, labeller="x", drawn="spread", inclusion_probability=float("nan"))
    current = store.current().set_index("building_id")["inclusion_probability"]
    assert current["a"] == 1.0
    assert current.isna().to_dict() == {"a": False, "b": True}


@pytest.mark.parametrize("field", ["building_id", "labeller", "drawn"])
def test_empty_names_are_refused(field: str) -> None:
    values = {"building_id": "a", "labeller": "x", "drawn": "map", field: " "}
    with pytest.raises(InputError, match=f"{field} is empty"):
        NewLabel(value=LabelValue.INTACT, **values)


def test_one_bad_label_of_many_leaves_the_log_as_it_was(store: LabelStore) -> None:
    good = NewLabel(building_id="a", value=LabelValue.INTACT, labeller="x", drawn="map")
    bad = NewLabel(building_id="b", value=LabelValue.INTACT, labeller="x", drawn="map", time="never")
    with pytest.raises(InputError, match="time 'never'"):
        store.add_many([good, bad])
    assert store.revision() == 0


@pytest.mark.parametrize("statement", ["UPDATE label_log SET value = 'intact'", "DELETE FROM label_log"])
def test_log_refuses_to_be_changed_even_by_hand(store: LabelStore, tmp_path: Path, statement: str) -> None:
    say(store, "a", LabelValue.DESTROYED)
    connection = sqlite3.connect(tmp_path / "labels.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    assert store.current()["value"].tolist() == ["destroyed"]


def test_ten_threads_of_fifty_labels_lose_none(store: LabelStore) -> None:
    def label(thread: int) -> None:
        for number in range(50):
            say(store, f"b{number}", LabelValue.DESTROYED if thread % 2 else LabelValue.INTACT, f"t{thread}")

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(label, range(10)))
    assert store.revision() == 500
    assert len(store.current()) == 50
    assert sum(len(store.history(f"b{number}")) for number in range(50)) == 500


def test_processes_that_create_the_same_store_at_once_lose_none(tmp_path: Path) -> None:
    code = (
        "import sys; from damage_ssl.labels.label_log import LabelStore\n"
        "from damage_ssl.damage_scale import LabelValue\n"
        "store = LabelStore(sys.argv[1])\n"
        "for n in range(20):\n"
        "    store.add(f'{sys.argv[2]}-{n}', LabelValue.INTACT, labeller='p', drawn='map', inclusion_probability=None)"
    )
    path = tmp_path / "new" / "labels.sqlite"
    workers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(number)]) for number in range(3)]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0, 0]
    assert len(LabelStore(path).current()) == 60


def test_readers_see_whole_transactions_only(store: LabelStore) -> None:
    def write() -> None:
        for _ in range(20):
            store.add_many(
                NewLabel(building_id=f"b{n}", value=LabelValue.INTACT, labeller="x", drawn="map") for n in range(7)
            )

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(write)
        seen = []
        while not writing.done():
            seen.append(store.revision())
        writing.result()
    assert {revision % 7 for revision in seen} == {0}
    assert store.revision() == 140


def test_full_disk_is_a_storage_error_that_keeps_what_was_there(store: LabelStore) -> None:
    say(store, "a", LabelValue.INTACT)

    def no_more_pages(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count=1").close()

    event.listen(store._engine, "connect", no_more_pages)
    many = [
        NewLabel(building_id=f"b{n}", value=LabelValue.INTACT, labeller="x", drawn="map", comment="c" * 500)
        for n in range(100)
    ]
    with pytest.raises(StorageError, match=r"labels.sqlite: the disk is full"):
        store.add_many(many)
    assert store.current()["building_id"].tolist() == ["a"]


def test_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.sqlite"
    path.write_text("building_id,grade\n" * 200)
    with pytest.raises(InputError, match=r"labels.sqlite: is not a label store"):
        LabelStore(path)


def test_folder_in_place_of_the_store_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"{tmp_path}: cannot be read or written"):
        LabelStore(tmp_path)


def test_store_opens_by_url(tmp_path: Path) -> None:
    LabelStore(f"sqlite:///{tmp_path / 'by_url.sqlite'}").clear("a", "x")
    assert LabelStore(tmp_path / "by_url.sqlite").revision() == 1


def test_schema_compiles_for_postgresql_with_its_own_guard() -> None:
    ddl = str(CreateTable(LOG).compile(dialect=postgresql.dialect()))
    assert "id SERIAL NOT NULL" in ddl
    assert "inclusion_probability FLOAT" in ddl
    guard = " ".join(str(statement) for statement in APPEND_ONLY["postgresql"])
    assert "BEFORE UPDATE OR DELETE ON label_log" in guard


def test_changes_since_a_revision_are_the_latest_rows_of_the_buildings_spoken_of(tmp_path: Path) -> None:
    store = LabelStore(tmp_path / "labels.sqlite")
    for building, value in (("a", LabelValue.INTACT), ("b", LabelValue.INTACT), ("a", LabelValue.DAMAGED)):
        store.add(building, value, labeller="ana", drawn="map", inclusion_probability=None)
    assert store.changed_since(2)[["building_id", "value"]].to_numpy().tolist() == [["a", "damaged"]]
    store.clear("b", "ana")
    assert store.changed_since(2)["value"].tolist() == ["damaged", "withdrawn"]
    assert store.changed_since(0)["building_id"].tolist() == ["a", "b"]
    assert store.changed_since(store.revision()).empty
