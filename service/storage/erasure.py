"""Erasing a person from every personal table, in pages, so that no lock is held for long."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, Select, and_, case, delete, func, insert, or_, select
from sqlalchemy.sql import ColumnElement

from service.storage import schema
from service.storage.naming import ALIASED, previous_in
from service.storage.paging import PAGE_ROWS, Scope, delete_in_pages
from service.storage.parts import in_any_part, part_of
from service.storage.records import Mark
from service.storage.rows import from_json

SCAN_ROWS = 20_000
OTHERS_AT_ONCE = 200


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
        """Return the condition that an event names the person, or is an alias, which may inside."""
        table = schema.event
        return and_(
            schema.residual(table.c.tenant) == self.tenant,
            or_(
                table.c.user_id.in_(self.user_ids),
                table.c.anonymous_id.in_(self.anonymous_ids),
                table.c.type == ALIASED,
            ),
        )

    def is_in(self, hit: "Hit") -> bool:
        """Tell whether an event names the person, be it as the id that an alias replaced."""
        named = hit.user_id in self.user_ids or hit.anonymous_id in self.anonymous_ids
        return named or hit.previous in self.user_ids or hit.previous in self.anonymous_ids


def erase(person: Person, *, reading: Scope, writing: Scope) -> Mapping[str, int]:
    """Erase every row of `person`; return the rows erased by table.

    The log has no index by person (each insert would pay for it), so it is scanned in short read
    transactions and only the hits are deleted under the writer's turn.
    """
    tables = ("event", "interaction", "quarantine", "slate", "person_activity", "identity_link", "consent")
    erased = dict.fromkeys(tables, 0)
    bad = schema.quarantine
    # First: a replay that has not begun to write finds nothing to bring into the log any more. One condition
    # after the other: SQLite has an index for each of them and none for their OR.
    for named in (
        bad.c.user_id.in_(person.user_ids),
        bad.c.anonymous_id.in_(person.anonymous_ids),
        bad.c.unit_id.in_((*person.user_ids, *person.anonymous_ids)),
    ):
        erased["quarantine"] += delete_in_pages(writing, bad.c.digest, (named,), tenant=person.tenant)
    others: set[str] = set()
    for hits in _scan_events(person, reading, _last_seq(writing)):
        others.update(other for hit in hits for other in _others(person, hit))
        with writing() as connection:
            erased["interaction"] += _delete_copies(connection, person, hits)
            erased["identity_link"] += _delete_said(connection, person, hits)
            gone = delete(schema.event).where(schema.event.c.seq.in_([hit.seq for hit in hits]))
            erased["event"] += connection.execute(gone).rowcount
    link, slate = schema.identity_link, schema.slate
    for table in (schema.interaction, schema.person_activity, schema.consent):
        gone = delete(table).where(table.c.tenant == person.tenant, table.c.person_id.in_(person.person_ids))
        if table is not schema.consent:
            gone = gone.where(in_any_part(table, person.tenant))
        with writing() as connection:
            erased[table.name] += connection.execute(gone).rowcount
    shared = sorted(others)
    for start in range(0, len(shared), OTHERS_AT_ONCE):
        _count_again(
            Person.of(person.tenant, shared[start : start + OTHERS_AT_ONCE], (), ()), reading, writing
        )
    erased["slate"] += delete_in_pages(
        writing, slate.c.slate_id, (slate.c.person_id.in_(person.person_ids),), tenant=person.tenant
    )
    # Last, and at once: who asks again after half an erasure still finds the devices by them.
    with writing() as connection:
        for mine in (
            and_(link.c.tenant == person.tenant, link.c.from_id.in_(person.person_ids)),
            and_(schema.residual(link.c.tenant) == person.tenant, link.c.user_id.in_(person.user_ids)),
        ):
            erased["identity_link"] += connection.execute(delete(link).where(mine)).rowcount
    return erased


class Hit(NamedTuple):
    """What is needed of an event that names a person."""

    seq: int
    event_id: str
    type: str
    user_id: str | None
    anonymous_id: str | None
    occurred_us: int
    privacy: str | None
    alias: str | None
    """The properties of an alias."""

    @property
    def previous(self) -> str | None:
        """Return the id that an alias replaced."""
        return previous_in(self.type, from_json(self.alias)) if self.alias else None


def _select_hits(person: Person, after: int) -> Select[tuple[int, str, str, str, str, int, str, str]]:
    columns = schema.event.c
    alias = case((columns.type == ALIASED, columns.properties), else_=None)
    own = (columns[name] for name in Hit._fields[:-1])
    return select(*own, alias).where(columns.seq > after, person.named_in_log())


def _last_seq(writing: Scope) -> int:
    """Return the newest offset while nobody adds events: whatever is numbered below it can be seen."""
    with writing() as connection:
        return int(connection.execute(select(func.coalesce(func.max(schema.event.c.seq), 0))).scalar_one())


def _scan_events(person: Person, reading: Scope, last: int) -> Iterator[list[Hit]]:
    """Yield the log rows that name the person, a page at a time; each range of the log is one short read."""
    for start in range(0, last, SCAN_ROWS):
        query = _select_hits(person, start).where(schema.event.c.seq <= min(start + SCAN_ROWS, last))
        with reading() as connection:
            hits = [hit for row in connection.execute(query) if person.is_in(hit := Hit._make(row))]
        for page in range(0, len(hits), PAGE_ROWS):
            yield hits[page : page + PAGE_ROWS]


def _others(person: Person, hit: Hit) -> list[str]:
    """Return the ids in an event of the person that are not the person's."""
    others = [f"u:{hit.user_id}"] if hit.user_id and hit.user_id not in person.user_ids else []
    if hit.anonymous_id and hit.anonymous_id not in person.anonymous_ids:
        others.append(f"a:{hit.anonymous_id}")
    return others


def _delete_copies(connection: Connection, person: Person, hits: list[Hit]) -> int:
    """Delete what the erased events left under an id that is not among the person's: it is the same fact."""
    table = schema.interaction
    erased = 0
    for hit in hits:
        others = _others(person, hit)
        if others:
            mine = and_(
                table.c.tenant == person.tenant,
                in_any_part(table, person.tenant),
                table.c.person_id.in_(others),
                table.c.event_id == hit.event_id,
            )
            erased += connection.execute(delete(table).where(mine)).rowcount
    return erased


def _delete_said(connection: Connection, person: Person, hits: list[Hit]) -> int:
    """Delete the links that aliases of the person's ids said: an account's and a device's, it was both."""
    table = schema.identity_link
    erased = 0
    for hit in hits:
        if hit.previous:
            said = and_(
                table.c.tenant == person.tenant,
                table.c.from_id.in_((f"a:{hit.previous}", f"u:{hit.previous}")),
                table.c.user_id == hit.user_id,
            )
            erased += connection.execute(delete(table).where(said)).rowcount
    return erased


def _count_again(others: Person, reading: Scope, writing: Scope) -> None:
    """Make the activity of `others`, who shared an id with the erased person, of the log that is left."""
    table = schema.person_activity
    ids = frozenset(others.person_ids)
    last = _last_seq(writing)
    found: dict[tuple[str, str], _Times] = {}
    for hits in _scan_events(others, reading, last):
        _add(found, ids, hits)
    with writing() as connection:
        _add(found, ids, [Hit._make(row) for row in connection.execute(_select_hits(others, last))])
        mine = (
            table.c.tenant == others.tenant,
            in_any_part(table, others.tenant),
            table.c.person_id.in_(ids),
        )
        connection.execute(delete(table).where(*mine))
        values = [
            {
                "tenant": others.tenant,
                "part": part_of(last),
                "person_id": person_id,
                "event_type": event_type,
                "n": times.n,
                "first_us": times.first_us,
                "last_us": times.last_us,
            }
            for (person_id, event_type), times in found.items()
        ]
        if values:
            connection.execute(insert(table), values)


class _Times(NamedTuple):
    n: int
    first_us: int
    last_us: int


def _add(found: dict[tuple[str, str], _Times], ids: frozenset[str], hits: list[Hit]) -> None:
    for hit in hits:
        if Mark.NO_PERSONALIZATION in (hit.privacy or "").split():
            continue
        for person_id in ids.intersection((f"u:{hit.user_id}", f"a:{hit.anonymous_id}")):
            at = hit.occurred_us
            n, first, last = found.get((person_id, hit.type), (0, at, at))
            found[person_id, hit.type] = _Times(n + 1, min(first, at), max(last, at))
