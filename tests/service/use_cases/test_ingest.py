"""What happens to one event: accepted, duplicate or quarantined with a reason; a bad one spoils no other."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.errors import ProblemError
from service.settings import load
from service.storage.migrate import migrate
from service.storage.records import KeyClass
from service.storage.sql import SqlStore, open_store
from service.use_cases.access import Caller
from service.use_cases.ingest import CLIENT, MAX_EVENTS, SERVER, ingest
from service.use_cases.models import ModelHolder
from service.use_cases.services import Services
from service.use_cases.snapshot import SnapshotHolder
from tests.service.use_cases.deliveries import NOW, an_event, send

SHOPPING = ("Order Completed", "Order Refunded", "Product Added", "Product Viewed")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    settings = load({"OPPORTUNE_HOME": str(tmp_path)})
    migrate(settings.database_url)
    opened = open_store(settings)
    yield opened
    opened.close()


def test_an_event_is_accepted_once_and_then_a_duplicate(store: SqlStore) -> None:
    assert send(store, an_event()) == [{"index": 0, "event_id": "e1", "status": "accepted"}]

    assert send(store, an_event(), an_event(event_id="e2")) == [
        {"index": 0, "event_id": "e1", "status": "duplicate"},
        {"index": 1, "event_id": "e2", "status": "accepted"},
    ]


def test_a_bad_event_spoils_no_other_and_is_kept_whole(store: SqlStore) -> None:
    results = send(store, an_event(), {"event_id": "bad", "type": 7}, an_event(event_id="e3"))

    assert [r["status"] for r in results] == ["accepted", "quarantined", "accepted"]
    assert results[1]["reason"] == "invalid_event"
    assert "type: expected a string" in results[1]["detail"]
    assert [row.received.event.event_id for row in store.read(0, 9)] == ["e1", "e3"]
    with store.reading() as connection:
        kept = connection.exec_driver_sql("SELECT event_id, body, source, trust FROM quarantine").one()
    assert tuple(kept) == ("bad", '{"event_id":"bad","type":7}', "test", "client")


def test_the_same_bad_event_sent_again_is_one_row(store: SqlStore) -> None:
    for _ in range(3):
        send(store, an_event(type=""))

    assert store.quarantine_counts() == {"invalid_event": 1}


INVALID: dict[str, tuple[Any, str]] = {
    "no id": (an_event(event_id=...), "give each event an id of its own"),
    "an empty id": (an_event(event_id=""), "event_id"),
    "a number as id": (an_event(event_id=7), "event_id: expected a string"),
    "no type": (an_event(type=...), "type: it is missing"),
    "no person": (an_event(anonymous_id=...), "give user_id or anonymous_id"),
    "no person but null": (an_event(anonymous_id=None, user_id=None), "give user_id or anonymous_id"),
    "no time": (an_event(occurred_at=...), "occurred_at: it is missing"),
    "a time without offset": (an_event(occurred_at="2026-11-22T11:59:59"), "occurred_at: expected a time"),
    "an epoch": (an_event(occurred_at=1_700_000_000), "occurred_at: expected a time"),
    "a year too far": (an_event(occurred_at="9999-12-31T23:59:59-14:00"), "occurred_at"),
    "properties that are a list": (an_event(properties=[]), "properties: expected an object"),
    "a member nobody knows": (an_event(usr_id="u"), "usr_id: Unknown field"),
    "a control character": (an_event(user_id="u\n1"), "user_id"),
    "a direction mark": (an_event(user_id="\u202eu1"), "user_id"),
    "an id too long": (an_event(user_id="u" * 129), "user_id"),
    "a list": ([1], "expected an object"),
    "a string": ("event", "expected an object"),
    "null": (None, "expected an object"),
}


@pytest.mark.parametrize(("event", "detail"), INVALID.values(), ids=INVALID.keys())
def test_an_invalid_event_is_quarantined_with_what_to_do(store: SqlStore, event: Any, detail: str) -> None:
    (result,) = send(store, event)

    assert (result["status"], result["reason"]) == ("quarantined", "invalid_event")
    assert detail in result["detail"]
    assert store.last_seq() == 0


@pytest.mark.parametrize(
    ("trust", "occurred", "reason"),
    [
        (CLIENT, NOW - timedelta(days=7), None),
        (CLIENT, NOW - timedelta(days=7, seconds=1), "too_old"),
        (SERVER, NOW - timedelta(days=400), None),
        (SERVER, NOW - timedelta(days=400, seconds=1), "too_old"),
        (CLIENT, NOW + timedelta(minutes=5), None),
        (CLIENT, NOW + timedelta(minutes=5, seconds=1), "in_future"),
        (SERVER, NOW + timedelta(minutes=5, seconds=1), "in_future"),
    ],
)
def test_how_far_an_event_may_be_dated_depends_on_the_key(
    store: SqlStore, trust: str, occurred: datetime, reason: str | None
) -> None:
    (result,) = send(store, an_event(occurred_at=occurred.isoformat()), trust=trust)

    assert result.get("reason") == reason


def test_an_event_above_32_kib_is_too_large_and_kept_whole(store: SqlStore) -> None:
    (result,) = send(store, an_event(properties={"text": "x" * 33_000}))

    assert result["reason"] == "too_large"
    with store.reading() as connection:
        assert connection.exec_driver_sql("SELECT length(body) FROM quarantine").scalar_one() > 33_000


def test_a_batch_above_500_events_is_refused_whole(store: SqlStore) -> None:
    with pytest.raises(ProblemError) as refused:
        send(store, *(an_event(event_id=f"e{n}") for n in range(MAX_EVENTS + 1)))

    assert refused.value.status == 413
    assert store.last_seq() == 0
    assert send(store) == []


def test_events_become_interactions_of_each_known_id(store: SqlStore) -> None:
    products = [
        {"item_id": "tea", "quantity": 2},
        {"product_id": 7},
        {"item_id": "tea"},
        "odd",
        {"quantity": 1},
    ]
    send(store, an_event(type="Order Completed", user_id="u1", properties={"products": products}))

    for person in ("u:u1", "a:a1"):
        found = {i.item_id: i.quantity for i in store.recent_of_types(person, SHOPPING, 9)}
        assert found == {"tea": 3.0, "7": 1.0}


@pytest.mark.parametrize(("key_class", "trust"), [(KeyClass.CLIENT, "client"), (KeyClass.SERVER, "server")])
def test_trust_comes_from_the_class_of_the_key(
    store: SqlStore, tmp_path: Path, key_class: KeyClass, trust: str
) -> None:
    services = Services(
        settings=load({"OPPORTUNE_HOME": str(tmp_path)}),
        store=store,
        clock=lambda: NOW,
        snapshots=SnapshotHolder(store),
        models=ModelHolder(tmp_path / "models"),
    )

    ingest(services, [an_event()], caller=Caller(key_class, "k", ""), source="events")

    received = store.read(0, 1)[0].received
    assert (received.trust, received.source, received.received_at) == (trust, "events", NOW)


def test_ids_of_the_service_itself_are_refused_on_the_wire(store: SqlStore) -> None:
    for trust in (CLIENT, SERVER):
        (result,) = send(store, an_event(event_id="viewed-0123"), trust=trust)
        assert (result["reason"], "viewed-" in result["detail"]) == ("invalid_event", True)


ORDER = an_event(event_id="order-900001", type="Order Completed", user_id="c1", properties={"coupon": "NINE"})
CONFLICTS = {
    "another type": an_event(event_id="order-900001", anonymous_id="attacker"),
    "another person": ORDER | {"user_id": ..., "anonymous_id": "attacker"},
    "another user on the same device": ORDER | {"user_id": "c2"},
}


@pytest.mark.parametrize("first", CONFLICTS.values(), ids=CONFLICTS.keys())
def test_an_event_whose_id_was_taken_by_another_is_kept_and_said_to_be(
    store: SqlStore, first: dict[str, Any]
) -> None:
    squatted = {name: value for name, value in first.items() if value is not ...}
    send(store, squatted)

    results = send(store, an_event(event_id="before"), ORDER, ORDER, trust=SERVER)

    assert [r["status"] for r in results] == ["accepted", "quarantined", "quarantined"]
    assert results[1]["reason"] == "event_id_conflict"
    with store.reading() as connection:
        kept = connection.exec_driver_sql("SELECT body FROM quarantine").scalars().all()
    assert [orjson.loads(body) for body in kept] == [ORDER]
    assert send(store, squatted)[0]["status"] == "duplicate"


def test_a_retry_after_login_is_a_duplicate(store: SqlStore) -> None:
    send(store, an_event())

    assert send(store, an_event(user_id="maria"))[0]["status"] == "duplicate"


def test_an_order_of_too_many_products_is_kept_with_a_hint(store: SqlStore) -> None:
    lines = [{"item_id": n} for n in range(201)]
    fits = an_event(type="Order Completed", properties={"products": lines[:200]})
    (accepted,) = send(store, fits)
    (refused,) = send(store, an_event(event_id="e2", type="Order Completed", properties={"products": lines}))

    assert accepted["status"] == "accepted"
    assert (refused["reason"], "split it" in refused["detail"]) == ("invalid_event", True)
