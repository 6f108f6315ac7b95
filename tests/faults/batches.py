"""Batches as clients may send them: fresh, repeated, shuffled, late, poisonous in every known way."""

import json
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.faults.history import Sent

STORED = frozenset({"accepted", "duplicate"})
SET_ASIDE = frozenset({"quarantined"})
LARGE = 33 * 1024
TYPES = ("Product Viewed", "Product Added", "Survey Answered")


class Author:
    """Writes the batches of one client; the same seed writes the same batches, but for the time of day."""

    def __init__(self, name: str, rng: random.Random, *, trusted: bool) -> None:
        self._name = name
        self._rng = rng
        self._trusted = trusted
        self._count = 0
        self._written: list[Sent] = []
        self.acknowledged: list[Sent] = []
        """Good events that are stored for certain: taking their id for another event is a conflict."""

    def batch(self) -> list[Sent]:
        """Return the next batch; a client key speaks for one person at a time."""
        rng = self._rng
        n = rng.choice((1, 1, 2, 5, 20, 60))
        person = self._person()
        events = [self._event(person if not self._trusted else self._person()) for _ in range(n)]
        if self._written and rng.random() < 0.3:
            events += rng.choices(self._written, k=min(3, n)) if self._trusted else [events[0]]
        rng.shuffle(events)
        return events

    def good(self) -> Sent:
        """Return one more event that nothing is wrong with."""
        return self._good(self._person())

    def _event(self, person: str) -> Sent:
        if self._rng.random() < 0.05:
            return self._poison(person)
        sent = self._good(person)
        self._written = [*self._written[-200:], sent]
        return sent

    def _good(self, person: str) -> Sent:
        value = self._value(person)
        late = self._rng.random() < 0.2
        value["occurred_at"] = self._when(timedelta(days=6 * self._rng.random() if late else 0))
        return Sent(event_id=value["event_id"], raw=self._text(value), expected=STORED)

    def _poison(self, person: str) -> Sent:
        kinds = sorted(POISON)
        if self._trusted and self.acknowledged:
            kinds.append("conflict")
        kind = self._rng.choice(kinds)
        value = self._value(person)
        if kind == "conflict":
            value["event_id"] = self._rng.choice(self.acknowledged).event_id
            raw = self._text(value | {"anonymous_id": f"{person}-thief", "user_id": None})
        else:
            raw = POISON[kind](value)
        return Sent(event_id=value["event_id"], raw=raw, expected=SET_ASIDE, kind=kind)

    def _value(self, person: str) -> dict[str, Any]:
        self._count += 1
        return {
            "event_id": f"{self._name}-{self._count}-{self._rng.getrandbits(40):010x}",
            "type": self._rng.choice(TYPES),
            "anonymous_id": person,
            "user_id": f"{person}-user" if self._trusted and self._rng.random() < 0.3 else None,
            "occurred_at": self._when(timedelta(0)),
            "properties": {"item_id": f"tea-{self._rng.randrange(9)}", "n": self._count},
        }

    def _person(self) -> str:
        return f"{self._name}-visitor-{self._rng.randrange(12)}"

    def _when(self, ago: timedelta) -> str:
        return (datetime.now(UTC) - ago).isoformat()

    def _text(self, value: Mapping[str, Any]) -> bytes:
        """Return JSON, sometimes with the blanks that another client's library would write."""
        blanks = self._rng.random() < 0.5
        return json.dumps(value, separators=(", ", ": ") if blanks else (",", ":")).encode()


def body_of(events: list[Sent]) -> bytes:
    """Return the request body: the events' own bytes."""
    return b'{"events":[' + b",".join(event.raw for event in events) + b"]}"


def _dumped(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode()


def _dated(value: Mapping[str, Any], **ahead: float) -> bytes:
    return _dumped({**value, "occurred_at": (datetime.now(UTC) + timedelta(**ahead)).isoformat()})


def _with_note(value: Mapping[str, Any], note: bytes) -> bytes:
    """Put a value in as it is, also one that is no JSON."""
    return _dumped({**value, "properties": {"note": "NOTE"}}).replace(b'"NOTE"', note)


def _without_type(value: Mapping[str, Any]) -> bytes:
    return _dumped({name: part for name, part in value.items() if name != "type"})


POISON: Mapping[str, Callable[[Mapping[str, Any]], bytes]] = {
    "no type": _without_type,
    "large": lambda value: _with_note(value, b'"' + b"x" * LARGE + b'"'),
    "old": lambda value: _dated(value, days=-500),
    "ahead": lambda value: _dated(value, minutes=10),
    "no object": lambda value: json.dumps(value["event_id"]).encode(),
    "NUL": lambda value: _with_note(value, b'"a\\u0000b"'),
    "surrogate": lambda value: _with_note(value, b'"\\ud800"'),
    "NaN": lambda value: _with_note(value, b"NaN"),
    "infinite": lambda value: _with_note(value, b"1e999"),
    "key twice": lambda value: _with_note(value, b'1, "note": 2'),
    "no UTF-8": lambda value: _with_note(value, b'"\xff\xfe"'),
    "deep": lambda value: _with_note(value, b"[" * 40 + b"]" * 40),
}
"""Ways to spoil an event; each costs only itself a place in the log."""
