"""Events as a shop sends them: ids of their own, visitors who come back, bodies ready to be sent."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import md5
from typing import Any
from uuid import UUID

import orjson

from service.storage.records import Event

TIME_ORDERED, RANDOM = "time-ordered", "random"
IDS = (TIME_ORDERED, RANDOM)
EVENTS_EACH = 10
"""Events of one visitor in a filled store."""
EVENTS_TOGETHER = 5
"""Events of one visitor in a batch of a server; a browser's batch is one visitor's."""
FROM_SERVER = 100
"""From this size on a batch is one that a server has gathered."""
N_PRODUCTS = 20_000
IDS_A_MS = 20
VERSION_7 = 0x7 << 76 | 0b10 << 62
RANDOM_BITS = 0xFFF << 64 | (1 << 62) - 1
RETURNING = 0.5
KINDS = ("Product Viewed", "Page Viewed", "Product Added", "Order Completed")
WEIGHTS = (70, 20, 5, 5)
CATEGORIES = ("tea", "coffee", "mugs", "gifts")


def visitor(number: int) -> str:
    """Return the anonymous id of a visitor of a filled store."""
    return md5(b"visitor %d" % number, usedforsecurity=False).hexdigest()


class Source:
    """Makes events, no two the same; where the store holds `known` visitors, half are of one of these.

    `ids` are TIME_ORDERED (UUIDv7) or RANDOM (UUIDv4).
    """

    def __init__(self, ids: str, *, known: int = 0) -> None:
        self._draw = random.Random()
        self._ids = ids
        self._known = known
        self._made = 0
        self._began_ms = int(datetime.now(UTC).timestamp() * 1_000)

    def members(self, who: str, kinds: tuple[str, ...] = KINDS) -> dict[str, Any]:
        """Return one event of a visitor, as it is sent."""
        kind = self._draw.choices(kinds, WEIGHTS[: len(kinds)])[0]
        return {
            "event_id": self._id(),
            "type": kind,
            "anonymous_id": who,
            "occurred_at": datetime.now(UTC).isoformat(),
            "properties": self._properties(kind),
        }

    def event(self, who: str, occurred_at: datetime) -> Event:
        """Return one event of a visitor, as it is stored."""
        kind = self._draw.choices(KINDS, WEIGHTS)[0]
        return Event(
            event_id=self._id(),
            type=kind,
            anonymous_id=who,
            occurred_at=occurred_at,
            properties=self._properties(kind),
        )

    def bodies(self, batch: int) -> Iterator[bytes]:
        """Return bodies for /v1/events without an end; no event comes twice."""
        kinds, together = (KINDS, EVENTS_TOGETHER) if batch >= FROM_SERVER else (KINDS[:3], batch)
        while True:
            events: list[dict[str, Any]] = []
            while len(events) < batch:
                who = self.next_visitor()
                events += (self.members(who, kinds) for _ in range(min(together, batch - len(events))))
            yield orjson.dumps({"events": events})

    def next_visitor(self) -> str:
        """Return somebody who has been here, or somebody new."""
        if self._known and self._draw.random() < RETURNING:
            return visitor(self._draw.randrange(self._known))
        return f"{self._draw.getrandbits(128):032x}"

    def _id(self) -> str:
        """Return the next id; time-ordered ones advance as if 20,000 a second were made."""
        bits = self._draw.getrandbits(128)
        if self._ids == RANDOM:
            return str(UUID(int=bits, version=4))
        self._made += 1
        moment = self._began_ms + self._made // IDS_A_MS
        return str(UUID(int=moment << 80 | VERSION_7 | bits & RANDOM_BITS))

    def _properties(self, kind: str) -> dict[str, Any]:
        number = self._draw.randrange(N_PRODUCTS)
        if kind == "Page Viewed":
            return {"path": f"/p/{number}", "title": f"Product {number}", "referrer": "https://shop.example/"}
        product = {
            "product_id": f"sku-{number:05}",
            "category": CATEGORIES[number % len(CATEGORIES)],
            "price": number % 400 / 4,
            "currency": "EUR",
        }
        if kind == "Order Completed":
            other = {**product, "product_id": f"sku-{number * 7 % N_PRODUCTS:05}"}
            return {"order_id": f"order-{self._draw.getrandbits(48)}", "products": [product, other]}
        return product
