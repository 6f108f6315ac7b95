"""The statements of the commit thread, as few and as cheap as the driver allows."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import sqlite

from service.storage import schema
from service.storage.parts import part_of

Row: TypeAlias = tuple[Any, ...]
"""The columns of a table in order, as the driver takes them; those of `event` without `seq`."""
EventKey: TypeAlias = tuple[str, str]
"""(tenant, event_id)."""


class NewEvents(NamedTuple):
    """The events of a group that were new, and the part of the first of them: for what they leave behind."""

    keys: set[EventKey]
    part: int


class Writer(Protocol):
    """What a group of batches is written with, inside the open transaction of `connection`."""

    def insert_events(self, connection: Connection, rows: Sequence[Row]) -> NewEvents:
        """Insert events in order, pass over those that are there."""
        ...

    def insert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows, pass over those whose key is there."""
        ...

    def add_activity(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Add to `person_activity`; no key comes twice."""
        ...

    def add_links(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Add to `identity_link`: the earliest time stays; no key comes twice."""
        ...


def natural_key(table: Table) -> list[str]:
    """Return the columns by which a row is known as one that came before.

    An event is known by its id: another one under the same offset is damage, and no duplicate.
    """
    if table is schema.event:
        return ["tenant", "event_id"]
    return [column.name for column in table.primary_key.columns]


def insert_sql(table: Table) -> str:
    """Return driver SQL that inserts a tuple of all columns but `seq`, and skips the keys that are there."""
    columns = [column.name for column in table.columns if column.name != "seq"]
    statement = sqlite.insert(table).on_conflict_do_nothing(index_elements=natural_key(table))
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="qmark"), column_keys=columns))


class SqliteWriter:
    """Tuples through the driver's executemany."""

    _INSERT: ClassVar = {
        table.name: insert_sql(table)
        for table in (schema.event, schema.interaction, schema.quarantine, schema.slate)
    }
    _ADD_ACTIVITY = (
        "INSERT INTO person_activity (tenant, part, person_id, event_type, n, first_us, last_us) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n, "
        "first_us = min(first_us, excluded.first_us), last_us = max(last_us, excluded.last_us)"
    )
    # A link that says nothing new costs a look, not a page.
    _ADD_LINK = (
        "INSERT INTO identity_link (tenant, from_id, user_id, trust, linked_us) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET linked_us = excluded.linked_us WHERE excluded.linked_us < linked_us"
    )

    def insert_events(self, connection: Connection, rows: Sequence[Row]) -> NewEvents:
        """Insert events in order, pass over those that are there."""
        if not rows:
            return NewEvents(set(), 0)
        high_water = connection.exec_driver_sql("SELECT coalesce(max(seq), 0) FROM event").scalar_one()
        written = connection.exec_driver_sql(self._INSERT["event"], list(rows)).rowcount
        if written == len(rows):
            return NewEvents({(row[0], row[1]) for row in rows}, part_of(high_water + 1))
        found = connection.exec_driver_sql("SELECT tenant, event_id FROM event WHERE seq > ?", (high_water,))
        return NewEvents({(tenant, event_id) for tenant, event_id in found}, part_of(high_water + 1))

    def insert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows, pass over those whose key is there."""
        _many(connection, self._INSERT[table.name], rows)

    def add_activity(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Add to `person_activity`; no key comes twice."""
        _many(connection, self._ADD_ACTIVITY, rows)

    def add_links(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Add to `identity_link`: the earliest time stays; no key comes twice."""
        _many(connection, self._ADD_LINK, rows)


def _many(connection: Connection, statement: str, rows: Sequence[Row]) -> None:
    # An empty list would be taken for one row of nothing.
    if rows:
        connection.exec_driver_sql(statement, list(rows))
