"""Events as they are sent, and the way in."""

from datetime import UTC, datetime
from typing import Any

from service.storage.sql import SqlStore
from service.use_cases.exposures import ExposureBook
from service.use_cases.ingest import CLIENT, Terms, take_in

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def send(
    store: SqlStore, *events: Any, trust: str = CLIENT, now: datetime = NOW, **terms: Any
) -> list[dict[str, Any]]:
    """Take events in as if they came through a door; `terms` are more members of Terms."""
    on = Terms(**{"trust": trust, "source": "test", "now": now, **terms})
    return take_in(store, ExposureBook(), events, terms=on)


def an_event(**changes: Any) -> dict[str, Any]:
    event = {
        "event_id": "e1",
        "type": "Product Viewed",
        "anonymous_id": "a1",
        "occurred_at": "2026-11-22T11:59:59Z",
        "properties": {"item_id": "tea"},
        **changes,
    }
    return {name: value for name, value in event.items() if value is not ...}
