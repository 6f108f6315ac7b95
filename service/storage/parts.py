"""The rows that events leave behind for their persons, in parts: one for each stretch of the log.

A table in order of person takes a new row somewhere in its middle. In a large one every row then costs a page
of its own, which is written twice. So the key begins with the number of a part: new rows go into the newest
part alone, which is small, and whoever asks for a person looks into each. Nothing depends on which part a row
is in. docs/decisions/0017-parts.md has the measurements.
"""

from typing import TypeAlias

from sqlalchemy import CTE, BindParameter, FromClause, func, select
from sqlalchemy.sql import ColumnElement

Tenant: TypeAlias = str | BindParameter[str]

PART_BITS = 16
"""A part takes the rows of two to this power offsets of the log."""


def part_of(seq: int) -> int:
    """Return the part for what the events from this offset of the log on leave behind."""
    return seq >> PART_BITS


def parts_of(table: FromClause, tenant: Tenant) -> CTE:
    """Return the parts that `table` has, by one step into its key each.

    After the last one comes a NULL, which is equal to nothing.
    """
    mine = table.c.tenant == tenant
    found = (
        select(func.min(table.c.part).label("part")).where(mine).cte("parts", recursive=True, nesting=True)
    )
    following = select(func.min(table.c.part)).where(mine, table.c.part > found.c.part).scalar_subquery()
    return found.union_all(select(following).where(found.c.part.is_not(None)))


def in_any_part(table: FromClause, tenant: Tenant) -> ColumnElement[bool]:
    """Return the condition, always true, by which the key of `table` finds persons: part by part."""
    return table.c.part.in_(select(parts_of(table, tenant).c.part))
