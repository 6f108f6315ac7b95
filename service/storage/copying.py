"""All rows of a PostgreSQL database as one SQLite file, and back: the form that a backup has on either.

So a backup of one kind of database can be restored into the other.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Table, func, select, text

from service.storage import schema
from service.storage.engine import store_errors
from service.storage.migrate import migrate, upgrade
from service.storage.ports import StoreUnavailableError
from service.storage.version import HEAD, revision_of

if TYPE_CHECKING:
    from service.storage.postgres import PostgresDatabase

Progress = Callable[[int, int], None]

ROWS_AT_ONCE = 5_000
SEQUENCE = "event_seq_seq"


def to_file(place: URL, copy: Path, progress: Progress) -> None:
    """Write one state of the database, of a single moment, into the new SQLite file `copy`.

    Raises
    ------
    StoreUnavailableError
        If the database or the disk refuses, or the database has another schema than this code.
    """
    with _opened(place) as database, database.snapshot() as source:
        if revision_of(source) != HEAD:
            raise StoreUnavailableError("the database is not up to date; run: opportune migrate")
        _save(source, copy, progress)


class Exchange:
    """The rows of a database inside the one transaction that replaces them; nobody else writes meanwhile."""

    def __init__(self, target: Connection) -> None:
        self._target = target

    def holds_rows(self) -> bool:
        """Tell whether there is anything that would be lost."""
        return _holds_rows(self._target)

    def save(self, copy: Path, progress: Progress) -> None:
        """Write the rows that are there into the new SQLite file `copy`."""
        _save(self._target, copy, progress)

    def load(self, copy: Path, progress: Progress) -> None:
        """Put the rows of `copy`, which is upgraded if need be, in their place."""
        migrate(f"sqlite:///{copy}")
        with _file(copy) as source:
            _load(source, self._target, progress)


@contextmanager
def exchanging(place: URL) -> Iterator[Exchange]:
    """Give the rows of the database to be replaced, all or none: when the block raises, nothing was changed.

    The caller is alone with the database; its schema is brought up to date.

    Raises
    ------
    StoreUnavailableError
        If the database refuses, or a newer version wrote it.
    """
    with _opened(place, marked=False) as database, database.writing(within_s=None) as target:
        upgrade(target)
        yield Exchange(target)


@contextmanager
def alone(place: URL) -> Iterator[bool]:
    """Keep every other process away from the database; give False if one has it open."""
    with _opened(place, marked=False) as database, database.alone() as mine:
        yield mine


def holds_rows(place: URL) -> bool:
    """Tell the caller, who is alone, whether the database holds anything that a restore would replace."""
    with _opened(place, marked=False) as database, database.reading() as connection:
        return bool(revision_of(connection)) and _holds_rows(connection)


@contextmanager
def _opened(place: URL, *, marked: bool = True) -> Iterator["PostgresDatabase"]:
    from service.storage.postgres import PostgresDatabase  # noqa: PLC0415 - who uses SQLite waits for no driver

    database = PostgresDatabase(place, marked=marked)
    try:
        with store_errors():
            yield database
    finally:
        database.close()


@contextmanager
def _file(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # One file, without a write-ahead log beside it.
        connection.execute("PRAGMA journal_mode=DELETE")
        yield connection


def _tables() -> Sequence[Table]:
    return schema.metadata.sorted_tables


def _holds_rows(connection: Connection) -> bool:
    return any(connection.execute(select(table).limit(1)).first() is not None for table in _tables())


def _save(source: Connection, copy: Path, progress: Progress) -> None:
    migrate(f"sqlite:///{copy}")
    total = sum(source.execute(select(func.count()).select_from(t)).scalar_one() for t in _tables())
    done = 0
    with _file(copy) as target:
        target.execute("BEGIN")
        for table in _tables():
            names = ", ".join(column.name for column in table.columns)
            marks = ", ".join("?" for _ in table.columns)
            insert = f"INSERT INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608
            streamed = source.execute(select(table).execution_options(stream_results=True))
            for rows in streamed.partitions(ROWS_AT_ONCE):
                target.executemany(insert, [tuple(row) for row in rows])
                done += len(rows)
                progress(done, total)
        _keep_offsets(target, _last_offset(source))
        target.execute("COMMIT")


def _load(source: sqlite3.Connection, target: Connection, progress: Progress) -> None:
    target.execute(text(f"TRUNCATE {', '.join(table.name for table in _tables())}"))
    total = sum(source.execute(f"SELECT count(*) FROM {t.name}").fetchone()[0] for t in _tables())  # noqa: S608
    done = 0
    for table in _tables():
        for rows in _rows_of(source, table):
            _copy_in(target, table, rows)
            done += len(rows)
            progress(done, total)
    used = source.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    if used is not None and used[0] > 0:
        # Never back: the number stays as it is now, also when the transaction does not come to its end.
        raised = f"SELECT setval('{SEQUENCE}', greatest(:used, last_value)) FROM {SEQUENCE}"  # noqa: S608
        target.execute(text(raised), {"used": used[0]})


def _rows_of(source: sqlite3.Connection, table: Table) -> Iterator[list[tuple[Any, ...]]]:
    names = ", ".join(column.name for column in table.columns)
    cursor = source.execute(f"SELECT {names} FROM {table.name}")  # noqa: S608
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        yield rows


def _copy_in(target: Connection, table: Table, rows: list[tuple[Any, ...]]) -> None:
    names = ", ".join(column.name for column in table.columns)
    driver: Any = target.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([_storable(value) for value in row])


def _storable(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    """Return a value as a server takes it: it knows no NUL, which an earlier release let into a file."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


def _last_offset(source: Connection) -> int:
    last, used = source.execute(text(f"SELECT last_value, is_called FROM {SEQUENCE}")).one()  # noqa: S608
    return int(last) if used else 0


def _keep_offsets(target: sqlite3.Connection, last: int) -> None:
    """Give no offset out again, also if its event was erased."""
    target.execute("DELETE FROM sqlite_sequence WHERE name = 'event'")
    target.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('event', ?)", (last,))
