"""Erasing a person: every table that knows persons, and what is counted of those who shared a device."""

from datetime import timedelta

from sqlalchemy import String, func, literal, select
from sqlalchemy.sql import ColumnElement

from service.storage import schema
from service.storage.interactions import interactions_of
from service.storage.ports import IngestBatch, Store
from service.storage.records import Consent, IdentityLink, Purpose, ReceivedEvent, person_ids
from service.storage.sql import SqlStore
from tests.service.storage.facts import NOW, a_bad_event, a_slate, an_event

NAMES_A_PERSON = frozenset({"person_id", "user_id", "anonymous_id", "from_id", "unit_id"})


def a_link(from_id: str, user_id: str) -> IdentityLink:
    return IdentityLink(from_id=from_id, user_id=user_id, linked_at=NOW, trust="server")


def a_consent(person_id: str, consent_id: str = "c1") -> Consent:
    return Consent(
        consent_id=consent_id,
        person_id=person_id,
        purpose=Purpose.PERSONALIZATION,
        status="denied",
        decided_at=NOW,
        received_at=NOW,
        text_version="1",
        source="api",
        trust="server",
        proof=f"form of {person_id}",
    )


def fill(store: Store, *events: ReceivedEvent) -> None:
    store.append(
        IngestBatch(
            events=events,
            interactions=[interactions_of(one.event) for one in events],
            active=[person_ids(one.event) for one in events],
        )
    )


def mentions(store: SqlStore, word: str) -> dict[str, int]:
    """Return how many rows mention `word` anywhere, by table, of all tables that name persons."""
    found = {}
    for table in schema.metadata.tables.values():
        texts = [column for column in table.columns if isinstance(column.type, String)]
        if not NAMES_A_PERSON & {column.name for column in texts}:
            continue
        whole: ColumnElement[str] = literal("")
        for column in texts:
            whole = whole + func.coalesce(column, "")
        with store.reading() as connection:
            found[table.name] = int(
                connection.execute(
                    select(func.count()).select_from(table).where(whole.contains(word))
                ).scalar_one()
            )
    return found


def test_no_table_that_names_persons_keeps_a_word_of_an_erased_one(store: SqlStore) -> None:
    for name in ("canary", "sparrow"):
        event = an_event(f"e-{name}", user_id=name, anonymous_id=f"{name}-phone")
        fill(store, event)
        store.put_links([a_link(f"a:{name}-phone", name), a_link(f"u:{name}-old", name)])
        store.put_consents([a_consent(f"u:{name}"), a_consent(f"a:{name}-phone")])
        store.append(
            IngestBatch(
                quarantined=[a_bad_event(f'{{"user_id":"{name}"}}')],
                slates=[a_slate(f"s-{name}", f"u:{name}")],
            )
        )
    before = mentions(store, "canary")

    erased = store.delete_person([], user_ids=["canary", "canary-old"], anonymous_ids=["canary-phone"])

    assert min(before.values()) > 0
    assert mentions(store, "canary") == dict.fromkeys(before, 0)
    assert mentions(store, "sparrow") == before
    assert erased == before


def test_what_others_did_on_a_shared_device_stays_counted_exactly(store: Store) -> None:
    hour = timedelta(hours=1)
    fill(
        store,
        an_event("e1", user_id="ana", anonymous_id="tablet", occurred_at=NOW - 2 * hour),
        an_event("e2", user_id="bob", anonymous_id="tablet", occurred_at=NOW - hour),
        an_event("e3", user_id=None, anonymous_id="tablet", occurred_at=NOW),
        an_event("e4", user_id="ana", anonymous_id="tablet", occurred_at=NOW + hour, type="Page Viewed"),
    )

    store.delete_person(["u:ana"], user_ids=[], anonymous_ids=[])

    (left,) = store.activity("a:tablet")
    assert (left.event_type, left.n) == ("Product Viewed", 2)
    assert (left.first_at, left.last_at) == (NOW - hour, NOW)
    assert [one.n for one in store.activity("u:bob")] == [1]
    assert store.activity("u:ana") == []
