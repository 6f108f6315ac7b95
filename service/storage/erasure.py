"""Erasing a person from every personal table, in pages, so that no lock is held for long."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, func, or_, select
from sqlalchemy.sql import ColumnElement

from service.storage import schema
from service.storage.paging import PAGE_ROWS, Scope, delete_in_pages

SCAN_ROWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The ids that one person is known by, and the tenant they belong to."""

    tenant: str
    user_ids: tuple[str, ...]
    anonymous_ids: tuple[str, ...]

    @classmethod
    def of(
        cls, tenant: str, person_ids: Iterable[str], user_ids: Iterable[str], anonymous_ids: Iterable[str]
    ) -> "Person":
        """Merge prefixed and bare ids."""
        prefixed = tuple(person_ids)
        users = {p[2:] for p in prefixed if p.startswith("u:")} | set(user_ids)
        anonymous = {p[2:] for p in prefixed if p.startswith("a:")} | set(anonymous_ids)
        return cls(tenant=tenant, user_ids=tuple(sorted(users)), anonymous_ids=tuple(sorted(anonymous)))

    @property
    def person_ids(self) -> tuple[str, ...]:
        """Return the prefixed ids."""
        return (*(f"u:{u}" for u in self.user_ids), *(f"a:{a}" for a in self.anonymous_ids))

    def named_in_log(self) -> ColumnElement[bool]:
        """Return the condition that an event names the person."""
        table = schema.event
        return and_(
            schema.residual(table.c.tenant) == self.tenant,
            or_(table.c.user_id.in_(self.user_ids), table.c.anonymous_id.in_(self.anonymous_ids)),
        )


def erase(person: Person, *, reading: Scope, writing: Scope) -> Mapping[str, int]:
    """Erase every row of `person`; return the rows erased by table.

    The log has no index by person (each insert would pay for it), so it is scanned in short read
    transactions and only the hits are deleted under the writer's turn.
    """
    erased = {"event": 0, "interaction": 0, "quarantine": 0, "slate": 0}
    for hits in _scan_events(person, reading):
        with writing() as connection:
            erased["interaction"] += _delete_copies(connection, person, hits)
            gone = delete(schema.event).where(schema.event.c.seq.in_([hit[0] for hit in hits]))
            erased["event"] += connection.execute(gone).rowcount
    table, slate, bad = schema.interaction, schema.slate, schema.quarantine
    with writing() as connection:
        mine = and_(table.c.tenant == person.tenant, table.c.person_id.in_(person.person_ids))
        erased["interaction"] += connection.execute(delete(table).where(mine)).rowcount
    erased["slate"] += delete_in_pages(
        writing, slate.c.slate_id, (slate.c.person_id.in_(person.person_ids),), tenant=person.tenant
    )
    # One after the other: SQLite has an index for each of these conditions and none for their OR.
    for named in (
        bad.c.user_id.in_(person.user_ids),
        bad.c.anonymous_id.in_(person.anonymous_ids),
        bad.c.unit_id.in_((*person.user_ids, *person.anonymous_ids)),
    ):
        erased["quarantine"] += delete_in_pages(writing, bad.c.digest, (named,), tenant=person.tenant)
    return erased


def linked_ids(person: Person, *, reading: Scope) -> tuple[str, ...]:
    """Return the anonymous ids that came in events of the person's users and of nobody else."""
    mine = {
        anonymous_id for hits in _scan_events(person, reading) for *_, anonymous_id in hits if anonymous_id
    }
    if not mine:
        return ()
    devices = Person(tenant=person.tenant, user_ids=(), anonymous_ids=tuple(sorted(mine)))
    shared = {
        anonymous_id
        for hits in _scan_events(devices, reading)
        for _, _, user_id, anonymous_id in hits
        if user_id and user_id not in person.user_ids
    }
    return tuple(sorted(mine - shared))


Hit = tuple[int, str, str | None, str | None]


def _scan_events(person: Person, reading: Scope) -> Iterator[list[Hit]]:
    """Yield the log rows that name the person, a page at a time; each range of the log is one short read."""
    table = schema.event
    with reading() as connection:
        last = connection.execute(select(func.coalesce(func.max(table.c.seq), 0))).scalar_one()
    for start in range(0, last, SCAN_ROWS):
        query = select(table.c.seq, table.c.event_id, table.c.user_id, table.c.anonymous_id).where(
            table.c.seq > start, table.c.seq <= min(start + SCAN_ROWS, last), person.named_in_log()
        )
        with reading() as connection:
            hits: list[Hit] = [
                (row.seq, row.event_id, row.user_id, row.anonymous_id) for row in connection.execute(query)
            ]
        for page in range(0, len(hits), PAGE_ROWS):
            yield hits[page : page + PAGE_ROWS]


def _delete_copies(connection: Connection, person: Person, hits: list[Hit]) -> int:
    """Delete what the erased events left under an id that is not among the person's: it is the same fact."""
    table = schema.interaction
    erased = 0
    for _seq, event_id, user_id, anonymous_id in hits:
        others = [f"u:{user_id}"] if user_id and user_id not in person.user_ids else []
        others += [f"a:{anonymous_id}"] if anonymous_id and anonymous_id not in person.anonymous_ids else []
        if others:
            mine = and_(
                table.c.tenant == person.tenant, table.c.person_id.in_(others), table.c.event_id == event_id
            )
            erased += connection.execute(delete(table).where(mine)).rowcount
    return erased
