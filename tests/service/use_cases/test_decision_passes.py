"""What a pass over all experiments does beside deciding: races, failures, and little work when idle."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from experiments.actions import Action
from service.storage.analysis_records import Change
from service.storage.leases import LeaseLostError, under
from service.storage.ports import Store
from service.use_cases.decisions import LOOK_BACK, DecisionsFailedError, Pass, act_on_verdicts
from service.use_cases.judge import judged_catalog
from service.use_cases.launch import apply, kill, revive
from service.use_cases.shipping import unship
from tests.service.use_cases.shops import KEY, START, a_store, launched
from tests.service.use_cases.test_decisions import NOW, RAMP, act, files, judged

PATH = "experiments/free-shipping.yaml"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with a_store(tmp_path / "home") as opened:
        yield opened


def a_pass(store: Store, *, new_id: Callable[[], str] = lambda: "msg_1", days: float = 6) -> Pass:
    revision, loaded = judged_catalog(store)
    return Pass(
        store=store,
        revision=revision,
        loaded=loaded,
        public_url="",
        new_id=new_id,
        now=START + timedelta(days=days),
    )


def copies(made: dict[str, str], *keys: str) -> dict[str, str]:
    return {**made, **{f"experiments/{key}.yaml": made[PATH].replace(KEY, key) for key in keys}}


@contextmanager
def statements() -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_a_pass_that_read_a_catalog_which_is_live_no_more_does_nothing(store: Store) -> None:
    launched(store, files("ship"))
    judged(store, "ship", "banner")
    late = a_pass(store)
    apply(store, files("none"), by="maria", now=NOW)

    assert act_on_verdicts(late) == 0
    assert (store.decisions(), store.steerings()) == ([], [])


def test_a_kill_while_a_decision_is_made_lets_it_be_made_again(store: Store) -> None:
    launched(store, files("ship"))
    judged(store, "ship", "banner")

    def killing() -> str:
        kill(store, KEY, by="anna", now=NOW)
        return "msg_late"

    late = a_pass(store, new_id=killing)
    assert act_on_verdicts(late) == 0
    assert (store.decisions(), store.messages(), store.steerings()) == ([], [], [])

    assert act_on_verdicts(replace(late, new_id=lambda: "msg_1")) == 1
    (decision,) = store.decisions()
    assert (decision.action, "it is killed" in decision.reason) == ("none", True)


def test_however_often_a_ramp_was_held_what_was_done_and_undone_is_remembered(store: Store) -> None:
    launched(store, files("ship"))
    judged(store, "ship", "banner")
    act(store)
    unship(store, KEY, by="anna", now=NOW)
    (shipped,) = store.decisions()
    for number in range(2, LOOK_BACK + 2):
        held = replace(shipped, number=number, action=Action.RAMP_HOLD.value, reason=f"r{number}")
        store.record_decision(Change(decision=held))

    assert act(store) == 0
    assert [one.shipped for one in store.steerings()] == [""]


def test_one_experiment_that_fails_is_told_after_the_others_were_decided(store: Store) -> None:
    launched(store, copies(files("ship"), "a-first"))
    judged(store, "ship", "banner")
    verdict = store.latest_verdict(KEY)
    assert verdict is not None
    store.put_verdict(replace(verdict, experiment="a-first", body='{"decision": "ship"}'))

    with pytest.raises(DecisionsFailedError, match="about a-first;"):
        act(store)

    assert [one.experiment for one in store.decisions()] == [KEY]


def test_whoever_lost_the_lease_ends_the_pass(store: Store) -> None:
    launched(store, files("ship"))
    judged(store, "ship", "banner")
    mine = store.acquire_lease("worker", "me", ttl=timedelta(seconds=1), now=NOW)
    assert mine is not None
    later = NOW + timedelta(days=1)
    assert store.acquire_lease("worker", "another", ttl=timedelta(days=1), now=later) is not None

    with under(mine), pytest.raises(LeaseLostError):
        act(store)

    assert store.decisions() == []


def test_what_was_settled_costs_nothing_more_until_something_moves(store: Store) -> None:
    launched(store, copies(files("rollback_and_ship"), "x1", "x2", "x3"))
    judged(store, "keep_running")
    bench = a_pass(store)
    assert act_on_verdicts(bench) == 0
    with statements() as idle:
        assert act_on_verdicts(bench) == 0
    reads = [one for one in idle if one.lstrip().upper().startswith("SELECT")]
    assert len(reads) == 2, "the live state, and which verdicts are the newest"

    judged(store, "ship", "banner")
    kill(store, KEY, by="anna", now=NOW)
    assert [act_on_verdicts(bench), act_on_verdicts(bench)] == [1, 0]
    revive(store, KEY, by="anna", now=NOW)
    assert [act_on_verdicts(bench), act_on_verdicts(bench)] == [1, 0]
    assert [one.shipped for one in store.steerings()] == ["banner"]


def test_a_gate_whose_time_comes_is_seen_though_nothing_else_moved(store: Store) -> None:
    launched(store, files(more=RAMP))
    judged(store, "keep_running")
    bench = a_pass(store)

    assert [act_on_verdicts(bench), act_on_verdicts(replace(bench, now=START + timedelta(days=8)))] == [0, 1]
    assert [(s.ramp_steps, s.ramp_share_bp) for s in store.steerings()] == [(2, 5_000)]


def test_guardrails_that_were_all_added_after_the_launch_open_no_gate(store: Store) -> None:
    launched(store, files(more=RAMP))
    judged(store, "keep_running", worse=("banner",), exploratory=True)

    assert act(store, days=8) == 1
    (decision,) = store.decisions()
    assert decision.action == "ramp_hold"
    assert "its guardrails were added after the launch" in decision.reason
