"""What is pruned, and what never is."""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from service.storage.analysis_records import Change, OutboxMessage, RecordedDecision, Steering
from service.storage.outbox import GONE
from service.storage.paging import PAGE_ROWS
from service.storage.ports import IngestBatch, Keep, Store
from service.storage.records import KeyClass, VerdictSnapshot
from service.storage.retention import PRUNE_PAGES, Kept, superseded
from tests.service.storage.facts import NOW, a_batch, a_slate, an_event

DAY_US = 86_400_000_000
LATER = NOW + timedelta(days=100)
TABLES = (
    "sign_in",
    "session",
    "slate",
    "quarantine",
    "interaction",
    "person_activity",
    "event",
    "verdict_snapshot",
    "outbox",
    "steering",
)


def put(store: Store, number: int, *, as_of: datetime = NOW, decision: str = "keep running") -> None:
    store.put_verdict(
        VerdictSnapshot(
            experiment="x",
            phase=1,
            revision=1,
            log_offset=number,
            as_of=as_of,
            computed_at=as_of,
            digest="d",
            body=f'{{"decision":"{decision}","number":{number}}}',
        )
    )


def numbers(store: Store) -> list[int]:
    return [snapshot.log_offset for snapshot in store.verdict_history("x", 1, 1_000)]


def pruned(store: Store, *, now: datetime) -> dict[str, int]:
    """Prune as the worker would by default; return what went, by table."""
    return {table: n for table, n in store.prune(now=now, keep=Keep(), exported=0).items() if n}


def test_nothing_that_is_young_is_pruned(store: Store) -> None:
    store.append(IngestBatch(events=[an_event("e1")], slates=[a_slate("s1", "u:u1")]))
    store.put_sign_in("aa", KeyClass.ADMIN, expires_at=NOW + timedelta(minutes=10))
    store.put_session("bb", KeyClass.ADMIN, expires_at=NOW + timedelta(hours=8))
    for number in range(1, 101):
        put(store, number)

    assert store.prune(now=NOW, keep=Keep(), exported=0) == dict.fromkeys(TABLES, 0)
    assert store.session("bb", now=NOW) is KeyClass.ADMIN
    assert store.use_sign_in("aa", now=NOW) is KeyClass.ADMIN


def test_what_has_served_its_time_goes_and_the_log_stays(store: Store) -> None:
    store.append(a_batch(an_event("e1")))
    store.append(
        IngestBatch(
            slates=[
                a_slate("old", "u:u1"),
                replace(a_slate("edge", "u:u1"), created_at=LATER - timedelta(days=90)),
            ]
        )
    )
    store.put_sign_in("spent", KeyClass.ADMIN, expires_at=LATER + timedelta(days=1))
    store.put_sign_in("expired", KeyClass.ADMIN, expires_at=NOW)
    store.put_sign_in("open", KeyClass.ADMIN, expires_at=LATER + timedelta(days=1))
    store.use_sign_in("spent", now=NOW)
    store.put_session("expired", KeyClass.ADMIN, expires_at=LATER)
    store.put_session("open", KeyClass.ADMIN, expires_at=LATER + timedelta(days=1))

    assert pruned(store, now=LATER) == {"sign_in": 2, "session": 1, "slate": 1}
    assert pruned(store, now=LATER) == {}
    assert store.prune(now=LATER, keep=Keep(slates=1), exported=0)["slate"] == 1
    assert store.last_seq() == 1
    assert len(store.recent_of_types("u:u1", ("Order Completed", "Product Viewed"), 9)) == 1
    assert store.use_sign_in("spent", now=LATER) is None
    assert store.use_sign_in("open", now=LATER) is KeyClass.ADMIN
    assert store.session("open", now=LATER) is KeyClass.ADMIN


def test_many_slates_go_in_many_short_transactions_and_no_more_than_said_at_once(store: Store) -> None:
    for start in range(0, 1_200, 400):
        store.append(IngestBatch(slates=[a_slate(f"s{n}", "u:u1") for n in range(start, start + 400)]))

    assert store.prune(now=LATER, keep=Keep(), exported=0)["slate"] == 1_200
    assert PRUNE_PAGES * PAGE_ROWS >= 100_000


def test_superseded_verdicts_go_but_for_changes_days_and_the_newest(store: Store) -> None:
    for number in range(1, 11):
        put(store, number, decision="keep running" if number < 4 else "roll out")
    for number in range(11, 21):
        put(store, number, as_of=NOW + timedelta(days=1), decision="roll out")

    assert store.prune(now=NOW, keep=Keep(verdicts=3), exported=0)["verdict_snapshot"] == 14

    # 1: the first; 4: the decision changed; 10: the last of its day; 18..20: the newest.
    assert numbers(store) == [1, 4, 10, 18, 19, 20]
    assert store.prune(now=NOW, keep=Keep(verdicts=3), exported=0)["verdict_snapshot"] == 0
    put(store, 21, as_of=NOW + timedelta(days=2))
    assert numbers(store)[-1] == 21
    latest = store.latest_verdict("x")
    assert latest is not None
    assert latest.log_offset == 21


def test_messages_that_wait_for_nothing_go_and_what_is_gone_stays_known(store: Store) -> None:
    sent = OutboxMessage(message_id="told", endpoint="growth", payload="{}", created_at=NOW)
    last = replace(sent, message_id="last", endpoint="left", created_at=NOW + timedelta(days=1), next_at=NOW)
    store.put_messages(
        [
            replace(sent, delivered_at=NOW),
            replace(sent, message_id="given_up", problem="HTTP 500"),
            replace(sent, message_id="waits", next_at=NOW),
            replace(last, message_id="held", created_at=NOW),
            last,
        ]
    )
    store.disable_endpoint("left")

    assert pruned(store, now=NOW + timedelta(days=90)) == {}
    assert pruned(store, now=LATER) == {"outbox": 3}

    assert {one.message_id for one in store.messages()} == {"waits", "last"}
    store.put_messages([replace(last, message_id="new")])
    assert [one.problem for one in store.messages(endpoint="left")] == [GONE, GONE]


def test_what_was_decided_about_phases_long_over_goes_and_the_last_stays(store: Store) -> None:
    for phase, day in ((1, 0), (2, 1), (3, 95)):
        steering = Steering(experiment="tea", phase=phase, shipped="b")
        store.put_steering(steering, by="anna", now=NOW + timedelta(days=day))
    before = store.live_state()

    assert pruned(store, now=LATER) == {"steering": 1}

    after = store.live_state()
    assert sorted(after.steering) == [("tea", 2), ("tea", 3)]
    assert after.version > before.version


def test_the_verdicts_that_decisions_name_stay(store: Store) -> None:
    for number in range(1, 21):
        put(store, number, decision="keep running")
    named = RecordedDecision(
        experiment="x",
        phase=1,
        number=1,
        verdict=7,
        revision=1,
        decision="keep_running",
        variant="",
        rule="guardrail_worse",
        action="none",
        reason="",
        decided_at=NOW,
    )
    store.record_decision(Change(decision=named))

    store.prune(now=NOW, keep=Keep(verdicts=3), exported=0)

    assert numbers(store) == [1, 7, 18, 19, 20]


@given(
    steps=st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abc")), max_size=60),
    newest=st.integers(0, 10),
)
def test_pruning_again_prunes_nothing_and_no_change_of_mind_is_lost(
    steps: list[tuple[int, str]], newest: int
) -> None:
    history: list[Kept] = []
    day = 0
    for number, (days, decision) in enumerate(steps, start=1):
        day += days
        history.append(Kept(number, day * DAY_US, decision))

    gone = set(superseded(history, newest=newest))
    left = [row for row in history if row.number not in gone]

    assert superseded(left, newest=newest) == []
    assert minds(left) == minds(history)
    assert {row.as_of_us for row in left} == {row.as_of_us for row in history}
    assert history[len(history) - newest :] == left[len(left) - newest :] or newest > len(history)


def minds(history: list[Kept]) -> list[str]:
    decisions = [row.decision for row in history]
    return [d for i, d in enumerate(decisions) if i == 0 or d != decisions[i - 1]]
