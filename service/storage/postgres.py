"""One PostgreSQL database as one process sees it: many writers, one order of the log.

Events are numbered when they are inserted and become visible when they are committed, so a reader could see
number 8 before number 7. Therefore whoever adds events shares an advisory lock, and a reader of the log takes
it alone for a moment to learn how far the log is complete. Everything else that writes takes it alone, too,
as on SQLite. docs/decisions/0013-postgresql.md has the reasons.
"""

import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import URL, Connection, Engine, create_engine, event, exc
from sqlalchemy.engine.interfaces import DBAPIConnection

from service.storage.engine import CONTROL_PATIENCE_S, PROBE_PATIENCE_S, T, explain, store_errors
from service.storage.ports import StoreUnavailableError
from service.storage.version import QUERY, refuse_newer

READERS = 8
WRITERS = 4
POOL_PATIENCE_S = 5
CONNECT_PATIENCE_S = 5
SERVER_PATIENCE_MS = 10_000
NETWORK_PATIENCE_S = 15.0
HORIZON_PATIENCE_S = 2.0
ATTEMPTS = 3
APPLICATION = "opportune"
TURN = 0x4F_50_50_4F_52_54_55_4E
"""The key of the advisory lock, in the database that the store lives in."""
IN_USE = TURN + 1
"""The key of the lock that every connection shares for as long as it is open; `restore` wants it alone."""
ALONE_WITHIN_S = 1.0

RV = TypeVar("RV")


class PatientConnection(psycopg.Connection[Any]):
    """A connection whose server may not keep silent for ever, and whose complaints quote no data."""

    patience_s: float | None = NETWORK_PATIENCE_S

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for the server, but not longer than `patience_s`: after that the connection is closed."""
        limit = self.patience_s if timeout is None else timeout
        try:
            return super().wait(gen, interval=interval, timeout=limit)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001 - the driver gives it no public name
            # What the server does with the statement is unknown from here on.
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {limit:g} s") from error
        except psycopg.Error as error:
            # The detail would quote the row.
            error.args = (error.diag.message_primary or str(error).partition("\n")[0],)
            raise


class PostgresDatabase:
    """Pooled connections of one process to one database; a forked child must make its own.

    They are marked as users of the database, and refused while somebody is alone with it; only who wants to
    be alone opens it unmarked.
    """

    def __init__(self, url: URL, *, marked: bool = True) -> None:
        self._readers = pooled(url, size=READERS, writes=False, marked=marked)
        self._writers = pooled(url, size=WRITERS, marked=marked)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that cannot write; each statement sees the state at its own start."""
        with driver_errors(), self._readers.connect() as connection:
            yield connection

    @contextmanager
    def writing(self, *, within_s: float | None = CONTROL_PATIENCE_S) -> Iterator[Connection]:
        """Wait to be the only writer; commit at the end of the block, or roll back when it raises."""
        hurry = nullcontext if within_s is not None else _unhurried
        with driver_errors(), self._writers.connect() as connection, hurry(connection), connection.begin():
            _limit(connection, within_s)
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({TURN})")
            yield connection

    @contextmanager
    def snapshot(self, *, scratch: bool = False) -> Iterator[Connection]:
        """Give a connection whose statements all see the same state, for as long as it takes.

        It may make temporary tables if `scratch` says so, and otherwise nothing.
        """
        with driver_errors(), self._writers.connect() as connection:
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=not scratch)
            with _unhurried(connection), connection.begin():
                _limit(connection, None)
                yield connection

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Keep every marked connection away; give False if there is one already."""
        with driver_errors(), self._readers.connect() as connection:
            end = time.monotonic() + ALONE_WITHIN_S
            # A process that has just ended is known to the server for a moment longer.
            while not (mine := _holds(connection, "pg_try_advisory_lock")) and time.monotonic() < end:
                time.sleep(ALONE_WITHIN_S / 20)
            try:
                yield mine
            finally:
                if mine:
                    _holds(connection, "pg_advisory_unlock")

    def look_ahead(self, tenant: str, event_ids: Sequence[str]) -> None:
        """Do nothing: writers, and with them their reads, are side by side."""

    def turn(self) -> AbstractContextManager[None]:
        """Return at once: commit threads write side by side."""
        return nullcontext()

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do `work` beside other commit threads; again, when the database could not fit it in between."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with driver_errors(), self._writers.begin() as connection:
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({TURN})")
                    return work(connection)
            except Exception as error:
                if attempt == ATTEMPTS or not _unlucky(error):
                    raise
        raise AssertionError("unreachable")

    def horizon(self) -> int:
        """Return the newest offset while nobody adds events: nothing below it can appear any more."""
        with self.writing(within_s=HORIZON_PATIENCE_S) as connection:
            return int(connection.exec_driver_sql("SELECT coalesce(max(seq), 0) FROM event").scalar_one())

    def probe(self) -> None:
        """Write and sync one row that changes nothing; raise StoreUnavailableError when that fails."""
        with self.writing(within_s=PROBE_PATIENCE_S) as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")

    def wipe(self) -> None:
        """Do nothing: when deleted rows leave the files is for PostgreSQL's own vacuum to say."""

    def close(self) -> None:
        """Close every connection of this process."""
        self._readers.dispose()
        self._writers.dispose()


@contextmanager
def driver_errors() -> Iterator[None]:
    """Turn what the driver raises into StoreUnavailableError, also where SQLAlchemy is not in between."""
    with store_errors():
        try:
            yield
        except psycopg.Error as error:
            raise StoreUnavailableError(explain(str(error))) from error


def _limit(connection: Connection, within_s: float | None) -> None:
    """Let locks be waited for as long as said, in this transaction; None has no end, for anything."""
    if within_s is not None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(1_000 * within_s)}")
        return
    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        connection.exec_driver_sql(f"SET LOCAL {name} = 0")


@contextmanager
def _unhurried(connection: Connection) -> Iterator[None]:
    """Let the server be silent for as long as it takes: around a transaction, its COMMIT included."""
    driver: Any = connection.connection.driver_connection
    driver.patience_s = None
    try:
        yield
    finally:
        driver.__dict__.pop("patience_s", None)


def _holds(connection: Connection, function: str) -> bool:
    return bool(connection.exec_driver_sql(f"SELECT {function}({IN_USE})").scalar_one())


def _unlucky(error: BaseException) -> bool:
    """Tell whether the database gave this transaction up for the sake of another one."""
    cause = error.__cause__ if isinstance(error.__cause__, exc.DBAPIError) else error
    original = cause.orig if isinstance(cause, exc.DBAPIError) else None
    return isinstance(original, psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure)


def pooled(url: URL, *, size: int, writes: bool = True, marked: bool = True) -> Engine:
    """Return connections to `url` that wait for nothing without an end."""
    wanted: dict[str, Any] = {
        "connect_timeout": CONNECT_PATIENCE_S,
        # Found dead while nothing is asked, too.
        "keepalives_idle": 30,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }
    engine = create_engine(
        url,
        connect_args={
            **{name: value for name, value in wanted.items() if name not in url.query},
            "application_name": APPLICATION,
        },
        pool_size=size,
        max_overflow=0,
        pool_timeout=POOL_PATIENCE_S,
        hide_parameters=True,
        isolation_level="READ COMMITTED" if writes else "AUTOCOMMIT",
        use_native_hstore=False,
    )

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, words: Any, named: Any) -> PatientConnection:  # noqa: ANN401 - the driver's
        return PatientConnection.connect(*words, **named)

    @event.listens_for(engine, "connect")
    def configure(opened: DBAPIConnection, _record: object) -> None:
        _configure(opened, writes=writes, marked=marked)

    @event.listens_for(engine, "checkout")
    def look(opened: DBAPIConnection, _record: object, _proxy: object) -> None:
        if _gone(opened):
            raise exc.DisconnectionError

    return engine


def _gone(connection: Any) -> bool:  # noqa: ANN401 - the driver's connection
    """Tell whether the server has gone away: it says so by itself, which is seen without asking it."""
    if connection.closed:
        return True
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))


def _configure(opened: Any, *, writes: bool, marked: bool) -> None:  # noqa: ANN401 - the driver's connection
    chosen = {
        "statement_timeout": str(SERVER_PATIENCE_MS),
        "lock_timeout": str(SERVER_PATIENCE_MS),
        "idle_in_transaction_session_timeout": str(SERVER_PATIENCE_MS),
        "default_transaction_read_only": "off" if writes else "on",
        # A client whose machine is gone holds its locks only until the server notices.
        "tcp_keepalives_idle": "30",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
    }
    before = opened.autocommit
    opened.autocommit = True
    settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in chosen.items())
    opened.execute(f"SELECT {settings}")
    # What is acknowledged is on a disk, whatever the database was or will be told for its other users.
    opened.execute(
        "SELECT set_config('synchronous_commit', coalesce(nullif(setting, 'off'), 'on'), false) "
        "FROM pg_settings WHERE name = 'synchronous_commit'"
    )
    if marked and not opened.execute(f"SELECT pg_try_advisory_lock_shared({IN_USE})").fetchone()[0]:
        opened.close()
        raise StoreUnavailableError("a backup is being restored into the database; try again afterwards")
    try:
        refuse_newer(*(opened.execute(QUERY).fetchone() or (None,)))
    except psycopg.errors.UndefinedTable:
        # Nothing was migrated yet; whoever asks for a table is told so.
        pass
    except StoreUnavailableError:
        opened.close()
        raise
    opened.autocommit = before
