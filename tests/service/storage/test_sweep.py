"""Events, interactions, activity and quarantine go when the catalog says, whatever lies between them."""

import random
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import func, insert, select

from service.clock import to_micros
from service.storage import schema
from service.storage.interactions import interactions_of
from service.storage.paging import PAGE_ROWS
from service.storage.ports import IngestBatch, Keep, Store
from service.storage.records import person_ids
from service.storage.sql import SqlStore
from service.storage.sweep import SCAN_ROWS, sweep_interactions
from tests.service.storage.facts import NOW, a_bad_event, an_event

MONTH = timedelta(days=30)
KEEP = Keep(events=60, interactions=60, quarantine=60, slates=60)
LONG_AGO, LATELY = to_micros(NOW - 10 * MONTH), to_micros(NOW)


def put(store: Store, event_id: str, at: datetime, *, person: str = "u1") -> None:
    received = replace(an_event(event_id, occurred_at=at, user_id=person, anonymous_id=None), received_at=at)
    store.append(
        IngestBatch(
            events=[received],
            interactions=[interactions_of(received.event)],
            active=[person_ids(received.event)],
            quarantined=[replace(a_bad_event(event_id), received_at=at)],
        )
    )


def pruned(store: Store, keep: Keep, *, exported: int = 9) -> dict[str, int]:
    return {table: n for table, n in store.prune(now=NOW, keep=keep, exported=exported).items() if n}


def test_what_is_older_than_the_catalog_keeps_goes_from_each_table(store: Store) -> None:
    put(store, "old", NOW - 3 * MONTH)
    put(store, "gone", NOW - 3 * MONTH, person="u2")
    put(store, "edge", NOW - 2 * MONTH)
    put(store, "new", NOW)

    assert pruned(store, KEEP) == {"event": 2, "interaction": 2, "person_activity": 1, "quarantine": 2}
    assert [logged.received.event.event_id for logged in store.read(0, 9)] == ["edge", "new"]
    assert [one.held.body for one in store.quarantined()] == ["new", "edge"]
    assert store.activity("u:u2") == []
    assert pruned(store, KEEP) == {}


def test_each_table_has_its_own_time(store: Store) -> None:
    put(store, "old", NOW - 3 * MONTH)
    put(store, "new", NOW, person="u2")

    assert pruned(store, replace(KEEP, events=400, quarantine=400)) == {
        "interaction": 1,
        "person_activity": 1,
    }
    assert pruned(store, replace(KEEP, events=400)) == {"quarantine": 1}
    assert pruned(store, KEEP) == {"event": 1}


def test_who_came_back_keeps_counting_from_the_first_time(store: Store) -> None:
    put(store, "old", NOW - 3 * MONTH)
    put(store, "new", NOW)

    pruned(store, KEEP)

    (known,) = store.activity("u:u1")
    assert (known.n, known.first_at, known.last_at) == (2, NOW - 3 * MONTH, NOW)


def test_an_event_that_is_not_in_the_lake_yet_stays_and_the_newest_always(store: Store) -> None:
    for number in range(1, 5):
        put(store, f"e{number}", NOW - 3 * MONTH)

    assert pruned(store, KEEP, exported=0).get("event", 0) == 0
    assert pruned(store, KEEP, exported=2)["event"] == 1
    pruned(store, KEEP, exported=4)
    assert store.last_seq() == 4


def fill(store: SqlStore, persons: range, *, at_us: int, each: int = 1) -> None:
    rows = [
        {
            "tenant": store.tenant,
            "part": person % 2,
            "person_id": f"u:{person:08d}",
            "occurred_us": at_us,
            "event_id": f"e{number}",
            "item_id": "tea",
            "event_type": "Product Viewed",
            "quantity": 1.0,
        }
        for person in persons
        for number in range(each)
    ]
    with store.writing() as connection:
        connection.execute(insert(schema.interaction), rows)


def left(store: SqlStore) -> int:
    with store.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(schema.interaction)).scalar_one())


def test_a_sweep_finds_the_few_old_rows_in_a_long_table(store: SqlStore) -> None:
    fill(store, range(2 * SCAN_ROWS + 10), at_us=LATELY)
    fill(store, range(0, 2 * SCAN_ROWS + 10, 1_000), at_us=LONG_AGO)
    fill(store, range(7, 8), at_us=LONG_AGO - 1, each=3 * PAGE_ROWS)

    assert sweep_interactions(store, before_us=LATELY, pages=400) == 41 + 3 * PAGE_ROWS
    assert left(store) == 2 * SCAN_ROWS + 10
    assert sweep_interactions(store, before_us=LATELY, pages=400) == 0


def test_a_sweep_that_was_ended_goes_on_where_it_was(store: SqlStore) -> None:
    fill(store, range(5 * PAGE_ROWS), at_us=LONG_AGO)

    found = [sweep_interactions(store, before_us=LATELY, pages=2) for _ in range(4)]

    assert found == [2 * PAGE_ROWS, 2 * PAGE_ROWS, PAGE_ROWS, 0]
    assert left(store) == 0


def test_after_the_last_person_the_first_is_looked_at_again(store: SqlStore) -> None:
    fill(store, range(10), at_us=LATELY)
    assert sweep_interactions(store, before_us=LATELY, pages=9) == 0

    assert sweep_interactions(store, before_us=LATELY + 1, pages=9) == 10


def test_the_database_says_how_much_room_it_takes(store: Store) -> None:
    before = store.sizes()["database"]
    # PostgreSQL would fold up what repeats.
    noise = random.Random(7)

    store.append(IngestBatch(quarantined=[a_bad_event(noise.randbytes(15_000).hex()) for _ in range(40)]))

    assert sum(store.sizes().values()) > before + 1_000_000
