"""Leases in SQL: one statement takes one, by the clock of the database, so that no two get it.

The clocks of two machines may differ by more than a lease lasts; the database has one clock. What is written
`under` a lease is written only if nobody else has got it since, in the same transaction: a process that slept
for a minute and knows nothing of it changes nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, ColumnElement, Connection, case, literal, literal_column, select, update

from service.clock import from_micros, to_micros
from service.storage import schema
from service.storage.analysis_records import Lease
from service.storage.control import Connections
from service.storage.dialects import upsert
from service.storage.ports import StoreConflictError

CLOCKS = {
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
}
"""Microseconds since the epoch, as the database sees it; to the millisecond on SQLite."""

UNDER: ContextVar[Lease | None] = ContextVar("lease", default=None)


class LeaseLostError(StoreConflictError):
    """Somebody else has got the lease that this was to be written under; nothing was written."""


@contextmanager
def under(lease: Lease) -> Iterator[None]:
    """Let this thread write to the store only as long as nobody else has got `lease`.

    Events that are taken in meanwhile are not concerned.
    """
    token = UNDER.set(lease)
    try:
        yield
    finally:
        UNDER.reset(token)


def check_lease(connection: Connection, tenant: str) -> None:
    """Refuse to write under a lease that somebody else has got; for who has the writer's turn.

    Raises
    ------
    LeaseLostError
        If that is so.
    """
    lease = UNDER.get()
    if lease is None:
        return
    found = connection.execute(select(schema.lease.c.fence).where(*_held(tenant, lease))).first()
    if found is None:
        raise LeaseLostError(f"the lease {lease.name!r} went to another process; it goes on with this")


class SqlLeases:
    """The Leases port."""

    def acquire_lease(
        self: Connections, name: str, holder: str, *, ttl: timedelta, now: datetime | None = None
    ) -> Lease | None:
        """Give the lease to `holder` if it is free, has expired or is the holder's already; else None."""
        table = schema.lease
        with self.reading() as connection:
            held = select(table.c.name).where(
                table.c.tenant == self.tenant,
                table.c.name == name,
                table.c.holder != holder,
                table.c.expires_us > _moment(connection, now),
            )
            if connection.execute(held).first() is not None:
                # Who waits looks every second, and looking takes no lock.
                return None
        with self.writing() as connection:
            moment = _moment(connection, now)
            wanted = upsert(connection, table).values(
                tenant=self.tenant, name=name, holder=holder, fence=1, expires_us=moment + _micros(ttl)
            )
            new = wanted.excluded
            statement = wanted.on_conflict_do_update(
                index_elements=["tenant", "name"],
                set_={
                    "holder": new.holder,
                    "fence": table.c.fence + case((table.c.holder == new.holder, 0), else_=1),
                    "expires_us": new.expires_us,
                },
                where=(table.c.expires_us <= moment) | (table.c.holder == new.holder),
            ).returning(table.c.fence, table.c.expires_us)
            row = connection.execute(statement).first()
        if row is None:
            return None
        return Lease(name=name, holder=holder, fence=row.fence, expires_at=from_micros(row.expires_us))

    def renew_lease(
        self: Connections, lease: Lease, *, ttl: timedelta, now: datetime | None = None
    ) -> Lease | None:
        """Let it last for `ttl` from now; None when somebody else has got it since."""
        table = schema.lease
        with self.writing() as connection:
            row = connection.execute(
                update(table)
                .where(*_held(self.tenant, lease))
                .values(expires_us=_moment(connection, now) + _micros(ttl))
                .returning(table.c.expires_us)
            ).first()
        return None if row is None else replace(lease, expires_at=from_micros(row.expires_us))

    def release_lease(self: Connections, lease: Lease) -> None:
        """Let the next one have it at once; nothing happens when somebody else has got it already."""
        with self.writing() as connection:
            # The row stays: the fence of the next holder must be larger.
            connection.execute(update(schema.lease).where(*_held(self.tenant, lease)).values(expires_us=0))


def _held(tenant: str, lease: Lease) -> tuple[ColumnElement[bool], ...]:
    table = schema.lease
    return (
        table.c.tenant == tenant,
        table.c.name == lease.name,
        table.c.holder == lease.holder,
        table.c.fence == lease.fence,
    )


def _moment(connection: Connection, now: datetime | None) -> ColumnElement[int]:
    if now is not None:
        return literal(to_micros(now), BigInteger)
    return literal_column(CLOCKS[connection.dialect.name], BigInteger)


def _micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
