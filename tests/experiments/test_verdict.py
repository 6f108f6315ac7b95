import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.definitions import Direction, Experiment, Guardrail, MetricKind, MetricPlan
from experiments.errors import InvalidParameterError
from experiments.evidence import Evidence, ExposureAccount, PeriodMoments
from experiments.lifecycle import Schedule, Status
from experiments.moments import SCALE, Moments
from experiments.verdict import Decision, Verdict, judge, series
from tests.experiments.builders import (
    BUY,
    GUARDED,
    METRICS,
    ONE_DAY,
    REFUND,
    START,
    conversions,
    evidence,
    experiment,
    metric,
    variants,
)

N = 40_000
ALIKE = {("buy", "a"): conversions(N, 2_000), ("buy", "b"): conversions(N, 2_060)}
BETTER = {("buy", "a"): conversions(N, 2_000), ("buy", "b"): conversions(N, 2_400)}
WORSE = {("buy", "a"): conversions(N, 2_000), ("buy", "b"): conversions(N, 1_600)}
MANY = {("buy", "a"): conversions(100 * N, 200_000), ("buy", "b"): conversions(100 * N, 200_000)}


def word(verdict: Verdict) -> tuple[str, str | None, str]:
    return verdict.decision.value, verdict.variant, str(verdict.rule)


def refunds(control: int, treatment: int) -> dict[tuple[str, str], Moments]:
    return {("refund", "a"): conversions(N, control), ("refund", "b"): conversions(N, treatment)}


@pytest.mark.parametrize(
    ("moments", "days", "expected"),
    [
        (BETTER, 14, ("ship", "b", "primary_better")),
        (BETTER, 6, ("keep_running", None, "min_runtime")),
        (WORSE, 14, ("rollback", "b", "primary_worse")),
        (WORSE, 2, ("rollback", "b", "primary_worse")),
        (ALIKE, 14, ("keep_running", None, "not_yet_known")),
        (MANY, 14, ("no_effect", None, "within_mde")),
        (MANY, 6, ("keep_running", None, "min_runtime")),
    ],
)
def test_the_primary_metric_decides(
    moments: Mapping[tuple[str, str], Moments], days: int, expected: tuple[str, str | None, str]
) -> None:
    assert word(judge(experiment(), METRICS, evidence(moments, days=days))) == expected


def test_a_metric_that_should_fall_is_judged_in_the_mirror() -> None:
    falling = {"buy": replace(BUY, direction=Direction.DOWN)}

    assert word(judge(experiment(), falling, evidence(BETTER)))[0] == "rollback"
    assert word(judge(experiment(), falling, evidence(WORSE))) == ("ship", "b", "primary_better")


@pytest.mark.parametrize(
    ("control", "treatment", "state", "decision"),
    [
        (800, 1_300, "worse", Decision.ROLLBACK),
        (800, 790, "safe", Decision.SHIP),
        (800, 960, "not_yet_known", Decision.SHIP),
        (2, 3, "not_yet_known", Decision.SHIP),
        (2, 90, "worse", Decision.ROLLBACK),
    ],
)
def test_a_guardrail_is_asked_before_the_primary_metric(
    control: int, treatment: int, state: str, decision: Decision
) -> None:
    verdict = judge(experiment(metrics=GUARDED), METRICS, evidence(BETTER | refunds(control, treatment)))

    assert verdict.decision is decision
    assert [r.state.value for r in verdict.readings if r.role.value == "guardrail"] == ["control", state]
    assert ("guardrail_not_yet_known:refund" in verdict.warnings) == (state in ("not_yet_known", "burn_in"))


@pytest.mark.parametrize(("treatment", "state"), [(900, "not_yet_known"), (1_500, "safe"), (400, "worse")])
def test_a_guardrail_may_have_an_absolute_margin(treatment: int, state: str) -> None:
    rising = {"buy": BUY, "refund": replace(REFUND, direction=Direction.UP)}
    plan = MetricPlan(primary="buy", guardrails=(Guardrail(metric="refund", margin=0.005, relative=False),))

    verdict = judge(experiment(metrics=plan), rising, evidence(ALIKE | refunds(1_000, treatment)))
    assert verdict.readings[-1].state.value == state


@pytest.mark.parametrize(("treatment", "state"), [(0, "not_yet_known"), (2, "not_yet_known"), (300, "worse")])
def test_a_guardrail_on_a_base_of_zero_is_not_safe_by_division(treatment: int, state: str) -> None:
    verdict = judge(experiment(metrics=GUARDED), METRICS, evidence(ALIKE | refunds(0, treatment)))

    assert verdict.readings[-1].lift is not None
    assert verdict.readings[-1].lift.estimate is None
    assert verdict.readings[-1].state.value == state


def test_a_broken_split_is_said_before_any_result() -> None:
    verdict = judge(experiment(), METRICS, evidence(BETTER, arrivals=[60_000, 40_000]))

    assert word(verdict) == ("untrustworthy", None, "srm")
    assert "cannot be trusted" in verdict.text
    assert "%" not in verdict.text.split("instead of")[0].replace("60.0/40.0", "")


def test_accounts_that_do_not_add_up_are_not_judged() -> None:
    verdict = judge(experiment(), METRICS, evidence(BETTER, account=ExposureAccount(events=1)))

    assert word(verdict) == ("untrustworthy", None, "accounting")


@pytest.mark.parametrize(
    ("changes", "days", "immature", "decision"),
    [
        ({"schedule": Schedule(end_at=START + timedelta(days=12))}, 14, 0, "inconclusive"),
        ({"schedule": Schedule(end_at=START + timedelta(days=12))}, 13, 0, "keep_running"),
        ({"status": Status.STOPPED}, 14, 0, "inconclusive"),
        ({"status": Status.STOPPED}, 14, 5, "keep_running"),
    ],
)
def test_an_end_without_an_answer_is_called_inconclusive_when_nothing_more_can_come(
    changes: dict[str, Any], days: int, immature: int, decision: str
) -> None:
    n = 2 * N + immature
    account = ExposureAccount(
        events=n,
        first=n,
        exposed_units={"a": N + immature, "b": N},
        excluded={"immature": immature},
        analysed={"a": N, "b": N},
    )

    verdict = judge(experiment(**changes), METRICS, evidence(ALIKE, days=days, account=account))
    assert verdict.decision.value == decision


def test_an_end_never_takes_an_answer_away() -> None:
    over = experiment(status=Status.STOPPED)

    assert judge(over, METRICS, evidence(BETTER)).decision is Decision.SHIP
    assert judge(over, METRICS, evidence(WORSE)).decision is Decision.ROLLBACK


def test_before_the_first_exposure_there_is_nothing_to_say() -> None:
    verdict = judge(experiment(status=Status.STOPPED), METRICS, evidence({}))

    assert word(verdict) == ("keep_running", None, "no_data")
    assert verdict.forecast["days_left"] is None


@pytest.mark.parametrize(
    ("kind", "treatment", "control", "reached"),
    [
        ("conversion", conversions(500, 99), conversions(500, 0), True),
        ("conversion", conversions(1, 0), conversions(1, 1), True),
        ("count", conversions(999, 500), conversions(5_000, 500), False),
        ("count", conversions(1_000, 500), conversions(5_000, 500), True),
        ("mean", Moments(1_000, 10**9, 10**18), Moments(1_000, 0, 0), False),
    ],
)
def test_nothing_is_rejected_before_the_burn_in(
    kind: str, treatment: Moments, control: Moments, reached: bool
) -> None:
    value = {"value": "revenue"} if kind == "mean" else {}
    metrics = {"buy": metric(kind=MetricKind(kind), **value)}
    moments = {("buy", "a"): control, ("buy", "b"): treatment}

    verdict = judge(experiment(), metrics, evidence(moments, arrivals=[1_000, 1_000]))
    reading = verdict.readings[1]
    assert reading.effect is not None
    assert (reading.state.value == "burn_in") is not reached
    assert (reading.effect.lower is None) is not reached
    assert (verdict.rule == "burn_in") is not reached


def test_moments_without_an_exposure_prove_nothing() -> None:
    verdict = judge(experiment(), METRICS, replace(evidence(BETTER), first_exposure_at=None))

    assert word(verdict) == ("keep_running", None, "no_data")


def test_the_best_of_several_treatments_ships_and_a_harmful_one_is_named() -> None:
    three = experiment(variants=variants(4_000, 3_000, 2_000, 1_000))
    moments = BETTER | {("buy", "c"): conversions(N, 2_600), ("buy", "d"): conversions(N, 1_000)}

    verdict = judge(three, METRICS, evidence(moments, arrivals=[40_000, 30_000, 20_000, 10_000]))
    assert word(verdict) == ("ship", "c", "primary_better")
    assert set(verdict.warnings) - ONE_DAY == {"harmful_variant:d"}
    # All three are called different, so the level that they share is the whole of alpha.
    assert "95 % confidence sequence" in verdict.text


def test_a_harmful_treatment_among_undecided_ones_is_rolled_back() -> None:
    three = experiment(variants=variants(5_000, 2_500, 2_500))
    moments = ALIKE | {("buy", "c"): conversions(N, 1_000)}

    verdict = judge(three, METRICS, evidence(moments, arrivals=[10_000, 5_000, 5_000]))
    assert word(verdict) == ("rollback", "c", "primary_worse")


def test_more_treatments_share_alpha() -> None:
    borderline = {("buy", "a"): conversions(N, 2_000), ("buy", "b"): conversions(N, 2_180)}
    one = judge(experiment(), METRICS, evidence(borderline))
    two = judge(
        experiment(variants=variants(4_000, 4_000, 2_000)),
        METRICS,
        evidence(borderline | {("buy", "c"): conversions(N, 2_000)}, arrivals=[4_000, 4_000, 2_000]),
    )

    assert (one.decision, two.decision) == (Decision.SHIP, Decision.KEEP_RUNNING)


def test_an_unknown_metric_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(InvalidParameterError, match="'buy'"):
        judge(experiment(), {}, evidence({}))


def test_time_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="zone"):
        replace(evidence({}), as_of=datetime(2027, 1, 1))  # noqa: DTZ001 - the mistake under test


def test_only_closed_days_count() -> None:
    today = PeriodMoments("buy", "b", date(2027, 1, 18), conversions(N, N))
    known = evidence(ALIKE, days=14)

    assert judge(experiment(), METRICS, replace(known, periods=(*known.periods, today))) == judge(
        experiment(), METRICS, known
    )


def daily(seed: int) -> Evidence:
    rng = Random(seed)
    rows = [
        PeriodMoments(
            "buy", variant, date(2027, 1, 5) + timedelta(days=d), conversions(900, rng.randint(20, 45))
        )
        for d in range(9)
        for variant in "ab"
    ]
    account = ExposureAccount(exposed_units={"a": 8_100, "b": 8_100}, analysed={"a": 8_100, "b": 8_100})
    return replace(evidence({}, account=account), periods=tuple(rows), first_exposure_at=START)


@given(seed=st.integers(0, 10**6), order=st.randoms())
def test_the_order_of_the_facts_changes_no_byte(seed: int, order: Any) -> None:
    known = daily(seed)
    shuffled = list(known.periods)
    order.shuffle(shuffled)

    one = json.dumps(judge(experiment(), METRICS, known).members(), allow_nan=False)
    two = json.dumps(judge(experiment(), METRICS, replace(known, periods=tuple(shuffled))).members())
    assert one == two


@given(
    a=st.tuples(st.integers(0, 5_000), st.floats(0, 1)),
    b=st.tuples(st.integers(0, 5_000), st.floats(0, 1)),
    refund=st.tuples(st.integers(0, 5_000), st.integers(0, 5_000)),
    days=st.integers(0, 60),
)
def test_a_decision_always_follows_from_what_is_shown(
    a: tuple[int, float], b: tuple[int, float], refund: tuple[int, int], days: int
) -> None:
    moments = {
        ("buy", "a"): conversions(a[0], int(a[0] * a[1])),
        ("buy", "b"): conversions(b[0], int(b[0] * b[1])),
    }
    moments |= {
        ("refund", "a"): conversions(5_000, refund[0]),
        ("refund", "b"): conversions(5_000, refund[1]),
    }

    verdict = judge(experiment(metrics=GUARDED), METRICS, evidence(moments, days=days, arrivals=[500, 500]))
    members = verdict.members()
    json.dumps(members, allow_nan=False)
    lift, effect, guard = verdict.readings[1].lift, verdict.readings[1].effect, verdict.readings[3]
    assert lift is not None
    assert effect is not None
    if verdict.decision is Decision.SHIP:
        assert effect.lower is not None
        assert effect.lower > 0
        assert guard.state.value != "worse"
        assert days >= 7
    if verdict.decision is Decision.ROLLBACK:
        assert guard.state.value == "worse" or (effect.upper is not None and effect.upper < 0)
    if verdict.decision is Decision.NO_EFFECT:
        assert lift.lower is not None
        assert lift.upper is not None
        assert -0.1 < lift.lower <= 0 <= lift.upper < 0.1


def test_a_lift_over_a_loss_has_no_number() -> None:
    profit = {"buy": metric(kind=MetricKind.MEAN, value="profit", cap=500)}
    loss = Moments(2_000, -1_000 * SCALE, 500 * SCALE**2)
    gain = Moments(2_000, 3_000 * SCALE, 4_500 * SCALE**2)

    verdict = judge(experiment(), profit, evidence({("buy", "a"): loss, ("buy", "b"): gain}))
    assert "+2 (no interval: nothing varies yet) in absolute terms" in verdict.text


def test_the_forecast_counts_on_at_the_pace_of_the_last_week() -> None:
    verdict = judge(experiment(), METRICS, evidence(ALIKE, arrivals=[1_000, 1_000]))

    assert verdict.decision is Decision.KEEP_RUNNING
    # 95,619 needed, 2,000 have come in one day: 47 days more and one for the window.
    assert verdict.forecast == {
        "variant": "b",
        "planned_units": 62_462,
        "needed_units": 95_619,
        "analysed_units": 80_000,
        "detectable_lift": pytest.approx(0.0899, abs=0.0001),
        "primary_decided": False,
        "days_left": 48,
    }
    shown = verdict.members()["metrics"][1]["lift"]  # type: ignore[index]
    assert verdict.forecast["detectable_lift"] == pytest.approx((shown["upper"] - shown["lower"]) / 2)
    stalled = judge(experiment(), METRICS, evidence(ALIKE, arrivals=[0, 0]))
    assert stalled.forecast["days_left"] is None
    enough = {key: conversions(60_000, 3_000 + 60 * (key[1] == "b")) for key in ALIKE}
    assert judge(experiment(), METRICS, evidence(enough)).forecast["days_left"] is None


def test_the_series_ends_where_the_verdict_stands() -> None:
    known = daily(7)
    noise = PeriodMoments("refund", "b", date(2027, 1, 5), conversions(10, 1))

    points = series(experiment(), BUY, (*reversed(known.periods), noise))["b"]
    last = judge(experiment(), METRICS, known).readings[1]
    assert [p.period for p in points] == [date(2027, 1, 5) + timedelta(days=d) for d in range(9)]
    assert last.lift is not None
    assert (points[-1].estimate, points[-1].lower, points[-1].upper) == pytest.approx(
        (last.lift.estimate, last.lift.lower, last.lift.upper), rel=1e-6
    )
    assert points[0].n == 1_800
    assert points[0].upper is None or points[0].upper > 0.3


def test_the_clock_of_a_verdict_is_utc() -> None:
    madrid = datetime.fromisoformat("2027-01-18T01:00:00+01:00")
    known = replace(evidence(ALIKE), as_of=madrid, periods=())

    assert judge(experiment(), METRICS, known).members()["as_of"] == "2027-01-18T00:00:00Z"
    assert known.as_of.astimezone(UTC).day == 18


def test_a_plan_may_have_secondary_metrics() -> None:
    plan = MetricPlan(primary="buy", secondary=("refund",))
    moments = MANY | {
        ("refund", "a"): conversions(100 * N, 200_000),
        ("refund", "b"): conversions(100 * N, 200_000),
    }

    verdict = judge(experiment(metrics=plan), METRICS, evidence(moments))
    assert [(r.role.value, r.state.value) for r in verdict.readings[2:]] == [
        ("secondary", "control"),
        ("secondary", "not_yet_known"),
    ]


def test_a_verdict_is_about_the_phase_it_was_given() -> None:
    e: Experiment = experiment(phase=4)

    assert judge(e, METRICS, evidence({})).members()["phase"] == 4
