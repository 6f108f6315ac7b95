"""The outbox, over both databases: what is due is taken by one, what was delivered stays so."""

from dataclasses import replace
from datetime import timedelta

from service.storage.analysis_records import OutboxMessage
from service.storage.outbox import GONE
from service.storage.sql import SqlStore
from tests.service.storage.facts import NOW
from tests.service.storage.test_decisions import a_message

LATER = NOW + timedelta(minutes=1)


def take(store: SqlStore, *, minutes: float = 0, limit: int = 10) -> list[OutboxMessage]:
    at = NOW + timedelta(minutes=minutes)
    return list(store.take_messages(now=at, until=at + timedelta(minutes=1), limit=limit))


def test_what_was_taken_is_nobody_elses_until_its_time_is_over(store: SqlStore) -> None:
    store.put_messages([a_message("a"), replace(a_message("b"), next_at=LATER)])

    assert take(store) == [a_message("a")]
    assert take(store) == []
    assert [one.message_id for one in take(store, minutes=1)] == ["a", "b"]


def test_the_oldest_are_taken_first_and_only_so_many(store: SqlStore) -> None:
    store.put_messages([replace(a_message(f"m{i}"), next_at=NOW - timedelta(hours=i)) for i in range(4)])

    assert [one.message_id for one in take(store, limit=2)] == ["m3", "m2"]
    assert [one.message_id for one in take(store, limit=9)] == ["m1", "m0"]


def test_an_id_that_is_there_stays_as_it_is_and_may_go_to_another_endpoint(store: SqlStore) -> None:
    store.put_messages([a_message("a")])
    store.put_messages([replace(a_message("a"), payload="other"), a_message("a", endpoint="finance")])

    assert {(one.endpoint, one.payload) for one in store.messages()} == {
        ("growth", '{"a":1}'),
        ("finance", '{"a":1}'),
    }
    assert [one.endpoint for one in store.messages(endpoint="finance")] == ["finance"]


def test_what_was_delivered_is_never_due_again(store: SqlStore) -> None:
    store.put_messages([a_message("a")])
    (taken,) = take(store)
    delivered = replace(taken, attempts=1, next_at=None, delivered_at=LATER)

    store.settle_message(delivered)
    # A second sender that took it when the first was slow, and failed.
    store.settle_message(replace(taken, attempts=2, next_at=NOW, problem="too late"))

    assert store.messages() == [delivered]
    assert take(store, minutes=10_000) == []
    assert store.retry_message("a", now=NOW) == 0
    assert store.outbox_counts() == {"delivered": 1, "waiting": 0, "given_up": 0}


def test_what_failed_waits_and_what_was_given_up_can_be_tried_again(store: SqlStore) -> None:
    store.put_messages([a_message("a"), a_message("b")])
    first, second = take(store)
    store.settle_message(replace(first, attempts=1, next_at=LATER, problem="HTTP 500"))
    store.settle_message(replace(second, attempts=9, next_at=None, problem="HTTP 500"))
    assert store.outbox_counts() == {"delivered": 0, "waiting": 1, "given_up": 1}

    assert store.retry_message("b", now=NOW) == 1

    assert [(one.message_id, one.attempts) for one in take(store)] == [("b", 0)]


def test_an_endpoint_that_is_gone_gets_nothing_until_it_is_enabled(store: SqlStore) -> None:
    store.put_messages([a_message("a"), a_message("b"), a_message("a", endpoint="finance")])

    assert store.disable_endpoint("growth") == 2
    store.put_messages([a_message("c"), a_message("c", endpoint="finance")])

    held = [one for one in store.messages() if one.endpoint == "growth"]
    assert [(one.message_id, one.problem, one.next_at) for one in held] == [
        ("a", GONE, None),
        ("b", GONE, None),
        ("c", GONE, None),
    ]
    assert {one.endpoint for one in take(store)} == {"finance"}

    assert store.enable_endpoint("growth", now=NOW) == 3
    assert {one.message_id for one in take(store) if one.endpoint == "growth"} == {"a", "b", "c"}
