"""What a treatment earns: the metric's interval moved by costs, and what that adds up to."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from experiments.definitions import Direction, Guardrail, Metric, MetricKind, MetricPlan, Variant
from experiments.estimates import Estimate
from experiments.evidence import Arrivals, Enrolled
from experiments.gates import Layer, LayerSlot
from experiments.lifecycle import RampStep
from experiments.metrics import Aggregate
from experiments.moments import Moments
from experiments.money import moved, scaled, units_at_full_traffic
from experiments.money_plan import MoneyPlan
from experiments.verdict import Verdict
from tests.experiments.verdict_scenes import METRICS, REVENUE, START, amounts, both, plan, scene

ORDERED = both(2_000, 0.05, 0.05)
SPENT = {("revenue", "control"): amounts(2_000, 0.10, 30), ("revenue", "banner"): amounts(2_000, 0.12, 30)}


def judged(metrics: MetricPlan, *, rows: Mapping[tuple[str, str], Moments] = SPENT, **more: Any) -> Verdict:
    return scene(plan(metrics=metrics, **more), {**ORDERED, **rows}, days=20)


def money(verdict: Verdict) -> dict[str, Any]:
    found: Any = verdict.members()["money"]
    return found  # type: ignore[no-any-return]


def effect(verdict: Verdict, metric: str = "revenue") -> Estimate:
    found = next(r.effect for r in verdict.readings if r.metric.key == metric and r.variant == "banner")
    assert found is not None
    return found


SECONDARY = MetricPlan(primary="purchase", secondary=("revenue",))


def test_without_an_amount_of_money_there_is_nothing_to_say() -> None:
    verdict = judged(MetricPlan(primary="purchase"))

    assert money(verdict) is None
    assert "Money" not in verdict.text


@pytest.mark.parametrize("aggregate", [Aggregate.MAX, Aggregate.MIN])
def test_what_does_not_add_up_over_the_orders_of_a_unit_is_no_money(aggregate: Aggregate) -> None:
    verdict = _with_metric(replace(REVENUE, aggregate=aggregate))

    assert money(verdict) is None
    assert "Money" not in verdict.text


def test_without_a_plan_for_money_it_is_revenue_as_the_metric_has_it() -> None:
    verdict = judged(SECONDARY)
    found, said = money(verdict), effect(verdict)

    (banner,) = found["variants"]
    assert (found["metric"], found["currency"], found["declared"]) == ("revenue", "EUR", False)
    assert banner["per_unit"]["estimate"] == pytest.approx(said.estimate)
    assert banner["per_unit"]["lower"] == pytest.approx(said.lower)
    assert "This is revenue: no margin and no costs were declared." in verdict.text
    assert any("goods" in text for text in found["not_included"])


def test_costs_move_the_whole_interval_by_their_difference() -> None:
    costs = {"control": 0.1, "banner": 0.35}
    verdict = judged(SECONDARY, money=MoneyPlan(metric="revenue", costs=costs))
    (banner,) = money(verdict)["variants"]
    said = effect(verdict)

    assert said.estimate is not None
    assert said.lower is not None
    assert said.upper is not None
    assert banner["extra_cost"] == pytest.approx(0.25)
    assert banner["per_unit"] == pytest.approx(
        {"estimate": said.estimate - 0.25, "lower": said.lower - 0.25, "upper": said.upper - 0.25}
    )
    n = banner["units"]
    assert n == 36_000
    assert banner["so_far"]["lower"] == pytest.approx(n * (said.lower - 0.25))
    assert money(verdict)["pace"] == {"days": 30, "units": 120_000}
    assert banner["projected"]["upper"] == pytest.approx(120_000 * (said.upper - 0.25))
    assert "What `banner` costs, +0.25 EUR a unit, is taken off." in verdict.text


def test_a_plan_without_costs_says_so() -> None:
    assert "No costs were declared for it." in judged(SECONDARY, money=MoneyPlan(metric="revenue")).text


def test_a_secondary_metric_is_told_with_the_level_that_it_shares() -> None:
    plans = MetricPlan(primary="purchase", secondary=("revenue", "refund"))
    rows = {**SPENT, **both(2_000, 0.02, 0.02, "refund")}
    verdict = judged(plans, rows=rows, money=MoneyPlan(metric="revenue"))
    reading = next(r for r in verdict.readings if r.metric.key == "revenue" and r.variant == "banner")

    assert money(verdict)["variants"][0]["level"] == pytest.approx(reading.level)


@pytest.mark.parametrize(
    "metrics",
    [
        MetricPlan(primary="purchase"),
        MetricPlan(primary="purchase", guardrails=(Guardrail(metric="revenue", margin=0.1),)),
    ],
)
def test_a_metric_beside_the_plan_has_a_two_sided_interval_of_its_own(metrics: MetricPlan) -> None:
    verdict = judged(metrics, money=MoneyPlan(metric="revenue"))
    alone = judged(MetricPlan(primary="revenue"))

    (banner,) = money(verdict)["variants"]
    assert banner["level"] == 0.05
    assert banner["per_unit"] == money(alone)["variants"][0]["per_unit"]


def test_where_less_is_better_what_is_saved_is_earned() -> None:
    cost = replace(REVENUE, direction=Direction.DOWN, kind=MetricKind.MARGIN)
    up = judged(MetricPlan(primary="revenue"))
    down = _with_metric(cost)

    saved, earned = money(down)["variants"][0]["per_unit"], money(up)["variants"][0]["per_unit"]
    assert saved == pytest.approx(
        {"estimate": -earned["estimate"], "lower": -earned["upper"], "upper": -earned["lower"]}
    )
    assert "What the variants cost was not declared." in down.text
    assert "saved" in money(down)["included"][0]


def _with_metric(metric: Metric) -> Verdict:
    return scene(
        plan(metrics=MetricPlan(primary="revenue")),
        SPENT,
        days=20,
        metrics={**METRICS, "revenue": metric},
    )


def test_what_cannot_be_trusted_is_worth_nothing() -> None:
    verdict = scene(plan(metrics=SECONDARY), {**ORDERED, **SPENT}, days=14, arrivals=[2_400, 1_600])

    assert verdict.decision == "untrustworthy"
    assert money(verdict) is None


def test_before_the_burn_in_there_is_no_sentence() -> None:
    few = {("revenue", v): amounts(200, 0.1, 30) for v in ("control", "banner")}
    verdict = scene(plan(metrics=MetricPlan(primary="revenue")), few, days=4)

    assert money(verdict)["variants"][0]["per_unit"]["lower"] is None
    assert "Money" not in verdict.text


def test_an_uncapped_metric_lacks_nothing_above_a_cap() -> None:
    told = money(_with_metric(replace(REVENUE, cap=None)))["not_included"]

    assert not any("capped" in text for text in told)
    assert any("500.00 EUR" in text for text in money(_with_metric(REVENUE))["not_included"])


@pytest.mark.parametrize("kind", [MetricKind.MEAN, MetricKind.MARGIN, MetricKind.LIFETIME_VALUE])
def test_an_amount_without_a_cap_is_a_warning(kind: MetricKind) -> None:
    open_ended = _with_metric(replace(REVENUE, kind=kind, cap=None))

    assert "uncapped_mean:revenue" in open_ended.warnings
    assert "uncapped_mean:revenue" not in _with_metric(replace(REVENUE, kind=kind)).warnings


def arrivals(*numbers: int) -> tuple[Arrivals, ...]:
    first = date(2027, 1, 1)
    return tuple(Arrivals(first + timedelta(days=i), "control", n) for i, n in enumerate(numbers))


def test_the_pace_is_of_the_last_week_and_of_all_traffic() -> None:
    layer = LayerSlot(layer=Layer(key="page"), share_bp=5_000)

    assert units_at_full_traffic(plan(), ()) is None
    assert units_at_full_traffic(plan(), arrivals(100)) == 3_000
    assert units_at_full_traffic(plan(), arrivals(9_000, *[100] * 7)) == 3_000
    assert units_at_full_traffic(plan(allocation_bp=2_500), arrivals(100)) == 12_000
    assert units_at_full_traffic(plan(layer=layer), arrivals(100)) == 6_000
    assert units_at_full_traffic(plan(allocation_bp=0), arrivals(100)) is None


def test_each_day_of_a_ramp_counts_by_its_own_share() -> None:
    ramp = (
        RampStep(START - timedelta(days=9), 1_000),
        RampStep(START.replace(year=2027, month=1, day=2, hour=12), 10_000),
    )

    assert units_at_full_traffic(plan(ramp=ramp, allocation_bp=10_000), arrivals(10, 100)) == 3_000


def test_each_day_counts_by_the_share_that_was_enrolled_then() -> None:
    day = [date(2027, 1, 1) + timedelta(days=i) for i in range(9)]
    opened = (Enrolled(day[0], 0.1), Enrolled(day[3], None), Enrolled(day[4], 1.0))
    week = arrivals(10, 10, 10, 55, 100, 100, 100)

    assert units_at_full_traffic(plan(allocation_bp=1_000), week, opened) == 3_000
    assert units_at_full_traffic(plan(), arrivals(10, 10), (Enrolled(day[5], 0.1),)) == 3_000
    assert (
        units_at_full_traffic(plan(), arrivals(10), (Enrolled(day[0], None), Enrolled(day[1], 1.0))) is None
    )


def test_a_pace_that_is_not_known_is_said_in_words() -> None:
    verdict = scene(plan(allocation_bp=0, metrics=MetricPlan(primary="revenue")), SPENT, days=20)

    assert money(verdict)["pace"] == {"days": 30, "units": None}
    assert money(verdict)["variants"][0]["projected"] is None
    assert "At full traffic it is not known: no day of the last week tells" in verdict.text


def test_an_amount_below_zero_turns_its_interval() -> None:
    assert scaled(Estimate(2.0, 1.0, None), by=-2) == Estimate(-4.0, None, -2.0)
    assert moved(Estimate(None), by=1) == Estimate(None)


def test_every_treatment_has_its_own_line() -> None:
    thirds = tuple(
        Variant(key=k, value=k, weight_bp=w) for k, w in (("control", 3_334), ("a", 3_333), ("b", 3_333))
    )
    rows = {("revenue", v): amounts(2_000, s, 30) for v, s in (("control", 0.1), ("a", 0.12), ("b", 0.1))}
    verdict = scene(plan(variants=thirds, metrics=MetricPlan(primary="revenue")), rows, days=20)

    assert [one["variant"] for one in money(verdict)["variants"]] == ["a", "b"]
