"""Full parts become one, sixteen at a time, so that whoever asks for a person looks into few.

A slice of their rows moves with each transaction, in the order of their keys. Nothing remembers how far that
came: what is in a part that others were put together with goes on moving. Readers find each row in the one
part or in the other, and a row of `person_activity` in both of them is a sum.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Table,
    case,
    delete,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.sql import ColumnElement

from service.storage import schema
from service.storage.control import Connections
from service.storage.dialects import Upsert, upsert
from service.storage.parts import parts_of

TOGETHER_BITS = 4
"""Two to this power parts become one, and as many of these again."""
SLICE_ROWS = 200
"""A transaction moves so many rows of each part."""
N_SLICES = 300


def to_merge(parts: Sequence[int]) -> list[int]:
    """Return which of these parts, in their order, are to become one; the newest of all still grows."""
    bits = TOGETHER_BITS
    while parts and parts[-1] >> bits:
        for whole, found in groupby(parts, key=lambda part: part >> bits):
            group = list(found)
            if len(group) > 1 and whole < parts[-1] >> bits:
                return group
        bits += TOGETHER_BITS
    return []


def merge(store: Connections, *, slices: int = N_SLICES) -> None:
    """Move at most so many slices of each table that lies in parts."""
    for table in (schema.interaction, schema.person_activity):
        for _ in range(slices):
            if not _move(store, table):
                break


def _move(store: Connections, table: Table) -> bool:
    """Move the next slice into the first of the parts that are to be one; return whether there was any."""
    known = parts_of(table, store.tenant)
    with store.reading() as connection:
        parts = connection.execute(select(known.c.part).where(known.c.part.is_not(None))).scalars().all()
        target, *sources = to_merge(parts) or [0]
        edges = [edge for part in sources if (edge := _edge(connection, table, store.tenant, part))]
    if not sources:
        return False
    moving = [table.c.tenant == store.tenant, table.c.part.in_(sources)]
    if edges:
        moving.append(tuple_(*_key(table)) <= min(edges))
    with store.writing() as connection:
        connection.execute(_copied(connection, table, moving, target))
        connection.execute(delete(table).where(*moving))
    return True


def _key(table: Table) -> list[Column[Any]]:
    """Return the columns of the key behind tenant and part."""
    return list(table.primary_key.columns)[2:]


def _edge(connection: Connection, table: Table, tenant: str, part: int) -> tuple[Any, ...] | None:
    """Return the key where a slice of one part ends, None when the part ends first."""
    key = _key(table)
    mine = (table.c.tenant == tenant, table.c.part == part)
    query = select(*key).where(*mine).order_by(*key).offset(SLICE_ROWS - 1).limit(1)
    found = connection.execute(query).one_or_none()
    return None if found is None else tuple(found)


def _copied(
    connection: Connection, table: Table, moving: Sequence[ColumnElement[bool]], target: int
) -> Upsert:
    """Return the statement that adds the moving rows to what `target` holds."""
    names = [column.name for column in table.columns]
    columns: dict[str, ColumnElement[Any]] = {name: table.c[name] for name in names}
    columns["part"] = literal(target, BigInteger)
    insert = upsert(connection, table)
    if table is schema.interaction:
        # Of two with the same key the one that was stored first stays.
        rows = select(*columns.values()).where(*moving).order_by(table.c.part)
        return insert.from_select(names, rows).on_conflict_do_nothing()
    columns["n"] = func.sum(table.c.n)
    columns["first_us"], columns["last_us"] = func.min(table.c.first_us), func.max(table.c.last_us)
    rows = select(*columns.values()).where(*moving).group_by(table.c.tenant, *_key(table))
    there, new = table.c, insert.excluded
    return insert.from_select(names, rows).on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={
            "n": there.n + new.n,
            "first_us": case((new.first_us < there.first_us, new.first_us), else_=there.first_us),
            "last_us": case((new.last_us > there.last_us, new.last_us), else_=there.last_us),
        },
    )
