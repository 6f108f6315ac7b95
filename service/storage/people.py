"""What is known of single persons: activity, links between their ids, consent."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from sqlalchemy import Column, Row, bindparam, func, select, union_all
from sqlalchemy.sql import ColumnElement

from service.clock import from_micros, to_micros
from service.storage import schema
from service.storage.control import Connections
from service.storage.dialects import upsert
from service.storage.parts import in_any_part
from service.storage.records import Activity, Consent, IdentityLink, Purpose
from service.storage.rows import link_row

IDS_AT_ONCE = 500

# Written once: they are asked while events are judged, and putting them together costs more than the answer.
_CONSENTS = select(schema.consent).where(
    schema.consent.c.tenant == bindparam("tenant"),
    schema.consent.c.person_id.in_(bindparam("person_ids", expanding=True)),
)
_DONE = schema.person_activity
_ACTIVITY = (
    select(
        _DONE.c.event_type,
        func.sum(_DONE.c.n).label("n"),
        func.min(_DONE.c.first_us).label("first_us"),
        func.max(_DONE.c.last_us).label("last_us"),
    )
    .where(
        _DONE.c.tenant == bindparam("tenant"),
        in_any_part(_DONE, bindparam("tenant")),
        _DONE.c.person_id == bindparam("person_id"),
    )
    .group_by(_DONE.c.event_type)
    .order_by(_DONE.c.event_type)
)
_AROUND = union_all(
    select(schema.identity_link).where(
        schema.identity_link.c.tenant == bindparam("tenant"),
        schema.identity_link.c.from_id.in_(bindparam("from_ids", expanding=True)),
    ),
    select(schema.identity_link).where(
        schema.residual(schema.identity_link.c.tenant) == bindparam("tenant"),
        schema.identity_link.c.user_id.in_(bindparam("user_ids", expanding=True)),
        schema.identity_link.c.trust == "server",
        schema.identity_link.c.from_id.startswith("u:"),
    ),
)


class SqlPeople:
    """Part of the People port."""

    def activity(self: Connections, person_id: str) -> Sequence[Activity]:
        """Return what one person did, in order of event_type."""
        with self.reading() as connection:
            return [
                Activity(
                    person_id=person_id,
                    event_type=row.event_type,
                    n=int(row.n),
                    first_at=from_micros(row.first_us),
                    last_at=from_micros(row.last_us),
                )
                for row in connection.execute(_ACTIVITY, {"tenant": self.tenant, "person_id": person_id})
            ]

    def put_links(self: Connections, links: Sequence[IdentityLink]) -> None:
        """Store links; of one that is there the earlier time stays."""
        for link in links:
            with self.writing() as connection:
                self.writer.add_links(connection, [link_row(self.tenant, link)])

    def links_from(self: Connections, from_ids: Iterable[str]) -> Sequence[IdentityLink]:
        """Return the links of these ids, in no order."""
        table = schema.identity_link
        return _links(self, table.c.from_id, from_ids, table.c.tenant == self.tenant)

    def links_to(
        self: Connections, user_ids: Iterable[str], *, trust: str | None = None
    ) -> Sequence[IdentityLink]:
        """Return the links that lead to these users, of one trust or of any, in no order."""
        table = schema.identity_link
        mine = [schema.residual(table.c.tenant) == self.tenant]
        return _links(self, table.c.user_id, user_ids, *mine, *([table.c.trust == trust] if trust else []))

    def links_around(
        self: Connections, from_ids: Iterable[str], user_ids: Iterable[str]
    ) -> Sequence[IdentityLink]:
        """Return, at one look, the links of `from_ids` and what a server merged into `user_ids`."""
        found: list[IdentityLink] = []
        for some, users in zip_longest(_pages(from_ids), _pages(user_ids), fillvalue=()):
            with self.reading() as connection:
                asked = {"tenant": self.tenant, "from_ids": some, "user_ids": users}
                found.extend(_link(row) for row in connection.execute(_AROUND, asked))
        return found

    def put_consents(self: Connections, consents: Sequence[Consent]) -> int:
        """Append decisions; return how many are new."""
        table = schema.consent
        values = [
            {
                "tenant": self.tenant,
                "consent_id": one.consent_id,
                "person_id": one.person_id,
                "purpose": one.purpose.value,
                "status": one.status,
                "decided_us": to_micros(one.decided_at),
                "received_us": to_micros(one.received_at),
                "text_version": one.text_version,
                "source": one.source,
                "trust": one.trust,
                "proof": one.proof,
            }
            for one in consents
        ]
        with self.writing() as connection:
            insert = upsert(connection, table).on_conflict_do_nothing().returning(table.c.consent_id)
            return sum(connection.execute(insert.values(row)).first() is not None for row in values)

    def consents_of(self: Connections, person_ids: Iterable[str]) -> Sequence[Consent]:
        """Return every decision of these persons, in order of (decided_at, consent_id)."""
        found: list[Consent] = []
        for some in _pages(person_ids):
            with self.reading() as connection:
                asked = {"tenant": self.tenant, "person_ids": some}
                found.extend(_consent(row) for row in connection.execute(_CONSENTS, asked))
        return sorted(found, key=lambda one: (one.decided_at, one.consent_id))

    def has_consents(self: Connections) -> bool:
        """Tell whether anybody ever decided anything."""
        table = schema.consent
        query = select(table.c.tenant).where(table.c.tenant == self.tenant).limit(1)
        with self.reading() as connection:
            return connection.execute(query).first() is not None


def _links(
    store: Connections, column: Column[str], ids: Iterable[str], *which: ColumnElement[bool]
) -> list[IdentityLink]:
    found: list[IdentityLink] = []
    for some in _pages(ids):
        query = select(schema.identity_link).where(column.in_(some), *which)
        with store.reading() as connection:
            found.extend(_link(row) for row in connection.execute(query))
    return found


def _pages(ids: Iterable[str]) -> list[list[str]]:
    wanted = sorted(set(ids))
    return [wanted[start : start + IDS_AT_ONCE] for start in range(0, len(wanted), IDS_AT_ONCE)]


def _link(row: Row[tuple[object, ...]]) -> IdentityLink:
    return IdentityLink(
        from_id=row.from_id,
        user_id=row.user_id,
        linked_at=from_micros(row.linked_us),
        trust=row.trust,
    )


def _consent(row: Row[tuple[object, ...]]) -> Consent:
    return Consent(
        consent_id=row.consent_id,
        person_id=row.person_id,
        purpose=Purpose(row.purpose),
        status=row.status,
        decided_at=from_micros(row.decided_us),
        received_at=from_micros(row.received_us),
        text_version=row.text_version,
        source=row.source,
        trust=row.trust,
        proof=row.proof,
    )
