"""Forgetting old rows of tables that lie in order of person and have no index by time.

Such an index would be written with every event, to be read once an hour. The table is walked instead, some
way with each call, in short reads.
"""

from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, bindparam, delete, select
from sqlalchemy.sql import ColumnElement

from service.storage.control import Connections
from service.storage.paging import PAGE_ROWS

SCAN_ROWS = 20_000
SWEEP_STEPS = 100
"""A call walks over at most this many times SCAN_ROWS rows (and a person's rows are not cut in two)."""


def sweep(store: Connections, moment: Column[int], *, before_us: int, pages: int) -> int:
    """Delete rows of `moment`'s table with an earlier `moment`, at most `pages` pages; return how many.

    Goes on behind the last person that the call before looked at; after the last one, at the first.
    """
    table = moment.table
    deleted = 0
    for _ in range(SWEEP_STEPS):
        after = store.swept.get(table.name, "")
        edge = _edge(store, moment, after)
        mine = [table.c.tenant == store.tenant, table.c.person_id > after, moment < before_us]
        if edge is not None:
            mine.append(table.c.person_id <= edge)
        while pages > 0 and (gone := _delete_page(store, moment, mine, before_us=before_us)):
            deleted += gone
            pages -= 1
        if pages == 0:
            break
        store.swept[table.name] = edge or ""
        if edge is None:
            break
    return deleted


def _edge(store: Connections, moment: Column[int], after: str) -> str | None:
    """Return the person whose rows end the next stretch of the walk, None when the table ends first."""
    table = moment.table
    query = (
        select(table.c.person_id)
        .where(table.c.tenant == store.tenant, table.c.person_id > after)
        .order_by(table.c.person_id)
        .offset(SCAN_ROWS)
        .limit(1)
    )
    with store.reading() as connection:
        found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def _delete_page(
    store: Connections, moment: Column[int], mine: Sequence[ColumnElement[bool]], *, before_us: int
) -> int:
    key = moment.table.primary_key.columns
    with store.reading() as connection:
        page = connection.execute(select(*key).where(*mine).limit(PAGE_ROWS)).mappings().all()
    if not page:
        return 0
    # Whoever came back since the page was read keeps the row.
    one = delete(moment.table).where(
        *(column == bindparam(f"key_{column.name}") for column in key),
        moment < bindparam("before_us", type_=BigInteger),
    )
    keys = [{"before_us": before_us, **{f"key_{name}": row[name] for name in row}} for row in page]
    with store.writing() as connection:
        connection.execute(one, keys)
    return len(page)
