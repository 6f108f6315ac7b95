"""The store: SQLAlchemy Core over SQLite or PostgreSQL, writes grouped by one thread a process."""

import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial

from sqlalchemy import Connection, func, select

from service.settings import Settings
from service.storage import erasure, rows, schema
from service.storage.commit import GroupCommitter
from service.storage.control import SqlControl
from service.storage.decisions import SqlDecisions
from service.storage.dialects import upsert
from service.storage.engine import Database, store_errors
from service.storage.goals import SqlGoals
from service.storage.leases import SqlLeases, check_lease
from service.storage.lookup import SqlLookup
from service.storage.outbox import SqlOutbox
from service.storage.people import SqlPeople
from service.storage.places import Place, open_database, place_of, writer_for
from service.storage.ports import IngestBatch
from service.storage.quarantine import SqlQuarantine
from service.storage.records import DEFAULT_TENANT, AppendStatus, Item, LoggedEvent
from service.storage.retention import SqlRetention
from service.storage.steering import SqlSteerings
from service.storage.verdicts import SqlVerdicts

READ_ROWS = 2_000
WRITE_ROWS = 1_000


def open_store(settings: Settings) -> "SqlStore":
    """Return the store named by the settings; connections are opened by the first use, in each process.

    Raises
    ------
    SettingsError
        If the database URL names neither a SQLite file nor a PostgreSQL database.
    """
    return SqlStore(place_of(settings.database_url))


class SqlStore(
    SqlControl,
    SqlVerdicts,
    SqlLookup,
    SqlPeople,
    SqlQuarantine,
    SqlRetention,
    SqlSteerings,
    SqlGoals,
    SqlLeases,
    SqlDecisions,
    SqlOutbox,
):
    """All ports of the store. One object may be made before a fork and used after it, by any thread."""

    def __init__(self, place: Place, *, tenant: str = DEFAULT_TENANT) -> None:
        self.place = place
        self.tenant = tenant
        self.swept: dict[str, tuple[int, str]] = {}
        self.writer = writer_for(place)
        self._opening = threading.Lock()
        self._open: tuple[Database, GroupCommitter] | None = None
        self._inherited: list[object] = []
        _STORES.add(self)

    def append(self, batch: IngestBatch) -> Sequence[AppendStatus]:
        """Write `batch` in one durable transaction; return the status of each event, in order."""
        encoded = rows.encode(batch, tenant=self.tenant)
        database, committer = self._process()
        database.look_ahead(self.tenant, [one.event.event_id for one in batch.events])
        return committer.append(encoded)

    def submit(self, batch: IngestBatch) -> "Future[Sequence[AppendStatus]]":
        """Queue what `append` would write and return without waiting for it."""
        encoded = rows.encode(batch, tenant=self.tenant)
        database, committer = self._process()
        database.look_ahead(self.tenant, [one.event.event_id for one in batch.events])
        return committer.submit(encoded)

    def read(self, after: int, limit: int) -> Sequence[LoggedEvent]:
        """Return up to `limit` events with seq > `after`, in log order, by several short reads."""
        table = schema.event
        found: list[LoggedEvent] = []
        horizon = self._process()[0].horizon()
        complete = [] if horizon is None else [table.c.seq <= horizon]
        while len(found) < limit:
            page = min(limit - len(found), READ_ROWS)
            query = (
                select(table)
                .where(table.c.seq > after, *complete, schema.residual(table.c.tenant) == self.tenant)
                .order_by(table.c.seq)
                .limit(page)
            )
            with self.reading() as connection:
                result = connection.execute(query).all()
            found.extend(rows.logged_event(row) for row in result)
            if len(result) < page:
                break
            after = result[-1].seq
        return found

    def last_seq(self) -> int:
        """Return the offset of the newest event, 0 for an empty log."""
        horizon = self._process()[0].horizon()
        if horizon is not None:
            return horizon
        with self.reading() as connection:
            return int(
                connection.execute(select(func.coalesce(func.max(schema.event.c.seq), 0))).scalar_one()
            )

    def delete_person(
        self, person_ids: Iterable[str], *, user_ids: Iterable[str], anonymous_ids: Iterable[str]
    ) -> Mapping[str, int]:
        """Erase every row of the person; return rows erased by table."""
        person = erasure.Person.of(self.tenant, person_ids, user_ids, anonymous_ids)
        database = self._process()[0]
        # No deadline here: half an erasure is no answer.
        erased = erasure.erase(person, reading=self.reading, writing=partial(database.writing, within_s=None))
        database.wipe()
        return erased

    def put_items(self, items: Sequence[Item]) -> int:
        """Insert or replace; return how many rows were written."""
        table = schema.item
        values = [
            {
                "tenant": self.tenant,
                "item_id": item.item_id,
                "fields": rows.to_json(item.fields),
                "categories": rows.to_json(list(item.categories)),
                "active": int(item.active),
            }
            for item in items
        ]
        for start in range(0, len(values), WRITE_ROWS):
            with self.writing() as connection:
                statement = upsert(connection, table)
                changed = {name: statement.excluded[name] for name in ("fields", "categories", "active")}
                statement = statement.on_conflict_do_update(
                    index_elements=["tenant", "item_id"], set_=changed
                )
                connection.execute(statement, values[start : start + WRITE_ROWS])
        return len(values)

    def all_items(self) -> Sequence[Item]:
        """Return every item, in order of item_id."""
        table = schema.item
        found: list[Item] = []
        while True:
            after = found[-1].item_id if found else ""
            query = (
                select(table)
                .where(table.c.tenant == self.tenant, table.c.item_id > after)
                .order_by(table.c.item_id)
                .limit(READ_ROWS)
            )
            with self.reading() as connection:
                result = connection.execute(query).all()
            found.extend(
                Item(
                    item_id=row.item_id,
                    fields=rows.from_json(row.fields),
                    categories=tuple(rows.from_json(row.categories)),
                    active=bool(row.active),
                )
                for row in result
            )
            if len(result) < READ_ROWS:
                return found

    def ping(self) -> None:
        """Raise StoreUnavailableError when the store cannot answer, or could not write and still cannot."""
        self.live_state()
        self._process()[1].check()

    def close(self) -> None:
        """Finish what was accepted, then release connections and locks; a later use opens them again."""
        with self._opening:
            opened, self._open = self._open, None
        if opened is not None:
            database, committer = opened
            # A thread that still waits for the lock of a stuck writer needs its connections.
            if committer.close():
                database.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a short read transaction."""
        with self._process()[0].reading() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give the writer's turn: committed at the end of the block, rolled back when it raises.

        Raises
        ------
        LeaseLostError
            Inside of `under`, if somebody else has got that lease.
        """
        with self._process()[0].writing() as connection:
            check_lease(connection, self.tenant)
            yield connection

    def _process(self) -> tuple[Database, GroupCommitter]:
        """Return this process's connections and commit thread, made on the first use."""
        opened = self._open
        if opened is not None:
            return opened
        with self._opening:
            if self._open is None:
                with store_errors():
                    database = open_database(self.place)
                self._open = (database, GroupCommitter(database, self.writer))
            return self._open

    def after_fork(self) -> None:
        """Forget, in a forked child, what belongs to the parent, without closing any of it.

        Closing an inherited connection would write to a file that the parent has open.
        """
        self._inherited.append(self._open)
        self._open = None
        self._opening = threading.Lock()


_STORES: "weakref.WeakSet[SqlStore]" = weakref.WeakSet()


def _forget_in_child() -> None:
    for store in list(_STORES):
        store.after_fork()


os.register_at_fork(after_in_child=_forget_in_child)
