"""The quarantine: in order, page by page, by name, and out again."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from service.storage.ports import IngestBatch, Store
from service.storage.records import HeldReason, QuarantinedEvent
from service.storage.sql import SqlStore
from tests.service.storage.facts import NOW, a_bad_event, an_event

HELD = 20


def held(number: int) -> QuarantinedEvent:
    """Four events of each second, three reasons in turn."""
    at = NOW + timedelta(seconds=number // 4)
    return replace(a_bad_event(f'{{"n":{number}}}', reason=f"reason{number % 3}"), received_at=at)


@pytest.fixture
def filled(store: Store) -> Store:
    store.append(IngestBatch(quarantined=[held(number) for number in range(HELD)]))
    return store


@pytest.mark.parametrize("reason", ["", "reason0"])
@pytest.mark.parametrize("oldest_first", [False, True])
def test_pages_hold_every_event_once_in_order(filled: Store, reason: str, *, oldest_first: bool) -> None:
    places: list[tuple[datetime, str]] = []

    while page := filled.quarantined(
        reason=reason, after=places[-1] if places else None, limit=3, oldest_first=oldest_first
    ):
        places += [(one.held.received_at, one.digest) for one in page]

    assert len(places) == (7 if reason else HELD)
    assert places == sorted(set(places), reverse=not oldest_first)


def test_an_event_comes_back_as_it_was_kept(store: Store) -> None:
    kept = replace(
        a_bad_event("gA==", reason="malformed"),
        encoding="base64",
        canonical='{"type":"x"}',
        context={"user_agent": "Firefox"},
    )
    store.append(IngestBatch(quarantined=[kept]))

    (found,) = store.quarantined()

    assert found.held == kept
    assert found.digest == kept.digest
    assert [one.digest for one in store.quarantined_event(kept.digest[:6])] == [kept.digest]


def test_reasons_tell_how_many_and_since_when(filled: Store) -> None:
    assert filled.quarantine_reasons() == [
        HeldReason(reason="reason0", n=7, first_at=NOW, last_at=NOW + timedelta(seconds=4)),
        HeldReason(reason="reason1", n=7, first_at=NOW, last_at=NOW + timedelta(seconds=4)),
        HeldReason(reason="reason2", n=6, first_at=NOW, last_at=NOW + timedelta(seconds=4)),
    ]


def test_a_beginning_that_is_too_short_or_nobodys_finds_nothing(filled: Store) -> None:
    (first, *_) = filled.quarantined()

    assert filled.quarantined_event(first.digest[:5]) == []
    assert filled.quarantined_event("000000") == []


def test_dropping_counts_what_was_there_and_leaves_the_rest(filled: Store) -> None:
    gone = [one.digest for one in filled.quarantined(reason="reason0")]

    assert filled.drop_quarantined([*gone, "nobody"]) == 7
    assert filled.drop_quarantined(gone) == 0
    assert dict(filled.quarantine_counts()) == {"reason1": 7, "reason2": 6}


def test_a_replayed_event_leaves_in_the_write_that_stores_it_or_holds_it_anew(filled: Store) -> None:
    stored, again = filled.quarantined(limit=2)
    other = replace(again.held, reason="other")

    filled.append(
        IngestBatch(
            events=[an_event("e1")], replayed=[stored.digest, again.digest], quarantined=[other, again.held]
        )
    )

    assert filled.last_seq() == 1
    assert filled.quarantined_event(stored.digest) == []
    assert [one.held for one in filled.quarantined_event(again.digest)] == [again.held]
    assert [one.held for one in filled.quarantined(reason="other")] == [other]


@pytest.mark.parametrize(
    ("body", "users", "devices"),
    [
        ('{"messageId":"\\u0000","userId":"u1"}', ["u1"], []),
        ('{"messageId":"\\u0000","userId":null,"anonymousId":"a1"}', [], ["a1"]),
        ('{"event_name":"\\u0000","device_id":"a1"}', [], ["a1"]),
    ],
    ids=["segment-user", "segment-visitor", "growthbook"],
)
def test_what_could_not_be_read_is_found_by_whom_it_names_in_the_words_of_others(
    store: Store, body: str, users: list[str], devices: list[str]
) -> None:
    store.append(IngestBatch(quarantined=[a_bad_event(body, reason="malformed")]))

    assert store.delete_person([], user_ids=users, anonymous_ids=devices)["quarantine"] == 1


def test_equal_words_of_another_event_door_or_trust_are_kept_apart(store: Store) -> None:
    """Calls without an id of their own say the same, and a client's copy is not the server's word."""
    one = replace(a_bad_event('{"revenue":5}', reason="malformed"), event_id="seg-1")
    others = [
        replace(one, event_id="seg-2"),
        replace(one, trust="server"),
        replace(one, source="segment"),
        replace(one, reason="other"),
    ]

    store.append(IngestBatch(quarantined=[one, *others, replace(one, detail="sent again")]))

    assert len(store.quarantined()) == 5


def test_nothing_is_written_of_a_batch_whose_quarantined_event_is_gone(filled: Store) -> None:
    held, other = filled.quarantined(limit=2)
    before = filled.quarantine_counts()
    twice = [filled.submit(IngestBatch(events=[an_event(f"e{n}")], replayed=[held.digest])) for n in (1, 2)]
    assert sorted(status for one in twice for status in one.result()) == ["accepted", "gone"]

    gone = filled.append(
        IngestBatch(events=[an_event("e3")], replayed=[other.digest, held.digest], quarantined=[held.held])
    )

    assert list(gone) == ["gone"]
    assert filled.last_seq() == 1
    assert sum(filled.quarantine_counts().values()) == sum(before.values()) - 1
    assert filled.quarantined_event(other.digest) == [other]


def test_a_replayed_event_stays_while_its_id_is_taken(filled: Store) -> None:
    filled.append(IngestBatch(events=[an_event("e1")]))
    (held,) = filled.quarantined(limit=1)

    told = filled.append(IngestBatch(events=[an_event("e1", user_id="another")], replayed=[held.digest]))

    assert list(told) == ["duplicate"]
    assert filled.quarantined_event(held.digest) == [held]


def test_a_replay_takes_nothing_out_of_the_quarantine_of_another_tenant(store: SqlStore) -> None:
    other = SqlStore(store.place, tenant="other")
    for one in (store, other):
        one.append(IngestBatch(quarantined=[a_bad_event("{}")]))
    (held,) = store.quarantined()

    assert list(store.append(IngestBatch(events=[an_event("e1")], replayed=[held.digest]))) == ["accepted"]

    assert store.quarantined() == []
    assert [one.digest for one in other.quarantined()] == [held.digest]
    other.close()
