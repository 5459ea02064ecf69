"""The label log's database: URL, table (the same on SQLite and PostgreSQL), append-only triggers, errors in words."""

import re
import shutil
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    event,
    make_url,
    text,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable
from sqlalchemy.sql.expression import TextClause

from damage_ssl.errors import InputError, StorageError

WITHDRAWN = "withdrawn"
"""The value of a row that takes a building's label back."""

ADJUDICATION = "adjudication"
"""What `drawn` says of an answer that settles a disagreement: given with all answers in view."""

REVERT = "revert"
"""What `drawn` says of a row that puts back what somebody else had said: the words of that other person."""

WRITER = "label_writer"
"""The execution option of a connection that is going to write."""

LABEL_COLUMNS = (
    "building_id",
    "value",
    "labeller",
    "time",
    "drawn",
    "inclusion_probability",
    "comment",
    "stratum",
    "cluster_id",
    "cluster_probability",
)
"""The columns of the log that a reader gets."""

PROBABILITIES = ("inclusion_probability", "cluster_probability")
"""Those of them that are numbers: the others are text."""

_LEAST_ROOM_BYTES = 1 << 16

_metadata = MetaData()
LOG = Table(
    "label_log",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("building_id", String, nullable=False),
    Column("value", String, nullable=False),
    Column("labeller", String, nullable=False),
    Column("time", String, nullable=False),
    Column("drawn", String, nullable=False),
    Column("inclusion_probability", Float),
    Column("comment", String, nullable=False),
    Column("stratum", String, nullable=False, server_default=""),
    Column("cluster_id", String, nullable=False, server_default=""),
    Column("cluster_probability", Float),
    Column("answer_id", String),
    sqlite_autoincrement=True,
)
_building_index = Index("label_log_building", LOG.c.building_id, LOG.c.id)
_answer_index = Index("label_log_answer", LOG.c.answer_id, LOG.c.building_id, unique=True)

APPEND_ONLY: Mapping[str, tuple[TextClause, ...]] = {
    "sqlite": tuple(
        text(
            f"CREATE TRIGGER IF NOT EXISTS label_log_no_{verb.lower()} BEFORE {verb} ON label_log "
            "BEGIN SELECT RAISE(ABORT, 'label_log is append-only'); END"
        )
        for verb in ("UPDATE", "DELETE")
    ),
    "postgresql": (
        text(
            "CREATE OR REPLACE FUNCTION label_log_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'label_log is append-only'; END $$"
        ),
        text(
            "CREATE OR REPLACE TRIGGER label_log_append_only BEFORE UPDATE OR DELETE ON label_log "
            "FOR EACH ROW EXECUTE FUNCTION label_log_refuse()"
        ),
    ),
}


def create_log(connection: Connection) -> None:
    """Create table, index and triggers where they are not there yet; several may try at once.

    A log of an older version gets the columns that it lacks, empty in the rows that it has.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS " + _quoted(connection)))
    connection.execute(CreateTable(LOG, if_not_exists=True))
    there = set(connection.execute(text("SELECT * FROM label_log LIMIT 0")).keys())
    for column in LOG.columns:
        if column.name not in there:
            declared = CreateColumn(column).compile(dialect=connection.dialect)
            connection.execute(text(f"ALTER TABLE label_log ADD COLUMN {declared}"))
    for index in (_building_index, _answer_index):
        connection.execute(CreateIndex(index, if_not_exists=True))
    for statement in APPEND_ONLY.get(connection.dialect.name, ()):
        connection.execute(statement)


def prepare_postgresql(engine: Engine, namespace: str) -> None:
    """Keep one event's log in a schema of its own, and let writers wait for each other.

    Writers take turns by an advisory lock, as they do on SQLite: ids then appear in the order in which they were given,
    so that the highest id tells whether there is anything new.
    """

    def use_namespace(connection: DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("SELECT set_config('search_path', quote_ident(%s), false)", (namespace,))
        cursor.close()
        connection.commit()

    def wait_for_turn(connection: Connection) -> None:
        if connection.get_execution_options().get(WRITER, False):
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": namespace})

    event.listen(engine, "connect", use_namespace)
    event.listen(engine, "begin", wait_for_turn)


def _quoted(connection: Connection) -> str:
    """The first name of the search path, as `set_config` wrote it: quoted where it must be."""
    return str(connection.execute(text("SHOW search_path")).scalar_one())


_NETWORK = ("nfs", "cifs", "smb", "afs", "lustre", "gpfs", "beegfs", "ceph", "fuse.sshfs", "fuse.gluster", "fuse.s3fs")
_MOUNTS: Path | None = None
if sys.platform == "linux":
    _MOUNTS = Path("/proc/self/mountinfo")


def prepare_sqlite(engine: Engine) -> None:
    """Let many readers and one writer work at the same time; writers wait for each other.

    Raises:
        StorageError: the file would lie on a network file system.
    """
    path = Path(str(engine.url.database)).absolute()
    if kind := _network_file_system(path):
        raise StorageError(
            f"{path}: lies on a network file system ({kind}), where SQLite loses answers of several machines; put the "
            "workspace on a disk of this machine, or keep labels in a PostgreSQL database: set "
            "DAMAGE_SSL_LABELS=postgresql://user@host/database"
        )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "begin", _begin)


def _connect(
    _dialect: object, _record: object, arguments: tuple[Any, ...], options: dict[str, Any]
) -> sqlite3.Connection:
    """Open the log; on a disk without any room only to read it.

    SQLite keeps two small files beside an open log even while it is only read. Where there is no room for them, and
    nothing waits in them, the log is read as it lies there; writing to it then fails, as it must.
    """
    connection: sqlite3.Connection = sqlite3.connect(*arguments, **options)
    try:
        _prepare_connection(connection)
    except sqlite3.OperationalError as error:
        connection.close()
        path = Path(arguments[0])
        waiting = path.with_name(f"{path.name}-wal")
        unreadable = "disk I/O error" in str(error) or "unable to open" in str(error)
        if not unreadable or not path.is_file() or (waiting.exists() and waiting.stat().st_size):
            raise
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True, **options)
        connection.isolation_level = None
    return connection


def _prepare_connection(connection: sqlite3.Connection) -> None:
    """Switch the driver's own transactions off, so that `_begin` decides (SQLAlchemy's page on pysqlite)."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL").close()
    connection.execute("PRAGMA synchronous=FULL").close()


def _begin(connection: Connection) -> None:
    """A writer takes the lock at once: one that first reads and then writes would fail instead of waiting."""
    writes = connection.get_execution_options().get(WRITER, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def check_pages(path: Path) -> None:
    """Read every page of a SQLite file, and compare the log with its index.

    Raises:
        InputError: it is damaged; the message names the file.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            said = "; ".join(row[0] for row in database.execute("PRAGMA integrity_check(3)"))
    except sqlite3.DatabaseError as error:
        said = str(error)
    if said != "ok":
        raise InputError(f"{path}: the label log is damaged ({said}); restore it from a backup")


def _network_file_system(path: Path) -> str | None:
    """The kind of network file system that a path lies on; None on a disk of this machine, or where nothing says so."""
    if path.drive.startswith("\\\\"):
        return "a Windows share"
    if _MOUNTS is None:
        return None
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None  # not Linux
    place, found, longest = path.parent.resolve(), "", -1
    for line in mounts:
        mounted, _, said = line.partition(" - ")
        folder = Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), mounted.split(" ")[4]))
        if place.is_relative_to(folder) and len(folder.parts) >= longest:
            found, longest = said.split(" ")[0], len(folder.parts)
    return found if found.startswith(_NETWORK) else None


def database_url(text: str) -> URL:
    """A database URL; plain `postgresql://` means the driver that the extra `postgres` installs."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise InputError("the label database's URL is not one: write postgresql://user@host/database") from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise InputError(f"labels cannot be kept in '{url.drivername}': give a postgresql:// or sqlite:// URL")
    return url


def explained(error: DatabaseError, where: str) -> Exception:
    """A fault of the database in the words of a user, with what to do."""
    cause = str(error.orig)
    if "is full" in cause or ("://" not in where and _is_full(Path(where).parent)):
        return StorageError(f"{where}: the disk is full; free some space and try again (no label was half-written)")
    if "append-only" in cause:
        return StorageError(f"{where}: the label log is append-only; add a new row instead of changing one")
    if "not a database" in cause or "malformed" in cause:
        return InputError(f"{where}: is not a label store ({cause}); restore it from a copy or move it away")
    if isinstance(error, OperationalError):
        return StorageError(f"{where}: cannot be read or written ({cause}); check its folder, permissions and disk")
    return StorageError(f"{where}: the database refused ({cause})")


def _is_full(folder: Path) -> bool:
    """No room for the files beside an open log, which SQLite reports as an error of the disk."""
    try:
        return shutil.disk_usage(folder).free < _LEAST_ROOM_BYTES
    except OSError:
        return False
