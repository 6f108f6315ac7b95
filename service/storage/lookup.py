"""Reads of single events and of one person's items, by index."""

from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import BindParameter, Integer, bindparam, func, select
from sqlalchemy import Row as SqlRow

from service.storage import rows, schema
from service.storage.control import Connections
from service.storage.parts import in_any_part, parts_of
from service.storage.records import Interaction, LoggedEvent

IDS_AT_ONCE = 500
FIRST_US = -(1 << 63)

# Written once, as those of people.py: they are asked while somebody waits for a page.
_TENANT: BindParameter[str] = bindparam("tenant")
_PERSON: BindParameter[str] = bindparam("person_id")
_TYPES: BindParameter[Sequence[str]] = bindparam("types", expanding=True)
_WANTED = bindparam("wanted", type_=Integer)
_ALL = schema.interaction
_PARTS = parts_of(_ALL, _TENANT)
_THEIRS = _ALL.alias("theirs")
# As many as are wanted, of each part: whoever has a million rows has no more than that read.
_OLDEST = (
    select(_THEIRS.c.occurred_us)
    .where(
        _THEIRS.c.tenant == _TENANT,
        _THEIRS.c.part == _PARTS.c.part,
        _THEIRS.c.person_id == _PERSON,
        _THEIRS.c.event_type.in_(_TYPES),
    )
    .order_by(_THEIRS.c.occurred_us.desc())
    .offset(_WANTED - 1)
    .limit(1)
    .scalar_subquery()
)
_RECENT = (
    select(_ALL)
    .select_from(_PARTS, _ALL)
    .where(
        _ALL.c.tenant == _TENANT,
        _ALL.c.part == _PARTS.c.part,
        _ALL.c.person_id == _PERSON,
        _ALL.c.event_type.in_(_TYPES),
        _ALL.c.occurred_us >= func.coalesce(_OLDEST, FIRST_US),
    )
    .order_by(_ALL.c.occurred_us.desc(), _ALL.c.event_id.desc(), _ALL.c.item_id.desc(), _ALL.c.part)
    .limit(_WANTED)
)
_ITEMS = (
    select(_ALL.c.item_id)
    .where(
        _ALL.c.tenant == _TENANT,
        in_any_part(_ALL, _TENANT),
        _ALL.c.person_id == _PERSON,
        _ALL.c.event_type.in_(_TYPES),
    )
    .distinct()
)


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
        asked = {"tenant": self.tenant, "person_id": person_id, "types": sorted(event_types)}
        wanted = limit
        while True:
            with self.reading() as connection:
                found = connection.execute(_RECENT, {**asked, "wanted": wanted}).all()
            # An event sent again after the log had forgotten it may be in two parts: the first counts.
            distinct: dict[tuple[int, str, str], SqlRow[Any]] = {}
            for row in found:
                distinct.setdefault((row.occurred_us, row.event_id, row.item_id), row)
            if len(distinct) >= limit or len(found) < wanted:
                return [rows.interaction(row) for row in islice(distinct.values(), limit)]
            wanted *= 2

    def items_of_types(self: Connections, person_id: str, event_types: Collection[str]) -> Collection[str]:
        """Return every item that the person ever had an event of one of these types with, once each."""
        asked = {"tenant": self.tenant, "person_id": person_id, "types": sorted(event_types)}
        with self.reading() as connection:
            return frozenset(connection.execute(_ITEMS, asked).scalars())
