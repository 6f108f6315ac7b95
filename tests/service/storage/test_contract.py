"""What service/storage/ports.py promises, checked on every adapter."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from service.storage.interactions import interactions_of
from service.storage.ports import IngestBatch, RevisionMovedError, Store
from service.storage.records import (
    AppendStatus,
    Interaction,
    Item,
    KeyClass,
    VerdictSnapshot,
)
from tests.service.storage.facts import NOW, a_bad_event, a_batch, a_slate, an_event

SHOPPING = ("Order Completed", "Order Refunded", "Product Added", "Product Viewed")

ACCEPTED, DUPLICATE = AppendStatus.ACCEPTED, AppendStatus.DUPLICATE


def test_the_same_event_is_stored_once(store: Store) -> None:
    assert store.append(a_batch(an_event("e1"), an_event("e2"))) == [ACCEPTED, ACCEPTED]

    assert store.append(a_batch(an_event("e1", type="Other"), an_event("e3"))) == [DUPLICATE, ACCEPTED]
    assert [(row.received.event.event_id, row.received.event.type) for row in store.read(0, 10)] == [
        ("e1", "Product Viewed"),
        ("e2", "Product Viewed"),
        ("e3", "Product Viewed"),
    ]


def test_an_id_twice_in_one_batch_is_accepted_once_and_first(store: Store) -> None:
    statuses = store.append(a_batch(an_event("e1"), an_event("e1", type="Other"), an_event("e2")))

    assert statuses == [ACCEPTED, DUPLICATE, ACCEPTED]
    assert store.read(0, 10)[0].received.event.type == "Product Viewed"
    assert len(store.recent_of_types("u:u1", SHOPPING, 10)) == 2


def test_an_event_comes_back_as_it_was_stored(store: Store) -> None:
    sent = an_event("e1")

    store.append(a_batch(sent))

    assert store.read(0, 1)[0].received == sent


def test_the_log_is_read_in_order_and_in_pages(store: Store) -> None:
    for start in range(0, 4_500, 500):
        store.append(a_batch(*(an_event(f"e{n}") for n in range(start, start + 500))))

    everything = store.read(0, 10_000)
    after = store.read(everything[2_999].seq, 100)

    assert [row.received.event.event_id for row in everything] == [f"e{n}" for n in range(4_500)]
    assert [row.received.event.event_id for row in after] == [f"e{n}" for n in range(3_000, 3_100)]
    assert store.last_seq() == everything[-1].seq
    assert store.read(store.last_seq(), 10) == []


def test_a_deleted_offset_is_never_used_again(store: Store) -> None:
    store.append(a_batch(an_event("e1"), an_event("e2", user_id="u2", anonymous_id=None)))
    newest = store.last_seq()
    store.delete_person(["u:u2"], user_ids=[], anonymous_ids=[])

    store.append(a_batch(an_event("e3")))

    assert store.last_seq() > newest


def test_interactions_are_written_for_each_known_id_newest_first(store: Store) -> None:
    later = an_event(
        "e2", occurred_at=NOW + timedelta(minutes=1), properties={"item_id": "cup", "quantity": 3}
    )
    store.append(a_batch(an_event("e1"), later))

    assert store.recent_of_types("u:u1", SHOPPING, 1) == [
        Interaction(
            person_id="u:u1",
            item_id="cup",
            event_type="Product Viewed",
            occurred_at=NOW + timedelta(minutes=1),
            quantity=3.0,
        )
    ]
    assert [found.item_id for found in store.recent_of_types("a:a1", SHOPPING, 10)] == ["cup", "tea"]
    assert store.recent_of_types("u:nobody", SHOPPING, 10) == []


def test_interactions_of_a_duplicate_are_not_written(store: Store) -> None:
    store.append(a_batch(an_event("e1")))

    store.append(a_batch(an_event("e1", properties={"item_id": "cup"})))

    assert [found.item_id for found in store.recent_of_types("u:u1", SHOPPING, 10)] == ["tea"]


def test_the_same_quarantined_event_is_one_row(store: Store) -> None:
    exposure = '{"type":"Experiment Viewed","user_id":"u1","properties":{"experiment_key":"x"}}'
    for _ in range(2):
        store.append(
            IngestBatch(quarantined=[a_bad_event(exposure), a_bad_event("[]", reason="invalid_event")])
        )

    assert store.quarantine_counts() == {"invalid_event": 1, "variant_mismatch": 1}
    assert store.quarantined_exposures("x") == {"variant_mismatch": 1}
    assert store.quarantined_exposures("y") == {}


def test_threads_of_one_process_are_told_the_truth_about_the_same_ids(store: Store) -> None:
    told: list[AppendStatus] = []

    def send() -> None:
        for n in range(40):
            told.extend(store.append(a_batch(an_event(f"e{n}"))))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert told.count(ACCEPTED) == 40
    assert len(store.read(0, 1_000)) == 40


def test_a_batch_that_cannot_be_written_spoils_no_other(store: Store) -> None:
    outcomes: dict[str, object] = {}

    def send(name: str, batch: IngestBatch) -> None:
        try:
            outcomes[name] = list(store.append(batch))
        except Exception as error:  # noqa: BLE001
            outcomes[name] = type(error)

    # A lone surrogate never passes ingest; here it stands for any row that the driver refuses.
    poison = IngestBatch(slates=[a_slate("\ud800", "u:u1")])
    for round_number in range(20):
        batches = {
            "poison": poison,
            **{f"good{n}": a_batch(an_event(f"e{round_number}-{n}")) for n in range(6)},
        }
        threads = [threading.Thread(target=send, args=pair) for pair in batches.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert outcomes.pop("poison") is UnicodeEncodeError
        assert all(outcome == [ACCEPTED] for outcome in outcomes.values())


def test_erasing_a_person_leaves_nothing_of_them_and_everything_of_others(store: Store) -> None:
    store.append(
        IngestBatch(
            events=[an_event("e1"), an_event("e2", user_id="u2", anonymous_id="a2")],
            interactions=[
                interactions_of(an_event("e1").event),
                interactions_of(an_event("e2", user_id="u2", anonymous_id="a2").event),
            ],
            quarantined=[a_bad_event('{"user_id":"u1"}'), a_bad_event('{"user_id":"u2"}')],
            slates=[a_slate("s1", "u:u1"), a_slate("s2", "u:u2")],
        )
    )

    erased = store.delete_person([], user_ids=["u1"], anonymous_ids=[])

    assert {table: n for table, n in erased.items() if n} == {
        "event": 1,
        "interaction": 2,
        "quarantine": 1,
        "slate": 1,
    }
    assert [row.received.event.event_id for row in store.read(0, 10)] == ["e2"]
    assert store.recent_of_types("u:u1", SHOPPING, 9) == []
    assert store.recent_of_types("a:a1", SHOPPING, 9) == []
    assert len(store.recent_of_types("u:u2", SHOPPING, 9)) == 1
    assert store.quarantine_counts() == {"variant_mismatch": 1}
    assert store.delete_person([], user_ids=["u1"], anonymous_ids=[]) == dict.fromkeys(erased, 0)


def test_a_quarantined_exposure_of_a_person_is_found_by_its_unit(store: Store) -> None:
    body = '{"anonymous_id":"other","type":"Experiment Viewed","properties":{"unit_id":"a1"}}'
    store.append(IngestBatch(quarantined=[a_bad_event(body, reason="unit_mismatch")]))

    assert store.delete_person(["a:a1"], user_ids=[], anonymous_ids=[])["quarantine"] == 1


def test_items_are_replaced_and_listed_in_order(store: Store) -> None:
    items = [
        Item(item_id=f"i{n:05d}", fields={"title": f"No {n}"}, categories=("tea",)) for n in range(2_500)
    ]
    assert store.put_items(items) == 2_500

    assert store.put_items([Item(item_id="i00001", active=False)]) == 1
    found = store.all_items()
    assert [item.item_id for item in found] == [f"i{n:05d}" for n in range(2_500)]
    assert found[0] == items[0]
    assert found[1] == Item(item_id="i00001", active=False)
    assert store.put_items([]) == 0


def test_a_revision_is_immutable_and_the_live_digest_is_not_stored_again(store: Store) -> None:
    assert store.live_state().revision == 0
    assert store.add_revision({"a.yaml": "1"}, "d1", by="maria", now=NOW) == 1
    assert store.add_revision({"a.yaml": "1"}, "d1", by="li.na", now=NOW) == 1
    assert store.add_revision({"a.yaml": "2"}, "d2", by="li.na", now=NOW + timedelta(days=1)) == 2
    assert store.add_revision({"a.yaml": "1"}, "d1", by="maria", now=NOW + timedelta(days=40)) == 3

    first = store.revision(1)
    assert first is not None
    assert (first.files, first.digest, first.applied_by, first.applied_at) == (
        {"a.yaml": "1"},
        "d1",
        "maria",
        NOW,
    )
    assert store.revision(4) is None
    assert store.live_state().revision == 3
    assert [r.revision for r in store.revisions_since(NOW + timedelta(days=20))] == [3, 2]
    assert [r.revision for r in store.revisions_since(NOW + timedelta(days=50))] == [3]
    assert [r.revision for r in store.revisions_since(NOW - timedelta(days=1))] == [3, 2, 1]


def test_every_change_of_what_is_served_moves_the_version(store: Store) -> None:
    versions = [store.live_state().version]

    def moved() -> bool:
        versions.append(store.live_state().version)
        return versions[-1] > versions[-2]

    store.add_revision({}, "d", by="x", now=NOW)
    assert moved()
    store.set_killed("hero", killed=True, by="x", now=NOW)
    assert moved()
    store.set_live_model("m1", now=NOW)
    assert moved()
    store.set_keys("web", {"aa": KeyClass.CLIENT}, now=NOW)
    assert moved()
    store.set_keys("web", {"aa": KeyClass.CLIENT}, now=NOW)
    assert not moved()
    state = store.live_state()
    assert (state.killed, state.model, state.revision) == (frozenset({"hero"}), "m1", 1)
    store.set_killed("hero", killed=False, by="x", now=NOW)
    assert store.live_state().killed == frozenset()


def test_keys_are_known_by_hash(store: Store) -> None:
    store.set_keys("web", {"aa": KeyClass.CLIENT}, now=NOW)

    (found,) = store.keys()

    assert (found.sha256, found.key_class, found.label, found.created_at) == (
        "aa",
        KeyClass.CLIENT,
        "web",
        NOW,
    )


def test_a_sign_in_token_works_once_and_not_after_it_expired(store: Store) -> None:
    store.put_sign_in("aa", KeyClass.ANALYST, expires_at=NOW + timedelta(minutes=10))
    store.put_sign_in("bb", KeyClass.ADMIN, expires_at=NOW + timedelta(minutes=10))

    assert store.use_sign_in("aa", now=NOW) is KeyClass.ANALYST
    assert store.use_sign_in("aa", now=NOW) is None
    assert store.use_sign_in("bb", now=NOW + timedelta(minutes=10)) is None
    assert store.use_sign_in("cc", now=NOW) is None


def test_a_session_lives_until_it_expires(store: Store) -> None:
    store.put_session("aa", KeyClass.ANALYST, expires_at=NOW + timedelta(hours=8))

    assert store.session("aa", now=NOW) is KeyClass.ANALYST
    assert store.session("aa", now=NOW + timedelta(hours=8)) is None
    assert store.session("bb", now=NOW) is None


def test_verdicts_are_kept_as_history(store: Store) -> None:
    def put(phase: int, body: str) -> VerdictSnapshot:
        snapshot = VerdictSnapshot(
            experiment="x",
            phase=phase,
            revision=1,
            log_offset=7,
            as_of=NOW,
            computed_at=NOW,
            digest="d",
            body=body,
        )
        return replace(snapshot, number=store.put_verdict(snapshot))

    one, two, three, four = put(1, "one"), put(2, "two"), put(2, "three"), put(2, "four")

    assert store.latest_verdict("x") == four
    assert store.verdict_history("x", 2, 2) == [three, four]
    assert store.verdict_history("x", 2, 9) == [two, three, four]
    assert store.verdict_history("x", 1, 9) == [one]
    assert store.latest_verdict("y") is None
    assert (three.id, store.verdict("x", 2, 2)) == ("x.2.2", three)
    assert store.verdict("x", 2, 4) is None
    assert store.verdict("x", 3, 1) is None


def test_a_closed_store_opens_again_by_itself(store: Store) -> None:
    store.append(a_batch(an_event("e1")))
    store.close()
    store.close()

    assert store.append(a_batch(an_event("e1"))) == [DUPLICATE]
    store.ping()


def test_keys_taken_out_of_the_environment_stop_working(store: Store) -> None:
    store.set_keys("shop", {"theirs": KeyClass.SERVER}, now=NOW)
    store.set_keys("environment", {"old": KeyClass.CLIENT, "kept": KeyClass.ADMIN}, now=NOW)

    store.set_keys("environment", {"new": KeyClass.CLIENT, "kept": KeyClass.ADMIN}, now=NOW)
    version = store.live_state().version
    store.set_keys("environment", {"new": KeyClass.CLIENT, "kept": KeyClass.ADMIN}, now=NOW)

    assert {key.sha256 for key in store.keys()} == {"theirs", "new", "kept"}  # noqa: SIM118 - no mapping
    assert store.live_state().version == version


def test_a_refused_exposure_is_counted_in_the_phase_that_it_names(store: Store) -> None:
    def named(phase: str) -> str:
        return '{"type":"Experiment Viewed","properties":{"experiment_key":"x"' + phase + "}}"

    bodies = [named(p) for p in (',"phase":1', ',"phase":"1"', ',"phase":2', "", ',"phase":true')]
    store.append(IngestBatch(quarantined=[a_bad_event(body) for body in bodies]))

    assert store.quarantined_exposures("x", 1) == {"variant_mismatch": 2}
    assert store.quarantined_exposures("x", 2) == {"variant_mismatch": 1}
    assert store.quarantined_exposures("x", 3) == {}
    assert store.quarantined_exposures("x") == {"variant_mismatch": 5}


def test_a_revision_reviewed_against_one_that_is_not_live_any_more_is_refused(store: Store) -> None:
    assert store.add_revision({"a": "1"}, "d1", by="maria", now=NOW, expected=0) == 1
    assert store.add_revision({"a": "2"}, "d2", by="maria", now=NOW, expected=1) == 2

    with pytest.raises(RevisionMovedError) as moved:
        store.add_revision({"a": "3"}, "d3", by="li.na", now=NOW, expected=1)

    assert (moved.value.expected, moved.value.live) == (1, 2)
    assert store.live_state().revision == 2
    assert store.revision(3) is None
    assert store.add_revision({"a": "2"}, "d2", by="li.na", now=NOW, expected=1) == 2


def test_of_two_that_review_at_once_only_one_goes_live(store: Store) -> None:
    told: list[object] = []

    def launch(digest: str) -> None:
        try:
            told.append(store.add_revision({}, digest, by="x", now=NOW, expected=0))
        except RevisionMovedError as error:
            told.append(error.live)

    threads = [threading.Thread(target=launch, args=(f"d{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert told == [1, 1, 1, 1]
    assert store.live_state().revision == 1
