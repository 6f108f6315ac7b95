"""In which part a row is, and whether parts were put together, is to be seen by nobody."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from service.storage import merging, parts, schema
from service.storage.interactions import interactions_of
from service.storage.merging import merge, to_merge
from service.storage.ports import IngestBatch, Keep, Store
from service.storage.records import ReceivedEvent, person_ids
from service.storage.sql import SqlStore
from tests.service.storage.facts import NOW, an_event, file_of
from tests.service.storage.test_plans import SHOPPING

DAY = timedelta(days=1)
KEEP = Keep(events=60, interactions=60, quarantine=60, slates=60)
N_EVENTS = 150
PEOPLE = ("u:u0", "u:u1", "u:u2", "a:a0", "a:a1")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a part be two events long."""
    monkeypatch.setattr(parts, "PART_BITS", 1)


def put(store: Store, *events: ReceivedEvent) -> None:
    """Store each event by itself, as a slow shop would."""
    for one in events:
        store.append(
            IngestBatch(
                events=[one],
                interactions=[interactions_of(one.event)],
                active=[person_ids(one.event)],
            )
        )


def history() -> list[ReceivedEvent]:
    """Return events of few persons, in no order of time; some at the same moment."""
    return [
        an_event(
            f"e{n}",
            occurred_at=NOW - (n * 7 % 40) * timedelta(minutes=1),
            user_id=f"u{n % 3}",
            anonymous_id=f"a{n % 2}" if n % 5 else None,
            type=("Product Viewed", "Product Added", "Order Completed")[n % 3],
            properties={"item_id": f"item-{n % 11}"},
        )
        for n in range(N_EVENTS)
    ]


def known(store: Store) -> list[object]:
    """Return all that can be asked about persons."""
    return [
        (
            store.activity(person),
            store.items_of_types(person, SHOPPING[:2]),
            *(store.recent_of_types(person, SHOPPING, limit) for limit in (1, 7, 1_000)),
        )
        for person in PEOPLE
    ]


def parts_in(store: SqlStore) -> dict[str, list[int]]:
    """Return the parts of each table that has them."""
    with store.reading() as connection:
        return {
            table.name: sorted(connection.execute(select(table.c.part).distinct()).scalars())
            for table in (schema.interaction, schema.person_activity)
        }


def test_what_is_known_of_a_person_is_the_same_in_one_part_in_many_and_in_fewer(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, *history())
    in_many = known(store)
    many = parts_in(store)
    monkeypatch.setattr(merging, "SLICE_ROWS", 2)
    for _ in range(200):
        merge(store, slices=1)
        assert known(store) == in_many
    fewer = parts_in(store)
    store.delete_person(PEOPLE, user_ids=[], anonymous_ids=[])
    monkeypatch.setattr(parts, "PART_BITS", 40)
    put(store, *history())

    assert min(map(len, many.values())) > 70
    assert max(map(len, fewer.values())) <= 4 + 16
    assert parts_in(store) == {"interaction": [0], "person_activity": [0]}
    assert known(store) == in_many


def test_nothing_is_lost_between_two_slices(sqlite_store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(sqlite_store, *history())
    whole = rows_of(sqlite_store)
    monkeypatch.setattr(merging, "SLICE_ROWS", 1)

    for _ in range(120):
        merge(sqlite_store, slices=1)
        assert rows_of(sqlite_store) == whole


def rows_of(store: SqlStore) -> tuple[list[object], list[object]]:
    """Return the rows as if there were no parts."""
    with closing(sqlite3.connect(file_of(store))) as connection:
        return (
            connection.execute(
                "SELECT person_id, occurred_us, event_id, item_id, event_type, quantity FROM interaction "
                "ORDER BY 1, 2, 3, 4"
            ).fetchall(),
            connection.execute(
                "SELECT person_id, event_type, sum(n), min(first_us), max(last_us) FROM person_activity "
                "GROUP BY 1, 2 ORDER BY 1, 2"
            ).fetchall(),
        )


def test_who_did_much_has_no_more_read_than_is_wanted_of_each_part(store: SqlStore) -> None:
    put(store, *(an_event(f"e{n}", occurred_at=NOW + n % 9 * DAY) for n in range(20)))

    assert [i.occurred_at for i in store.recent_of_types("u:u1", SHOPPING, 3)] == [
        NOW + 8 * DAY,
        NOW + 8 * DAY,
        NOW + 7 * DAY,
    ]
    assert len(store.recent_of_types("u:u1", SHOPPING, 25)) == 20
    assert store.recent_of_types("u:u1", (), 3) == []


def test_an_event_that_comes_again_after_the_log_forgot_it_is_one_interaction(store: SqlStore) -> None:
    old = replace(an_event("old", occurred_at=NOW), received_at=NOW - 90 * DAY)
    put(store, old, *(an_event(f"e{n}", occurred_at=NOW - DAY) for n in range(5)))
    pruned = store.prune(now=NOW, keep=replace(KEEP, interactions=400), exported=9)
    put(store, old)

    assert pruned["event"] == 1
    assert [i.occurred_at for i in store.recent_of_types("u:u1", SHOPPING, 2)] == [NOW, NOW - DAY]
    assert len(store.recent_of_types("u:u1", SHOPPING, 9)) == 6
    put(store, *(an_event(f"f{n}", user_id="u2") for n in range(40)))
    merge(store)
    assert len(store.recent_of_types("u:u1", SHOPPING, 9)) == 6


def test_who_came_back_in_another_part_keeps_counting_from_the_first_time(store: SqlStore) -> None:
    put(store, *(an_event(f"old{n}", occurred_at=NOW - 90 * DAY, user_id=f"u{n}") for n in range(6)))
    put(store, an_event("new", user_id="u0", anonymous_id=None))

    gone = store.prune(now=NOW, keep=KEEP, exported=0)

    (known_of,) = store.activity("u:u0")
    assert (known_of.n, known_of.first_at, known_of.last_at) == (2, NOW - 90 * DAY, NOW)
    assert store.activity("u:u1") == store.activity("a:a1") == []
    # One of each id, and of the shared one in every part.
    assert gone["person_activity"] == 5 + 4
    assert gone["interaction"] == 12


def test_a_person_is_erased_from_every_part_and_who_shared_a_device_is_counted_again(store: SqlStore) -> None:
    put(store, *history())
    before = known(store)

    erased = store.delete_person(["u:u0"], user_ids=[], anonymous_ids=[])
    put(store, *(one for one in history() if one.event.user_id == "u0"))

    assert erased["event"] == 50
    assert known(store) == before


@given(st.integers(1, 5_000), st.data())
def test_parts_are_put_together_until_they_are_few(newest: int, data: st.DataObject) -> None:
    found: Sequence[int] = [*range(newest), newest]
    if data.draw(st.booleans()):
        found = sorted({*data.draw(st.lists(st.integers(0, newest), max_size=50)), newest})
    while group := to_merge(found):
        assert group == sorted(group)
        assert newest not in group
        assert len({part >> 4 for part in group}) == 1 or len(group) <= 16
        found = [part for part in found if part not in group[1:]]

    assert len(found) <= 15 * 4 + 1
    assert newest in found


def test_no_part_is_put_together_with_the_one_that_grows() -> None:
    assert to_merge([]) == to_merge([0]) == to_merge(list(range(16))) == []
    assert to_merge(list(range(17))) == list(range(16))
    assert to_merge([0, 16]) == to_merge([3, 17, 255]) == []
    assert to_merge([3, 17, 256]) == [3, 17]
