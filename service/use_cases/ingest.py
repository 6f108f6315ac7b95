"""Events in: each is stored once, or put into quarantine with a reason; nothing is dropped or repaired.

What belongs to a request is in `Terms`; judging looks at no clock and writes nothing, so that a quarantined
event can be judged again as it was then.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from service.batches import MOST_EVENTS, check_number
from service.storage.interactions import interactions_of
from service.storage.ports import IngestBatch, Store
from service.storage.records import AppendStatus, Event, Mark, QuarantinedEvent, ReceivedEvent, person_ids
from service.use_cases.access import Caller
from service.use_cases.arrivals import Arrival
from service.use_cases.conservation import Tally
from service.use_cases.event_rules import MAX_EVENT_BYTES, MAX_PRODUCTS, Bench
from service.use_cases.exchange import Call
from service.use_cases.exposures import ExposureBook, Refusal
from service.use_cases.holding import echoed_id, held, is_exposure, persons_named
from service.use_cases.identity import concerned, links_of
from service.use_cases.one_person import about_others
from service.use_cases.services import Services
from service.use_cases.terms import (
    CLIENT,
    CONTENT_IDS,
    EVALUATION,
    GROWTHBOOK,
    MANY_PERSONS,
    OWN_IDS,
    RESERVED,
    SDK_IDS,
    SEGMENT,
    SERVER,
    Terms,
    terms_of,
)
from service.use_cases.wishes import Wish, Wishes

__all__ = [
    "CLIENT",
    "CONFLICT",
    "CONTENT_IDS",
    "EVALUATION",
    "GROWTHBOOK",
    "MAX_EVENTS",
    "MAX_EVENT_BYTES",
    "MAX_PRODUCTS",
    "OWN_IDS",
    "SDK_IDS",
    "SEGMENT",
    "SERVER",
    "Judged",
    "Terms",
    "ingest",
    "is_same",
    "judge",
    "take_in",
    "terms_of",
]

MAX_EVENTS = MOST_EVENTS
CONFLICT = Refusal("event_id_conflict", "another event with this event_id is stored; give it one of its own")
NO_CONSENT = Refusal("no_consent", "the person does not agree to it, so nothing of it was stored")
OTHER_PERSON = Refusal(
    "other_person",
    "with a client key one request is about one person; this event shares no id with the first good one",
)
GRANTED = Wish(store=True, exposures=True, personalize=True, train=True)


class Judged:
    """What is to become of each event of a batch; nothing is written yet.

    `batch` is the one write that it takes; then `results` tells what became of each.
    """

    def __init__(
        self,
        arrivals: Sequence[Arrival],
        found: Sequence[Event | Refusal],
        wishes: Sequence[Wish],
        terms: Terms,
        strangers: frozenset[int] = frozenset(),
    ) -> None:
        self._arrivals = arrivals
        self._strangers = strangers
        self._terms = terms
        self._found = [
            one if wish.exposures or (wish.store and not is_exposure(arrival)) else NO_CONSENT
            for arrival, one, wish in zip(arrivals, found, wishes, strict=True)
        ]
        self._good = [place for place, one in enumerate(self._found) if isinstance(one, Event)]
        self.batch = self._batch(wishes)

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
            {"index": place, "event_id": echoed_id(arrival.canonical)}
            for place, arrival in enumerate(self._arrivals)
        ]
        again: dict[int, Event] = {}
        for place, status in zip(self._good, statuses, strict=True):
            told[place]["status"] = status.value
            one = self._found[place]
            if status is AppendStatus.DUPLICATE and isinstance(one, Event):
                again[place] = one
        refused = {place: one for place, one in enumerate(self._found) if isinstance(one, Refusal)}
        for place, refusal in {**refused, **self._set_aside(store, again)}.items():
            status_of = "refused" if refusal is NO_CONSENT else "quarantined"
            told[place] |= {"status": status_of, "reason": refusal.reason, "detail": refusal.detail}
        return told

    def _batch(self, wishes: Sequence[Wish]) -> IngestBatch:
        events: list[ReceivedEvent] = []
        interactions, active, links = [], [], []
        quarantined: list[QuarantinedEvent] = []
        terms = self._terms
        for place, (arrival, one, wish) in enumerate(zip(self._arrivals, self._found, wishes, strict=True)):
            if isinstance(one, Event):
                personal = wish.personalize and not (terms.signals and terms.rules.respect_signals)
                marks = _marks(terms.signals, personal=personal, train=wish.train)
                events.append(
                    ReceivedEvent(
                        event=one,
                        received_at=terms.now,
                        source=terms.source,
                        trust=terms.trust,
                        privacy=marks,
                    )
                )
                interactions.append(interactions_of(one) if personal else ())
                active.append(person_ids(one) if personal else ())
                links.append(links_of(one, terms.trust))
            elif one is not NO_CONSENT:
                quarantined.append(held(arrival, one, terms, stranger=place in self._strangers))
        return IngestBatch(
            events=events, interactions=interactions, active=active, links=links, quarantined=quarantined
        )

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


def judge(
    store: Store,
    book: ExposureBook,
    arrivals: Sequence[Arrival],
    *,
    terms: Terms,
    wishes: Wishes | None = None,
) -> Judged:
    """Decide what is to become of each event; the store is only read. Without `wishes` everybody agreed.

    Raises
    ------
    ProblemError
        413 ``too_large`` for more events than a batch may hold.
    StoreUnavailableError
        If a revision of the catalog, or what people decided, cannot be read.
    """
    check_number(len(arrivals), MAX_EVENTS)
    backfill = terms.backfill or terms.trust == SERVER
    bench = Bench(book.open(store, now=terms.now, backfill=backfill), terms)
    found = [bench.look(arrival) for arrival in arrivals]
    of_one_person = terms.trust == CLIENT and terms.source not in MANY_PERSONS
    if of_one_person:
        _keep_to_one_person(found)
    strangers = _strangers(arrivals, found) if of_one_person else frozenset()
    if wishes is None:
        return Judged(arrivals, found, [GRANTED] * len(arrivals), terms, strangers)
    persons = [
        concerned(one) if isinstance(one, Event) else persons_named(arrival)
        for arrival, one in zip(arrivals, found, strict=True)
    ]
    asked = wishes.of(store, persons, rules=terms.rules, now=terms.now)
    # What names nobody has nobody to ask; it is bad, and kept so that the sender can find out why.
    heeded = [wish if ids else GRANTED for wish, ids in zip(asked, persons, strict=True)]
    return Judged(arrivals, found, heeded, terms, strangers)


def take_in(
    store: Store,
    book: ExposureBook,
    events: Sequence[Arrival | Any],
    *,
    terms: Terms,
    wishes: Wishes | None = None,
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
    judged = judge(store, book, arrivals, terms=terms, wishes=wishes)
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
    """Do what `take_in` says for a request of `caller`, and count it.

    `call` is what is known of the request itself.
    """
    terms = terms_of(services, caller, source=source, call=call)
    tally = Tally(services.meters, terms.now)
    tally.receive(len(events))
    try:
        results = take_in(services.store, services.exposures, events, terms=terms, wishes=services.wishes)
    except Exception:
        tally.refuse()
        raise
    tally.settle(result["status"] for result in results)
    return results


def is_same(event: Event, stored: Event) -> bool:
    """Tell whether an event sent again may be the stored one: the type is, and the persons agree."""
    if event.type != stored.type:
        return False
    if event.event_id.startswith(tuple(RESERVED)):
        return True  # made from the unit alone: whoever else was named with it may have changed
    if event.user_id and stored.user_id and event.user_id != stored.user_id:
        return False
    return not set(person_ids(event)).isdisjoint(person_ids(stored))


def _keep_to_one_person(found: list[Event | Refusal]) -> None:
    """Set aside, in place, the good events that are about other persons than the first good one."""
    places = [place for place, one in enumerate(found) if isinstance(one, Event)]
    for n in about_others([one for one in found if isinstance(one, Event)]):
        found[places[n]] = OTHER_PERSON


def _strangers(arrivals: Sequence[Arrival], found: Sequence[Event | Refusal]) -> frozenset[int]:
    """Return the places of bad events that are about other people than the good ones.

    Where none is good, the first that names anybody tells whose request it is.
    """
    bad = {
        place: named
        for place, one in enumerate(found)
        if isinstance(one, Refusal) and (named := persons_named(arrivals[place]))
    }
    if not bad:
        return frozenset()
    own = {person for one in found if isinstance(one, Event) for person in person_ids(one)}
    own = own or set(next(iter(bad.values())))
    return frozenset(place for place, named in bad.items() if own.isdisjoint(named))


def _marks(signals: frozenset[Mark], *, personal: bool, train: bool) -> str:
    if personal and train and not signals:
        return ""
    own = {Mark.NO_PERSONALIZATION: not personal, Mark.NO_TRAINING: not train}
    return " ".join(mark for mark in Mark if mark in signals or own.get(mark))
