"""Forgetting old rows of tables that lie in order of part and person and have no index by time.

Such an index would be written with every event, to be read once an hour. The table is walked instead, some
way with each call, in short reads.
"""

from collections.abc import Sequence

from sqlalchemy import Table, bindparam, delete, exists, select, tuple_
from sqlalchemy.sql import ColumnElement

from service.storage import schema
from service.storage.control import Connections
from service.storage.paging import PAGE_ROWS
from service.storage.parts import parts_of

SCAN_ROWS = 20_000
SWEEP_STEPS = 100
"""A call walks over at most this many times SCAN_ROWS rows (a person's rows in a part are not cut in two)."""
START = (-1, "")


def sweep_interactions(store: Connections, *, before_us: int, pages: int) -> int:
    """Delete interactions that are older, at most `pages` pages; return how many."""
    table = schema.interaction
    return _sweep(store, table, [table.c.occurred_us < before_us], pages=pages)


def sweep_activity(store: Connections, *, before_us: int, pages: int) -> int:
    """Delete what persons have not done since, at most `pages` pages; return how many rows.

    Who did it since then, which is to be seen in another part, is counted from the first time on.
    """
    table = schema.person_activity
    newer = table.alias("newer")
    since = exists().where(
        newer.c.tenant == store.tenant,
        newer.c.part.in_(select(parts_of(table, store.tenant).c.part)),
        newer.c.person_id == table.c.person_id,
        newer.c.event_type == table.c.event_type,
        newer.c.last_us >= before_us,
    )
    return _sweep(store, table, [table.c.last_us < before_us, ~since], pages=pages)


def _sweep(store: Connections, table: Table, old: Sequence[ColumnElement[bool]], *, pages: int) -> int:
    """Delete the rows that are `old`, at most `pages` pages; return how many.

    Goes on behind the last person that the call before looked at; after the last one, at the first.
    """
    place = tuple_(table.c.part, table.c.person_id)
    deleted = 0
    for _ in range(SWEEP_STEPS):
        after = store.swept.get(table.name, START)
        edge = _edge(store, table, after)
        mine = [table.c.tenant == store.tenant, place > after, *old]
        if edge is not None:
            mine.append(place <= edge)
        while pages > 0 and (gone := _delete_page(store, table, mine, old)):
            deleted += gone
            pages -= 1
        if pages == 0:
            break
        store.swept[table.name] = edge or START
        if edge is None:
            break
    return deleted


def _edge(store: Connections, table: Table, after: tuple[int, str]) -> tuple[int, str] | None:
    """Return part and person whose rows end the next stretch of the walk, None when the table ends first."""
    place = (table.c.part, table.c.person_id)
    query = (
        select(*place)
        .where(table.c.tenant == store.tenant, tuple_(*place) > after)
        .order_by(*place)
        .offset(SCAN_ROWS)
        .limit(1)
    )
    with store.reading() as connection:
        found = connection.execute(query).one_or_none()
    return None if found is None else (found.part, found.person_id)


def _delete_page(
    store: Connections,
    table: Table,
    mine: Sequence[ColumnElement[bool]],
    old: Sequence[ColumnElement[bool]],
) -> int:
    key = table.primary_key.columns
    with store.reading() as connection:
        page = connection.execute(select(*key).where(*mine).limit(PAGE_ROWS)).mappings().all()
    if not page:
        return 0
    # Whoever came back since the page was read keeps the row.
    one = delete(table).where(*(column == bindparam(f"key_{column.name}") for column in key), *old)
    keys = [{f"key_{name}": row[name] for name in row} for row in page]
    with store.writing() as connection:
        connection.execute(one, keys)
    return len(page)
