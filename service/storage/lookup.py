"""Reads of single events and of one person's items, by index."""

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import select

from service.storage import rows, schema
from service.storage.control import Connections
from service.storage.records import Interaction, LoggedEvent

IDS_AT_ONCE = 500


class SqlLookup:
    """Point reads of the EventLog and People ports."""

    def stored_events(self: Connections, event_ids: Iterable[str]) -> Sequence[LoggedEvent]:
        """Return the events that are stored under these ids, in no order."""
        table = schema.event
        wanted = sorted(set(event_ids))
        found: list[LoggedEvent] = []
        for start in range(0, len(wanted), IDS_AT_ONCE):
            some = wanted[start : start + IDS_AT_ONCE]
            query = select(table).where(table.c.tenant == self.tenant, table.c.event_id.in_(some))
            with self.reading() as connection:
                found.extend(rows.logged_event(row) for row in connection.execute(query))
        return found

    def recent_of_types(
        self: Connections, person_id: str, event_types: Collection[str], limit: int
    ) -> Sequence[Interaction]:
        """Return the newest interactions of one person whose event has one of these types, newest first."""
        table = schema.interaction
        query = (
            select(table)
            .where(
                table.c.tenant == self.tenant,
                table.c.person_id == person_id,
                table.c.event_type.in_(sorted(event_types)),
            )
            .order_by(table.c.occurred_us.desc(), table.c.event_id.desc(), table.c.item_id.desc())
            .limit(limit)
        )
        with self.reading() as connection:
            return [rows.interaction(row) for row in connection.execute(query)]

    def items_of_types(self: Connections, person_id: str, event_types: Collection[str]) -> Collection[str]:
        """Return every item that the person ever had an event of one of these types with, once each."""
        table = schema.interaction
        query = (
            select(table.c.item_id)
            .where(
                table.c.tenant == self.tenant,
                table.c.person_id == person_id,
                table.c.event_type.in_(sorted(event_types)),
            )
            .distinct()
        )
        with self.reading() as connection:
            return frozenset(connection.execute(query).scalars())
