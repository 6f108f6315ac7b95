"""What is known of single persons: activity, links between their ids, consent."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Column, Row, select

from service.clock import from_micros, to_micros
from service.storage import schema
from service.storage.control import Connections
from service.storage.dialects import upsert
from service.storage.records import Activity, Consent, IdentityLink, Purpose
from service.storage.rows import link_row

IDS_AT_ONCE = 500


class SqlPeople:
    """Part of the People port."""

    def activity(self: Connections, person_id: str) -> Sequence[Activity]:
        """Return what one person did, in order of event_type."""
        table = schema.person_activity
        query = (
            select(table)
            .where(table.c.tenant == self.tenant, table.c.person_id == person_id)
            .order_by(table.c.event_type)
        )
        with self.reading() as connection:
            return [
                Activity(
                    person_id=row.person_id,
                    event_type=row.event_type,
                    n=row.n,
                    first_at=from_micros(row.first_us),
                    last_at=from_micros(row.last_us),
                )
                for row in connection.execute(query)
            ]

    def put_links(self: Connections, links: Sequence[IdentityLink]) -> None:
        """Store links; of one that is there the earlier time and the greater trust stay."""
        for link in links:
            with self.writing() as connection:
                self.writer.add_links(connection, [link_row(self.tenant, link)])

    def links_from(self: Connections, from_ids: Iterable[str]) -> Sequence[IdentityLink]:
        """Return the links of these ids, in no order."""
        return _links(self, schema.identity_link.c.from_id, from_ids)

    def links_to(
        self: Connections, user_ids: Iterable[str], *, trust: str | None = None
    ) -> Sequence[IdentityLink]:
        """Return the links that lead to these users, of one trust or of any, in no order."""
        return _links(self, schema.identity_link.c.user_id, user_ids, trust=trust)

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
            added = (
                connection.execute(upsert(connection, table).values(row).on_conflict_do_nothing())
                for row in values
            )
            return sum(max(0, one.rowcount) for one in added)

    def consents_of(self: Connections, person_ids: Iterable[str]) -> Sequence[Consent]:
        """Return every decision of these persons, in order of (decided_at, consent_id)."""
        table = schema.consent
        found: list[Consent] = []
        wanted = sorted(set(person_ids))
        for start in range(0, len(wanted), IDS_AT_ONCE):
            some = wanted[start : start + IDS_AT_ONCE]
            query = select(table).where(table.c.tenant == self.tenant, table.c.person_id.in_(some))
            with self.reading() as connection:
                found.extend(_consent(row) for row in connection.execute(query))
        return sorted(found, key=lambda one: (one.decided_at, one.consent_id))

    def has_consents(self: Connections) -> bool:
        """Tell whether anybody ever decided anything."""
        table = schema.consent
        query = select(table.c.tenant).where(table.c.tenant == self.tenant).limit(1)
        with self.reading() as connection:
            return connection.execute(query).first() is not None


def _links(
    store: Connections, column: Column[str], ids: Iterable[str], *, trust: str | None = None
) -> list[IdentityLink]:
    table = schema.identity_link
    trusted = (table.c.trust == trust,) if trust else ()
    found: list[IdentityLink] = []
    wanted = sorted(set(ids))
    for start in range(0, len(wanted), IDS_AT_ONCE):
        some = wanted[start : start + IDS_AT_ONCE]
        query = select(table).where(table.c.tenant == store.tenant, column.in_(some), *trusted)
        with store.reading() as connection:
            found.extend(
                IdentityLink(
                    from_id=row.from_id,
                    user_id=row.user_id,
                    linked_at=from_micros(row.linked_us),
                    trust=row.trust,
                )
                for row in connection.execute(query)
            )
    return found


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
