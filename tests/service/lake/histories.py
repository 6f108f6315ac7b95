"""Random histories of a shop's log, and what plain Python makes of them."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from experiments.definitions import Metric
from service.clock import to_micros
from service.lake.moments import Facts
from service.storage.records import Event
from tests.service.lake.logs import START, an_event, an_exposure, days
from tests.service.lake.test_kinds import (
    ANSWERED,
    METRICS,
    ORDERED,
    SCORES,
    UNITS,
    VARIANTS,
    VISITED,
    by_hand,
)

UNTIL = START + days(6)
USERS = ("maria", "jo", "sam", "kim", "ana", "lee")
# As METRICS of test_kinds have them, but for what the log's own JSON cannot hold: a whole number of 100 bits.
AMOUNTS = (1, 5, -7, 0, 19.99, 0.1, 0.2, 1e-7, 0.0000015, 1e308, -1e308, 2**63, "5", None, True, 333.333333)
N_METRICS = 4
ACCOUNT = "account_id"
"""A property of every event that may count: its visitor, once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Events in the order in which they come, some twice, and who is erased after so many of them."""

    events: tuple[Event, ...]
    erased_after: int
    erased: tuple[str, ...]
    metrics: tuple[Metric, ...]

    def left(self) -> list[Event]:
        """Return what the log holds in the end, each event once."""
        before = [e for e in self.events[: self.erased_after] if not self._names(e)]
        found = {e.event_id: e for e in (*before, *self.events[self.erased_after :])}
        return list(found.values())

    def _names(self, event: Event) -> bool:
        return event.anonymous_id in self.erased or event.properties.get("previous_id") in self.erased


def history(seed: int) -> History:
    """Return one on a grid of quarters of an hour, so that many things happen at the very same moment."""
    rng = random.Random(seed)
    events = [_event(rng, f"e{i}") for i in range(rng.choice((0, 40, 200, 400)))]
    # An erased event may come back only with whoever sends it again: repeats come before the erasure.
    sent = [*events, *rng.sample(events, len(events) // 8)]
    rng.shuffle(sent)
    late = [_event(rng, f"late{i}") for i in range(len(events) // 4)]
    erased = tuple(rng.sample(UNITS, 2)) if rng.random() < 0.6 else ()
    chosen = tuple(METRICS[(seed * N_METRICS + i) % len(METRICS)] for i in range(N_METRICS))
    return History(events=(*sent, *late), erased_after=len(sent), erased=erased, metrics=chosen)


def told(facts: Facts) -> dict[str, object]:
    """Return facts in a form that does not tell in which order an engine found them."""
    return {
        "n_events": facts.n_events,
        "first_us": facts.first_us,
        "units": {
            variant: (units.exposed, units.multiple_variants) for variant, units in facts.units.items()
        },
        "contaminated": facts.contaminated,
        "arrivals": {(a.period, a.variant, a.source): a.n for a in facts.arrivals},
        "periods": {(p.metric, p.variant, p.period): p.moments for p in facts.periods},
        "absent": dict(facts.absent),
    }


def told_by_hand(events: Sequence[Event], metrics: Sequence[Metric], *, source: str) -> dict[str, object]:
    """Return what `told` gives, from the events alone."""
    shown = [e for e in events if e.type == "Experiment Viewed"]
    seen: dict[str, list[Event]] = defaultdict(list)
    for event in shown:
        seen[event.properties["unit_id"]].append(event)
    first = {unit: min((e.occurred_at, e.properties["variant_key"]) for e in of) for unit, of in seen.items()}
    variants = {unit: {e.properties["variant_key"] for e in of} for unit, of in seen.items()}
    units: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    arrivals: dict[tuple[date, str, str], int] = defaultdict(int)
    for unit, (at, variant) in first.items():
        several = len(variants[unit]) > 1
        exposed, multiple = units[variant]
        units[variant] = (exposed + 1, multiple + several)
        if not several:
            arrivals[at.date(), variant, source] += 1
    found = {m.key: by_hand(events, m, until=UNTIL) for m in metrics}
    return {
        "n_events": len(shown),
        "first_us": min((to_micros(at) for at, _ in first.values()), default=None),
        "units": dict(units),
        "contaminated": _contaminated(events, variants),
        "arrivals": dict(arrivals),
        "periods": {
            (key, *place): moments for key, (rows, _) in found.items() for place, moments in rows.items()
        },
        "absent": {key: absent for key, (_, absent) in found.items() if absent},
    }


def _event(rng: random.Random, event_id: str) -> Event:
    at = START + timedelta(minutes=15 * rng.randrange(6 * 96))
    unit = rng.choice(UNITS)
    chance = rng.random()
    if chance < 0.2:
        usual = list(VARIANTS)[UNITS.index(unit) % 3]
        variant = rng.choice(list(VARIANTS)) if rng.random() < 0.05 else usual
        return an_exposure(event_id, unit, variant, at=at)
    if chance < 0.23:
        previous = rng.choice((unit, unit, unit, 7, ""))
        return an_event(
            event_id,
            "User Aliased",
            anonymous_id=None,
            user_id=rng.choice(USERS),
            at=at,
            previous_id=previous,
        )
    properties: dict[str, Any] = {
        ACCOUNT: unit,
        "revenue": rng.choice(AMOUNTS),
        "score": rng.choice(SCORES),
        "currency": rng.choice(("EUR", "EUR", "GBP", None, ["EUR"])),
        "kind": rng.choice(("tea", "cup", 't"e\\a\n', "té")),
        "n": rng.choice((5, 5.0, 6, "5", None)),
    }
    kept = {name: value for name, value in properties.items() if name == ACCOUNT or rng.random() < 0.8}
    user = rng.choice(USERS) if rng.random() < 0.08 else None
    kind = rng.choice((ORDERED, VISITED, ANSWERED))
    return an_event(event_id, kind, anonymous_id=unit, user_id=user, at=at, **kept)


def _contaminated(events: Sequence[Event], variants: dict[str, set[str]]) -> int:
    links = [(e.anonymous_id, e.occurred_at, e.user_id or "") for e in events if e.anonymous_id and e.user_id]
    links += [
        (e.properties["previous_id"], e.occurred_at, e.user_id or "")
        for e in events
        if e.type == "User Aliased"
        and isinstance(e.properties["previous_id"], str)
        and e.properties["previous_id"]
    ]
    people = {visitor: min((at, user) for v, at, user in links if v == visitor)[1] for visitor, _, _ in links}
    of_person: dict[str, set[str]] = defaultdict(set)
    for unit, seen in variants.items():
        if unit in people:
            of_person[people[unit]] |= seen
    return sum(
        1
        for unit, seen in variants.items()
        if unit in people and len(seen) == 1 and len(of_person[people[unit]]) > 1
    )
