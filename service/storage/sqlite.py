"""One SQLite file as one process sees it: pooled readers, one writer at a time across all processes.

SQLite's own waiting lets one process starve another for seconds, and free writers let the write-ahead
log grow without bound. So writers take turns with a kernel lock on ``<database>.lock``, which wakes the next
one at once and dies with its holder; docs/decisions/0002-storage.md has the measurements.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection

from service.storage.engine import CONTROL_PATIENCE_S, PROBE_PATIENCE_S, T, store_errors
from service.storage.ports import StoreUnavailableError
from service.storage.turns import WriterLock
from service.storage.version import KNOWN, QUERY, refuse_newer

BUSY_TIMEOUT_MS = 5_000
READERS = 8
CHECKPOINT_PAGES = 4_000
"""A page that changes often is copied into the database once in so many, not with every thousand."""
WRITER_CACHE_KIB = 32 * 1024
LOOK_FROM = 100
LOOK_TOGETHER = 100
ALIKE = 6
"""Ids in the order of time begin with so many characters that are the same for hours."""
_LOOK = "SELECT count(*) FROM event WHERE tenant = ? AND event_id IN"
TRUNCATE_BYTES = 64 * 1024 * 1024
TRUNCATE_BUSY_MS = 300
TRUNCATE_BACK_OFF_S = (1.0, 30.0)


class InUse:
    """The mark that some process has the store open; `restore` wants to be alone."""

    def __init__(self, path: Path, *, alone: bool = False) -> None:
        self._fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
        except OSError:
            os.close(self._fd)
            raise

    def alone(self) -> bool:
        """Keep other processes from opening the store from now on; return False if one has it open."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # The kernel may have let the shared lock go before it refused the other one.
            fcntl.flock(self._fd, fcntl.LOCK_SH)
            return False
        return True

    def close(self) -> None:
        """Take the mark away."""
        os.close(self._fd)


def lock_path(database: Path) -> Path:
    """Return the file that writers lock."""
    return database.with_name(database.name + ".lock")


def in_use_path(database: Path) -> Path:
    """Return the file that every process with an open store holds a shared lock on."""
    return database.with_name(database.name + ".inuse")


def copy_before(database: Path, revision: str) -> Path:
    """Return the file that `opportune migrate` copies the database to before it upgrades it to `revision`."""
    return database.with_name(f"{database.name}.before-{revision}")


class SqliteDatabase:
    """Connections of one process to one file; a forked child must make its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        create(path)
        self.in_use = InUse(in_use_path(path))
        self.lock = WriterLock(lock_path(path))
        self._readers = _engine(path, begin="BEGIN", size=READERS)
        self._writer = _engine(path, begin="BEGIN IMMEDIATE", size=1)
        self._wal = path.with_name(path.name + "-wal")
        self._truncate_at = 0.0
        self._back_off_s = TRUNCATE_BACK_OFF_S[0]

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection with its own read transaction; keep it short, it pins the write-ahead log."""
        with store_errors(), self._readers.connect() as connection:
            yield connection

    def look_ahead(self, tenant: str, event_ids: Sequence[str]) -> None:
        """Look for events with scattered ids, so that their pages of the index are in memory.

        Threads look at the same time, and a disk answers many questions nearly as fast as one; the writer
        would read page after page during its turn. Ids in the order of time have their pages in memory.
        """
        ids = sorted(event_ids)
        if len(ids) < LOOK_FROM or ids[0][:ALIKE] == ids[-1][:ALIKE]:
            return
        with suppress(StoreUnavailableError), self.reading() as connection:
            for start in range(0, len(ids), LOOK_TOGETHER):
                some = tuple(ids[start : start + LOOK_TOGETHER])
                marks = ", ".join("?" * len(some))
                connection.exec_driver_sql(f"{_LOOK} ({marks})", (tenant, *some))
                # A read that lasts keeps the write-ahead log from being used anew.
                connection.rollback()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the writer's turn without an end; after the block the write-ahead log is kept short."""
        with self.lock.held():
            yield
            self.tidy()

    @contextmanager
    def writing(self, *, within_s: float | None = CONTROL_PATIENCE_S) -> Iterator[Connection]:
        """Take the writer's turn; commit at the end of the block, or roll back when it raises."""
        with store_errors(), self.lock.held(within_s=within_s):
            with self.transaction() as connection:
                yield connection
            self.tidy()

    def tidy(self) -> None:
        """Keep the write-ahead log short after a commit; what fails here is nobody's failure any more."""
        try:
            self.checkpoint()
        except Exception:  # noqa: BLE001 - the rows are durable: their writer must not be told otherwise
            with suppress(Exception):
                self._writer.dispose()

    def probe(self) -> None:
        """Write and sync one page that changes nothing; raise StoreUnavailableError when that fails."""
        with self.writing(within_s=PROBE_PATIENCE_S) as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            connection.exec_driver_sql(f"PRAGMA user_version={int(version)}")

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a transaction of its own; the caller has the turn."""
        with self.transaction() as connection:
            return work(connection)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give the writing connection inside BEGIN IMMEDIATE..COMMIT; the caller holds the lock."""
        try:
            with store_errors(), self._writer.begin() as connection:
                yield connection
        except StoreUnavailableError:
            # After a failed fsync the page cache may lie: never go on with the same descriptor.
            self._writer.dispose()
            raise

    def horizon(self) -> None:
        """Return None: by turns, the order of the log is the order of the commits."""

    def wipe(self) -> None:
        """Take what was deleted out of the write-ahead log, too: now, not when it has grown.

        Copies from before an upgrade go altogether: they would keep the rows.
        """
        with store_errors(), self.lock.held():
            self.checkpoint(over_bytes=0)
            for revision in KNOWN:
                copy_before(self.path, revision).unlink(missing_ok=True)

    def checkpoint(self, *, over_bytes: int = TRUNCATE_BYTES) -> None:
        """Empty the write-ahead log when its file has grown; the caller holds the lock.

        SQLite's automatic checkpoint keeps the log short inside COMMIT but never shrinks the file. A reader
        may keep this one busy: then it is tried again later, not with every commit. With ``over_bytes=0``
        (an erasure) it is tried at once.
        """
        now = time.monotonic()
        if (over_bytes and now < self._truncate_at) or self.wal_bytes() <= over_bytes:
            return
        with store_errors():
            busy = self._truncate()
        self._back_off_s = (
            min(self._back_off_s * 2, TRUNCATE_BACK_OFF_S[1]) if busy else TRUNCATE_BACK_OFF_S[0]
        )
        self._truncate_at = now + self._back_off_s

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log, 0 when there is none."""
        try:
            return self._wal.stat().st_size
        except OSError:
            return 0

    def _truncate(self) -> bool:
        fairy = self._writer.raw_connection()
        try:
            driver: Any = fairy.driver_connection
            driver.execute(f"PRAGMA busy_timeout={TRUNCATE_BUSY_MS}")
            try:
                busy = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            except sqlite3.OperationalError:
                # The rows are committed already; a log that cannot shrink now is tried again later.
                busy = True
            driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        finally:
            fairy.close()
        return bool(busy)

    def close(self) -> None:
        """Close every connection and lock of this process."""
        self._readers.dispose()
        self._writer.dispose()
        self.in_use.close()


def create(path: Path) -> None:
    """Make an empty file that only its owner reads; SQLite gives its log and index files the same mode.

    An existing file is not even opened: closing it would drop the locks that SQLite holds in this process.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))


def _refuse_newer(connection: sqlite3.Connection) -> None:
    named = "SELECT count(*) FROM sqlite_schema WHERE name = 'alembic_version'"
    if connection.execute(named).fetchone()[0]:
        try:
            refuse_newer(*(connection.execute(QUERY).fetchone() or (None,)))
        except StoreUnavailableError:
            connection.close()
            raise


def _engine(path: Path, *, begin: str, size: int) -> Engine:
    # A driver's complaint ends up in logs: it may say which statement, never whose data.
    engine = create_engine(
        f"sqlite:///{path}", pool_size=size, max_overflow=0, pool_timeout=5, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def configure(opened: DBAPIConnection, _record: object) -> None:
        connection: Any = opened
        # The driver's own idea of when to begin is switched off; SQLAlchemy says it, below.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        if begin == "BEGIN IMMEDIATE":
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA cache_size=-{WRITER_CACHE_KIB}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        # Erasure means the bytes: what is deleted is overwritten.
        connection.execute("PRAGMA secure_delete=ON")
        _refuse_newer(connection)

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
