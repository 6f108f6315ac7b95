"""Events in: each is stored once, or put into quarantine with a reason; nothing is dropped or repaired.

What belongs to a request is in `Terms`; judging looks at no clock and writes nothing, so that a quarantined
event can be judged again as it was then.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson

from experiments.definitions import Metric, MetricKind
from experiments.identifiers import is_identifier
from service.batches import MALFORMED, MOST_EVENTS, check_number
from service.catalog.rules import DataRules
from service.storage.interactions import EXPOSURE_EVENT, ORDER_EVENTS, interactions_of
from service.storage.ports import IngestBatch, Store
from service.storage.records import (
    AppendStatus,
    Event,
    KeyClass,
    Mark,
    QuarantinedEvent,
    ReceivedEvent,
    person_ids,
)
from service.use_cases.access import Caller
from service.use_cases.arrivals import Arrival
from service.use_cases.crawlers import is_crawler
from service.use_cases.event_form import INVALID, read_event
from service.use_cases.exchange import Call
from service.use_cases.exposures import ExposureBook, ExposureDesk, Refusal
from service.use_cases.one_person import about_others
from service.use_cases.services import Services

MAX_EVENTS = MOST_EVENTS
MAX_EVENT_BYTES = 32 * 1024
MAX_PRODUCTS = 200
MAX_AGENT = 512
EVALUATION = "ofrep"
"""The door of `expose: true`: the service made the event itself."""
GROWTHBOOK = "growthbook"
"""The door of GrowthBook's tracking plugins: the service made the event's id."""
SEGMENT = "segment"
"""The door of Segment's libraries: of calls without a messageId the service made the event's id."""
OWN_IDS = "viewed-"
SDK_IDS = "gb-"
CONTENT_IDS = "seg-"
RESERVED = {OWN_IDS: EVALUATION, SDK_IDS: GROWTHBOOK, CONTENT_IDS: SEGMENT}
"""Such ids follow from public facts; nobody else may give one, or an event could be taken away."""
CLIENT, SERVER = "client", "server"
OLDEST = {CLIENT: timedelta(days=7), SERVER: timedelta(days=400)}
AHEAD = timedelta(minutes=5)
MONEY = ("revenue", "total")
"""Properties that hold money in Segment's vocabulary."""
MANY_PERSONS = frozenset({GROWTHBOOK})
"""Doors of which a client key brings many people's events in one request: plugins on servers batch them."""
TEXT, BASE64 = "utf-8", "base64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On which terms a batch is taken in.

    `trust` is client or server, `source` the front door, `rules` and `metrics` those of the live catalog.
    `user_agent` is the browser's, empty where the request comes from elsewhere; `signals` are the marks that
    the request itself puts on every event; `key_id` names the key. With `backfill` exposures may be dated
    before the launch, as those of a server key always may.
    """

    trust: str
    source: str
    now: datetime
    rules: DataRules = field(default_factory=DataRules)
    user_agent: str = ""
    signals: frozenset[Mark] = frozenset()
    key_id: str = ""
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    backfill: bool = False


class Judged:
    """What is to become of each event of a batch; nothing is written yet.

    `batch` is the one write that it takes; then `results` tells what became of each.
    """

    def __init__(self, arrivals: Sequence[Arrival], found: Sequence[Event | Refusal], terms: Terms) -> None:
        self._arrivals = arrivals
        self._found = found
        self._terms = terms
        self._good = [place for place, one in enumerate(found) if isinstance(one, Event)]
        events = [one for one in found if isinstance(one, Event)]
        self.batch = IngestBatch(
            events=[_received(event, terms) for event in events],
            interactions=[interactions_of(event) for event in events],
            active=[person_ids(event) for event in events],
            quarantined=[
                held(arrival, one, terms)
                for arrival, one in zip(arrivals, found, strict=True)
                if isinstance(one, Refusal)
            ],
        )

    def needs_store(self, statuses: Sequence[AppendStatus]) -> bool:
        """Tell whether `results` has to look at the store: whose id a duplicate has is only known there."""
        return AppendStatus.DUPLICATE in statuses

    def results(self, store: Store, statuses: Sequence[AppendStatus]) -> list[dict[str, Any]]:
        """Return what became of each event, after `batch` was written with these `statuses`.

        Raises
        ------
        StoreUnavailableError
            If the store is needed and away; sending the same events again is harmless.
        """
        told: list[dict[str, Any]] = [
            {"index": place, "event_id": _echo(arrival.canonical)}
            for place, arrival in enumerate(self._arrivals)
        ]
        for place, one in enumerate(self._found):
            if isinstance(one, Refusal):
                told[place] |= _refused(one)
        again: dict[int, Event] = {}
        for place, status in zip(self._good, statuses, strict=True):
            told[place]["status"] = status.value
            one = self._found[place]
            if status is AppendStatus.DUPLICATE and isinstance(one, Event):
                again[place] = one
        for place, refusal in self._set_aside(store, again).items():
            told[place] |= _refused(refusal)
        return told

    def _set_aside(self, store: Store, again: Mapping[int, Event]) -> dict[int, Refusal]:
        """Quarantine those of the duplicates, by place, whose id belongs to another event; return them.

        Whoever takes an id first must not make somebody else's event disappear.
        """
        if not again:
            return {}
        ids = {event.event_id for event in again.values()}
        stored = {found.received.event.event_id: found.received.event for found in store.stored_events(ids)}
        taken = {
            place: CONFLICT
            for place, event in again.items()
            if event.event_id in stored and not is_same(event, stored[event.event_id])
        }
        if taken:
            bad = [held(self._arrivals[place], CONFLICT, self._terms) for place in taken]
            store.append(IngestBatch(quarantined=bad))
        return taken


CONFLICT = Refusal("event_id_conflict", "another event with this event_id is stored; give it one of its own")


def judge(store: Store, book: ExposureBook, arrivals: Sequence[Arrival], *, terms: Terms) -> Judged:
    """Decide what is to become of each event; the store is only read.

    Raises
    ------
    ProblemError
        413 ``too_large`` for more events than a batch may hold.
    StoreUnavailableError
        If a revision of the catalog cannot be read.
    """
    check_number(len(arrivals), MAX_EVENTS)
    backfill = terms.backfill or terms.trust == SERVER
    bench = _Bench(book.open(store, now=terms.now, backfill=backfill), terms)
    found = [bench.look(arrival) for arrival in arrivals]
    if terms.trust == CLIENT and terms.source not in MANY_PERSONS:
        _keep_to_one_person(found)
    return Judged(arrivals, found, terms)


def take_in(
    store: Store, book: ExposureBook, events: Sequence[Arrival | Any], *, terms: Terms
) -> list[dict[str, Any]]:
    """Judge and store events, raw or arrived; return what became of each: for imports and replays too.

    Raises
    ------
    ProblemError
        413 ``too_large`` for more events than a batch may hold.
    StoreUnavailableError
        Nothing may be stored; sending the same batch again is harmless.
    """
    arrivals = [event if isinstance(event, Arrival) else Arrival(event) for event in events]
    judged = judge(store, book, arrivals, terms=terms)
    statuses = store.append(judged.batch) if arrivals else ()
    return judged.results(store, statuses)


def ingest(
    services: Services,
    events: Sequence[Arrival | Any],
    *,
    caller: Caller,
    source: str,
    call: Call | None = None,
) -> list[dict[str, Any]]:
    """Do what `take_in` says for a request of `caller`; `call` is what is known of the request itself."""
    terms = terms_of(services, caller, source=source, call=call)
    return take_in(services.store, services.exposures, events, terms=terms)


def terms_of(services: Services, caller: Caller, *, source: str, call: Call | None = None) -> Terms:
    """Return the terms of one request; what its headers say of a browser counts for a client key alone."""
    loaded = services.snapshots.current.loaded
    trust = CLIENT if caller.key_class is KeyClass.CLIENT else SERVER
    said = call or Call(key=None, body=b"")
    signals = ((Mark.GPC, said.sec_gpc), (Mark.DNT, said.dnt))
    return Terms(
        trust=trust,
        source=source,
        now=services.clock(),
        rules=loaded.data,
        user_agent=said.user_agent[:MAX_AGENT] if trust == CLIENT else "",
        signals=frozenset(mark for mark, value in signals if value.strip() == "1"),
        key_id=caller.key_id,
        metrics=loaded.catalog.metrics,
    )


def held(arrival: Arrival, refusal: Refusal, terms: Terms) -> QuarantinedEvent:
    """Return an event as quarantine keeps it: the bytes that came, and what was judged where it differs."""
    sent = arrival.bytes_sent()
    canonical = "" if refusal.reason == MALFORMED else orjson.dumps(arrival.canonical).decode()
    body, encoding = _as_text(sent) if sent is not None else (canonical, TEXT)
    if encoding == TEXT and canonical and _says_the_same(body, arrival.canonical):
        canonical = ""
    context = {"user_agent": _agent(arrival, terms), "signals": " ".join(sorted(terms.signals))}
    return QuarantinedEvent(
        event_id=_echo(arrival.canonical),
        reason=refusal.reason,
        detail=refusal.detail,
        body=body,
        received_at=terms.now,
        source=terms.source,
        trust=terms.trust,
        encoding=encoding,
        canonical=canonical,
        context={name: value for name, value in context.items() if value},
    )


class _Bench:
    """Looks at the events of one batch, one after the other."""

    def __init__(self, desk: ExposureDesk, terms: Terms) -> None:
        self._desk = desk
        self._terms = terms
        self._money: dict[str, frozenset[str]] = {}

    def look(self, arrival: Arrival) -> Event | Refusal:
        """Return the event, or why it is to be kept apart."""
        if arrival.problem is not None:
            return arrival.problem
        size = len(orjson.dumps(arrival.canonical))
        if size > MAX_EVENT_BYTES:
            return Refusal("too_large", f"an event may have {MAX_EVENT_BYTES} bytes, this one has {size}")
        event = read_event(arrival.canonical)
        if isinstance(event, Refusal):
            return event
        refusal = (
            _check_content(event, self._terms)
            or _check_time(event.occurred_at, self._terms)
            or self._check_sender(event, arrival)
        )
        if refusal is None and event.type == EXPOSURE_EVENT:
            refusal = self._desk.check(event)
        return refusal or event

    def _check_sender(self, event: Event, arrival: Arrival) -> Refusal | None:
        agent = _agent(arrival, self._terms)
        if agent and is_crawler(agent):
            return Refusal("bot", "the User-Agent is that of a crawler, which is no visitor")
        if self._terms.trust != CLIENT or self._terms.rules.client_revenue:
            return None
        said = event.properties
        for name in self._money_of(event.type):
            if name in said and _is_number(said[name]):
                return Refusal(
                    "revenue_not_allowed",
                    f"properties.{name}: a client key, which is public, may not send money; send it with a "
                    "server key, or say 'client_revenue: allow' under 'data:' in the catalog",
                )
        return None

    def _money_of(self, event_type: str) -> frozenset[str]:
        """Return the properties that are money in events of this type."""
        known = self._money.get(event_type)
        if known is None:
            summed = (
                metric.value
                for metric in self._terms.metrics.values()
                if metric.kind is MetricKind.MEAN and metric.currency and metric.event == event_type
            )
            known = self._money[event_type] = frozenset((*MONEY, *summed))
        return known


def _keep_to_one_person(found: list[Event | Refusal]) -> None:
    """Set aside, in place, the good events that are about other persons than the first good one."""
    places = [place for place, one in enumerate(found) if isinstance(one, Event)]
    others = about_others([one for one in found if isinstance(one, Event)])
    for n in others:
        found[places[n]] = Refusal(
            "other_person",
            "with a client key one request is about one person; this event shares no id with the first one",
        )


def _received(event: Event, terms: Terms) -> ReceivedEvent:
    return ReceivedEvent(event=event, received_at=terms.now, source=terms.source, trust=terms.trust)


def _agent(arrival: Arrival, terms: Terms) -> str:
    return arrival.user_agent[:MAX_AGENT] or terms.user_agent


def is_same(event: Event, stored: Event) -> bool:
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


def _check_content(event: Event, terms: Terms) -> Refusal | None:
    for prefix, door in RESERVED.items():
        if event.event_id.startswith(prefix) and terms.source != door:
            return Refusal(INVALID, f"event_id: ids that begin with {prefix!r} are the service's own")
    products = event.properties.get("products")
    if event.type in ORDER_EVENTS and isinstance(products, list) and len(products) > MAX_PRODUCTS:
        most = f"an order event may have {MAX_PRODUCTS} products, this one has {len(products)}"
        return Refusal(INVALID, f"properties.products: {most}; split it into events of their own")
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


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_text(sent: bytes) -> tuple[str, str]:
    """Return bytes as text with its encoding; what no database takes as text goes as base64."""
    try:
        text = sent.decode()
    except UnicodeDecodeError:
        text = "\0"
    return (base64.b64encode(sent).decode(), BASE64) if "\0" in text else (text, TEXT)


def _says_the_same(body: str, canonical: object) -> bool:
    try:
        return bool(orjson.loads(body) == canonical)
    except orjson.JSONDecodeError:
        return False
