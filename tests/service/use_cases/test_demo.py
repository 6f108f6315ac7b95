from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service import settings as settings_module
from service.settings import Settings
from service.storage.migrate import migrate
from service.storage.ports import Store
from service.storage.sql import open_store
from service.use_cases.demo import DemoLoadError, demo_loaded, load_demo
from service.use_cases.demo_data import DemoOrder, Line, as_event, read_orders, week_shift

SHOPPING = ("Order Completed", "Order Refunded", "Product Added", "Product Viewed")

NOW = datetime(2027, 3, 4, 15, 9, tzinfo=UTC)
N_ORDERS = 1_200


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_module.load({"OPPORTUNE_HOME": str(tmp_path)})


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    migrate(settings.database_url)
    opened = open_store(settings)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def orders() -> tuple[DemoOrder, ...]:
    return read_orders()[:N_ORDERS]


def silent(done: int, total: int) -> None:
    assert 0 < done <= total


def test_history_becomes_ordinary_events_of_the_real_customers(
    settings: Settings, store: Store, orders: tuple[DemoOrder, ...]
) -> None:
    report = load_demo(settings, store, now=NOW, progress=silent, orders=orders)

    assert (report.items, report.accepted, report.duplicate) == (3_660, N_ORDERS, 0)
    assert len(store.all_items()) == 3_660
    assert store.last_seq() == N_ORDERS
    first = store.read(0, 1)[0].received
    assert (first.event.event_id, first.event.type, first.trust) == (
        "demo-536365",
        "Order Completed",
        "server",
    )
    expected = as_event(orders[0], week_shift(NOW))
    assert dict(first.event.properties) == expected["properties"]
    bought = store.recent_of_types("u:c17850", SHOPPING, 1_000)
    assert {line.item_id for line in orders[0].lines} <= {i.item_id for i in bought}


def test_a_second_load_is_skipped_and_one_after_a_lost_marker_is_all_duplicates(
    settings: Settings, store: Store, orders: tuple[DemoOrder, ...]
) -> None:
    assert not demo_loaded(settings, store)
    load_demo(settings, store, now=NOW, progress=silent, orders=orders)
    assert demo_loaded(settings, store)

    again = load_demo(settings, store, now=NOW, progress=silent, orders=orders)
    (settings.home / "demo-loaded.json").unlink()
    later = load_demo(settings, store, now=NOW + timedelta(days=15), progress=silent, orders=orders)

    assert again.skipped
    assert (later.accepted, later.duplicate) == (0, N_ORDERS)
    assert store.last_seq() == N_ORDERS


def test_a_load_that_was_interrupted_goes_on_where_it_stopped(
    settings: Settings, store: Store, orders: tuple[DemoOrder, ...]
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_demo(settings, store, now=NOW, progress=interrupt, orders=orders)
    stored = store.last_seq()

    report = load_demo(settings, store, now=NOW, progress=silent, orders=orders)

    assert 0 < stored < N_ORDERS
    assert (report.accepted, report.duplicate) == (N_ORDERS - stored, stored)


def test_a_marker_of_another_store_does_not_count(
    settings: Settings, store: Store, orders: tuple[DemoOrder, ...]
) -> None:
    marker = settings.home / "demo-loaded.json"
    load_demo(settings, store, now=NOW, progress=silent, orders=orders)
    marker.write_text(marker.read_text("utf-8").replace('"files": "', '"files": "0'), "utf-8")

    assert not demo_loaded(settings, store)
    marker.write_text("{", "utf-8")
    assert not demo_loaded(settings, store)


def test_an_order_that_the_store_refuses_stops_the_load_with_its_name(
    settings: Settings, store: Store
) -> None:
    line = Line(item_id="x" * 1_000, quantity=1, price_milli=1)
    huge = DemoOrder(
        order_id="1",
        customer_id=1,
        country="France",
        occurred_us=1_300_000_000_000_000,
        refund=False,
        lines=(line,) * 100,
    )

    with pytest.raises(DemoLoadError, match="demo-1 was refused: too_large"):
        load_demo(settings, store, now=NOW, progress=silent, orders=[huge])
