"""The statements of the commit thread on PostgreSQL: the rows of a table travel as one array a column."""

from collections.abc import Sequence
from typing import Any, ClassVar

from sqlalchemy import Connection, Table

from service.storage import schema
from service.storage.parts import part_of
from service.storage.writers import NewEvents, Row, natural_key


def _arrays(table: Table) -> tuple[str, str]:
    """Return the columns a tuple of driver values holds, and the arrays they come in, as SQL."""
    columns = [column for column in table.columns if column.name != "seq"]
    kinds = {str: "text", int: "bigint", float: "double precision"}
    arrays = ", ".join(f"%s::{kinds[column.type.python_type]}[]" for column in columns)
    return ", ".join(column.name for column in columns), arrays


def insert_sql(table: Table) -> str:
    """Return SQL that inserts the rows of one array a column, in their order."""
    names, arrays = _arrays(table)
    rows = f"unnest({arrays}) WITH ORDINALITY AS given ({names}, place)"
    return f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {rows} ORDER BY place"  # noqa: S608


def new_only(table: Table) -> str:
    """Return SQL that inserts rows like `insert_sql`, and skips the keys that are there."""
    return f"{insert_sql(table)} ON CONFLICT ({', '.join(natural_key(table))}) DO NOTHING"


class PostgresWriter:
    """One statement a table: the rows travel as one array a column.

    Rows that another writer may be writing at the same time come in the order of their keys, so that two
    writers do not wait for each other in a circle. Events do not: their order is that of the log. Where two
    groups repeat each other's events in another order, the database ends one of them, and it is done again.
    """

    _EVENTS = f"{new_only(schema.event)} RETURNING tenant, event_id, seq"
    _INSERT: ClassVar = {
        table.name: new_only(table) for table in (schema.interaction, schema.quarantine, schema.slate)
    }
    _ADD_ACTIVITY = (
        f"{insert_sql(schema.person_activity)} ON CONFLICT (tenant, part, person_id, event_type) "
        "DO UPDATE SET n = person_activity.n + excluded.n, "
        "first_us = least(person_activity.first_us, excluded.first_us), "
        "last_us = greatest(person_activity.last_us, excluded.last_us)"
    )
    # A link that says nothing new writes nothing.
    _ADD_LINK = (
        f"{insert_sql(schema.identity_link)} ON CONFLICT (tenant, from_id, user_id, trust) DO UPDATE SET "
        "linked_us = excluded.linked_us WHERE excluded.linked_us < identity_link.linked_us"
    )

    def insert_events(self, connection: Connection, rows: Sequence[Row]) -> NewEvents:
        """Insert events in order, pass over those that are there."""
        new = connection.exec_driver_sql(self._EVENTS, _columns(rows)).all() if rows else []
        first = min((row.seq for row in new), default=0)
        return NewEvents({(row.tenant, row.event_id) for row in new}, part_of(first))

    def insert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows, pass over those whose key is there."""
        n_keys = len(table.primary_key.columns)
        if rows:
            ordered = sorted(rows, key=lambda row: row[:n_keys])
            connection.exec_driver_sql(self._INSERT[table.name], _columns(ordered))

    def add_activity(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Add to `person_activity`; no key comes twice."""
        if rows:
            connection.exec_driver_sql(self._ADD_ACTIVITY, _columns(rows))

    def add_links(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Add to `identity_link`: the earliest time stays; no key comes twice."""
        if rows:
            connection.exec_driver_sql(self._ADD_LINK, _columns(rows))


def _columns(rows: Sequence[Row]) -> tuple[list[Any], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))
