"""Compares what clients were told with what is stored: the invariants that no fault may break."""

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.faults.history import History, Outcome, Sent
from tests.faults.stored import Held, Stored, StoredEvent, properties_of

KEPT = {"accepted", "duplicate"}


def violations(history: History, stored: Stored, *, settled: bool, clock_moved: bool = False) -> list[str]:
    """Return what is wrong, empty when everything promised is true.

    `settled` says that each batch was sent until it was answered; then every event has its place. While
    the clock was wrong an event may have been judged twice and differently: only that is forgiven.
    """
    found = [*_lost(history, stored), *_twice(history, stored), *_invented(history, stored)]
    found += [*_held(history, stored), *_traces_of_events(stored), *_surprises(history, clock_moved)]
    if settled:
        found += _conservation(history, stored, clock_moved=clock_moved)
    if stored.integrity != "ok":
        found.append(f"integrity: {stored.integrity}")
    return found


def _lost(history: History, stored: Stored) -> Iterator[str]:
    """Whatever was acknowledged is stored, as it was sent."""
    there = {event.event_id for event in stored.events}
    for operation, event, status, _ in history.answered():
        if status in KEPT and event.event_id not in there:
            yield f"lost: {event.event_id} was told {status} in operation {operation.number}"


def _twice(history: History, stored: Stored) -> Iterator[str]:
    """Nothing is stored twice, nothing is told twice that it is new, and a duplicate was sent before."""
    for event_id, n in Counter(event.event_id for event in stored.events).items():
        if n > 1:
            yield f"twice: {event_id} is stored {n} times"
    accepted = Counter(event.event_id for _, event, status, _ in history.answered() if status == "accepted")
    for event_id, n in accepted.items():
        if n > 1:
            yield f"twice: {event_id} was told accepted {n} times"
    sendings = Counter(event.event_id for event in _sent_whole(history))
    for operation, event, status, _ in history.answered():
        if status == "duplicate" and sendings[event.event_id] < 2:
            yield f"no duplicate: {event.event_id} was sent once, in operation {operation.number}"


def _sent_whole(history: History) -> Iterator[Sent]:
    """Return the events, repeats included, that may have reached the service whole."""
    for operation in history.operations:
        if operation.outcome is not Outcome.FAIL:
            yield from operation.events


def _invented(history: History, stored: Stored) -> Iterator[str]:
    """Nothing is stored that was never sent whole, and nothing else than what was sent."""
    sent: dict[str, list[Sent]] = defaultdict(list)
    for event in _sent_whole(history):
        sent[event.event_id].append(event)
    for row in stored.events:
        if not any(_is(row, candidate) for candidate in sent[row.event_id]):
            yield f"invented: {row.event_id} is stored as nobody sent it"


def _is(event: StoredEvent, sent: Sent) -> bool:
    try:
        value = json.loads(sent.raw)
    except ValueError:
        return False
    return (
        isinstance(value, dict)
        and value.get("type") == event.type
        and value.get("user_id") == event.user_id
        and value.get("anonymous_id") == event.anonymous_id
        and value.get("properties", {}) == properties_of(event)
    )


def _held(history: History, stored: Stored) -> Iterator[str]:
    """What was told to be in quarantine is there once, with its reason and the bytes that came."""
    rows = Counter((held.reason, _bytes_of(held)) for held in stored.held)
    for key, n in rows.items():
        if n > 1:
            yield f"twice: {n} rows in quarantine of {key}"
    for operation, event, status, reason in history.answered():
        if status == "quarantined" and (reason, event.raw) not in rows:
            yield f"lost: {event.event_id} ({event.kind}) was told {reason} in operation {operation.number}"
    sent = {event.raw for event in history.sent()}
    for _, raw in rows:
        if raw not in sent:
            yield f"invented: quarantine holds {raw[:200]!r}"


def _bytes_of(held: Held) -> bytes:
    return base64.b64decode(held.body) if held.encoding == "base64" else held.body.encode()


def _traces_of_events(stored: Stored) -> Iterator[str]:
    """Interactions, activity and links are of the same transaction as their event."""
    known = {event.event_id for event in stored.events}
    for event_id in stored.interactions:
        if event_id not in known:
            yield f"torn: interactions without their event {event_id}"
    activity: Counter[tuple[str, str]] = Counter()
    for event in stored.events:
        persons = {f"u:{event.user_id}"} if event.user_id else set()
        persons |= {f"a:{event.anonymous_id}"} if event.anonymous_id else set()
        expected = len(persons) if "item_id" in event.properties else 0
        if stored.interactions.get(event.event_id, 0) != expected:
            yield f"torn: {event.event_id} has {stored.interactions.get(event.event_id, 0)} interactions"
        activity.update((person, event.type) for person in persons)
    if activity != stored.activity:
        differing = set(activity.items()) ^ set(stored.activity.items())
        yield f"torn: activity is not that of the events: {sorted(differing)[:4]}"

    seen = {
        (f"a:{event.anonymous_id}", event.user_id)
        for event in stored.events
        if event.anonymous_id and event.user_id
    }
    if seen != stored.links:
        yield f"torn: links are not those of the events: {sorted(seen ^ stored.links)[:4]}"


def _surprises(history: History, clock_moved: bool) -> Iterator[str]:
    """No answer is of a kind that nobody may get."""
    for operation in history.operations:
        if operation.status not in (0, 202, 503) or "without Retry-After" in operation.note:
            yield f"status {operation.status} in operation {operation.number}: {operation.note}"
        if operation.outcome is Outcome.INVOKED:
            yield f"operation {operation.number} never ended"
    for operation, event, status, reason in history.answered():
        mistimed = clock_moved and (reason in {"in_future", "too_old"} or event.kind == "ahead")
        if status not in event.expected and not mistimed:
            yield f"{event.kind} event told {status} {reason} in operation {operation.number}"


def _conservation(history: History, stored: Stored, *, clock_moved: bool) -> Iterator[str]:
    """Every event that was sent has one place: the log, the quarantine, or an answer that refused it."""
    kept = {event.event_id: event for event in stored.events}
    held = {_bytes_of(held) for held in stored.held}
    refused = {event.raw for _, event, status, _ in history.answered() if status == "refused"}
    sent = {event.raw: event for event in _sent_whole(history)}
    for raw, event in sent.items():
        in_log = event.event_id in kept and _is(kept[event.event_id], event)
        places = in_log + (raw in held) + (raw in refused)
        if places == 0 or (places > 1 and not clock_moved):
            yield f"conservation: {event.event_id!r} ({event.kind}) is in {places} places"
