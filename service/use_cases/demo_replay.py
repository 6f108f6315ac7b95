"""What simulated people tell the server on each day: events in order of event time; nothing is sent here."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from service.clock import from_micros, to_micros
from service.storage.interactions import EXPOSURE_EVENT
from service.use_cases.demo_data import CUTOFF, DemoOrder, order_properties
from service.use_cases.demo_people import DAY_US, Lives, People, World, loses_purchases

MAX_HISTORY_LINES = 10
VISIT = "Page Viewed"

RawEvent = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What the server answered for one person and one experiment; `value` is what the page would show."""

    experiment: str
    variant: str
    value: Any
    enrolled: bool
    phase: int
    revision: int

    @classmethod
    def of(cls, evaluation: Mapping[str, Any]) -> "Ticket":
        """Read one flag of an OFREP answer."""
        metadata = evaluation["metadata"]
        return cls(
            experiment=evaluation["key"],
            variant=evaluation["variant"],
            value=evaluation["value"],
            enrolled=metadata["enrolled"],
            phase=metadata["phase"],
            revision=metadata["revision"],
        )


@dataclass(slots=True)
class Visitor:
    """One person since the arrival; `slate` is None for who has no part in the comparison of slates."""

    tickets: tuple[Ticket, ...]
    loses: bool
    slate: frozenset[str] | None = None
    ordered: bool = False


@dataclass
class Replay:
    """The 30 days after the cut-off, day by day: ask who arrives, admit them, then take the day's events.

    `shift` moves the original dates. A planted lift is decided at admission, by the variant the server gave.
    """

    world: World
    people: People
    shift: timedelta
    lift: float
    visitors: dict[int, Visitor] = field(default_factory=dict)

    @cached_property
    def _lives(self) -> Lives:
        return Lives.of(self.world, self.people)

    def arrivals(self, day: int) -> range:
        """Return who arrives on `day`, 0 being the first after the cut-off, in order of arrival."""
        first, last = np.searchsorted(self.people.arrival_us, [day * DAY_US, (day + 1) * DAY_US])
        return range(int(first), int(last))

    def context(self, person: int) -> dict[str, str]:
        """Return what the page knows of a visitor."""
        unit_id = self.people.ids[person]
        country = self.world.countries[self.people.customer_index[person]]
        return {"targetingKey": unit_id, "anonymous_id": unit_id, "country": country}

    def admit(
        self, person: int, main: Ticket, picks: Ticket | None, *, control: str, slate: frozenset[str] | None
    ) -> None:
        """Let a person in with the variants that the server gave; `control` is the main experiment's."""
        coin = self.people.coin[person : person + 1]
        is_control = np.array([main.enrolled and main.variant == control])
        is_treatment = np.array([main.enrolled and main.variant != control])
        loses = loses_purchases(coin, is_control=is_control, is_treatment=is_treatment, lift=self.lift)
        tickets = tuple(t for t in (main, picks) if t is not None and t.enrolled)
        self.visitors[person] = Visitor(tickets=tickets, loses=bool(loses[0]), slate=slate)

    def history(self, persons: Iterable[int]) -> Iterator[RawEvent]:
        """Yield the last order before the cut-off of each of `persons`, its biggest lines, by event time."""
        index = self.people.customer_index
        orders = [(self.world.last_order[index[person]], person) for person in persons]
        for order, person in sorted(orders, key=lambda pair: (pair[0].occurred_us, pair[1])):
            lines = sorted(order.lines, key=lambda x: (-x.quantity * x.price_milli, x.item_id))
            bounded = replace(order, lines=tuple(lines[:MAX_HISTORY_LINES]))
            yield self._order_event(bounded, person, f"h{order.order_id}")

    def events(self, day: int) -> list[RawEvent]:
        """Return what happens on `day`, in order of event time; who arrives must have been admitted."""
        happenings = [*self._visits(day), *self._orders(day)]
        return [event for _, _, event in sorted(happenings, key=lambda h: h[:2])]

    def _visits(self, day: int) -> Iterator[tuple[int, int, RawEvent]]:
        for person in self.arrivals(day):
            yield from self._visit(person, int(self.people.arrival_us[person]), 1)
        start, end = day * DAY_US, (day + 1) * DAY_US
        again = np.flatnonzero((self.people.return_us >= start) & (self.people.return_us < end))
        for person in again.tolist():
            yield from self._visit(person, int(self.people.return_us[person]), 2)

    def _visit(self, person: int, at_us: int, number: int) -> Iterator[tuple[int, int, RawEvent]]:
        """Yield a visit and what was seen on it; visits are invented, so they say so."""
        page = {"name": "home", "synthetic": True}
        yield at_us, 0, self._event(person, f"v{number}", VISIT, at_us, page)
        for place, ticket in enumerate(self.visitors[person].tickets, start=1):
            seen = {
                "experiment_key": ticket.experiment,
                "variant_key": ticket.variant,
                "unit_type": "anonymous_id",
                "unit_id": self.people.ids[person],
                "phase": ticket.phase,
                "revision": ticket.revision,
            }
            yield at_us, place, self._event(person, f"x{number}{place}", EXPOSURE_EVENT, at_us, seen)

    def _orders(self, day: int) -> Iterator[tuple[int, int, RawEvent]]:
        lives = self._lives
        mine = np.flatnonzero((lives.occurred_us >= day * DAY_US) & (lives.occurred_us < (day + 1) * DAY_US))
        for row in mine[np.argsort(lives.occurred_us[mine], kind="stable")].tolist():
            person, at_us = int(lives.person[row]), int(lives.occurred_us[row])
            order = self.world.later[lives.order_index[row]]
            arrived = at_us >= self.people.arrival_us[person]
            if arrived and not order.refund and self.visitors[person].loses:
                continue
            event = self._order_event(order, person, f"o{order.order_id}")
            if arrived and not order.refund:
                self._compare_with_slate(person, order, event)
            yield at_us, 9, event

    def _compare_with_slate(self, person: int, order: DemoOrder, event: RawEvent) -> None:
        """Say of the next order, and of no later one, whether it holds an item of the slate seen before."""
        visitor = self.visitors[person]
        if visitor.slate is not None and not visitor.ordered:
            bought = {line.item_id for line in order.lines}
            event["properties"]["contains_slate_item"] = not visitor.slate.isdisjoint(bought)
        visitor.ordered = True

    def _order_event(self, order: DemoOrder, person: int, event_id: str) -> RawEvent:
        at_us = order.occurred_us - to_micros(CUTOFF)
        return self._event(person, event_id, order.event_type, at_us, order_properties(order))

    def _event(
        self, person: int, event_id: str, kind: str, at_us: int, properties: dict[str, Any]
    ) -> RawEvent:
        unit_id = self.people.ids[person]
        moment = self.at(at_us)
        return {
            "event_id": f"{unit_id}-{event_id}",
            "type": kind,
            "anonymous_id": unit_id,
            "occurred_at": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "properties": properties,
        }

    def at(self, at_us: int) -> datetime:
        """Return the shifted time of `at_us` microseconds after the cut-off."""
        return from_micros(to_micros(CUTOFF) + at_us) + self.shift
