"""What an event must be beside well-formed: fair in size, of our time, of a visitor, without forged money."""

from datetime import datetime, timedelta

import orjson

from service.storage.interactions import EXPOSURE_EVENT, PRODUCT_EVENTS
from service.storage.records import Event
from service.use_cases.arrivals import Arrival
from service.use_cases.crawlers import is_crawler
from service.use_cases.event_form import INVALID, read_event
from service.use_cases.exposures import ExposureDesk, Refusal
from service.use_cases.terms import CLIENT, MAX_AGENT, RESERVED, SERVER, Terms

MAX_EVENT_BYTES = 32 * 1024
MAX_PRODUCTS = 200
OLDEST = {CLIENT: timedelta(days=7), SERVER: timedelta(days=400)}
AHEAD = timedelta(minutes=5)
MONEY = ("revenue", "total")
"""Properties that hold money in Segment's vocabulary."""


class Bench:
    """Looks at the events of one batch, one after the other."""

    def __init__(self, desk: ExposureDesk, terms: Terms) -> None:
        self._desk = desk
        self._terms = terms
        self._newest = terms.now + AHEAD
        self._oldest = terms.now - OLDEST[terms.trust]
        self._money: dict[str, tuple[str, ...]] = {}
        self._amounts: dict[str, tuple[str, ...]] = {}
        self._sees_money = terms.trust == CLIENT and not terms.rules.client_revenue

    def look(self, arrival: Arrival) -> Event | Refusal:
        """Return the event, or why it is to be kept apart.

        Raises
        ------
        StoreUnavailableError
            If a revision of the catalog cannot be read.
        """
        if arrival.problem is not None:
            return arrival.problem
        size = len(orjson.dumps(arrival.canonical))
        if size > MAX_EVENT_BYTES:
            return Refusal("too_large", f"an event may have {MAX_EVENT_BYTES} bytes, this one has {size}")
        event = read_event(arrival.canonical)
        if isinstance(event, Refusal):
            return event
        refusal = (
            self._check_content(event)
            or self._check_time(event.occurred_at)
            or self._check_agent(arrival)
            or self._check_amounts(event)
            or (self._check_money(event) if self._sees_money else None)
        )
        if refusal is None and event.type == EXPOSURE_EVENT:
            refusal = self._desk.check(event)
        return refusal or event

    def _check_content(self, event: Event) -> Refusal | None:
        if event.event_id.startswith(_PREFIXES):
            for prefix, door in RESERVED.items():
                if event.event_id.startswith(prefix) and self._terms.source != door:
                    said = f"event_id: ids that begin with {prefix!r} are the service's own"
                    return Refusal(INVALID, said)
        products = event.properties.get("products")
        if event.type in PRODUCT_EVENTS and isinstance(products, list) and len(products) > MAX_PRODUCTS:
            most = f"an order or a basket may have {MAX_PRODUCTS} products, this one has {len(products)}"
            return Refusal(INVALID, f"properties.products: {most}; split it into events of their own")
        return None

    def _check_time(self, occurred_at: datetime) -> Refusal | None:
        if occurred_at < self._oldest:
            trust = self._terms.trust
            days = OLDEST[trust].days
            return Refusal("too_old", f"a {trust} key may date events up to {days} days back")
        if occurred_at > self._newest:
            return Refusal("in_future", "an event may be dated up to 5 minutes ahead; is the clock right?")
        return None

    def _check_agent(self, arrival: Arrival) -> Refusal | None:
        agent = agent_of(arrival, self._terms)
        if agent and is_crawler(agent):
            return Refusal("bot", "the User-Agent is that of a crawler, which is no visitor")
        return None

    def _check_amounts(self, event: Event) -> Refusal | None:
        for name in self._amounts_of(event.type):
            if isinstance(event.properties.get(name), str):
                said = "expected a number such as 34.5, not text, which would count as nothing"
                return Refusal(INVALID, f"properties.{name}: {said}")
        return None

    def _amounts_of(self, event_type: str) -> tuple[str, ...]:
        """Return the properties whose numbers are read in events of this type."""
        known = self._amounts.get(event_type)
        if known is None:
            mine = (name for m in self._terms.metrics.values() for of, name in m.sums() if of == event_type)
            usual = MONEY if event_type in PRODUCT_EVENTS else ()
            known = self._amounts[event_type] = tuple(dict.fromkeys((*usual, *mine)))
        return known

    def _check_money(self, event: Event) -> Refusal | None:
        said = event.properties
        for name in self._money_of(event.type):
            if isinstance(said.get(name), int | float) and not isinstance(said[name], bool):
                return Refusal(
                    "revenue_not_allowed",
                    f"properties.{name}: a client key, which is public, may not send money; send it with a "
                    "server key, or say 'client_revenue: allow' under 'data:' in the catalog",
                )
        return None

    def _money_of(self, event_type: str) -> tuple[str, ...]:
        """Return the properties that are money in events of this type."""
        known = self._money.get(event_type)
        if known is None:
            in_money = (m for m in self._terms.metrics.values() if m.currency)
            summed = (name for m in in_money for of, name in m.sums() if of == event_type)
            known = self._money[event_type] = tuple(dict.fromkeys((*MONEY, *summed)))
        return known


def agent_of(arrival: Arrival, terms: Terms) -> str:
    """Return the User-Agent that counts: what the event itself says of it, else the request's."""
    return arrival.user_agent[:MAX_AGENT] or terms.user_agent


_PREFIXES = tuple(RESERVED)
