"""The label log: append-only, many writers at once, SQLite by default and the same schema on PostgreSQL."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, create_engine, func, insert, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError
from damage_ssl.files import storage_errors
from damage_ssl.labels.label_csv import (
    ImportReport,
    LabelFile,
    mangled_ids,
    read_label_csv,
    unknown_buildings_error,
    write_label_csv,
)
from damage_ssl.labels.new_label import NewLabel, rows_of, utc_iso, withdrawal
from damage_ssl.labels.schema import (
    LABEL_COLUMNS,
    LOG,
    PROBABILITIES,
    WITHDRAWN,
    WRITER,
    create_log,
    database_url,
    explained,
    prepare_postgresql,
    prepare_sqlite,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LABEL_COLUMNS", "WITHDRAWN", "LabelStore", "NewLabel", "utc_iso", "withdrawal"]


BUSY_TIMEOUT_S = 60.0


class LabelStore:
    """The labels of one event: a log to which rows are only ever added.

    The current label of a building is its latest row, whoever wrote it; a `withdrawn` row leaves it without one. Safe
    for many threads and processes at once (SQLite: write-ahead log, writers wait for each other).

    Examples:
        >>> labels = LabelStore("labels.sqlite")
        >>> labels.add("w1", LabelValue.DESTROYED, labeller="ada", drawn="map", inclusion_probability=None)
        >>> labels.add("w1", LabelValue.MINOR_DAMAGE, labeller="bob", drawn="map", inclusion_probability=None)
        >>> labels.current()[["building_id", "value", "labeller"]].values.tolist()
        [['w1', 'minor-damage', 'bob']]
        >>> len(labels.log())
        2
    """

    def __init__(self, url_or_path: str | Path, *, event: str = "labels") -> None:
        """Open the store, creating its table where it is not there yet.

        `url_or_path` is a file, or an SQLAlchemy URL such as `postgresql+psycopg://host/database`. A PostgreSQL
        database holds the logs of many events, each in a schema of the event's name.

        Raises:
            StorageError: the place cannot be written to. InputError: the file is not a label store, or the URL cannot
                be used.
        """
        given = str(url_or_path)
        if "://" in given:
            url = database_url(given)
            self._where = url.render_as_string(hide_password=True)
        else:
            path = Path(url_or_path)
            with storage_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            url, self._where = URL.create("sqlite", database=str(path)), str(path)
        if url.get_backend_name() == "sqlite":
            self._engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT_S})
            prepare_sqlite(self._engine)
        else:
            try:
                self._engine = create_engine(url, poolclass=NullPool)
            except ModuleNotFoundError as error:
                raise InputError(
                    f"{self._where}: the driver '{error.name}' is missing; pip install 'damage-ssl[postgres]'"
                ) from error
            prepare_postgresql(self._engine, event)
        self._writer = self._engine.execution_options(**{WRITER: True})
        with self._transaction() as connection:
            create_log(connection)

    def close(self) -> None:
        """Let go of any open connection."""
        self._engine.dispose()

    def add(
        self,
        building_id: str,
        value: LabelValue,
        *,
        labeller: str,
        drawn: str,
        inclusion_probability: float | None,
        comment: str = "",
    ) -> None:
        """Append one answer.

        Raises:
            InputError: see `NewLabel`. StorageError: the disk is full or not writable.
        """
        self.add_many(
            [
                NewLabel(
                    building_id=building_id,
                    value=value,
                    labeller=labeller,
                    drawn=drawn,
                    inclusion_probability=inclusion_probability,
                    comment=comment,
                )
            ]
        )

    def add_many(self, labels: Iterable[NewLabel], *, answer_id: str | None = None) -> None:
        """Append all or none, in the given order; nothing where the log has the answer of this id already.

        `answer_id` is made once, where the answer is given: sent again because nobody knew whether it had arrived, it
        is not written twice.

        Raises:
            InputError: a time that is not ISO 8601. StorageError: the disk is full or not writable.
        """
        rows = rows_of(labels, answer_id)
        if rows:
            with self._transaction() as connection:
                if not _knows(connection, answer_id):
                    connection.execute(insert(LOG), rows)

    def knows(self, answer_id: str | None) -> bool:
        """Whether the log has rows of this answer; never of None."""
        with self._reading() as connection:
            return _knows(connection, answer_id)

    def buildings_of(self, answer_id: str) -> list[str]:
        """The buildings that this answer spoke of; none where the log does not know it."""
        query = select(LOG.c.building_id).where(LOG.c.answer_id == answer_id).order_by(LOG.c.id)
        with self._reading() as connection:
            return [str(building) for (building,) in connection.execute(query)]

    def clear(self, building_id: str, labeller: str) -> None:
        """Take a building's label back by appending a `withdrawn` row; the log keeps what was said.

        Raises:
            InputError: no building or labeller named. StorageError: the disk is full or not writable.
        """
        self.add_many([withdrawal(building_id, labeller)])

    def current(self, until: datetime | None = None) -> "pd.DataFrame":
        """The latest row of every building whose label was not withdrawn, oldest first; with `until` as it was then.

        Columns `LABEL_COLUMNS`: text, but probabilities float (NaN: not drawn at random); `time` is UTC, ISO 8601.
        """
        return self._read(_current_rows(None if until is None else utc_iso(until.isoformat())))

    def answers(self) -> "pd.DataFrame":
        """Every labeller's latest answer on every building, those withdrawn left out, oldest first: `LABEL_COLUMNS`."""
        latest = select(func.max(LOG.c.id)).group_by(LOG.c.building_id, LOG.c.labeller)
        return self._read(_columns().where(LOG.c.id.in_(latest), LOG.c.value != WITHDRAWN).order_by(LOG.c.id))

    def history(self, building_id: str) -> "pd.DataFrame":
        """All that was ever said of a building, by anyone, oldest first; withdrawals are rows too."""
        return self.histories([building_id])

    def histories(self, building_ids: Collection[str]) -> "pd.DataFrame":
        """The same of several buildings together, at most some thousands."""
        return self._read(_columns().where(LOG.c.building_id.in_(building_ids)).order_by(LOG.c.id))

    def log(self) -> "pd.DataFrame":
        """All rows ever written, oldest first; withdrawals are rows too."""
        return self._read(_columns().order_by(LOG.c.id))

    def changed_since(self, revision: int) -> "pd.DataFrame":
        """The latest row of every building that was spoken of since a revision; withdrawals are rows too."""
        latest = select(func.max(LOG.c.id)).where(LOG.c.id > revision).group_by(LOG.c.building_id)
        return self._read(_columns().where(LOG.c.id.in_(latest)).order_by(LOG.c.id))

    def counts(self) -> dict[LabelValue, int]:
        """How many buildings carry each value now; values that none carries are left out."""
        latest = _current_rows().subquery()
        query = select(latest.c.value, func.count()).group_by(latest.c.value)
        with self._reading() as connection:
            found = {LabelValue(value): int(count) for value, count in connection.execute(query)}
        return {value: found[value] for value in LabelValue if value in found}

    def revision(self) -> int:
        """A number that grows with every row added, 0 for an empty log; cheap, to notice that labels changed."""
        with self._reading() as connection:
            return int(connection.execute(select(func.coalesce(func.max(LOG.c.id), 0))).scalar_one())

    def import_csv(
        self, path: Path | LabelFile, *, known_ids: Collection[str], labeller: str, skip_unknown: bool = False
    ) -> ImportReport:
        """Append the labels of a CSV file, all or none.

        A row that repeats its labeller's last word on the building is not added again: importing a file twice changes
        nothing, and does not undo what others have said or withdrawn since.
        `labeller` is used where the file names none.

        Args:
            path: a file, or what was read of one; columns `building_id` and `grade`; optional `labeller`, `time`,
                `comment`, `drawn`, `inclusion_probability`, `stratum`, `cluster_id`, `cluster_probability`. As
                spreadsheets write it: see `read_label_csv`.
            known_ids: the event's buildings.
            labeller: who gave the labels, unless the file says so.
            skip_unknown: leave out labels of other buildings instead of refusing the file (not those whose ids a
                spreadsheet has changed).

        Raises:
            InputError: the file cannot be read, or a row is wrong; file and row (the header is row 1) are named.
            StorageError: the disk is full or not writable.
        """
        file = path if isinstance(path, LabelFile) else read_label_csv(Path(path), labeller=labeller)
        known = set(known_ids)
        unknown = [row for row in file.rows if row.building_id not in known]
        if unknown and (not skip_unknown or mangled_ids([row.building_id for row in unknown], known)):
            raise unknown_buildings_error(file.path, unknown, known)
        labels = [
            NewLabel(
                building_id=row.building_id,
                value=row.value,
                labeller=row.labeller,
                drawn=row.drawn,
                inclusion_probability=row.inclusion_probability,
                comment=row.comment,
                time=row.time,
                stratum=row.stratum,
                cluster_id=row.cluster_id,
                cluster_probability=row.cluster_probability,
            )
            for row in file.rows
            if row.building_id in known
        ]
        with self._transaction() as connection:
            said = _latest_by_labeller(connection)
            new = [label for label in labels if not _already_said(label, said)]
            if rows := rows_of(new):
                connection.execute(insert(LOG), rows)
        return ImportReport(
            added=len(new),
            unchanged=len(labels) - len(new),
            repeated=file.repeated,
            unclassified=file.unclassified,
            unknown=tuple(sorted({row.building_id for row in unknown})),
            ignored_columns=file.ignored_columns,
            unplaced=file.unplaced,
        )

    def export_csv(self, path: Path) -> int:
        """Write the current labels as CSV that `import_csv` reads back to the same labels; returns how many.

        Raises:
            StorageError: the disk is full or not writable.
        """
        current = self.current()
        write_label_csv(current, Path(path))
        return len(current)

    def _read(self, query: Select[Any]) -> "pd.DataFrame":
        import pandas as pd

        with self._reading() as connection:
            rows = connection.execute(query).all()
        table = pd.DataFrame([tuple(row) for row in rows], columns=list(LABEL_COLUMNS), dtype=object)
        return table.astype({name: "float64" if name in PROBABILITIES else "str" for name in LABEL_COLUMNS})

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._errors(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            raise explained(error, self._where) from error


def _knows(connection: Connection, answer_id: str | None) -> bool:
    if answer_id is None:
        return False
    found = connection.execute(select(LOG.c.id).where(LOG.c.answer_id == answer_id).limit(1)).first()
    return found is not None


def _columns() -> Select[Any]:
    return select(*(LOG.c[name] for name in LABEL_COLUMNS))


def _current_rows(until: str | None = None) -> Select[Any]:
    latest = select(func.max(LOG.c.id)).group_by(LOG.c.building_id)
    if until is not None:
        latest = latest.where(LOG.c.time <= until)
    return _columns().where(LOG.c.id.in_(latest), LOG.c.value != WITHDRAWN).order_by(LOG.c.id)


_SAID = ("value", "comment", "inclusion_probability", "stratum", "cluster_id", "cluster_probability")
"""What makes a row a repetition, with its time where that is given."""


def _latest_by_labeller(connection: Connection) -> dict[tuple[str, str], Any]:
    """Each labeller's last word on each building."""
    latest = select(func.max(LOG.c.id)).group_by(LOG.c.building_id, LOG.c.labeller)
    query = _columns().where(LOG.c.id.in_(latest))
    return {(row.building_id, row.labeller): row for row in connection.execute(query)}


def _already_said(label: NewLabel, said: Mapping[tuple[str, str], Any]) -> bool:
    """A file without times repeats the log when the rest is the same."""
    known = said.get((label.building_id, label.labeller))
    if known is None:
        return False
    same_time = label.time is None or utc_iso(label.time) == known.time
    return same_time and all(getattr(label, name) == getattr(known, name) for name in _SAID)
