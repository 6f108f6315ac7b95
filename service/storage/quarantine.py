"""Reading and emptying the quarantine."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import BigInteger, delete, func, literal, select, tuple_

from service.clock import from_micros, to_micros
from service.storage import rows, schema
from service.storage.control import Connections
from service.storage.paging import PAGE_ROWS
from service.storage.records import HeldEvent, HeldReason

LEAST_DIGITS = 6


class SqlQuarantine:
    """Part of the EventLog port."""

    def quarantine_counts(self: Connections) -> Mapping[str, int]:
        """Return the number of quarantined events by reason."""
        table = schema.quarantine
        query = (
            select(table.c.reason, func.count().label("n"))
            .where(table.c.tenant == self.tenant)
            .group_by(table.c.reason)
        )
        with self.reading() as connection:
            return {row.reason: row.n for row in connection.execute(query.order_by(table.c.reason))}

    def quarantine_reasons(self: Connections) -> Sequence[HeldReason]:
        """Return the reasons there are events in quarantine for, in order, each with its count and times."""
        table = schema.quarantine
        received = table.c.received_us
        query = (
            select(
                table.c.reason,
                func.count().label("n"),
                func.min(received).label("first_us"),
                func.max(received).label("last_us"),
            )
            .where(table.c.tenant == self.tenant)
            .group_by(table.c.reason)
            .order_by(table.c.reason)
        )
        with self.reading() as connection:
            return [
                HeldReason(
                    reason=row.reason,
                    n=row.n,
                    first_at=from_micros(row.first_us),
                    last_at=from_micros(row.last_us),
                )
                for row in connection.execute(query)
            ]

    def quarantined_exposures(
        self: Connections, experiment: str, phase: int | None = None
    ) -> Mapping[str, int]:
        """Return, by reason, how many exposures that name `experiment` (and `phase`) are in quarantine."""
        table = schema.quarantine
        query = (
            select(table.c.reason, func.count().label("n"))
            .where(table.c.tenant == self.tenant, table.c.experiment == experiment)
            .group_by(table.c.reason)
            .order_by(table.c.reason)
        )
        if phase is not None:
            query = query.where(table.c.phase == phase)
        with self.reading() as connection:
            return {row.reason: row.n for row in connection.execute(query)}

    def quarantined(
        self: Connections,
        *,
        reason: str = "",
        after: tuple[datetime, str] | None = None,
        limit: int = 100,
        oldest_first: bool = False,
    ) -> Sequence[HeldEvent]:
        """Return quarantined events, newest first unless told otherwise."""
        table = schema.quarantine
        place = (table.c.received_us, table.c.digest)
        query = select(table).where(table.c.tenant == self.tenant)
        if reason:
            query = query.where(table.c.reason == reason)
        if after is not None:
            seen = tuple_(literal(to_micros(after[0]), BigInteger), literal(after[1]))
            beyond = tuple_(*place) > seen if oldest_first else tuple_(*place) < seen
            query = query.where(beyond)
        order = place if oldest_first else [column.desc() for column in place]
        query = query.order_by(*order).limit(limit)
        with self.reading() as connection:
            return [rows.held_event(row) for row in connection.execute(query)]

    def quarantined_event(self: Connections, digest: str) -> Sequence[HeldEvent]:
        """Return those whose digest begins with `digest` (at least 6 hex digits), at most two."""
        if len(digest) < LEAST_DIGITS:
            return []
        table = schema.quarantine
        # Of hex digits "g" is the next one: a range, so that the key's own index serves.
        query = (
            select(table)
            .where(table.c.tenant == self.tenant, table.c.digest >= digest, table.c.digest < f"{digest}g")
            .order_by(table.c.digest)
            .limit(2)
        )
        with self.reading() as connection:
            return [rows.held_event(row) for row in connection.execute(query)]

    def drop_quarantined(self: Connections, digests: Iterable[str]) -> int:
        """Delete quarantined events for good; return how many there were."""
        table = schema.quarantine
        wanted = sorted(set(digests))
        dropped = 0
        for start in range(0, len(wanted), PAGE_ROWS):
            some = wanted[start : start + PAGE_ROWS]
            with self.writing() as connection:
                gone = delete(table).where(table.c.tenant == self.tenant, table.c.digest.in_(some))
                dropped += connection.execute(gone).rowcount
        return dropped
