"""Each day's arrivals are divided by the share that was enrolled on it, whatever is live by now."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from experiments.actions import Action
from experiments.evidence import Enrolled
from service.storage.analysis_records import Change, RecordedDecision, Steering
from service.storage.ports import Store
from service.use_cases.enrolment import enrolled_of
from service.use_cases.judge import judged_catalog, refresh_verdict
from service.use_cases.launch import apply
from service.use_cases.replay import replay
from service.use_cases.verdict_inputs import recorded_of
from tests.service.use_cases.shops import FILES, KEY, START, a_store, a_week, launched, shown

PATH = "experiments/free-shipping.yaml"
A_MONTH = 9_000
GATED = f"""\
schedule: {{start: {START.isoformat()}}}
ramp:
  - {{at: start, share: 10%}}
  - {{after: 24h, share: 50%, if: guardrails_ok}}
  - {{after: 72h, share: 100%, if: guardrails_ok}}
"""
GATE_OPENED = START + timedelta(days=2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with a_store(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def files(more: str) -> dict[str, str]:
    return {**FILES, PATH: FILES[PATH] + more}


def open_gate(store: Store, number: int, at: datetime, steps: int, share_bp: int) -> None:
    decision = RecordedDecision(
        experiment=KEY,
        phase=1,
        number=number,
        verdict=0,
        revision=1,
        decision="keep_running",
        variant="",
        rule="",
        action=Action.RAMP_STEP.value,
        reason="",
        decided_at=at,
    )
    assert store.record_decision(Change(decision=decision, ramp_steps=steps, ramp_share_bp=share_bp))


def judged(store: Store, lake: Path, *, days: float = 30) -> dict[str, Any]:
    refresh_verdict(store, lake, KEY, now=START + timedelta(days=days))
    snapshot = store.latest_verdict(KEY)
    assert snapshot is not None
    assert replay(store, lake, snapshot).same
    found: dict[str, Any] = json.loads(snapshot.body)
    return found


def recorded(store: Store) -> tuple[Enrolled, ...]:
    snapshot = store.latest_verdict(KEY)
    assert snapshot is not None
    return recorded_of(snapshot).enrolled


def asked(store: Store, until: datetime) -> tuple[Enrolled, ...]:
    revision, loaded = judged_catalog(store)
    return enrolled_of(store, loaded.catalog.experiments[KEY], None, revision=revision, as_of=until)


def test_a_gate_that_opened_multiplies_no_money(store: Store, lake: Path) -> None:
    launched(store, files(GATED))
    open_gate(store, 1, GATE_OPENED, 2, 5_000)
    shown(store, lake, a_week(days=14))

    assert judged(store, lake)["money"]["pace"]["units"] == 2 * A_MONTH
    assert recorded(store) == (
        Enrolled(date(2026, 3, 2), 0.1),
        Enrolled(date(2026, 3, 4), None),
        Enrolled(date(2026, 3, 5), 0.5),
    )


def test_of_days_between_two_gates_no_share_is_known(store: Store) -> None:
    launched(store, files(GATED))
    open_gate(store, 1, GATE_OPENED, 2, 5_000)
    open_gate(store, 2, START + timedelta(days=5), 3, 10_000)

    assert asked(store, START + timedelta(days=9)) == (
        Enrolled(date(2026, 3, 2), 0.1),
        Enrolled(date(2026, 3, 4), None),
        Enrolled(date(2026, 3, 8), 1.0),
    )


def test_gates_that_were_set_without_a_decision_count_from_then_on(store: Store) -> None:
    launched(store, files(GATED))
    steering = Steering(experiment=KEY, phase=1, ramp_steps=3, ramp_share_bp=10_000)
    store.put_steering(steering, by="test", now=GATE_OPENED)

    assert asked(store, START + timedelta(days=9))[-1] == Enrolled(date(2026, 3, 6), 1.0)


def test_an_edit_of_the_allocation_changes_nothing_of_the_days_before(store: Store, lake: Path) -> None:
    launched(store, files("allocation: 10%\n"))
    shown(store, lake, a_week(days=9))
    before = judged(store, lake, days=9)["money"]["pace"]
    apply(store, files("allocation: 100%\n"), by="test", now=START + timedelta(days=9))

    assert before["units"] == 10 * A_MONTH
    assert judged(store, lake, days=9)["money"]["pace"] == before


def test_days_that_are_known_stay_and_new_ones_follow(store: Store, lake: Path) -> None:
    launched(store, files("allocation: 10%\n"))
    shown(store, lake, a_week(days=5))
    judged(store, lake, days=5)
    first = recorded(store)
    apply(store, files("allocation: 50%\n"), by="test", now=START + timedelta(days=6))
    shown(store, lake, a_week(days=14))

    assert judged(store, lake, days=14)["money"]["pace"]["units"] == round(A_MONTH / 0.5)
    assert first == (Enrolled(date(2026, 3, 2), 0.1),)
    assert recorded(store) == (
        *first,
        Enrolled(date(2026, 3, 8), None),
        Enrolled(date(2026, 3, 9), 0.5),
    )


def test_before_the_first_revision_its_share_counts(store: Store) -> None:
    apply(store, files("allocation: 10%\n"), by="test", now=START + timedelta(days=8, hours=3))

    assert asked(store, START + timedelta(days=4)) == (Enrolled(date(2026, 3, 5), 0.1),)


def test_a_draft_enrolled_nobody(store: Store) -> None:
    apply(store, files("allocation: 10%\nstatus: draft\n"), by="test", now=START)
    apply(store, files("allocation: 50%\n"), by="test", now=START + timedelta(days=2))

    assert asked(store, datetime(2026, 3, 9, tzinfo=UTC)) == (Enrolled(date(2026, 3, 4), 0.5),)
