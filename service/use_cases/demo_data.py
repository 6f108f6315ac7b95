"""The demo shop's data files: real orders as facts, and the ordinary events they become.

The orders are moved by whole weeks, so that weekdays stay weekdays and the last of them lies in the past
seven days. Everything before `CUTOFF` is history that a shop would import; the 30 days after it are replayed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from service.clock import from_micros, to_micros
from service.settings import DEMO_CATALOG
from service.storage.records import Item
from service.use_cases.ingest import MAX_PRODUCTS

DAYS = 30
END = datetime(2011, 12, 10, tzinfo=UTC)
CUTOFF = END - timedelta(days=DAYS)
CURRENCY = "GBP"
MICROS = 1_000_000
MICROS_PER_MILLI = 1_000
WEEK = timedelta(days=7)

ORDERS_FILE = DEMO_CATALOG / "orders.parquet"
ITEMS_FILE = DEMO_CATALOG / "items.parquet"


@dataclass(frozen=True, slots=True)
class Line:
    """One product of an order; the price of a piece in thousandths of a pound."""

    item_id: str
    quantity: int
    price_milli: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOrder:
    """One real order, or the refund of one, at its original time (microseconds since the epoch)."""

    order_id: str
    customer_id: int
    country: str
    occurred_us: int
    refund: bool
    lines: tuple[Line, ...]

    @property
    def event_type(self) -> str:
        """Segment's name for what happened."""
        return "Order Refunded" if self.refund else "Order Completed"

    @property
    def revenue_milli(self) -> int:
        """Quantity times price over all lines, in thousandths of a pound."""
        return sum(line.quantity * line.price_milli for line in self.lines)

    @property
    def user_id(self) -> str:
        """The customer, as the shop names them to Opportune."""
        return f"c{self.customer_id}"


def read_orders(path: Path = ORDERS_FILE) -> tuple[DemoOrder, ...]:
    """Return every order and refund in time order, with its original dates."""
    table = pq.read_table(path)
    seconds = table.column("ordered_at").cast("timestamp[s]").cast("int64").to_pylist()
    names = ("order_id", "customer_id", "country", "refund", "item_id", "quantity", "price_milli")
    columns = [table.column(name).to_pylist() for name in names]
    rows = zip(seconds, *columns, strict=True)
    orders = []
    for (second, order_id, customer_id, country, refund), lines in groupby(rows, key=lambda row: row[:5]):
        order = DemoOrder(
            order_id=order_id,
            customer_id=customer_id,
            country=country,
            occurred_us=second * MICROS,
            refund=refund,
            lines=tuple(Line(*row[5:]) for row in lines),
        )
        orders.append(order)
    return tuple(orders)


def read_items(path: Path = ITEMS_FILE) -> tuple[Item, ...]:
    """Return every item of the shop, as the store keeps it."""
    rows = pq.read_table(path).to_pylist()
    return tuple(
        Item(
            item_id=row["item_id"],
            fields={"title": row["title"], "price": row["price_milli"] / 1000, "currency": CURRENCY},
            categories=tuple(row["categories"]),
        )
        for row in rows
    )


def week_shift(now: datetime) -> timedelta:
    """Return how many whole weeks the data moves: it then ends at most a week before `now`, never after."""
    return (now - END) // WEEK * WEEK


def history(orders: Sequence[DemoOrder]) -> Iterator[DemoOrder]:
    """Yield what happened before the cut-off."""
    cutoff_us = to_micros(CUTOFF)
    return (order for order in orders if order.occurred_us < cutoff_us)


def as_event(order: DemoOrder, shift: timedelta) -> dict[str, Any]:
    """Return the wire form of a real customer's order.

    The id comes from the order alone: a later import, of other weeks, adds nothing twice.
    """
    moment = from_micros(order.occurred_us) + shift
    return {
        "event_id": f"demo-{order.order_id}",
        "type": order.event_type,
        "user_id": order.user_id,
        "occurred_at": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "properties": order_properties(order),
    }


def order_properties(order: DemoOrder) -> dict[str, Any]:
    """Return Segment's e-commerce properties of an order or a refund.

    A few have more lines than an event may: the largest are kept, and the revenue is that of the whole order.
    """
    lines = order.lines
    if len(lines) > MAX_PRODUCTS:
        lines = tuple(sorted(lines, key=lambda x: (-x.quantity * x.price_milli, x.item_id))[:MAX_PRODUCTS])
    return {
        "order_id": order.order_id,
        "revenue": round(order.revenue_milli / 1000, 2),
        "currency": CURRENCY,
        "products": [
            {"product_id": line.item_id, "quantity": line.quantity, "price": line.price_milli / 1000}
            for line in lines
        ],
    }
