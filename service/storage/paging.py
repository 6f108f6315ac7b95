"""Deleting many rows by many short transactions, so that nobody waits for the writer's turn for long."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy import Column, Connection, delete, select
from sqlalchemy.sql import ColumnElement

PAGE_ROWS = 500

Scope = Callable[[], AbstractContextManager[Connection]]


def delete_in_pages(
    writing: Scope,
    key: Column[str],
    mine: tuple[ColumnElement[bool], ...],
    *,
    tenant: str,
    pages: int | None = None,
) -> int:
    """Delete the rows of `key`'s table that fulfil all of `mine`, at most `pages` pages; return how many.

    `key` is the column that makes the primary key together with the tenant.
    """
    table = key.table
    some = select(key).where(table.c.tenant == tenant, *mine).limit(PAGE_ROWS)
    page = delete(table).where(table.c.tenant == tenant, key.in_(some.scalar_subquery()))
    deleted = done = 0
    while pages is None or done < pages:
        with writing() as connection:
            gone = connection.execute(page).rowcount
        deleted += gone
        done += 1
        if gone < PAGE_ROWS:
            break
    return deleted
