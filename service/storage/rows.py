"""Between the frozen facts of `records` and the rows of `schema`."""

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import Row as SqlRow

from service.clock import from_micros, to_micros
from service.storage.commit import EncodedBatch
from service.storage.interactions import EXPOSURE_EVENT
from service.storage.naming import named_in, named_in_text, previous_in, text_of
from service.storage.ports import IngestBatch
from service.storage.records import (
    Event,
    HeldEvent,
    IdentityLink,
    Interaction,
    LoggedEvent,
    QuarantinedEvent,
    ReceivedEvent,
    Slate,
    person_ids,
)
from service.storage.writers import Row

TEXT = "utf-8"
MAX_DIGITS = 9


def to_json(value: object) -> str:
    """Return compact JSON text, keys in the order given."""
    return orjson.dumps(value, default=_plain).decode()


def from_json(text: str) -> Any:  # noqa: ANN401 - JSON is any value
    """Return the value of `to_json`."""
    return orjson.loads(text)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def encode(batch: IngestBatch, *, tenant: str) -> EncodedBatch:
    """Turn a batch into driver rows; done by the request's thread, outside of the writer's turn."""
    return EncodedBatch(
        events=[_event_row(tenant, received) for received in batch.events],
        interactions=[
            [_interaction_row(tenant, received.event.event_id, found) for found in interactions]
            for received, interactions in zip(batch.events, batch.interactions, strict=False)
        ],
        active=batch.active,
        links=[[link_row(tenant, link) for link in links] for links in batch.links],
        replayed=[(tenant, digest) for digest in batch.replayed],
        quarantined=[_quarantine_row(tenant, bad) for bad in batch.quarantined],
        slates=[_slate_row(tenant, slate) for slate in batch.slates],
    )


def _event_row(tenant: str, received: ReceivedEvent) -> Row:
    event = received.event
    return (
        tenant,
        event.event_id,
        event.type,
        next(iter(person_ids(event)), ""),
        event.user_id,
        event.anonymous_id,
        to_micros(event.occurred_at),
        to_micros(received.received_at),
        received.source,
        received.trust,
        to_json(event.properties),
        received.privacy or None,
    )


def logged_event(row: SqlRow[tuple[object, ...]]) -> LoggedEvent:
    """Return the fact behind a row of the table `event`."""
    return LoggedEvent(
        seq=row.seq,
        received=ReceivedEvent(
            event=Event(
                event_id=row.event_id,
                type=row.type,
                occurred_at=from_micros(row.occurred_us),
                user_id=row.user_id,
                anonymous_id=row.anonymous_id,
                properties=from_json(row.properties),
            ),
            received_at=from_micros(row.received_us),
            source=row.source,
            trust=row.trust,
            privacy=row.privacy or "",
        ),
    )


def link_row(tenant: str, link: IdentityLink) -> Row:
    """Return the row of `identity_link`."""
    return (tenant, link.from_id, link.user_id, link.trust, to_micros(link.linked_at))


def _interaction_row(tenant: str, event_id: str, found: Interaction) -> Row:
    return (
        tenant,
        found.person_id,
        to_micros(found.occurred_at),
        event_id,
        found.item_id,
        found.event_type,
        found.quantity,
    )


def interaction(row: SqlRow[tuple[object, ...]]) -> Interaction:
    """Return the fact behind a row of the table `interaction`."""
    return Interaction(
        person_id=row.person_id,
        item_id=row.item_id,
        event_type=row.event_type,
        occurred_at=from_micros(row.occurred_us),
        quantity=row.quantity,
    )


def _quarantine_row(tenant: str, bad: QuarantinedEvent) -> Row:
    user_id, anonymous_id, unit_id, experiment, phase = _named_in(bad.canonical or bad.body)
    # Of what is no JSON the door may have made out whose it is: whoever erases a person must find it.
    user_id = user_id or bad.context.get("user_id")
    anonymous_id = anonymous_id or bad.context.get("anonymous_id")
    person_id = f"u:{user_id}" if user_id else f"a:{anonymous_id}" if anonymous_id else None
    return (
        tenant,
        bad.digest,
        bad.event_id,
        bad.reason,
        _without_nul(bad.detail),
        bad.body,
        experiment,
        phase,
        person_id,
        user_id,
        anonymous_id,
        unit_id,
        to_micros(bad.received_at),
        bad.source,
        bad.trust,
        None if bad.encoding == TEXT else bad.encoding,
        bad.canonical or None,
        to_json(bad.context) if bad.context else None,
    )


def held_event(row: SqlRow[tuple[object, ...]]) -> HeldEvent:
    """Return the fact behind a row of the table `quarantine`."""
    held = QuarantinedEvent(
        event_id=row.event_id,
        reason=row.reason,
        detail=row.detail,
        body=row.body,
        received_at=from_micros(row.received_us),
        source=row.source,
        trust=row.trust,
        encoding=row.encoding or TEXT,
        # A release before this column kept what it judged as the body.
        canonical=row.canonical or (row.body if row.encoding is None else ""),
        context=from_json(row.context) if row.context else {},
    )
    return HeldEvent(digest=row.digest, held=held)


def _named_in(body: str) -> tuple[str | None, str | None, str | None, str | None, int | None]:
    """Return the user, anonymous id, unit, experiment and phase that a refused body names."""
    try:
        whole = orjson.loads(body)
    except orjson.JSONDecodeError:
        whole, named = {}, named_in_text(body)
    else:
        named = named_in(whole)
    whole = whole if isinstance(whole, dict) else {}
    properties = whole.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    exposure = whole.get("type") == EXPOSURE_EVENT
    return (
        next(iter(named.user_ids), None),
        next(iter(named.anonymous_ids), None),
        # Who has two anonymous ids must be found by either, and who was replaced as what they were.
        text_of(properties.get("unit_id"))
        or previous_in(whole.get("type"), properties)
        or next(iter(named.anonymous_ids[1:]), None),
        text_of(properties.get("experiment_key")) if exposure else None,
        _whole(properties.get("phase")) if exposure else None,
    )


def _without_nul(text: str) -> str:
    """Return text that every database takes: PostgreSQL knows no NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _whole(value: object) -> int | None:
    """Return a phase as a number, also one that came as text: it is plain which phase was meant."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) < 10**MAX_DIGITS else None


def decision_in(body: str) -> str:
    """Return the decision that a verdict's JSON holds, empty when it holds none."""
    try:
        whole = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    decision = whole.get("decision") if isinstance(whole, dict) else None
    return decision if isinstance(decision, str) else ""


def _slate_row(tenant: str, slate: Slate) -> Row:
    return (
        tenant,
        slate.slate_id,
        slate.person_id,
        slate.placement,
        slate.recommender,
        slate.model,
        slate.reason,
        slate.items,
        to_micros(slate.created_at),
    )
