"""Decisions with their messages, over both databases: recorded once, with all they change or not at all."""

import multiprocessing
import os
import signal
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from service.storage.analysis_records import Change, OutboxMessage, RecordedDecision, Steering
from service.storage.decisions import AUTOMATIC
from service.storage.sql import SqlStore
from tests.service.storage.facts import NOW


def a_decision(number: int = 1, *, experiment: str = "tea", action: str = "none") -> RecordedDecision:
    return RecordedDecision(
        experiment=experiment,
        phase=1,
        number=number,
        verdict=17,
        revision=3,
        decision="rollback",
        variant="banner",
        rule="guardrail_worse",
        action=action,
        reason="Refunds are worse than their limit.",
        decided_at=NOW + timedelta(minutes=number),
    )


def a_message(message_id: str = "msg_1", *, endpoint: str = "growth") -> OutboxMessage:
    return OutboxMessage(
        message_id=message_id, endpoint=endpoint, payload='{"a":1}', created_at=NOW, next_at=NOW
    )


def test_a_decision_is_read_back_as_it_was_recorded(store: SqlStore) -> None:
    assert store.record_decision(Change(decision=a_decision(), messages=(a_message(),)))

    assert store.decision("tea", 1, 1) == a_decision()
    assert store.decision("tea", 1, 2) is None
    assert store.messages() == [a_message()]
    assert store.live_state().killed == frozenset()
    assert store.steerings() == []


def test_a_number_that_is_taken_or_skips_one_writes_nothing_at_all(store: SqlStore) -> None:
    store.record_decision(Change(decision=a_decision()))
    other = replace(a_decision(), reason="another")

    for late in (other, replace(other, number=3)):
        change = Change(decision=late, messages=(a_message(),), kills=True, ships="banner")
        assert not store.record_decision(change)

    assert store.decisions() == [a_decision()]
    assert store.messages() == []
    assert store.live_state().killed == frozenset()
    assert store.steerings() == []


def test_what_was_decided_upon_a_state_that_is_gone_writes_nothing_at_all(store: SqlStore) -> None:
    fresh = Change(decision=a_decision(), messages=(a_message(),), ships="banner", live_version=0)
    store.set_killed("other", killed=True, by="anna", now=NOW)

    assert not store.record_decision(fresh)
    assert (store.decisions(), store.messages(), store.steerings()) == ([], [], [])

    assert store.record_decision(replace(fresh, live_version=store.live_state().version))
    assert [one.shipped for one in store.steerings()] == ["banner"]


def test_decisions_with_some_actions_left_out(store: SqlStore) -> None:
    for number, action in enumerate(["ship", *["ramp_hold"] * 9], start=1):
        store.record_decision(Change(decision=a_decision(number, action=action)))

    assert [one.number for one in store.decisions("tea", phase=1, limit=1, but={"ramp_hold"})] == [1]


def test_decisions_are_listed_newest_first_of_all_of_one_and_of_a_phase(store: SqlStore) -> None:
    second_phase = replace(a_decision(), phase=2, decided_at=NOW + timedelta(hours=1))
    for one in (a_decision(1), a_decision(2), a_decision(1, experiment="coffee"), second_phase):
        assert store.record_decision(Change(decision=one))

    assert store.decisions(limit=2) == [second_phase, a_decision(2)]
    assert store.decisions("coffee") == [a_decision(1, experiment="coffee")]
    assert store.decisions("tea", phase=1) == [a_decision(2), a_decision(1)]
    assert store.decisions("unknown") == []


def test_a_rollback_kills_in_the_same_step_and_the_workers_are_told(store: SqlStore) -> None:
    before = store.live_state().version

    store.record_decision(Change(decision=a_decision(action="rollback"), kills=True))

    state = store.live_state()
    assert state.killed == {"tea"}
    assert state.version > before


def test_shipping_and_ramp_steps_leave_each_other_alone(store: SqlStore) -> None:
    store.record_decision(Change(decision=a_decision(1), ramp_steps=2, ramp_share_bp=5_000))
    store.record_decision(Change(decision=a_decision(2), ships="banner"))

    (steering,) = store.steerings()
    assert steering == Steering(
        experiment="tea",
        phase=1,
        shipped="banner",
        ramp_steps=2,
        ramp_share_bp=5_000,
        changed_by=AUTOMATIC,
    )


def test_of_many_that_decide_at_once_one_acts(store: SqlStore) -> None:
    start, outcomes = threading.Barrier(8), []

    def decide(i: int) -> None:
        change = Change(decision=a_decision(), messages=(a_message(f"msg_{i}"),), kills=True)
        start.wait()
        outcomes.append(store.record_decision(change))

    threads = [threading.Thread(target=decide, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == [False] * 7 + [True]
    assert len(store.decisions()) == len(store.messages()) == 1


def _record_until_killed(path: Path) -> None:
    store = SqlStore(path)
    for number in range(1, 100_000):
        if number % 2:
            change = Change(
                decision=a_decision(number), messages=(a_message(f"m{number}"),), ramp_steps=number
            )
        else:
            change = Change(
                decision=a_decision(number), messages=(a_message(f"m{number}"),), ships=f"v{number}"
            )
        store.record_decision(change)


@pytest.mark.parametrize("wait_ms", [40, 55, 70, 85, 100])
def test_what_a_kill_interrupts_is_recorded_whole_or_not_at_all(database_file: Path, wait_ms: int) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_record_until_killed, args=(database_file,))
    child.start()
    store = SqlStore(database_file)
    try:
        while not store.decisions(limit=1):
            assert child.is_alive()
        threading.Event().wait(wait_ms / 1_000)
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()

        numbers = [one.number for one in reversed(store.decisions(limit=100_000))]
        assert numbers == list(range(1, len(numbers) + 1))
        assert {one.message_id for one in store.messages(limit=100_000)} == {f"m{n}" for n in numbers}
        (steering,) = store.steerings()
        odd, even = [n for n in numbers if n % 2], [n for n in numbers if not n % 2]
        assert steering.ramp_steps == odd[-1]
        assert steering.shipped == (f"v{even[-1]}" if even else "")
    finally:
        store.close()
