import itertools
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.use_cases.demo_data import (
    CUTOFF,
    END,
    DemoOrder,
    as_event,
    history,
    read_items,
    read_orders,
    week_shift,
)
from service.use_cases.ingest import MAX_EVENT_BYTES, MAX_PRODUCTS

NOW = datetime(2027, 3, 4, 15, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def orders() -> tuple[DemoOrder, ...]:
    return read_orders()


def test_the_committed_data_are_a_year_of_orders_and_refunds_in_time_order(
    orders: tuple[DemoOrder, ...],
) -> None:
    assert len(orders) == 21_785
    assert sum(o.refund for o in orders) == 3_383
    assert len({o.order_id for o in orders}) == len(orders)
    assert all(a.occurred_us <= b.occurred_us for a, b in itertools.pairwise(orders))
    assert all(line.quantity > 0 and line.price_milli > 0 for o in orders for line in o.lines)


def test_every_item_that_is_ordered_is_in_the_shop(orders: tuple[DemoOrder, ...]) -> None:
    known = {item.item_id for item in read_items()}

    assert {line.item_id for o in orders if not o.refund for line in o.lines} == known


@given(now=st.datetimes(datetime(2015, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_the_data_move_by_whole_weeks_and_end_within_the_past_seven_days(now: datetime) -> None:
    shift = week_shift(now)

    assert shift % timedelta(weeks=1) == timedelta(0)
    assert END + shift <= now < END + shift + timedelta(weeks=1)


def test_history_is_what_happened_before_the_last_thirty_days(orders: tuple[DemoOrder, ...]) -> None:
    past = list(history(orders))

    assert timedelta(days=30) == END - CUTOFF
    assert 0 < len(past) < len(orders)
    shift = week_shift(NOW)
    newest = max(as_event(o, shift)["occurred_at"] for o in past)
    assert newest < (CUTOFF + shift).isoformat()


def test_an_order_keeps_its_event_id_whenever_it_is_loaded(orders: tuple[DemoOrder, ...]) -> None:
    today, later = (as_event(orders[0], week_shift(now)) for now in (NOW, NOW + timedelta(days=40)))

    assert today["event_id"] == later["event_id"] == "demo-536365"
    assert today["occurred_at"] < later["occurred_at"]


def test_revenue_is_the_sum_of_the_products_and_every_event_fits_the_server(
    orders: tuple[DemoOrder, ...],
) -> None:
    for order in orders:
        event = as_event(order, timedelta(0))
        products = event["properties"]["products"]
        assert len(products) == min(len(order.lines), MAX_PRODUCTS)
        if len(order.lines) <= MAX_PRODUCTS:
            assert event["properties"]["revenue"] == pytest.approx(
                sum(p["quantity"] * p["price"] for p in products), abs=0.0051
            )
        # What simulate.py sends is larger by the visitor's own id.
        assert len(orjson.dumps(event)) + 200 < MAX_EVENT_BYTES
