"""What follows from a verdict: once for each change, only as far as the catalog lets it, never by default."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from experiments.actions import Action, Past, Record, Seen, follow, follow_ramp
from experiments.automatic import Automatic
from experiments.decision import Decision
from experiments.definitions import DecisionPlan, Experiment, Guardrail, MetricPlan, Variant
from experiments.lifecycle import RampStep, Schedule, Status

START = datetime(2027, 1, 1, tzinfo=UTC)
DAY_S = 86_400
BOTH = Automatic(rollback=True, ship=True)
ROLLBACK = Seen(decision=Decision.ROLLBACK, variant="b", rule="primary_worse")
SHIP = Seen(decision=Decision.SHIP, variant="b", rule="primary_better")


def experiment(automatic: Automatic = BOTH, **changes: Any) -> Experiment:
    one = Experiment(
        key="tea",
        variants=(
            Variant(key="control", value=1, weight_bp=5_000),
            Variant(key="b", value=2, weight_bp=5_000),
        ),
        metrics=MetricPlan(
            primary="buy", guardrails=(Guardrail(metric="refunds", margin=0.1, relative=True),)
        ),
        decide=DecisionPlan(automatic=automatic),
    )
    return replace(one, **changes)


def followed(
    seen: Seen, past: Past | None = None, *, killed: bool = False, now: datetime = START, **changes: Any
) -> Record | None:
    return follow(experiment(**changes), past or Past(), seen, killed=killed, now=now)


def after(seen: Seen, *done: Action) -> Past:
    return Past(decision=seen.decision, variant=seen.variant, worse=seen.worse, done=frozenset(done))


def test_to_keep_running_is_no_news_at_first_nor_again() -> None:
    seen = Seen(decision=Decision.KEEP_RUNNING, rule="burn_in")

    assert followed(seen) is None
    assert followed(seen, after(seen)) is None


@pytest.mark.parametrize(("before", "now"), [p for p in product(Decision, Decision) if p[0] != p[1]])
def test_every_change_of_the_decision_is_recorded_with_both_words(before: Decision, now: Decision) -> None:
    record = followed(Seen(decision=now, rule="r"), Past(decision=before), automatic=Automatic())

    assert record is not None
    assert record.reason.startswith("Decided: ")
    assert "(rule r); before: " in record.reason
    assert (record.rule, record.action) == ("r", Action.NONE)


def test_another_variant_is_another_decision() -> None:
    record = followed(replace(SHIP, variant="c"), after(SHIP, Action.SHIP))

    assert record is not None
    assert record.action is Action.SHIP


@pytest.mark.parametrize(
    ("automatic", "rolls_back", "ships"),
    [
        (Automatic(), False, False),
        (Automatic(rollback=True), True, False),
        (Automatic(ship=True), False, True),
        (BOTH, True, True),
    ],
)
def test_rules_do_what_the_catalog_lets_them(automatic: Automatic, rolls_back: bool, ships: bool) -> None:
    rollback, ship = followed(ROLLBACK, automatic=automatic), followed(SHIP, automatic=automatic)

    assert rollback is not None
    assert ship is not None
    assert rollback.action is (Action.ROLLBACK if rolls_back else Action.NONE)
    assert ship.action is (Action.SHIP if ships else Action.NONE)
    assert ("until `opportune revive tea`" in rollback.reason) is rolls_back
    assert (f"automatic: {automatic.word}" in ship.reason) is not ships


def test_no_other_word_ever_does_anything() -> None:
    acting = (Decision.SHIP, Decision.ROLLBACK)
    for decision in (d for d in Decision if d not in acting):
        record = followed(Seen(decision=decision, variant="b"), Past(variant="x"))
        assert record is not None
        assert record.action is Action.NONE


@pytest.mark.parametrize(
    ("status", "rolls_back", "ships"),
    [
        (Status.RUNNING, True, True),
        (Status.SCHEDULED, True, True),
        (Status.PAUSED, True, False),
        (Status.STOPPED, False, False),
    ],
)
def test_what_is_interrupted_is_not_shipped_and_what_is_stopped_left_alone(
    status: Status, rolls_back: bool, ships: bool
) -> None:
    rollback, ship = followed(ROLLBACK, status=status), followed(SHIP, status=status)

    assert rollback is not None
    assert ship is not None
    assert (rollback.action is Action.ROLLBACK) is rolls_back
    assert (ship.action is Action.SHIP) is ships


@pytest.mark.parametrize(("seen", "action"), [(ROLLBACK, Action.ROLLBACK), (SHIP, Action.SHIP)])
def test_what_was_decided_before_the_catalog_asked_for_it_is_done_once_it_asks(
    seen: Seen, action: Action
) -> None:
    late = followed(seen, after(seen))

    assert late is not None
    assert late.action is action
    assert late.reason.startswith("Still decided: ")


def test_what_was_done_and_undone_by_a_person_is_not_done_again_by_the_same_decision() -> None:
    assert followed(ROLLBACK, after(ROLLBACK, Action.ROLLBACK)) is None
    assert followed(SHIP, after(SHIP, Action.SHIP)) is None


def test_a_catalog_that_lets_rules_act_later_acts_once() -> None:
    told = after(ROLLBACK)

    assert followed(ROLLBACK, told, automatic=Automatic()) is None
    record = followed(ROLLBACK, told)
    assert record is not None
    assert record.action is Action.ROLLBACK


def test_nothing_is_shipped_while_it_is_killed_and_a_rollback_is_on_record_all_the_same() -> None:
    ship, rollback = followed(SHIP, killed=True), followed(ROLLBACK, killed=True)

    assert ship is not None
    assert rollback is not None
    assert ship.action is Action.NONE
    assert "it is killed" in ship.reason
    assert rollback.action is Action.ROLLBACK


def test_a_guardrail_that_becomes_worse_is_told_once_and_no_more_when_it_stays_so() -> None:
    calm = Seen(decision=Decision.KEEP_RUNNING)
    harm = replace(calm, worse=frozenset({("refunds", "b")}))

    record = followed(harm, after(calm))

    assert record is not None
    assert (record.rule, record.action) == ("guardrail_worse", Action.NONE)
    assert "The guardrail refunds became worse than its limit for b." in record.reason
    assert followed(harm, after(harm)) is None
    assert followed(calm, after(harm)) is None


def test_new_harm_rolls_back_again_what_a_person_had_revived() -> None:
    more = replace(ROLLBACK, worse=frozenset({("refunds", "b")}))

    record = followed(more, after(ROLLBACK, Action.ROLLBACK))

    assert record is not None
    assert (record.rule, record.action) == ("guardrail_worse", Action.ROLLBACK)


@pytest.mark.parametrize(
    ("days", "why"), [(-1, "its schedule has not begun"), (0, ""), (5, "its schedule is over")]
)
def test_outside_of_its_schedule_nothing_is_shipped_and_harm_is_ended_all_the_same(
    days: int, why: str
) -> None:
    schedule = Schedule(start_at=START, end_at=START + timedelta(days=5))

    ship, rollback = (
        followed(seen, now=START + timedelta(days=days), schedule=schedule) for seen in (SHIP, ROLLBACK)
    )

    assert ship is not None
    assert rollback is not None
    assert (ship.action, why in ship.reason) == (Action.NONE if why else Action.SHIP, True)
    assert rollback.action is Action.ROLLBACK


@pytest.mark.parametrize("seen", [SHIP, ROLLBACK])
def test_a_rule_does_not_overrule_what_a_person_has_shipped(seen: Seen) -> None:
    other, same = followed(seen, shipped="control"), followed(seen, shipped="b")

    assert other is not None
    assert same is not None
    assert other.action is Action.NONE
    assert "Nothing was done: control is shipped to everybody" in other.reason
    assert same.action is not Action.NONE
    later = followed(seen, after(seen))
    assert later is not None, "once it is shipped no more, it is due"


# --- ramps


def ramped(limit: int | None = None, **changes: Any) -> Experiment:
    steps = (
        RampStep(START, 500),
        RampStep(START + timedelta(days=1), 5_000, gated=True),
        RampStep(START + timedelta(days=2), 7_500),
        RampStep(START + timedelta(days=3), 10_000, gated=True),
    )
    return experiment(ramp=steps, ramp_limit=limit, **changes)


CALM = Seen(decision=Decision.KEEP_RUNNING, exposed=1)


def ramp(
    seen: Seen | None = CALM, held: str = "", *, days: float = 1, killed: bool = False, **changes: Any
) -> Record | None:
    now = START + timedelta(days=days)
    return follow_ramp(ramped(**changes), seen, held, killed=killed, now=now)


def test_a_step_opens_when_its_time_has_come_with_those_after_it_that_ask_nothing() -> None:
    assert ramp(days=0.99) is None

    record = ramp()

    assert record is not None
    assert (record.rule, record.action, record.ramp_steps) == ("ramp_step_2", Action.RAMP_STEP, 3)
    assert record.ramp_share_bp == 5_000
    assert "50%" in record.reason
    assert ramp(limit=3, days=2.5) is None
    last = ramp(limit=3, days=3)
    assert last is not None
    assert (last.rule, last.ramp_steps) == ("ramp_step_4", 4)
    assert ramp(limit=4, days=300) is None


@pytest.mark.parametrize(
    ("seen", "killed", "why"),
    [
        (None, False, "there is no verdict of this phase yet"),
        (CALM, True, "it is killed"),
        (Seen(decision=Decision.UNTRUSTWORTHY, rule="srm"), False, "cannot be trusted (check srm)"),
        (replace(CALM, worse=frozenset({("refunds", "b")})), False, "refunds is worse than its limit for b"),
        (ROLLBACK, False, "the verdict is to roll back b"),
        (replace(CALM, exposed=0), False, "no unit has been exposed yet"),
        (replace(CALM, unguarded=True), False, "its guardrails were added after the launch"),
    ],
)
def test_a_step_waits_with_its_reason_told_once_and_opens_when_it_has_gone(
    seen: Seen | None, killed: bool, why: str
) -> None:
    record = ramp(seen, killed=killed)

    assert record is not None
    assert (record.action, record.ramp_steps) == (Action.RAMP_HOLD, None)
    assert why in record.reason
    assert ramp(seen, record.reason, killed=killed) is None
    opened = ramp(CALM, record.reason)
    assert opened is not None
    assert opened.action is Action.RAMP_STEP


def test_another_reason_to_wait_is_told_as_well() -> None:
    first = ramp(None)
    assert first is not None

    second = ramp(ROLLBACK, first.reason)

    assert second is not None
    assert second.action is Action.RAMP_HOLD


@pytest.mark.parametrize(
    "changes",
    [
        {"status": Status.PAUSED},
        {"status": Status.STOPPED},
        {"schedule": Schedule(end_at=START + timedelta(hours=1))},
        {"shipped": "b"},
    ],
)
def test_the_ramp_of_what_is_not_served_by_it_is_left_alone(changes: dict[str, Any]) -> None:
    assert ramp(**changes) is None
