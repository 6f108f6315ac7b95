"""From an event to the interactions it contains: person x item rows that live fold-in and training read."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from service.storage.records import Event, Interaction, person_ids

EXPOSURE_EVENT = "Experiment Viewed"
PRODUCT_EVENTS = frozenset(
    {"Cart Viewed", "Checkout Started", "Order Completed", "Order Refunded", "Order Cancelled"}
)
"""The events that are about each of their ``products``."""
MAX_ID_LENGTH = 128
MAX_QUANTITY = 1_000_000.0


def interactions_of(event: Event) -> Sequence[Interaction]:
    """Return one interaction for each known id of the person and each item that `event` is about.

    An order or a basket is about its ``products``, any other event about its own ``item_id`` (or Segment's
    ``product_id``). Lines of the same item are added up. Events without an item give none.
    """
    if event.type == EXPOSURE_EVENT:
        return ()
    quantities: dict[str, float] = {}
    for line in _lines(event):
        item_id = _item_id(line)
        if item_id:
            quantities[item_id] = quantities.get(item_id, 0.0) + _quantity(line)
    return [
        Interaction(
            person_id=person_id,
            item_id=item_id,
            event_type=event.type,
            occurred_at=event.occurred_at,
            quantity=quantity,
        )
        for person_id in person_ids(event)
        for item_id, quantity in quantities.items()
    ]


def _lines(event: Event) -> Sequence[Mapping[str, Any]]:
    products = event.properties.get("products")
    if event.type in PRODUCT_EVENTS and isinstance(products, list):
        return [line for line in products if isinstance(line, Mapping)]
    return (event.properties,)


def _item_id(line: Mapping[str, Any]) -> str:
    value = line.get("item_id", line.get("product_id"))
    if not isinstance(value, str):
        # Shops number their products: 85123 and "85123" are the same item.
        value = str(value) if isinstance(value, int) and not isinstance(value, bool) else ""
    return value if len(value) <= MAX_ID_LENGTH else ""


def _quantity(line: Mapping[str, Any]) -> float:
    value = line.get("quantity", 1)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 1.0
    return float(value) if math.isfinite(value) and 0 < value <= MAX_QUANTITY else 1.0
