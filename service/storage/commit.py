"""Group commit: request threads encode and wait, one thread a process writes many batches with one fsync."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import sqlite

from service.storage import schema
from service.storage.engine import Database
from service.storage.ports import StoreBusyError, StoreUnavailableError
from service.storage.records import AppendStatus

GROUP_ROWS = 2_000
WAITING_ROWS = 40_000
PATIENCE_S = 10.0
PROBE_EVERY_S = 1.0

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedBatch:
    """The rows of one request, ready for the driver; `interactions[i]` belong to `events[i]`."""

    events: Sequence[Row] = ()
    interactions: Sequence[Sequence[Row]] = ()
    quarantined: Sequence[Row] = ()
    slates: Sequence[Row] = ()

    @property
    def weight(self) -> int:
        """Return how much room the batch takes in the waiting room: its rows, and one for itself."""
        copies = sum(map(len, self.interactions))
        return 1 + len(self.events) + copies + len(self.quarantined) + len(self.slates)


def insert_sql(table: Table) -> str:
    """Return driver SQL that inserts a tuple of all columns but `seq`, and skips what is there already."""
    columns = [column.name for column in table.columns if column.name != "seq"]
    statement = sqlite.insert(table).on_conflict_do_nothing()
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="qmark"), column_keys=columns))


INSERT_EVENT = insert_sql(schema.event)
INSERT_INTERACTION = insert_sql(schema.interaction)
INSERT_QUARANTINE = insert_sql(schema.quarantine)
INSERT_SLATE = insert_sql(schema.slate)


def commit_group(connection: Connection, batches: Sequence[EncodedBatch]) -> list[list[AppendStatus]]:
    """Write all batches inside the open transaction; return the status of each event of each batch.

    An id that comes twice in the group is accepted for the first that asked, a duplicate for the later one.
    """
    new = _insert_events(connection, [row for batch in batches for row in batch.events])
    statuses: list[list[AppendStatus]] = []
    interactions: list[Row] = []
    for batch in batches:
        answer: list[AppendStatus] = []
        for position, row in enumerate(batch.events):
            key = (row[0], row[1])
            if key in new:
                new.discard(key)
                answer.append(AppendStatus.ACCEPTED)
                if position < len(batch.interactions):
                    interactions.extend(batch.interactions[position])
            else:
                answer.append(AppendStatus.DUPLICATE)
        statuses.append(answer)
    _insert(connection, INSERT_INTERACTION, interactions)
    _insert(connection, INSERT_QUARANTINE, [row for batch in batches for row in batch.quarantined])
    _insert(connection, INSERT_SLATE, [row for batch in batches for row in batch.slates])
    return statuses


def _insert_events(connection: Connection, rows: list[Row]) -> set[tuple[str, str]]:
    """Insert and return the (tenant, event_id) that were not there before."""
    if not rows:
        return set()
    high_water = connection.exec_driver_sql("SELECT coalesce(max(seq), 0) FROM event").scalar_one()
    written = connection.exec_driver_sql(INSERT_EVENT, rows).rowcount
    if written == len(rows):
        return {(row[0], row[1]) for row in rows}
    found = connection.exec_driver_sql("SELECT tenant, event_id FROM event WHERE seq > ?", (high_water,))
    return {(tenant, event_id) for tenant, event_id in found}


def _insert(connection: Connection, statement: str, rows: list[Row]) -> None:
    # An empty list would be taken for one row of nothing.
    if rows:
        connection.exec_driver_sql(statement, rows)


@dataclass(slots=True)
class _Pending:
    """A request thread that waits for its batch; `done` is released when there is an outcome."""

    batch: EncodedBatch
    done: threading.Lock = field(default_factory=threading.Lock)
    statuses: list[AppendStatus] | None = None
    error: Exception | None = None
    settled: bool = False

    def __post_init__(self) -> None:
        self.done.acquire()

    def settle(self, *, statuses: list[AppendStatus] | None = None, error: Exception | None = None) -> None:
        if not self.settled:
            self.statuses, self.error, self.settled = statuses, error, True
            self.done.release()


class GroupCommitter:
    """The one commit thread of a process; it starts with the first batch and so always after a fork."""

    def __init__(
        self, database: Database, *, waiting_rows: int = WAITING_ROWS, patience_s: float = PATIENCE_S
    ) -> None:
        self._database = database
        self._waiting_rows = waiting_rows
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._waiting: deque[_Pending] = deque()
        self._weight = 0
        self._closing = False
        self._thread: threading.Thread | None = None
        self._failure = ""
        self._probing = threading.Lock()
        self._probe_at = 0.0

    def append(self, batch: EncodedBatch) -> list[AppendStatus]:
        """Queue `batch`, block until it is durable, return the status of each event."""
        pending = _Pending(batch)
        self._enter(pending)
        if not pending.done.acquire(timeout=self._patience_s):
            self._failure = f"no answer from the database within {self._patience_s:g} s"
            raise StoreUnavailableError(
                f"{self._failure}; the batch may or may not be stored, sending it again is harmless"
            )
        if pending.error is not None:
            raise pending.error
        return pending.statuses or []

    def check(self) -> None:
        """Raise StoreUnavailableError while writing fails; after a failure a write is tried now and then.

        Without that try a server that was taken out of the turn for its full disk would never come back.
        """
        if not self._failure:
            return
        with self._probing:
            if self._failure and time.monotonic() >= self._probe_at:
                try:
                    self._database.probe()
                except StoreUnavailableError as error:
                    self._failure = str(error)
                else:
                    self._failure = ""
                self._probe_at = time.monotonic() + PROBE_EVERY_S
            if self._failure:
                raise StoreUnavailableError(self._failure)

    def close(self) -> bool:
        """Write what was accepted, then end the thread; return False if it is stuck and was left behind."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=self._patience_s)
        return self._thread is None or not self._thread.is_alive()

    def _enter(self, pending: _Pending) -> None:
        with self._changed:
            if self._closing:
                raise StoreUnavailableError("the store is closing")
            if self._weight + pending.batch.weight > self._waiting_rows and self._waiting:
                raise StoreBusyError(f"{self._weight} rows are waiting to be written already")
            self._waiting.append(pending)
            self._weight += pending.batch.weight
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="commit", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return
            self._turn()

    def _turn(self) -> None:
        """Take the lock, then whatever has gathered meanwhile: waiting for the lock is the linger.

        This thread waits without an end: who waits for it has a deadline, and only a blocking wait is fair.
        Nothing may end the thread, and nobody may wait for an answer that will not come.
        """
        group: list[_Pending] = []
        try:
            with self._database.lock.held():
                group = self._drain()
                self._commit(group)
                self._database.tidy()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the next batch deserves its own try
            reason = f"the lock file refused: {error.strerror}" if isinstance(error, OSError) else ""
            self._fail(group or self._drain(), reason or f"the commit failed: {type(error).__name__}")

    def _drain(self) -> list[_Pending]:
        group: list[_Pending] = []
        weight = 0
        with self._changed:
            while self._waiting and (not group or weight + self._waiting[0].batch.weight <= GROUP_ROWS):
                pending = self._waiting.popleft()
                group.append(pending)
                weight += pending.batch.weight
            self._weight -= weight
        return group

    def _commit(self, group: list[_Pending]) -> None:
        try:
            with self._database.transaction() as connection:
                statuses = commit_group(connection, [pending.batch for pending in group])
        except StoreUnavailableError as error:
            self._fail(group, str(error))
        except Exception as error:  # noqa: BLE001 - one poisonous row must not fail the others, nor end the thread
            if len(group) == 1:
                group[0].settle(error=error)
            else:
                for pending in group:
                    self._commit([pending])
        else:
            self._failure = ""
            for pending, answer in zip(group, statuses, strict=True):
                pending.settle(statuses=answer)

    def _fail(self, group: list[_Pending], reason: str) -> None:
        """Tell those who are not answered yet, and remember it for `check`."""
        self._failure = reason
        for pending in group:
            pending.settle(error=StoreUnavailableError(reason))
