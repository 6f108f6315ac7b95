"""An event log in a list, and events to put into it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from service.storage.ports import IngestBatch
from service.storage.records import AppendStatus, Event, LoggedEvent, ReceivedEvent

START = datetime(2026, 3, 2, 12, tzinfo=UTC)


class ListLog:
    """The event log's contract without a database: de-duplicates by id, numbers from 1."""

    def __init__(self) -> None:
        self.logged: list[LoggedEvent] = []
        self.reads: list[int] = []

    def append(self, batch: IngestBatch) -> Sequence[AppendStatus]:
        statuses = []
        for received in batch.events:
            known = {old.received.event.event_id for old in self.logged}
            if received.event.event_id in known:
                statuses.append(AppendStatus.DUPLICATE)
                continue
            seq = self.logged[-1].seq + 1 if self.logged else 1
            self.logged.append(LoggedEvent(seq=seq, received=received))
            statuses.append(AppendStatus.ACCEPTED)
        return statuses

    def read(self, after: int, limit: int) -> Sequence[LoggedEvent]:
        self.reads.append(limit)
        return [logged for logged in self.logged if logged.seq > after][:limit]

    def stored_events(self, event_ids: Iterable[str]) -> Sequence[LoggedEvent]:
        wanted = set(event_ids)
        return [logged for logged in self.logged if logged.received.event.event_id in wanted]

    def last_seq(self) -> int:
        return self.logged[-1].seq if self.logged else 0

    def quarantine_counts(self) -> Mapping[str, int]:
        return {}

    def quarantined_exposures(
        self,
        experiment: str,  # noqa: ARG002 - the port's form
        phase: int | None = None,  # noqa: ARG002 - the port's form
    ) -> Mapping[str, int]:
        return {}


def an_event(
    event_id: str,
    type: str = "Product Viewed",  # noqa: A002 - the field's own name
    *,
    at: datetime = START,
    user_id: str | None = None,
    anonymous_id: str | None = "v1",
    **properties: Any,
) -> Event:
    return Event(
        event_id=event_id,
        type=type,
        occurred_at=at,
        user_id=user_id,
        anonymous_id=anonymous_id,
        properties=properties,
    )


def an_exposure(event_id: str, unit_id: str, variant: str, *, at: datetime = START, **changes: Any) -> Event:
    told = {
        "experiment_key": "free-shipping",
        "variant_key": variant,
        "unit_type": "anonymous_id",
        "unit_id": unit_id,
        "phase": 1,
        "revision": 1,
        **changes,
    }
    return Event(
        event_id=event_id,
        type="Experiment Viewed",
        occurred_at=at,
        anonymous_id=unit_id,
        properties=told,
    )


def received(*events: Event, at: datetime = START, source: str = "api") -> IngestBatch:
    return IngestBatch(
        events=[ReceivedEvent(event=e, received_at=at, source=source, trust="server") for e in events]
    )


def days(n: float) -> timedelta:
    return timedelta(days=n)
