"""Events in: each is stored once, or put into quarantine with a reason; nothing is dropped or repaired."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import orjson
from marshmallow import Schema, ValidationError, validates_schema

from experiments.identifiers import is_identifier
from service.errors import ProblemError
from service.storage.interactions import EXPOSURE_EVENT, ORDER_EVENTS, interactions_of
from service.storage.ports import IngestBatch, Store
from service.storage.records import AppendStatus, Event, KeyClass, QuarantinedEvent, ReceivedEvent, person_ids
from service.use_cases.access import Caller
from service.use_cases.exposures import ExposureBook, ExposureDesk, Refusal, describe
from service.use_cases.services import Services
from service.wire import Identifier, Instant, Object

MAX_EVENTS = 500
MAX_EVENT_BYTES = 32 * 1024
MAX_PRODUCTS = 200
EVALUATION = "ofrep"
"""The door of `expose: true`: the service made the event itself."""
GROWTHBOOK = "growthbook"
"""The door of GrowthBook's tracking plugins: the service made the event's id."""
OWN_IDS = "viewed-"
SDK_IDS = "gb-"
RESERVED = {OWN_IDS: EVALUATION, SDK_IDS: GROWTHBOOK}
"""Such ids follow from public facts; nobody else may give one, or an event could be taken away."""
CLIENT, SERVER = "client", "server"
OLDEST = {CLIENT: timedelta(days=7), SERVER: timedelta(days=400)}
AHEAD = timedelta(minutes=5)

Messages: TypeAlias = dict[str, str | list[Any] | dict[Any, Any]]

_REQUIRED: Messages = {"required": "it is missing"}
_NO_ID: Messages = {
    "required": "it is missing; give each event an id of its own, then sending it again is harmless"
}


class EventSchema(Schema):
    """Wire form of `Event`; unknown members are refused, so that a misspelt one is noticed."""

    event_id = Identifier(required=True, error_messages=_NO_ID)
    type = Identifier(required=True, error_messages=_REQUIRED)
    user_id = Identifier(load_default=None, allow_none=True)
    anonymous_id = Identifier(load_default=None, allow_none=True)
    occurred_at = Instant(required=True, error_messages=_REQUIRED)
    properties = Object(load_default=dict)

    @validates_schema
    def names_a_person(self, data: Mapping[str, Any], **_: object) -> None:
        """Refuse an event that belongs to nobody."""
        if not data.get("user_id") and not data.get("anonymous_id"):
            raise ValidationError("give user_id or anonymous_id, or both")


_SCHEMA = EventSchema()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On which terms a batch is taken in: `trust` is client or server, `source` the front door."""

    trust: str
    source: str
    now: datetime


def ingest(services: Services, events: Sequence[Any], *, caller: Caller, source: str) -> list[dict[str, Any]]:
    """Store raw events; return, after the commit, what became of each; a bad one spoils no other.

    Raises
    ------
    ProblemError
        413 ``too_large`` for more than 500 events.
    StoreUnavailableError
        Nothing may be stored; sending the same batch again is harmless.
    """
    trust = CLIENT if caller.key_class is KeyClass.CLIENT else SERVER
    terms = Terms(trust=trust, source=source, now=services.clock())
    return take_in(services.store, services.exposures, events, terms=terms)


def take_in(store: Store, book: ExposureBook, events: Sequence[Any], *, terms: Terms) -> list[dict[str, Any]]:
    """Do what `ingest` says, for callers without a request: imports."""
    if len(events) > MAX_EVENTS:
        raise ProblemError(
            413, "too_large", f"a batch may hold {MAX_EVENTS} events, this one has {len(events)}"
        )
    desk = book.open(store, now=terms.now, backfill=terms.trust == SERVER)
    good: list[ReceivedEvent] = []
    bad: list[QuarantinedEvent] = []
    results: list[dict[str, Any]] = []
    accepted_at: list[int] = []
    for index, raw in enumerate(events):
        text = orjson.dumps(raw)
        judged = _judge(raw, len(text), desk=desk, terms=terms)
        result: dict[str, Any] = {"index": index, "event_id": _echo(raw)}
        if isinstance(judged, Refusal):
            bad.append(_quarantined(result["event_id"], judged, text.decode(), terms))
            result |= _refused(judged)
        else:
            good.append(
                ReceivedEvent(event=judged, received_at=terms.now, source=terms.source, trust=terms.trust)
            )
            accepted_at.append(index)
        results.append(result)
    if results:
        interactions = [interactions_of(received.event) for received in good]
        statuses = store.append(IngestBatch(events=good, interactions=interactions, quarantined=bad))
        again: dict[int, Event] = {}
        for index, received, status in zip(accepted_at, good, statuses, strict=True):
            results[index]["status"] = status.value
            if status is AppendStatus.DUPLICATE:
                again[index] = received.event
        for index, refusal in _set_aside(store, events, again, terms=terms).items():
            results[index] |= _refused(refusal)
    return results


def _set_aside(
    store: Store, events: Sequence[Any], again: Mapping[int, Event], *, terms: Terms
) -> dict[int, Refusal]:
    """Quarantine those of the duplicates, by index, whose id belongs to another event; return them.

    Whoever takes an id first must not make somebody else's event disappear.
    """
    if not again:
        return {}
    ids = {event.event_id for event in again.values()}
    stored = {found.received.event.event_id: found.received.event for found in store.stored_events(ids)}
    refusal = Refusal(
        "event_id_conflict", "another event with this event_id is stored; give it one of its own"
    )
    taken = {
        index: refusal
        for index, event in again.items()
        if event.event_id in stored and not _is_same(event, stored[event.event_id])
    }
    if taken:
        bad = [
            _quarantined(again[index].event_id, refusal, orjson.dumps(events[index]).decode(), terms)
            for index in taken
        ]
        store.append(IngestBatch(quarantined=bad))
    return taken


def _is_same(event: Event, stored: Event) -> bool:
    """Tell whether an event sent again may be the stored one: the type is, and the persons agree."""
    if event.type != stored.type:
        return False
    if event.event_id.startswith(tuple(RESERVED)):
        return True  # made from the unit alone: whoever else was named with it may have changed
    if event.user_id and stored.user_id and event.user_id != stored.user_id:
        return False
    return not set(person_ids(event)).isdisjoint(person_ids(stored))


def _refused(refusal: Refusal) -> dict[str, str]:
    return {"status": "quarantined", "reason": refusal.reason, "detail": refusal.detail}


def _judge(raw: object, size: int, *, desk: ExposureDesk, terms: Terms) -> Event | Refusal:
    if size > MAX_EVENT_BYTES:
        return Refusal("too_large", f"an event may have {MAX_EVENT_BYTES} bytes, this one has {size}")
    if not isinstance(raw, dict):
        return Refusal("invalid_event", "expected an object")
    try:
        event = Event(**_SCHEMA.load(raw))
    except ValidationError as error:
        return Refusal("invalid_event", describe(error))
    refusal = _check_content(event, terms) or _check_time(event.occurred_at, terms)
    if refusal is None and event.type == EXPOSURE_EVENT:
        refusal = desk.check(event)
    return refusal or event


def _check_content(event: Event, terms: Terms) -> Refusal | None:
    for prefix, door in RESERVED.items():
        if event.event_id.startswith(prefix) and terms.source != door:
            return Refusal("invalid_event", f"event_id: ids that begin with {prefix!r} are the service's own")
    products = event.properties.get("products")
    if event.type in ORDER_EVENTS and isinstance(products, list) and len(products) > MAX_PRODUCTS:
        most = f"an order event may have {MAX_PRODUCTS} products, this one has {len(products)}"
        return Refusal("invalid_event", f"properties.products: {most}; split it into events of their own")
    return None


def _check_time(occurred_at: datetime, terms: Terms) -> Refusal | None:
    oldest = OLDEST[terms.trust]
    if occurred_at < terms.now - oldest:
        return Refusal("too_old", f"a {terms.trust} key may date events up to {oldest.days} days back")
    if occurred_at > terms.now + AHEAD:
        return Refusal("in_future", "an event may be dated up to 5 minutes ahead; is the clock right?")
    return None


def _echo(raw: object) -> str:
    """Return the id that was sent if it can be sent back, empty otherwise."""
    event_id = raw.get("event_id") if isinstance(raw, dict) else None
    return event_id if isinstance(event_id, str) and is_identifier(event_id) else ""


def _quarantined(event_id: str, refusal: Refusal, body: str, terms: Terms) -> QuarantinedEvent:
    return QuarantinedEvent(
        event_id=event_id,
        reason=refusal.reason,
        detail=refusal.detail,
        body=body,
        received_at=terms.now,
        source=terms.source,
        trust=terms.trust,
    )
