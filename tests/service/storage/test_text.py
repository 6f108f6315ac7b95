"""Text is the same text on every database: taken, compared, sorted."""

from dataclasses import replace

from service.storage.ports import IngestBatch, Store
from service.storage.records import Item
from tests.service.storage.facts import a_bad_event, a_batch, an_event

WORDS = ["Zoo", "_tea", "apple", "a b", "a-b", "ab", "tea", "Éclair", "éclair", "ß", "中文", "😀"]


def test_what_is_in_order_is_in_order_of_its_bytes(store: Store) -> None:
    store.put_items([Item(item_id=word) for word in WORDS])

    assert [item.item_id for item in store.all_items()] == sorted(WORDS)


def test_ids_that_differ_in_anything_are_different_ids(store: Store) -> None:
    twins = ["tea", "Tea", "TEA", "tea ", "té", "te\u0301"]

    store.append(a_batch(*(an_event(word) for word in twins)))

    assert [row.received.event.event_id for row in store.read(0, 10)] == twins


def test_text_that_no_column_holds_is_kept_as_it_came_in_the_body(store: Store) -> None:
    body = '{"user_id":"a\\u0000b","anonymous_id":"' + "😀" * 300 + '"}'
    bad = replace(a_bad_event(body, reason="malformed"), detail="user_id: a\0b")

    store.append(IngestBatch(quarantined=[bad]))

    (held,) = store.quarantined()
    assert held.held.body == body
    assert held.held.detail == "user_id: a\N{REPLACEMENT CHARACTER}b"


def test_properties_come_back_whatever_they_hold(store: Store) -> None:
    properties = {"nul": "a\0b", "quotes": "'\"\\ %s {}", "deep": {"中": [1e300, -0.0, 2**53]}}

    store.append(a_batch(an_event("e1", properties=properties)))

    assert store.read(0, 1)[0].received.event.properties == properties
