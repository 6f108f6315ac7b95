"""Which interactions an event contains."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.storage.interactions import interactions_of
from service.storage.records import Event

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def found_in(kind: str, properties: dict[str, Any], **ids: str) -> dict[tuple[str, str], float]:
    event = Event(
        event_id="e", type=kind, occurred_at=NOW, properties=properties, **(ids or {"user_id": "u"})
    )
    return {(i.person_id, i.item_id): i.quantity for i in interactions_of(event)}


@pytest.mark.parametrize(
    ("kind", "properties", "items"),
    [
        ("Product Viewed", {"item_id": "tea"}, {"tea": 1.0}),
        ("Product Viewed", {"product_id": "tea", "quantity": 3}, {"tea": 3.0}),
        ("Video Played", {"item_id": 85123}, {"85123": 1.0}),
        ("Order Completed", {"products": [{"item_id": "a", "quantity": 2}, {"item_id": "a"}]}, {"a": 3.0}),
        ("Order Refunded", {"products": [{"item_id": "a", "quantity": 2}]}, {"a": 2.0}),
        ("Order Completed", {"item_id": "a"}, {"a": 1.0}),
        (
            "Cart Viewed",
            {"products": [{"product_id": "a", "quantity": 2}, {"product_id": "b"}]},
            {"a": 2.0, "b": 1.0},
        ),
        ("Checkout Started", {"products": [{"item_id": "a"}]}, {"a": 1.0}),
        ("Product List Viewed", {"products": [{"item_id": "a"}]}, {}),
        ("Experiment Viewed", {"item_id": "a"}, {}),
        ("Order Completed", {"products": "a"}, {}),
        ("Product Viewed", {"item_id": True}, {}),
        ("Product Viewed", {"item_id": ""}, {}),
        ("Product Viewed", {"item_id": "a" * 129}, {}),
        ("Product Viewed", {"item_id": {"id": "a"}}, {}),
        ("Product Viewed", {"item_id": "a", "quantity": -1}, {"a": 1.0}),
        ("Product Viewed", {"item_id": "a", "quantity": "2"}, {"a": 1.0}),
        ("Product Viewed", {"item_id": "a", "quantity": True}, {"a": 1.0}),
        ("Product Viewed", {}, {}),
    ],
)
def test_items_and_quantities_are_found_where_the_vocabulary_puts_them(
    kind: str, properties: dict[str, Any], items: dict[str, float]
) -> None:
    assert found_in(kind, properties) == {("u:u", item): quantity for item, quantity in items.items()}


def test_each_known_id_of_the_person_has_them() -> None:
    found = found_in("Product Viewed", {"item_id": "tea"}, user_id="u", anonymous_id="a")

    assert found == {("u:u", "tea"): 1.0, ("a:a", "tea"): 1.0}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["item_id", "quantity"]), inner)
    ),
    max_leaves=8,
)


@given(
    kind=st.sampled_from(["Order Completed", "Product Viewed"]),
    properties=st.dictionaries(
        st.sampled_from(["products", "item_id", "product_id", "quantity"]), json_values
    ),
)
def test_no_properties_break_it(kind: str, properties: dict[str, Any]) -> None:
    assert all(quantity > 0 for quantity in found_in(kind, properties).values())
