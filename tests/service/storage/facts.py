"""Facts for tests of the store."""

from datetime import UTC, datetime
from pathlib import Path

from service.storage.interactions import interactions_of
from service.storage.ports import IngestBatch
from service.storage.records import Event, QuarantinedEvent, ReceivedEvent, Slate
from service.storage.sql import SqlStore

NOW = datetime(2026, 11, 22, 9, 30, 0, 123456, tzinfo=UTC)


def an_event(event_id: str, **changes: object) -> ReceivedEvent:
    members = {
        "event_id": event_id,
        "type": "Product Viewed",
        "occurred_at": NOW,
        "user_id": "u1",
        "anonymous_id": "a1",
        "properties": {"item_id": "tea", "nested": [1, 2.5, "ü", None, True]},
        **changes,
    }
    event = Event(**members)  # type: ignore[arg-type]
    return ReceivedEvent(event=event, received_at=NOW, source="events", trust="client")


def a_batch(*events: ReceivedEvent) -> IngestBatch:
    return IngestBatch(events=events, interactions=[interactions_of(e.event) for e in events])


def a_bad_event(body: str, *, reason: str = "variant_mismatch") -> QuarantinedEvent:
    return QuarantinedEvent(
        event_id="bad",
        reason=reason,
        detail="why",
        body=body,
        received_at=NOW,
        source="events",
        trust="client",
    )


def a_slate(slate_id: str, person_id: str) -> Slate:
    return Slate(
        slate_id=slate_id,
        person_id=person_id,
        placement="home",
        recommender="discovery",
        model="m1",
        reason="model",
        items="[]",
        created_at=NOW,
    )


def file_of(store: SqlStore) -> Path:
    """Return the file of a store on SQLite."""
    assert isinstance(store.place, Path)
    return store.place
