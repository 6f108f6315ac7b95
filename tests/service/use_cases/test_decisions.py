"""From kept verdicts to decisions that are recorded, told and acted on once, over a real store."""

import itertools
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.storage.analysis_records import OutboxMessage, RecordedDecision
from service.storage.ports import Store
from service.storage.records import VerdictSnapshot
from service.use_cases.decisions import Pass, act_on_verdicts, decision_id, parse_decision_id
from service.use_cases.judge import judged_catalog, refresh_verdicts
from service.use_cases.launch import apply, kill, revive
from tests.service.use_cases.shops import FILES, KEY, START, a_store, a_week, launched, shown

NOW = START + timedelta(days=30)
HOOKS = "webhooks:\n  growth: {url_env: HOOK_URL, secret_env: HOOK_SECRET, default: true}\n"


def files(automatic: str = "none", *, more: str = "", min_runtime: str = "2d") -> dict[str, str]:
    path = "experiments/free-shipping.yaml"
    decide = f"decide: {{min_runtime: {min_runtime}, automatic: {automatic}}}\n"
    text = FILES[path].replace("decide: {min_runtime: 2d}\n", decide) + more
    return {**FILES, path: text, "webhooks.yaml": HOOKS}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with a_store(tmp_path / "home") as opened:
        yield opened


def act(store: Store, *, days: float = 30, public_url: str = "https://flags.example") -> int:
    revision, loaded = judged_catalog(store)
    ids = itertools.count(len(store.messages()) + 1)
    return act_on_verdicts(
        Pass(
            store=store,
            revision=revision,
            loaded=loaded,
            public_url=public_url,
            new_id=lambda: f"msg_{next(ids)}",
            now=START + timedelta(days=days),
        )
    )


def judged(  # noqa: PLR0913 - each test sets one of them
    store: Store,
    decision: str,
    variant: str | None = None,
    *,
    worse: tuple[str, ...] = (),
    days: float = 5,
    phase: int = 1,
    revision: int | None = None,
    exploratory: bool = False,
) -> None:
    """Keep a verdict with the members that decisions are made from."""
    as_of = START + timedelta(days=days)
    body: dict[str, Any] = {
        "decision": decision,
        "variant": variant,
        "rule": "a_rule",
        "as_of": as_of.isoformat(),
        "first_exposure_at": START.isoformat(),
        "text": f"Why {decision}.",
        "exposure": {"first": 1_000},
        "metrics": [
            {
                "metric": "refunds",
                "role": "guardrail",
                "variant": name,
                "state": "worse",
                "exploratory": exploratory,
            }
            for name in worse
        ],
    }
    store.put_verdict(
        VerdictSnapshot(
            experiment=KEY,
            phase=phase,
            revision=store.live_state().revision if revision is None else revision,
            log_offset=1,
            as_of=as_of,
            computed_at=as_of,
            digest="d",
            body=json.dumps(body),
        )
    )


def words(store: Store) -> list[tuple[str, str, str]]:
    return [(d.decision, d.variant, d.action) for d in reversed(store.decisions(KEY))]


def test_a_decision_is_recorded_once_however_often_it_is_looked_at(store: Store) -> None:
    launched(store, files())
    judged(store, "keep_running")
    assert act(store) == 0

    judged(store, "rollback", "banner")
    assert act(store) == 1
    judged(store, "rollback", "banner")
    assert [act(store), act(store)] == [0, 0]

    (decision,) = store.decisions()
    assert decision == RecordedDecision(
        experiment=KEY,
        phase=1,
        number=1,
        verdict=2,
        revision=1,
        decision="rollback",
        variant="banner",
        rule="a_rule",
        action="none",
        reason="Decided: roll back banner (rule a_rule); before: keep running. "
        "Nothing was done: the catalog says automatic: none.",
        decided_at=NOW,
    )
    assert store.live_state().killed == frozenset()


def test_a_message_goes_with_it_that_says_everything(store: Store) -> None:
    launched(store, files())
    judged(store, "rollback", "banner")
    act(store)

    (message,) = store.messages()
    payload = json.loads(message.payload)
    assert message == OutboxMessage(
        message_id="msg_1", endpoint="growth", payload=message.payload, created_at=NOW, next_at=NOW
    )
    assert (payload["type"], payload["timestamp"]) == ("experiment.decided", NOW.isoformat())
    reason = payload["data"].pop("reason")
    assert reason.startswith("Decided: roll back banner")
    assert payload["data"] == {
        "id": "free-shipping.1.d1",
        "experiment": KEY,
        "phase": 1,
        "decision": "rollback",
        "variant": "banner",
        "rule": "a_rule",
        "action": "none",
        "verdict": "free-shipping.1.1",
        "revision": 1,
        "decided_at": NOW.isoformat(),
        "text": "Why rollback.",
        "url": "https://flags.example/experiments/free-shipping",
    }


def test_nobody_is_told_whom_the_experiment_does_not_name(store: Store) -> None:
    launched(store, files(more="notify: []\n"))
    judged(store, "inconclusive")

    assert act(store) == 1
    assert store.messages() == []


def test_the_log_tells_of_a_decision_in_one_line(store: Store) -> None:
    launched(store, files())
    judged(store, "ship", "banner")

    with capture_logs() as lines:
        act(store)
        act(store)

    (line,) = [line for line in lines if line["event"] == "experiment_decided"]
    assert (line["id"], line["decision"], line["action"]) == ("free-shipping.1.d1", "ship", "none")


def test_an_automatic_rollback_kills_and_whoever_revives_is_not_overruled(store: Store) -> None:
    launched(store, files("rollback"))
    judged(store, "rollback", "banner")
    act(store)
    assert store.live_state().killed == {KEY}

    assert revive(store, KEY, by="cli", now=NOW)
    judged(store, "rollback", "banner")
    assert act(store) == 0
    assert store.live_state().killed == frozenset()

    judged(store, "keep_running")
    act(store)
    judged(store, "rollback", "banner")
    act(store)
    assert store.live_state().killed == {KEY}
    assert words(store) == [
        ("rollback", "banner", "rollback"),
        ("keep_running", "", "none"),
        ("rollback", "banner", "rollback"),
    ]


def test_an_automatic_shipment_gives_everybody_the_variant_once(store: Store) -> None:
    launched(store, files("rollback_and_ship"))
    judged(store, "ship", "banner")
    act(store)
    assert [(s.shipped, s.phase) for s in store.steerings()] == [("banner", 1)]

    store.ship(KEY, 1, "", by="cli", now=NOW)
    judged(store, "ship", "banner")
    assert act(store) == 0
    assert [s.shipped for s in store.steerings()] == [""]


def test_harm_does_not_wait_for_the_shortest_runtime(store: Store) -> None:
    launched(store, files("rollback", min_runtime="7d"))
    judged(store, "rollback", "banner", days=0.5)
    act(store)
    act(store)

    assert words(store) == [("rollback", "banner", "rollback")]


def test_at_the_end_nothing_is_shipped_by_default(store: Store) -> None:
    launched(store, files("rollback_and_ship"))
    for decision in ("inconclusive", "no_effect", "untrustworthy"):
        judged(store, decision, days=400)
        act(store)

    assert {action for _decision, _variant, action in words(store)} == {"none"}
    assert store.steerings() == []
    assert store.live_state().killed == frozenset()


def test_a_guardrail_that_becomes_worse_is_told_by_itself_and_once(store: Store) -> None:
    launched(store, files())
    judged(store, "keep_running")
    judged(store, "keep_running", worse=("banner",))
    assert act(store) == 1
    judged(store, "keep_running", worse=("banner",))
    assert act(store) == 0

    (decision,) = store.decisions()
    assert (decision.decision, decision.rule, decision.action) == ("keep_running", "guardrail_worse", "none")


def test_a_guardrail_that_was_not_planned_is_told_by_nobody(store: Store) -> None:
    launched(store, files())
    judged(store, "keep_running", worse=("banner",), exploratory=True)

    assert act(store) == 0


def test_a_verdict_by_the_rules_of_an_older_revision_is_not_acted_on(store: Store) -> None:
    launched(store, files("rollback"))
    judged(store, "rollback", "banner", revision=0)

    assert act(store) == 0


def test_a_new_phase_begins_anew(store: Store) -> None:
    launched(store, files())
    judged(store, "rollback", "banner")
    act(store)
    apply(store, files(more="phase: 2\n"), by="test", now=START)
    assert act(store) == 0

    judged(store, "rollback", "banner", phase=2)
    act(store)

    assert [decision_id(d) for d in store.decisions(KEY)] == ["free-shipping.2.d1", "free-shipping.1.d1"]


def test_names_of_decisions_are_read_back_and_others_refused() -> None:
    assert parse_decision_id("free-shipping.1.d17") == ("free-shipping", 1, 17)
    for text in (
        "",
        "free-shipping",
        "free-shipping.1.17",
        "a.1.dx",
        ".1.d1",
        "a.1.d1.d2",
        "a.1.d" + "9" * 40,
    ):
        assert parse_decision_id(text) is None


RAMP = """\
ramp:
  - {at: 2026-03-02T00:00Z, share: 10%}
  - {at: 2026-03-09T00:00Z, share: 50%, if: guardrails_ok}
  - {at: 2026-03-16T00:00Z, share: 100%, if: guardrails_ok}
"""


def test_a_ramp_waits_with_its_reason_and_opens_step_by_step(store: Store) -> None:
    launched(store, files(more=RAMP))
    judged(store, "keep_running", worse=("banner",))
    assert act(store, days=1) == 1  # the guardrail

    assert [act(store, days=8), act(store, days=9)] == [1, 0]
    judged(store, "keep_running")
    assert [act(store, days=10), act(store, days=11)] == [1, 0]
    assert [s.ramp_steps for s in store.steerings()] == [2]
    assert act(store, days=20) == 1

    assert [s.ramp_steps for s in store.steerings()] == [3]
    assert [(d.rule, d.action) for d in reversed(store.decisions(KEY))][1:] == [
        ("ramp_step_2", "ramp_hold"),
        ("ramp_step_2", "ramp_step"),
        ("ramp_step_3", "ramp_step"),
    ]
    assert {json.loads(m.payload)["type"] for m in store.messages()} == {
        "experiment.decided",
        "experiment.ramped",
    }


def test_steps_of_a_ramp_do_not_hide_what_was_decided(store: Store) -> None:
    launched(store, files("rollback", more=RAMP))
    judged(store, "rollback", "banner")
    assert act(store, days=8) == 2
    assert revive(store, KEY, by="cli", now=NOW)
    judged(store, "rollback", "banner")

    act(store, days=9)

    assert words(store)[0] == ("rollback", "banner", "rollback")
    assert [action for _d, _v, action in words(store)[1:]] == ["ramp_hold", "ramp_hold"]
    assert store.live_state().killed == frozenset()


def test_nothing_is_shipped_while_it_is_killed_by_hand(store: Store) -> None:
    launched(store, files("rollback_and_ship"))
    kill(store, KEY, by="cli", now=NOW)
    judged(store, "ship", "banner")
    act(store)
    assert store.steerings() == []

    revive(store, KEY, by="cli", now=NOW)
    act(store)

    assert [s.shipped for s in store.steerings()] == ["banner"]


def test_from_events_to_a_shipped_variant(store: Store, tmp_path: Path) -> None:
    launched(store, files("rollback_and_ship"))
    shown(store, tmp_path / "lake", a_week())
    refresh_verdicts(store, tmp_path / "lake", now=NOW)

    assert act(store) == 1

    (decision,) = store.decisions()
    assert (decision.decision, decision.variant, decision.action) == ("ship", "banner", "ship")
    assert store.live_state().steering[KEY, 1].shipped == "banner"


def _worker(home: Path, ready: Any) -> None:
    with a_store(home) as store:
        ready.wait()
        while True:
            act(store)


@pytest.mark.parametrize("run", range(3))
def test_two_workers_that_are_killed_at_any_point_act_once_for_each_change(tmp_path: Path, run: int) -> None:
    context = multiprocessing.get_context("spawn")
    home = tmp_path / "home"
    with a_store(home) as store:
        launched(store, files("rollback_and_ship"))
        changes = [
            ("rollback", "banner"),
            ("ship", "banner"),
            ("untrustworthy", None),
            ("keep_running", None),
        ]
        ready = context.Event()
        workers = [context.Process(target=_worker, args=(home, ready), daemon=True) for _ in range(2)]
        for worker in workers:
            worker.start()
        ready.set()
        expected = []
        for n, (decision, variant) in enumerate(changes * 2):
            judged(store, decision, variant, days=5 + n / 10)
            if n == 2 + run:
                os.kill(workers[0].pid or 0, signal.SIGKILL)
            expected.append((decision, variant or ""))
            while len(store.decisions(KEY)) <= n:
                assert workers[1].is_alive()
        os.kill(workers[1].pid or 0, signal.SIGKILL)

        decisions = list(reversed(store.decisions(KEY)))
        assert [(d.decision, d.variant) for d in decisions] == expected
        assert len(store.messages()) == len(expected)
